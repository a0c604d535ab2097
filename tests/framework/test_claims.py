"""Claims: one process at a time writes to a folder, and the claim of a dead one expires."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from metamery.framework import MetameryError, claims, owners
from metamery.framework.owners import Owner


def forked(work: Callable[[], object]) -> int:
    """Start something in a child; return its number."""
    if child := os.fork():
        return child
    status = 1
    try:
        work()
        status = 0
    except MetameryError as error:
        print(error, flush=True)
        status = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def appears(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def held(folder: Path, name: str = "work") -> int:
    """A child that holds a claim until it is killed."""

    def hold() -> None:
        with getattr(claims, name)(folder):
            time.sleep(60)

    child = forked(hold)
    appears(folder / f".claim-{name}")
    return child


def test_a_claim_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "old", tmp_path / "new" / "study"):
        with claims.work(folder) as claim, claims.turn(folder):
            assert sorted(path.name for path in folder.iterdir()) == [".claim-turn", ".claim-work"]
            claim.check()
            assert claim.others() == []
        assert not folder.exists() or not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_was_made_in_a_new_folder_stays(tmp_path: Path) -> None:
    with claims.work(tmp_path / "study"):
        (tmp_path / "study" / "notes.txt").write_text("mine")
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["notes.txt"]


def test_a_second_worker_is_refused_at_once_and_told_who_works(tmp_path: Path) -> None:
    child = held(tmp_path)
    try:
        said = rf"'{tmp_path}' is being written to by `.+` \(process {child} on .+, since \d\d:\d\d\); wait for it"
        with pytest.raises(MetameryError, match=said), claims.work(tmp_path):
            pass
        holder = claims.worker(tmp_path)
        assert holder is not None
        assert holder.owner.pid == child
        with claims.turn(tmp_path) as claim:  # beside long work
            assert [other.owner.pid for other in claim.others()] == [child]
    finally:
        os.kill(child, signal.SIGKILL)
        ended(child)
    assert claims.worker(tmp_path) is None


@pytest.mark.parametrize("name", ["work", "turn"])
def test_the_claim_of_a_dead_process_lapses_at_once(tmp_path: Path, name: str) -> None:
    child = held(tmp_path, name)
    os.kill(child, signal.SIGKILL)
    # Not waited for yet: it is dead, though its number is still taken.
    while Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)
    with getattr(claims, name)(tmp_path):
        pass
    ended(child)
    assert list(tmp_path.iterdir()) == []


def claimed_by(folder: Path, owner: Owner, age: float = 0.0) -> Path:
    place = folder / ".claim-work"
    place.mkdir()
    file = place / f"{owner.name()}.json"
    file.write_text(json.dumps({"command": "metamery train", "since": time.time() - 90_000}))
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_a_process_that_got_the_number_of_a_dead_one_does_not_hold_its_claim(tmp_path: Path) -> None:
    here = Owner.this()
    claimed_by(tmp_path, Owner(here.host, here.boot, os.getpid(), "1"))
    with claims.work(tmp_path):
        pass


@pytest.mark.parametrize("what", ["host", "boot"])
def test_on_another_machine_the_claim_lapses_with_the_last_touch(tmp_path: Path, what: str) -> None:
    here = Owner.this()
    other = Owner("elsewhere" if what == "host" else here.host, "abc" if what == "boot" else here.boot, 1, "1")
    file = claimed_by(tmp_path, other, claims.LAPSE_SECONDS - 10)
    said = r"by `metamery train` \(process 1 on .+, since \d{4}-\d\d-\d\d \d\d:\d\d\)"
    with pytest.raises(MetameryError, match=said), claims.work(tmp_path):
        pass
    os.utime(file, (time.time() - claims.LAPSE_SECONDS - 10,) * 2)
    with claims.work(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", ["empty", "torn", "staged"])
def test_a_claim_that_was_half_made_or_half_removed_is_taken(tmp_path: Path, left: str) -> None:
    here = Owner.this()
    dead = Owner(here.host, here.boot, 1, "x").name()
    place = tmp_path / (f".claim-work.{dead}" if left == "staged" else ".claim-work")
    place.mkdir()
    if left == "torn":
        (place / f"{dead}.json").write_text('{"comm')
    with claims.work(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_turn_is_waited_for_and_the_wait_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_WARN_SECONDS", 0.1)

    def hold() -> None:
        with claims.turn(tmp_path):
            time.sleep(1.0)

    child = forked(hold)
    appears(tmp_path / ".claim-turn")
    with pytest.warns(UserWarning, match=rf"waiting: .* \(process {child} on "), claims.turn(tmp_path):
        pass
    assert ended(child) == 0
    child = held(tmp_path, "turn")
    with pytest.raises(MetameryError, match="is being written to"), claims.turn(tmp_path, wait=0.05):
        pass
    os.kill(child, signal.SIGKILL)
    ended(child)


def test_the_holder_touches_its_claim_and_notices_that_it_lost_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "TOUCH_SECONDS", 0.02)
    with claims.work(tmp_path) as claim:
        os.utime(claim.file, (0, 0))
        while claim.file.stat().st_mtime == 0:
            time.sleep(0.01)
        claim.check()
        claim.file.unlink()
        assert claim.lost.wait(300)
        with pytest.raises(MetameryError, match="was taken over by another process"):
            claim.check()


@pytest.mark.parametrize("stale", [False, True], ids=["free", "of a dead process"])
def test_of_many_that_add_at_once_each_has_its_turn(
    tmp_path: Path, stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all of them take over one claim that has lapsed: exactly one holds it at any time."""
    monkeypatch.setattr(claims, "_WARN_SECONDS", 600.0)  # on a busy machine some wait long
    counter, inside = tmp_path / "counter", tmp_path / "inside"
    counter.write_text("0")
    processes, rounds = 6, 15

    def add() -> None:
        for _ in range(rounds):
            with claims.turn(tmp_path):
                inside.mkdir()  # fails where another is inside
                counter.write_text(str(int(counter.read_text()) + 1))
                inside.rmdir()
                if stale:
                    place, here = tmp_path / ".claim-turn", Owner.this()
                    (file,) = place.iterdir()
                    file.rename(place / f"{Owner(here.host, here.boot, 1, 'x').name()}.json")

    children = [forked(add) for _ in range(processes)]
    assert [ended(child) for child in children] == [0] * processes
    assert counter.read_text() == str(processes * rounds)


def test_a_forked_child_does_not_release_what_its_parent_holds(tmp_path: Path) -> None:
    child = 1
    try:
        with claims.work(tmp_path) as claim:
            with pytest.raises(MetameryError, match="being written to"), claims.work(tmp_path):
                pass
            if not (child := os.fork()):
                raise KeyboardInterrupt
            assert ended(child) == 0
            assert claim.file.exists()
    finally:
        if not child:
            os._exit(0 if claim.file.exists() else 1)


def test_a_folder_that_cannot_be_claimed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere" / "else")
    for folder in (tmp_path / "file", tmp_path / "file" / "study", tmp_path / "gone"):
        with pytest.raises(MetameryError, match=f"cannot write to '{folder}'"), claims.work(folder):
            pass


def test_only_what_the_dead_left_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Owner.this()
    dead, far = Owner(here.host, here.boot, 1, "x"), Owner("elsewhere", "abc", 1, "1")
    names = {"mine": owners.owned(tmp_path, ".a."), "of no process": tmp_path / ".a.b"}
    names |= {"dead": tmp_path / f".a.{dead.name()}", "elsewhere": tmp_path / f".a.{far.name()}"}
    for place in names.values():
        (place / "in").mkdir(parents=True)
    owners.clear(tmp_path, ".a.")
    assert {name for name, place in names.items() if place.exists()} == {"mine", "elsewhere"}
    monkeypatch.setattr(owners, "KEPT_SECONDS", -1.0)
    owners.clear(tmp_path, ".a.")
    assert {name for name, place in names.items() if place.exists()} == {"mine"}
    with owners.scratch(tmp_path, ".b.") as place:
        assert place.is_dir()
    assert not place.exists()
