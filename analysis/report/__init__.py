"""The page with the results: a study, a run or evaluations as one HTML file that needs neither server nor internet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ...framework.errors import MetameryError
from ...framework.folders import READABLE, check_input
from ...framework.model_results import ModelResults, models_of, stimulus_facts
from ...framework.owners import clear, owned
from ...framework.remote import Folder, RemotePath, folder_at
from ...framework.replacing import replaced, writing_to
from ...framework.results import open_study, steady
from ..studies.damage import without_lost
from ..studies.in_memory import Results, study_tree
from .evaluations import evaluations
from .heads import Head, head
from .layers import PARTS
from .metrics import JUDGED
from .outcomes import outcomes
from .pages import assets, environment
from .pictures import room
from .sections import date, model_section, run_folders
from .snippets import CODES, at
from .updates import Updates, updates

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render", "write_report"]

_PARTIAL = ".report."
_PROVENANCE = {
    "metamery_version": "metamery",
    "torch_version": "torch",
    "schema_version": "results schema",
    "device": "device",
    "threads": "threads",
}


def write_report(results: Results, file: str | Folder | None = None, count: int = 40) -> Folder:
    """Write a report of a study, of evaluations or of a training as one HTML file, in one step.

    Parameters
    ----------
    results
        The folder of a study, which need not be finished, of evaluations or of a run; or results in memory: an open
        study (see `as_study`), what `synthesise`, `evaluate` or `train` returned, or several Datasets by name, as
        `compare` returns them.
    file
        File to write; by default ``report.html`` in the folder.
    count
        Largest number of stimuli in each gallery; tables and curves cover all of them.

    Returns
    -------
    Path
        Path of the report.

    Raises
    ------
    MetameryError
        The folder holds no results that this version can read, they are damaged, or the page cannot be written. A
        warning gives the number of metamers that are lost. Results in memory have no `file`, or do not pass
        `check_dataset`.

    Examples
    --------
    >>> import os, tempfile
    >>> from metamery.analysis import synthesise, write_report
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> metamers = synthesise(example_model(), example_stimuli(), layers=["1"], steps=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report({"small": metamers}, os.path.join(folder, "small.html")).name
    'small.html'
    """
    if not isinstance(results, str | Path | RemotePath):
        if file is None:
            raise MetameryError("results in memory have no folder: expected write_report(RESULTS, FILE)")
        return _written(render(study_tree(results), count), folder_at(file))
    return _written(*_of_folder(folder_at(results), file, count))


def _machines(models: list[ModelResults]) -> dict[str, str]:
    """Return what metamers were made on, where it was not the same for all."""
    made = [model.metamers["made_on"].values.ravel() for model in models if "made_on" in model.metamers]
    counts = Counter(str(text) for texts in made for text in texts if text)
    return {"made on": "; ".join(f"{text} ({counts[text]})" for text in sorted(counts))} if len(counts) > 1 else {}


def _of_folder(given: Folder, file: str | Folder | None, count: int) -> tuple[str, Folder]:
    """Return the report of a folder's results, and the path to write it to."""
    folder = check_input(given, READABLE, "a study's folder, or that of evaluations or of a run")

    def page() -> str:
        with open_study(folder) as tree:
            return render(without_lost(folder, tree), count, updates(folder) if "run" in tree.attrs else None)

    return steady([folder], page), folder_at(file) if file else folder / "report.html"


def _written(text: str, report: Folder) -> Folder:
    if isinstance(report, RemotePath):
        report.write_text(text)
        return report
    folder = report.parent
    with writing_to(folder), replaced(report, owned(folder, _PARTIAL)) as partial:
        clear(folder, _PARTIAL)
        partial.write_text(text, encoding="utf-8")
    return report


def render(tree: xr.DataTree, count: int = 40, log: Updates | None = None) -> str:
    """Return the report of an open study as HTML, with the log of a training's updates; see `write_report`."""
    facts = stimulus_facts(tree)
    models = models_of(tree)
    attributes, runs = tree.attrs, run_folders(tree)
    shown = evaluations(tree)
    sections = [model_section(model, facts, count, room(len(models)), runs.get(model.name, "")) for model in models]
    page = environment().get_template("page.html")
    text = page.render(
        style=assets("page.css", "figures.css"),
        script=assets("page.js", "tables.js", "snippets.js"),
        codes=at(**CODES),
        parts=PARTS,
        judged=JUDGED,
        evaluations=shown,
        updates=log,
        has_contents=bool(models) or len(shown) > 1,
        models=sections,
        outcomes=outcomes(sections, tree),
        stimuli=facts,
        created=str(attributes.get("created", "")),
        date=date(str(attributes.get("created", ""))),
        provenance={title: attributes[name] for name, title in _PROVENANCE.items() if name in attributes}
        | _machines(models),
        plugins=list(attributes.get("plugins", [])),
        asked=str(attributes.get("study") or attributes.get("run") or ""),
        head=Head("report of a study", "") if models else head(tree),
    )
    return text.strip() + "\n"
