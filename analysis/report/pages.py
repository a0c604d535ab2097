"""What all pages share: their templates' environment, and the styles and scripts that they contain."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .numbers import number
from .snippets import at

_HERE = Path(__file__).parent


def environment(*folders: Path) -> Environment:
    """Return the environment of templates in other folders and in this one, whose names come last."""
    environment = Environment(
        loader=FileSystemLoader([*folders, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.globals["at"] = at
    return environment


def assets(*names: str) -> Markup:
    """Return the text of some of this folder's files."""
    return Markup("\n".join((_HERE / name).read_text(encoding="utf-8") for name in names))
