"""Reading a table of text: CSV as programs and spreadsheets write it.

Read are UTF-8, with or without a byte order mark, and UTF-16 with one; commas, semicolons, tabs and bars between the
values; and decimal commas where the separator is not a comma. What could be meant in two ways is refused.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...framework.checks import shown
from ...framework.errors import MetameryError, unknown
from ...framework.limits import check_memory

SEPARATORS = (",", ";", "\t", "|")

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LARGEST_INDEX = 2**31


@dataclass(frozen=True)
class Row:
    """One row of a table: where it is, and its values by column, without spaces around them."""

    path: Path
    line: int
    values: dict[str, str]
    decimal_comma: bool

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def proportion(self, column: str) -> float:
        """A value as a number from 0 to 1.

        Raises
        ------
        MetameryError
            It is something else.
        """
        value = self._number(column)
        if not 0 <= value <= 1:
            raise self.wrong(column, "a number from 0 to 1")
        return value

    def index(self, column: str) -> int:
        """A value as a whole number; ``2.0`` is one, too.

        Raises
        ------
        MetameryError
            It is something else.
        """
        value = self._number(column)
        if not math.isfinite(value) or value != int(value) or abs(value) >= _LARGEST_INDEX:
            raise self.wrong(column, "a whole number")
        return int(value)

    def wrong(self, column: str, expected: str) -> MetameryError:
        """Return the error for a value that does not fit."""
        given = shown(self[column])
        return MetameryError(f"'{self.path}', line {self.line}: '{column}' is {given}, expected {expected}")

    def _number(self, column: str) -> float:
        text = self[column]
        if self.decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        return float(text) if _NUMBER.fullmatch(text) else math.nan


def read_rows(path: Path, columns: Sequence[str], names: Sequence[str] = ()) -> Iterator[Row]:
    """Read the rows of a table that has certain columns, none of them empty; others are passed over.

    Columns go by name, whatever their capitals and the spaces around them. Rows without any value are passed over.

    Parameters
    ----------
    columns
        What the table has to have.
    names
        Those of them that hold names. Two names of one column that differ in capitals or in spaces alone are refused.

    Raises
    ------
    MetameryError
        No such file, no text, no such column, or it is there twice; a row with more or fewer values than there are
        columns; or no rows.
    """
    text = _text(path)
    separator, start = _separator(text, columns)
    reader = csv.reader(io.StringIO(text[start:], newline=""), delimiter=separator, strict=True)
    spelt: dict[tuple[str, str], tuple[str, int]] = {}
    skipped = text[:start].count("\n")
    empty, places = True, None
    try:
        for given in reader:
            line = reader.line_num + skipped
            values = [" ".join(value.split()) for value in given]
            if not any(values):
                continue
            if places is None:
                places = _places(path, values, columns)
                width = len(values)
                continue
            empty = False
            if any(values[width:]):
                hint = "; is a decimal comma among them?" if separator == "," else ""
                raise MetameryError(f"'{path}', line {line}: {len(values)} values, expected {width}{hint}")
            values += [""] * (width - len(values))
            row = Row(path, line, {name: values[place] for name, place in places.items()}, separator != ",")
            for name in columns:
                if not row[name]:
                    raise MetameryError(f"'{path}', line {line}: '{name}' is empty")
            for name in names:
                _check_spelling(row, name, spelt)
            yield row
    except csv.Error as error:
        raise MetameryError(f"cannot read '{path}' as CSV: line {reader.line_num + skipped}: {error}") from error
    if empty:
        raise MetameryError(f"table '{path}' has no rows")


def alike(name: str) -> str:
    """A name without what people and programs change by the way: capitals, spaces, the form of accents."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _text(path: Path) -> str:
    try:
        check_memory(f"'{path}'", 50 * path.stat().st_size)
        content = path.read_bytes()
    except OSError as error:
        raise MetameryError(f"cannot read '{path}': {error.strerror or error}") from error
    except ValueError as error:  # a path that no file can have
        raise MetameryError(f"cannot read '{path}': {error}") from None
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        said = f"cannot read '{path}' as CSV: line {line} is not {encoding.upper()}: save it as UTF-8"
        raise MetameryError(said) from None
    if "\0" in text:
        raise MetameryError(f"cannot read '{path}' as CSV: it is not text, or UTF-16 without a mark: save it as UTF-8")
    return text


def _separator(text: str, columns: Sequence[str]) -> tuple[str, int]:
    """What stands between values, by the line that names the columns, and where that line begins."""
    first = text.lstrip("\r\n ").partition("\n")[0].strip()
    if (said := re.fullmatch(r"sep=(.)", first, re.IGNORECASE)) and said[1] in SEPARATORS:  # so spreadsheets say it
        return said[1], text.index(first) + len(first)
    header = next((line for line in text.splitlines() if line.strip()), "")
    wanted = {_column(name) for name in columns}

    def count(separator: str) -> int:
        return len(wanted & {_column(name.strip('"')) for name in header.split(separator)})

    return max(SEPARATORS, key=count), 0


def _column(name: str) -> str:
    return re.sub(r"[\s-]+", "_", alike(name))


def _places(path: Path, header: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in columns:
        places = [place for place, given in enumerate(header) if _column(given) == _column(name)]
        if not places:
            named = ", ".join(each for each in header if each)
            said = unknown("column", name, [each for each in header if each]) if named else ""
            near = str(said).partition(";")[2].partition("?")[0]
            raise MetameryError(
                f"table '{path}' has no column '{name}'{f';{near}?' if near else ''}; expected {', '.join(columns)}"
            )
        if len(places) > 1:
            raise MetameryError(f"table '{path}' has column '{name}' {len(places)} times, expected it once")
        found[name] = places[0]
    return found


def _check_spelling(row: Row, column: str, spelt: dict[tuple[str, str], tuple[str, int]]) -> None:
    before, line = spelt.setdefault((column, alike(row[column])), (row[column], row.line))
    if before != row[column]:
        raise MetameryError(
            f"'{row.path}', line {row.line}: {column} is '{row[column]}', and '{before}' in line {line}: "
            "expected one spelling"
        )
