"""New plugin packages: copies of the example plugin, with a name of their own in its place.

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
"""What belongs to the template: the wheel ships the same."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PLACES = re.compile(r"metamery_example|(?<![A-Za-z_])example(?![A-Za-z_])")


def write_plugin(name: str, folder: Path) -> None:
    """Write the package ``metamery-NAME`` to a folder, whole or not at all.

    Raises
    ------
    MetameryError
        The name is malformed or taken, or the folder cannot be written to or is not empty.
    """
    check_name(name)
    _write(folder, {_renamed(path, name): _renamed(text, name) for path, text in template().items()})


def check_name(name: str) -> None:
    """Raise where `name` cannot be a new plugin's."""
    if not _NAME.fullmatch(name):
        raise MetameryError(
            f"plugin name '{name}': expected small letters and digits, with hyphens between, such as 'my-lab'"
        )
    if owner := taken_names().get(name):
        raise MetameryError(f"plugin name '{name}' is taken by a plugin of {owner}: choose another")


def template() -> dict[str, str]:
    """The example plugin's files: their text, by path."""
    folder = _template_folder()
    files = sorted(file for pattern in TEMPLATE for file in folder.glob(pattern))
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


def _template_folder() -> Path:
    """Beside this file where metamery is installed, among the tests where it is used from its source."""
    installed = Path(__file__).with_name("example_plugin")
    return installed if installed.is_dir() else Path(__file__).parents[1] / "tests" / "example_plugin"


def _renamed(text: str, name: str) -> str:
    module = f"metamery_{name.replace('-', '_')}"
    return _PLACES.sub(lambda found: module if found[0] == "metamery_example" else name, text)


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write files beside the folder and move them there in one step."""
    place = folder.expanduser().resolve()
    check_output(folder.expanduser(), "empty", others=False)
    with writing_to(folder), ensured(place.parent), scratch(place.parent, f".{place.name}.new.") as staging:
        clear(place.parent, f".{place.name}.new.")
        for path, text in files.items():
            file = staging / "package" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        os.rename(staging / "package", place)
