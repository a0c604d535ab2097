"""Evaluators: what can be measured of a study."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_evaluators(register: Register) -> None:
    place = "metamery.plugins.evaluators.agreement"
    register("agreement", f"{place}:agreement", "how often a metamer gets the label of its natural signal, by layer")
