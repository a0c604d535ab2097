"""Answers of single trials: the alternatives that a study states for its signals, in place of all answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...framework.errors import MetameryError, unknown

if TYPE_CHECKING:
    import xarray as xr

VARIABLE = "alternatives"
"""Variable ``(site, stimulus)`` of a group of a study: the answers to each signal, a list in JSON; empty for all."""


def stated_alternatives(
    tree: xr.DataTree, right: Mapping[str, str], choices: Sequence[str]
) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return the answers that are offered on a signal, by model, layer and stimulus, for those that do not offer all.

    They are in the order of all answers, so that their order does not tell which is right.

    Parameters
    ----------
    tree
        Results of a study.
    right
        Right answer to each stimulus that is shown.
    choices
        All answers.

    Raises
    ------
    MetameryError
        The study states no alternatives; or an alternative is not among the answers, there is only one, or the right
        answer is not among them.
    """
    groups = [node for node in tree.children.values() if VARIABLE in node.data_vars]
    if not groups:
        raise MetameryError(
            "answers.alternatives is true, and the study states no alternatives: expected one that "
            "`metamery experiment trials` wrote"
        )
    found = {}
    for node in groups:
        table = node[VARIABLE].transpose("site", "stimulus")
        models, layers, stimuli = (table[name].values.tolist() for name in ("model", "layer", "stimulus"))
        for (site, number), text in np.ndenumerate(table.values):
            if text and stimuli[number] in right:
                at = (models[site], layers[site], stimuli[number])
                found[at] = _checked(str(text), at, right[at[2]], choices)
    return found


def _checked(text: str, at: tuple[str, str, str], answer: str, choices: Sequence[str]) -> tuple[str, ...]:
    where = f"the alternatives of '{at[2]}' at '{at[1]}' of '{at[0]}'"
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not (isinstance(given, list) and all(isinstance(each, str) for each in given)):
        raise MetameryError(f"{where} are {text!r}, expected a list of names in JSON")
    if strange := [each for each in given if each not in choices]:
        raise unknown(f"answer in {where}", strange[0], choices)
    if len({*given}) < 2:
        raise MetameryError(f"{where} are {text}, expected at least two")
    if answer not in given:
        raise MetameryError(f"{where} are {', '.join(given)}, and the right answer, '{answer}', is not among them")
    return tuple(each for each in choices if each in given)
