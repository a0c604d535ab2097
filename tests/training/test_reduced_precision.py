"""Trainings in bfloat16 and float16 end near those in float32, and keep float32 weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import Recipe
from metamery.training.hardware import Hardware
from metamery.training.loop import train
from small_training import network, pictures, tools

RECIPE = Recipe(epochs=5, batch_size=8, learning_rate=0.05, schedule="cosine", clip_norm=1.0, accumulate=2)

on_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def trained(folder: Path, **given: Any) -> Any:
    fabric = Hardware(**given).fabric()
    fabric.launch()
    model = network()
    history = train(model, pictures(), pictures(20, seed=1), RECIPE, tools(), folder, fabric=fabric)
    return model, history


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "bfloat16"),
        pytest.param("cuda", "bfloat16", marks=on_cuda),
        pytest.param("cuda", "float16", marks=on_cuda),
    ],
)
def test_it_ends_near_float32(tmp_path: Path, device: str, precision: str) -> None:
    (exact, wanted), (reduced, found) = (
        trained(tmp_path / name, device=device, precision=name) for name in ("float32", precision)
    )
    assert all(weight.dtype == torch.float32 for weight in reduced.module.state_dict().values() if weight.dim())
    distance, size = 0.0, 0.0
    for name, weight in exact.module.named_parameters():
        distance += float((reduced.module.get_parameter(name) - weight).detach().square().sum())
        size += float(weight.detach().square().sum())
    assert 0 < distance / size < 0.02**2  # 2 % of their length
    for row, other in zip(wanted, found, strict=True):
        assert other["loss"] == pytest.approx(row["loss"], rel=0.05, abs=0.005)
        assert other["validation_accuracy"] == pytest.approx(row["validation_accuracy"], abs=0.05)
