"""An experiment's data as a Psych-DS dataset: a folder that describes itself, for sharing.

Tables are ``data/table-NAME_data.csv``, the sessions as they were saved are ``data/raw/sessions.jsonl`` without
identifiers, and ``dataset_description.json`` describes every column (schema.org's ``Dataset``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .records import FORMAT, Session

if TYPE_CHECKING:
    import pandas as pd

Column = tuple[str, str, str]
"""Name, description and unit of a column; empty text where it has no unit."""


def write_psych_ds(
    folder: Path,
    title: str,
    description: str,
    tables: Mapping[str, pd.DataFrame],
    columns: Sequence[Column],
    sessions: Sequence[Session],
) -> None:
    """Write a dataset, in place of an earlier one.

    Parameters
    ----------
    tables
        Tables by name, of letters and digits alone.
    columns
        Columns of all tables.
    sessions
        Sessions as they were saved.
    """
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "data" / "raw").mkdir(parents=True)
    for name, table in tables.items():
        table.to_csv(folder / "data" / f"table-{name}_data.csv", index=False, lineterminator="\n")
    with (folder / "data" / "raw" / "sessions.jsonl").open("w", encoding="utf-8") as file:
        for session in sessions:
            file.write(lines_of(session))
    about = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": title or "Experiment",
        "description": description,
        "schemaVersion": "Psych-DS 0.4.0",
        "variableMeasured": [
            {"@type": "PropertyValue", "name": name, "description": meaning} | ({"unitText": unit} if unit else {})
            for name, meaning, unit in columns
        ],
    }
    text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
    (folder / "dataset_description.json").write_text(text, encoding="utf-8")


def lines_of(session: Session) -> str:
    """Return a session as lines of JSON, in the form that `records.read_lines` reads."""
    opened = {
        "kind": "session",
        "format": FORMAT,
        "experiment": session.experiment,
        "session": session.session,
        "list": session.list_,
        "participant": session.participant,
        "identifiers": dict(session.identifiers),
        "browser": dict(session.browser),
        "started": session.started,
    }
    lines = [opened, *({"kind": "record", **record.table()} for record in session.records)]
    if session.end:
        lines.append({"kind": "end", "end": session.end})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
