"""Contract checks of everything that plugins provide, as plain functions.

Each raises `AssertionError` with the number of the check that fails. The project tests everything it bundles with
them; a plugin's author does the same with their own (see also `metamery.framework.pytest_plugin`).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from .contract import examine
from .errors import MetameryError
from .example_study import example_context, example_model, example_signals, example_stimuli, example_study
from .layers import BatchAxis, Tap
from .models import Model
from .protocols import Evaluator
from .running import frozen
from .schema import check_dataset
from .stimuli import Stimuli, Stimulus

if TYPE_CHECKING:
    from .context import Context
    from .recipes import Recipe

__all__ = [
    "check_distance",
    "check_evaluator",
    "check_loss",
    "check_model",
    "check_optimizer",
    "check_perturbation",
    "check_recipe",
    "check_stimuli",
    "example_context",
    "example_model",
    "example_signals",
    "example_stimuli",
    "example_study",
]


def check_model(model: Model, batch: int = 2) -> None:
    """Check a model.

    1. It is a `Model`.
    2. Signals ``(B, …)`` of the domain give finite logits ``(B, classes)``.
    3. The signals are left unchanged.
    4. There are as many labels as classes, if there are labels; they are text.
    5. Every listed layer is reached and gives ``(B, …)``, finite.
    6. Stopping at a layer gives the same activation as passing through it.
    7. In eval mode the same signals give the same logits twice, and a signal's do not depend on its batch mates.
    8. The logits are differentiable with respect to the signals.
    """
    _check(1, isinstance(model, Model), f"{type(model).__name__} is not a Model")
    signals = example_signals(model, batch)
    given = signals.clone()
    with frozen(model.module):
        with torch.no_grad():
            logits = model.module(signals)
            _check(2, isinstance(logits, torch.Tensor), f"the network returns {type(logits).__name__}")
            _check(2, logits.ndim == 2 and len(logits) == batch, f"the logits have shape {tuple(logits.shape)}")
            _check(2, bool(logits.isfinite().all()), "the logits are not finite")
            _check(3, torch.equal(signals, given), "the network changes its input")
            if model.labels is not None:
                labels, classes = len(model.labels), logits.shape[1]
                _check(4, labels == classes, f"{labels} labels, {classes} classes")
                _check(4, all(isinstance(label, str) for label in model.labels), "a label is not text")
            axes = _axes(model)
            with Tap(model.module, model.layers, stop=False, axes=axes) as tap:
                passing = tap(signals)
            for name, activation in passing.items():
                _check(5, len(activation) == batch, f"layer '{name}' has shape {tuple(activation.shape)}")
                _check(5, bool(activation.isfinite().all()), f"layer '{name}' is not finite")
                with Tap(model.module, [name], axes=axes) as tap:
                    stopped = tap(signals)[name]
                _check(6, torch.equal(stopped, activation), f"layer '{name}' differs when the pass stops there")
            _check(7, torch.equal(model.module(signals), logits), "the same signals give different logits")
            alone = torch.cat([model.module(signal[None]) for signal in signals])
            _check(7, torch.allclose(alone, logits, rtol=1e-3, atol=1e-3), "a signal's logits depend on its batch")
        leaf = signals.clone().requires_grad_()
        logits = model.module(leaf)
        _check(8, logits.requires_grad, "the logits have no gradient")
        (gradient,) = torch.autograd.grad(logits.sum(), leaf)
        _check(8, bool(gradient.isfinite().all()), "the gradient is not finite")


def _axes(model: Model) -> Mapping[str, BatchAxis]:
    """Return the batch axes of layers; none where the network breaks the contract, which the checks then name."""
    try:
        return examine(model, model.layers).axes
    except MetameryError:
        return {}


def check_stimuli(stimuli: Stimuli, count: int = 4) -> None:
    """Check stimuli; the first `count` are loaded.

    1. They have a length above 0, and every item is a `Stimulus`.
    2. A signal is finite, floating point, ``(C, H, W)`` in [0, 1], or ``(T,)`` in [−1, 1] with a sample rate.
    3. Names are text, not empty and unique.
    4. Loading twice gives the same signal.
    5. An index past the end raises `IndexError`.
    6. Right answers are sets of text.
    """
    _check(1, len(stimuli) > 0, "there are none")
    loaded = [stimuli[index] for index in range(min(count, len(stimuli)))]
    for index, stimulus in enumerate(loaded):
        _check(1, isinstance(stimulus, Stimulus), f"item {index} is {type(stimulus).__name__}")
        signal = stimulus.signal
        _check(2, signal.is_floating_point() and bool(signal.isfinite().all()), f"'{stimulus.name}' is not finite")
        _check(2, signal.ndim in (1, 3), f"'{stimulus.name}' has shape {tuple(signal.shape)}")
        low = 0 if signal.ndim == 3 else -1
        _check(2, bool(((signal >= low) & (signal <= 1)).all()), f"'{stimulus.name}' is outside [{low}, 1]")
        _check(2, signal.ndim == 3 or stimulus.sample_rate is not None, f"'{stimulus.name}' has no sample rate")
        _check(4, torch.equal(stimuli[index].signal, signal), f"'{stimulus.name}' differs when it is loaded again")
        for space, answers in stimulus.labels.items():
            _check(6, isinstance(answers, frozenset), f"answers of '{stimulus.name}' in '{space}' are not a frozenset")
    names = [stimulus.name for stimulus in loaded]
    _check(3, all(isinstance(name, str) and name for name in names), "a name is empty")
    _check(3, len(set(names)) == len(names), f"names are not unique: {names}")
    try:
        stimuli[len(stimuli)]
    except IndexError:
        return
    _check(5, False, "an index past the end does not raise IndexError")


def check_loss(loss: Callable[..., torch.Tensor], model: Model | None = None) -> None:
    """Check a training objective, ``loss(model, signals, labels)`` or ``loss(model, signals, labels, natural)``.

    1. It returns a finite scalar tensor.
    2. A gradient reaches the weights.
    3. The signals and labels are left unchanged.
    """
    model = model or example_model()
    signals = example_signals(model)
    labels = torch.arange(len(signals)) % 2
    given = signals.clone(), labels.clone()
    compared = {"natural": signals.roll(1, -1)} if "natural" in inspect.signature(loss).parameters else {}
    value = loss(model, signals, labels, **compared)
    _check(1, value.ndim == 0 and bool(value.isfinite()), f"it returns {value!r}")
    gradients = torch.autograd.grad(value, list(model.module.parameters()), allow_unused=True)
    _check(2, any(gradient is not None and bool(gradient.any()) for gradient in gradients), "no weight gets a gradient")
    _check(3, torch.equal(signals, given[0]) and torch.equal(labels, given[1]), "it changes its arguments")


def check_distance(distance: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """Check a distance.

    1. Activations and targets ``(B, …)`` give ``(B,)``, finite, for two shapes of activation.
    2. A signal's distance does not depend on its batch mates.
    3. It is differentiable, and its gradient with respect to one signal's activation comes from that signal's alone.
    4. It is smaller for the target itself than for an unrelated activation.
    """
    generator = torch.Generator().manual_seed(0)
    for shape in [(4, 7), (4, 3, 5, 5)]:
        activations = torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()
        targets = torch.rand(shape, generator=generator, dtype=torch.float64)
        values = distance(activations, targets)
        _check(1, values.shape == (4,) and bool(values.isfinite().all()), f"it returns {values!r}")
        alone = torch.cat([distance(activations[i : i + 1], targets[i : i + 1]) for i in range(4)])
        _check(2, torch.allclose(alone, values, rtol=1e-9, atol=1e-12), "a distance depends on its batch mates")
        (gradient,) = torch.autograd.grad(values[1], activations)
        _check(3, bool(gradient[1].any()), "there is no gradient")
        _check(3, not bool(gradient[[0, 2, 3]].any()), "a gradient reaches the batch mates")
        same = distance(targets * (1 + 1e-6), targets)
        _check(4, bool((same < values.detach()).all()), "an unrelated activation is as near as the target itself")


def check_optimizer(make: Callable[[Any], torch.optim.Optimizer]) -> None:
    """Check an optimizer.

    1. It makes a `torch.optim.Optimizer` whose groups have ``lr``.
    2. Steps along the gradient lower a quadratic.
    3. Parameters are updated independently: the update of one does not depend on the others.
    4. A parameter without gradient is not changed.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 8, generator=generator, dtype=torch.float64)

    def moved(count: int, steps: int = 5) -> torch.Tensor:
        parameters = [row.clone() for row in start[:count]]
        optimizer = make(parameters)
        _check(1, isinstance(optimizer, torch.optim.Optimizer), f"it makes {type(optimizer).__name__}")
        _check(1, all("lr" in group for group in optimizer.param_groups), "a group has no lr")
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        for _ in range(steps):
            for parameter in parameters:
                parameter.grad = 2 * parameter
            optimizer.step()
        return torch.stack(parameters)

    three = moved(3)
    _check(2, bool((three.square().sum(1) < start.square().sum(1)).all()), "a quadratic is not lowered")
    _check(3, torch.allclose(moved(1)[0], three[0], rtol=1e-12, atol=0), "the update of a parameter depends on others")
    fixed = start[0].clone()
    make([fixed]).step()
    _check(4, torch.equal(fixed, start[0]), "a parameter without gradient is changed")


def check_perturbation(
    perturb: Callable[[Model, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor], model: Model | None = None
) -> None:
    """Check a perturbation.

    1. It returns signals of the same shape and type, finite and inside the domain's range.
    2. The same generator state gives the same result, and the global generator is left alone.
    3. The signals given are left unchanged, and the result does not require a gradient.
    4. Every module's mode, every weight and every weight's gradient is as before.
    """
    model = model or example_model()
    signals = example_signals(model)
    labels = torch.arange(len(signals)) % 2
    given = signals.clone()
    modes = [module.training for module in model.module.modules()]
    weights = [weight.clone() for weight in model.module.parameters()]
    state = torch.get_rng_state()
    first = perturb(model, signals, labels, torch.Generator().manual_seed(1))
    again = perturb(model, signals, labels, torch.Generator().manual_seed(1))
    _check(1, first.shape == signals.shape and first.dtype == signals.dtype, f"it returns {tuple(first.shape)}")
    low, high = model.domain.low, model.domain.high
    _check(1, bool(((first >= low) & (first <= high)).all()), "it leaves the domain's range")
    _check(2, torch.equal(first, again), "the same generator state gives a different result")
    _check(2, torch.equal(state, torch.get_rng_state()), "it draws from the global generator")
    _check(3, torch.equal(signals, given), "it changes the signals given")
    _check(3, not first.requires_grad, "the result requires a gradient")
    _check(4, modes == [module.training for module in model.module.modules()], "a module's mode is changed")
    _check(4, all(map(torch.equal, weights, model.module.parameters())), "a weight is changed")
    _check(4, all(weight.grad is None for weight in model.module.parameters()), "a weight has a gradient")


def check_evaluator(evaluate: Evaluator, context: Context) -> None:
    """Check an evaluator on a context.

    1. It returns a dataset that passes the schema (`check_dataset`).
    2. The same context, with the generator in the same state, gives the same dataset.
    3. The models' modes and weights are as before.
    """
    import xarray as xr

    state = context.generator.get_state()
    before = [(m.weights_sha256(), [p.training for p in m.module.modules()]) for m in context.models.values()]
    first = evaluate(context)
    _check(1, isinstance(first, xr.Dataset), f"it returns {type(first).__name__}")
    try:
        check_dataset(first)
    except MetameryError as error:
        _check(1, False, str(error))
    context.generator.set_state(state)
    _check(2, first.identical(evaluate(context)), "the same context gives a different dataset")
    after = [(m.weights_sha256(), [p.training for p in m.module.modules()]) for m in context.models.values()]
    _check(3, before == after, "a model is changed")


def check_recipe(recipe: Recipe) -> None:
    """Check a recipe.

    1. It is a `Recipe`, or a frozen dataclass derived from it.
    2. Its values are names, numbers, or mappings or tuples of these, and augmentations also tables.
    """
    from .recipes import Recipe

    _check(1, isinstance(recipe, Recipe), f"{type(recipe).__name__} is not a Recipe")
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        values = value.values() if hasattr(value, "values") else value if isinstance(value, tuple) else [value]
        values = [v for v in values if not (field.name == "augment" and isinstance(v, dict))]
        _check(2, all(isinstance(v, (str, int, float, bool)) for v in values), f"{field.name} = {value!r}")


def _check(number: int, holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(f"check {number}: {otherwise}")
