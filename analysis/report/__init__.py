"""The page to look at: a study, a run or evaluations as one HTML file that needs neither a server nor the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...framework.folders import READABLE, check_input
from ...framework.model_results import models_of, stimulus_facts
from ...framework.owners import clear, owned
from ...framework.replacing import replaced, writing_to
from ...framework.results import open_study, steady
from ..studies.damage import without_lost
from .evaluations import evaluations
from .layers import PARTS
from .metrics import JUDGED
from .numbers import number
from .pictures import room
from .sections import date, model_section
from .snippets import CODES, at

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["render", "write_report"]

_HERE = Path(__file__).parent
_PARTIAL = ".report."
_PROVENANCE = {
    "metamery_version": "metamery",
    "torch_version": "torch",
    "schema_version": "results schema",
    "device": "device",
    "threads": "threads",
}


def write_report(study_folder: Path, count: int = 40) -> Path:
    """Write ``report.html`` into a study's folder, in one step.

    Parameters
    ----------
    study_folder
        The study; it need not be finished.
    count
        Stimuli in each gallery at most; tables and curves cover all of them.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    MetameryError
        The folder holds no results that this version can read, they are damaged, or the page cannot be written. Of
        metamers that are lost a warning says how many they are.
    """
    folder = check_input(Path(study_folder), READABLE, "a study's folder, or that of evaluations or of a run")

    def page() -> str:
        with open_study(folder) as tree:
            return render(without_lost(folder, tree), count)

    text, report = steady([folder], page), folder / "report.html"
    with writing_to(folder), replaced(report, owned(folder, _PARTIAL)) as partial:
        clear(folder, _PARTIAL)
        partial.write_text(text, encoding="utf-8")
    return report


def render(tree: xr.DataTree, count: int = 40) -> str:
    """Return the report of an open study as HTML; see `write_report`."""
    facts = stimulus_facts(tree)
    models = models_of(tree)
    attributes = tree.attrs
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.globals["at"] = at
    page = environment.get_template("page.html").render(
        style=_assets("page.css", "figures.css"),
        script=_assets("page.js", "tables.js", "snippets.js"),
        codes=at(**CODES),
        parts=PARTS,
        judged=JUDGED,
        evaluations=evaluations(tree),
        models=[model_section(model, facts, count, room(len(models))) for model in models],
        stimuli=facts,
        created=str(attributes.get("created", "")),
        date=date(str(attributes.get("created", ""))),
        provenance={title: attributes[name] for name, title in _PROVENANCE.items() if name in attributes},
        plugins=list(attributes.get("plugins", [])),
        asked=str(attributes.get("study") or attributes.get("run") or ""),
        title="A training run" if "run" in attributes else "Evaluations",
    )
    return page.strip() + "\n"


def _assets(*names: str) -> Markup:
    """Return the text of some of our own files."""
    return Markup("\n".join((_HERE / name).read_text(encoding="utf-8") for name in names))
