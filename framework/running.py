"""Running a network, frozen or with another layout in memory; everything is restored afterwards."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from .domains import Domain, blank_signal

if TYPE_CHECKING:
    from .models import Model


@contextmanager
def frozen(module: nn.Module) -> Iterator[nn.Module]:
    """Put a module into eval mode with its weights frozen; every flag is restored afterwards."""
    training = [(part, part.training) for part in module.modules()]
    learning = [(weight, weight.requires_grad) for weight in module.parameters()]
    try:
        module.eval()
        for weight, _ in learning:
            weight.requires_grad_(False)
        yield module
    finally:
        for part, flag in training:
            part.training = flag
        for weight, flag in learning:
            weight.requires_grad_(flag)


@contextmanager
def ordinary() -> Iterator[None]:
    """Leave a caller's inference mode and autocast, under which results differ or have no gradient.

    It can also decorate functions.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def drawing(model: Model, seed: int) -> Iterator[None]:
    """Seed the draws of a stochastic network; the global generators are restored afterwards.

    Other networks are not affected. What is drawn for a signal still depends on its batch.
    """
    if not model.stochastic:
        yield
        return
    device = next((weight.device for weight in model.module.parameters()), torch.device("cpu"))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make other libraries draw float32, whatever the caller's default: with other types the numbers differ."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def fast_on_cpu(module: nn.Module, domain: Domain) -> Iterator[nn.Module]:
    """Run a network as CPUs run it fastest: `channels_last`, and `keeping_memory` from pass to pass.

    EfficientNet-Lite0 takes 0.36 to 0.60 of the time (`benchmarks/synthesis.py`).
    """
    with channels_last(module, domain), keeping_memory():
        yield module


@contextmanager
def channels_last(module: nn.Module, domain: Domain) -> Iterator[nn.Module]:
    """Store the weights of a network's 2-D convolutions with the channels last, which CPUs run faster.

    Values and names do not change, and what the network learns meanwhile is kept; results are the same up to rounding.
    Networks that are not float32 on the CPU, or that do not run on one signal in this layout (some code reshapes
    activations in a way that needs the usual one), are not changed.
    """
    convolutions = (part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d))
    candidates = (part._parameters.get("weight") for part in convolutions)
    weights = {
        weight: weight.data
        for weight in candidates
        if weight is not None and weight.device.type == "cpu" and weight.dtype == torch.float32
    }
    try:
        if weights:
            for weight, data in weights.items():
                weight.data = data.contiguous(memory_format=torch.channels_last)
            if not _runs(module, domain):
                for weight, data in weights.items():
                    weight.data = data
        yield module
    finally:
        for weight, data in weights.items():
            weight.data = data.copy_(weight.data)


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Make the C library keep freed memory for the next pass, and release all of it at the end.

    Otherwise glibc returns every block above 32 MB to the system at once and requests it again, and each of its pages
    then costs a page fault, which matters most at early layers. Without glibc this does nothing, nor within itself.
    """
    library = _glibc()
    if library is None or not _KEEPING.acquire(blocking=False):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:  # the values that glibc itself reaches after large blocks were freed
        library.mallopt(_MMAP_MAX, 65536)
        library.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        library.mallopt(_TRIM_THRESHOLD, 64 * 2**20)
        library.malloc_trim(0)
        _KEEPING.release()


def signal_type(module: nn.Module) -> torch.dtype:
    """Return the type of a network's signals: float64 if any of its weights are, otherwise float32."""
    return torch.float64 if any(weight.dtype == torch.float64 for weight in module.parameters()) else torch.float32


def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


_KEEPING = threading.Lock()  # held by what set the C library, for the process has one
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h


def _runs(module: nn.Module, domain: Domain) -> bool:
    signal = blank_signal(domain).requires_grad_()
    try:
        with frozen(module), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.autograd.grad(module(signal).sum(), signal)
    except (RuntimeError, AttributeError, TypeError):
        return False
    return True
