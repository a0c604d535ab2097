"""Pickles read as data: what they describe comes out, and nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework.pickled import Global, Inert, NotReadableError, read_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_out_as_pickle_itself_reads_them(value: Any, protocol: int) -> None:
    assert read_pickle(io.BytesIO(pickle.dumps(value, protocol))) == value


class Payload:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_payload_does_not_run(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"a": Payload(tmp_path / "made"), "b": 1}, protocol)
    found = read_pickle(io.BytesIO(content))
    assert not (tmp_path / "made").exists()
    assert found["b"] == 1
    assert isinstance(found["a"], Inert)
    assert found["a"].function.name == "mkdir"
    pickle.loads(content)
    assert (tmp_path / "made").exists()


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_objects_keep_their_state_and_subclasses_of_containers_their_items() -> None:
    class Named(dict[str, int]):
        pass

    globals()["Named"], Named.__qualname__ = Named, "Named"
    found = read_pickle(io.BytesIO(pickle.dumps([Point(3), Named(a=1)])))
    assert found[0].function == Global(__name__, "Point")
    assert found[0].state == {"x": 3}
    assert found[1].items == [("a", 1)]


def test_ordered_and_default_dictionaries_and_sets_are_containers() -> None:
    value = [OrderedDict(a=1), defaultdict(list, b=2), {3}, frozenset({4})]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert read_pickle(io.BytesIO(pickle.dumps(value, protocol))) == [{"a": 1}, {"b": 2}, {3}, {4}]


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read(content: bytes) -> None:
    with suppress(NotReadableError):
        read_pickle(io.BytesIO(content))


@given(st.data())
def test_a_damaged_pickle_is_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps({"a": [1, (2.0, "x")], "b": Point(1)}))
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] = data.draw(st.integers(0, 255))
    with suppress(NotReadableError):
        read_pickle(io.BytesIO(bytes(content)))


def test_claims_of_memory_are_not_taken_at_their_word() -> None:
    for content in (b"\x80\x04\x8e" + (2**40).to_bytes(8, "little"), b"\x80\x04Nr\xff\xff\xff\x7f."):
        with suppress(NotReadableError):
            assert read_pickle(io.BytesIO(content)) is None  # an index in the memo is no length
