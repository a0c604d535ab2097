"""Evaluators: what can be measured of models and of a study."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_evaluators(register: Register) -> None:
    place = "metamery.plugins.evaluators"
    register("accuracy", f"{place}.accuracy:accuracy", "how often models are right about natural signals")
    register(
        "agreement",
        f"{place}.agreement:agreement",
        "how often a metamer gets its natural signal's label, by layer",
    )
    register(
        "robustness", f"{place}.robustness:robustness", "accuracy under PGD and APGD over the size of the perturbation"
    )
    register(
        "shift-consistency",
        f"{place}.shift_consistency:shift_consistency",
        "how often models say the same of a signal at two places (Zhang 2019)",
    )
