"""People's data brought back: tables for any program, and ``/human`` in the study's results."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...framework.errors import MetameryError, MissingExtraError
from ...framework.folders import check_input
from ...framework.groups import check_apart
from ...framework.provenance import provenance
from ...framework.replacing import replaced, writing_to
from ...framework.results import open_study
from ..statistics.people import PARTICIPANT_COLUMNS
from ..studies.evaluate import keep
from .exclusions import Rules, excluded
from .generators import SOURCES, generator_answers
from .human import counted, exclusion_attributes, human_dataset, is_replaced, participant_rows
from .psych_ds import Column, write_psych_ds
from .reading import gather
from .trials import ANSWER_COLUMNS, SESSION_COLUMNS, TRIAL_COLUMNS, other_answers, trials, visits

if TYPE_CHECKING:
    import xarray as xr

HUMAN = "human"
"""Name of the group of people's recognition in a study's results."""

_PARTICIPANT_TABLE = {
    "modality": "vision or audio",
    "experiment": "title of the experiment",
    "model": "network that the metamers were made for",
    "participant": "pseudonym of the participant",
    "stage": "layer at which the metamers were made; natural for natural signals",
    "stage_index": "number of the stage, from the natural signals on",
    "human": "proportion of signals that the participant recognises",
    "network": "proportion of the same signals that the network itself recognises",
}


@dataclass(frozen=True)
class Imported:
    """What `import_people` read and wrote.

    Parameters
    ----------
    dataset
        ``/human``.
    folder
        Folder of the tables.
    files
        Names of the files in it.
    reasons
        Why each session is excluded; empty text for those that are not.
    remarks
        What was left out besides, one line each.
    """

    dataset: xr.Dataset
    folder: Path
    files: tuple[str, ...]
    reasons: dict[str, str]
    remarks: tuple[str, ...]


SHOWN = 3
"""Number of reasons that a message gives."""


def import_people(
    sources: Sequence[Path], study: Path, rules: Rules | None = None, output: Path | None = None, seed: int = 0
) -> Imported:
    """Read an experiment's data, write their tables, and keep people's recognition in the study.

    Parameters
    ----------
    sources
        The experiment's folder, and files or folders of results; see `reading.gather`.
    study
        Folder of the study that the experiment was built from.
    rules
        Rules of exclusion.
    output
        Folder of the tables; by default ``data`` in the experiment's folder.
    seed
        Seed of the bootstrap over participants.

    Raises
    ------
    MetameryError
        A source cannot be read, the study is another one, no trial counts, or the results cannot be written.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("import needs the package 'pyarrow': pip install 'metamery[experiment]'")
    rules = rules or Rules()
    folder = check_input(study, ("study",), "the study that the experiment was built from")
    gathered = gather(sources)
    key, sessions = gathered.key, gathered.sessions
    if not sessions:
        raise MetameryError(f"there are no sessions of the experiment '{gathered.folder}' in what was given")
    output = output or gathered.folder / "data"
    _check_tables(output)
    reasons = excluded(key, sessions, rules)
    if all(reasons.values()):
        why = "; ".join(f"{count} × {reason}" for reason, count in Counter(reasons.values()).most_common(SHOWN))
        raise MetameryError(f"every session is excluded: {why}")
    table = trials(key, sessions, reasons)
    with open_study(folder) as tree:
        check_apart([HUMAN], [str(name) for name in tree.children])
        generators, judged = generator_answers(tree, key)
    used = counted(table, key, generators)
    dataset = human_dataset(used, key, generator=np.random.default_rng(seed)).assign_attrs(
        **exclusion_attributes(rules.table(), reasons),
        generator_by=[f"{model}: {SOURCES[source]}" for model, source in judged.items()],
        seed=seed,
        **provenance(),
    )
    rows, left_out = participant_rows(used, key)
    tables = {
        "trials": table,
        "answers": other_answers(key, sessions),
        "sessions": visits(key, sessions, reasons),
        "participants": pd.DataFrame(rows, columns=list(PARTICIPANT_COLUMNS)),
    }
    with writing_to(output):
        output.mkdir(parents=True, exist_ok=True)
        files = _write_tables(output, tables)
        about = "Answers of people to metamers and natural signals in an experiment made by metamery."
        write_psych_ds(output / "psych-ds", key.title, about, tables, _columns(), sessions)
    keep(folder, HUMAN, dataset)
    unintended = int((is_replaced(table) & (table["excluded"] == "")).sum())
    remarks = [*gathered.remarks, *left_out]
    if unintended:
        remarks.append(f"{unintended} trials with another signal than intended are in the tables and count for nothing")
    return Imported(dataset, output, (*files, "psych-ds/"), reasons, tuple(remarks))


def _write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> list[str]:
    files = []
    for name, table in tables.items():
        with replaced(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False, lineterminator="\n")
        files.append(f"{name}.csv")
    with replaced(folder / "trials.parquet") as path:
        tables["trials"].to_parquet(path, engine="pyarrow", index=False)
    return [*files, "trials.parquet"]


def _check_tables(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise MetameryError(f"'{folder}' is a file, expected a folder for the tables")
    psych_ds = folder / "psych-ds"
    if psych_ds.exists() and not (psych_ds / "dataset_description.json").is_file():
        raise MetameryError(f"'{psych_ds}' holds other files; choose another folder")


def _columns() -> list[Column]:
    """Return the columns of all tables, each name once."""
    described = {name: meaning for name, (_, meaning) in {**TRIAL_COLUMNS, **ANSWER_COLUMNS, **SESSION_COLUMNS}.items()}
    units = {name: "s" for name in described if name.endswith("_time")} | {"refresh_rate": "Hz"}
    return [(name, meaning, units.get(name, "")) for name, meaning in (_PARTICIPANT_TABLE | described).items()]
