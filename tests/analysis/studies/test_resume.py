"""A killed and resumed study equals one never interrupted: whenever it is killed, its files can be read and resumed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metamery.analysis.synthesis.driver import partition
from metamery.framework import Study
from metamery.framework.study import ModelReference, Reference


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_killed_at_six_moments_and_resumed_is_never_stopped(
    tiny: str, pictures: Path, start: Any, tmp_path: Path
) -> None:
    """Five kills fall on a write, three of them inside one; one comes at a random time.

    `tests/trials.py` kills at every event.
    """
    study = Study(
        models=(ModelReference(tiny, ("1", "output")),),
        stimuli=Reference("folder", {"path": str(pictures)}),
        synthesis={"preset": "fast", "steps": 12, "batch_size": 2, "seeds": 2},
    )
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"study": study.to_toml(), "folder": str(tmp_path)}))
    draw = random.Random(0)
    served = [sys.executable, Path(__file__).with_name("killed.py"), spec]
    with start(served, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(**kill: Any) -> dict[str, Any]:
            server.stdin.write(json.dumps(kill) + "\n")
            server.stdin.flush()
            line = server.stdout.readline()
            assert line, "the server died; its traceback is above"
            return {"kill": kill, **json.loads(line)}

        unbroken = json.loads(server.stdout.readline())
        filling = (unbroken["creating"] + 1, unbroken["writes"] - 1)
        assert filling[1] - filling[0] > 60
        came: list[dict[str, Any]] = []
        for moment, creating, later in (("half", 1, 2), ("before", 0, 1), ("after", 0, 1)):
            came += [ask(moment=moment, write=draw.randint(1, unbroken["creating"])) for _ in range(creating)]
            came += [ask(moment=moment, write=draw.randint(*filling)) for _ in range(later)]
        came.append(ask(moment="time", seconds=draw.uniform(0, unbroken["seconds"])))
        server.stdin.close()

    assert len(came) == 6
    for kill in came:
        # One that comes at a random time may come late on a quick machine.
        assert kill["signal"] == signal.SIGKILL or kill["kill"]["moment"] == "time", kill
        assert kill["seen"]["done"] == -1 or (kill["seen"]["same"] and kill["seen"]["whole"]), kill
        assert "error" not in kill["seen"] or kill["seen"]["error"].startswith("no results in"), kill
        assert kill["differs"] == [], kill
        assert kill["arrays"] > 15, kill
        assert kill["left"] == 0, kill
        assert kill["files"] == ["results.zarr", "study.toml"], kill
    begun = [kill["seen"]["done"] for kill in came if kill["seen"]["done"] >= 0]
    assert len(begun) >= 4
    assert len(set(begun)) >= 3
    # What was done before a kill is not done again.
    assert all(kill["writes"] < unbroken["writes"] for kill in came if kill["seen"]["done"] > 0)
    # And the kills did fall inside writes: they left half-written files behind.
    inside = [kill for kill in came if kill["kill"]["moment"] in ("half", "before")]
    assert len(inside) == 4
    assert all(kill["seen"].get("left", 1) > 0 for kill in inside)


@pytest.mark.parametrize(
    ("layers", "stimuli", "seeds", "size"), [(1, 1, 1, 1), (3, 7, 2, 3), (2, 8, 1, 4), (1, 3, 3, 9)]
)
def test_the_partition_covers_every_metamer_once(layers: int, stimuli: int, seeds: int, size: int) -> None:
    made = [
        (batch.layer, stimulus, batch.seed)
        for batches in partition(layers, stimuli, seeds, size)
        for batch in batches
        for stimulus in range(batch.stimuli.start, batch.stimuli.stop)
    ]
    assert sorted(made) == [(i, j, k) for i in range(layers) for j in range(stimuli) for k in range(seeds)]
    for batches in partition(layers, stimuli, seeds, size):
        assert len({(batch.stimuli.start, batch.stimuli.stop) for batch in batches}) == 1
        assert batches[0].stimuli.start % size == 0
        assert batches[0].stimuli.stop - batches[0].stimuli.start <= size
    assert partition(layers, stimuli, seeds, size) == partition(layers, stimuli, seeds, size)
