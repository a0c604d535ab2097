"""The store: complete from the start, written region by region, read by plain xarray."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from metamery.framework import MetameryError, claims, open_study, owners
from metamery.framework import store as store_module
from metamery.framework.results import steady
from metamery.framework.schema import SCHEMA_VERSION, STATES, metamer_variables, stimuli_variables
from metamery.framework.staging import STAGED
from metamery.framework.store import RESULTS, Group, StudyStore

LAYERS, STIMULI = ["conv", "output"], ["a", "b", "ü/c"]
SAID = {"long_name": "a number", "units": "1"}


def groups() -> dict[str, Group]:
    return {
        "stimuli": Group(stimuli_variables(), {"stimulus": STIMULI}),
        "models/tiny": Group(attributes={"model": "tiny", "low": 0.0, "labels": ["cat", "dog"]}),
        "models/tiny/metamers": Group(
            metamer_variables(("time",)),
            {"layer": LAYERS, "stimulus": STIMULI, "seed": [0, 1], "step": [0, 1, 2]},
            {"time": 5},
            {"layer": 1, "stimulus": 2, "seed": 1},
            {"settings": "{}"},
        ),
    }


METAMERS = "models/tiny/metamers"
REGION = {"layer": slice(1, 2), "stimulus": slice(0, 2), "seed": slice(1, 2)}


@pytest.fixture
def store(tmp_path: Path) -> StudyStore:
    contents = {"stimuli": {"category": np.array(["cat", "", "ÿ" * 40], dtype=object)}}
    return StudyStore.create(tmp_path / "study", groups(), {"device": "cpu", "names": ["x", "y"]}, contents)


def plain(store: StudyStore) -> xr.DataTree:
    return xr.open_datatree(store.path, engine="zarr")


def test_every_array_is_there_from_the_start_with_its_dimensions(store: StudyStore) -> None:
    tree = plain(store)
    for path, group in groups().items():
        node = tree[path]
        assert set(node.dataset.data_vars) == set(group.variables)
        for name, variable in group.variables.items():
            assert node[name].dims == variable.dims
            assert node[name].attrs["long_name"] == variable.long_name
            assert node[name].attrs["units"] == "1"
        for dim, values in group.coordinates.items():
            assert node[dim].values.tolist() == values
    metamers = tree[METAMERS]
    assert metamers.signal.shape == (2, 3, 2, 5)
    assert metamers.signal.isnull().all()
    assert (metamers.state == STATES["missing"]).all()
    assert (metamers.steps == -1).all()
    assert (metamers.reason == "").all()


def test_attributes_and_contents_are_there_from_the_start(store: StudyStore) -> None:
    tree = plain(store)
    assert tree.attrs == {"schema_version": SCHEMA_VERSION, "device": "cpu", "names": ["x", "y"]}
    assert tree["models/tiny"].attrs == {"model": "tiny", "low": 0.0, "labels": ["cat", "dog"]}
    assert tree["stimuli/category"].values.tolist() == ["cat", "", "ÿ" * 40]
    assert store.attributes == tree.attrs
    assert store.group_attributes("models/tiny")["model"] == "tiny"
    assert store.children("models") == ["tiny"]


def test_flags_survive_reading(store: StudyStore) -> None:
    state = plain(store)[f"{METAMERS}/state"]
    assert state.dtype == np.int8
    assert list(state.attrs["flag_values"]) == [0, 1, 2]
    assert state.attrs["flag_meanings"] == "missing done failed"


def test_a_region_is_written_and_nothing_else(store: StudyStore) -> None:
    values = {
        "signal": np.arange(10.0).reshape(1, 2, 1, 5),
        "loss": np.ones((1, 2, 1, 3)),
        "reason": np.array(["", "the layer is silent – 0"], dtype=object).reshape(1, 2, 1),
        "state": np.array([1, 2]).reshape(1, 2, 1),
    }
    store.write(METAMERS, REGION, values)
    metamers = plain(store)[METAMERS].load()
    for name, value in values.items():
        assert np.array_equal(metamers[name].values[1:2, 0:2, 1:2], value)
    assert (metamers.state != STATES["missing"]).sum() == 2
    assert metamers.signal.notnull().sum() == 10
    assert (metamers.reason != "").sum() == 1
    assert np.array_equal(store.read(METAMERS, "state"), metamers.state)
    assert np.array_equal(store.read_region(METAMERS, "signal", slice(1, 2))[0, 0, 1], np.arange(5.0))


def test_a_region_touches_its_own_chunks_alone(store: StudyStore) -> None:
    def chunks() -> dict[str, int]:
        return {str(file): file.stat().st_mtime_ns for file in (store.path / METAMERS / "signal").rglob("c/**/*")}

    store.write(METAMERS, {**REGION, "layer": slice(0, 1)}, {"signal": np.zeros((1, 2, 1, 5))})
    before = chunks()
    store.write(METAMERS, REGION, {"signal": np.ones((1, 2, 1, 5))})
    after = chunks()
    assert {name: after[name] for name in before if Path(name).is_file()} == {
        name: time for name, time in before.items() if Path(name).is_file()
    }
    assert len(after) > len(before)


def test_values_are_written_in_the_order_given(store: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    original = zarr.Array.__setitem__
    monkeypatch.setattr(zarr.Array, "__setitem__", lambda a, *rest: (order.append(a.basename), original(a, *rest))[1])
    store.write(METAMERS, REGION, {"signal": 0.0, "loss": 0.0, "state": 1})
    assert order == ["signal", "loss", "state"]


def test_plain_xarray_reads_what_open_study_reads(store: StudyStore) -> None:
    store.write(METAMERS, REGION, {"signal": 1.0, "state": 1})
    xr.testing.assert_identical(open_study(store.path).load(), plain(store).load())
    xr.testing.assert_identical(open_study(store.path.parent).load(), plain(store).load())
    xr.testing.assert_identical(open_study(str(store.path)).load(), plain(store).load())


def test_nothing_on_disk_can_run_code(store: StudyStore) -> None:
    """Only Zarr v3 with these codecs: no pickle, no object codec."""
    known = {"bytes", "zstd", "vlen-utf8"}
    text = (store.path / "zarr.json").read_text()
    seen = set()
    for file in store.path.rglob("zarr.json"):
        metadata = json.loads(file.read_text())
        assert metadata["zarr_format"] == 3
        seen |= {codec["name"] for codec in metadata.get("codecs", ())}
    assert seen == known
    assert "pickle" not in text
    names = {file.name for file in store.path.rglob("*") if file.is_file() and "c" not in file.parent.parts}
    assert all(name == "zarr.json" or name.isdigit() or name == "c" for name in names)


# Adding a dataset


def added(value: float = 1.0) -> xr.Dataset:
    said = {"long_name": "agreement", "units": "1"}
    return xr.Dataset({"agreement": ("layer", np.full(2, value), said)}, {"layer": np.array(LAYERS)})


def test_a_dataset_is_added_and_replaced(store: StudyStore) -> None:
    for value in (1.0, 2.0):
        store.add("agreement", added(value))
        for tree in (plain(store), open_study(store.path)):
            assert tree["agreement/agreement"].values.tolist() == [value, value]
            assert tree["agreement/layer"].values.tolist() == LAYERS
            assert tree["stimuli/category"].values[0] == "cat"
    assert [file.name for file in store.path.parent.iterdir()] == [RESULTS]


def test_a_dataset_is_added_below_others(store: StudyStore) -> None:
    store.add("human/first/answers", added())
    tree = plain(store)
    assert tree["human/first/answers/agreement"].shape == (2,)
    assert store.children("human") == ["first"]
    StudyStore.reopen(store.path.parent)


def test_a_dataset_without_layers_of_text_is_added(store: StudyStore) -> None:
    store.add("counts", xr.Dataset({"n": ((), np.int64(3), {"long_name": "signals", "units": "1"})}))
    assert int(plain(store)["counts/n"]) == 3


def test_a_dataset_that_does_not_pass_is_not_added(store: StudyStore) -> None:
    with pytest.raises(MetameryError, match="'agreement' has no 'long_name'"):
        store.add("agreement", added().drop_attrs())
    assert "agreement" not in plain(store)


def test_an_earlier_result_survives_a_writer_that_fails(store: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add("agreement", added(1.0))

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_zarr", fail)
    with pytest.raises(MetameryError, match=r"cannot write to '.*': No space left on device"):
        store.add("agreement", added(2.0))
    assert plain(store)["agreement/agreement"].values.tolist() == [1.0, 1.0]


def killed(work: Callable[[], object]) -> None:
    """Do something in a child, which kills itself in the middle of it."""
    if not (child := os.fork()):
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def die(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_earlier_result_survives_a_kill_between_two_moves(
    store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("human/first", added(1.0))
    move = os.rename

    def rename(source: Path, target: Path) -> None:
        die() if Path(source).name == "new" else move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        killed(lambda: store.add("human/first", added(2.0)))
    assert not (store.path / "human" / "first").exists()
    reopened = StudyStore.reopen(store.path.parent)
    assert plain(reopened)["human/first/agreement"].values.tolist() == [1.0, 1.0]
    assert [file.name for file in store.path.parent.iterdir()] == [RESULTS]


@pytest.mark.parametrize("left", ["", "old", "old/zarr.json", "place.txt", "new/zarr.json", "gone/zarr.json"])
def test_whatever_is_left_of_a_staging_folder_is_cleared_away(store: StudyStore, left: str) -> None:
    """As by a kill while it was removed: an earlier group is there, so that nothing goes back."""
    store.add("agreement", added())
    staging = store.path.parent / f".{RESULTS}.x"
    staging.mkdir()
    if left == "old":
        (staging / left).mkdir()
    elif left:
        (staging / left).parent.mkdir(exist_ok=True)
        (staging / left).write_text("agreement" if left == "place.txt" else "{}")
    StudyStore.reopen(store.path.parent)
    assert plain(store)["agreement/agreement"].values.tolist() == [1.0, 1.0]
    assert [file.name for file in store.path.parent.iterdir()] == [RESULTS]


def test_what_a_live_process_uses_stays(store: StudyStore) -> None:
    """A null's scratch folder, a group that another process is writing, a chunk of a synthesis."""
    folder = store.path.parent
    ready, go = folder / "ready", folder / "go"
    if not (child := os.fork()):
        status = 1
        try:
            with claims.work(folder), owners.scratch(folder, STAGED) as scratch:
                (scratch / "input").write_bytes(b"1")
                (store.path / "stimuli" / "0.abc.partial").write_bytes(b"half")
                ready.touch()
                while not go.exists():
                    time.sleep(0.01)
                kept = (scratch / "input").exists() and (store.path / "stimuli" / "0.abc.partial").exists()
                status = 0 if kept else 1
        finally:
            os._exit(status)
    try:
        while not ready.exists():
            time.sleep(0.01)
        StudyStore.reopen(folder).add("agreement", added())
        store.remove("agreement")
    finally:
        go.touch()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    StudyStore.reopen(folder)
    assert not list(store.path.rglob("*.partial"))


def test_many_that_add_at_once_lose_nothing(store: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_WARN_SECONDS", 600.0)  # on a busy machine some wait long
    names = [f"evaluator{number}" for number in range(5)]
    children = []
    for name in names:
        if not (child := os.fork()):
            status = 1
            try:
                StudyStore.reopen(store.path.parent).add(name, added())
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 5
    for tree in (plain(store), open_study(store.path)):
        for name in names:
            assert tree[f"{name}/agreement"].values.tolist() == [1.0, 1.0]
            assert tree[f"{name}/layer"].values.tolist() == LAYERS
    assert [file.name for file in store.path.parent.iterdir()] == [RESULTS]


def test_of_two_that_create_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the other is done between the first look and the last step."""
    clear = store_module.clear_leftovers
    monkeypatch.setattr(store_module, "clear_leftovers", lambda folder: (clear(folder), (folder / RESULTS).mkdir()))
    with pytest.raises(MetameryError, match="already holds results"):
        StudyStore.create(tmp_path, groups(), {})
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


# Names


@pytest.mark.parametrize(
    "path",
    [
        "stimuli", "models", "Models", "STIMULI", "models/tiny", "models/tiny/metamers", "models/tiny/match",
        "models/tiny/Stimuli", "stimuli/more", "zarr.json", "results.zarr", "..", "../x", ".hidden", "__x", "", "a//b",
        "a/zarr/../b", "x" * 300, "ﬁt", "a b",
    ],
)  # fmt: skip
def test_a_study_s_own_groups_are_neither_replaced_nor_removed(store: StudyStore, path: str) -> None:
    before = {str(file): file.read_bytes() for file in store.path.parent.rglob("*") if file.is_file()}
    for change in (lambda: store.add(path, added()), lambda: store.remove(path)):
        with pytest.raises(MetameryError, match=r"belongs to the study itself|cannot name a group"):
            change()
    assert {str(file): file.read_bytes() for file in store.path.parent.rglob("*") if file.is_file()} == before


def test_names_that_differ_in_case_alone_are_refused(store: StudyStore) -> None:
    store.add("agreement", added())
    with pytest.raises(MetameryError, match="'Agreement' and 'agreement' differ only in case"):
        store.add("Agreement", added())
    with pytest.raises(MetameryError, match="'Number' and 'number' differ only in case"):
        store.add("other", xr.Dataset(dict.fromkeys(("number", "Number"), ((), 1.0, SAID))))


@pytest.mark.parametrize("name", ["zarr.json", "Zarr.JSON", "a/b", "/", "", ".", "..", ".x", "__x", "x" * 300, 3])
def test_variables_that_cannot_be_files_are_refused(store: StudyStore, name: Any) -> None:
    with pytest.raises(MetameryError, match=r"^variable .*expected a name"):
        store.add("other", xr.Dataset({name: ((), 1.0, SAID)}))
    with pytest.raises(MetameryError, match=r"^variable .*expected a name"):
        store.add("other", xr.Dataset({"n": ((), 1.0, SAID)}, {name: 1.0}))
    assert store.children() == ["models", "stimuli"]


# Reading while others write


def test_a_reader_reads_again_where_a_group_was_replaced_meanwhile(store: StudyStore) -> None:
    """An array of another shape was there when it looked, as of a history that grows."""
    store.add("agreement", added())
    readings = []

    def read() -> list[float]:
        with open_study(store.path) as tree:
            if not readings:
                more = xr.Dataset({"agreement": ("layer", np.ones(3), SAID)}, {"layer": ["a", "b", "c"]})
                store.add("agreement", more)
            readings.append(1)
            if len(readings) == 1:
                raise ValueError("cannot reshape array of size 3 into shape (2,)")
            return tree["agreement/agreement"].values.tolist()

    assert steady([store.path.parent], read) == [1.0, 1.0, 1.0]
    assert len(readings) == 2


def test_a_reader_s_own_error_is_not_hidden(store: StudyStore) -> None:
    with pytest.raises(ValueError, match="mine"):
        steady([store.path], lambda: (_ for _ in ()).throw(ValueError("mine")))


def test_what_was_opened_is_read_though_it_is_replaced(store: StudyStore) -> None:
    store.add("agreement", added())
    tree = open_study(store.path)
    store.add("agreement", xr.Dataset({"agreement": ("layer", np.ones(3), SAID)}, {"layer": ["a", "b", "c"]}))
    assert tree["agreement/agreement"].values.tolist() == [1.0, 1.0]
    store.remove("agreement")
    assert tree["agreement/layer"].values.tolist() == LAYERS


def test_readers_beside_a_writer_see_whole_groups(store: StudyStore) -> None:
    store.add("history", added())
    if not (child := os.fork()):
        status = 1
        try:
            for size in range(2, 20):
                values = {"agreement": ("epoch", np.ones(size), SAID)}
                store.add("history", xr.Dataset(values, {"epoch": np.arange(size)}))
            status = 0
        finally:
            os._exit(status)
    ended, seen = 0, []
    while not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        seen.append(open_study(store.path)["history/agreement"].size)
    assert status == 0
    assert seen[-1] == 19
    assert seen == sorted(seen)


def test_a_full_disk_is_said_in_one_line(store: StudyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", fail)
    with pytest.raises(MetameryError, match=r"cannot write to '.*study': No space left on device"):
        store.write(METAMERS, REGION, {"signal": 0.0})


# Opening what is there


def test_a_newer_schema_is_refused_with_what_to_do(store: StudyStore) -> None:
    root = zarr.open_group(store.path, mode="r+")
    for version, said in ((SCHEMA_VERSION + 1, f"has schema {SCHEMA_VERSION + 1}; .* install a newer one"), ("x", "x")):
        root.attrs["schema_version"] = version
        for read in (open_study, StudyStore.reopen):
            with pytest.raises(MetameryError, match=said):
                read(store.path.parent)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"zarr_format": 3, "node_type": "group"}', '{"zarr_format": 2}', '{"node_type": 1}']
)
def test_what_is_no_study_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RESULTS).mkdir()
    (tmp_path / RESULTS / "zarr.json").write_text(content)
    with pytest.raises(MetameryError, match="does not hold the results of a study"):
        open_study(tmp_path)


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / RESULTS):
        with pytest.raises(MetameryError, match=r"no results in .*expected a study's folder"):
            open_study(path)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MetameryError, match=r"cannot write to '.*file/study'"):
        StudyStore.create(tmp_path / "file" / "study", groups(), {})
    with pytest.raises(MetameryError, match=r"cannot write to '.*file'"):
        StudyStore.create(tmp_path / "file", groups(), {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path, store: StudyStore) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(MetameryError, match="cannot write to"):
        StudyStore.create(locked / "study", groups(), {})
    store.path.chmod(0o500)
    with pytest.raises(MetameryError, match="permission denied"):
        StudyStore.reopen(store.path.parent)


def test_a_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        StudyStore.create(tmp_path, groups(), {}, {"stimuli": {"nothing": np.zeros(3)}})
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_removed(store: StudyStore) -> None:
    folder = store.path.parent
    (folder / "mine.partial").write_text("not ours")
    left = [folder / f".{RESULTS}.abc" / RESULTS, store.path / METAMERS / "signal" / "c"]
    for place in left:
        place.mkdir(parents=True, exist_ok=True)
    (left[1] / "0.123abc.partial").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    xr.testing.assert_identical(open_study(folder).load(), plain(store).load())
    StudyStore.reopen(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.partial", "notes.txt", RESULTS]
    assert not list(store.path.rglob("*.partial"))


def test_a_group_that_was_added_just_before_its_writer_was_killed_is_seen(store: StudyStore) -> None:
    added().drop_vars("layer").to_zarr(store.path / "agreement", zarr_format=3, consolidated=False)
    assert "agreement" not in plain(store)  # the metadata that plain xarray reads first is stale
    assert "agreement" in open_study(store.path)
    StudyStore.reopen(store.path.parent)
    assert "agreement" in plain(store)


def test_what_a_writer_killed_while_creating_left_is_removed_too(tmp_path: Path) -> None:
    (tmp_path / f".{RESULTS}.abc" / RESULTS).mkdir(parents=True)
    StudyStore.create(tmp_path, groups(), {})
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


def test_creating_over_a_study_is_refused(store: StudyStore) -> None:
    store.write(METAMERS, REGION, {"state": 1})
    with pytest.raises(MetameryError, match="already holds results"):
        StudyStore.create(store.path.parent, groups(), {})
    assert (store.read(METAMERS, "state") == 1).sum() == 2
    assert [path.name for path in store.path.parent.iterdir()] == [RESULTS]


def test_what_is_read_can_be_plotted_over_its_names(store: StudyStore) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    store.write(METAMERS, REGION, {"steps": np.array([[[3], [4]]])})
    steps = open_study(store.path.parent)[METAMERS]["steps"].isel(seed=1)
    assert steps["stimulus"].values.tolist() == STIMULI
    steps.plot()
    assert steps.where(steps > 0, drop=True)["layer"].values.tolist() == ["output"]
    pyplot.close("all")


@pytest.mark.parametrize("action", ["add", "remove"])
def test_a_reader_sees_no_stale_groups_while_some_come_and_go(
    store: StudyStore, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    dataset = xr.Dataset({"number": ((), 1.0, {"long_name": "a number", "units": "1"})})
    if action == "remove":
        store.add("more", dataset)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("metamery.framework.store.consolidate", killed)
        with pytest.raises(KeyboardInterrupt):
            store.add("more", dataset) if action == "add" else store.remove("more")
    with pytest.warns(RuntimeWarning, match="successfully read with non-consolidated metadata"):
        seen = plain(store)
    assert ("more" in seen.children) is (action == "add")
    assert seen.identical(open_study(store.path))
    StudyStore.reopen(store.path.parent)
    assert plain(store).identical(seen)  # and without the warning


def test_a_file_that_a_killed_writer_left_beside_the_store_is_removed(store: StudyStore) -> None:
    folder = store.path.parent
    left = folder / f"{STAGED}study"  # as while study.toml is written
    left.write_text("stimuli = ", encoding="utf-8")
    before = plain(store)
    StudyStore.reopen(folder)
    assert not left.exists()
    assert plain(store).identical(before)
