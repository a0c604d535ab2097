"""Representational similarity analysis (Kriegeskorte et al. 2008): how alike the distances between stimuli are.

Rank correlations after Nili et al. (2014): Kendall's τ-a where a model predicts ties, Spearman's ρ otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.stats import kendalltau

from .ceilings import ceiling_bounds
from .streaming import Gram

CORRELATIONS = ("pearson", "spearman", "kendall")


def correlation(inner: Gram) -> torch.Tensor:
    """1 − Pearson's r over units, in [0, 2]; a constant activation is at distance 1 from all others. ``(K, K)``."""
    return _angular(inner.covariances())


def cosine(inner: Gram) -> torch.Tensor:
    """1 − the cosine of the angle, in [0, 2]; an activation of zeros is at distance 1 from all others. ``(K, K)``."""
    return _angular(inner.products)


def euclidean(inner: Gram) -> torch.Tensor:
    """Euclidean distance, ``(K, K)``."""
    return inner.squared_distances().sqrt_()


def squared_euclidean(inner: Gram) -> torch.Tensor:
    """Squared Euclidean distance, ``(K, K)``."""
    return inner.squared_distances()


DISTANCES: Mapping[str, Callable[[Gram], torch.Tensor]] = {
    distance.__name__: distance for distance in (correlation, cosine, euclidean, squared_euclidean)
}
"""Distances between activations, by name."""


class RSA:
    """Correlations between all pairs of N sets of distances.

    Parameters
    ----------
    distances
        Distances ``(N, M)`` float64, between the M = K (K − 1) / 2 pairs of stimuli in the order of
        `torch.triu_indices`.
    correlation
        One of `CORRELATIONS`. Kendall's is τ-a, on the CPU and in time N² M log M.
    """

    def __init__(self, distances: torch.Tensor, correlation: str = "spearman") -> None:
        self._distances = distances
        self._correlation = correlation
        size = round((1 + (1 + 8 * distances.shape[1]) ** 0.5) / 2)
        self._one, self._two = torch.triu_indices(size, size, 1, device=distances.device)
        if correlation == "spearman":
            self._levels = torch.empty_like(distances, dtype=torch.int32)
            for levels, row in zip(self._levels, distances, strict=True):
                levels.copy_(row.unique(return_inverse=True)[1])

    def matrix(self, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Correlations, ``(N, N)`` in [−1, 1]; NaN where all distances are equal.

        Parameters
        ----------
        weights
            Number of times that each stimulus counts, ``(K,)``, integers. A pair of stimuli then counts as often as it
            occurs, except pairs of a stimulus with copies of itself, which are left out; so are pairs of copies of one
            distance for Kendall's τ.
        """
        pairs = None
        if weights is not None:
            weights = weights.to(self._distances)
            pairs = weights[self._one] * weights[self._two]
        if self._correlation == "kendall":
            return _kendall(self._distances, pairs)
        rows = self._distances if self._correlation == "pearson" else self._ranks(pairs)
        if pairs is None:
            centred = rows - rows.mean(dim=1, keepdim=True)
        else:
            centred = rows - (rows @ pairs / pairs.sum())[:, None]
            centred *= pairs.sqrt_()
        norm = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
        centred /= norm.where(norm > 1e-14 * torch.linalg.vector_norm(rows, dim=1, keepdim=True), torch.nan)
        return (centred @ centred.T).clamp_(-1, 1)

    def ceiling(self) -> tuple[float, float]:
        """Noise ceiling, if the N sets are repetitions of one; see `ceiling_bounds`.

        Standardised distances are averaged, or ranks for rank correlations, and the mean is ranked again (Nili et al.
        2014, p. 7).
        """
        if self._correlation == "pearson":
            return ceiling_bounds(self.matrix())
        if len(self._distances) < 2:
            return float("nan"), float("nan")
        ranks = RSA(self._distances, "spearman")._ranks(None)
        total = ranks.sum(dim=0)
        bounds = [
            RSA(torch.stack([own, total - own, total]), self._correlation).matrix()[0, 1:] for own in ranks
        ]  # sums rank as means do
        lower, upper = torch.stack(bounds).mean(dim=0).tolist()
        return lower, upper

    def _ranks(self, pairs: torch.Tensor | None) -> torch.Tensor:
        """Ranks of the distances, ``(N, M)``, up to a constant; ties and copies have their average rank."""
        ranks = torch.empty_like(self._distances)
        for rank, levels in zip(ranks, self._levels.long(), strict=True):
            ones = torch.ones_like(rank) if pairs is None else pairs
            counts = ones.new_zeros(len(ones)).index_add_(0, levels, ones)
            torch.take(counts.cumsum(0) - counts / 2, levels, out=rank)
        return ranks


def _angular(products: torch.Tensor) -> torch.Tensor:
    power = products.diagonal()
    scale = torch.where(power > 0, power.rsqrt(), 0.0)
    cosines = products * scale[:, None] * scale
    return (1 - cosines.clamp_(-1, 1)).fill_diagonal_(0)


def _kendall(distances: torch.Tensor, pairs: torch.Tensor | None) -> torch.Tensor:
    """Kendall's τ-a, (concordant − discordant) / all, from SciPy's τ-b: only the denominators differ."""
    rows = distances.cpu().numpy()
    counts = np.ones(rows.shape[1], dtype=np.int64) if pairs is None else pairs.cpu().numpy().astype(np.int64)
    rows = np.repeat(rows, counts, axis=1)
    size = rows.shape[1]
    couples = size * (size - 1) / 2
    distinct = (counts.sum() ** 2 - (counts**2).sum()) / 2
    untied = np.sqrt([couples - _ties(row) for row in rows])
    found = np.full((len(rows), len(rows)), np.nan)
    for one in range(len(rows)):
        for two in range(one, len(rows)):
            difference = kendalltau(rows[one], rows[two]).statistic * untied[one] * untied[two]
            found[one, two] = found[two, one] = difference / distinct
    return torch.from_numpy(found).to(distances.device)


def _ties(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())
