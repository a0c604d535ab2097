"""Centred kernel alignment (Kornblith et al. 2019): how alike two layers' similarities between stimuli are.

Debiased, it uses the unbiased estimator of HSIC (Song et al. 2012, equation 5; Nguyen et al. 2021; Murphy et al.
2024): without it, CKA of wide layers tends to 1 for unrelated activations. That estimator is the inner product of the
kernels' entries off the diagonal after an additive effect of each stimulus is removed by least squares (Székely &
Rizzo 2014, section 3). In this form stimuli can have weights, which a bootstrap needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .ceilings import ceiling_bounds
from .streaming import BLOCK_BYTES, Gram, pairwise

BANDWIDTH = 0.8
"""Bandwidth of the RBF kernel, as a fraction of the median distance (Kornblith et al. 2019, table 2)."""

_CONSTANT = 1e-28  # share of a kernel's power that must remain after centring; less is rounding error


class CKA:
    """CKA between all pairs of N kernels.

    Parameters
    ----------
    kernels
        Kernels ``(N, K, K)`` float64.
    debiased
        Whether HSIC is estimated without bias; otherwise as in Kornblith et al. (2019, equation 3).
    block_bytes
        Memory for the rows that are processed at once; it does not change the result.
    """

    def __init__(self, kernels: torch.Tensor, debiased: bool = True, *, block_bytes: int = BLOCK_BYTES) -> None:
        self._kernels = kernels
        self._block_bytes = block_bytes
        self._debiased = debiased
        self._power = torch.linalg.vector_norm(kernels, dim=(1, 2)).square()

    def matrix(self, weights: torch.Tensor | None = None) -> torch.Tensor:
        """CKA, ``(N, N)`` in [−1, 1] (biased: in [0, 1]); NaN where a kernel is constant.

        Parameters
        ----------
        weights
            Number of times that each stimulus counts, ``(K,)``. A debiased CKA leaves out the pairs of a stimulus with
            copies of itself as it leaves out the diagonal.
        """
        size = self._kernels.shape[1]
        weights = self._kernels.new_ones(size) if weights is None else weights.to(self._kernels)
        effects = self._effects(weights)
        root = weights.sqrt()
        product = self._kernels.new_zeros(len(self._kernels), len(self._kernels))
        step = max(1, self._block_bytes // (16 * len(self._kernels) * size))
        for first in range(0, size, step):
            rows = slice(first, min(first + step, size))
            part = self._kernels[:, rows] - effects[:, rows, None]
            part -= effects[:, None]
            part *= root[rows, None] * root
            if self._debiased:
                part[:, :, rows].diagonal(dim1=1, dim2=2).zero_()
            flat = part.flatten(1)
            product.addmm_(flat, flat.T)
        power = product.diagonal()
        power = power.where(power > _CONSTANT * weights.max() ** 2 * self._power, torch.nan)
        return (product / torch.outer(power, power).sqrt()).clamp_(-1, 1)

    def ceiling(self) -> tuple[float, float]:
        """Noise ceiling of kernels that are repetitions of one, see `ceiling_bounds`."""
        return ceiling_bounds(self.matrix())

    def _effects(self, weights: torch.Tensor) -> torch.Tensor:
        """Effect of stimulus i on entries (i, j) and (j, i), ``(N, K)``: normal equations of weighted least squares."""
        total = weights.sum()
        sums = self._kernels @ weights
        if not self._debiased:
            means = sums / total
            return means - (means @ weights / (2 * total))[:, None]
        sums -= self._kernels.diagonal(dim1=1, dim2=2) * weights
        share = weights / (total - 2 * weights)
        level = sums @ share / (1 + share.sum())
        return (sums - level[:, None]) / (total - 2 * weights)


def linear_kernels(inners: Sequence[Gram]) -> torch.Tensor:
    """The inner products themselves, ``(N, K, K)``."""
    return torch.stack([inner.products for inner in inners])


def rbf_kernels(inners: Sequence[Gram], bandwidth: float = BANDWIDTH) -> torch.Tensor:
    """exp(−d²/(2σ²)) of Euclidean distances d, ``(N, K, K)``.

    Parameters
    ----------
    bandwidth
        σ as a fraction of the median distance between two stimuli; if that is 0, a stimulus is similar
        to equal ones only.
    """
    kernels = torch.empty(len(inners), *inners[0].products.shape, dtype=torch.float64, device=inners[0].products.device)
    for kernel, inner in zip(kernels, inners, strict=True):
        squared = inner.squared_distances()
        width = bandwidth * _median(pairwise(squared).sqrt_())
        kernel.copy_(torch.where(squared > 0, (-squared / (2 * width.square())).exp(), 1))
    return kernels


def _median(values: torch.Tensor) -> torch.Tensor:
    return (values.kthvalue((len(values) + 1) // 2).values + values.kthvalue(len(values) // 2 + 1).values) / 2
