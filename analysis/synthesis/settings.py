"""Settings of a synthesis, and the presets: names and numbers only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ...framework.checks import FLOAT32, flag, number, one_of, text, whole, wrong
from ...framework.errors import MetameryError, unknown
from ...framework.registry import is_path


def constant(_update: int, _steps: int) -> float:
    return 1.0


def halving(update: int, steps: int) -> float:
    """Halve after every eighth of the updates: 1, ½, … 1⁄128 (Feather et al. 2023: 8 rounds of 3,000)."""
    return 0.5 ** (8 * update // steps)


def cosine_decay(update: int, steps: int) -> float:
    """Fall from 1 towards 0 along half a cosine (Loshchilov & Hutter 2017)."""
    return 0.5 * (1 + math.cos(math.pi * update / steps))


SCHEDULES: Mapping[str, Callable[[int, int], float]] = {
    "constant": constant,
    "cosine": cosine_decay,
    "halving": halving,
}
"""Factor of the step size at an update, given its index and the number of updates."""

MAX_COUNT = 2**31 - 2
"""Largest number of updates, seeds and stimuli in a batch: results count updates in 32 bits, the last included."""

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")

STOPS = ("steps", "verdict")

STARTS = ("noise", "natural", "other")


@dataclass(frozen=True)
class Settings:
    """Everything a synthesis depends on besides the model, the stimuli and the seed.

    Parameters
    ----------
    preset
        Name of the preset that the other fields come from.
    distance, optimizer
        Registered names.
    step_size
        The optimizer's learning rate at the first update.
    schedule
        How it changes over the updates: ``constant``, ``cosine`` or ``halving``.
    steps
        Number of updates.
    tolerance
        A metamer whose distance is at most this, at each term that pulls, leaves the batch; checked every 10 updates.
        0 means never.
    stop
        ``steps``: each metamer gets all updates. ``verdict``: one leaves the batch as soon as its success is settled,
        as `Settling` defines it, which needs a null. It says at which layers metamers succeed in less time, but its
        metamers match less closely.
    modified_relu
        Whether the ReLU at the end of the matched layer lets gradients of units that are off pass.
    total_variation, bounds
        Weights of the priors, added to the distance.
    start
        What the starting noise is added to: ``noise``, the middle of the domain's range; ``natural``, the stimulus
        itself; ``other``, the next stimulus, or the first after the last; or the path, with a point or a slash, of a
        picture or sound file, the same for every stimulus and seed.
    noise
        Standard deviation of the starting noise, as a fraction of the domain's range for images, in units of full scale
        for waveforms; None takes 0.05 and 1e-7.
    precision
        Precision of the forward and backward pass: ``float32``, ``tf32`` on CUDA, ``bfloat16`` or ``float16``; the
        signal, the distance and the update stay in float32.
    compiled
        Whether the pass is compiled (`torch.compile`), once for each layer and size of batch, which takes seconds. It
        shortens updates on a GPU, not those on a CPU.
    seeds
        Number of metamers of each stimulus and layer, from different noise.
    batch_size
        Number of stimuli that are processed at once; in a study, ``auto`` chooses it by the free memory. Results depend
        on it as far as the network's rounding does, which descent amplifies: single metamers may differ, as from
        another seed but less so (``benchmarks/batch_size.py``).
    distance_options, optimizer_options
        Further options of the two factories.
    """

    preset: str
    distance: str = "synthesis:relative_l2"
    optimizer: str = "synthesis:adam"
    step_size: float = 0.01
    schedule: str = "cosine"
    steps: int = 1000
    tolerance: float = 0.0
    stop: str = "steps"
    modified_relu: bool = True
    total_variation: float = 0.0
    bounds: float = 0.0
    start: str = "noise"
    noise: float | None = None
    precision: str = "float32"
    compiled: bool = False
    seeds: int = 1
    batch_size: int = 8
    distance_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("precision", self.precision, PRECISIONS)
        one_of("stop", self.stop, STOPS)
        if not self.starts_from_file:
            one_of("start", self.start, STARTS)
        for name in ("steps", "seeds", "batch_size"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1, MAX_COUNT))
        for name in ("tolerance", "total_variation", "bounds", "noise"):
            if (value := getattr(self, name)) is not None or name != "noise":
                object.__setattr__(self, name, number(name, value, 0, FLOAT32))
        object.__setattr__(self, "step_size", number("step_size", self.step_size, most=FLOAT32, above=0))
        for name in ("distance", "optimizer"):
            text(name, getattr(self, name))
            options = getattr(self, f"{name}_options")
            if not isinstance(options, Mapping):
                raise wrong(f"{name}_options", options, "a table, such as { beta2 = 0.9 }")
        if "lr" in self.optimizer_options:
            raise MetameryError("optimizer_options has lr: the learning rate is step_size")
        for name in ("modified_relu", "compiled"):
            flag(name, getattr(self, name))

    @property
    def starts_from_file(self) -> bool:
        """Whether `start` is the path of a file."""
        return isinstance(self.start, str) and is_path(self.start)

    def rate(self, update: int) -> float:
        """The learning rate at one update, counted from 0."""
        return self.step_size * SCHEDULES[self.schedule](update, self.steps)

    def table(self) -> dict[str, Any]:
        """Return the settings as plain data, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


PRESETS: Mapping[str, Settings] = {
    "fast": Settings("fast", optimizer_options={"beta2": 0.9}, step_size=0.01, schedule="cosine", steps=2000),
    "feather2023": Settings(
        "feather2023", optimizer="synthesis:normalised_gd", step_size=1.0, schedule="halving", steps=24_000
    ),
}
"""``feather2023`` is exactly the published procedure; ``fast`` reaches an equal or better match sooner.

``benchmarks/presets.py`` compares their metamers, ``benchmarks/synthesis.py`` their speed.
"""


def resolve_settings(given: Mapping[str, Any] | Settings | str = "fast", **changes: Any) -> Settings:
    """Resolve a preset, with any of its fields changed.

    A preset's options belong to its own distance and optimizer: naming another drops them.

    Raises
    ------
    MetameryError
        The preset or a field is unknown (the message has the nearest known one), or a value does not fit.

    Examples
    --------
    >>> resolve_settings("feather2023", steps=800).steps
    800
    """
    if isinstance(given, Settings):
        return _changed(given, changes)
    table = {"preset": given} if isinstance(given, str) else {"preset": "fast", **given}
    name = table.pop("preset")
    one_of("preset", name, PRESETS)
    return _changed(PRESETS[name], {**table, **changes})


def with_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge each dotted entry of some settings, such as ``optimizer_options.beta1``, into its table.

    Raises
    ------
    MetameryError
        Such an entry is unknown, or a setting does not fit.

    Examples
    --------
    >>> with_options({"preset": "fast", "optimizer_options.beta1": 0.8})
    {'preset': 'fast', 'optimizer_options': {'beta2': 0.9, 'beta1': 0.8}}
    """
    merged = {name: value for name, value in given.items() if "." not in name}
    for name, value in given.items():
        table, dot, option = name.partition(".")
        if dot:
            if table not in _TABLES:
                raise unknown("synthesis setting", name, _names())
            merged[table] = {**getattr(resolve_settings(merged), table), option: value}
    return merged


_TABLES = ("distance_options", "optimizer_options")


def _names() -> list[str]:
    return [field.name for field in fields(Settings) if field.name != "preset"]


def _changed(preset: Settings, changes: Mapping[str, Any]) -> Settings:
    for name in changes:
        if name not in _names():
            raise unknown("synthesis setting", name, _names())
    dropped: dict[str, Any] = {
        f"{tool}_options": {}
        for tool in ("distance", "optimizer")
        if changes.get(tool, getattr(preset, tool)) not in (own := getattr(preset, tool), own.partition(":")[2])
    }
    return replace(preset, **{**dropped, **changes})
