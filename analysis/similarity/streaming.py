"""Gram products of K activations with each other, accumulated over batches in bounded memory.

CKA and RSA need nothing else of the activations, so K² numbers represent layers of any width. The activations of some
stimuli are held while those of all later stimuli are computed batch by batch; then the next are held, and so on. If
memory holds them all, each stimulus passes through the network once; if it holds one part in n, (n + 1)/2 times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...framework.errors import MetameryError

BLOCK_BYTES = 64 * 2**20
"""Bytes of activations that are converted to float64 at once."""

GIB = 2**30

_PER_PAIR = 24  # bytes for each pair of stimuli and site: the products, and copies that a measure makes
_SHARED_PER_PAIR = 64  # whatever the number of sites
_CONSTANT = 1e-12  # share of a row's power that must be variance; less is rounding error


@dataclass(frozen=True, eq=False)
class Gram:
    """K activations in terms of their inner products.

    Parameters
    ----------
    products
        Inner products of all pairs of activations, ``(K, K)`` float64.
    sums
        Sums over the units of each activation, ``(K,)`` float64.
    units
        Number of units.
    """

    products: torch.Tensor
    sums: torch.Tensor
    units: int

    @classmethod
    def of(cls, activations: torch.Tensor) -> Gram:
        """Compute the products of activations ``(K, …)`` in memory."""
        return inner_products(lambda stimuli: {"": activations[stimuli]}, len(activations))[""]

    def some(self, indices: Sequence[int] | torch.Tensor) -> Gram:
        """Return the products of some stimuli only."""
        selected = torch.as_tensor(indices, device=self.products.device)
        return Gram(self.products[selected][:, selected], self.sums[selected], self.units)

    def covariances(self) -> torch.Tensor:
        """Gram products of the activations without their means over units, ``(K, K)``; 0 where one is constant."""
        found = self.products - torch.outer(self.sums, self.sums) / self.units
        varies = found.diagonal() > _CONSTANT * self.products.diagonal()
        return found * (varies[:, None] & varies)

    def squared_distances(self) -> torch.Tensor:
        """Squared Euclidean distances, ``(K, K)``."""
        power = self.products.diagonal()
        return (power[:, None] + power - 2 * self.products).clamp_min_(0).fill_diagonal_(0)


def inner_products(
    activations: Callable[[slice], Mapping[str, torch.Tensor]],
    count: int,
    *,
    batch_size: int = 32,
    held: int | None = None,
    name: Callable[[int], str] = str,
    advance: Callable[[], None] = lambda: None,
    block_bytes: int = BLOCK_BYTES,
) -> dict[str, Gram]:
    """Compute the inner products of activations at some sites, without holding all activations in memory.

    Sums are in float64, so the result depends on the sizes of batches only through the network's rounding.

    Parameters
    ----------
    activations
        Function that returns those to some stimuli, by site, ``(B, …)``; called for the same stimuli more than once if
        not all are held.
    count
        Number of stimuli, K.
    batch_size
        Number of stimuli in a call of `activations`.
    held
        Number of stimuli whose activations are held at once; all by default. See `plan`.
    name
        Function that returns the name of a stimulus by its index.
    advance
        Called after each batch.
    block_bytes
        Memory for the columns in float64 at once; it does not change the result.

    Raises
    ------
    MetameryError
        An activation is not finite.
    """
    held = count if held is None else held
    found: dict[str, Gram] = {}
    for first in range(0, count, held):
        last = min(first + held, count)
        panel: dict[str, torch.Tensor] = {}
        for batch in _batches(first, last, batch_size):
            for site, rows in _flat(activations(batch)):
                if site not in panel:
                    panel[site] = rows.new_empty(last - first, rows.shape[1])
                panel[site][batch.start - first : batch.stop - first] = rows
            advance()
        for site, rows in panel.items():
            if site not in found:
                products = torch.zeros(count, count, dtype=torch.float64, device=rows.device)
                found[site] = Gram(products, products.new_zeros(count), rows.shape[1])
            _multiply(found[site], slice(first, last), rows, slice(first, last), rows, block_bytes)
        for batch in _batches(last, count, batch_size):
            for site, rows in _flat(activations(batch)):
                _multiply(found[site], batch, rows, slice(first, last), panel[site], block_bytes)
            advance()
    for site, inner in found.items():
        if not (finite := inner.products.diagonal().isfinite()).all():
            raise MetameryError(
                f"activations at '{site}' to stimulus '{name(int(finite.int().argmin()))}' are not finite"
            )
    return found


@dataclass(frozen=True)
class Plan:
    """Memory and passes of a comparison.

    Parameters
    ----------
    held
        Number of stimuli whose activations are held at once.
    batches
        Number of batches that pass through the networks in total.
    memory
        Largest number of bytes, in addition to the networks and what they need to run.
    """

    held: int
    batches: int
    memory: int


def plan(
    count: int, matrices: int, each: int, *, batch_size: int, memory: float, block_bytes: int = BLOCK_BYTES
) -> Plan:
    """Plan a comparison that holds as many activations as memory allows.

    It takes 24 · `matrices` · K² + 64 · K² bytes for the inner products and their copies, `each` · (held + 2 ·
    `batch_size`) for activations, and 2 · `block_bytes`.

    Parameters
    ----------
    count
        Number of stimuli, K.
    matrices
        Number of sets of K activations that are compared at once: sites, or sites times sets of signals.
    each
        Number of bytes of one stimulus's activations at all sites that are read together.
    batch_size
        Number of stimuli that pass through the networks at once.
    memory
        Memory limit in GiB.
    block_bytes
        As in `inner_products`.

    Raises
    ------
    MetameryError
        The limit is too low; the message gives the memory that is needed.
    """
    fixed = (_PER_PAIR * matrices + _SHARED_PER_PAIR) * count**2 + 2 * block_bytes
    room = int(memory * GIB) - fixed - 2 * batch_size * each
    held = min(count, room // each)
    if held < min(count, batch_size):
        least = fixed + (2 * batch_size + min(count, batch_size)) * each
        raise MetameryError(
            f"similarity of {count} stimuli, {matrices} sets of activations, takes {least / GIB:.2f} GiB; memory is "
            f"{memory:g}: expected more memory, a smaller batch_size, fewer layers or a lower limit of stimuli"
        )
    if held < count:
        held -= held % batch_size  # so that every batch is full
    batches = sum(
        len(_batches(first, min(first + held, count), batch_size))
        + len(_batches(min(first + held, count), count, batch_size))
        for first in range(0, count, held)
    )
    return Plan(held, batches, fixed + (held + 2 * batch_size) * each)


def pairwise(matrix: torch.Tensor) -> torch.Tensor:
    """Each pair's entry, once, of a symmetric matrix ``(K, K)``: ``(K (K − 1) / 2,)``."""
    one, two = torch.triu_indices(len(matrix), len(matrix), 1, device=matrix.device)
    return matrix[one, two]


def _batches(first: int, last: int, batch_size: int) -> list[slice]:
    return [slice(start, min(start + batch_size, last)) for start in range(first, last, batch_size)]


def _flat(activations: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Rows ``(B, D)``; on the CPU where the device has no float64."""
    for site, rows in activations.items():
        yield site, (rows.cpu() if rows.device.type == "mps" else rows).detach().flatten(1)


def _multiply(
    inner: Gram,
    here: slice,
    rows: torch.Tensor,
    there: slice,
    others: torch.Tensor,
    block_bytes: int,
) -> None:
    """Store the inner products of some rows ``(B, D)`` with others ``(P, D)``, and their transpose.

    If the others are the same rows, store their sums, too.
    """
    product = inner.products.new_zeros(len(rows), len(others))
    step = max(1, block_bytes // (8 * (len(rows) + len(others))))
    for first in range(0, inner.units, step):
        columns = slice(first, first + step)
        one = rows[:, columns].double()
        if others is rows:
            inner.sums[here] += one.sum(dim=1)
            product.addmm_(one, one.T)
        else:
            product.addmm_(one, others[:, columns].double().T)
    inner.products[here, there] = product
    inner.products[there, here] = product.T
