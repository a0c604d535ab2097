"""Write the table of networks.md, between its comments: unusual kinds of networks, and the outcome for each.

The networks are those of tests/networks.py. Every cell is obtained by running it, on six small pictures.
"""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from metamery.analysis import run_study
from metamery.analysis.studies.evaluate import models_context, study_context
from metamery.framework import Context, MetameryError, Plugins
from metamery.framework.progress import Progress
from metamery.framework.study import ModelReference, Reference, Study
from metamery.training import prepare, run_training
from PIL import Image

PAGE = Path(__file__).with_name("networks.md")
FILE = Path(__file__).parents[1] / "tests" / "networks.py"
TABLE = re.compile(r"^(<!-- table -->\n).*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)

WORKS = "works"
ON_STUDIES: dict[str, dict[str, Any]] = {
    "agreement": {},
    "accuracy": {},
    "recognition": {"resamples": 10},
    "similarity": {},
    "invariance": {"resamples": 10},
    "geometry": {"limit": 1, "probes": 2, "iterations": 8},
    "character": {},
    "contrast": {"steps": 2},
    "robustness": {"epsilons": [0.01], "steps": 2, "apgd_steps": 2},
    "shift-consistency": {},
}
"""Evaluators, with options that make them quick."""

ON_MODELS = ("accuracy", "similarity", "invariance", "geometry", "robustness", "shift-consistency")
RECIPES = ("standard", "adversarial-linf")


def page() -> str:
    """Return the complete page."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(name, Path(folder)) for name in runpy.run_path(str(FILE))["NETWORKS"]]
    table = "\n".join(["| network | metamers and null | evaluators | training |", "|---|---|---|---|", *rows])
    return TABLE.sub(lambda match: f"{match[1]}{table}\n{match[2]}", PAGE.read_text("utf-8"))


def row(name: str, folder: Path) -> str:
    """Return the outcomes for one network, as a row of the table."""
    about = runpy.run_path(str(FILE))[name].__doc__
    cells = [_cell(outcomes) for outcomes in tried(name, folder / name)]
    if len({*cells}) == 1 and cells[0] != WORKS:
        cells = [cells[0], "likewise", "likewise"]
    return f"| {about} | {' | '.join(cells)} |"


def tried(name: str, folder: Path) -> tuple[dict[str, str], ...]:
    """Do everything with one network; return for each attempt `WORKS`, or the line that refuses it."""
    plugins, model = Plugins(installed=(), trust=True), f"{FILE}:{name}"
    stimuli = Reference("folder", {"path": str(_pictures(folder.parent / "pictures"))})
    study = Study((ModelReference(model),), stimuli, synthesis={"steps": 2, "batch_size": 2})
    given = plugins, torch.device("cpu"), torch.Generator().manual_seed(0), Progress()

    def made() -> Iterator[str]:
        store = run_study(study, folder / "study", plugins)
        for key in store.children("models"):
            yield from sorted({f"fails: {why}" for why in store.read(f"models/{key}/metamers", "reason").flat if why})

    metamers = {"metamers": _attempt(lambda: "; ".join(made()))}

    @cache
    def context() -> Context:
        on_study = (folder / "study" / "results.zarr").exists()
        return study_context(folder / "study", *given) if on_study else models_context([model], stimuli, *given)

    def measure(evaluator: str) -> None:
        plugins.load("evaluator", evaluator, **ON_STUDIES[evaluator])(context())

    def run(recipe: str) -> None:
        settings = plugins.load("recipe", recipe).changed({"epochs": 1, "batch_size": 2})
        prepared, loaded = prepare(Reference(model), stimuli, None, settings, plugins)
        run_training(prepared, folder / recipe, plugins, stimuli=loaded)

    names = ON_STUDIES if (folder / "study" / "results.zarr").exists() else ON_MODELS
    evaluators = {name: _attempt(partial(measure, name)) for name in names}
    return metamers, evaluators, {recipe: _attempt(partial(run, recipe)) for recipe in RECIPES}


def _attempt(work: Callable[[], Any]) -> str:
    try:
        outcome = work()
    except MetameryError as error:
        return re.sub(rf"model '[^']*{FILE.name}:\w+'", "the model", str(error))
    return outcome if isinstance(outcome, str) and outcome else WORKS


def _cell(outcomes: dict[str, str]) -> str:
    """Format outcomes as a cell: each distinct outcome once, with the names that it applies to unless it is all."""
    by_outcome: dict[str, list[str]] = {}
    for what, outcome in outcomes.items():
        by_outcome.setdefault(outcome, []).append(what)
    if len(by_outcome) == 1:
        return next(iter(by_outcome))
    refused = [f"{', '.join(names)}: {outcome}" for outcome, names in by_outcome.items() if outcome != WORKS]
    return "; ".join([*([WORKS] if WORKS in by_outcome else []), *refused])


def _pictures(folder: Path) -> Path:
    """Write three pictures each of two classes."""
    drawn = np.random.default_rng(0)
    for offset, name in ((128, "bright"), (0, "dark")):
        for number in range(3):
            file = folder / name / f"{name}{number}.png"
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((drawn.random((8, 8, 3)) * 127 + offset).astype("uint8")).save(file)
    return folder


if __name__ == "__main__":
    if sys.argv[1:]:
        print(*(row(name, Path(tempfile.mkdtemp())) for name in sys.argv[1:]), sep="\n")
    else:
        PAGE.write_text(page(), encoding="utf-8")
