"""Who may import whom, and what the bare program may import."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("framework", "analysis", "training", "plugins")
ALLOWED = {
    "framework": {"framework"},
    "analysis": {"analysis", "framework"},
    "training": {"training", "framework"},
    "plugins": set(FOLDERS),
}
PARTS = runpy.run_path(str(ROOT / "docs" / "architecture.py"))["PARTS"]
HEAVY = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "xarray", "zarr", "matplotlib", "PIL", "jinja2")


def imported(source: str, place: tuple[str, ...]) -> Iterator[str]:
    """The absolute names of what a file imports; `place` is its package, such as ("metamery", "analysis")."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = place[: len(place) - node.level + 1] if node.level else ()
            whole = ".".join([*base, *([node.module] if node.module else [])])
            # `from .. import analysis` names the folder only in the imported name.
            yield from [f"{whole}.{name.name}" for name in node.names] if node.level else [whole]


def files() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_the_reader_of_imports_sees_every_form() -> None:
    source = "import os.path\nfrom .. import analysis\nfrom ..framework.errors import E\ndef f():\n    from . import x"
    seen = set(imported(source, ("metamery", "plugins")))
    assert seen == {"os.path", "metamery.analysis", "metamery.framework.errors.E", "metamery.plugins.x"}


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_folder_imports_only_what_it_may(file: Path) -> None:
    place = file.relative_to(ROOT).parent.parts
    source = file.read_text(encoding="utf-8")
    used = {name.split(".")[1] for name in imported(source, ("metamery", *place)) if name.startswith("metamery.")}
    assert used <= ALLOWED[place[0]]


def test_every_folder_of_analysis_has_its_level() -> None:
    assert {folder.name for folder in (ROOT / "analysis").iterdir() if (folder / "__init__.py").exists()} == {*PARTS}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "analysis").rglob("*/*.py")), ids=lambda file: str(file.relative_to(ROOT))
)
def test_analysis_imports_nothing_from_above(file: Path) -> None:
    place = file.relative_to(ROOT).parent.parts
    names = [name.split(".") for name in imported(file.read_text(encoding="utf-8"), ("metamery", *place))]
    used = {name[2] for name in names if name[:2] == ["metamery", "analysis"]}
    assert used <= {*PARTS[: PARTS.index(place[1]) + 1]}


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_project_imports_itself_relatively(file: Path) -> None:
    absolute = [name for name in imported(file.read_text(encoding="utf-8"), ("",) * 9) if name.startswith("metamery")]
    assert not absolute


def test_the_rule_covers_every_folder_of_the_distribution() -> None:
    import tomllib

    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    template = {"metamery.framework.example_plugin": "tests/example_plugin"}  # copied by new-plugin, never imported
    assert table == {f"metamery.{folder}": folder for folder in FOLDERS} | template
    assert len(files()) > 40


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["plugins"], ["synthesise", "--help"], ["new-plugin", "--help"]]
)
def test_the_bare_program_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from metamery.framework.cli import main; status = main(sys.argv[1:]); "
        f"print('heavy:', *[name for name in {HEAVY!r} if name in sys.modules]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy:"
    assert len(done.stdout.splitlines()) > 5


def test_importing_the_framework_costs_nothing_and_names_everything() -> None:
    script = (
        "import sys, metamery.framework as f; assert 'torch' not in sys.modules; "
        "assert set(f.__all__) <= set(dir(f)); assert all(getattr(f, name) is not None for name in f.__all__)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
