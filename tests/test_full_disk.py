"""A disk that is full ends a command in one line, and nothing half written stays; a full cache causes a warning."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from metamery.analysis.proof import null as nulls
from metamery.framework.cli import main
from metamery.framework.domains import ImageDomain
from studies import make_study

resource = pytest.importorskip("resource")


def with_room_for(size: int, *arguments: object) -> tuple[int, str]:
    """Run the program in a child in which no file grows beyond a size."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        status = 70
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            status = main([str(argument) for argument in arguments])
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def files(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [0, 1000])
@pytest.mark.parametrize("command", ["report", "export", "new-plugin", "evaluate --remove", "synthesise"])
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, command: str, size: int, tiny: str, pictures: Path) -> None:
    study = make_study(tmp_path / "study", {"vision:net": ImageDomain(3, 8, 8)}, null=False)
    before = files(tmp_path)
    arguments: dict[str, list[Any]] = {
        "report": ["report", study],
        "export": ["export", study, "-o", tmp_path / "exported"],
        "new-plugin": ["new-plugin", "my-own", "-o", tmp_path / "mine"],
        "evaluate --remove": ["evaluate", "agreement", study, "--remove"],
        "synthesise": ["synthesise", tiny, "--stimuli", pictures, "--steps", 1, "-o", tmp_path / "new"],
    }
    status, said = with_room_for(size, *arguments[command])
    assert status == 2
    errors = [line for line in said.splitlines() if "━" not in line]
    assert len(errors) == 1
    assert f"cannot write to '{tmp_path}" in errors[0]
    assert files(tmp_path) == before
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "exported").exists()


def test_a_cache_that_is_full_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nulls, "write_dataset", fail)
    with pytest.warns(UserWarning, match=r"the null is not kept for other studies: '.*': No space left"):
        nulls._store_cached(tmp_path, "key", xr.Dataset(), [1.0])
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_in_the_cache_goes(tmp_path: Path) -> None:
    (tmp_path / ".null.abc" / "new").mkdir(parents=True)
    for _ in range(2):  # the second time it replaces the first
        nulls._store_cached(tmp_path, "key", xr.Dataset(attrs={"n": 1}), [1.0])
    assert [path.name for path in tmp_path.iterdir()] == ["key.zarr"]
