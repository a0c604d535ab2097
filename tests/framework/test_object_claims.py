"""Claims on folders of object stores, in the memory of this process: one process at a time, also after others died."""

from __future__ import annotations

import json
import secrets
import threading
import time
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from metamery.framework import MetameryError, claims, holders
from metamery.framework.object_claims import ObjectClaim
from metamery.framework.owners import Owner
from metamery.framework.remote import RemotePath

ELSEWHERE = Owner("elsewhere", "0badcafe", 4711, "12345")


@pytest.fixture
def folder() -> RemotePath:
    return RemotePath(f"memory://bucket/{secrets.token_hex(4)}")


def claimed_by(folder: RemotePath, owner: Owner, name: str = ".claim-work.1.json") -> RemotePath:
    file = folder / name
    content = {"owner": owner.name(), "command": "metamery run", "since": time.time()}
    file.write_text(json.dumps(content))
    return file


def test_a_claim_is_an_object_that_is_removed_at_the_end(folder: RemotePath) -> None:
    with claims.work(folder) as claim, claims.turn(folder):
        assert folder.objects() == [".claim-turn.1.json", ".claim-work.1.json"]
        assert claim.others() == []
        with pytest.raises(MetameryError, match=r"is being written to by .*process"), claims.work(folder):
            pass
        with pytest.raises(MetameryError, match="is being written to"), claims.part(folder, "1-of-2"):
            pass
    assert folder.objects() == []
    assert claims.worker(folder) is None


def test_one_at_a_time_has_its_turn(folder: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_WARN_SECONDS", 600.0)
    inside: list[int] = []
    together: list[int] = []

    def work() -> None:
        for _ in range(3):
            with claims.turn(folder):
                inside.append(1)
                together.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1] * 12


def test_a_claim_from_another_machine_is_kept_until_it_lapses(
    folder: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = claimed_by(folder, ELSEWHERE)
    with pytest.raises(MetameryError, match=r"`metamery run` .process 4711 on elsewhere"), claims.work(folder):
        pass
    assert file.exists()
    monkeypatch.setattr(holders, "LAPSE_SECONDS", -1.0)
    with claims.work(folder):
        assert folder.objects() == [".claim-work.2.json"]
    assert folder.objects() == []


def test_a_claim_of_a_dead_process_lapses_at_once(folder: RemotePath) -> None:
    here = Owner.this()
    claimed_by(folder, Owner(here.host, here.boot, here.pid, "0"))  # an earlier process with this number
    with claims.work(folder):
        assert folder.objects() == [".claim-work.2.json"]


def test_a_claim_that_was_taken_over_is_lost(folder: RemotePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "TOUCH_SECONDS", 0.02)
    with claims.work(folder) as claim:
        claim.check()
        claimed_by(folder, ELSEWHERE, ".claim-work.2.json")
        assert claim.lost.wait(10)
        with pytest.raises(MetameryError, match="was taken over by another process"):
            claim.check()
    assert folder.objects() == [".claim-work.2.json"]


def test_of_two_that_took_different_numbers_the_later_withdraws(folder: RemotePath, monkeypatch: Any) -> None:
    original = RemotePath.create

    def create(self: RemotePath, content: bytes) -> bool:
        if self.name == ".claim-work.1.json":
            claimed_by(folder, ELSEWHERE, ".claim-work.7.json")
        return original(self, content)

    monkeypatch.setattr(RemotePath, "create", create)
    with pytest.raises(MetameryError, match="process 4711 on elsewhere"), claims.work(folder):
        pass
    assert folder.objects() == [".claim-work.7.json"]


def test_a_claim_that_is_released_while_it_is_touched_is_gone(
    folder: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, began, original = ObjectClaim(folder, ".claim-work"), threading.Event(), RemotePath.write_bytes
    assert claim.attempt()

    def write_bytes(self: RemotePath, content: bytes) -> None:
        began.set()
        time.sleep(0.1)
        original(self, content)

    monkeypatch.setattr(RemotePath, "write_bytes", write_bytes)
    toucher = threading.Thread(target=claim.touch)
    toucher.start()
    assert began.wait(10)
    claim.release()
    toucher.join()
    assert folder.objects() == []


class Careless(MemoryFileSystem):
    """Replaces what it is asked to create."""

    protocol = "careless"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        super().pipe_file(path, value, **more)


def test_an_object_store_that_replaces_what_exists_is_refused() -> None:
    fsspec.register_implementation("careless", Careless, clobber=True)
    folder = RemotePath("careless://bucket/study")
    with pytest.raises(MetameryError, match="does not refuse to create an object that exists"), claims.work(folder):
        pass
    assert folder.objects() == []
