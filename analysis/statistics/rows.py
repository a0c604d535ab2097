"""Reading tables in CSV, as programs and spreadsheets write it.

The text is UTF-8, with or without a byte order mark, or UTF-16 with one; values are separated by commas, semicolons,
tabs or bars; decimal commas are read where the separator is not a comma. What is ambiguous is refused.
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
    """One row of a table: its file and line, and its values by column, without spaces around them."""

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
            It is not one.
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
            It is not one.
        """
        value = self._number(column)
        if not math.isfinite(value) or value != int(value) or abs(value) >= _LARGEST_INDEX:
            raise self.wrong(column, "a whole number")
        return int(value)

    def wrong(self, column: str, expected: str) -> MetameryError:
        """Return the error for a value that is not as expected."""
        given = shown(self[column])
        return MetameryError(f"'{self.path}', line {self.line}: '{column}' is {given}, expected {expected}")

    def _number(self, column: str) -> float:
        text = self[column]
        if self.decimal_comma and _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
        return float(text) if _NUMBER.fullmatch(text) else math.nan


def read_rows(
    path: Path, columns: Sequence[str], names: Sequence[str] = (), optional: Sequence[str] = ()
) -> Iterator[Row]:
    """Read the rows of a table that has the given columns, which have a value in each row; other columns are ignored.

    Capitals in the columns' names and spaces around them do not matter. Rows without any value are skipped.

    Parameters
    ----------
    columns
        Names of the columns that are required.
    names
        Those of `columns` that contain names. Two that differ in capitals or spaces alone, in one column, are refused.
    optional
        Those of `columns` that may be missing or lack values, which are then empty text.

    Raises
    ------
    MetameryError
        The file cannot be read, is not text or has no rows; a column is missing or occurs twice; or a row lacks a value
        or has more values than there are columns.
    """
    text = _text(path)
    separator, start = _separator(text, columns)
    reader = csv.reader(io.StringIO(text[start:], newline=""), delimiter=separator, strict=True)
    spelt: dict[tuple[str, str], tuple[str, int]] = {}
    skipped = text[:start].count("\n")
    empty, positions = True, None
    try:
        for cells in reader:
            line = reader.line_num + skipped
            values = [" ".join(value.split()) for value in cells]
            if not any(values):
                continue
            if positions is None:
                positions = _positions(path, values, columns, optional)
                width = len(values)
                continue
            empty = False
            if any(values[width:]):
                hint = "; is a decimal comma among them?" if separator == "," else ""
                raise MetameryError(f"'{path}', line {line}: {len(values)} values, expected {width}{hint}")
            values += [""] * (width - len(values))
            given = {name: values[positions[name]] if name in positions else "" for name in columns}
            row = Row(path, line, given, separator != ",")
            for name in columns:
                if not row[name] and name not in optional:
                    raise MetameryError(f"'{path}', line {line}: '{name}' is empty")
            for name in names:
                _check_spelling(row, name, spelt)
            yield row
    except csv.Error as error:
        raise MetameryError(f"cannot read '{path}' as CSV: line {reader.line_num + skipped}: {error}") from error
    if empty:
        raise MetameryError(f"table '{path}' has no rows")


def alike(name: str) -> str:
    """A name without what people and programs change unintentionally: capitals, spaces, the encoding of accents."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _text(path: Path) -> str:
    if path.is_dir():
        raise MetameryError(f"'{path}' is a folder, expected a CSV table, such as an experiment's participants.csv")
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
        message = f"cannot read '{path}' as CSV: line {line} is not {encoding.upper()}: save it as UTF-8"
        raise MetameryError(message) from None
    if "\0" in text:
        raise MetameryError(f"cannot read '{path}' as CSV: it is not text, or UTF-16 without a mark: save it as UTF-8")
    return text


def _separator(text: str, columns: Sequence[str]) -> tuple[str, int]:
    """The separator of values, by the line that names the columns, and the index at which that line begins."""
    first = text.lstrip("\r\n ").partition("\n")[0].strip()
    if (given := re.fullmatch(r"sep=(.)", first, re.IGNORECASE)) and given[1] in SEPARATORS:  # of spreadsheets
        return given[1], text.index(first) + len(first)
    header = next((line for line in text.splitlines() if line.strip()), "")
    wanted = {_column(name) for name in columns}

    def count(separator: str) -> int:
        return len(wanted & {_column(name.strip('"')) for name in header.split(separator)})

    return max(SEPARATORS, key=count), 0


def _column(name: str) -> str:
    return re.sub(r"[\s-]+", "_", alike(name))


def _positions(path: Path, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for name in columns:
        same = [position for position, given in enumerate(header) if _column(given) == _column(name)]
        if not same and name in optional:
            continue
        if not same:
            named = ", ".join(each for each in header if each)
            error = unknown("column", name, [each for each in header if each]) if named else ""
            near = str(error).partition(";")[2].partition("?")[0]
            raise MetameryError(
                f"table '{path}' has no column '{name}'{f';{near}?' if near else ''}; expected {', '.join(columns)}"
            )
        if len(same) > 1:
            raise MetameryError(f"table '{path}' has column '{name}' {len(same)} times, expected it once")
        positions[name] = same[0]
    return positions


def _check_spelling(row: Row, column: str, spelt: dict[tuple[str, str], tuple[str, int]]) -> None:
    before, line = spelt.setdefault((column, alike(row[column])), (row[column], row.line))
    if before != row[column]:
        raise MetameryError(
            f"'{row.path}', line {row.line}: {column} is '{row[column]}', and '{before}' in line {line}: "
            "expected one spelling"
        )
