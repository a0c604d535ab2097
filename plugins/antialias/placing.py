"""Position of the blur that takes over the stride of a convolution, found from a `Flow`.

Zhang (2019, fig. 4): conv /2 → ReLU becomes conv /1 → ReLU → blur /2. So the blur goes after the activation function,
whether or not there is a normalisation before it. Without an activation function, the convolution and the blur are one
linear filter and the blur goes directly after the convolution; or, with a 1 × 1 convolution, directly before it, which
gives the same result with less computation.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .flow import Call, Flow

_SMOOTH = ("elu", "celu", "selu", "silu", "mish", "gelu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus")
ACTIVATIONS = {"relu", "relu6", "hardtanh", "leaky_relu", "rrelu", "prelu", "clamp", "clamp_min", *_SMOOTH}
"""Torch's functions that act elementwise; their in-place forms, with a trailing ``_``, count as well."""

BETWEEN = {"batch_norm", "group_norm", "instance_norm", "layer_norm", "dropout", "dropout1d", "dropout2d", "contiguous"}
"""Functions that may come between a convolution and its activation function."""

_RUNS_ITS_CHILDREN = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class BlurPosition:
    """Where to blur: after a module, or before each of several; and, if that is not after the activation, why."""

    after: nn.Module | None = None
    before: tuple[nn.Module, ...] = ()
    paths: tuple[str, ...] = ()
    why: str = ""


def blur_position(flow: Flow, convolution: nn.Conv1d | nn.Conv2d) -> BlurPosition:
    """Choose the position of the blur for a convolution that runs at least once."""
    calls = flow.calls_of(convolution)
    if len(calls) > 1:
        return BlurPosition(convolution, why=f"it runs {len(calls)} times in a pass")
    activated, why = _activated(flow, calls[0].result)
    if activated is not None:
        position = _after(flow, activated) or _before(flow, activated)
        return position or BlurPosition(convolution, why="no module begins or ends where its activation function does")
    pointwise = set(convolution.kernel_size) == {1} and convolution.padding in ("valid", (0,), (0, 0))
    plain = type(convolution).forward in (nn.Conv1d.forward, nn.Conv2d.forward)
    if pointwise and plain and not why and calls[0].first is not None:
        return BlurPosition(before=(convolution,))
    return BlurPosition(convolution, why=why)


def _activated(flow: Flow, value: int | None) -> tuple[int | None, str]:
    """Follow a convolution's result to the result of its activation function; else say why there is none."""
    while value is not None:
        users = [flow.operations[user] for user in flow.users(value)]
        if len(users) > 1:
            return None, f"its result is used {len(users)} times"
        if not users:
            break
        name = users[0].name.removesuffix("_")
        if name in ACTIVATIONS:
            return users[0].gives[0], ""
        value = users[0].gives[0] if name in BETWEEN else None
    return None, ""


def _after(flow: Flow, value: int) -> BlurPosition | None:
    """Find the innermost module that returns a value before anything uses it."""
    first_user = min(flow.users(value), default=len(flow.operations))
    for call in sorted(flow.calls, key=lambda call: (call.end, -call.begin)):
        if call.result == value and call.end <= first_user and _can_be_hooked(flow, call, "blur"):
            return BlurPosition(after=call.part, paths=(call.path,))
    return None


def _before(flow: Flow, value: int) -> BlurPosition | None:
    """Find the modules that take a value as their first argument, if nothing else uses it."""
    takers: dict[int, Call] = {}
    for user in flow.users(value):
        at = flow.operations[user].caller
        while at >= 0 and not _takes_first(flow, flow.calls[at], value):
            at = flow.calls[at].parent
        if at < 0:
            return None
        takers[at] = flow.calls[at]
    if not takers or value in flow.calls[0].gives:
        return None
    calls = takers.values()
    return BlurPosition(before=tuple(call.part for call in calls), paths=tuple(call.path for call in calls))


def _takes_first(flow: Flow, call: Call, value: int) -> bool:
    return call.first == value and call.takes.count(value) == 1 and _can_be_hooked(flow, call, "blur_input")


def _can_be_hooked(flow: Flow, call: Call, name: str) -> bool:
    """Whether a module runs once and can have a child of this name: some modules run all their children."""
    alone = len(flow.calls_of(call.part)) == 1
    return alone and not isinstance(call.part, _RUNS_ITS_CHILDREN) and not hasattr(call.part, name)
