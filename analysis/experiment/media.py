"""The files of an experiment's signals: which are needed, and their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...framework.domains import Domain, ImageDomain, WaveformDomain
from ...framework.schema import STATES
from ..studies.media import png
from .conditions import verdicts_on
from .headphones import TESTS
from .key import NATURAL, Item
from .pictures import mask, sign
from .sounds import SoundFiles, common_rms, level_noise, quantised, resampled, root_mean_square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .plan import Extra, Plan


@dataclass(frozen=True)
class Wanted:
    """The files that an experiment needs.

    Parameters
    ----------
    main
        For each condition the name of the file and its item, by stimulus.
    extras
        Files of practice and catch trials, by the name of the file.
    headphones
        Test, number of the trial and its answer, by the name of the file.
    level
        Name of the noise to set the level by; empty without one.
    masks
        Names of the masks.
    """

    main: Sequence[Mapping[str, tuple[str, Item]]]
    extras: Mapping[str, Extra]
    headphones: Mapping[str, tuple[str, int, str]]
    level: str
    masks: Sequence[str]

    def __len__(self) -> int:
        return sum(map(len, (*self.main, self.extras, self.headphones, self.masks))) + bool(self.level)


def sound_files(plan: Plan) -> tuple[SoundFiles, str]:
    """Return how sounds are written, with the level at which none is limited, and the name of what lowers the level."""
    chosen = plan.settings.sounds
    rms, limiting = common_rms(_all_sounds(plan), 10 ** (chosen.level / 20))
    return SoundFiles(chosen.format, chosen.rate, rms), limiting


def pictures(plan: Plan, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file of an experiment with pictures."""
    for name, signal, domain in _signals(plan, wanted):
        assert isinstance(domain, ImageDomain)
        yield name, png(signal, domain)
    domain = plan.domain
    assert isinstance(domain, ImageDomain)
    for name, extra in wanted.extras.items():
        if extra.item.shown == "icon":
            answers = plan.settings.answers
            label = answers.labels.get(extra.item.answer, extra.item.answer)
            yield name, png(sign(extra.item.answer, label, domain, answers.icons), domain)
    for number, name in enumerate(wanted.masks):
        yield name, png(mask(domain, plan.settings.masks.exponent, plan.settings.seed, number), domain)


def sounds(plan: Plan, wanted: Wanted, files: SoundFiles) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file of an experiment with sounds."""
    for name, signal, domain in _signals(plan, wanted):
        assert isinstance(domain, WaveformDomain)
        yield name, files.encode(files.samples(signal, domain.sample_rate)[0])
    for name, (test, number, _) in wanted.headphones.items():
        trial, _ = TESTS[test](number, plan.settings.seed, files.rate)
        yield name, files.encode(_at_level(trial, 1.0, files))
    if wanted.level:
        domain = plan.domain
        assert isinstance(domain, WaveformDomain)
        natural = (resampled(signal, _rate(plan), files.rate) for _, signal in plan.reference.natural())
        noise = level_noise(natural, files.rate, plan.settings.seed)
        yield wanted.level, files.encode(_at_level(noise, root_mean_square(noise), files))


def _at_level(sound: NDArray[np.floating], rms: float, files: SoundFiles) -> NDArray[np.int16]:
    """Return a sound of a root mean square at the files' level, or the highest at which its peak is not clipped."""
    return quantised(sound * min(files.rms / rms, 1 / float(np.abs(sound).max())))


def _signals(plan: Plan, wanted: Wanted) -> Iterator[tuple[str, NDArray[np.float32], Domain]]:
    """Yield name, signal and domain of every file that holds a signal of the study, or one to practise with."""
    for condition, files in zip(plan.conditions, wanted.main, strict=True):
        for kind, signals in (
            ("metamer", condition.signals(plan.settings.conditions.seed)),
            ("natural", condition.natural()),
        ):
            own = {stimulus: name for stimulus, (name, item) in files.items() if item.shown == kind}
            for stimulus, signal in signals if own else ():
                if stimulus in own:
                    assert signal is not None
                    yield own[stimulus], signal, condition.results.domain
    domain = plan.reference.results.domain
    of_study: dict[str, list[str]] = {}
    for name, extra in wanted.extras.items():
        if extra.signal is not None:
            yield name, extra.signal, domain
        elif extra.item.shown == "natural":
            of_study.setdefault(extra.item.stimulus, []).append(name)
    for stimulus, signal in plan.reference.natural():
        for name in of_study.get(stimulus, ()):
            yield name, signal, domain


def _all_sounds(plan: Plan) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield every sound that may be played, at the rate of the files."""
    rate, seed = plan.settings.sounds.rate, plan.settings.conditions.seed
    for condition in (plan.reference, *plan.conditions):
        domain = condition.results.domain
        assert isinstance(domain, WaveformDomain)
        states = {} if condition.layer == NATURAL else verdicts_on(condition, seed)
        for name, signal in condition.signals(seed):
            if signal is not None and (name not in states or states[name][0] == STATES["done"]):
                yield f"{name}, {condition.layer}", resampled(signal, domain.sample_rate, rate)
    for extra in plan.practice:
        if extra.signal is not None:
            yield extra.item.stimulus, resampled(extra.signal, _rate(plan), rate)


def _rate(plan: Plan) -> int:
    domain = plan.reference.results.domain
    assert isinstance(domain, WaveformDomain)
    return domain.sample_rate
