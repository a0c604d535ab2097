"""Weights & Biases is told what TensorBoard is, in one run for each folder; wandb itself cannot go on-line here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from metamery.framework import MetameryError
from metamery.framework.errors import MissingExtraError
from metamery.training.loggers import WeightsAndBiases


class UsageError(Exception):
    """As those of wandb."""


class Wandb:
    """Records what it is asked for, as the package would be."""

    errors = SimpleNamespace(Error=UsageError)

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.told: list[tuple[int, dict[str, float]]] = []
        self.logins, self.finished = 0, 0
        self.fails = ""

    def Settings(self, **given: Any) -> dict[str, Any]:
        return given

    def login(self) -> None:
        self.logins += 1
        self._fail("login")

    def init(self, **given: Any) -> Any:
        self._fail("init")
        self.begun.append(given)
        return SimpleNamespace(id=given["id"], log=self._log, finish=self._finish)

    def _fail(self, what: str) -> None:
        if self.fails == what:
            raise UsageError("No API key configured.\nUse `wandb login` to log in.")

    def _log(self, metrics: dict[str, float], step: int) -> None:
        self.told.append((step, metrics))

    def _finish(self, exit_code: int) -> None:
        assert exit_code == 0
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    package = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return package


@pytest.fixture
def asked(sized: str, drawn: Any, tmp_path: Path) -> list[Any]:
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    settings = ["--setting", "batch_size=4", "--epochs", 2, "--wandb", "a project", "--checkpoint-every", 1]
    return ["train", "standard", "--model", sized, "--stimuli", data, "-o", tmp_path / "run", *settings]


def test_it_is_told_the_rows_of_updates_and_epochs(command: Any, wandb: Wandb, asked: Any, tmp_path: Path) -> None:
    assert command(*asked).status == 0
    (begun,) = wandb.begun
    assert (begun["project"], begun["name"], begun["dir"]) == ("a project", "run", tmp_path / "run")
    assert begun["config"]["recipe"]["batch_size"] == 4
    assert [step for step, told in wandb.told if "update/loss" in told] == [1, 2, 3, 4, 5, 6]
    assert [step for step, told in wandb.told if "epoch/loss" in told] == [3, 6]
    assert wandb.finished == 1
    assert [step for step, _ in wandb.told] == sorted(step for step, _ in wandb.told)  # wandb drops others


def test_a_folder_keeps_its_run(wandb: Wandb, tmp_path: Path) -> None:
    for folder in ("one", "one", "other"):
        (tmp_path / folder).mkdir(exist_ok=True)
        WeightsAndBiases(tmp_path / folder, "project", {}).log_metrics({"loss": 1.0}, 1)
    first, again, other = (begun["id"] for begun in wandb.begun)
    assert first == again != other


def test_nothing_is_begun_before_the_first_row(command: Any, wandb: Wandb, asked: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "study.toml").write_text("")
    assert command(*asked).status == 2
    assert not wandb.begun


def test_without_a_login_it_is_refused_at_once(
    command: Any, wandb: Wandb, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.fails = "login"
    assert "Weights & Biases: No API key configured. Use `wandb login` to log in. Or set" in command(*asked).error
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WANDB_MODE", "offline")
    WeightsAndBiases(tmp_path, "project", {})
    assert wandb.logins == 1


def test_a_lost_connection_does_not_end_a_training(wandb: Wandb, tmp_path: Path) -> None:
    logger = WeightsAndBiases(tmp_path, "project", {})
    wandb.fails = "init"
    with pytest.warns(UserWarning, match="nothing more is sent to Weights & Biases: No API key configured"):
        logger.log_metrics({"loss": 1.0}, 1)
    logger.log_metrics({"loss": 1.0}, 2)
    logger.finalize("success")
    assert (wandb.told, wandb.finished, logger.version) == ([], 0, None)


def test_it_is_asked_for_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"--wandb needs the package wandb: pip install 'metamery\[wandb\]'"):
        WeightsAndBiases(tmp_path, "project", {})
    assert issubclass(MissingExtraError, MetameryError)
