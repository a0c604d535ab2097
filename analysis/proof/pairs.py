"""All pairs of K activations at once: Pearson's r, Spearman's ρ and the SNR of each with each.

The correlations of K rows are one Gram matrix of standardised rows; Spearman's are those of standardised ranks; and
the SNR follows from the first Gram matrix, the norms and the means. Memory stays bounded whatever the number of units
D: rows lie in files and are worked on block by block; what is kept is a few bytes for each pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...framework.errors import MetameryError
from .measures import average_ranks, pearson, snr_db

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_BYTES = 64 * 2**20
"""Of float32 in memory at once; work on a block takes about four times as much."""

TOLERANCE = 2e-6
"""How far a correlation of the Gram matrix may be from its exact value; float32 sums of standardised rows."""

UNSURE_DB = 0.1
"""From this uncertainty an SNR is computed again directly."""

MOST_DIRECT = 2000
"""Pairs that are computed again directly, at most."""


class Rows:
    """A matrix ``(K, D)`` of float32 in a file, appended to row by row and read block by block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = self.width = 0

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows ``(B, D)``; a full disk is a `MetameryError`."""
        try:
            with self.path.open("ab") as file:
                file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
        except OSError as error:
            raise MetameryError(f"cannot write to '{self.path.parent}': {error.strerror}") from error
        self.count, self.width = self.count + len(rows), rows.shape[1]

    def read(self, first: int, last: int) -> NDArray[np.float32]:
        """Read rows `first` to `last` − 1, ``(last − first, D)``."""
        size, start = (last - first) * self.width, 4 * first * self.width
        return np.fromfile(self.path, np.float32, size, offset=start).reshape(-1, self.width)

    def pick(self, places: Iterable[int]) -> torch.Tensor:
        """Read some rows, ``(len(places), D)``."""
        return torch.from_numpy(np.concatenate([self.read(place, place + 1) for place in places]))

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read all rows, some at a time."""
        step = max(1, BLOCK_BYTES // (4 * self.width))
        for first in range(0, self.count, step):
            yield self.read(first, min(first + step, self.count))

    def columns(self) -> Iterator[NDArray[np.float32]]:
        """Read all columns, some at a time, ``(K, d)``."""
        step = max(1, BLOCK_BYTES // (4 * self.count))
        whole = np.memmap(self.path, np.float32, "r", shape=(self.count, self.width))
        for first in range(0, self.width, step):
            yield np.array(whole[:, first : first + step])


@dataclass(frozen=True)
class _Moments:
    """Of each row: mean, and norm of what deviates from it, which is 0 for a constant row. Float64, ``(K,)``."""

    mean: torch.Tensor
    norm: torch.Tensor


def pair_matrices(rows: Rows, ranks: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield ``pearson``, ``snr_db`` and ``spearman`` of each row with each, ``(K, K)`` float32.

    Row i of a matrix has signal i in the natural signal's place, which matters to the SNR alone. The best pairs, and
    those whose SNR a Gram matrix cannot tell, are computed again directly, in float64.

    Parameters
    ----------
    rows
        Activations, one signal per row, all finite.
    ranks
        Where the ranks may be kept meanwhile: a file of the same size.
    """
    moments = _moments(rows)
    correlations = _gram(rows, moments)
    ratios, natural, other = _snr(correlations, moments, rows.width)
    _refine(ratios, natural, other, rows, snr_db)
    yield "snr_db", ratios.numpy()
    _refine_correlations(correlations, rows)
    yield "pearson", correlations.numpy()
    ranked = Rows(ranks)
    for block in rows.blocks():
        ranked.append(average_ranks(torch.from_numpy(block)).float().numpy())
    correlations = _gram(ranked, _moments(ranked))
    _refine_correlations(correlations, ranked)
    yield "spearman", correlations.numpy()


def near_duplicates(rows: Rows, correlation: float) -> list[tuple[int, int]]:
    """Find rows that correlate with an earlier one by `correlation` or more, or equal it.

    Returns
    -------
    list of (int, int)
        Each such row, and the first of the earlier ones that it resembles and that resembles no other.
    """
    moments = _moments(rows)
    constant = moments.norm == 0
    equal = (moments.mean[:, None] == moments.mean) & constant[:, None] & constant
    alike = ((_gram(rows, moments) >= correlation) | equal).numpy()
    found: dict[int, int] = {}
    for row in range(rows.count):
        if earlier := [other for other in np.flatnonzero(alike[row, :row]) if other not in found]:
            found[row] = int(earlier[0])
    return sorted(found.items())


def _moments(rows: Rows) -> _Moments:
    means, norms = [], []
    for block in rows.blocks():
        values = torch.from_numpy(block).double()
        constant = values.amin(dim=1) == values.amax(dim=1)
        means.append(values.mean(dim=1))
        norm = torch.linalg.vector_norm(values.sub_(means[-1][:, None]), dim=1)
        norms.append(norm.masked_fill(constant, 0))
    return _Moments(torch.cat(means), torch.cat(norms))


def _gram(rows: Rows, moments: _Moments) -> torch.Tensor:
    """Correlations of each row with each, ``(K, K)`` float32; a constant row correlates 0."""
    scale = torch.where(moments.norm > 0, 1 / moments.norm, 0.0)[:, None]
    gram = torch.zeros(rows.count, rows.count, dtype=torch.float32, device="cpu")
    for columns in rows.columns():
        standardised = torch.from_numpy(columns).double().sub_(moments.mean[:, None]).mul_(scale).float()
        gram.addmm_(standardised, standardised.T)
    return gram.clamp_(-1, 1)


def _snr(
    correlations: torch.Tensor, moments: _Moments, width: int
) -> tuple[torch.Tensor, NDArray[np.intp], NDArray[np.intp]]:
    """SNR of all pairs in dB, ``(K, K)`` float32, and which pairs have to be computed again directly."""
    mean, norm = moments.mean, moments.norm
    size = (norm.square() + width * mean.square()).clamp_min(0)
    found = torch.empty_like(correlations)
    unsure: list[torch.Tensor] = []
    best = -torch.inf
    step = max(1, BLOCK_BYTES // (32 * len(mean)))
    for first in range(0, len(mean), step):
        here = slice(first, first + step)
        product = norm[here, None] * norm
        squared = (norm[here, None] - norm).square() + 2 * product * (1 - correlations[here].double())
        squared += width * (mean[here, None] - mean).square()
        doubt = 2 * TOLERANCE * product
        itself = torch.eye(len(mean), dtype=torch.bool, device="cpu")[here]
        low, middle, high = (
            _decibel(size[here, None] / distance.clamp_min(0)).masked_fill_(itself, -torch.inf)
            for distance in (squared + doubt, squared, squared - doubt)
        )
        found[here] = middle
        best = max(best, float(low.max()))
        candidates = ((high >= best) | (high - low > UNSURE_DB)).logical_and_(~itself)
        places = candidates.nonzero()
        unsure.append(torch.column_stack([places[:, 0] + first, places[:, 1], high[candidates]]))
    pairs = torch.cat(unsure)
    natural, other = pairs[pairs[:, 2].argsort(descending=True)[:MOST_DIRECT], :2].long().numpy().T
    return found, natural, other


def _decibel(power: torch.Tensor) -> torch.Tensor:
    """10·log₁₀; 0/0 is the ratio of a silent signal to its distance from another, and so infinite."""
    return (10 * power.log10()).nan_to_num(torch.inf, torch.inf, -torch.inf)


def _refine(
    matrix: torch.Tensor,
    natural: NDArray[np.intp],
    other: NDArray[np.intp],
    rows: Rows,
    take: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """Compute some pairs again directly, a few at a time, and put them in their places."""
    step = max(1, BLOCK_BYTES // (16 * rows.width))
    for first in range(0, len(natural), step):
        one, two = natural[first : first + step], other[first : first + step]
        matrix[one, two] = take(rows.pick(two), rows.pick(one)).float()


def _refine_correlations(matrix: torch.Tensor, rows: Rows) -> None:
    """Compute the pairs that may be the best again directly, in place."""
    upper = matrix.triu(1) + torch.full_like(matrix, -torch.inf).tril()
    one, two = (upper >= upper.max() - 2 * TOLERANCE).nonzero().T
    order = upper[one, two].argsort(descending=True)[:MOST_DIRECT]
    one, two = one[order].numpy(), two[order].numpy()
    _refine(matrix, one, two, rows, pearson)
    matrix[two, one] = matrix[one, two]
