"""Python files that a study or a run names are run only if the user says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inputs import TINY
from metamery.analysis import evaluate
from metamery.framework import MetameryError, Plugins
from metamery.framework.cli import main
from metamery.framework.trust import Trust


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> Path:
    """A folder with the tiny network in a file, and a study of it, for which the file was given."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.py").write_text(TINY, encoding="utf-8")
    pictures = drawn(folder / "pictures", ["cat/a", "cat/b"])
    asked = [f"{folder / 'tiny.py'}:build", "--stimuli", pictures, "--layers", "output", "--steps", 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("METAMERY_TRUST")
        assert main(["synthesise", *map(str, asked), "-o", str(folder / "study")]) == 0
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the study; nothing is trusted."""
    monkeypatch.delenv("METAMERY_TRUST")
    return Path(shutil.copytree(made / "study", tmp_path / "study"))


@pytest.mark.parametrize("arguments", [["run"], ["run", "--dry-run"], ["evaluate", "agreement"]])
def test_a_file_that_a_study_names_is_run_with_trust_alone(
    command: Any, made: Path, study: Path, arguments: list[str]
) -> None:
    file = made / "tiny.py"
    said = command(*arguments, study)
    assert said.status == 2
    assert f"study.toml' names the Python file '{file}', which would be run" in said.error
    assert "--trust" in said.error
    trusted = command(*arguments, study, "--trust")
    assert trusted.status == 0, trusted.err
    assert trusted.err.count(f"running '{file}', which '{study / 'study.toml'}' names") == 1


def test_report_and_export_run_no_file(command: Any, made: Path, study: Path, tmp_path: Path) -> None:
    (made / "tiny.py").write_text("raise SystemExit('run')", encoding="utf-8")
    said = command("report", study), command("export", study, "-o", tmp_path / "exported")
    (made / "tiny.py").write_text(TINY, encoding="utf-8")
    assert [each.status for each in said] == [0, 0]


def test_a_file_given_on_the_command_line_is_run(command: Any, made: Path, study: Path) -> None:
    given = f'recognisers=["{made / "tiny.py"}:build"]'
    said = command("evaluate", "recognition", study, "--set", given, "--set", "resamples=2")
    assert said.status == 0, said.err
    assert "running" not in said.err


def test_a_run_used_as_a_model_is_asked_about(
    command: Any, tiny: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METAMERY_TRUST")
    given = ("--stimuli", pictures, "--epochs", 1, "-o", tmp_path / "run")
    assert command("train", "standard", "--model", tiny, *given).status == 0
    said = command("show", tmp_path / "run")
    assert said.status == 2
    assert f"'{tmp_path / 'run' / 'run.toml'}' names the Python file" in said.error
    assert command("show", tmp_path / "run", "--trust").status == 0


def test_a_notebook_says_so_to_its_plugins(study: Path) -> None:
    with pytest.raises(MetameryError, match=r"trust=True"):
        evaluate("agreement", study, plugins=Plugins())
    assert evaluate("agreement", study, plugins=Plugins(trust=True)).attrs["evaluator"] == "evaluators:agreement"


@pytest.mark.parametrize(
    "argument", ["net.py:build", "antialias/blur3/net.py:build", 'recognisers=["a.py:b", "net.py:build"]', "x=net.py:f"]
)
def test_files_are_recognised_in_arguments(argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trust = Trust(False)
    trust.give([argument])
    with trust.named_in(Path("study.toml")):
        trust.check(tmp_path / "net.py")
        with pytest.raises(MetameryError):
            trust.check(tmp_path / "other.py")
