"""Checkpoints: what is written is read back, completely or not at all, and runs no code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from metamery.framework import MetameryError
from metamery.training.checkpoints import flattened, joined, load, save


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    tensors = {"a": shared, "b": shared[:, 1], "c": torch.tensor(3, dtype=torch.int64), "d": shared.bfloat16()}
    state = {"epoch": 3, "best": 0.1 + 0.2, "history": [{"loss": 1e-30}], "name": "ü"}
    save(tmp_path / "last.safetensors", tensors, state)
    found, said = load(tmp_path / "last.safetensors")
    assert said == state
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("make", [torch.optim.Adam, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)])
def test_an_optimizer_goes_on_as_if_nothing_had_been(make: object, tmp_path: Path) -> None:
    def steps(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
        for step in range(first, last):
            weight.grad = torch.sin(weight.detach() * (step + 1))
            optimizer.step()

    start = torch.linspace(-1, 1, 5)
    whole = torch.nn.Parameter(start.clone())
    steps(whole, make([whole]), 0, 9)  # type: ignore[operator]
    weight = torch.nn.Parameter(start.clone())
    optimizer = make([weight])  # type: ignore[operator]
    steps(weight, optimizer, 0, 4)
    tensors, state = flattened(optimizer.state_dict())
    save(tmp_path / "x", tensors, state)
    again = torch.nn.Parameter(weight.detach().clone())
    optimizer = make([again])  # type: ignore[operator]
    optimizer.load_state_dict(joined(*load(tmp_path / "x")))
    steps(again, optimizer, 4, 9)
    assert torch.equal(again, whole)


def test_an_earlier_checkpoint_survives_a_failed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "last.safetensors"
    save(place, {"a": torch.ones(2)}, {"epoch": 1})

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metamery.training.checkpoints.save_file", full)
    with pytest.raises(MetameryError, match="No space left on device"):
        save(place, {"a": torch.zeros(2)}, {"epoch": 2})
    assert load(place)[1] == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04pickle", b"\x00" * 100])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(MetameryError, match="no checkpoint in"):
        load(tmp_path / "x")
