"""One pass forward and back of a batch of signals: as the network is, captured as a CUDA graph, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.layers import Tap, before_relu
from .priors import bounds, total_variation
from .procedure import Procedure

Pull = tuple[torch.Tensor, torch.Tensor | None]
"""Each signal's distance ``(B,)``, and the gradient of its own objective ``(B, …)``, if there is one."""

Pass = Callable[[torch.Tensor, torch.Tensor], Pull]
"""``(signals, targets)`` to a `Pull`."""

CAPTURED_RTOL = 1e-3
"""Largest relative difference between the distances of a captured pass and of the pass that it was captured from."""

COMPILED_RTOL = 1e-2
"""The same for a compiled pass, which rounds elsewhere where the precision is reduced."""


def pull(
    signals: torch.Tensor,
    targets: torch.Tensor,
    tap: Tap,
    procedure: Procedure,
    domain: Domain,
    *,
    differentiate: bool = True,
) -> Pull:
    """Return each signal's distance, and the gradient of its own objective.

    The gradient is None where the activation does not depend on the signals, or `differentiate` is False.
    """
    settings, distance = procedure.settings, procedure.distance
    signals = signals.detach().requires_grad_(differentiate)
    reduced = getattr(torch, settings.precision, None) if settings.precision != "float32" else None  # not of tf32
    with (
        torch.set_grad_enabled(differentiate),
        torch.autocast(signals.device.type, reduced, enabled=reduced is not None),
    ):
        (activations,) = tap(signals).values()
    if not differentiate:
        return distance(activations.to(targets.dtype), targets), None
    leaf = activations.detach().to(targets.dtype).requires_grad_()
    with torch.enable_grad():
        distances = distance(leaf, targets)
        (towards,) = torch.autograd.grad(distances.sum(), leaf)
        if not activations.requires_grad:
            return distances.detach(), None
        point = before_relu(activations) if settings.modified_relu else activations
        if activations.dtype == torch.float16:  # its smallest numbers are larger than many gradients
            scale = towards.flatten(1).abs().amax(dim=1).clamp_min(torch.finfo(towards.dtype).tiny)
            per_signal = scale.reshape(-1, *[1] * (signals.ndim - 1))
            towards = towards / scale.reshape(-1, *[1] * (towards.ndim - 1))
        else:
            per_signal = None
        (gradient,) = torch.autograd.grad(point, signals, towards.to(activations.dtype), allow_unused=True)
        if gradient is None:  # something in between passes no gradient on, such as a quantised layer
            return distances.detach(), None
        if per_signal is not None:
            gradient = gradient * per_signal
        for prior, weight in ((total_variation, settings.total_variation), (bounds, settings.bounds)):
            if weight:
                penalty = prior(signals, domain.low, domain.high).sum()
                gradient = gradient + weight * torch.autograd.grad(penalty, signals)[0]
    return distances.detach(), gradient


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

    def __call__(self, run: Pass, signals: torch.Tensor, targets: torch.Tensor, distances: torch.Tensor) -> Pass:
        """Return a pass, whose result is known, as compiled.

        Raises
        ------
        MetameryError
            It cannot be compiled, or its result is another then.
        """
        size = (*signals.shape, signals.dtype, *targets.shape, targets.dtype)
        if size not in self._kept:
            self._kept[size] = _compiled(run, signals, targets)
        found, _ = self._kept[size](signals, targets)
        if not torch.allclose(found, distances, rtol=COMPILED_RTOL, equal_nan=True):
            raise MetameryError("compiled, the network gives other activations: expected compiled = false")
        return self._kept[size]


def _compiled(run: Pass, signals: torch.Tensor, targets: torch.Tensor) -> Pass:
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        traced = make_fx(run)(signals, targets)
        compiled: Pass = torch.compile(traced, fullgraph=True, dynamic=False, options={"deterministic": True})

        @torch.no_grad()
        def again(signals: torch.Tensor, targets: torch.Tensor) -> Pull:
            return compiled(signals, targets)

        again(signals, targets)
    except Exception as error:  # from the network or the compiler, or there is no compiler
        reason = str(getattr(error, "inner_exception", error)).strip().splitlines() or [type(error).__name__]
        raise MetameryError(f"the network cannot be compiled ({reason[0]}): expected compiled = false") from None
    return again
