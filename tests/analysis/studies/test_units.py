"""Units of a study: shares of them, made by several processes, come to the same store."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Said
from hypothesis import given
from hypothesis import strategies as st
from metamery.analysis import write_report
from metamery.analysis.studies.run_study import run_study
from metamery.analysis.studies.units import Share, missing, units
from metamery.analysis.synthesis import driver
from metamery.framework import MetameryError, Plugins, Study, claims, open_study
from metamery.framework.schema import STATES
from metamery.framework.store import RESULTS, StudyStore
from stores import differing


@pytest.fixture
def study(two_models: Study) -> Study:
    return two_models


# Shares


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 3), st.integers(1, 8), st.integers(1, 7))
def test_shares_are_disjoint_complete_and_of_the_same_cost(
    stimuli: int, layers: int, seeds: int, batch_size: int, count: int
) -> None:
    every = units({"net": np.zeros((layers, stimuli, seeds), dtype=np.int8)}, batch_size)
    shares = [Share(index + 1, count).of(every) for index in range(count)]
    assert sorted((unit for share in shares for unit in share), key=every.index) == every
    assert sum(unit.metamers for unit in every) == layers * stimuli * seeds
    of_layers = [[sum(unit.batch.layer == layer for unit in share) for layer in range(layers)] for share in shares]
    assert np.ptp(of_layers, axis=0).max() <= 1


def test_only_units_with_missing_metamers_are_made() -> None:
    state = np.full((2, 5, 1), STATES["done"], dtype=np.int8)
    state[1, 3] = STATES["missing"]
    (unit,) = missing(units({"net": state}, 2), {"net": state})
    assert (unit.batch.layer, unit.batch.stimuli, unit.metamers) == (1, slice(2, 4), 2)


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1/1000001", "1.5/3"])
def test_a_share_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(MetameryError, match=f"part is '{text}', expected I/N, such as 2/4, with I from 1 to N"):
        Share.parse(text)


# Several processes, one study


def test_parts_in_any_order_come_to_the_store_of_one_process(study: Study, made_alone: Path, tmp_path: Path) -> None:
    for index in (2, 3, 1, 3):  # twice does no harm
        run_study(study, tmp_path / "parts", Plugins(), part=f"{index}/3")
    assert differing(made_alone, tmp_path / "parts") == []


def test_what_one_part_makes_is_complete(study: Study, tmp_path: Path) -> None:
    run_study(study, tmp_path, Plugins(), part="1/3")
    tree = open_study(tmp_path).load()
    for group in tree["models"].children.values():
        done = (group["metamers/state"] == STATES["done"]).values
        assert 0 < done.sum() < done.size
        assert ((group["match/matches"].values >= 0) == done).all()  # each is judged as it is stored
        assert ((group["metamers/made_on"].values != "") == done).all()
    (made_on,) = {*tree["models"].children[next(iter(tree["models"].children))]["metamers/made_on"].values.flat} - {""}
    assert made_on.startswith("cpu (")


def test_parts_at_the_same_time(study: Study, made_alone: Path, tmp_path: Path) -> None:
    """One of them creates the study; the others wait for it, and lose nothing."""
    (tmp_path / "study.toml").write_text(study.to_toml())
    command = [sys.executable, "-m", "metamery.framework", "run", str(tmp_path / "study.toml"), "--trust", "-o"]
    processes = [
        subprocess.Popen([*command, str(tmp_path / "parts"), "--part", f"{index}/2"], stderr=subprocess.PIPE, text=True)
        for index in (1, 2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert differing(made_alone, tmp_path / "parts") == []


def test_who_works_on_a_folder_decides_who_may_join(study: Study, tmp_path: Path) -> None:
    run_study(study, tmp_path, Plugins(), part="1/3")
    held = "is being written to by"
    with claims.part(tmp_path, "2-of-3"):
        with pytest.raises(MetameryError, match=held):
            run_study(study, tmp_path, Plugins(), part="2/3")
        with pytest.raises(MetameryError, match=held):
            run_study(study, tmp_path, Plugins())
        run_study(study, tmp_path, Plugins(), part="3/3")
    with claims.work(tmp_path), pytest.raises(MetameryError, match=held):
        run_study(study, tmp_path, Plugins(), part="2/3")
    run_study(study, tmp_path, Plugins())
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_a_part_of_another_study_takes_nothing_from_one_that_has_just_begun(
    study: Study, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its store has no metamer yet, and would give way if nobody worked on it."""
    store = run_study(study, tmp_path, Plugins(), part="1/3")
    for key in store.children("models"):
        store.write(f"models/{key}/metamers", {}, {"state": 0})
    other = "import sys, time; from pathlib import Path; from metamery.framework import claims\n"
    other += "with claims.part(Path(sys.argv[1]), '2-of-3'): print('held', flush=True); time.sleep(600)"
    process = start([sys.executable, "-c", other, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(MetameryError, match="holds a study with other settings"):
        run_study(replace(study, seed=8), tmp_path, Plugins(), part="3/3")
    assert (tmp_path / RESULTS).exists()


def test_a_damaged_unit_is_mended_without_touching_the_others(study: Study, made_alone: Path, copied: Path) -> None:
    store = StudyStore.reopen(copied)
    key = store.children("models")[0]
    loss = np.asarray(store.read(f"models/{key}/metamers", "loss"))
    loss[0, 1, 0] = np.nan
    store.write(f"models/{key}/metamers", {}, {"loss": loss})
    with pytest.warns(UserWarning, match="1 metamers of"):
        run_study(study, copied, Plugins(), part="1/1")
    assert differing(made_alone, copied) == []


def test_a_study_of_an_earlier_version_goes_on_without_what_it_does_not_store(study: Study, tmp_path: Path) -> None:
    store = run_study(study, tmp_path, Plugins(), part="1/3")
    for key in store.children("models"):
        for file in sorted((store.path / f"models/{key}/metamers/made_on").rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        (store.path / f"models/{key}/metamers/made_on").rmdir()
    run_study(study, tmp_path, Plugins())
    for group in open_study(tmp_path)["models"].children.values():
        assert "made_on" not in group["metamers"]
        assert (group["metamers/state"] == STATES["done"]).all()


def test_the_report_of_a_study_made_on_two_machines_says_so(
    study: Study, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in (1, 2):
        monkeypatch.setattr(driver, "made_on", lambda _device, index=index: f"machine {index}")
        run_study(study, tmp_path / "study", Plugins(), part=f"{index}/2")
    text = write_report(tmp_path / "study").read_text(encoding="utf-8")
    found = re.search(r"machine 1 \((\d+)\); machine 2 \((\d+)\)", text)
    assert found is not None
    assert sum(map(int, found.groups())) == 30
    assert "made on" not in write_report(copied).read_text("utf-8")


# The command


def test_the_command_says_what_is_left(study: Study, tmp_path: Path, command: Callable[..., Said]) -> None:
    (tmp_path / "study.toml").write_text(study.to_toml())
    first = command("run", tmp_path / "study.toml", "-o", tmp_path / "study", "--part", "1/2")
    assert first.status == 0, first.err
    assert "of 30 metamers are made; the other parts make the rest" in first.out
    assert not (tmp_path / "study" / "report.html").exists()
    second = command("run", tmp_path / "study.toml", "-o", tmp_path / "study", "--part", "2/2")
    assert (second.status, (tmp_path / "study" / "report.html").exists()) == (0, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--part", "5/4"], "part is '5/4', expected I/N, such as 2/4, with I from 1 to N"),
        (["--part", "1/2", "--scheduler", "local:2"], "give --part or --scheduler, not both"),
    ],
)
def test_slips_are_named(study: Study, tmp_path: Path, command: Callable[..., Said], given: Any, said: str) -> None:
    (tmp_path / "study.toml").write_text(study.to_toml())
    result = command("run", tmp_path / "study.toml", "-o", tmp_path / "study", *given)
    assert result.status == 2
    assert said in result.error
    assert not (tmp_path / "study").exists()
