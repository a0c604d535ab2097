"""Fingerprints of what a training depends on but does not keep: its signals, and the code of its network.

A resumed training compares them with those in its checkpoint. They tolerate the rounding of another machine or
another decoder, and distinguish one signal or one network from another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..framework.errors import MetameryError
from ..framework.models import Model
from ..framework.running import frozen
from .data import Examples

SAMPLED = 32
"""Number of signals compared where not all are in memory, evenly spread."""

_MARKS = 8  # projections of each signal
_SIGNAL_ROUNDING = 0.05  # of a signal's norm, which another decoder may change
_OUTPUT_ROUNDING = 0.01  # of the outputs' norm, which another device may change


@dataclass(frozen=True)
class Fingerprint:
    """Values that distinguish a data set from another.

    Parameters
    ----------
    count
        Number of its signals.
    names
        Digest of their names, as far as these are known without decoding, and their classes.
    marks
        Projections of the signals, or of `SAMPLED`, onto fixed directions, and their norms, ``(N, 9)``.
    """

    count: int
    names: str
    marks: torch.Tensor

    @classmethod
    def of(cls, examples: Examples) -> Fingerprint:
        digest = hashlib.sha256()
        for index, target in enumerate(examples.targets):
            name = examples.names[index] if examples.names is not None else ""
            digest.update(f"{name}\0{target}\0".encode(errors="surrogatepass"))
        directions = _directions(torch.Size(examples.domain.shape).numel())
        if examples.kept is not None:
            flat = [part.flatten(1).to(directions) for part in torch.split(examples.kept, 256)]
        else:
            sampled = _sampled(len(examples))
            flat = [examples.domain.fit(examples.stimuli[index]).reshape(1, -1) for index in sampled]
        marks = [torch.cat([part @ directions, part.norm(dim=1, keepdim=True)], dim=1) for part in flat]
        return cls(len(examples), digest.hexdigest(), torch.cat(marks))

    def table(self) -> dict[str, Any]:
        """Return the part that is written as text."""
        return {"count": self.count, "names": self.names}

    def compare(self, table: Mapping[str, Any], marks: torch.Tensor, what: str) -> None:
        """Compare it with an earlier one, on the sample if one of them is of that.

        Raises
        ------
        MetameryError
            Signals were added, removed, renamed or replaced.
        """
        changed, own = "", self.marks
        if len(own) != len(marks):
            own, marks = (each[_sampled(self.count)] if len(each) == self.count else each for each in (own, marks))
        if self.count != table["count"]:
            changed = f"{self.count} now, {table['count']} then"
        elif self.names != table["names"]:
            changed = "different names, order or classes"
        elif own.shape != marks.shape:
            changed = "different sizes"
        else:
            size = torch.maximum(own[:, -1:], marks[:, -1:])
            other = ((own - marks).abs() > _SIGNAL_ROUNDING * size + 1e-6).any(dim=1)
            changed = f"{int(other.sum())} of {len(other)} signals differ" if other.any() else ""
        if changed:
            raise MetameryError(
                f"the {what} have changed since this run began: {changed}. Put them back, or train into another folder"
            )


def probe(model: Model) -> torch.Tensor | None:
    """Return a network's outputs for two fixed signals, ``(2, classes)``; None where they are not always the same.

    Weights, buffers, flags and the random generators stay as they are.
    """
    module, domain = model.module, model.domain
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    signals = torch.rand(2, *domain.shape, generator=torch.Generator().manual_seed(0))
    signals = (domain.low + (domain.high - domain.low) * signals).to(device)
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        cuda = [device] if device.type == "cuda" else []
        with frozen(module), torch.no_grad(), torch.random.fork_rng(devices=cuda):
            first, second = (module(signals.clone()) for _ in range(2))
    except (RuntimeError, ValueError, TypeError, IndexError):
        return None  # a network that takes batches of another size only
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
    if not isinstance(first, torch.Tensor) or not _close(first, second):
        return None
    return first.float().cpu()


def same_network(model: Model, outputs: torch.Tensor) -> bool:
    """Return whether a network's outputs are the same as before."""
    now = probe(model)
    return now is None or _close(now, outputs)


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not (one.isfinite().all() and other.isfinite().all()):
        return True
    size = max(float(one.float().norm()), float(other.float().norm()))
    return float((one - other).float().norm()) <= _OUTPUT_ROUNDING * size + 1e-6


def _sampled(count: int) -> list[int]:
    """Return indices of `SAMPLED` signals of a data set, evenly spread."""
    indices: list[int] = np.unique(np.linspace(0, count - 1, SAMPLED).astype(int)).tolist()
    return indices


def _directions(size: int) -> torch.Tensor:
    """Directions of length 1, ``(size, 8)``, the same with every version of every library."""
    count = size * _MARKS
    bits = np.frombuffer(hashlib.shake_256(b"metamery").digest(-(-count // 8)), dtype=np.uint8)
    signs = torch.from_numpy(np.unpackbits(bits, count=count)).float() * 2 - 1
    directions: torch.Tensor = signs.reshape(size, _MARKS) / size**0.5
    return directions
