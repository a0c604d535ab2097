"""Normalisation as a part of the network, so that signals stay in the range that is displayed, [0, 1].

`normalise_input` leaves the paths of a network's modules as they are: `_blocks.8` is still `_blocks.8`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from .errors import MetameryError

Network = TypeVar("Network", bound=nn.Module)


class Normalise(nn.Module):
    """``(signals - mean) / std`` for each channel.

    Parameters
    ----------
    mean, std
        One number for each channel, in the units of the signals; `std` above 0.

    Raises
    ------
    MetameryError
        They differ in length, or a `std` is not above 0.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise MetameryError(
                f"normalisation by mean {tuple(mean)} and std {tuple(std)}: expected one of each for every channel, "
                "and every std above 0"
            )
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32, device="cpu").view(-1, 1, 1))  # (C, 1, 1)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32, device="cpu").view(-1, 1, 1))  # (C, 1, 1)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return (signals - self.mean) / self.std  # (B, C, H, W)


def normalise_input(network: Network, mean: Sequence[float], std: Sequence[float]) -> Network:
    """Make a network normalise its input, by a submodule `normalise` that a forward pre-hook calls.

    The network is changed in place and returned. Its own modules keep their paths; a copy by `copy.deepcopy` has its
    own normalisation.

    Raises
    ------
    MetameryError
        It already has a submodule or attribute `normalise`, or is a `torch.nn.Sequential`, which would run the new
        submodule after its own.
    """
    if isinstance(network, nn.Sequential):
        raise MetameryError("a Sequential would normalise after its own modules: put a Normalise before it instead")
    if hasattr(network, "normalise"):
        raise MetameryError(f"{type(network).__name__} already has a part named 'normalise'")
    network.add_module("normalise", Normalise(mean, std))
    network.register_forward_pre_hook(_normalise_first)
    return network


# A function, not a closure or a bound method: a deep copy of the network then calls its own submodule.
def _normalise_first(network: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return (network.get_submodule("normalise")(arguments[0]), *arguments[1:])
