"""Tables of benchmarks: what is printed, and what is kept of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from table import SKIPPED, Benchmark, Column, machine, shown, skip

COLUMNS = (Column("metamery", "ms"), Column("peer / metamery", "×", "higher", peer="a peer"))


def test_rows_are_printed_and_kept_as_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "records.jsonl"
    monkeypatch.setattr(sys, "argv", ["script.py", "--json", str(file), "--rounds", "3"])
    benchmark = Benchmark("How fast is it?\n\nMore.")
    benchmark.option("--rounds", type=int)
    assert benchmark.parse().rounds == 3
    benchmark.table("Updates", ["stimuli"], COLUMNS, across="stimuli").row(8, 1234.5678, None)
    benchmark.note("all the same")
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Updates",
        "",
        "| stimuli | metamery, ms | peer / metamery, × |",
        "|---|---|---|",
        "| 8       | 1,235        |                    |",
        "all the same",
    ]
    figure, empty, note = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert figure == {
        "table": "Updates", "across": "stimuli", "labels": {"stimuli": 8}, "title": "metamery", "unit": "ms",
        "better": "lower", "peer": "", "limit": "", "value": 1234.57,
    }  # fmt: skip
    assert (empty["title"], empty["value"]) == ("peer / metamery", None)
    assert note == {"note": "all the same"}


@pytest.mark.parametrize(("value", "text"), [(0.00012345, "0.000123"), (999.9, "1,000"), (1e6, "1,000,000"), (8, "8")])
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_a_benchmark_that_lacks_something_ends_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        skip("needs a peer")
    assert ended.value.code == SKIPPED
    assert capsys.readouterr().err == "needs a peer\n"


def test_a_machine_is_described_without_its_name() -> None:
    import platform

    described = machine()
    assert {"processor", "cores", "threads", "memory, GiB", "system", "Python"} <= described.keys()
    assert platform.node() not in [str(value) for value in described.values()]
