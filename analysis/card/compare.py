"""Cards side by side: a table, and the page of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...framework.errors import MetameryError
from ...framework.manager import short
from ...framework.replacing import replaced, writing_to
from ..report.charts import Chart, linear
from .contents import Card, read_card
from .page import between, card_environment, drawn, ends, estimate, style

if TYPE_CHECKING:
    from markupsafe import Markup

_MOST_LINES = 8  # of the chart's styles
_SIZE = (430, 220)


@dataclass(frozen=True)
class Entry:
    """A card with the file that it was read from."""

    path: Path
    card: Card


@dataclass(frozen=True)
class Board:
    """Cards of one kind of signal, from the network of whose last layer's metamers people would recognise most.

    `doubts` says in which ways they differ in more than the network, so that their numbers are not comparable.
    """

    kind: str
    entries: Sequence[Entry]
    doubts: Sequence[str]


def read_cards(paths: Sequence[str | Path]) -> list[Entry]:
    """Read cards by their JSON files, or all in folders.

    Raises
    ------
    MetameryError
        A file is not a card that this version reads, a folder has no JSON file, or there are fewer than two cards.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise MetameryError(f"the folder '{path}' has no card: expected files such as card.json")
        files += [each for each in found if each.resolve() not in {other.resolve() for other in files}]
    if len(files) < 2:
        raise MetameryError(f"'{files[0]}' is one card, expected at least two to compare")
    return [Entry(file, read_card(file)) for file in files]


def boards(entries: Sequence[Entry]) -> list[Board]:
    """Sort cards into one board for each kind of signal; equal predictions are in order of the networks' names."""
    kinds = sorted({entry.card.kind for entry in entries})
    return [_board(kind, [entry for entry in entries if entry.card.kind == kind]) for kind in kinds]


def lines(board: Board) -> list[str]:
    """Return a board as the lines of a table."""
    head = (
        "network",
        "people, last layer",
        "(95 %)",
        "jury",
        "hardest to easiest",
        "idiosyncrasy",
        "robust",
        "consistency",
        "aliasing",
    )
    rows: list[tuple[str, ...]] = [head]
    for entry in board.entries:
        card, last = entry.card, entry.card.layers[-1]
        values = (last.idiosyncrasy, card.headline.accuracy, card.shift_consistency, card.aliasing)
        rows.append(
            (
                short(card.network),
                estimate(last.people),
                ends(last.people),
                estimate(last.others),
                between(last),
                *map(estimate, values),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def write_board(entries: Sequence[Entry], file: Path) -> None:
    """Write the page of cards side by side, in one step; it links to the cards' own pages.

    Raises
    ------
    MetameryError
        The page cannot be written.
    """
    found = [(board, _chart(board)) for board in boards(entries)]
    text = (
        card_environment()
        .get_template("board.html")
        .render(style=style(), boards=found, protocol=entries[0].card.protocol, page=_links(file.parent))
    )
    with writing_to(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as partial:
            partial.write_text(text.strip() + "\n", encoding="utf-8")


def _links(folder: Path) -> Callable[[Entry], str]:
    """Return the function that gives a card's own page relative to a folder; empty text where it does not exist."""

    def link(entry: Entry) -> str:
        page = entry.path.with_suffix(".html")
        return Path(os.path.relpath(page, folder)).as_posix() if page.is_file() else ""

    return link


def _board(kind: str, entries: list[Entry]) -> Board:
    def rank(entry: Entry) -> tuple[float, str, str]:
        value = entry.card.layers[-1].people.value
        return (np.inf if value is None else -value, entry.card.network, entry.path.name)

    differing: dict[str, set[object]] = {
        "juries": {tuple(sorted(juror.weights_sha256 for juror in entry.card.jury)) for entry in entries},
        "stimuli": {entry.card.stimuli.sha256 for entry in entries},
        "answers": {entry.card.labels for entry in entries},
        "versions of metamery": {entry.card.metamery for entry in entries},
    }
    doubts = [name for name, own in differing.items() if len(own) > 1]
    return Board(kind, sorted(entries, key=rank), doubts)


def _chart(board: Board) -> Markup | None:
    shown = board.entries[:_MOST_LINES]
    most = max(len(entry.card.layers) for entry in shown)
    if most < 2:
        return None
    chart = Chart(
        linear("layer, from the first to the last", 0.8, most + 0.2, whole=True), linear("people", 0, 1.02), *_SIZE
    )
    for number, entry in enumerate(shown):
        people = [layer.people for layer in entry.card.layers]
        x = np.linspace(1, most, len(people)) + 0.03 * (number - (len(shown) - 1) / 2)
        drawn(chart, x, people, f"s{number + 1}")
    return chart.svg("predicted recognition by people, by layer; a line for each network")
