"""New plugin packages: copies of the example plugin under a new name.

In the template the word ``example`` stands for the plugin's name and for nothing else.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .claims import ensured
from .errors import MetameryError
from .folders import check_output
from .manager import taken_names
from .owners import clear, scratch
from .replacing import writing_to

TEMPLATE = ("pyproject.toml", "README.md", "src/*/*.py", "tests/*.py")
"""Files of the template; the wheel ships the same files."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_OCCURRENCES = re.compile(r"metamery_example|(?<![A-Za-z_])example(?![A-Za-z_])")


def write_plugin(name: str, folder: Path) -> None:
    """Write the package ``metamery-NAME`` to a folder, completely or not at all.

    Raises
    ------
    MetameryError
        The name is malformed or taken, or the folder cannot be written to or is not empty.
    """
    check_name(name)
    _write(folder, {_renamed(path, name): _renamed(text, name) for path, text in template().items()})


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
    check_output(folder.expanduser(), "empty", others=False)
    with writing_to(folder), ensured(target.parent), scratch(target.parent, f".{target.name}.new.") as staging:
        clear(target.parent, f".{target.name}.new.")
        for path, text in files.items():
            file = staging / "package" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        try:
            os.rename(staging / "package", target)
        except OSError:
            check_output(folder.expanduser(), "empty", others=False)  # another process was first
            raise
