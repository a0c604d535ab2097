"""Random weights from a seed of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...framework.modes import float32_by_default


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Build a float32 network on the CPU from `seed`; afterwards the global generator is where it was before."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), float32_by_default():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every GPU as well
        yield
