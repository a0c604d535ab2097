"""Write the drawing and the table of architecture.md from the code: contents and imports of each folder."""

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
PARTS = (
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
    "experiment",
    "report",
    "card",
    "plot",
    "commands",
)
"""Folders of `analysis`; each imports only itself and those before it, as `tests/framework/test_imports.py` checks."""

ROW, WIDTH, GAP, LEFT, RIGHT = 26, 760, 6, 10, 250


def folders() -> dict[str, str]:
    """Return every folder of code, in the order of imports, with the first paragraph of its docstring."""
    names = ["framework", "analysis", *(f"analysis/{part}" for part in PARTS), "training", "plugins"]
    names += sorted(str(file.parent.relative_to(ROOT)) for file in (ROOT / "plugins").glob("*/__init__.py"))
    return {name: summary(ROOT / name / "__init__.py") for name in names}


def summary(file: Path) -> str:
    """Return the first paragraph of a file's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def imports(names: Mapping[str, str]) -> dict[str, set[str]]:
    """Return for each folder those of the other folders that its own files import."""
    imported: dict[str, set[str]] = {name: set() for name in names}
    for name in names:
        for file in (ROOT / name).glob("*.py*"):  # and stubs, which list what a package exports
            package = file.relative_to(ROOT).parts[:-1]
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level:
                    base = package[: len(package) - node.level + 1]
                    target = [*base, *(node.module.split(".") if node.module else [])]
                    folder = "/".join(target[:2]) if "/".join(target[:2]) in names else "/".join(target[:1])
                    if folder in names and folder != name:
                        imported[name].add(folder)
    return imported


def table() -> str:
    """Return the table, with a row for each folder."""
    names = folders()
    used = imports(names)
    rows = ["| folder | contents | imports |", "|---|---|---|"]
    for name, text in names.items():
        below = [f"`{other}`" for other in names if other in used[name] and other != "framework"]
        rows.append(f"| `{name}/` | {text} | {', '.join(below)} |")
    return "\n".join(rows)


def drawing() -> str:
    """Return the drawing: the folders as blocks, each above those that it may import."""
    summaries = folders()
    height = (len(PARTS) + 4) * (ROW + GAP) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">',
        "<title>A folder imports only those below it</title>",
    ]

    def block(x: float, y: float, width: float, tall: float, text: str, fill: str) -> None:
        parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{tall}" rx="4" fill="{fill}"/>')
        parts.append(f'<text x="{x + 10}" y="{y + min(tall, ROW) / 2 + 5}" fill="#1b1b1b">{escape(text)}</text>')

    y = 10
    about = "plugins: names for everything below, networks, front ends, stimuli"
    block(LEFT, y, WIDTH - 2 * LEFT, ROW, about, "#f0d9a8")
    y += ROW + GAP
    tall = (len(PARTS) + 1) * (ROW + GAP) + GAP
    block(LEFT, y, WIDTH - RIGHT - 2 * LEFT, tall, "analysis", "#d5e4f3")
    block(WIDTH - RIGHT, y, RIGHT - LEFT, tall, "training", "#d8ecd6")
    for number, part in enumerate(reversed(PARTS), start=1):
        question = re.split(r"(?<=\?)|[:.]", summaries[f"analysis/{part}"])[0]
        text = f"{part}: {question[0].lower()}{question[1:]}"
        block(LEFT + 12, y + number * (ROW + GAP), WIDTH - RIGHT - 2 * LEFT - 24, ROW, text, "#ffffff")
    y += tall + GAP
    block(LEFT, y, WIDTH - 2 * LEFT, ROW, "framework: names, hooks, contracts, domains, layers, results", "#e3e3e3")
    y += ROW + 20
    parts.append(f'<text x="{LEFT}" y="{y}" fill="#767676">A folder imports only those below it.</text></svg>\n')
    return "\n".join(parts).replace(f"0 0 {WIDTH} {height}", f"0 0 {WIDTH} {y + 10}")


def page() -> str:
    """Return the complete page."""
    return TABLE.sub(lambda match: f"{match[1]}{table()}\n{match[2]}", PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    DRAWING.write_text(drawing(), encoding="utf-8")
