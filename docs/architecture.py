"""Writes the drawing and the table of architecture.md from the code: which folder holds what, and imports what."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("architecture.md")
DRAWING = Path(__file__).with_name("architecture.svg")
TABLE = re.compile(r"^(<!-- table: folders -->\n).*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)
TOP = ("framework", "analysis", "training", "plugins")
ROOMS = (
    "statistics",
    "proof",
    "synthesis",
    "studies",
    "attacks",
    "transformations",
    "geometry",
    "recognition",
    "similarity",
    "character",
    "report",
    "plot",
    "commands",
)
"""Folders of `analysis`; each imports only itself and those before it, as `tests/framework/test_imports.py` checks."""

ROW, WIDTH, GAP, LEFT, RIGHT = 26, 760, 6, 10, 250


def folders() -> dict[str, str]:
    """Every folder of code, in the order of imports, with the first paragraph of its docstring."""
    names = ["framework", "analysis", *(f"analysis/{room}" for room in ROOMS), "training", "plugins"]
    names += sorted(str(file.parent.relative_to(ROOT)) for file in (ROOT / "plugins").glob("*/__init__.py"))
    return {name: summary(ROOT / name / "__init__.py") for name in names}


def summary(file: Path) -> str:
    """The first sentence of a file's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def imports(names: Mapping[str, str]) -> dict[str, set[str]]:
    """For each folder the other folders of these that its own files import."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        for file in (ROOT / name).glob("*.py*"):  # and stubs, which list what a package exports
            package = file.relative_to(ROOT).parts[:-1]
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level:
                    base = package[: len(package) - node.level + 1]
                    target = [*base, *(node.module.split(".") if node.module else [])]
                    there = "/".join(target[:2]) if "/".join(target[:2]) in names else "/".join(target[:1])
                    if there in names and there != name:
                        found[name].add(there)
    return found


def table() -> str:
    """A row for each folder."""
    names = folders()
    used = imports(names)
    rows = ["| folder | what is in it | imports |", "|---|---|---|"]
    for name, text in names.items():
        below = [f"`{other}`" for other in names if other in used[name] and other != "framework"]
        rows.append(f"| `{name}/` | {text} | {', '.join(below)} |")
    return "\n".join(rows)


def drawing() -> str:
    """The folders as blocks, each on what it may import."""
    held = folders()
    height = (len(ROOMS) + 4) * (ROW + GAP) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">',
        "<title>A folder imports only what lies below it</title>",
    ]

    def block(x: float, y: float, width: float, tall: float, text: str, fill: str) -> None:
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{tall}" rx="4" fill="{fill}"/>')
        parts.append(f'<text x="{x + 10}" y="{y + min(tall, ROW) / 2 + 5}" fill="#1b1b1b">{escape(text)}</text>')

    y = 10
    about = "plugins: names for all that is below, networks, front ends, stimuli"
    block(LEFT, y, WIDTH - 2 * LEFT, ROW, about, "#f0d9a8")
    y += ROW + GAP
    tall = (len(ROOMS) + 1) * (ROW + GAP) + GAP
    block(LEFT, y, WIDTH - RIGHT - 2 * LEFT, tall, "analysis", "#d5e4f3")
    block(WIDTH - RIGHT, y, RIGHT - LEFT, tall, "training", "#d8ecd6")
    for number, room in enumerate(reversed(ROOMS), start=1):
        question = re.split(r"(?<=\?)|[:.]", held[f"analysis/{room}"])[0]
        text = f"{room}: {question[0].lower()}{question[1:]}"
        block(LEFT + 12, y + number * (ROW + GAP), WIDTH - RIGHT - 2 * LEFT - 24, ROW, text, "#ffffff")
    y += tall + GAP
    block(LEFT, y, WIDTH - 2 * LEFT, ROW, "framework: names, hooks, contracts, domains, layers, results", "#e3e3e3")
    y += ROW + 20
    parts.append(f'<text x="{LEFT}" y="{y}" fill="#767676">A folder imports only what lies below it.</text></svg>\n')
    return "\n".join(part for part in parts).replace(f"0 0 {WIDTH} {height}", f"0 0 {WIDTH} {y + 10}")


def page() -> str:
    """The whole page."""
    return TABLE.sub(lambda found: f"{found[1]}{table()}\n{found[2]}", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    DRAWING.write_text(drawing(), encoding="utf-8")
