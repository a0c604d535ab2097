"""The head of a page without metamers: what it is about, and the facts on it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...framework.manager import short
from ...framework.progress import duration
from .numbers import number

if TYPE_CHECKING:
    import xarray as xr

_BEST_BY = ("checked_accuracy", "validation_accuracy", "accuracy")


@dataclass(frozen=True)
class Head:
    """A page's kind, its title, the heading of its results, and facts by name."""

    kind: str
    title: str
    heading: str = "Evaluations"
    facts: Mapping[str, str] = field(default_factory=dict)


def head(tree: xr.DataTree) -> Head:
    """Return the head of the page of a run, a comparison, statistics or evaluations of models."""
    if "run" in tree.attrs:
        return _of_run(tomllib.loads(str(tree.attrs["run"])), tree.children.get("history"))
    attributes = [{str(name): value for name, value in node.attrs.items()} for node in tree.children.values()]
    for name, of in (("studies", _of_comparison), ("people", _of_statistics)):
        if found := next((each for each in attributes if name in each), None):
            return of(found)
    return _of_evaluations(attributes)


def _of_run(run: Mapping[str, Any], history: xr.DataTree | None) -> Head:
    recipe, model = run.get("recipe", {}), _named(run.get("model"))
    loss, perturbation, optimizer = (short(str(recipe.get(name, ""))) for name in ("loss", "perturbation", "optimizer"))
    under = f" under {perturbation}" if perturbation else ""
    facts = {
        "Model": model,
        "Recipe": f"{loss or 'loss not recorded'}{under}, {optimizer}",
        "Stimuli": _named(run.get("stimuli")),
        "Validation": _named(run.get("validation")),
    }
    if history is not None:
        facts |= _of_history(history.to_dataset(inherit=False))
    if recipe.get("keep") == "last":
        facts["Weights"] = "those of the last epoch, as the recipe asks"
    title = f"Training of {model}" if model else "A training run"
    return Head("report of a training", title, "History", {name: fact for name, fact in facts.items() if fact})


def _of_history(history: xr.Dataset) -> dict[str, str]:
    by = next((name for name in _BEST_BY if name in history and history[name].notnull().any()), "")
    if not by:
        return {}
    reached = history[by].values
    done, best = int(np.isfinite(reached).sum()), int(np.nanargmax(reached))
    facts = {
        "Epochs": f"{done} of {len(reached)}",
        "Best epoch": f"{history['epoch'].values[best]}, {by.replace('_', ' ')} {number(float(reached[best]))}",
    }
    if "seconds" in history:
        facts["Duration"] = duration(float(history["seconds"].sum()))
    return facts


def _of_comparison(attributes: Mapping[str, Any]) -> Head:
    studies = [str(name) for name in attributes["studies"]]
    return Head(
        "comparison of studies", f"Comparison of {_listed(studies)}", "Results", {"Studies": ", ".join(studies)}
    )


def _of_statistics(attributes: Mapping[str, Any]) -> Head:
    people = Path(str(attributes["people"])).name
    return Head("statistics of recognition", f"Recognition by people: {people}", "Results", {"Table": people})


def _of_evaluations(attributes: Sequence[Mapping[str, Any]]) -> Head:
    models = list(dict.fromkeys(str(name) for each in attributes for name in each.get("models", ())))
    stimuli = list(dict.fromkeys(str(each["stimuli"]) for each in attributes if "stimuli" in each))
    facts = {"Models": ", ".join(models), "Stimuli": "; ".join(map(reference_text, stimuli))}
    title = f"Evaluation of {_listed(models)}" if models else "Evaluations"
    return Head("evaluation of models", title, "Results", {name: text for name, text in facts.items() if text})


def _named(reference: Any) -> str:
    """Return a name, or a table of a name and options, as text."""
    if not isinstance(reference, Mapping):
        return "" if reference is None else short(str(reference))
    options = ", ".join(f"{name} {value}" for name, value in reference.items() if name != "name")
    name = short(str(reference.get("name", "")))
    return f"{name} ({options})" if name and options else name or options


def reference_text(text: str) -> str:
    """Print stimuli or options that an evaluation records as JSON.

    >>> reference_text('{"name": "natural", "limit": 6}'), reference_text('{"steps": 3}'), reference_text("0")
    ('natural (limit 6)', 'steps 3', '0')
    """
    try:
        return _named(json.loads(text))
    except ValueError:
        return text


def _listed(names: Sequence[str]) -> str:
    return " and ".join(([", ".join(names[:-1])] if len(names) > 1 else []) + [*names[-1:]])
