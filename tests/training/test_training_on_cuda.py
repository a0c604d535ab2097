"""A training on a GPU: the same bits twice, stopped and resumed as well, and near that of the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import Model, Plugins, Recipe
from metamery.training.data import Examples
from metamery.training.hardware import Hardware
from metamery.training.loop import BEST, train
from metamery.training.tools import load_tools
from small_training import Stopping, same, timeless, weights

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

PLUGINS = Plugins(installed=())
PGD = {"perturbation": "pgd_linf", "perturbation_options": {"epsilon": 8 / 255, "steps": 2, "step_size": 4 / 255}}


def trained(folder: Path, device: str = "cuda", precision: str = "float32", **changes: Any) -> tuple[Model, Any]:
    given = {name: changes.pop(name) for name in ("checkpoint_every", "progress") if name in changes}
    recipe = Recipe(epochs=2, batch_size=32, learning_rate=0.02, optimizer_options={"momentum": 0.9}, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PLUGINS.load("model", "cifar-resnet20")
    signals = torch.rand(160, *model.domain.shape, generator=torch.Generator().manual_seed(0))
    labels = [index % 10 for index in range(len(signals))]
    signals += 0.1 * torch.tensor(labels)[:, None, None, None]
    examples = Examples((), labels, model.domain, kept=(signals / 2).clamp(0, 1), classes=10)
    fabric = Hardware(device, precision=precision).fabric()
    fabric.launch()
    history = train(model, examples, None, recipe, load_tools(recipe, PLUGINS), folder, fabric=fabric, **given)
    return model, history


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", [{}, PGD])
def test_stopped_and_resumed_is_never_stopped_bit_for_bit(
    tmp_path: Path, precision: str, changes: dict[str, Any]
) -> None:
    given = {"precision": precision, "checkpoint_every": 2, **changes}
    whole, history = trained(tmp_path / "whole", **given)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "part", progress=Stopping(7), **given)
    resumed, again = trained(tmp_path / "part", **given)
    assert same(weights(whole), weights(resumed))
    assert timeless(history) == timeless(again)
    assert (tmp_path / "whole" / BEST).read_bytes() == (tmp_path / "part" / BEST).read_bytes()


@pytest.mark.parametrize("changes", [{}, PGD])
def test_it_begins_as_on_the_processor(tmp_path: Path, changes: dict[str, Any]) -> None:
    (_, here), (_, there) = (trained(tmp_path / device, device, **changes) for device in ("cpu", "cuda"))
    assert there[0]["loss"] == pytest.approx(here[0]["loss"], rel=0.02)
