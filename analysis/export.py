"""Export: a study's signals as files that every program opens, with a table of what each is."""

from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..framework.domains import ImageDomain
from ..framework.errors import MetameryError
from ..framework.schema import VERDICTS
from ..framework.store import open_study
from .measures import NULL_METRICS
from .report.media import png, wav
from .report.stored import STATE_NAMES, StoredModel, stimulus_facts, stored_models

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE = "metamers.csv"
_NATURAL = "natural"
_VERDICTS = {number: name if number >= 0 else "" for name, number in VERDICTS.items()}


@dataclass(frozen=True)
class _Entry:
    """A row of the table, in the order of its columns; empty where there is nothing to say."""

    file: str
    model: str
    layer: str
    stimulus: str
    seed: str
    category: str
    state: str
    reason: str
    loss: str
    steps: str
    predicted: str
    natural_predicted: str
    agrees: str
    success: str
    matches: str
    quantised_success: str
    pearson: str
    spearman: str
    snr_db: str
    licence: str
    source: str


def export(study_folder: Path, out_folder: Path) -> int:
    """Write every natural signal and every metamer as an 8-bit PNG or a 16-bit WAV, and a table of them.

    Natural signals go to ``KEY/natural/STIMULUS.png``, metamers to ``KEY/LAYER/STIMULUS_seedN.png``, where
    each part is made safe for a file's name; the table ``metamers.csv`` has a row for each, and one without a
    file for each metamer that failed or is missing. All is written beside the folder and then moved there.

    Parameters
    ----------
    study_folder
        The study; it need not be finished.
    out_folder
        Made where it is missing. An earlier export in it is replaced, file by file, the table last.

    Returns
    -------
    int
        How many signals were written.

    Raises
    ------
    MetameryError
        There is no study, the folder holds something else than an export, or it cannot be written to.
    """
    out = Path(out_folder).resolve()
    if out.exists() and not out.is_dir():
        raise MetameryError(f"'{out}' is a file, expected a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / TABLE).is_file():
        raise MetameryError(f"'{out}' is not empty and holds no earlier export (no {TABLE}); choose another folder")
    with open_study(study_folder) as tree:
        models, facts = stored_models(tree), stimulus_facts(tree)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        except OSError as error:
            raise MetameryError(f"cannot write to '{out.parent}': {error.strerror}") from None
        try:
            fresh = staging / "export"
            fresh.mkdir()
            files = _write_table(fresh / TABLE, (row for model in models for row in _model(model, facts, fresh)))
            _move(fresh, out, files)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return len(files)


def _model(model: StoredModel, facts: Mapping[str, Mapping[str, str]], folder: Path) -> Iterator[_Entry]:
    """Write one model's signals, one after the other, and yield their rows."""
    stimuli = model.stimuli
    names = dict(zip(stimuli, _file_names(stimuli), strict=True))
    places = dict(zip(model.layers, _file_names(model.layers, taken=[_NATURAL]), strict=True))
    suffix = "png" if isinstance(model.domain, ImageDomain) else "wav"
    natural = [model.label(int(number)) for number in model.natural["predicted"].values]

    def entry(file: str, index: int, layer: str, **rest: str) -> _Entry:
        stimulus = stimuli[index]
        blank = dict.fromkeys((field.name for field in fields(_Entry)), "")
        known = {"file": file, "model": model.name, "layer": layer, "stimulus": stimulus}
        return _Entry(**{**blank, **known, **facts.get(stimulus, {}), "natural_predicted": natural[index], **rest})

    for index, signal in enumerate(model.natural_signals()):
        file = "" if signal is None else f"{model.key}/{_NATURAL}/{names[stimuli[index]]}.{suffix}"
        if signal is not None:
            _write_signal(folder / file, signal, model)
        state = "missing" if signal is None else "done"
        yield entry(file, index, _NATURAL, state=state, predicted=natural[index])

    for layer, name in enumerate(model.layers):
        here = _answers(model, layer)
        for index, signals in enumerate(model.metamer_signals(layer)):
            for place, signal in enumerate(signals):
                rest = {column: values[index][place] for column, values in here.items()}
                file = ""
                if rest["state"] == "done" and signal is not None:
                    stem = f"{names[stimuli[index]]}_seed{model.seeds[place]}"
                    file = f"{model.key}/{places[name]}/{stem}.{suffix}"
                    _write_signal(folder / file, signal, model)
                yield entry(file, index, name, seed=str(model.seeds[place]), **rest)


def _answers(model: StoredModel, layer: int) -> dict[str, list[list[str]]]:
    """What the table says of the metamers at one layer: by column, then stimulus, then seed."""
    stored = {name: model.metamers[name].isel(layer=layer).values for name in ("state", "reason", "steps")}
    words: dict[str, tuple[NDArray[Any], Any]] = {
        "state": (stored["state"], lambda value: STATE_NAMES[int(value)]),
        "reason": (stored["reason"], str),
        "steps": (stored["steps"], lambda value: str(value) if value >= 0 else ""),
        "loss": (model.losses(layer)[..., -1], lambda value: str(value) if np.isfinite(value) else ""),
        "predicted": (model.answers("predicted", -1)[layer], lambda value: model.label(int(value))),
        "agrees": (model.answers("agrees", -1)[layer], lambda value: {0: "no", 1: "yes"}.get(int(value), "")),
    }
    for verdict in ("success", "matches", "quantised_success"):
        words[verdict] = model.answers(verdict, -1)[layer], lambda value: _VERDICTS[int(value)]
    for metric in NULL_METRICS:
        words[metric] = model.own_match(metric)[layer], lambda value: "" if np.isnan(value) else str(value)
    return {column: [[word(value) for value in row] for row in values] for column, (values, word) in words.items()}


def _write_signal(path: Path, signal: NDArray[np.float32], model: StoredModel) -> None:
    domain = model.domain
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(signal, domain) if isinstance(domain, ImageDomain) else wav(signal, domain))


def _write_table(path: Path, rows: Iterable[_Entry]) -> list[str]:
    """Write the table and return the files in it."""
    files = []
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = [field.name for field in fields(_Entry)]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([getattr(row, column) for column in columns])
            if row.file:
                files.append(row.file)
    return files


def _move(fresh: Path, out: Path, files: list[str]) -> None:
    """Put a finished export in its place; files of an earlier one that are no longer in it go."""
    if not (out / TABLE).is_file():
        if out.is_dir():
            out.rmdir()
        os.rename(fresh, out)
        return
    with (out / TABLE).open(newline="", encoding="utf-8") as file:
        earlier = {row.get("file") or "" for row in csv.DictReader(file)}
    for name in [*files, TABLE]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(fresh / name, out / name)
    for name in earlier - {"", *files}:
        path = (out / name).resolve()
        if path.is_relative_to(out) and path.is_file() and path.suffix in (".png", ".wav"):
            path.unlink()


def _file_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return a file's name for each name: safe everywhere, and no two alike, even where case is ignored.

    >>> _file_names(["blocks.8", "a/b", "A b", "a b", ".."])
    ['blocks.8', 'a_b', 'A_b-2', 'a_b-3', '_']
    """
    used = {name.casefold() for name in taken}
    result = []
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".")[:120] or "_"
        unique, count = safe, 1
        while unique.casefold() in used:
            count += 1
            unique = f"{safe}-{count}"
        used.add(unique.casefold())
        result.append(unique)
    return result
