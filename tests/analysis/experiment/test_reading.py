"""Sessions from everything that holds them, and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answered_experiment import small_experiment
from metamery.analysis.experiment import archives
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.observers import observe, read_accuracy
from metamery.analysis.experiment.psych_ds import lines_of
from metamery.analysis.experiment.reading import gather
from metamery.analysis.experiment.records import Session
from metamery.framework import MetameryError


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return small_experiment(tmp_path / "experiment", stimuli=8)


def people(key: Key, count: int = 3) -> list[Session]:
    return observe(key, count, read_accuracy(["0.8"], key), np.random.default_rng(0))


def text(sessions: Sequence[Session]) -> str:
    return "".join(map(lines_of, sessions))


def archive(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return path


def jatos(path: Path, sessions: Sequence[Session]) -> Path:
    """A results archive as JATOS 3.9 writes it."""
    data = {
        f"study_result_{number}/comp-result_{number}/data.txt": text([each]) for number, each in enumerate(sessions, 7)
    }
    return archive(path, {**data, "metadata.json": "{}", "study_result_7/comp-result_7/files/mine.txt": "not ours"})


@pytest.mark.parametrize("how", ["lines", "jatos", "osf archive", "folder", "jatos text"])
def test_every_way_of_saving_is_read(tmp_path: Path, key: Key, how: str) -> None:
    given = people(key)
    source = tmp_path / "results"
    if how == "lines":
        source.write_text(text(given))
    elif how == "jatos":
        jatos(source, given)
    elif how == "osf archive":
        archive(source, {f"osfstorage/{each.session}.jsonl": text([each]) for each in given})
    elif how == "folder":
        source.mkdir()
        for each in given:
            (source / f"{each.session}.jsonl").write_text(text([each]))
    else:
        source.write_text("\n\n".join(text([each]) for each in given))
    found = gather([tmp_path / "experiment", source])
    assert found.sessions == tuple(given)
    assert not found.remarks


def test_a_session_that_is_there_twice_counts_once(tmp_path: Path, key: Key) -> None:
    (whole,) = people(key, 1)
    begun = replace(whole, records=whole.records[:4], end="")
    (tmp_path / "a.jsonl").write_text(text([begun]))
    (tmp_path / "b.jsonl").write_text(text([whole]))
    found = gather([tmp_path / "experiment", tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert found.sessions == (whole,)


def test_the_first_answer_counts(tmp_path: Path, key: Key) -> None:
    (whole,) = people(key, 1)
    other = replace(whole, records=(replace(whole.records[0], answer="other"), *whole.records[1:]))
    (tmp_path / "a.jsonl").write_text(text([whole]))
    (tmp_path / "b.jsonl").write_text(text([other]))
    assert gather([tmp_path / "experiment", tmp_path / "a.jsonl", tmp_path / "b.jsonl"]).sessions == (whole,)


def test_identifiers_become_one_pseudonym(tmp_path: Path, key: Key) -> None:
    first, second = (
        replace(each, participant="", identifiers={"PROLIFIC_PID": "5f0c", "SESSION_ID": each.session})
        for each in people(key, 2)
    )
    (tmp_path / "a.jsonl").write_text(text([first, second]))
    one, two = gather([tmp_path / "experiment", tmp_path / "a.jsonl"]).sessions
    assert one.participant == two.participant == key.participant({"PROLIFIC_PID": "5f0c"})
    assert "5f0c" not in repr((one, two, one.identifiers, two.identifiers))


def test_another_experiments_sessions_are_left_out(tmp_path: Path, key: Key) -> None:
    ours, theirs = people(key, 2)
    missing = replace(theirs, session="x", list_=99)
    (tmp_path / "a.jsonl").write_text(text([ours, replace(theirs, experiment="another"), missing]))
    found = gather([tmp_path / "experiment", tmp_path / "a.jsonl"])
    assert found.sessions == (ours,)
    assert "another experiment (another) is left out" in found.remarks[0]
    assert "list 99, which does not exist" in found.remarks[1]


def test_what_holds_no_experiment_is_refused(tmp_path: Path, key: Key) -> None:
    (tmp_path / "a.jsonl").write_text(text(people(key)))
    with pytest.raises(MetameryError, match=r"no experiment among .*a.jsonl': expected a folder with key.json"):
        gather([tmp_path / "a.jsonl"])
    with pytest.raises(MetameryError, match=r"'.*none' does not exist"):
        gather([tmp_path / "experiment", tmp_path / "none"])
    replace(small_experiment(tmp_path / "other"), experiment="other").write(tmp_path / "other")
    with pytest.raises(MetameryError, match="are different experiments: expected one"):
        gather([tmp_path / "experiment", tmp_path / "other"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "a.jsonl', line 1 is not what an experiment's page writes"),
        (b'{"kind": "record"}', "a.jsonl', line 1: "),
        (b'{"kind": "end", "end": "never"}', "a.jsonl', line 1: unknown kind of line"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, key: Key, content: bytes, message: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(MetameryError, match=message):
        gather([tmp_path / "experiment", tmp_path / "a.jsonl"])


@pytest.mark.parametrize("name", ["../../etc/cron.txt", "/etc/passwd.txt", "..\\..\\a.txt", "C:\\a.txt"])
def test_paths_that_lead_out_of_an_archive_are_refused(tmp_path: Path, key: Key, name: str) -> None:
    with pytest.raises(MetameryError, match="a path that leads out of it"):
        gather([tmp_path / "experiment", archive(tmp_path / "a.jrzip", {name: text(people(key))})])


def test_an_archive_is_bounded(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "bomb.zip", {f"{number}.txt": " " * 10_000 for number in range(30)})
    assert bomb.stat().st_size < 10_000
    for limits, message in (
        ({"max_members": 29}, "has 30 files, expected at most 29"),
        ({"max_file": 9_999}, "'0.txt' has more than 10 kB when unpacked"),
        ({"max_total": 100_000}, "has more than 100 kB when unpacked"),
    ):
        with pytest.raises(MetameryError, match=message):
            list(archives.members(bomb, **limits))
    assert len(list(archives.members(bomb, max_members=30, max_file=10_000, max_total=300_000))) == 30


def test_a_damaged_archive_gets_one_line(tmp_path: Path, key: Key) -> None:
    path = jatos(tmp_path / "a.jrzip", people(key))
    content = bytearray(path.read_bytes())
    content[60:90] = b"x" * 30
    path.write_bytes(content)
    with pytest.raises(MetameryError, match=r"cannot read '.*a.jrzip' as a ZIP archive"):
        gather([tmp_path / "experiment", path])


def test_the_key_does_not_have_to_be_valid_json_to_get_one_line(tmp_path: Path, key: Key) -> None:
    table = json.loads((tmp_path / "experiment" / "key.json").read_text())
    (tmp_path / "experiment" / "key.json").write_text(json.dumps(table)[:-9])
    with pytest.raises(MetameryError, match="is damaged: build the experiment again"):
        gather([tmp_path / "experiment"])
