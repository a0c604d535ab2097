"""Data of synthetic observers through files, import and statistics: what was put in comes out."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from answered_experiment import CHOICES, LAYERS, MODEL, small_experiment, small_study
from metamery.analysis.experiment.exclusions import Rules
from metamery.analysis.experiment.importing import import_people
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.observers import Accuracy, observe, read_accuracy, write_lines
from metamery.analysis.experiment.server.bodies import Opening
from metamery.analysis.experiment.server.sessions import Sessions
from metamery.analysis.statistics import read_participants
from metamery.framework import MetameryError, Plugins, open_study
from metamery.framework.cli import make_app
from metamery.framework.schema import check_dataset
from typer.testing import CliRunner

SITES = [f"{MODEL} {layer}" for layer in ("natural", *LAYERS)]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Key]:
    """An experiment's folder and study, with the data of 40 observers of known accuracy imported by the command."""
    folder = tmp_path_factory.mktemp("experiment")
    key, study = small_experiment(folder / "experiment"), small_study(folder / "study")
    accuracy = read_accuracy(["natural=0.95", "conv1=0.9", "conv2=0.6", "output=chance"], key)
    write_lines(folder / "people.jsonl", observe(key, 40, accuracy, np.random.default_rng(1)))
    sources = [str(folder / "experiment"), str(folder / "people.jsonl")]
    result = CliRunner().invoke(make_app(Plugins()), ["experiment", "import", *sources, str(study)])
    assert result.exit_code == 0, result.output
    assert "40 of 40 sessions count" in result.output
    return folder / "experiment", study, key


def test_known_accuracies_come_out(imported: tuple[Path, Path, Key]) -> None:
    with open_study(imported[1]) as tree:
        human = tree["human"].to_dataset().load()
    check_dataset(human)
    assert human.site.values.tolist() == SITES
    expected = np.array([0.95, 0.9, 0.6, 1 / len(CHOICES)])
    spread = np.sqrt(expected * (1 - expected) / 400)
    assert (np.abs(human.recognised - expected) < 4 * spread).all()
    assert (human.recognised_low < human.recognised).all()
    assert (human.recognised < human.recognised_high).all()
    assert (human.trials == 10).all()
    assert human.sizes["participant"] == 40
    assert (human.generator == 1).all()
    assert (human.confusions.sum(["category", "answer"]) == human.trials.sum("participant")).all()
    diagonal = human.confusions.sel(category=list(CHOICES)).values.diagonal(axis1=1, axis2=2).sum(axis=1)
    np.testing.assert_array_equal(diagonal, human.right.sum("participant"))
    np.testing.assert_array_equal(human.stimulus_right.sum("stimulus"), human.right.sum("participant"))
    assert (human.stimulus_trials == 10).all()
    assert (np.abs(human.reaction_time - 1.2) < 0.15).all()


def test_tables_hold_every_trial(imported: tuple[Path, Path, Key]) -> None:
    folder, _, key = imported
    table = pd.read_csv(folder / "data" / "trials.csv", keep_default_na=False)
    assert len(table) == 40 * 44
    stored = pd.read_parquet(folder / "data" / "trials.parquet")
    assert stored.columns.tolist() == table.columns.tolist()
    assert stored["correct"].tolist() == table["correct"].tolist()
    one = table[(table.session == "observer-1") & (table.number == 0)].iloc[0]
    item = key.items[key.trials(1)[0]]
    assert (one.stimulus, one.layer, one.category, one.block) == (item.stimulus, item.layer, item.answer, 0)
    assert table[table.number == 22].block.unique().tolist() == [1]
    assert len(pd.read_csv(folder / "data" / "sessions.csv")) == 40


def test_statistics_reads_the_table_of_participants(imported: tuple[Path, Path, Key], tmp_path: Path) -> None:
    folder, study, _ = imported
    people = read_participants(folder / "data" / "participants.csv")
    with open_study(study) as tree:
        human = tree["human"].to_dataset().load()
    np.testing.assert_allclose(people.human.mean("participant"), human.recognised)
    assert people["modality"].values.tolist() == ["vision"] * 4
    command = ["statistics", str(folder / "data" / "participants.csv"), "--shuffles", "99", "-o", str(tmp_path / "s")]
    result = CliRunner().invoke(make_app(Plugins()), command)
    assert result.exit_code == 0, result.output
    with open_study(tmp_path / "s") as tree:
        observers = tree["observers"].to_dataset().load()
    assert observers.df_error.sel(term="recogniser:layer").item() == 2 * 39 * 3
    assert (observers.p_GG < 1e-6).all()


def valid_psych_ds(folder: Path) -> None:
    """Check a folder against Psych-DS's written rules."""
    about = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8"))
    assert about["@context"] == "https://schema.org/"
    assert about["@type"] == "Dataset"
    assert about["name"]
    assert about["description"]
    described = [each["name"] for each in about["variableMeasured"]]
    assert len(set(described)) == len(described)
    files = [path for path in (folder / "data").rglob("*") if path.is_file() and "raw" not in path.parts]
    assert files
    found: set[str] = set()
    for path in files:
        stem, dot, ending = path.name.partition(".")
        assert (dot, ending) == (".", "csv")
        *pairs, suffix = stem.split("_")
        assert suffix == "data"
        assert pairs
        for pair in pairs:
            key, dash, value = pair.partition("-")
            assert dash
            assert key.isascii()
            assert key.islower()
            assert key.isalpha()
            assert value.isascii()
            assert value.isalnum()
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert {len(row) for row in rows} == {len(rows[0])}
        found |= set(rows[0])
    assert found == set(described)


def test_the_psych_ds_dataset_keeps_its_rules(imported: tuple[Path, Path, Key]) -> None:
    folder = imported[0] / "data" / "psych-ds"
    valid_psych_ds(folder)
    (folder / "data" / "trials.csv").write_text("a\n1\n")
    with pytest.raises(AssertionError):
        valid_psych_ds(folder)
    (folder / "data" / "trials.csv").unlink()


def test_the_raw_sessions_can_be_imported_again(imported: tuple[Path, Path, Key], tmp_path: Path) -> None:
    folder, study, _ = imported
    raw = folder / "data" / "psych-ds" / "data" / "raw" / "sessions.jsonl"
    again = import_people([folder, raw], study, output=tmp_path / "tables")
    ours = (tmp_path / "tables" / "trials.csv").read_bytes()
    assert ours == (folder / "data" / "trials.csv").read_bytes()
    assert len(again.reasons) == 40


def test_what_is_excluded_stays_in_the_tables(tmp_path: Path) -> None:
    key, study = small_experiment(tmp_path / "experiment"), small_study(tmp_path / "study")
    layers = ("natural", *LAYERS)
    sure, guessing = (Accuracy(dict.fromkeys([*layers, "catch"], p)) for p in (1.0, 0.0))
    good = observe(key, 4, sure, np.random.default_rng(0))
    bad = observe(key, 5, guessing, np.random.default_rng(0))[4:]
    write_lines(tmp_path / "people.jsonl", [*good, *bad])
    found = import_people([tmp_path / "experiment", tmp_path / "people.jsonl"], study)
    assert found.reasons["observer-4"] == "catch trials: 0 of 4 right, less than 0.75"
    assert (found.dataset.recognised == 1).all()
    assert json.loads(found.dataset.attrs["excluded"]) == {"catch trials": 1}
    table = pd.read_csv(found.folder / "trials.csv", keep_default_na=False)
    assert set(table[table.session == "observer-4"].excluded) == {found.reasons["observer-4"]}
    kept = import_people([tmp_path / "experiment", tmp_path / "people.jsonl"], study, Rules(catch=0))
    np.testing.assert_allclose(kept.dataset.recognised, 0.8)
    write_lines(tmp_path / "people.jsonl", bad)
    with pytest.raises(MetameryError, match="every session is excluded: 1 × catch trials: 0 of 4 right"):
        import_people([tmp_path / "experiment", tmp_path / "people.jsonl"], study)


def test_what_the_server_saved_is_imported(tmp_path: Path) -> None:
    key, study = small_experiment(tmp_path / "experiment", stimuli=8), small_study(tmp_path / "study", stimuli=8)
    with closing(Sessions(tmp_path / "experiment")) as sessions:
        for person in ("a", "b"):
            opened = sessions.open(Opening(person, identifiers={"PROLIFIC_PID": person}))
            for number, name in enumerate(key.trials(opened.list)):
                answer = key.items[name].answer if person == "a" else "boat"
                record = {"part": "main", "number": number, "item": name, "answer": answer, "rt_ms": 900.0}
                sessions.save(opened.session, opened.token, person, record, "main", number)
            sessions.end(opened.session, opened.token, person, "completed")
    found = import_people([tmp_path / "experiment"], study, Rules(catch=0))
    table = pd.read_csv(found.folder / "trials.csv", keep_default_na=False)
    assert len(table) == 2 * 12
    first, second = (key.participant({"PROLIFIC_PID": person}) for person in ("a", "b"))
    assert set(table.participant) == {first, second}
    assert table[table.participant == first].correct.all()
    assert (table[table.participant == second].correct == (table[table.participant == second].category == "boat")).all()
    assert not any("PROLIFIC" in path.read_text() for path in found.folder.rglob("*.csv"))


def test_a_signal_in_the_place_of_another_is_told_and_counts_for_nothing(tmp_path: Path) -> None:
    key, study = small_experiment(tmp_path / "experiment", stimuli=8), small_study(tmp_path / "study", stimuli=8)
    lost = {f"item-{stimulus}-2" for stimulus in (0, 1)}  # conv2, of which each list has two stimuli
    items = {
        name: replace(item, shown="natural", reason="the metamer failed") if name in lost else item
        for name, item in key.items.items()
    }
    replace(key, items=items).write(tmp_path / "experiment")
    accuracy = Accuracy(dict.fromkeys(["natural", "catch", *LAYERS], 1.0))
    write_lines(tmp_path / "people.jsonl", observe(key, 4, accuracy, np.random.default_rng(0)))
    found = import_people([tmp_path / "experiment", tmp_path / "people.jsonl"], study)
    assert "2 trials with another signal than intended are in the tables and count for nothing" in found.remarks
    assert found.dataset.trials.sum("participant").values.tolist() == [8, 8, 6, 8]
    table = pd.read_csv(found.folder / "trials.csv", keep_default_na=False)
    assert (table.reason == "the metamer failed").sum() == 2


def test_a_participant_without_a_stage_is_not_in_the_statistics(tmp_path: Path) -> None:
    key, study = small_experiment(tmp_path / "experiment", stimuli=8), small_study(tmp_path / "study", stimuli=8)
    accuracy = Accuracy(dict.fromkeys(["natural", "catch", *LAYERS], 1.0))
    given = observe(key, 4, accuracy, np.random.default_rng(0))
    layers = [key.items[record.item].layer for record in given[0].records]
    kept = tuple(record for record, layer in zip(given[0].records, layers, strict=True) if layer != "conv2")
    write_lines(tmp_path / "people.jsonl", [replace(given[0], records=kept), *given[1:]])
    found = import_people([tmp_path / "experiment", tmp_path / "people.jsonl"], study, Rules(complete=False))
    assert f"participant observer-0 has no trial of 'conv2' of '{MODEL}' and is not in its statistics" in found.remarks
    people = read_participants(found.folder / "participants.csv")
    assert people.participant.values.tolist() == [f"vision/What do you see?/observer-{n}" for n in (1, 2, 3)]


def test_another_study_is_refused(tmp_path: Path) -> None:
    key = small_experiment(tmp_path / "experiment")
    study = small_study(tmp_path / "study", stimuli=8)
    accuracy = Accuracy(dict.fromkeys(["natural", "catch", *LAYERS], 1.0))
    write_lines(tmp_path / "people.jsonl", observe(key, 2, accuracy, np.random.default_rng(0)))
    with pytest.raises(MetameryError, match="not of this study: unknown stimulus 's8'"):
        import_people([tmp_path / "experiment", tmp_path / "people.jsonl"], study)
    assert not (tmp_path / "experiment" / "data").exists()
