"""Local geometry of a layer: which small changes of a signal it notices, how much, and which not at all.

Near one signal x a layer's activation a is linear: a change v moves it by J v, J = ∂a/∂x being its Jacobian
``(units, samples)``. The singular values of J say how much the layer notices along its right singular vectors; those
with the largest and the smallest are the eigendistortions of Berardino et al. (2017, section 2), the eigenvectors of
the Fisher information JᵀJ under Gaussian noise. J is that of autograd: where a network has a gradient of its own (a
bounded slope, say), that one is used. J is formed only if it is small; otherwise only products with it are computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...framework.domains import Domain
from ...framework.errors import MetameryError
from .jacobian import BLOCK, Jacobian

DENSE_SIDE, DENSE_ENTRIES = 512, 2**25
"""Largest shorter side and number of entries of a Jacobian that is formed (128 MiB in float32)."""

MAX_COMPONENTS = 20
"""Largest number of most noticeable directions."""

BASIS = 240
"""Number of vectors in the basis of `krylov`: 145 MB in float32 for 3 × 224 × 224, twice that while it grows."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Local geometry of a layer near one signal, K components; directions have unit L2 norm and the signal's shape.

    Parameters
    ----------
    singular_values
        The K largest singular values, ``(K,)``, the largest first, in the layer's units per unit of the signal.
    most
        Directions of these, the most noticeable distortions, ``(K, …)``; NaN where the singular value is 0.
    least_singular_value
        ‖J v‖ of the least noticeable distortion.
    least
        That distortion, ``(…)``. If the entire spectrum is known and there is a null space, a random direction in the
        null space, none of which moves the layer.
    residuals, least_residual
        ‖JᵀJ v − σ² v‖, divided by σ₁² for the most noticeable, ``(K,)``, and by `gain`² for the least: about 0 where
        exact.
    gain
        Root mean square of ‖J v‖ over all unit vectors v, ‖J‖_F / √samples.
    effective_dimension
        Participation ratio (Σσ²)² / Σσ⁴ of the spectrum: how many directions share in what is noticed, 1 to the
        rank. NaN where the layer notices nothing.
    effective_dimension_error
        Standard error of `effective_dimension`; 0 if the entire spectrum is known.
    free_share
        Share of the signal's dimensions that do not move the layer, in [0, 1]: 1 − rank / samples if the entire
        spectrum is known, otherwise a lower bound, since the rank is at most the number of units.
    exact
        Whether the entire spectrum is known.
    """

    singular_values: torch.Tensor
    most: torch.Tensor
    least_singular_value: float
    least: torch.Tensor
    residuals: torch.Tensor
    least_residual: float
    gain: float
    effective_dimension: float
    effective_dimension_error: float
    free_share: float
    exact: bool


def local_geometry(
    jacobian: Jacobian,
    generator: torch.Generator,
    *,
    components: int = 6,
    probes: int = 16,
    iterations: int = 50,
    tolerance: float = 1e-4,
    dense_side: int = DENSE_SIDE,
) -> Geometry:
    """Find the local geometry of a layer.

    A Jacobian with at most `dense_side` rows or columns and `DENSE_ENTRIES` entries is formed, and everything is exact.
    For a larger one the ends of the spectrum are found by `krylov`, and the effective dimension is estimated from
    random probes. The largest singular values mostly take a few iterations. The smallest ones are close together and
    take many more: the result is then a direction that is noticed little, with an upper bound of the smallest singular
    value, even if there are fewer units than samples and therefore a null space; `Geometry.least_residual` is its
    error.

    Cost in vectors that pass forward and backward through the network: half of the shorter side if that is at most
    `dense_side`, up to ``2 · iterations`` otherwise; then ``2 · components + probes`` more.

    Parameters
    ----------
    jacobian
        Jacobian of the layer at one signal.
    generator
        Generator on the CPU, for start vectors, probes, and directions in the null space.
    components
        Number of most noticeable directions, 1 to `MAX_COMPONENTS`, at most the number of samples.
    probes
        Number of random vectors for the effective dimension, at least 2.
    iterations, tolerance
        Parameters of `krylov`.
    dense_side
        Largest shorter side of a Jacobian that is formed; 0 for none.

    Returns
    -------
    Geometry
        Tensors on the CPU; all NaN if the Jacobian is not finite, as at the square root of 0.

    Raises
    ------
    MetameryError
        `components` is out of range.
    """
    most_possible = min(MAX_COMPONENTS, jacobian.samples)
    if not 1 <= components <= most_possible:
        raise MetameryError(f"components is {components}, expected 1 to {most_possible}")
    if not jacobian.finite:
        return _missing(jacobian, components)
    samples, units = jacobian.samples, jacobian.units
    if is_dense(samples, units, dense_side):
        spectrum, right = torch.linalg.svd(jacobian.dense(), full_matrices=False)[1:]
        rank = int((spectrum > _rounding(jacobian) * spectrum[0]).sum())
        quietest = right[-1:] if rank == samples else _free(right[:rank], jacobian, generator)
        most, least = (_measured(jacobian, rows) for rows in (right[: min(rank, components)], quietest))
        squares = spectrum.double().square()
        moments, error, free = (float(squares.sum()), float(squares.square().sum())), 0.0, 1 - rank / samples
        exact = True
    else:
        ends = krylov(jacobian, components, generator, iterations=iterations, tolerance=tolerance)
        most, least = (_rotated(jacobian, rows) for rows in ends)
        moments, error = _probed(jacobian, most, jacobian.draw(probes, generator, signs=True))
        noticed = most.values > _rounding(jacobian) * most.values[0]
        most = _Directions(*(part[noticed] for part in most))
        free, exact = max(0.0, 1 - units / samples), False
    gain = math.sqrt(moments[0] / samples)

    def padded(rows: torch.Tensor, fill: float) -> torch.Tensor:
        return torch.cat([rows, rows.new_full((components - len(rows), *rows.shape[1:]), fill)]).cpu()

    return Geometry(
        padded(most.values, 0.0),
        padded(_signed(most.rows), math.nan).reshape(-1, *jacobian.shape),
        float(least.values),
        _signed(least.rows).cpu().reshape(jacobian.shape),
        padded(most.residuals / most.values[:1].square(), math.nan),
        float(least.residuals) / gain**2 if gain else math.nan,
        gain,
        moments[0] ** 2 / moments[1] if moments[1] else math.nan,
        error if moments[1] else math.nan,
        free,
        exact,
    )


def most_products(
    samples: int, units: int, components: int, probes: int, iterations: int, dense_side: int = DENSE_SIDE
) -> int:
    """Return the largest number of products with a Jacobian, or its transpose, that `local_geometry` computes.

    The first ones, by which `Jacobian` itself checks that it is finite, are included.
    """

    def padded(count: int) -> int:
        return -(-count // BLOCK) * BLOCK

    ends = 3 * BLOCK + 2 * (padded(components) + padded(1))
    if is_dense(samples, units, dense_side):
        return ends + padded(min(samples, units))
    return ends + 2 * (BLOCK * iterations + padded(probes))


def is_dense(samples: int, units: int, side: int = DENSE_SIDE) -> bool:
    """Whether a Jacobian is so small that it is formed: its shorter side is at most `side`."""
    return min(units, samples) <= side and units * samples <= DENSE_ENTRIES


def krylov(
    jacobian: Jacobian, components: int, generator: torch.Generator, *, iterations: int, tolerance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the right singular vectors with the largest singular values and the one with the smallest.

    Block Lanczos from a random block (Golub & Van Loan 2013, section 10.3.6; Musco & Musco 2015 on its convergence) on
    JᵀJ, with full reorthogonalisation and, when the basis is full (`BASIS`), thick restarts (Wu & Simon 2000): one
    basis serves both ends of the spectrum, and converges at either in about the square root of the number of steps of
    (shifted) power iteration. It stops when ‖JᵀJ v − λ v‖ is at most `tolerance` times the largest eigenvalue for each
    of the largest, and times the mean one for the smallest.

    Parameters
    ----------
    jacobian
        Jacobian with at least ``8 · components`` samples.
    components
        Number of vectors with the largest singular values.
    generator
        Generator on the CPU, for the first block.
    iterations
        Largest number of products of JᵀJ with a block of `BLOCK` vectors; more than half of `components`.
    tolerance
        Residual at which it stops, above 0. In float32 about 1e-6 is the least that can be reached.

    Returns
    -------
    tuple of torch.Tensor
        Orthonormal rows: ``(K, samples)``, the largest first, and ``(1, samples)``.
    """
    block = _orthonormal(jacobian.draw(BLOCK, generator))
    room = min(BASIS, jacobian.samples // 2)
    ends = torch.tensor([0, *range(-1, -components - 1, -1)], device="cpu")  # the smallest, then the largest
    basis = block[:0]
    projected = torch.zeros(0, 0, dtype=torch.float64, device="cpu")  # JᵀJ in the basis
    for step in range(iterations):
        turned = jacobian.pull(jacobian.push(block))  # (BLOCK, N)
        basis = torch.cat([basis, block])  # (m, N)
        column = (basis @ turned.T).double().cpu()  # (m, BLOCK)
        square = column[-BLOCK:]
        projected = torch.cat(
            [
                torch.cat([projected, column[:-BLOCK]], dim=1),
                torch.cat([column[:-BLOCK].T, (square + square.T) / 2], dim=1),
            ]
        )
        if not step:
            mean = float(square.trace()) / BLOCK
        rest = _without(turned, basis)
        if len(basis) > components:
            values, vectors = torch.linalg.eigh(projected)
            lasting = vectors[-BLOCK:, ends].T.to(rest) @ rest  # JᵀJ v − λ v
            residuals = torch.linalg.vector_norm(lasting, dim=1).double().cpu()
            if residuals[0] <= tolerance * mean and residuals[1:].max() <= tolerance * values[-1]:
                break
        if len(basis) + BLOCK > room:
            kept = torch.cat([torch.arange(room // 4, device="cpu"), torch.arange(-2 * components, 0, device="cpu")])
            basis, projected = vectors[:, kept].T.to(basis) @ basis, torch.diag(values[kept])
            vectors = torch.eye(len(kept), dtype=vectors.dtype, device="cpu")
        noise = jacobian.draw(BLOCK, generator)  # replaces directions that are exhausted
        largest = torch.linalg.vector_norm(turned, dim=1).max()
        block = rest + noise * largest * torch.finfo(rest.dtype).eps / math.sqrt(jacobian.samples)
        for _ in range(2):
            block = _orthonormal(_without(block, basis))
    found = vectors[:, ends].T.to(basis) @ basis
    return found[1:], found[:1]


def distorted(signal: torch.Tensor, direction: torch.Tensor, size: float, domain: Domain) -> torch.Tensor:
    """Return a signal with a distortion added, to look at or listen to.

    Parameters
    ----------
    signal, direction
        Signal of the domain and direction of unit L2 norm, ``(…)``.
    size
        L2 norm of the distortion in the signal's units; a negative one reverses the direction. A root mean
        square of r over a signal of N samples is a size of r · √N.
    domain
        Domain to whose range the result is clamped, so that the distortion may be smaller than `size`.
    """
    return (signal + size * direction).clamp(domain.low, domain.high)


class _Directions(NamedTuple):
    rows: torch.Tensor  # (K, N), orthonormal
    values: torch.Tensor  # ‖J v‖, (K,)
    residuals: torch.Tensor  # ‖JᵀJ v − ‖J v‖² v‖, (K,)


def _missing(jacobian: Jacobian, components: int) -> Geometry:
    nan, each = math.nan, torch.full((components,), math.nan, dtype=torch.float32, device="cpu")
    most = torch.full((components, *jacobian.shape), nan, dtype=torch.float32, device="cpu")
    return Geometry(each, most, nan, most[0], each, nan, nan, nan, nan, nan, False)


def _free(right: torch.Tensor, jacobian: Jacobian, generator: torch.Generator) -> torch.Tensor:
    """A random direction of the null space, ``(1, N)``, given all directions that are noticed."""
    drawn = jacobian.draw(1, generator)
    for _ in range(2):
        drawn = _orthonormal(_without(drawn, right))
    return drawn


def _probed(jacobian: Jacobian, known: _Directions, drawn: torch.Tensor) -> tuple[tuple[float, float], float]:
    """Σλ and Σλ² of JᵀJ, unbiased, and the participation ratio's standard error by the jackknife.

    The part within the known directions is computed, the rest estimated from probes (Meyer et al. 2021, Hutch++).
    """
    squares = known.values.double().square()
    base = squares.sum(), (squares.square() + known.residuals.double().square()).sum()
    outside = jacobian.push(_without(drawn, known.rows))
    first = outside.double().square().sum(dim=1)  # (probes,)
    second = jacobian.pull(outside).double().square().sum(dim=1)
    fewer = len(drawn) - 1
    ratios = (base[0] + (first.sum() - first) / fewer).square() / (base[1] + (second.sum() - second) / fewer)
    error = (fewer * ratios.var(correction=0)).sqrt()
    return (float(base[0] + first.mean()), float(base[1] + second.mean())), float(error)


def _rotated(jacobian: Jacobian, rows: torch.Tensor) -> _Directions:
    """Rotate orthonormal rows within their span to J's singular directions in it, the largest first."""
    turn, values, left = torch.linalg.svd(jacobian.push(rows), full_matrices=False)
    return _with_residuals(jacobian, turn.T @ rows, values[:, None] * left)


def _measured(jacobian: Jacobian, rows: torch.Tensor) -> _Directions:
    if not len(rows):
        return _Directions(rows, rows.new_zeros(0), rows.new_zeros(0))
    return _with_residuals(jacobian, rows, jacobian.push(rows))


def _with_residuals(jacobian: Jacobian, rows: torch.Tensor, pushed: torch.Tensor) -> _Directions:
    values = torch.linalg.vector_norm(pushed, dim=1)
    rest = jacobian.pull(pushed) - values.square()[:, None] * rows
    return _Directions(rows, values, torch.linalg.vector_norm(rest, dim=1))


def _rounding(jacobian: Jacobian) -> float:
    """Singular values below this share of the largest are treated as 0."""
    return 10 * math.sqrt(max(jacobian.units, jacobian.samples)) * torch.finfo(jacobian.dtype).eps


def _without(rows: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Rows without their part in the span of an orthonormal basis."""
    return rows - (rows @ basis.T) @ basis


def _orthonormal(rows: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.linalg.qr(rows.T)[0].T
    return found


def _signed(directions: torch.Tensor) -> torch.Tensor:
    """A direction and its opposite are the same: make the largest entry of each row positive."""
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return directions * largest.sign()
