"""Random weights from a given seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from .checks import whole
from .errors import MetameryError
from .limits import free_memory, size
from .running import float32_by_default


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Build a float32 network on the CPU from `seed`; the global generator is restored afterwards."""
    whole("seed", seed)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), float32_by_default():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every GPU as well
        counting = register_module_parameter_registration_hook(_Counted())
        try:
            yield
        finally:
            counting.remove()


class _Counted:
    """Compares the size of a network's weights with free memory, before they get values and so take any."""

    def __init__(self) -> None:
        self._free = free_memory()
        self._bytes = 0

    def __call__(self, _module: nn.Module, _name: str, weight: nn.Parameter) -> None:
        self._bytes += weight.nbytes
        if self._free is not None and self._bytes > self._free:
            raise MetameryError(
                f"the network's weights would take more than {size(self._bytes)} of memory, and {size(self._free)} are "
                "free: expected a smaller width, size or number of classes"
            )
