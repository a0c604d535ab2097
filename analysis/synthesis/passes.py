"""One pass forward and back of a batch of signals: as the network is, captured as a CUDA graph, and compiled.

The objective of a signal x is the distance d₁ of its activations at a layer from the target. At a joint layer it is the
weighted sum of its terms' distances dᵢ, each in units of its value at the start x₀::

    Σ wᵢ dᵢ(x) d₁(x₀) / dᵢ(x₀),  Σ |wᵢ| = 1

One pass serves all terms. The modified ReLU applies to each term's own gradient at its own layer only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.layers import Tap, before_relu
from .priors import bounds, total_variation
from .procedure import Procedure

Pull = tuple[torch.Tensor, torch.Tensor | None]
"""Each signal's distances ``(terms, B)``, and the gradient of its own objective ``(B, …)``, if there is one."""

Targets = tuple[torch.Tensor, ...]
"""Activations to match at each term ``(B, …)``."""

Weigh = Callable[[torch.Tensor], torch.Tensor]
"""Returns the weights of each term and signal, given their distances, both ``(terms, B)``."""

Pass = Callable[[torch.Tensor, Targets, torch.Tensor], Pull]
"""``(signals, targets, weights)`` to a `Pull`; the weights are those of each term and signal, ``(terms, B)``."""

CAPTURED_RTOL = 1e-3
"""Largest relative difference between the distances of a captured pass and of the pass that it was captured from."""

COMPILED_RTOL = 1e-2
"""The same for a compiled pass, which rounds elsewhere where the precision is reduced."""


def pull(
    signals: torch.Tensor,
    targets: Targets,
    weights: torch.Tensor | Weigh,
    tap: Tap,
    procedure: Procedure,
    domain: Domain,
    *,
    differentiate: bool = True,
) -> Pull:
    """Return each signal's distance at each term, and the gradient of its own objective.

    The weights are given, or follow from the distances of this pass, as at the start. The gradient is None where no
    activation depends on the signals, or `differentiate` is False.
    """
    settings, distance = procedure.settings, procedure.distance
    signals = signals.detach().requires_grad_(differentiate)
    reduced = getattr(torch, settings.precision, None) if settings.precision != "float32" else None  # not of tf32
    with (
        torch.set_grad_enabled(differentiate),
        torch.autocast(signals.device.type, reduced, enabled=reduced is not None),
    ):
        activations = [*tap(signals).values()]
    if not differentiate:
        pairs = zip(activations, targets, strict=True)
        return torch.stack([distance(own.to(target.dtype), target) for own, target in pairs]), None
    leaves = [own.detach().to(target.dtype).requires_grad_() for own, target in zip(activations, targets, strict=True)]
    with torch.enable_grad():
        distances = [distance(leaf, target) for leaf, target in zip(leaves, targets, strict=True)]
        each = torch.stack(distances)
        found = each.detach()
        shares = weights if isinstance(weights, torch.Tensor) else weights(found)
        total = distances[0].sum() if len(distances) == 1 else (each * shares).sum()
        towards = torch.autograd.grad(total, leaves)
        reached = [index for index, own in enumerate(activations) if own.requires_grad]
        points: list[Any] = [before_relu(own) if settings.modified_relu else own for own in activations]
        per_signal = None
        if torch.float16 in {own.dtype for own in activations}:  # its smallest numbers are larger than many gradients
            scale = torch.stack([own.flatten(1).abs().amax(dim=1) for own in towards]).amax(dim=0)
            per_signal = scale.clamp_min(torch.finfo(towards[0].dtype).tiny)
            towards = tuple(own / _along(per_signal, own) for own in towards)
        if not reached:
            return found, None
        (gradient,) = torch.autograd.grad(
            [points[index] for index in reached],
            signals,
            [towards[index].to(activations[index].dtype) for index in reached],
            allow_unused=True,
        )
        if gradient is None:  # something in between passes no gradient on, such as a quantised layer
            return found, None
        if per_signal is not None:
            gradient = gradient * _along(per_signal, gradient)
        for prior, weight in ((total_variation, settings.total_variation), (bounds, settings.bounds)):
            if weight:
                penalty = prior(signals, domain.low, domain.high).sum()
                gradient = gradient + weight * torch.autograd.grad(penalty, signals)[0]
    return found, gradient


def relative_weights(weights: Sequence[float], distances: torch.Tensor) -> torch.Tensor:
    """Return the weights of each term and signal, from the terms' own and their distances at the start ``(terms, B)``.

    A term whose distance at the start is 0 keeps its own weight.
    """
    own = torch.tensor(weights, dtype=distances.dtype, device=distances.device)
    own = (own / own.abs().sum())[:, None]
    scale = distances[0] / distances
    return own * torch.where(scale.isfinite() & (scale > 0), scale, 1)


def _along(per_signal: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return per_signal.reshape(-1, *[1] * (values.ndim - 1))


class _Captured:
    """A pass as a CUDA graph: what it reads and what it returns stay where they are."""

    def __init__(self, run: Callable[[], Pull]) -> None:
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            run()  # libraries set themselves up outside the graph
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = run()

    def __call__(self) -> Pull:
        self._graph.replay()
        return self._result


def capture(run: Callable[[], Pull], distances: torch.Tensor) -> Callable[[], Pull] | None:
    """Capture a pass whose result is known as a CUDA graph; None if it fails, as with a network that waits for it."""
    try:
        captured = _Captured(run)
    except RuntimeError:
        return None
    found, _ = captured()
    return captured if torch.allclose(found, distances, rtol=CAPTURED_RTOL, equal_nan=True) else None


class Compiled:
    """Compiles passes at one layer, and keeps them for further batches of the same size.

    All operations of a pass forward and back, with the modified ReLU, are traced and then compiled by `torch.compile`,
    which joins those that read and write much and compute little.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Pass] = {}

    def __call__(
        self, run: Pass, signals: torch.Tensor, targets: Targets, weights: torch.Tensor, distances: torch.Tensor
    ) -> Pass:
        """Return a pass, whose result is known, as compiled.

        Raises
        ------
        MetameryError
            It cannot be compiled, or its result is another then.
        """
        size = tuple((*each.shape, each.dtype) for each in (signals, *targets))
        if size not in self._kept:
            self._kept[size] = _compiled(run, signals, targets, weights)
        found, _ = self._kept[size](signals, targets, weights)
        if not torch.allclose(found, distances, rtol=COMPILED_RTOL, equal_nan=True):
            raise MetameryError("compiled, the network gives other activations: expected compiled = false")
        return self._kept[size]


def _compiled(run: Pass, signals: torch.Tensor, targets: Targets, weights: torch.Tensor) -> Pass:
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, which a caller may have made errors
            traced = make_fx(run)(signals, targets, weights)
            compiled: Pass = torch.compile(traced, fullgraph=True, dynamic=False, options={"deterministic": True})

            @torch.no_grad()
            def again(signals: torch.Tensor, targets: Targets, weights: torch.Tensor) -> Pull:
                return compiled(signals, targets, weights)

            again(signals, targets, weights)
    except Exception as error:  # from the network or the compiler, or there is no compiler
        reason = str(getattr(error, "inner_exception", error)).strip().splitlines() or [type(error).__name__]
        raise MetameryError(f"the network cannot be compiled ({reason[0]}): expected compiled = false") from None
    return again
