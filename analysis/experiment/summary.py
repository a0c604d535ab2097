"""What an experiment consists of, in lines for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from ...framework.domains import WaveformDomain
from ...framework.limits import size
from ...framework.resampling import resampled_length
from .headphones import INTERVAL_SECONDS, INTERVALS, PAUSE_SECONDS
from .key import NATURAL, Item
from .sounds import LEVEL_NOISE_SECONDS

if TYPE_CHECKING:
    from .media import Wanted
    from .plan import Plan

ANSWER_SECONDS = {"grid": 3.0, "typed": 5.0}
"""Time that an answer, and the way to the next trial, is assumed to take."""

OTHER_SECONDS = 180.0
"""Time that everything besides trials is assumed to take."""


@dataclass(frozen=True)
class Summary:
    """What an experiment consists of, in lines; `remarks` are what is not as one might expect."""

    lines: Sequence[str]
    remarks: Sequence[str]


def summary(
    plan: Plan,
    items: Sequence[Mapping[str, Item | None]],
    wanted: Wanted,
    lists: Sequence[Sequence[Sequence[str]]],
    remarks: Sequence[str],
) -> Summary:
    """Describe an experiment by its plan, what is shown in each condition, its files, and its lists of trials."""
    settings = plan.settings
    trials = [sum(map(len, blocks)) for blocks in lists]
    lines = [f"{len(plan.conditions)} conditions"]
    for model in plan.models:
        layers = [each.layer for each in plan.conditions if each.model == model.name and each.layer != NATURAL]
        lines.append(f"  {model.name}: {', '.join(layers) or 'natural signals only'}")
    if settings.conditions.natural:
        lines.append("  natural signals")
    least = f"{min(trials)} to " if min(trials) < max(trials) else ""
    lines += [
        f"{len(plan.right)} originals, {len(plan.choices)} answers",
        f"{len(lists)} lists of {least}{max(trials)} trials in {max(map(len, lists))} blocks, "
        f"{len(plan.catch)} of them catch trials; {len(plan.practice)} practice trials",
        f"about {minutes(plan, max(trials)):.0f} minutes for a participant",
        f"{len(wanted)} files, at most {size(most_bytes(plan, wanted))}",
    ]
    return Summary(lines, [*remarks, *_replaced(items), *_unbalanced(plan, len(lists))])


def minutes(plan: Plan, trials: int) -> float:
    """Return about how many minutes a session of some trials takes."""
    timing, domain = plan.settings.timing, plan.domain
    if isinstance(domain, WaveformDomain):
        shown = domain.samples / domain.sample_rate
    else:
        shown = (timing.fixation + timing.signal + timing.mask) / 1000
    each = shown + ANSWER_SECONDS[plan.settings.answers.form]
    return (OTHER_SECONDS + (trials + len(plan.practice)) * each) / 60


def most_bytes(plan: Plan, wanted: Wanted) -> int:
    """Return the size of the files without compression."""
    domain, count = plan.domain, len(wanted)
    if not isinstance(domain, WaveformDomain):
        return count * prod(domain.shape)
    rate = plan.settings.sounds.rate
    checks = INTERVALS * INTERVAL_SECONDS + (INTERVALS - 1) * PAUSE_SECONDS
    others = len(wanted.headphones) * 2 * checks + (LEVEL_NOISE_SECONDS if wanted.level else 0)
    count -= len(wanted.headphones) + bool(wanted.level)
    return 2 * (count * resampled_length(domain.samples, domain.sample_rate, rate) + round(others * rate))


def _replaced(items: Sequence[Mapping[str, Item | None]]) -> list[str]:
    """Say how many metamers are not shown, or are although they are not successful, and why."""
    every = [item for each in items for item in each.values()]
    reasons = Counter((item.reason, item.shown) for item in every if item is not None and item.reason)
    instead = {"metamer": "shown all the same", "natural": "replaced by the natural signal"}
    lines = [f"{_metamers(count)} {reason}: {instead[shown]}" for (reason, shown), count in reasons.items()]
    return [*lines, f"{_metamers(left_out)} left out"] if (left_out := every.count(None)) else lines


def _metamers(count: int) -> str:
    return f"{count} metamer{'s' if count > 1 else ''}"


def _unbalanced(plan: Plan, lists: int) -> list[str]:
    count = len(plan.conditions)
    if plan.settings.allocation.rule == "latin-square" and lists % count:
        return [f"{lists} lists are not a multiple of {count} conditions: not every original is in each equally often"]
    return []
