"""`Recipe`: a training set-up, names and numbers only."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tomli_w

from .checks import MANY, names, number, one_of, shown, text, whole, wrong
from .errors import MetameryError, unknown

SCHEDULES = ("constant", "steps", "cosine", "linear")

MAX_BATCH_SIZE = 2**31 - 1
"""Of signals at once."""

Options = Mapping[str, float | str | bool]


@dataclass(frozen=True)
class Recipe:
    """A training set-up as frozen data; what it means is the training loop's business.

    Parameters
    ----------
    loss, optimizer, perturbation
        Registered names; an empty perturbation trains on the signals as they are.
    layer
        Layer whose activation the perturbation, and the check, change in place of the signals; none where empty.
    epochs, batch_size
        How often each stimulus is seen, and how many at once, over all processes.
    learning_rate
        The highest one.
    schedule
        ``constant``, ``steps``, or ``cosine`` and ``linear``, which fall to 0 at the end.
    decay_every, decay_factor
        Of ``steps``: the learning rate is divided by `decay_factor`, 1 or more, after every `decay_every` epochs.
    warmup
        Epochs over which the learning rate grows from 0, in a straight line.
    epsilon_warmup
        Epochs over which the perturbation's ``epsilon`` grows from 0, in a straight line.
    replays, replay_epsilon
        Updates on each batch, one after the other, whose gradients also move the signals, within Linf
        `replay_epsilon` (free adversarial training, Shafahi et al. 2019); 0 for one update on signals that stay.
    check
        Perturbation under which the network is measured after each epoch, on some of the validation signals; the best
        weights are then those with the highest accuracy under it. None where empty.
    check_drop
        A fall of that accuracy, from its highest, at which the training goes over to the check's perturbation
        (catastrophic overfitting, Wong et al. 2020); 0 for never.
    accumulate
        Parts into which each batch is divided; their gradients add up to the batch's.
    clip_norm
        Largest norm of the weights' gradient; 0 leaves it as it is.
    ema
        Decay, per update, of the average of the weights that is evaluated and kept; 0 keeps the weights themselves.
    augment
        Names of augmentations, in order: of pictures, or perturbations that each batch goes through first.
    loss_options, optimizer_options, perturbation_options, check_options
        Keyword options of the factories.
    augment_options
        Of the perturbations in `augment`, as ``NAME.OPTION``.

    Raises
    ------
    MetameryError
        A value is of another type than its default, outside its range, or no known schedule.
    """

    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    perturbation: str = ""
    layer: str = ""
    epochs: int = 150
    batch_size: int = 128
    learning_rate: float = 0.1
    schedule: str = "steps"
    decay_every: int = 50
    decay_factor: float = 10.0
    warmup: float = 0.0
    epsilon_warmup: float = 0.0
    replays: int = 0
    replay_epsilon: float = 8 / 255
    check: str = ""
    check_drop: float = 0.0
    accumulate: int = 1
    clip_norm: float = 0.0
    ema: float = 0.0
    augment: Sequence[str] = ()
    loss_options: Options = field(default_factory=dict)
    optimizer_options: Options = field(default_factory=dict)
    perturbation_options: Options = field(default_factory=dict)
    check_options: Options = field(default_factory=dict)
    augment_options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            object.__setattr__(self, entry.name, _checked(entry.name, getattr(self, entry.name)))
        one_of("schedule", self.schedule, SCHEDULES)

    def changed(self, changes: Mapping[str, Any]) -> Recipe:
        """Return this recipe with some values set otherwise; ``perturbation_options.epsilon`` sets one option.

        Raises
        ------
        MetameryError
            There is no such value, with the nearest; or it does not fit.
        """
        if not isinstance(changes, Mapping):
            raise wrong("the recipe", changes, "a table")
        known = [entry.name for entry in dataclasses.fields(self)]
        values: dict[str, Any] = {}
        for key, value in changes.items():
            name, dot, option = key.partition(".")
            if name not in known or (dot and not name.endswith("_options")):
                raise unknown("recipe entry", key, known)
            if dot:
                values[name] = {**values.get(name, getattr(self, name)), option: value}
            else:
                values[name] = value
        return dataclasses.replace(self, **values)

    def check_warmup(self, given: Mapping[str, Any]) -> None:
        """Raise `MetameryError` where an entry that is `given` warms up for longer than the training lasts.

        Fewer epochs alone may end within a recipe's own warmup, as in a trial.
        """
        for name in ("warmup", "epsilon_warmup"):
            if name in given and getattr(self, name) > self.epochs:
                raise wrong(f"recipe entry {name}", given[name], f"at most the number of epochs, {self.epochs}")

    def to_toml(self) -> str:
        """The recipe as TOML, every value written out."""
        table = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return tomli_w.dumps({name: list(v) if isinstance(v, tuple) else v for name, v in table.items()})

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Read a recipe; what it leaves out has the default.

        Raises
        ------
        MetameryError
            The text is no TOML, or has an entry that no recipe has.
        """
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError also of numbers with thousands of digits
            raise MetameryError(f"the recipe is not valid TOML: {error}") from None
        made = cls().changed(table)
        made.check_warmup(table)
        return made


_WHOLE = {
    "epochs": (1, MANY), "batch_size": (1, MAX_BATCH_SIZE), "decay_every": (1, MANY), "accumulate": (1, MAX_BATCH_SIZE),
    "replays": (0, MANY),
}  # fmt: skip
"""The least and the most of each whole number."""

_BOUNDS: Mapping[str, Mapping[str, Any]] = {
    "check_drop": {"least": 0, "below": 1},  # a fall of an accuracy
    "decay_factor": {"least": 1},
    "ema": {"least": 0, "below": 1},
}
"""Bounds of the other numbers, where they are not 0 and more."""


def _checked(name: str, value: Any) -> Any:
    what = f"recipe entry {name}"
    if name.endswith("_options"):
        if not isinstance(value, Mapping):
            raise wrong(what, value, "a table")
        return dict(value)
    if name == "augment":
        return names(what, value)
    if name == "layer" and isinstance(value, int) and not isinstance(value, bool):
        return shown(value)  # a path of one number, as a command line reads it
    if name in _WHOLE:
        return whole(what, value, *_WHOLE[name])
    if isinstance(Recipe.__dataclass_fields__[name].default, str):
        return text(what, value)
    return number(what, value, **_BOUNDS.get(name, {"least": 0}))
