"""What a GPU does is what the processor does, up to rounding: captured passes, precisions, the same bits twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from metamery.analysis import match_layer, synthesise
from metamery.analysis.proof.measures import average_ranks, measure
from metamery.analysis.synthesis import passes
from metamery.analysis.synthesis.matching import Record
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import ImageDomain, Model, Plugins
from metamery.framework.devices import repeatable
from metamery.framework.running import frozen
from metamery.framework.testing import example_stimuli
from torch import nn

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU with CUDA")]
CUDA = torch.device("cuda")


class Waiting(nn.Module):
    """A layer that reads a number from the device in each pass."""

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        return activation if activation.sum().item() > -1e9 else -activation


def network(*more: nn.Module) -> Model:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), *more
    layers = nn.Sequential(
        *first, nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    return Model(layers.eval().to(CUDA), ImageDomain(3, 24, 24), ("4", "output") if more else ("2", "output"))


def matched(model: Model, layer: str, capture: bool, **changes: Any) -> Record:
    generator = torch.Generator().manual_seed(1)
    natural, start = (torch.rand(5, 3, 24, 24, generator=generator).to(CUDA) for _ in range(2))
    procedure = Procedure.load(resolve_settings({"steps": 120, **changes}), Plugins())
    with frozen(model.module), repeatable("float32"), model.tap([layer]) as tap:
        with torch.no_grad():
            target = tap(natural)[layer].clone()
        return match_layer(tap, target, start, procedure, model.domain, capture=capture)


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "synthesis:normalised_gd", "optimizer_options": {}}, {"tolerance": 0.2}]
)
def test_a_captured_pass_gives_the_same_bits(changes: dict[str, Any]) -> None:
    eager, captured = (matched(network(), "2", capture, **changes) for capture in (False, True))
    assert torch.equal(eager.losses.nan_to_num(), captured.losses.nan_to_num())
    assert torch.equal(eager.signals, captured.signals)
    assert torch.equal(eager.steps, captured.steps)


def test_passes_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = []
    capture = passes.capture
    monkeypatch.setattr(passes, "capture", lambda *given: captures.append(capture(*given)) or captures[-1])
    matched(network(), "2", capture=True)
    assert [type(each) for each in captures] == [passes._Captured]
    matched(network(Waiting()), "4", capture=True)
    assert captures[1:] == [None]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_pass_is_captured_and_gives_the_same_up_to_rounding(precision: str) -> None:
    model = Plugins(installed=()).load("model", "small-cnn")
    given: dict[str, Any] = {"steps": 100, "precision": precision, "device": CUDA}
    plain, made = (synthesise(model, example_stimuli(model, 4), ["output"], compiled=c, **given) for c in (False, True))
    rtol = 0.02 if precision == "float32" else 0.1
    np.testing.assert_allclose(made.loss.values[..., :20], plain.loss.values[..., :20], rtol=rtol)
    assert made.loss.values[..., -1].mean() < 1.2 * plain.loss.values[..., -1].mean()


def test_a_network_that_waits_for_the_device_runs_as_it_is() -> None:
    eager, captured = (matched(network(Waiting()), "4", capture) for capture in (False, True))
    assert torch.equal(eager.signals, captured.signals)


def test_the_same_call_gives_the_same_bits_as_on_the_processor_up_to_rounding() -> None:
    made = [
        synthesise(network(), example_stimuli(), ["2"], steps=120, device=device) for device in ("cuda", "cuda", "cpu")
    ]
    assert np.array_equal(made[0]["signal"], made[1]["signal"])
    assert np.allclose(made[0]["loss"][..., 0], made[2]["loss"][..., 0], rtol=1e-4)
    assert np.allclose(made[0]["loss"][..., -1], made[2]["loss"][..., -1], atol=0.02)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_lower_precisions_end_near(precision: str) -> None:
    full, lower = (
        synthesise(network(), example_stimuli(), ["2"], steps=200, device="cuda", precision=kind)
        for kind in ("float32", precision)
    )
    # A convolution as small as these may be computed in float32 also where TF32 is allowed.
    assert precision == "tf32" or not np.array_equal(full["signal"], lower["signal"])
    assert all(each["made_on"].values.ravel()[0].endswith(", batch normalisations folded: 1") for each in (full, lower))
    assert np.allclose(full["loss"][..., -1], lower["loss"][..., -1], atol=0.05)


def test_the_match_is_measured_there_as_on_the_processor() -> None:
    generator = torch.Generator().manual_seed(2)
    target = torch.randn(3, 5000, generator=generator).relu()
    near = (target + 0.1 * torch.randn(3, 5000, generator=generator)).relu()  # with ties
    np.testing.assert_array_equal(average_ranks(near.to(CUDA)).cpu(), average_ranks(near))
    np.testing.assert_allclose(measure(near.to(CUDA), target.to(CUDA)), measure(near, target), rtol=1e-6)
