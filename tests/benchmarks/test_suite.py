"""The suite of benchmarks: what it keeps of a run, and what it does with those that fail."""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import pytest
from suite import HERE, RESULTS, SUITE, Entry, main, run_suite, without_paths

SMALL = 1  # second that is stated

FAILING = """\"\"\"Does it fail?\"\"\"
from table import Benchmark, Column
benchmark = Benchmark(__doc__)
benchmark.parse()
benchmark.table("Before", ["case"], [Column("time", "s")]).row("one", 2.5)
raise RuntimeError("cannot read '/home/someone/pictures/one.png'")
"""
SKIPPED = """\"\"\"Does it run?\"\"\"
from table import Benchmark, skip
Benchmark(__doc__).parse()
skip("needs a GPU")
"""
ENDLESS = """\"\"\"Does it end?\"\"\"
import subprocess, sys, time
from pathlib import Path
late = "import time, pathlib; time.sleep(4); pathlib.Path(r'{late}').touch()"
subprocess.Popen([sys.executable, "-c", late])
time.sleep(60)
"""


def script(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Entry:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    (folder / f"{name}.py").write_text(text)
    return Entry(name, ("", SMALL), ("", SMALL))


def test_every_benchmark_is_in_the_suite_with_options_that_it_has() -> None:
    scripts = {file.stem: file.read_text(encoding="utf-8") for file in HERE.glob("*.py")}
    benchmarks = {name for name, text in scripts.items() if "Benchmark(__doc__" in text}
    assert {entry.script for entry in SUITE} == benchmarks
    for entry in SUITE:
        for options, _ in filter(None, (entry.small, entry.full)):
            for option in (word for word in options.split() if word.startswith("--")):
                assert f'benchmark.option("{option}"' in scripts[entry.script], (entry.script, option)


def test_a_run_writes_its_figures_and_a_page_without_names_and_paths(tmp_path: Path) -> None:
    suite = run_suite([Entry("store", ("--stimuli 8 --rounds 1", 5), ("", 5))], tmp_path)
    (file,) = tmp_path.glob("*.json")
    assert json.loads(file.read_text(encoding="utf-8")) == suite
    (found,) = suite["benchmarks"]
    assert (found["outcome"], found["options"]) == ("done", "--stimuli 8 --rounds 1")
    assert {(figure["title"], figure["labels"]["what"]) for figure in found["figures"]} == {
        (title, what) for title in ("the store", "a plain file", "store / plain file") for what in ("written", "read")
    }
    assert all(figure["value"] > 0 for figure in found["figures"])
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "a plain file on the same disk" in page
    for text in (page, file.read_text(encoding="utf-8")):
        assert str(tmp_path) not in text
        assert str(HERE) not in text
        assert platform.node() not in text


def test_one_that_fails_is_named_with_what_it_found_before_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [script(tmp_path, name, text, monkeypatch) for name, text in (("failing", FAILING), ("skipped", SKIPPED))]
    suite = run_suite(entries, tmp_path / "results", scripts=tmp_path)
    failed, skipped = suite["benchmarks"]
    assert failed["outcome"] == "failed"
    assert failed["reason"] == "RuntimeError: cannot read 'one.png'"
    assert [figure["value"] for figure in failed["figures"]] == [2.5]
    assert (skipped["outcome"], skipped["reason"]) == ("skipped", "needs a GPU")
    page = (tmp_path / "results" / "index.html").read_text(encoding="utf-8")
    assert "failing</a> failed:</strong> RuntimeError: cannot read &#39;one.png&#39;" in page
    assert "Skipped: needs a GPU" in page
    assert "[1/2] failing" in capsys.readouterr().out


def test_one_that_does_not_end_is_stopped_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.LEAST_SECONDS", 2)
    monkeypatch.setattr("suite.PATIENCE", 2)
    late = tmp_path / "late"
    entry = script(tmp_path, "endless", ENDLESS.format(late=late), monkeypatch)
    (found,) = run_suite([entry], tmp_path / "results", scripts=tmp_path)["benchmarks"]
    assert (found["outcome"], found["reason"]) == ("failed", "took too long and was stopped")
    time.sleep(4)
    assert not late.exists()


def test_what_is_not_there_is_said_without_starting_anything(tmp_path: Path) -> None:
    entries = [Entry("normalisation", ("PICTURES", 1), ("PICTURES", 1)), Entry("presets", None, ("FOLDER", 1))]
    pictures, hours = run_suite(entries, tmp_path)["benchmarks"]
    assert pictures["reason"] == "needs a folder of pictures, CLASS/FILE (--pictures)"
    assert hours["reason"] == "takes hours, and is run at the size full alone"


def test_the_exit_status_says_whether_one_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("suite.HERE", tmp_path)
    monkeypatch.setattr("suite.SUITE", [Entry("normalisation", ("PICTURES", 1), ("PICTURES", 1))])
    monkeypatch.setattr("suite.run_one", lambda *_: {"benchmark": "normalisation", **OUTCOME})
    monkeypatch.setattr(sys, "argv", ["suite.py", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'index.html'}; failed: normalisation"


OUTCOME = {"options": "", "question": "Why?", "outcome": "failed", "reason": "no", "figures": [], "notes": []}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('File "/home/me/x.py", line 3', 'File "x.py", line 3'),
        ("ratio a / b is 3/4 of https://example.org/x", "ratio a / b is 3/4 of https://example.org/x"),
    ],
)
def test_paths_are_left_out(text: str, left: str) -> None:
    assert without_paths(text) == left


def test_results_are_not_committed() -> None:
    ignored = (HERE.parent / ".gitignore").read_text().splitlines()
    assert f"/{RESULTS.relative_to(HERE.parent)}/" in ignored
