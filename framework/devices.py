"""Devices and precisions by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .checks import one_of
from .errors import MetameryError, unknown

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
"""Precisions of passes through a network; ``tf32`` rounds what GPUs multiply to 10 bits after the point."""


def check_precision(precision: str, device: torch.device) -> None:
    """Raise `MetameryError` unless a device supports a precision, so that the precision recorded is the one used."""
    one_of("precision", precision, PRECISIONS)
    if precision == "float32":
        return
    if precision == "tf32":
        if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
            raise _unsupported(precision, device)
        return
    wanted = getattr(torch, precision)
    try:
        with warnings.catch_warnings(), torch.autocast(device.type, wanted):
            warnings.simplefilter("error")  # raised where autocast is switched off for lack of support
            supported = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == wanted
    except (RuntimeError, UserWarning):
        supported = False
    if not supported:
        raise _unsupported(precision, device)


def _unsupported(precision: str, device: torch.device) -> MetameryError:
    return MetameryError(f"precision is {precision}, which device '{device}' does not support: expected float32")


def resolve_device(name: str, *, elsewhere: bool = False) -> torch.device:
    """Return a device by name; ``auto`` is CUDA if it is available here, otherwise the CPU.

    Parameters
    ----------
    name
        Name of the device.
    elsewhere
        Whether it is one of other machines, and need not be available here.

    Raises
    ------
    MetameryError
        The name is not that of a device, or the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise unknown("device", name, ("auto", "cpu", "cuda", "cuda:N", "mps")) from None
    if not elsewhere and (reason := _unavailable(device)):
        expected = "expected auto, cpu, cuda, cuda:N or mps"
        raise MetameryError(f"device '{name}' is not available; {expected} ({reason})")
    return device


def here(device: torch.device) -> torch.device:
    """Return a device if this machine has it, otherwise the CPU."""
    return torch.device("cpu") if _unavailable(device) else device


def _unavailable(device: torch.device) -> str:
    """Return why a device is not available on this machine; empty if it is."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    return ""


def made_on(device: torch.device) -> str:
    """Return what results depend on, up to rounding, besides their settings: device, threads, version of PyTorch.

    >>> made_on(torch.device("cpu")).partition(" (")[0]
    'cpu'
    """
    if device.type == "cpu":
        count = torch.get_num_threads()
        kind = f"{torch.backends.cpu.get_cpu_capability()}, {count} thread{'s' * (count != 1)}"
    else:
        kind = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return f"{device.type}{f' ({kind})' if kind else ''}, torch {torch.__version__}"


@contextmanager
def float32_as(kind: str, *backends: Any) -> Iterator[None]:
    """Have operations of GPUs compute float32 as it is (``ieee``), or rounded to ``tf32``.

    Parameters
    ----------
    kind
        ``ieee`` or ``tf32``.
    *backends
        Operations, such as ``torch.backends.cudnn.conv``; all by default.
    """
    backends = backends or (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = kind
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


@contextmanager
def same_algorithms() -> Iterator[None]:
    """Have GPUs use algorithms of convolutions that give the same bits each time; it can also decorate functions.

    Operations that add in any order on a GPU still differ by rounding; PyTorch lists them under
    ``torch.use_deterministic_algorithms``.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def repeatable(precision: str) -> Iterator[None]:
    """Have GPUs compute in a precision, with `same_algorithms`."""
    with same_algorithms(), float32_as("tf32" if precision == "tf32" else "ieee"):
        yield


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was given, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
