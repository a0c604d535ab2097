"""Invariance and equivariance of a network's layers, relative to the distance between unrelated signals.

With d for the Euclidean distance of two activations and averages over stimuli,

    invariance  = 1 − √(mean d²(a(Tx), a(x))) / √(mean d²(a(x), a(y)))     over all pairs of stimuli x ≠ y
    correlation = (mean r(a(Tx), a(x)) − r̄) / (1 − r̄)                     with r̄ = mean r(a(x), a(y))
    equivariance = 1 − √(mean d²(a(Tx), T a(x))) / √(mean d²(a(x), a(y)))  over units whose source is in the map

Each is 1 where T does not change a layer (or, for the last, moves it alike), and 0 on average where Tx is as far from x
as an unrelated signal is. Squares are averaged since their mean over all pairs follows from each unit's variance, in
one pass and with memory that does not grow with the number of stimuli.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from ...framework.models import Model
from ...framework.running import signal_type
from ..statistics.intervals import means
from .families import named
from .maps import Layout, layouts
from .moves import Move, inside, moved, sources

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Unrelated:
    """How far apart unrelated signals' activations ``(B, …)`` of one layer are; sums of each unit, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self._first: torch.Tensor
        self._sum: torch.Tensor
        self._squares: torch.Tensor
        self._directions: torch.Tensor  # of activations without their mean and of norm 1
        self._directed: torch.Tensor

    def add(self, activations: torch.Tensor) -> torch.Tensor:
        """Add some signals, each once; return the norm of each one's deviations from its mean, ``(B,)``."""
        exact = _exact(activations)
        if not self.count:
            self._first = exact[0].clone()
            self._sum, self._squares, self._directions = (torch.zeros_like(self._first) for _ in range(3))
            self._directed = exact.new_zeros(())
        rows = exact.flatten(1)
        mean, norm = _moments(rows)
        known = norm > 0
        scale = torch.where(known, 1 / norm, 0.0)
        self._directions += ((rows - mean[:, None]) * scale[:, None]).sum(dim=0).reshape(self._first.shape)
        self._directed += known.sum()
        exact = exact - self._first  # an average far from 0 would cost digits; a unit that never changes stays at 0
        self._sum += exact.sum(dim=0)
        self._squares += exact.square().sum(dim=0)
        self.count += len(exact)
        return norm

    def squared(self) -> torch.Tensor:
        """The mean squared difference of all pairs, unit by unit, in the shape of one signal's activation."""
        spread = (self._squares - self._sum.square() / self.count).clamp_min(0)
        return 2 * spread / (self.count - 1)

    def correlation(self) -> float:
        """Pearson's r, averaged over all pairs of signals whose activations are not constant; NaN without a pair."""
        count = float(self._directed)
        if count < 2:
            return float("nan")
        return float((self._directions.square().sum() - count) / (count * (count - 1)))


@dataclass(frozen=True, eq=False)
class Curves:
    """Measurements of one network: ``T`` strengths in the order given, ``S`` layers, ``K`` stimuli; float64.

    Parameters
    ----------
    squared
        Squared distances to the unchanged signal's activation, ``(T, S, K)``.
    correlation
        Pearson's r with that activation, ``(T, S, K)``; NaN where it is constant.
    moved
        Squared distances to that activation, moved alike, ``(T, S, K)``; NaN where the layer is not a map or T moves no
        points.
    unrelated
        The mean squared distance of all pairs, ``(S,)``.
    unrelated_correlation
        The mean r of all pairs, ``(S,)``.
    unrelated_moved
        The mean squared distance of all pairs over the units that `moved` includes, ``(T, S)``.
    """

    squared: NDArray[np.float64]
    correlation: NDArray[np.float64]
    moved: NDArray[np.float64]
    unrelated: NDArray[np.float64]
    unrelated_correlation: NDArray[np.float64]
    unrelated_moved: NDArray[np.float64]

    def relative(self) -> NDArray[np.float64]:
        """Distances to the unchanged signal's activation over those of unrelated signals, ``(T, S, K)``."""
        return np.sqrt(_ratio(self.squared, self.unrelated[:, None]))

    def invariance(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """By distance, ``(R, T, S)``, under each row of ``(R, K)`` counts of the stimuli."""
        return 1 - np.sqrt(_ratio(means(self.squared, counts), self.unrelated))

    def by_correlation(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """By correlation, ``(R, T, S)``."""
        base = self.unrelated_correlation
        return _ratio(means(self.correlation, counts) - base, 1 - base)

    def equivariance(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """By distance to the moved map, ``(R, T, S)``."""
        return 1 - np.sqrt(_ratio(means(self.moved, counts), self.unrelated_moved))


@dataclass(eq=False)
class Recorder:
    """Measures one network on changed signals, batch by batch: `unchanged`, then `changed` for each strength.

    Use it as a context manager. It stores the activations of all layers for one batch, those of one layer a few times
    over in float64, 32 bytes for each unit of the layers, and three numbers for each strength, layer and stimulus.

    Parameters
    ----------
    model
        The network; frozen by the caller.
    steps
        Transformations and strengths, in the order of the results.
    edges
        Edges of maps that are moved, as of the signals.
    device
        Device to compute on.
    """

    model: Model
    steps: Sequence[tuple[str, float]]
    edges: str = "reflect"
    device: torch.device = torch.device("cpu")
    _records: dict[tuple[str, float], list[torch.Tensor]] = field(default_factory=dict, init=False)
    _unchanged: dict[str, torch.Tensor] = field(default_factory=dict, init=False)
    _norms: dict[str, torch.Tensor] = field(default_factory=dict, init=False)

    def __enter__(self) -> Self:
        self._layouts: Mapping[str, Layout | None] = layouts(self.model, self.model.layers, self.device)
        self._unrelated = {layer: Unrelated() for layer in self.model.layers}
        self._dtype = signal_type(self.model.module)
        self._tap = self.model.tap(self.model.layers)
        self._tap.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tap.__exit__(kind, error, trace)
        self._unchanged, self._norms = {}, {}

    def unchanged(self, signals: torch.Tensor) -> None:
        """Begin a batch: read the activations of signals ``(B, …)`` as they are."""
        self._unchanged = self._read(signals)
        self._norms = {layer: self._unrelated[layer].add(activations) for layer, activations in self._unchanged.items()}

    def changed(self, name: str, strength: float, signals: torch.Tensor) -> None:
        """Read the activations of the batch's signals after a change, and compare them with the unchanged ones."""
        move = self._move(name, strength)
        rows = []
        for layer, activations in self._read(signals).items():
            unchanged = self._unchanged[layer]
            apart = _apart(activations, unchanged, self._norms[layer])
            rows.append(torch.stack([*apart, self._apart_moved(layer, activations, unchanged, move)]))
        self._records.setdefault((name, strength), []).append(torch.stack(rows, dim=1))  # (3, S, B)

    def finish(self) -> Curves:
        """Return what was measured; there must be at least two signals."""
        records = torch.stack([torch.cat(self._records[step], dim=2) for step in self.steps]).cpu().numpy()
        pairs = {layer: unrelated.squared() for layer, unrelated in self._unrelated.items()}
        return Curves(
            records[:, 0],
            records[:, 1],
            records[:, 2],
            np.array([float(squared.sum()) for squared in pairs.values()]),
            np.array([unrelated.correlation() for unrelated in self._unrelated.values()]),
            np.array([[self._base(layer, pairs[layer], self._move(*step)) for layer in pairs] for step in self.steps]),
        )

    def _read(self, signals: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return self._tap(signals.to(self.device, self._dtype))

    def _move(self, name: str, strength: float) -> Move | None:
        move = named(name).move
        return move(strength, self.model.domain) if move is not None else None

    def _apart_moved(
        self, layer: str, activations: torch.Tensor, unchanged: torch.Tensor, move: Move | None
    ) -> torch.Tensor:
        """Squared distances to the unchanged maps, moved alike, ``(B,)``; NaN where there are none."""
        if (layout := self._layouts[layer]) is None or move is None:
            return _exact(activations.new_full((len(activations),), torch.nan))
        expected = moved(layout.framed(unchanged), move, layout.stride, self.edges)
        known = self._known(expected, layout, move)
        return _exact((layout.framed(activations) - expected) * known).square().flatten(1).sum(dim=1)

    def _base(self, layer: str, squared: torch.Tensor, move: Move | None) -> float:
        """The mean squared distance of pairs over the units that are compared after a move."""
        if (layout := self._layouts[layer]) is None or move is None:
            return float("nan")
        framed = layout.framed(squared[None])
        return float((framed * self._known(framed, layout, move)).sum())

    def _known(self, framed: torch.Tensor, layout: Layout, move: Move) -> torch.Tensor:
        height, width = framed.shape[-2:]
        return inside(sources(move, (height, width), layout.stride), self.edges).to(framed)


def area(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area under curves ``(…, L, S)`` over L evenly spaced levels from 0 to 1, ``(…, S)``."""
    middles: NDArray[np.float64] = (curve[..., :-1, :] + curve[..., 1:, :]) / 2
    return np.asarray(middles.mean(axis=-2))


def _apart(activations: torch.Tensor, unchanged: torch.Tensor, norm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances to the unchanged activations, and Pearson's r with them, ``(B,)`` each; `norm` is theirs."""
    a, b = _exact(activations).flatten(1), _exact(unchanged).flatten(1)
    mean, own = _moments(a)
    together = torch.linalg.vecdot(a - mean[:, None], b)
    r = torch.where(own > 0, together / (own * norm), 0.0).clamp(-1, 1)
    return (a - b).square().sum(dim=1), r.where(norm > 0, torch.nan)


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row's mean, and the norm of the deviations from it, exactly 0 for a constant row."""
    mean = rows.mean(dim=1)
    norm = torch.linalg.vector_norm(rows - mean[:, None], dim=1)
    return mean, norm.masked_fill(rows.amin(dim=1) == rows.amax(dim=1), 0)


def _exact(values: torch.Tensor) -> torch.Tensor:
    """Values in float64; on the CPU in place of MPS, which does not have it."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _ratio(values: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values divided by a base; NaN where that is not above 0."""
    above = np.broadcast_to(base, values.shape)
    result = np.full(values.shape, np.nan)
    np.divide(values, above, out=result, where=above > 0)
    return result
