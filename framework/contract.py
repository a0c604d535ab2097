"""The contract of a network, checked before anything is computed: a violation would lead to wrong results.

Two different signals pass through the network, alone and together. Each must get the same activations in every pass,
whatever else is in the batch. Some deviations are corrected, with a note: the batch in another dimension than the
first, logits inside a tuple or a mapping, a network that changes its input in place.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from .ends import Outlet, copied, remove_hooks, widened
from .errors import MetameryError
from .joint import single_layers, terms_of
from .layers import BatchAxis, LayerName, Tap, is_relu
from .outline import LayerOutline, outline
from .running import frozen, ordinary, signal_type

if TYPE_CHECKING:
    from .domains import Domain
    from .models import Model

COUPLED_FROM = 0.01
"""Relative L2 distance between activations alone and in a batch, too large for rounding; BatchNorm causes about 0.1."""

RANDOM_FROM = 1e-4
"""Relative L2 distance between two passes of one signal, too large for rounding."""

_COARSE = 5.0  # factor of both for 16-bit weights


@dataclass(frozen=True, eq=False)
class Contract:
    """The result of examining a network.

    Parameters
    ----------
    outline
        All layers of a forward pass, in order, ``input`` first.
    axes
        Batch axes of the layers that do not have the batch in their first dimension.
    relus
        For each layer that was checked, whether its activation is the result of a ReLU, to which the modified ReLU
        applies.
    classes
        Number of logits; None if the network does not return a row of two or more for each signal, or is an encoder.
    notes
        Corrections that were made, one line each.
    """

    outline: tuple[LayerOutline, ...]
    axes: Mapping[str, BatchAxis]
    relus: Mapping[str, bool]
    classes: int | None
    notes: tuple[str, ...]


@ordinary()
def examine(model: Model, layers: Sequence[str] = ()) -> Contract:
    """Check a network on two different signals.

    It takes two passes with gradients and three without. The result is kept with the model, and a later call runs the
    network again only for new layers. Hooks that are added to the network take the logits out of its output, also in
    training mode, and pass it a copy of its input if it changes that in place.

    1. Weights have values, on a device, and were not made in inference mode.
    2. The network takes signals ``(B, …)`` of the domain.
    3. It returns logits, or contains them in its output as the element ``logits``, the first of a tuple, or the only
       tensor.
    4. The same signal gets the same activations twice, unless the model is declared stochastic.
    5. A signal's activations do not depend on the other signals of the batch.
    6. Every layer has the batch in one of its dimensions.
    7. There are as many labels as logits.

    Raises
    ------
    MetameryError
        One of these checks fails, or a layer is unknown, named twice, not reached or not a tensor.
    """
    made_of = _made_of(model)
    earlier, kept = model.__dict__.get("_contract", (None, None))
    if repeated := [layer for index, layer in enumerate(layers) if layer in layers[:index]]:
        raise MetameryError(f"layer '{repeated[0]}' is named twice")
    layers = single_layers(layers)
    parsed = [str(LayerName.parse(layer).within(model.module)) for layer in layers]
    if repeated := [layer for layer, name in zip(layers, parsed, strict=True) if parsed.count(name) > 1]:
        raise MetameryError(f"layer '{repeated[0]}' is named twice")
    if kept is not None and earlier == made_of:
        layers = [*kept.relus, *layers]
        if kept.relus.keys() >= {*layers}:
            return kept  # type: ignore[no-any-return]
    remove_hooks(model.module)
    try:
        contract = _examined(model, list(dict.fromkeys([*layers, "output"])))
    except BaseException:
        remove_hooks(model.module)
        raise
    model.__dict__["_contract"] = made_of, contract
    for note in contract.notes:
        if kept is None or note not in kept.notes:
            warnings.warn(note, stacklevel=4)
    return contract


def still_examined(model: Model) -> None:
    """Keep what `examine` found, after weights were replaced by others that make the same network."""
    if "_contract" in model.__dict__:
        model.__dict__["_contract"] = _made_of(model), model.__dict__["_contract"][1]


def _made_of(model: Model) -> list[Any]:
    module = model.module
    return [*map(id, module.modules()), *((id(weight), weight.dtype, weight.device) for weight in module.parameters())]


def _examined(model: Model, layers: Sequence[str]) -> Contract:
    module, notes = model.module, []
    _check_weights(module)
    Tap(module, layers)  # refuses a wrong name before anything runs
    signals = probe_signals(model.domain).to(_device(module), signal_type(module))
    outlet = Outlet()
    module.register_forward_hook(outlet)
    if signals.dtype == torch.float64:
        module.register_forward_pre_hook(widened, prepend=True)
    with frozen(module), _same_buffers(module) as changing, _refusing(model), _fork(signals.device):
        if _changes_input(module, signals[:1]):
            module.register_forward_pre_hook(copied, prepend=True)
            notes.append("the network changes its input in place: it is given a copy")
        outlined = tuple(outline(module, model.domain, signals[:1]))
        _check_names(module, layers, {layer.name for layer in outlined})
        with Tap(module, layers) as tap:
            with torch.enable_grad():
                once = tap(signals[:1].clone().requires_grad_().clone())
            with torch.no_grad():
                twice, together = tap(signals[:1].clone()), tap(signals.clone())
    axes = _axes(model, once, twice, together, changing)
    outlet.axis = axes.pop("output", None)
    if outlet.note:
        notes.append(outlet.note)
    output = together["output"] if outlet.axis is None else outlet.axis.first(together["output"], 2)
    classes = output.shape[1] if output.ndim == 2 and output.shape[1] > 1 and not model.encoder else None
    _check_labels(model, classes)
    relus = {name: is_relu(each) and name not in axes for name, each in once.items()}
    return Contract(outlined, axes, relus, classes, tuple(notes))


def _axes(
    model: Model,
    once: Mapping[str, torch.Tensor],
    twice: Mapping[str, torch.Tensor],
    together: Mapping[str, torch.Tensor],
    changing: Sequence[str],
) -> dict[str, BatchAxis]:
    """Compare the activations of one signal with those of a second pass and of a batch; return the batch axes."""
    is_coarse = any(weight.dtype in (torch.half, torch.bfloat16) for weight in model.module.parameters())
    scale = _COARSE if is_coarse else 1.0
    axes = {}
    for name in once:
        if not model.stochastic and not _close(once[name], twice[name], scale * RANDOM_FROM):
            raise MetameryError(_random(name))
        tolerance = None if model.stochastic else scale * COUPLED_FROM
        axis = _axis(name, once[name], together[name], tolerance, model.module, changing)
        if axis is not None:
            axes[name] = axis
    return axes


def has_relus(model: Model, layers: Sequence[str]) -> tuple[bool, ...]:
    """Return for each layer whether the modified ReLU applies to it, or to a term of it."""
    relus = examine(model, layers).relus
    return tuple(any(relus[term.layer] for term in terms_of(layer)) for layer in layers)


def on_device(model: Model, device: str | torch.device) -> nn.Module:
    """Move a network to a device, and return it.

    Raises
    ------
    MetameryError
        Its weights have no values yet, were made in inference mode, or have 16 bits.
    """
    _check_weights(model.module)
    return model.module.to(device)


def require_classes(name: str, model: Model) -> None:
    """Raise `MetameryError` unless a model returns a row of logits and has labels for them."""
    if model.labels is None and not model.encoder:
        raise MetameryError(f"model '{name}' has no labels, which decide whether answers are right")
    require_logits(name, model)


def require_logits(name: str, model: Model) -> None:
    """Raise `MetameryError` unless a model returns a row of two or more logits for each signal."""
    if model.encoder:
        raise MetameryError(
            f"model '{name}' returns features, not logits of classes, so it gives no answers: a linear read-out can be "
            "trained on it, see the option num_classes"
        )
    if examine(model).classes is None:
        raise MetameryError(f"model '{name}' does not return a row of logits for each signal, so it gives no answers")


def probe_signals(domain: Domain) -> torch.Tensor:
    """Return two different fixed signals ``(2, …)`` inside a domain's range: weak noise, and a strong slow wave."""
    noise = torch.rand(domain.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
    phase = torch.linspace(0, 6.28, noise.numel(), dtype=torch.float32, device="cpu").reshape(domain.shape)
    unit = torch.stack([0.4 + 0.2 * noise, 0.5 + 0.3 * (3 * phase).sin() + 0.15 * (noise - 0.5)])
    return domain.low + (domain.high - domain.low) * unit


def _changes_input(module: nn.Module, signal: torch.Tensor) -> bool:
    given = signal.clone()
    with torch.no_grad():
        module(given)
    return given._version > 0


def _check_weights(module: nn.Module) -> None:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        if is_lazy(tensor):
            raise MetameryError(
                f"the network's '{name}' has no shape yet: run the network once before it becomes a Model"
            )
        if tensor.is_meta:
            raise MetameryError(f"the network's '{name}' has no values (device meta): load its weights first")
        if tensor.is_inference():
            raise MetameryError(
                f"the network's '{name}' was made in inference mode, so gradients cannot pass it: build it outside"
            )
    floating = {tensor.dtype for _, tensor in tensors if tensor.is_floating_point()}
    if floating and floating <= {torch.float16, torch.bfloat16}:
        kind = str(next(iter(floating))).removeprefix("torch.")
        raise MetameryError(f"the network's weights are {kind}, expected float32 or float64: call its .float()")


def _check_names(module: nn.Module, layers: Sequence[str], run: set[str]) -> None:
    """Refuse a second name of a module that runs more than once, since it does not state which call is meant."""
    for layer in layers:
        path = LayerName.parse(layer).within(module).path
        if path in ("input", "output"):
            continue
        part = module.get_submodule(path)
        names = [name for name, other in module.named_modules(remove_duplicate=False) if other is part]
        if path != names[0] and f"{names[0]}@2" in run:
            raise MetameryError(
                f"layer '{layer}' is a second name of the module '{names[0]}', which runs more than once: expected "
                f"'{names[0]}', with @CALL for one of its calls, such as '{names[0]}@{names.index(path) + 1}'"
            )


def _check_labels(model: Model, classes: int | None) -> None:
    if model.labels is None or classes is None or len(model.labels) == classes:
        return
    more = "; if one is a background class, it needs a label, too" if classes == len(model.labels) + 1 else ""
    raise MetameryError(f"the network returns {classes} logits, and there are {len(model.labels)} labels{more}")


def _random(name: str) -> str:
    where = "logits" if name == "output" else f"activations at '{name}'"
    return (
        f"the network is random in eval mode: one signal gets different {where} the second time (dropout without "
        "training=self.training?); if that is intended, give its Model stochastic=True"
    )


def _axis(
    name: str,
    alone: torch.Tensor,
    together: torch.Tensor,
    tolerance: float | None,
    module: nn.Module,
    changing: Sequence[str],
) -> BatchAxis | None:
    """Return a layer's batch axis, from its activations of one signal and of two, of which the first is the same."""
    what = "output" if name == "output" else f"layer '{name}'"
    shapes = f"{tuple(alone.shape)} for one signal and {tuple(together.shape)} for two"
    candidates = list(_candidates(tuple(alone.shape), tuple(together.shape)))
    if not candidates:
        raise MetameryError(f"{what} has no batch dimension: shapes {shapes}")
    for axis in candidates:
        own = axis.first(together, 2)[:1]
        if tolerance is None or _close(axis.first(alone, 1), own, tolerance):
            return None if axis == BatchAxis(0) and together.shape[0] == 2 and together.ndim > 1 else axis
    culprit = next((path for path, part in module.named_modules() if _has_no_statistics(part)), None)
    reason = "a normalisation or an attention over the batch?"
    if culprit is not None:
        reason = f"'{culprit}' normalises by the batch, since it keeps no running statistics"
    elif changing:
        reason = f"its '{changing[0]}' changes with every pass: is a part in training mode?"
    raise MetameryError(
        f"the signals of a batch affect each other: at {what} one has different activations alone and beside another "
        f"({reason})"
    )


def _candidates(alone: tuple[int, ...], together: tuple[int, ...]) -> Iterator[BatchAxis]:
    if len(together) == len(alone) + 1:
        yield from (
            BatchAxis(dim, dropped=True)
            for dim, size in enumerate(together)
            if size == 2 and together[:dim] + together[dim + 1 :] == alone
        )
    if len(together) != len(alone):
        return
    for dim, (one, two) in enumerate(zip(alone, together, strict=True)):
        if two == 2 * one and alone[:dim] + alone[dim + 1 :] == together[:dim] + together[dim + 1 :]:
            yield BatchAxis(dim)
            if one > 1:
                yield BatchAxis(dim, inner=True)


def _has_no_statistics(part: nn.Module) -> bool:
    return isinstance(part, _BatchNorm) and part.running_mean is None


def _close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    """Whether two activations are equal up to rounding, with non-finite elements at the same positions."""
    if one.shape != other.shape:
        return False
    a, b = (each.detach().cpu().double() for each in (one, other))
    if not torch.equal(a.isfinite(), b.isfinite()):
        return False
    a, b = a.nan_to_num(0, 0, 0), b.nan_to_num(0, 0, 0)
    return bool(torch.linalg.vector_norm(a - b) <= tolerance * torch.linalg.vector_norm(a))


@contextmanager
def _same_buffers(module: nn.Module) -> Iterator[list[str]]:
    """Restore buffers that forward passes change; at the end the list contains their names."""
    before = {name: (buffer, buffer.detach().clone()) for name, buffer in module.named_buffers()}
    changing: list[str] = []
    try:
        yield changing
    finally:
        for name, (buffer, value) in before.items():
            if not torch.equal(buffer, value):
                changing.append(name)
                with torch.no_grad():
                    buffer.copy_(value)


@contextmanager
def _refusing(model: Model) -> Iterator[None]:
    """Turn an exception of the network into a `MetameryError` of one line that states where it was raised."""
    try:
        yield
    except MetameryError:
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
        own = next((f for f in reversed(frames) if f.name == "forward"), None)
        where = f" ({own.filename.rpartition('/')[2]}, line {own.lineno})" if own else ""
        reason = next((line[:200] for line in str(error).splitlines() if line.strip()), "")
        kind = "" if type(error) is RuntimeError and reason else f"{type(error).__name__}: "
        raise MetameryError(f"the network does not take signals of {model.domain}: {kind}{reason}{where}") from error


@contextmanager
def _fork(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def _device(module: nn.Module) -> torch.device:
    return next((weight.device for weight in module.parameters()), torch.device("cpu"))
