"""What is lost or damaged on the disk is noticed, said in a line, and made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from metamery.analysis.studies.damage import damages
from metamery.analysis.studies.run_study import run_study
from metamery.framework import MetameryError, Plugins, Study, open_study
from metamery.framework.schema import STATES
from metamery.framework.store import RESULTS
from metamery.framework.study import ModelReference, Reference

KEY = "models/tiny.py+build"
TINY = """
import torch
from metamery.framework import ImageDomain, Model


def build() -> Model:
    torch.manual_seed(0)
    parts = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    network = torch.nn.Sequential(*parts)
    return Model(network.eval(), ImageDomain(3, 8, 8), ["1", "output"], ["cat", "dog", "owl"])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> tuple[Study, Path]:
    """A finished study of 2 layers, 5 stimuli in batches of 2, and one seed."""
    root = tmp_path_factory.mktemp("damage")
    pictures = drawn(root / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    (root / "tiny.py").write_text(TINY, encoding="utf-8")
    study = Study(
        models=(ModelReference(f"{root / 'tiny.py'}:build", ("1", "output")),),
        stimuli=Reference("folder", {"path": str(pictures)}),
        synthesis={"preset": "fast", "steps": 2, "batch_size": 2},
    )
    run_study(study, root / "study", Plugins())
    return study, root / "study"


@pytest.fixture
def study(made: tuple[Study, Path]) -> Study:
    return made[0]


@pytest.fixture
def whole(made: tuple[Study, Path]) -> Path:
    return made[1]


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "study"))


def contents(folder: Path) -> dict[str, Any]:
    """Every array by its path, as bytes or texts."""
    found = {}
    for node in open_study(folder).subtree:
        for name, variable in node.dataset.variables.items():
            values = variable.values
            found[f"{node.path}/{name}"] = values.tolist() if values.dtype.kind in "OTU" else values.tobytes()
    return found


def chunk(folder: Path, array: str, first: bool = True) -> Path:
    files = sorted(file for file in (folder / RESULTS / array / "c").rglob("*") if file.is_file())
    return files[0 if first else -1]


def lose(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    """Change a bit of what is stored, not of the frame around it."""
    data = bytearray(file.read_bytes())
    data[-6] ^= 1
    file.write_bytes(data)


METAMERS = [
    ("metamers/signal", lose),
    ("metamers/signal", cut),
    ("metamers/signal", empty),
    ("metamers/signal", flip),
    ("metamers/loss", lose),
    ("metamers/loss", flip),
    ("metamers/steps", lose),
    ("metamers/state", cut),
    ("metamers/state", lose),
    ("match/match", lose),
    ("match/match", cut),
    ("match/quantised_match", lose),
    ("match/agrees", lose),
    ("match/predicted", cut),
    ("match/quantised_agrees", empty),
    ("match/margin", cut),
    ("match/success", lose),
    ("stimuli/predicted", lose),
    ("stimuli/confidence", cut),
    ("metamers/modified_relu", cut),
    ("metamers/modified_relu", lose),
]


@pytest.mark.parametrize(("array", "damage"), METAMERS, ids=lambda value: getattr(value, "__name__", str(value)))
@pytest.mark.filterwarnings("ignore:.* was damaged:UserWarning")
def test_the_same_command_mends_it_bit_for_bit(
    study: Study, whole: Path, folder: Path, array: str, damage: Callable[[Path], None]
) -> None:
    damage(chunk(folder, f"{KEY}/{array}"))
    run_study(study, folder, Plugins())
    assert contents(folder) == contents(whole)


def test_it_says_how_many_are_made_again(study: Study, folder: Path) -> None:
    chunk(folder, f"{KEY}/metamers/signal", first=False).unlink()  # the last stimulus, alone in its batch
    chunk(folder, f"{KEY}/metamers/loss").unlink()
    assert damages(folder)["tiny.py+build"].lost == 3
    with pytest.warns(
        UserWarning, match=r"was damaged: 3 metamers of 'tiny.py:build' that were done are lost or incomplete"
    ):
        run_study(study, folder, Plugins())
    assert damages(folder)["tiny.py+build"].lost == 0


def test_values_that_are_not_finite_are_no_metamer(study: Study, whole: Path, folder: Path) -> None:
    group = zarr.open_group(folder / RESULTS / KEY, mode="r+", use_consolidated=False)
    group["metamers/signal"][1, 2, 0, 1, 3, 4] = np.inf
    group["metamers/loss"][0, 4, 0, 1] = np.nan
    with pytest.warns(UserWarning, match="2 metamers of"):
        run_study(study, folder, Plugins())
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize(
    ("array", "damage"), [("maximum", lose), ("quantiles", cut), ("first", lose), ("histogram", lose)]
)
def test_a_null_that_is_not_whole_is_measured_again(
    study: Study, whole: Path, folder: Path, array: str, damage: Callable[[Path], None]
) -> None:
    damage(chunk(folder, f"{KEY}/null/{array}"))
    with pytest.warns(UserWarning, match="the null of 'tiny.py:build' is lost or incomplete; the study's command"):
        run_study(study, folder, Plugins())
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize("damage", [lose, cut])
def test_natural_signals_cannot_be_mended(
    study: Study, folder: Path, damage: Callable[[Path], None], command: Any
) -> None:
    damage(chunk(folder, f"{KEY}/stimuli/signal", first=False))
    said = "the natural signals of 'owl/a' of 'tiny.py:build' are lost"
    with pytest.raises(MetameryError, match=said):
        run_study(study, folder, Plugins())
    assert said in command("evaluate", "agreement", folder).error


READERS = {
    "report": lambda folder: ["report", folder],
    "export": lambda folder: ["export", folder, "-o", folder.with_name("files")],
    "evaluate": lambda folder: ["evaluate", "agreement", folder],
    "compare": lambda folder: ["compare", folder, folder.with_name("other"), "-o", folder.with_name("comparison")],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.filterwarnings("default")
def test_readers_say_in_a_line_what_is_lost(folder: Path, whole: Path, reader: str, command: Any) -> None:
    shutil.copytree(whole, folder.with_name("other"))
    lose(chunk(folder, f"{KEY}/metamers/signal"))
    said = command(*READERS[reader](folder))
    assert said.status == 0
    line = "is damaged: 2 metamers of 'tiny.py:build' that were done are lost or incomplete; the study's command makes"
    assert f"warning: '{folder}' {line}" in said.err


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "array", [f"{KEY}/metamers/signal", f"{KEY}/match/match", f"{KEY}/match/stimulus", "stimuli/source"]
)
def test_readers_say_in_a_line_what_cannot_be_read(
    folder: Path, whole: Path, array: str, reader: str, command: Any
) -> None:
    shutil.copytree(whole, folder.with_name("other"))
    cut(chunk(folder, array))
    said = command(*READERS[reader](folder))
    assert said.status == 2
    assert "is damaged" in said.error


@pytest.mark.filterwarnings("default")
def test_lost_metamers_count_for_no_evaluator(folder: Path, command: Any) -> None:
    lose(chunk(folder, f"{KEY}/metamers/signal"))
    assert command("evaluate", "recognition", folder, "--set", "resamples=2").status == 0
    correct = open_study(folder)["recognition/correct"].sel(site="tiny.py:build 1", recogniser="tiny.py:build")
    assert (correct.values[:2] == -1).all()
    assert (correct.values[2:] >= 0).all()


def test_an_unbroken_study_is_whole(whole: Path) -> None:
    (damage,) = damages(whole).values()
    assert (damage.lost, damage.natural, damage.null, damage.unreadable) == (0, [], False, [])
    assert (damage.state == STATES["done"]).all()
