"""Stored data are checked against their format and free memory before they are read; so are requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from metamery.framework import MetameryError, limits, open_study
from metamery.framework.failures import failure_message
from metamery.framework.limits import check_disk, check_memory, free_memory, size
from metamery.framework.store import RESULTS, StudyStore

LENGTH = 30


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    dataset = xr.Dataset(
        {"value": ("step", [float(n) for n in range(LENGTH)], {"long_name": "a value", "units": "1"})},
        {"step": list(range(LENGTH))},
        {"title": "Some"},
    )
    StudyStore.create(folder, {}, {}).add("some", dataset)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "copy")


def edited(folder: Path, array: str, **values: Any) -> Path:
    file = folder / RESULTS / array / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return file


def test_what_is_whole_is_read(folder: Path) -> None:
    assert open_study(folder)["some/value"].values[-1] == LENGTH - 1
    StudyStore.reopen(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"shape": [31]}, "'step' has length 31, and 30"),
        ({"shape": [30, 2]}, "is damaged"),
        ({"shape": [-1]}, "is damaged"),
        ({"shape": "30"}, "is damaged"),
        ({"dimension_names": None}, "its dimensions have no names"),
        ({"dimension_names": ["step", "x"]}, "is damaged"),
        ({"dimension_names": 3}, "is damaged"),
        ({"data_type": "float7"}, "is damaged"),
        ({"codecs": []}, "is damaged"),
        ({"codecs": [{"name": "nonsense"}]}, "is damaged"),
        ({"fill_value": {}}, "is damaged"),
        ({"node_type": "thing"}, "is damaged"),
        ({"zarr_format": 7}, "is damaged"),
        ({"attributes": []}, "is damaged"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0]}}}, "is damaged"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**61]}}}, "would take .* of memory"),
    ],
)
def test_a_description_that_does_not_hold_is_named(folder: Path, values: dict[str, Any], said: str) -> None:
    edited(folder, "some/value", **values)
    for read in (open_study, StudyStore.reopen):
        with pytest.raises(MetameryError, match=said) as raised:
            read(folder)
        assert "value" in str(raised.value)


def test_a_coordinate_that_claims_more_than_memory_holds_is_refused_unread(folder: Path) -> None:
    claimed = 10**12
    for array in ("some/step", "some/value"):
        edited(folder, array, shape=[claimed])
    with pytest.raises(
        MetameryError, match=r"step/zarr.json' is damaged or too large: it would take 8e\+03 GB of memory|8,"
    ):
        open_study(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "9" * 10_000, "\xff", "null"])
def test_a_description_that_is_not_json_is_named(folder: Path, content: str) -> None:
    (folder / RESULTS / "some" / "value" / "zarr.json").write_text(content, encoding="latin-1")
    with pytest.raises(MetameryError, match=r"value/zarr.json' (is damaged|describes)"):
        open_study(folder)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda some: (some / "value" / "zarr.json").unlink(), "value' is damaged: it has no zarr.json"),
        (lambda some: shutil.rmtree(some / "step" / "c"), "step' is damaged: 0 of its 1 chunks exist"),
        (lambda some: (some / "zarr.json").unlink(), "some' is damaged: it has no zarr.json"),
    ],
)
def test_a_file_that_is_lost_is_named(folder: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(folder / RESULTS / "some")
    with pytest.raises(MetameryError, match=said):
        open_study(folder)


def test_memory_and_disk_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (free_memory() or 1) > 0
    check_memory("it", 1)
    check_disk("it", 1, tmp_path / "not" / "yet")
    with pytest.raises(MetameryError, match=r"^it would take 1e\+06 GB of memory, and .* are free$|1,000,000"):
        check_memory("it", 10**15)
    with pytest.raises(MetameryError, match=r"^it would take .* on the disk of '.*', and .* are free$"):
        check_disk("it", 10**18, tmp_path / "not" / "yet")
    monkeypatch.setattr(limits, "free_memory", lambda: 10**7)
    check_memory("it", limits.SMALL)
    with pytest.raises(MetameryError, match=r"it would take 20 MB of memory, and 10 MB are free"):
        check_memory("it", 2 * 10**7)
    monkeypatch.setattr(limits, "free_memory", lambda: None)
    check_memory("it", 10**18)
    assert size(1_500_000) == "1.5 MB"


@pytest.mark.parametrize(
    "given", [["--seeds", "1000000000"], ["--setting", "steps=2000000000"], ["--seeds", "2000000", "--steps", "100000"]]
)
def test_a_study_that_no_memory_or_disk_holds_is_refused_at_once(
    command: Any, tiny: str, pictures: Path, tmp_path: Path, given: list[str]
) -> None:
    said = command("synthesise", tiny, "--stimuli", pictures, "-o", tmp_path / "out", "--layers", "1", *given)
    assert said.status == 2
    assert "metamers of 5 stimuli with " in said.error
    assert "would take" in said.error
    assert not (tmp_path / "out").exists()


def test_a_batch_that_is_larger_than_the_stimuli_makes_no_larger_chunks(
    command: Any, tiny: str, pictures: Path, tmp_path: Path
) -> None:
    given = ["--steps", "1", "--layers", "1", "--batch-size", "2000000000", "--limit", "2"]
    assert command("synthesise", tiny, "--stimuli", pictures, "-o", tmp_path / "out", *given).status == 0
    for file in (tmp_path / "out").rglob("zarr.json"):
        node = json.loads(file.read_text())
        if node["node_type"] == "array":
            assert max(node["chunk_grid"]["configuration"]["chunk_shape"], default=0) < 1000


@pytest.mark.parametrize("options", [{"width": 2**24}, {"width": 50_000}])
def test_a_network_that_no_memory_holds_is_refused(command: Any, options: dict[str, int]) -> None:
    given = [text for name, value in options.items() for text in ("--set", f"{name}={value}")]
    assert "memory" in command("show", "small-cnn", *given).error


def test_failures_of_memory_and_of_reading_are_told_from_faults_of_the_program(folder: Path) -> None:
    (chunk,) = [file for file in (folder / RESULTS / "some" / "value" / "c").rglob("*") if file.is_file()]
    chunk.write_bytes(b"nonsense")
    with pytest.raises(MetameryError, match="is damaged"):
        open_study(folder)
    with pytest.raises((RuntimeError, ValueError, OSError)) as raised:
        xr.open_zarr(folder / RESULTS / "some", consolidated=False, chunks=None)["value"].load()
    assert failure_message(raised.value).startswith("stored results cannot be read; they are damaged or incomplete")
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.int8)
    assert failure_message(raised.value).startswith(
        "there is not enough memory: 1.15e+09 GB"
    ) or "memory" in failure_message(raised.value)
    assert failure_message(MemoryError("x")).startswith("there is not enough memory")
    assert failure_message(TypeError("a fault")) == ""
