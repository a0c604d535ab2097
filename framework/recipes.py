"""`Recipe`: a training set-up, names and numbers only."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tomli_w

from .checks import MANY, number, one_of, shown, text, whole, wrong
from .errors import MetameryError, UnknownNameError, unknown

if TYPE_CHECKING:
    from .manager import Plugins

SCHEDULES = ("constant", "steps", "cosine", "linear")

KEEP = ("best", "last", "all")

MAX_BATCH_SIZE = 2**31 - 1
"""Largest number of signals in a batch."""

Options = Mapping[str, float | str | bool]

Augmentation = str | Mapping[str, Any]
"""Name of an augmentation, or a table of its ``name`` and its arguments."""


@dataclass(frozen=True)
class Recipe:
    """A training set-up as frozen data, which the training loop interprets.

    Parameters
    ----------
    loss, optimizer, perturbation
        Registered names; if the perturbation is empty, training uses the unperturbed signals.
    layer
        Layer whose activation the perturbation and the check change instead of the signals; none if empty.
    epochs, batch_size
        Number of passes over the stimuli, and number of stimuli in a batch, over all processes.
    learning_rate
        Highest learning rate.
    schedule
        Schedule of the learning rate: ``constant``, ``steps``, or ``cosine`` and ``linear``, which fall to 0 at the
        end.
    decay_every, decay_factor
        Period and factor of ``steps``: after every `decay_every` epochs the learning rate is divided by
        `decay_factor`, 1 or more.
    warmup
        Number of epochs over which the learning rate grows linearly from 0.
    epsilon_warmup
        Number of epochs over which the perturbation's ``epsilon`` grows linearly from 0.
    replays, replay_epsilon
        Number of successive updates on each batch, whose gradients also move the signals, and the Linf bound of that
        move (free adversarial training, Shafahi et al. 2019); 0 for one update on signals that do not move.
    check
        Perturbation under which the network is evaluated after each epoch, on some of the validation signals; the best
        weights are then those with the highest accuracy under it. No check if empty.
    check_drop
        Fall of that accuracy from its maximum at which the training changes to the check's perturbation
        (catastrophic overfitting, Wong et al. 2020); 0 for never.
    awp
        Length by which each layer's weights are moved to raise the loss, before the gradient is taken that moves them,
        relative to their own length (adversarial weight perturbation, Wu et al. 2020); 0 for none.
    accumulate
        Number of parts into which each batch is divided; their gradients add up to that of the batch.
    clip_norm
        Largest norm of the weights' gradient; 0 for no limit.
    ema
        Decay per update of an average of the weights, which is then evaluated and saved; 0 for no average.
    keep
        Weights that a run is used with: ``best``, those of the epoch with the highest accuracy; ``last``, those of the
        last epoch; or ``all``, where the best are used and those of every epoch are kept.
    augment
        Augmentations of single signals, ``mixup`` and ``cutmix``, and perturbations that are applied to each batch
        first, in order: each a name, or a table with a ``name`` and its arguments.
    loss_options, optimizer_options, perturbation_options, check_options
        Options of the factories.
    augment_options
        Options of the perturbations in `augment`, as ``NAME.OPTION``.

    Raises
    ------
    MetameryError
        A value has another type than its default or is outside its range, or the schedule is unknown.
    """

    loss: str = "robustness:cross_entropy"
    optimizer: str = "synthesis:sgd"
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
    awp: float = 0.0
    accumulate: int = 1
    clip_norm: float = 0.0
    ema: float = 0.0
    keep: str = "best"
    augment: Sequence[Augmentation] = ()
    loss_options: Options = field(default_factory=dict)
    optimizer_options: Options = field(default_factory=dict)
    perturbation_options: Options = field(default_factory=dict)
    check_options: Options = field(default_factory=dict)
    augment_options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            object.__setattr__(self, entry.name, _checked(entry.name, getattr(self, entry.name)))
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("recipe entry keep", self.keep, KEEP)

    @property
    def augmentations(self) -> list[tuple[str, dict[str, Any]]]:
        """The name and the arguments of each augmentation, in order."""
        return [
            (entry, {}) if isinstance(entry, str) else (entry["name"], {k: v for k, v in entry.items() if k != "name"})
            for entry in self.augment
        ]

    def changed(self, changes: Mapping[str, Any]) -> Recipe:
        """Return this recipe with some values changed; ``perturbation_options.epsilon`` sets one option.

        Options belong to a name: naming another loss, optimizer, perturbation, check or augmentation drops the
        recipe's options of the one before.

        Raises
        ------
        MetameryError
            An entry is unknown (the message has the nearest name), or its value is not valid.
        """
        if not isinstance(changes, Mapping):
            raise wrong("the recipe", changes, "a table")
        known = [entry.name for entry in dataclasses.fields(self)]
        values = self._dropped(changes)
        for key, value in changes.items():
            name, dot, option = key.partition(".")
            if name not in known or (dot and not name.endswith("_options")):
                raise self._unknown(key, known)
            if dot:
                values[name] = {**values.get(name, getattr(self, name)), option: value}
            else:
                values[name] = value
        return dataclasses.replace(self, **values)

    def _unknown(self, key: str, known: Sequence[str]) -> UnknownNameError:
        """Return the error for an entry that does not exist; it may be an option, written without its table."""
        tables = [name for name in known if name.endswith("_options")]
        if own := [f"{table}.{key}" for table in tables if key in getattr(self, table)]:
            return UnknownNameError(f"unknown recipe entry '{key}'; did you mean '{own[0]}'?")
        return unknown("recipe entry", key, known, "; options are written with their table, such as loss_options.NAME")

    def _dropped(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that are left where `changes` has another name than this recipe."""
        dropped: dict[str, Any] = {
            f"{name}_options": {}
            for name in ("loss", "optimizer", "perturbation", "check")
            if changes.get(name, getattr(self, name)) != getattr(self, name)
        }
        if "augment" in changes and self.augment_options:
            kept = [name for name, _ in dataclasses.replace(self, augment=changes["augment"]).augmentations]
            options = self.augment_options.items()
            dropped["augment_options"] = {key: value for key, value in options if key.rpartition(".")[0] in kept}
        return dropped

    def qualified(self, plugins: Plugins) -> Recipe:
        """Return a stored recipe with each registered name as `Plugins.qualified` gives it."""
        kinds = {"loss": "loss", "optimizer": "optimizer", "perturbation": "perturbation", "check": "perturbation"}
        own: dict[str, Any] = {entry: plugins.qualified(kind, getattr(self, entry)) for entry, kind in kinds.items()}
        named = [
            (plugins.qualified("perturbation", name, only_bundled=True), given) for name, given in self.augmentations
        ]
        augment = [{"name": name, **given} if given else name for name, given in named]
        return dataclasses.replace(self, **own, augment=augment)

    def check_warmup(self, given: Mapping[str, Any]) -> None:
        """Raise `MetameryError` if a warmup that is `given` lasts longer than the training.

        A training with fewer epochs alone may end within a recipe's own warmup, as in a trial.
        """
        for name in ("warmup", "epsilon_warmup"):
            if name in given and getattr(self, name) > self.epochs:
                raise wrong(f"recipe entry {name}", given[name], f"at most the number of epochs, {self.epochs}")

    def table(self) -> dict[str, Any]:
        """Return every value, by the name of its entry."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def to_toml(self) -> str:
        """Return the recipe as TOML, with every value."""
        return tomli_w.dumps(self.table())

    @classmethod
    def from_toml(cls, text: str) -> Recipe:
        """Read a recipe; entries that are missing have their defaults.

        Raises
        ------
        MetameryError
            The text is not valid TOML, or has an unknown entry.
        """
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError also for numbers with thousands of digits
            raise MetameryError(f"the recipe is not valid TOML: {error}") from None
        recipe = cls().changed(table)
        recipe.check_warmup(table)
        return recipe


_WHOLE = {
    "epochs": (1, MANY), "batch_size": (1, MAX_BATCH_SIZE), "decay_every": (1, MANY), "accumulate": (1, MAX_BATCH_SIZE),
    "replays": (0, MANY),
}  # fmt: skip
"""Smallest and largest value of each integer."""

_BOUNDS: Mapping[str, Mapping[str, Any]] = {
    "awp": {"least": 0, "below": 1},
    "check_drop": {"least": 0, "below": 1},  # a fall of an accuracy
    "decay_factor": {"least": 1},
    "ema": {"least": 0, "below": 1},
}
"""Bounds of the other numbers; those that are not listed are 0 or more."""


def _checked(name: str, value: Any) -> Any:
    what = f"recipe entry {name}"
    if name.endswith("_options"):
        if not isinstance(value, Mapping):
            raise wrong(what, value, "a table")
        return dict(value)
    if name == "augment":
        return _augment(what, value)
    if name == "layer" and isinstance(value, int) and not isinstance(value, bool):
        return shown(value)  # a path that is a number, which the command line reads as one
    if name in _WHOLE:
        return whole(what, value, *_WHOLE[name])
    if isinstance(Recipe.__dataclass_fields__[name].default, str):
        return text(what, value)
    return number(what, value, **_BOUNDS.get(name, {"least": 0}))


def _augment(what: str, value: Any) -> tuple[Augmentation, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise wrong(what, value, "a list of names, or of tables with a name")
    return tuple(_augmentation(what, entry) for entry in value)


def _augmentation(what: str, entry: Any) -> Augmentation:
    """Return an augmentation; a table without arguments becomes its name."""
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise wrong(f"{what}: an augmentation", entry, 'a name or a table such as { name = "ColorJitter", hue = 0.1 }')
    return dict(entry) if len(entry) > 1 else str(entry["name"])
