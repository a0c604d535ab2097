"""Files of weights in every format in use: the tensors come out exactly, nothing runs, what is bad is one line."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dill
import pytest
import torch
from metamery.framework import MetameryError
from metamery.framework.weight_files import read_weights
from safetensors.torch import save_file
from torch import nn


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], prefix: str = "") -> bool:
    return {*found} == {prefix + name for name in expected} and all(
        torch.equal(found[prefix + name], tensor) and found[prefix + name].dtype == tensor.dtype
        for name, tensor in expected.items()
    )


@pytest.mark.parametrize("start", [b"\x80", b"PK"], ids=["as a pickle", "as an archive"])
def test_safetensors_whose_length_begins_like_another_format(tmp_path: Path, start: bytes) -> None:
    length = int.from_bytes(start, "little")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(length)
    (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + header + bytes(4))
    assert same(read_weights(tmp_path / "w.safetensors").tensors, {"w": torch.zeros(1)})


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_state_dict_of_each_type_and_format(tmp_path: Path, dtype: torch.dtype, legacy: bool) -> None:
    state = network().to(dtype).state_dict()
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    file = read_weights(tmp_path / "w.pth")
    assert file.entry == ""
    assert same(file.tensors, state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_every_protocol_of_pickle(tmp_path: Path, protocol: int, legacy: bool) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "w.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(tmp_path / "w.pt").tensors, state)


def test_views_share_and_tensors_of_other_layouts(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    state = {"whole": base, "part": base[1:3, ::2], "turned": base.T, "none": torch.zeros(0, 3), "one": torch.tensor(5)}
    for legacy in (False, True):
        torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
        assert same(read_weights(tmp_path / "w.pt").tensors, state)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_network_saved_whole_gives_its_tensors(tmp_path: Path, legacy: bool) -> None:
    module = network()
    torch.save(module, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(tmp_path / "w.pt").tensors, module.state_dict())
    torch.save({"epoch": 1, "net": module}, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    file = read_weights(tmp_path / "w.pt")
    assert file.entry == "net"
    assert same(file.tensors, module.state_dict())


def test_parameters_and_big_endian_files(tmp_path: Path) -> None:
    state = {"weight": nn.Parameter(torch.randn(3, 2)), "bias": torch.arange(3)}
    torch.save(state, tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.pt").tensors, {name: each.detach() for name, each in state.items()})
    with zipfile.ZipFile(tmp_path / "w.pt") as there, zipfile.ZipFile(tmp_path / "big.pt", "w") as big:
        for name in there.namelist():
            content = there.read(name)
            if name.endswith("byteorder"):
                content = b"big"
            elif "/data/" in name:
                size = 4 if len(content) == 24 and name.endswith("0") else 8
                content = b"".join(content[at : at + size][::-1] for at in range(0, len(content), size))
            big.writestr(name, content)
    assert same(read_weights(tmp_path / "big.pt").tensors, {name: each.detach() for name, each in state.items()})


def test_safetensors_alone_and_in_several_files(tmp_path: Path) -> None:
    state = network().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors").tensors, state)
    names = list(state)
    halves = {"a.safetensors": names[:3], "b.safetensors": names[3:]}
    for file, some in halves.items():
        save_file({name: state[name] for name in some}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, some in halves.items() for name in some}}))
    assert same(read_weights(index).tensors, state)
    index.write_text(json.dumps({"weight_map": {"a": "../w.safetensors"}}))
    with pytest.raises(MetameryError, match="names a file elsewhere"):
        read_weights(index)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_dill_file_with_functions_and_a_payload_gives_its_tensors_and_runs_nothing(
    tmp_path: Path, legacy: bool
) -> None:
    state = {f"module.model.{name}": tensor for name, tensor in network().state_dict().items()}
    content = {
        "model": state, "schedule": lambda epoch: 0.1 * epoch, "payload": Payload(tmp_path / "made"),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}}, "epoch": 90,
    }  # fmt: skip
    file = tmp_path / "robust.pt"
    torch.save(content, file, pickle_module=dill, _use_new_zipfile_serialization=not legacy)
    found = read_weights(file)
    assert found.entry == "model"
    assert same(found.tensors, state)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "entry", "others"),
    [
        (lambda state: {"state_dict": state, "best_acc1": torch.tensor(0.7)}, "state_dict", ("",)),
        (lambda state: {"epoch": 3, "model": state, "model_ema": state}, "model", ("model_ema",)),
        (lambda state: {"teacher": state, "student": state}, "teacher", ("student",)),
        (lambda state: {"run": {"weights": state}}, "run.weights", ()),
        (lambda state: {"pytorch-lightning_version": "2.5", "state_dict": state, "loops": {}}, "state_dict", ()),
        (lambda state: state | {"extra": {"a": 1}}, "", ()),
    ],
    ids=["imagenet", "ema", "teacher", "nested", "lightning", "root"],
)
def test_the_entry_with_the_weights_is_found(
    tmp_path: Path, content: Callable[[Any], Any], entry: str, others: tuple[str, ...]
) -> None:
    state = network().state_dict()
    torch.save(content(dict(state)), tmp_path / "w.pt")
    file = read_weights(tmp_path / "w.pt")
    assert (file.entry, file.others) == (entry, others)
    assert same(file.tensors, state)
    for name in (entry, *others):
        assert read_weights(tmp_path / "w.pt", name).entry == name
    with pytest.raises(MetameryError, match=r"unknown entry of '.*w\.pt' 'nothing'"):
        read_weights(tmp_path / "w.pt", "nothing")


def _compressed(file: Path) -> None:
    torch.save({"w": torch.zeros(10)}, file)
    with zipfile.ZipFile(file) as there:
        content = {name: there.read(name) for name in there.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, each in content.items():
            packed.writestr(name, each)


def _too_large(file: Path) -> None:
    """A tensor that claims more than its storage."""
    torch.save({"w": torch.zeros(10)}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    assert content.count(b"K\n\x85") == 1  # its size, (10,)
    file.write_bytes(content.replace(b"K\n\x85", b"K\xff\x85"))


def _cut(file: Path, legacy: bool) -> None:
    torch.save({"w": torch.zeros(1000)}, file, _use_new_zipfile_serialization=not legacy)
    file.write_bytes(file.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.write_bytes(b""), "the file is empty"),
        (lambda file: file.write_text("<!DOCTYPE html><title>Sign in</title>"), "it is a web page"),
        (lambda file: file.write_text("version https://git-lfs.github.com/spec/v1\noid"), "a pointer of git-lfs"),
        (lambda file: file.write_bytes(b"\x1f\x8b" + bytes(20)), "it is compressed"),
        (lambda file: file.write_bytes(bytes(100)), "none of safetensors, PyTorch's formats"),
        (lambda file: file.write_bytes((1000).to_bytes(8, "little") + b"{}"), "damaged or incomplete safetensors"),
        (lambda file: _cut(file, False), r"damaged or incomplete \("),
        (lambda file: _cut(file, True), "incomplete"),
        (_compressed, "it is compressed"),
        (_too_large, "a tensor is larger than its storage"),
        (lambda file: torch.save({"lr": 0.1}, file), "it holds no tensors"),
        (lambda file: torch.jit.script(nn.Linear(2, 2)).save(str(file)), "it is a TorchScript archive"),
        (lambda file: zipfile.ZipFile(file, "w").writestr("a.txt", "b"), "not one of PyTorch's"),
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: None, "No such file"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning", "ignore::ResourceWarning")
def test_what_is_not_a_file_of_weights_is_said_in_one_line(
    tmp_path: Path, make: Callable[[Path], Any], said: str
) -> None:
    make(tmp_path / "w.pt")
    with pytest.raises(MetameryError, match=said) as error:
        read_weights(tmp_path / "w.pt")
    assert "\n" not in str(error.value)


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    state = {"a": torch.ones(3), "b": torch.ones(2, dtype=torch.int64)}
    generator = torch.Generator().manual_seed(0)
    for legacy in (False, True):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=not legacy)
        for _ in range(200):
            content = bytearray(buffer.getvalue())
            at, byte = (int(torch.randint(0, high, (), generator=generator)) for high in (len(content), 256))
            content[at] = byte
            (tmp_path / "w.pt").write_bytes(content)
            with suppress(MetameryError):
                read_weights(tmp_path / "w.pt")
