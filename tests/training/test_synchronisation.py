"""What several processes exchange: gradients once an update, and batch normalisation's means where it is asked for."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from metamery.framework import MetameryError, Recipe
from metamery.training.loop import train
from metamery.training.synchronisation import SyncBatchNormOnCpu, synchronise_batch_norm
from small_training import network, pictures, tools
from torch import nn


class Counting(Fabric):
    """Records whether the gradients of each backward pass would be exchanged."""

    def __init__(self) -> None:
        super().__init__(accelerator="cpu", devices=1)
        self.exchanged: list[bool] = []

    def no_backward_sync(self, module: Any, enabled: bool = True) -> Any:
        self.exchanged.append(not enabled)
        return nullcontext()


def test_gradients_are_exchanged_once_an_update(tmp_path: Path) -> None:
    fabric = Counting()
    recipe = Recipe(epochs=1, batch_size=8, accumulate=3)
    train(network(), pictures(16), None, recipe, tools(), tmp_path, fabric=fabric)
    assert fabric.exchanged == [False, False, True] * 2


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (6, 3, 4, 5)])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_alone_it_is_batch_normalisation(
    shape: tuple[int, ...], momentum: float | None, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metamery.training.synchronisation._summed", lambda values: values)
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    plain, synchronised = (nn.Sequential(kinds[len(shape)](3, momentum=momentum)).to(dtype) for _ in range(2))
    synchronise_batch_norm(synchronised, "cpu")
    assert type(synchronised[0]) is SyncBatchNormOnCpu
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        values = 2 + torch.randn(shape, generator=generator, dtype=dtype)
        pulled = torch.randn(shape, generator=generator, dtype=dtype)
        results = []
        for module in (plain, synchronised):
            given = values.clone().requires_grad_()
            output = module(given)
            module.zero_grad()
            (output * pulled).sum().backward()
            results.append([output, given.grad, *(weight.grad for weight in module.parameters()), *module.buffers()])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(other, one)
    plain.eval(), synchronised.eval()
    torch.testing.assert_close(synchronised(values), plain(values))
    assert synchronised.state_dict().keys() == plain.state_dict().keys()


def test_on_cuda_it_is_that_of_torch() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.BatchNorm2d(3)))
    names = list(module.state_dict())
    synchronise_batch_norm(module, "cuda")
    assert isinstance(module[1], nn.Sequential)
    assert type(module[1][0]) is nn.SyncBatchNorm
    assert list(module.state_dict()) == names


class Activating(nn.BatchNorm2d):
    """As timm's: its activation would be lost."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (nn.GroupNorm(1, 3), "the network has no batch normalisation"),
        (Activating(3), "'0' cannot be synchronised: it is a Activating, expected torch's own batch normalisation"),
    ],
)
def test_what_cannot_be_synchronised_is_refused(part: nn.Module, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        synchronise_batch_norm(nn.Sequential(part), "cpu")
