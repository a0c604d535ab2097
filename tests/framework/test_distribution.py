"""The wheel contains the files of the tree, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from metamery.framework.new_plugin import TEMPLATE

ROOT = Path(__file__).parents[2]
FOLDERS = ("framework", "analysis", "training", "plugins")
SHIPPED = (".py", ".pyi", ".html", ".css", ".js", ".json", ".md", ".safetensors", ".svg", ".toml", ".txt")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in a wheel that is built, by way of a source distribution, from a copy of the tree."""
    source = tmp_path_factory.mktemp("source")
    out = tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "node_modules")
    shutil.copytree(ROOT, source, ignore=leave, dirs_exist_ok=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (file,) = out.glob("*.whl")
    with ZipFile(file) as archive:
        return archive.namelist()


def in_the_tree() -> set[str]:
    example = ROOT / "tests" / "example_plugin"
    template = {
        f"metamery/framework/example_plugin/{path.relative_to(example).as_posix()}"
        for pattern in TEMPLATE
        for path in example.glob(pattern)
    }
    return template | {
        f"metamery/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and (path.suffix in SHIPPED or path.name == "py.typed") and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_four_folders_and_nothing_else(wheel: list[str]) -> None:
    packed = {name for name in wheel if ".dist-info/" not in name}
    assert packed == in_the_tree()


def test_nothing_in_the_tree_is_of_a_kind_that_is_not_shipped() -> None:
    kinds = {
        path.suffix or path.name
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert kinds <= {*SHIPPED, ".typed"}


def test_every_folder_says_that_it_is_typed(wheel: list[str]) -> None:
    assert {f"metamery/{folder}/py.typed" for folder in FOLDERS} <= set(wheel)


def test_metamery_itself_is_a_namespace(wheel: list[str]) -> None:
    assert "metamery/__init__.py" not in wheel


def test_the_wheel_carries_the_licence_and_the_entry_points(wheel: list[str]) -> None:
    ends = [name.partition(".dist-info/")[2] for name in wheel if ".dist-info/" in name]
    assert "licenses/LICENSE" in ends
    assert "entry_points.txt" in ends
