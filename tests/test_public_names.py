"""The public packages: what they export exists, is listed, lazy, and shown by an example that runs."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("metamery.analysis", "metamery.framework", "metamery.training")
WITH_EXAMPLES = ("metamery.analysis", "metamery.analysis.plot", "metamery.training")
WITHOUT = {"match_layer", "run_training", "prepare", "trained", "make_card", "read_card"}
"""Functions that take tools of the layer below, a run's folder, or minutes."""

SUBMODULE = re.compile(
    r"^\s*(?:from|import) metamery\.(?!analysis\.(?:plot|statistics)\b|framework\.testing\b)\w+\.", re.MULTILINE
)


@pytest.mark.parametrize("package", PACKAGES)
def test_names_are_listed_and_imported_when_used(package: str) -> None:
    script = (
        f"import sys, {package} as p; assert 'torch' not in sys.modules and 'xarray' not in sys.modules; "
        "assert set(p.__all__) <= set(dir(p)); assert all(getattr(p, name) is not None for name in p.__all__); "
        "again = [name for name in p.__all__ if getattr(p, name) is not getattr(p, name)]; assert not again"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_submodule_takes_the_place_of_what_has_its_name(package: str) -> None:
    module = import_module(package)
    folder = ROOT / package.partition(".")[2]
    own = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert not {name for name in module.__all__ if name in own and not inspect.ismodule(getattr(module, name))}


@pytest.mark.parametrize("package", WITH_EXAMPLES)
def test_every_function_has_an_example(package: str) -> None:
    module = import_module(package)
    functions = {name: getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))}
    assert functions
    assert {name for name, each in functions.items() if ">>> " not in (each.__doc__ or "")} <= WITHOUT


@pytest.mark.parametrize("notebook", sorted(path.name for path in (ROOT / "examples").glob("*.ipynb")))
def test_notebooks_use_public_names_alone(notebook: str) -> None:
    cells = json.loads((ROOT / "examples" / notebook).read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert not SUBMODULE.findall(code)
    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code" and "plot." in "".join(cell["source"]))
