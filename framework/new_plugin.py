"""New plugin packages: copies of the example plugin under a new name.

In the template the word ``example`` stands for the plugin's name and for nothing else.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Collection
from pathlib import Path

from .claims import ensured
from .errors import MetameryError, unknown
from .folders import check_output
from .manager import taken_names
from .owners import clear, scratch
from .registry import KINDS
from .replacing import writing_to

TEMPLATE = ("pyproject.toml", "README.md", "src/*/*.py", "tests/*.py")
"""Files of the template; the wheel ships the same files."""

SAMPLES = {kind: hook.removeprefix("register_") for kind, hook in KINDS.items()} | {"command": "commands"}
"""Kinds of names of the template, and the module of each."""

_FUNCTION = re.compile(r"^def (\w+)", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_OCCURRENCES = re.compile(r"metamery_example|(?<![A-Za-z_])example(?![A-Za-z_])")


def write_plugin(name: str, folder: Path, kinds: Collection[str] = ()) -> None:
    """Write the package ``metamery-NAME`` to a folder, completely or not at all.

    Parameters
    ----------
    name
        Name of the plugin.
    folder
        Folder of the package.
    kinds
        Kinds of names that it adds, of `SAMPLES`; all of them if empty.

    Raises
    ------
    MetameryError
        The name is malformed or taken, a kind is unknown, or the folder cannot be written to or is not empty.
    """
    check_name(name)
    for kind in kinds:
        if kind not in SAMPLES:
            raise unknown("kind", kind, SAMPLES)
    others = [kind for kind in SAMPLES if kinds and kind not in kinds]
    _write(folder, {_renamed(path, name): _renamed(text, name) for path, text in _without(others).items()})


def check_name(name: str) -> None:
    """Raise `MetameryError` if `name` cannot be the name of a new plugin."""
    if not _NAME.fullmatch(name):
        raise MetameryError(
            f"plugin name '{name}': expected lower-case letters and digits, with hyphens between, such as 'my-lab'"
        )
    if owner := taken_names().get(name):
        raise MetameryError(f"plugin name '{name}' is taken by a plugin of {owner}: choose another")


def template() -> dict[str, str]:
    """Return the text of each file of the example plugin, by path."""
    folder = _template_folder()
    files = sorted(file for pattern in TEMPLATE for file in folder.glob(pattern))
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


def _without(kinds: Collection[str]) -> dict[str, str]:
    """Return the template without the files, hooks, tests and lines of some kinds."""
    modules = [SAMPLES[kind] for kind in kinds]
    files = {path: text for path, text in template().items() if Path(path).stem not in modules}
    if kinds:
        removed = (*(f"register_{module}" for module in modules), *(f"test_the_{kind}" for kind in kinds))
        for path, text in files.items():
            if path.endswith(".py"):
                files[path] = _without_unused(_without_functions(text, removed))
        rows = tuple(f"| {kind} " for kind in kinds)
        lines = files["README.md"].splitlines(keepends=True)
        files["README.md"] = "".join(line for line in lines if not line.startswith(rows))
    return files


def _without_functions(text: str, beginnings: tuple[str, ...]) -> str:
    """Remove the functions of a module whose names begin so, with their decorators."""
    blocks = text.split("\n\n\n")
    kept = [block for block in blocks if not (found := _FUNCTION.search(block)) or not found[1].startswith(beginnings)]
    return "\n\n\n".join(kept).rstrip() + "\n"


def _without_unused(text: str) -> str:
    """Remove the imports of a module that nothing uses."""
    tree = ast.parse(text)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {"annotations"}
    lines = text.splitlines(keepends=True)
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            kept = [each for each in node.names if (each.asname or each.name) in used]
            node.names = kept or node.names
            lines[node.lineno - 1] = f"{ast.unparse(node)}\n" if kept else ""
    return re.sub(r"\n{3,}(?=from |import )", "\n\n", "".join(lines))


def _template_folder() -> Path:
    """Return the template's folder: beside this file in an installation, in ``tests/`` in a source tree."""
    installed = Path(__file__).with_name("example_plugin")
    return installed if installed.is_dir() else Path(__file__).parents[1] / "tests" / "example_plugin"


def _renamed(text: str, name: str) -> str:
    module = f"metamery_{name.replace('-', '_')}"
    return _OCCURRENCES.sub(lambda match: module if match[0] == "metamery_example" else name, text)


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write files beside the folder and move them there in one step."""
    target = folder.expanduser().resolve()
    staged = f".{target.name}.new."
    clear(target.parent, staged)
    check_output(folder.expanduser(), "empty", others=False)
    with writing_to(folder), ensured(target.parent), scratch(target.parent, staged) as staging:
        for path, text in files.items():
            file = staging / "package" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        try:
            os.rename(staging / "package", target)
        except OSError:
            check_output(folder.expanduser(), "empty", others=False)  # another process was first
            raise
