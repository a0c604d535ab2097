"""Products with the Jacobian of a layer at a signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...framework.devices import float32_as
from ...framework.errors import MetameryError
from ...framework.layers import BatchAxis, Tap
from ...framework.running import frozen

BLOCK = 2
"""Number of vectors of each signal that pass through the network at once."""


class Jacobians:
    """The Jacobians of a layer's activation at several signals, as products with vectors.

    Several copies of each signal pass through the network once, in eval mode with frozen weights; what autograd keeps
    of that pass (a few times what a training step keeps) serves all products, `copies` vectors of each signal at once.
    ``Jᵀu`` is a backward pass. ``Jv`` is the gradient of ``Jᵀu``, which is linear in u, with respect to u: a second
    backward pass.

    Parameters
    ----------
    module
        Network. Each row of its result is assumed to depend on the same row of the signals only.
    layer
        Name of the layer, in the form of `LayerName`.
    signals
        Signals ``(S, …)``, on the network's device and of its type.
    copies
        Number of vectors of each signal in one pass.
    axes
        Batch axes of layers, as in `Tap`.

    Raises
    ------
    MetameryError
        There is no such layer, its activation is not one row of real numbers for each signal, or the network has an
        operation that autograd cannot differentiate twice.

    Attributes
    ----------
    samples, units
        Number of entries of a signal and of the layer's activation to it.
    finite
        Whether all entries of each Jacobian are finite, ``(S,)``; they are not at the square root of 0, for example.
    """

    def __init__(
        self,
        module: nn.Module,
        layer: str,
        signals: torch.Tensor,
        copies: int = BLOCK,
        axes: Mapping[str, BatchAxis] | None = None,
    ) -> None:
        self.layer = layer
        self.shape = tuple(signals.shape[1:])
        self.count = len(signals)
        self.samples = signals[0].numel()
        self.dtype = signals.dtype
        self._copies = copies
        self._signals = signals.detach().repeat_interleave(copies, dim=0).requires_grad_()
        with frozen(module), torch.enable_grad(), _exactly(), Tap(module, [layer], axes=axes) as tap:
            activations = tap(self._signals)[layer]
        passed = len(self._signals)
        rows = activations.ndim > 0 and len(activations) == passed
        if not (rows and activations.is_floating_point() and activations.numel()):
            given = f"{activations.dtype} of shape {tuple(activations.shape)}"
            raise MetameryError(
                f"layer '{layer}' returns {given} for {passed} signals, expected a row of real numbers for each"
            )
        self._activations = activations.reshape(passed, -1)  # (S copies, U)
        self.units = self._activations.shape[1]
        self._covectors = torch.zeros_like(self._activations, requires_grad=True)
        self._pulled = self._gradient(self._activations, self._signals, self._covectors, keep=True)
        self.finite = self._check()

    def push(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jv`` of each of the vectors ``(S, K, samples)``: ``(S, K, units)``."""

        def product(rows: torch.Tensor) -> torch.Tensor:
            return self._gradient(self._pulled, self._covectors, rows.reshape(self._signals.shape))

        return self._in_batches(vectors, product)

    def pull(self, covectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jᵀu`` of each of the covectors ``(S, K, units)``: ``(S, K, samples)``."""

        def product(rows: torch.Tensor) -> torch.Tensor:
            return self._gradient(self._activations, self._signals, rows).flatten(1)

        return self._in_batches(covectors, product)

    def dense(self) -> torch.Tensor:
        """Return the Jacobians themselves, ``(S, units, samples)``, by products with the shorter side's identity."""
        side = min(self.units, self.samples)
        identity = torch.eye(side, dtype=self._signals.dtype, device=self._signals.device).expand(self.count, -1, -1)
        return self.pull(identity) if self.units <= self.samples else self.push(identity).mT

    def draw(self, count: int, generator: torch.Generator, signs: bool = False) -> torch.Tensor:
        """Return random vectors ``(count, samples)``: normal, or signs; drawn on the CPU, the same on every device."""
        drawn = torch.randn(count, self.samples, generator=generator, device=generator.device, dtype=torch.float32)
        return (drawn.sign() if signs else drawn).to(self._signals)

    def _check(self) -> torch.Tensor:
        """Whether products are finite; some operations that cannot be differentiated twice raise, others give 0."""
        generator = torch.Generator().manual_seed(0)
        vector = self.draw(1, generator)
        covector = torch.randn(1, self.units, generator=generator, device=generator.device, dtype=torch.float32).to(
            vector
        )
        refused = f"layer '{self.layer}': the network has an operation that cannot be differentiated twice"
        try:
            pushed, pulled = (
                product(one.expand(self.count, 1, -1)).squeeze(1)
                for product, one in ((self.push, vector), (self.pull, covector))
            )
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            raise MetameryError(f"{refused}: {str(error).splitlines()[0]}") from None
        finite = pushed.isfinite().all(dim=1) & pulled.isfinite().all(dim=1)
        difference = ((pushed * covector).sum(dim=1) - (pulled * vector).sum(dim=1)).abs()
        if bool((finite & (difference > 1e-3 * pulled.norm(dim=1))).any()):
            raise MetameryError(refused)
        return finite.cpu()

    def _in_batches(self, vectors: torch.Tensor, product: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        count = vectors.shape[1]
        padded = torch.cat([vectors, vectors.new_zeros(self.count, -count % self._copies, vectors.shape[2])], dim=1)
        found = [
            product(rows.flatten(0, 1)).reshape(self.count, self._copies, -1)
            for rows in torch.split(padded, self._copies, dim=1)
        ]
        return torch.cat(found, dim=1)[:, :count].to(self.dtype)

    def _gradient(self, of: torch.Tensor, by: torch.Tensor, at: torch.Tensor, keep: bool = False) -> torch.Tensor:
        if not of.requires_grad:  # it does not depend on the signal
            return torch.zeros_like(by)
        with _exactly():
            (found,) = torch.autograd.grad(
                of, by, at.to(of.dtype), retain_graph=True, create_graph=keep, materialize_grads=True
            )
        return found


class Jacobian:
    """The Jacobian of a layer's activation at one signal, see `Jacobians`.

    Parameters
    ----------
    module, layer, copies, axes
        As in `Jacobians`, whose errors are raised.
    signal
        Signal ``(…)``, without a batch dimension, on the network's device and of its type.

    Attributes
    ----------
    samples, units
        Number of entries of the signal and of the layer's activation.
    finite
        Whether all entries are finite.
    """

    def __init__(
        self,
        module: nn.Module,
        layer: str,
        signal: torch.Tensor,
        copies: int = BLOCK,
        axes: Mapping[str, BatchAxis] | None = None,
    ) -> None:
        self._batch = Jacobians(module, layer, signal[None], copies, axes)
        self.shape, self.samples, self.units = self._batch.shape, self._batch.samples, self._batch.units
        self.dtype = self._batch.dtype
        self.finite = bool(self._batch.finite)
        self.draw = self._batch.draw

    def push(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jv`` of each of the vectors ``(K, samples)``: ``(K, units)``."""
        return self._batch.push(vectors[None])[0]

    def pull(self, covectors: torch.Tensor) -> torch.Tensor:
        """Return ``Jᵀu`` of each of the covectors ``(K, units)``: ``(K, samples)``."""
        return self._batch.pull(covectors[None])[0]

    def dense(self) -> torch.Tensor:
        """Return the Jacobian itself, ``(units, samples)``."""
        return self._batch.dense()[0]


@contextmanager
def _exactly() -> Iterator[None]:
    """Use unfused attention, since fused it cannot be differentiated twice, and full float32 for convolutions on GPUs.

    With TF32's 11 bits products with J and with its transpose would be inconsistent.
    """
    with float32_as("ieee", torch.backends.cudnn.conv), sdpa_kernel(SDPBackend.MATH):  # type: ignore[attr-defined]
        yield
