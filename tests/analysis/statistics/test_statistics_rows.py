"""Tables as spreadsheets write them: read where unambiguous, otherwise refused in one line, never truncated."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.statistics import overview, read_participants, read_recognition
from metamery.framework import MetameryError

HEADER = "modality,experiment,model,participant,stage,stage_index,human,network"
ROWS = [
    f"vision,1,{model},{person},{stage},{index},{round(0.9 - 0.2 * index - 0.05 * person, 2)},0.{9 - 3 * index}"
    for model in ("one", "two")
    for person in range(4)
    for index, stage in enumerate(("natural", "early", "late"))
]
TABLE = "\n".join([HEADER, *ROWS]) + "\n"

OTHERS = "\n".join(
    [
        "modality,generating_model,evaluating_model,stage,proportion_correct",
        *(
            f"vision,{model},{other},{stage},0.{9 - 2 * index - place % 2}"
            for model in ("one", "two")
            for place, other in enumerate(("one", "two", "three", "four", "five"))
            for index, stage in enumerate(("natural", "early", "late"))
        ),
    ]
)


def read(folder: Path, content: str | bytes) -> xr.Dataset:
    file = folder / "people.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_participants(file)


def decimal_commas(text: str) -> str:
    return text.replace(",", ";").replace("0.", "0,")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: text.replace(",", "|"),
        lambda text: "sep=;\n" + text.replace(",", ";"),
        lambda text: "SEP=;\r\n" + decimal_commas(text).replace("\n", "\r\n"),
        decimal_commas,
        lambda text: decimal_commas(text).encode("utf-8-sig"),
        lambda text: text.replace("0.", "."),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text + ",,,,,,,\n" * 3 + "\n\n",
        lambda text: "\n\n" + text,
        lambda text: text.replace("\n", ",\n"),
        lambda text: text.replace(",", " , "),
        lambda text: text.replace("vision", '" vision"'),
        lambda text: "\n".join(",".join(f'"{value}"' for value in line.split(",")) for line in text.splitlines()),
        lambda text: text.replace("stage_index", "Stage index").replace("human", "Human").replace("mod", "MOD"),
        lambda text: text.replace("early,1", "early,1.0"),
        lambda text: text.replace("network", "network,note", 1).replace(".9\n", ".9,x\n"),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, change: Callable[[str], Any]) -> None:
    xr.testing.assert_identical(read(tmp_path, change(TABLE)), read(tmp_path, TABLE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("network", "human", 1), "column 'human' 2 times, expected it once"),
        (lambda text: text.replace(HEADER, HEADER + ",Human"), "column 'human' 2 times"),
        (lambda text: text.replace("human", "humann", 1), "no column 'human'; did you mean 'humann'"),
        (lambda text: text.replace("vision,1,two,3", "Vision,1,two,3"), "modality is 'Vision', and 'vision' in line 2"),
        (lambda text: text.replace("two,3,late", "two,3,Late"), "stage is 'Late', and 'late' in line 4"),
        (lambda text: text.replace("1,two,3", "1,TWO,3"), "model is 'TWO', and 'two' in line 14"),
        (lambda text: text.replace("0.9,0.9", "inf,0.9", 1), "line 2: 'human' is 'inf', expected a number from 0 to 1"),
        (lambda text: text.replace("0.9,0.9", "1e999,0.9", 1), "'human' is '1e999', expected a number from 0 to 1"),
        (lambda text: text.replace("0.9,0.9", "0_9,0.9", 1), "'human' is '0_9', expected a number from 0 to 1"),
        (lambda text: text.replace("0.9,0.9", "90%,0.9", 1), "'human' is '90%', expected a number from 0 to 1"),
        (lambda text: text.replace("0.9,0.9", "-0.1,0.9", 1), "'human' is '-0.1', expected a number from 0 to 1"),
        (lambda text: text.replace("0.9,0.9", "0,9,0,9", 1), "line 2: 10 values, expected 8; is a decimal comma among"),
        (lambda text: text.replace("0.9,0.9", "0.9", 1), "'network' is empty in some rows: expected it in all"),
        (lambda text: text.replace("natural,0", "natural,1e30", 1), "'stage_index' is '1e30', expected a whole number"),
        (lambda text: text.replace("natural,0", "natural,0.5", 1), "'stage_index' is '0.5', expected a whole number"),
        (lambda text: text.replace("natural", '"natural', 1), "as CSV: line 25: unexpected end of data"),
        (lambda text: text.replace("natural", '"nat"ural', 1), "as CSV: line 2: ',' expected after"),
        (lambda text: text.replace("late", "spät").encode("latin-1"), "line 4 is not UTF-8: save it as UTF-8"),
        (lambda text: text.encode("utf-16-le"), "UTF-16 without a mark"),
        (lambda text: text.encode("utf-16")[:-1], "is not UTF-16"),
        (lambda text: text + ROWS[0], "line 26: participant '0' has this stage twice"),
        (lambda text: HEADER + "\n,,,,,,,\n", "has no rows"),
        (lambda _text: "", "has no rows"),
        (lambda text: text.replace(",", " "), "has no column 'modality'"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused(tmp_path: Path, change: Callable[[str], Any], message: str) -> None:
    with pytest.raises(MetameryError, match=message):
        read(tmp_path, change(TABLE))


def predicted(folder: Path, others: str, **options: Any) -> dict[str, xr.Dataset]:
    (folder / "others.csv").write_text(others)
    people, recognised = read(folder, TABLE), read_recognition(folder / "others.csv")
    return overview(people, recognised, generator=np.random.default_rng(0), shuffles=5, **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("vision", "Vision"),
        lambda text: text.replace("vision", "VISION").replace("one", "One").replace("late", " LATE"),
    ],
)
def test_names_that_two_tables_spell_otherwise_are_the_same(tmp_path: Path, change: Callable[[str], str]) -> None:
    same, found = predicted(tmp_path, OTHERS), predicted(tmp_path, change(OTHERS))
    assert list(found) == ["observers", "stages", "prediction_vision"]
    xr.testing.assert_identical(found["prediction_vision"], same["prediction_vision"])


def test_an_analysis_that_was_asked_for_is_there_or_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match="modalities of people are vision, of models audio: expected one in both"):
        predicted(tmp_path, OTHERS.replace("vision", "audio"))
    with pytest.raises(MetameryError, match="share 0 stages of models, expected at least 3"):
        predicted(tmp_path, OTHERS.replace(",one,", ",a,").replace(",two,", ",b,"))
    both = OTHERS + "\n" + OTHERS.partition("\n")[2].replace("vision", "audio")
    with pytest.warns(UserWarning, match="nothing is predicted for audio: the table of people has no rows of it"):
        assert "prediction_vision" in predicted(tmp_path, both)
    people = read(tmp_path, TABLE + "\n".join(ROWS).replace("vision,1", "vision,2").replace(",one,", ",lone,"))
    with pytest.raises(MetameryError, match="model 'one' is in no experiment with another of the models one, lone"):
        overview(people, None, ["one", "lone"], generator=np.random.default_rng(0), shuffles=5)
    with warnings.catch_warnings():
        assert "between_models" in overview(
            people, None, ["one", "two"], generator=np.random.default_rng(0), shuffles=5
        )


def test_the_command_takes_spaces_and_refuses_no_names(command: Any, tmp_path: Path) -> None:
    read(tmp_path, TABLE)
    given = ["statistics", tmp_path / "people.csv", "--shuffles", "5", "-o", tmp_path / "out"]
    for names in (",", " ", " , "):
        assert "expected names between commas" in command(*given, "--models", names).error
    assert "unknown model 'thre'" in command(*given, "--models", "one,thre").error
    assert not (tmp_path / "out").exists()
    assert command(*given, "--models", " one , two ").status == 0
