"""The log of updates: a row for each, the same after a stop, and readable meanwhile."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric.loggers.logger import Logger
from metamery.framework import Plugins, Recipe
from metamery.framework.errors import MissingExtraError
from metamery.framework.run import Run
from metamery.framework.study import Reference
from metamery.training.driver import run_training
from metamery.training.loggers import tensorboard
from metamery.training.loop import LAST
from metamery.training.update_log import COLUMNS, LOG, UpdateLog
from small_training import Stopping, network, pictures, run, tools


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / LOG).open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def timeless(found: list[dict[str, float]]) -> Any:
    return [{name: row[name] for name in COLUMNS[:6]} for row in found]


def test_there_is_a_row_for_each_update(tmp_path: Path) -> None:
    _, history = run(tmp_path, Recipe(epochs=3, batch_size=8, learning_rate=0.1, schedule="cosine"))
    found = rows(tmp_path)
    assert [row["update"] for row in found] == list(range(1, 16))
    assert [row["epoch"] for row in found] == [1] * 5 + [2] * 5 + [3] * 5
    for epoch, row in enumerate(history, 1):
        own = [each for each in found if each["epoch"] == epoch]
        for name in ("loss", "accuracy"):
            assert sum(each[name] for each in own) / 5 == pytest.approx(row[name], rel=1e-5)
        assert own[-1]["learning_rate"] == pytest.approx(row["learning_rate"], rel=1e-5)
    assert all(row["signals_per_second"] > 0 and 0 <= row["waiting"] <= 1 for row in found)


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_the_norm_is_that_of_the_gradient_before_it_is_clipped(tmp_path: Path, clip: float) -> None:
    model, data = network(), pictures()
    model.module[3] = torch.nn.Identity()
    twin = network().module.train()
    twin[3] = torch.nn.Identity()
    assert data.kept is not None
    torch.nn.functional.cross_entropy(twin(data.kept), torch.tensor(data.targets)).backward()
    expected = sum(float(weight.grad.square().sum()) for weight in twin.parameters()) ** 0.5  # type: ignore[union-attr]
    run(tmp_path, Recipe(epochs=1, batch_size=40, clip_norm=clip), model, data=data, tools=tools(perturbation=None))
    assert rows(tmp_path)[0]["gradient_norm"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("after", "every"), [(7, None), (13, 2), (14, 3)])
def test_stopped_and_resumed_it_is_that_of_a_training_never_stopped(
    tmp_path: Path, after: int, every: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole", checkpoint_every=every)
    monkeypatch.setattr("metamery.training.update_log.EVERY", 0.0)  # rows beyond the checkpoint are written, too
    monkeypatch.setattr("metamery.training.loop.SYNC_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", checkpoint_every=every, progress=Stopping(after))
    assert len(rows(tmp_path / "part")) >= after - 1
    monkeypatch.undo()
    run(tmp_path / "part", checkpoint_every=every)
    assert timeless(rows(tmp_path / "part")) == timeless(rows(tmp_path / "whole"))


def test_nothing_is_written_before_the_first_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metamery.training.update_log.EVERY", 0.0)
    monkeypatch.setattr("metamery.training.loop.SYNC_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Stopping(4))
    assert not list(tmp_path.iterdir())


def test_a_row_cut_by_a_crash_is_made_again(tmp_path: Path) -> None:
    run(tmp_path, Recipe(epochs=2, batch_size=8))
    with (tmp_path / LOG).open("a", encoding="utf-8") as file:
        file.write("11,3,0.5")
    log = UpdateLog(tmp_path, 5, 8)
    log.resume(20)
    assert [row["update"] for row in rows(tmp_path)] == list(range(1, 11))
    assert (tmp_path / LAST).exists()


class Listing(Logger):
    """Keeps what it is told."""

    name, version = "listing", 0

    def __init__(self) -> None:
        self.told: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.told.append((step, metrics))

    def log_hyperparams(self, *_given: Any, **_more: Any) -> None:
        raise AssertionError("there are none")


def test_loggers_of_fabric_are_told_the_rows_of_updates_and_of_epochs(sized: str, drawn: Any, tmp_path: Path) -> None:
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    stimuli = Reference("folder", {"path": str(data)})
    asked = Run(Reference(sized), stimuli, stimuli, ("cat", "dog"), Recipe(epochs=2, batch_size=4))
    logger = Listing()
    history = run_training(asked, tmp_path / "run", Plugins(), loggers=[logger])
    of_updates = [(step, told) for step, told in logger.told if "update/loss" in told]
    assert [step for step, _ in of_updates] == [1, 2, 3, 4, 5, 6]
    assert [told["update/loss"] for _, told in of_updates] == pytest.approx(
        [row["loss"] for row in rows(tmp_path / "run")], rel=1e-5
    )
    of_epochs = [told for step, told in logger.told if "epoch/loss" in told and step in (3, 6)]
    assert [told["epoch/validation_accuracy"] for told in of_epochs] == [row["validation_accuracy"] for row in history]


def test_tensorboard_is_asked_for_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(*_given: Any) -> None:
        raise ModuleNotFoundError("No module named 'tensorboard'")

    monkeypatch.setattr("lightning_fabric.loggers.tensorboard.TensorBoardLogger", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'metamery\[tensorboard\]'"):
        tensorboard(tmp_path)
