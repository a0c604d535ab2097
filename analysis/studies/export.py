"""Export: a study's signals in common file formats, with a table that describes each file."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np

from ...framework.claims import work
from ...framework.domains import ImageDomain, WaveformDomain
from ...framework.errors import MetameryError
from ...framework.folders import EXPORT_TABLE, check_input, check_output
from ...framework.groups import numbered
from ...framework.model_results import STATE_NAMES, ModelResults, models_of, stimulus_facts
from ...framework.owners import abandoned, clear, scratch
from ...framework.remote import RemotePath, folder_at, on_disk
from ...framework.replacing import writing_to
from ...framework.schema import VERDICTS
from ..proof.measures import NULL_METRICS
from .in_memory import Results, opened
from .media import level as level_of
from .media import png, wav

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLE = EXPORT_TABLE
_STAGED = ".export."
_NATURAL = "natural"
MAX_BYTES = 160
"""Longest part of a file's name that comes from a stimulus or a layer, in bytes of UTF-8."""

_FORBIDDEN = '<>:"/\\|?*'
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9¹²³]", re.IGNORECASE)  # names that Windows keeps for itself
_VERDICTS = {number: name if number >= 0 else "" for name, number in VERDICTS.items()}


@dataclass(frozen=True)
class _Entry:
    """A row of the table, in the order of its columns; empty where a value is unknown or does not apply."""

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
    peak_dbfs: str
    rms_dbfs: str
    gain_db: str
    limited: str
    licence: str
    source: str


def export(study: Results, out_folder: str | Path, level: float | None = None) -> int:
    """Write every natural signal and every metamer as an 8-bit PNG or a 16-bit WAV, and a table of them.

    Natural signals go to ``KEY/natural/STIMULUS.png``, metamers to ``KEY/LAYER/STIMULUS_seedN.png``, where
    each part is made safe for file names; the table ``metamers.csv`` has a row for each, and one without a
    file for each metamer that failed or is missing. Files are written to a temporary folder and then moved into place.

    For sounds the table gives the level of the samples in the file, peak and root mean square in dBFS, and the gain in
    dB that was applied to the stored signal, 0 unless `level` is given. Columns such as ``quantised_success`` always
    refer to the stored signal, at its own level.

    Parameters
    ----------
    study
        A study's folder, which need not be finished, an open study, or what `synthesise` returned.
    out_folder
        Folder of the files; created if missing. An earlier export in it is replaced, file by file, the table last.
    level
        Root mean square that each sound is set to, in dBFS, at most 0 (a square wave of full scale). A sound whose
        peak would then exceed full scale is made as loud as possible, with ``yes`` in the column ``limited``. None
        leaves all samples as stored.

    Returns
    -------
    int
        Number of signals written.

    Raises
    ------
    MetameryError
        There is no study, or it is damaged; the folder holds other files than an export's, or cannot be written to;
        `level` is above 0 or not finite, or is given for a study without sounds.

    Examples
    --------
    >>> import os, tempfile
    >>> from metamery.analysis import export, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> metamers = synthesise(example_model(), example_stimuli(), layers=["1"], steps=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(metamers, folder), sorted(os.listdir(folder))
    (6, ['metamers.csv', 'model'])
    """
    if level is not None and not -np.inf < level <= 0:
        raise MetameryError(f"the level is {level:g}, expected dBFS of at most 0, such as -23")
    if isinstance(study, str | Path | RemotePath):
        check_input(folder_at(study), ("study",), "a study's folder")
    out = on_disk(out_folder)
    check_output(out, "export", others=False)
    out = out.resolve()
    with opened(study) as tree:
        models, facts = models_of(tree), stimulus_facts(tree)
        if level is not None and all(isinstance(model.domain, ImageDomain) for model in models):
            raise MetameryError(f"the level is {level:g} dBFS, but the study holds pictures only")
        with writing_to(out), work(out), scratch(out, _STAGED) as staging:
            rows = (row for model in models for row in _model(model, facts, staging, level))
            files = _write_table(staging / TABLE, rows)
            _move(staging, out, files)
            clear(out, _STAGED)
    return len(files)


def _model(
    model: ModelResults, facts: Mapping[str, Mapping[str, str]], folder: Path, level: float | None
) -> Iterator[_Entry]:
    """Write one model's signals, one after the other, and yield their rows."""
    stimuli = model.stimuli
    names = dict(zip(stimuli, _file_names(stimuli), strict=True))
    folders = dict(zip(model.layers, _file_names(model.layers, taken=[_NATURAL]), strict=True))
    natural = [model.label(int(number)) for number in model.natural["predicted"].values]

    def entry(file: str, index: int, layer: str, **rest: str) -> _Entry:
        stimulus = stimuli[index]
        blank = dict.fromkeys((field.name for field in fields(_Entry)), "")
        known = {"file": file, "model": model.name, "layer": layer, "stimulus": stimulus}
        return _Entry(**{**blank, **known, **facts.get(stimulus, {}), "natural_predicted": natural[index], **rest})

    for index, signal in enumerate(model.natural_signals()):
        file = "" if signal is None else f"{model.key}/{_NATURAL}/{names[stimuli[index]]}.{model.domain.suffix}"
        written = {} if signal is None else _write_signal(folder / file, signal, model, level)
        state = "missing" if signal is None else "done"
        yield entry(file, index, _NATURAL, state=state, predicted=natural[index], **written)

    for layer, name in enumerate(model.layers):
        here = _answers(model, layer)
        for index, signals in enumerate(model.metamer_signals(layer)):
            for seed, signal in enumerate(signals):
                rest = {column: values[index][seed] for column, values in here.items()}
                file = ""
                if rest["state"] == "done" and signal is not None:
                    stem = f"{names[stimuli[index]]}_seed{model.seeds[seed]}"
                    file = f"{model.key}/{folders[name]}/{stem}.{model.domain.suffix}"
                    rest |= _write_signal(folder / file, signal, model, level)
                yield entry(file, index, name, seed=str(model.seeds[seed]), **rest)


def _answers(model: ModelResults, layer: int) -> dict[str, list[list[str]]]:
    """Return the table's fields for the metamers at one layer, by column, stimulus and seed."""
    stored = {name: model.metamers[name].isel(layer=layer).values for name in ("state", "reason", "steps")}
    words: dict[str, tuple[NDArray[Any], Any]] = {
        "state": (stored["state"], lambda value: STATE_NAMES[int(value)]),
        "reason": (stored["reason"], str),
        "steps": (stored["steps"], lambda value: str(value) if value >= 0 else ""),
        "loss": (model.losses(layer, [-1])[..., 0], lambda value: str(value) if np.isfinite(value) else ""),
        "predicted": (model.answers("predicted", -1)[layer], lambda value: model.label(int(value))),
        "agrees": (model.answers("agrees", -1)[layer], lambda value: {0: "no", 1: "yes"}.get(int(value), "")),
    }
    for verdict in ("success", "matches", "quantised_success"):
        words[verdict] = model.answers(verdict, -1)[layer], lambda value: _VERDICTS[int(value)]
    for metric in NULL_METRICS:
        words[metric] = model.own_match(metric)[layer], lambda value: "" if np.isnan(value) else str(value)
    return {column: [[word(value) for value in row] for row in values] for column, (values, word) in words.items()}


def _write_signal(path: Path, signal: NDArray[np.float32], model: ModelResults, level: float | None) -> dict[str, str]:
    """Write one signal, and return the table's fields for the level of a sound."""
    domain = model.domain
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(domain, ImageDomain):
        path.write_bytes(png(signal, domain))
        return {}
    gain, limited = _gain(signal, domain, level)
    sound = (signal * gain).astype(np.float32)
    path.write_bytes(wav(sound, domain))
    peak, rms = level_of(sound, domain)
    decibels = {"peak_dbfs": peak, "rms_dbfs": rms, "gain_db": 20 * np.log10(gain)}
    levels = {column: f"{value:z.2f}" for column, value in decibels.items()}
    return levels | ({} if level is None else {"limited": "yes" if limited else "no"})


def _gain(signal: NDArray[np.float32], domain: WaveformDomain, level: float | None) -> tuple[float, bool]:
    """Return the gain that brings a sound to a level in dBFS, 1 for silence, and whether its peak limits the gain."""
    samples = signal.astype(np.float64) / max(abs(domain.low), abs(domain.high))
    if level is None or not samples.any():
        return 1.0, False
    wanted = 10 ** (level / 20) / float(np.sqrt(np.square(samples).mean()))
    most = 1 / float(np.abs(samples).max())
    return min(wanted, most), wanted > most


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
    """Move a finished export into place, and delete files of earlier or killed exports that are not in it."""
    unfinished = [staging / TABLE for staging in abandoned(out, _STAGED)]
    earlier = {name for table in (out / TABLE, *unfinished) for name in _listed(table)}
    for name in [*files, TABLE]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(fresh / name, out / name)
    for name in earlier - {*files}:
        path = (out / name).resolve()
        if path.is_relative_to(out) and path.is_file() and path.suffix in (".png", ".wav"):
            path.unlink()


def _listed(table: Path) -> set[str]:
    """Return the files that a table lists; the table may be truncated."""
    try:
        with table.open(newline="", encoding="utf-8", errors="replace") as file:
            return {row.get("file") or "" for row in csv.DictReader(file)} - {""}
    except (FileNotFoundError, csv.Error):
        return set()


def _file_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return a file name for each name, which every file system can hold, and unique even if case is ignored.

    Letters of any script stay; what Windows, macOS or Linux cannot hold is replaced by ``_``.

    >>> _file_names(["blocks.8", "a/b", "Käfer 2", "käfer 2", "..", "CON", "狐?"])
    ['blocks.8', 'a_b', 'Käfer 2', 'käfer 2-2', '_', 'CON_', '狐_']
    """
    used = {_folded(name) for name in taken}
    result = []
    for name in names:
        unique = numbered(_held(name), lambda each: _folded(each) in used, mark="-")
        used.add(_folded(unique))
        result.append(unique)
    return result


def _held(name: str) -> str:
    """Return a name with what some file system cannot hold replaced."""
    kept = "".join("_" if char in _FORBIDDEN or not char.isprintable() else char for char in normalize("NFC", name))
    cut = kept.encode()[:MAX_BYTES].decode(errors="ignore").strip(" .") or "_"
    return f"{cut}_" if _DEVICE.fullmatch(cut.partition(".")[0].rstrip()) else cut


def _folded(name: str) -> str:
    return normalize("NFC", normalize("NFC", name).casefold())
