"""What a trained network gets wrong is counted as by hand, and is on the report of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from metamery.framework import MetameryError, Recipe, Stimulus, open_study
from metamery.framework.schema import check_dataset
from metamery.training import findings as module
from metamery.training.findings import findings
from small_training import CLASSES, network


def stimuli(count: int = 21) -> list[Stimulus]:
    generator = torch.Generator().manual_seed(0)
    signals = torch.rand(count, 1, 4, 4, generator=generator)
    return [Stimulus(signal, CLASSES[index % 3 // 2], name=f"s{index}") for index, signal in enumerate(signals)]


def inverted(_model: Any, signals: torch.Tensor, _labels: Any, _generator: Any) -> torch.Tensor:
    return 1 - signals


def test_answers_are_counted_by_category_also_under_attack() -> None:
    model, given = network(), stimuli()
    fabric = Fabric(accelerator="cpu", devices=1)
    found = findings(model, CLASSES, given, Recipe(batch_size=4), inverted, fabric)
    for dataset in found.values():
        check_dataset(dataset)
    model.module.eval()
    for name, change in (("natural", lambda x: x), ("attacked", lambda x: 1 - x)):
        counts = torch.zeros(2, 2, dtype=torch.int64)
        for stimulus in given:
            with torch.no_grad():
                answer = int(model.module(change(stimulus.signal)[None]).argmax())
            counts[CLASSES.index(stimulus.category), answer] += 1
        assert found["confusion"][name].values.tolist() == counts.tolist()
    kept = found["attacked"]
    assert kept.sizes["stimulus"] == 8
    assert len({*kept.category.values.tolist()}) == 2  # not the first of one class
    assert (abs(kept.signal + kept.natural - 1) < 1e-6).all()
    by_name = {stimulus.name: stimulus for stimulus in given}
    for caption, natural in zip(kept.stimulus.values.tolist(), kept.natural.values, strict=True):
        name = caption.split(". ")[1].split(":")[0]
        assert (natural == by_name[name].signal.numpy()).all()


def test_without_an_attack_there_are_no_attacked_signals() -> None:
    found = findings(network(), CLASSES, stimuli(), Recipe(), None, Fabric(accelerator="cpu", devices=1))
    assert list(found) == ["confusion"]
    assert list(found["confusion"].data_vars) == ["natural"]


def test_no_more_are_counted_than_is_said(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "COUNTED", 10)
    monkeypatch.setattr(module, "ATTACKED", 4)
    found = findings(network(), CLASSES, stimuli(), Recipe(batch_size=4), inverted, Fabric(accelerator="cpu"))
    assert int(found["confusion"].natural.sum()) == 10
    assert int(found["confusion"].attacked.sum()) == 4


def test_they_are_on_the_report_of_a_run_and_measured_once(
    command: Any, sized: str, drawn: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    data = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(4)])
    given = ("train", "adversarial-linf", "--model", sized, "--stimuli", data, "-o", tmp_path / "run")
    settings = ("--epochs", 1, "--setting", "batch_size=4")
    assert command(*given, *settings).status == 0
    tree = open_study(tmp_path / "run")
    assert int(tree["confusion"].natural.sum()) == 8
    assert command("report", tmp_path / "run").status == 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.index("Training by epoch") < page.index("number of answers under attack") < page.index("taken for")

    def never(*_given: Any, **_more: Any) -> Any:
        raise MetameryError("measured again")

    monkeypatch.setattr(module, "findings", never)
    assert command(*given, *settings).status == 0
