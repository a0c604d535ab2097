"""Pearson's r, Spearman's ρ and the SNR of all pairs of K activations at once.

The correlations of K rows are one Gram matrix of standardised rows; Spearman's are those of standardised ranks; and
the SNR follows from the first Gram matrix, the norms and the means. Memory stays bounded whatever the number of units
D: rows are stored in files and processed block by block; a few bytes for each pair are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...framework.errors import MetameryError
from .measures import pearson, snr_db

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_BYTES = 64 * 2**20
"""Bytes of float32 in memory at once; processing a block takes about four times as much."""

CACHED_BYTES = 4 * 2**20
"""Bytes of float64 that are gone through several times at once: as many as processors hold in their caches."""

TILE = 256
"""Rows of a symmetric matrix of products that are computed at once, up to the diagonal and a little beyond."""

ROUNDING = 1e-11
"""Difference of a correlation from 1 below which rounding decides, and pairs are computed again directly."""

MAX_DIRECT = 2000
"""Largest number of pairs that are computed again directly; the others get 1 − `ROUNDING`."""


class RowFile:
    """A matrix ``(K, D)`` of float32 in a file, appended to row by row and read in blocks of `block_bytes`."""

    def __init__(self, path: Path, block_bytes: int = BLOCK_BYTES) -> None:
        self.path = path
        self.block_bytes = block_bytes
        self.count = self.width = 0

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows ``(B, D)``; raises `MetameryError` if they cannot be written, as on a full disk."""
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

    def pick(self, indices: Iterable[int]) -> torch.Tensor:
        """Read some rows, ``(len(indices), D)``."""
        return torch.from_numpy(np.concatenate([self.read(index, index + 1) for index in indices]))

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read all rows, some at a time."""
        step = max(1, self.block_bytes // (4 * self.width))
        for first in range(0, self.count, step):
            yield self.read(first, min(first + step, self.count))

    def columns(self) -> Iterator[NDArray[np.float32]]:
        """Read all columns, some at a time, ``(K, d)``."""
        step = max(1, self.block_bytes // (4 * self.count))
        matrix = np.memmap(self.path, np.float32, "r", shape=(self.count, self.width))
        for first in range(0, self.width, step):
            yield np.array(matrix[:, first : first + step])


@dataclass(frozen=True)
class _Moments:
    """Mean of each row, and norm of the deviations from it, 0 for a constant row; float64, ``(K,)``."""

    mean: torch.Tensor
    norm: torch.Tensor


def pair_matrices(rows: RowFile, ranks: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield ``pearson``, ``snr_db`` and ``spearman`` of all pairs of rows, ``(K, K)`` float32.

    In row i of a matrix, signal i is taken as the natural one, which matters to the SNR alone. Sums are float64.

    Parameters
    ----------
    rows
        Activations, one signal per row, all finite.
    ranks
        File for the ranks in the meantime, of the same size.
    """
    moments = _moments(rows)
    correlations = _gram(rows, moments)
    yield "snr_db", _snr(correlations, moments, rows).float().numpy()
    yield "pearson", correlations.float().numpy()
    ranked = RowFile(ranks, rows.block_bytes)
    for block in rows.blocks():
        ranked.append(np.stack([ranks_of(row) for row in block]))
    yield "spearman", _gram(ranked, _moments(ranked)).float().numpy()


def near_duplicates(rows: RowFile, correlation: float) -> list[tuple[int, int]]:
    """Find rows that correlate with an earlier one by `correlation` or more, or equal it.

    Returns
    -------
    list of (int, int)
        Each such row, and the first earlier row that it resembles and that is not such a row itself.
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


def _moments(rows: RowFile) -> _Moments:
    means, norms = [], []
    step = max(1, CACHED_BYTES // (8 * rows.width))
    for block in rows.blocks():
        for first in range(0, len(block), step):
            values = torch.from_numpy(block[first : first + step]).double()
            constant = values.amin(dim=1) == values.amax(dim=1)
            means.append(values.mean(dim=1))
            norm = torch.linalg.vector_norm(values.sub_(means[-1][:, None]), dim=1)
            norms.append(norm.masked_fill(constant, 0))
    return _Moments(torch.cat(means), torch.cat(norms))


def _gram(rows: RowFile, moments: _Moments) -> torch.Tensor:
    """Correlations of all pairs of rows, ``(K, K)`` float64; a constant row correlates 0, equal ones exactly 1."""
    scale = torch.where(moments.norm > 0, 1 / moments.norm, 0.0)[:, None]
    gram = torch.zeros(rows.count, rows.count, dtype=torch.float64, device="cpu")
    for columns in rows.columns():
        standardised = torch.from_numpy(columns).double().sub_(moments.mean[:, None]).mul_(scale)
        add_products(gram, standardised)
    gram.tril_().add_(gram.tril(-1).T)
    one, two = _nearly_equal(gram)
    gram.clamp_(-1, 1)
    gram.masked_fill_((gram > 1 - ROUNDING).fill_diagonal_(False), 1 - ROUNDING)
    gram[one, two] = gram[two, one] = _directly(rows, one, two, pearson)
    return gram


def add_products(gram: torch.Tensor, rows: torch.Tensor) -> None:
    """Add the products of all pairs of rows ``(K, d)`` to the lower triangle of `gram`, ``(K, K)``, tile by tile."""
    for first in range(0, len(rows), TILE):
        tile, below = slice(first, first + TILE), slice(first + TILE)
        gram[tile, below].addmm_(rows[tile], rows[below].T)


def _snr(correlations: torch.Tensor, moments: _Moments, rows: RowFile) -> torch.Tensor:
    """SNR of all pairs in dB, ``(K, K)``: from ‖a − b‖² = (‖a‖ − ‖b‖)² + 2 ‖a‖ ‖b‖ (1 − r) of a and b without means."""
    mean, norm = moments.mean, moments.norm
    size = norm.square() + rows.width * mean.square()
    found = torch.empty_like(correlations)
    step = max(1, rows.block_bytes // (32 * len(mean)))
    for first in range(0, len(mean), step):
        here = slice(first, first + step)
        squared = (norm[here, None] - norm).square() + 2 * norm[here, None] * norm * (1 - correlations[here])
        squared += rows.width * (mean[here, None] - mean).square()
        # 0/0 is the SNR of two silent signals, which match perfectly, and so infinite.
        found[here] = (10 * (size[here, None] / squared).log10()).nan_to_num(torch.inf, torch.inf, -torch.inf)
    one, two = _nearly_equal(correlations)
    for natural, other in ((one, two), (two, one)):
        found[natural, other] = _directly(rows, natural, other, snr_db)
    return found.fill_diagonal_(-torch.inf)


def ranks_of(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rank finite values ``(D,)`` from 1, with the average for ties: what `average_ranks` gives, several times faster.

    NumPy sorts integers much faster than it finds an order. So the bits of each value, which are in the order of the
    values once those of negative ones are inverted, and its position become one integer.
    """
    bits = (row + np.float32(0)).view(np.int32)  # −0 becomes 0
    packed = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 32
    packed |= np.arange(len(row))
    packed.sort()
    values = packed >> 32
    follows = np.concatenate([[False], values[1:] == values[:-1]])  # the same value as the one before it
    ranks = np.arange(1, len(row) + 1, dtype=np.float32)
    if follows.any():
        precedes = np.append(follows[1:], False)
        first, last = np.flatnonzero(precedes & ~follows), np.flatnonzero(follows & ~precedes)
        ranks[follows | precedes] = np.repeat(((first + last) / 2 + 1).astype(np.float32), last - first + 1)
    at_place = np.empty_like(ranks)
    at_place[packed & 0xFFFFFFFF] = ranks
    return at_place


def _nearly_equal(gram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of rows whose correlation is 1 up to rounding, the first `MAX_DIRECT`."""
    one, two = (gram.triu(1) > 1 - 2 * ROUNDING).nonzero()[:MAX_DIRECT].T
    return one, two


def _directly(
    rows: RowFile,
    natural: torch.Tensor,
    other: torch.Tensor,
    take: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Take a measure of some pairs, a few at a time."""
    step = max(1, rows.block_bytes // (16 * rows.width))
    blocks = [slice(first, first + step) for first in range(0, len(natural), step)]
    found = [take(rows.pick(other[block].tolist()), rows.pick(natural[block].tolist())) for block in blocks]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64, device="cpu")
