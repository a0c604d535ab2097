"""Studies of joint layers and of several networks: made, resumed, reported, evaluated and exported by commands."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metamery.framework import open_study
from metamery.framework.schema import VERDICTS

Command = Callable[..., Any]


@pytest.fixture
def synthesise(command: Command, pictures: Path, tmp_path: Path) -> Command:
    def run(*models: str, layers: str, more: tuple[object, ...] = ()) -> Any:
        fixed = ("--stimuli", pictures, "-o", tmp_path / "study", "--steps", 3, "--batch-size", 2, "--layers", layers)
        return command("synthesise", *models, *fixed, *more)

    return run


def test_a_study_of_a_joint_layer_is_made_reported_and_resumed(
    synthesise: Command, command: Command, tiny: str, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    said = synthesise(tiny, layers="1,1  +  0.50 output")
    assert said.status == 0, said.err
    with open_study(study) as tree:
        (group,) = tree.load()["models"].children.values()
    match = group["match"]
    assert match["layer"].values.tolist() == ["1", "1 + 0.5 output"]
    assert group["null"]["layer"].values.tolist() == ["1", "1 + 0.5 output", "output"]
    at_terms = match["term_matches"].sel(layer="1 + 0.5 output")
    assert {*at_terms.sel(measured_layer=["1", "output"]).values.flat} <= {VERDICTS["no"], VERDICTS["yes"], 2}
    assert (match["term_matches"].sel(layer="1", measured_layer="output") == VERDICTS["missing"]).all()
    assert np.isfinite(match["quantised_term_match"].sel(layer="1 + 0.5 output", measured_layer="output")).all()
    assert "Joint layers, term by term" in (study / "report.html").read_text(encoding="utf-8")
    assert "1 + 0.5 output" in said.out
    again = synthesise(tiny, layers="1,1  +  0.50 output")
    assert again.status == 0, again.err
    with open_study(study) as tree:
        assert tree.load()["models"].children[group.name].identical(group)
    assert command("export", study, "-o", tmp_path / "out").status == 0
    assert command("evaluate", "agreement", study).status == 0


def test_several_models_are_one_together_and_each_its_own_otherwise(
    synthesise: Command, command: Command, tiny: str, tmp_path: Path
) -> None:
    said = synthesise(tiny, tiny, layers="output,build.1 + build-2.1", more=("--together",))
    assert said.status == 0, said.err
    asked = tomllib.loads((tmp_path / "study" / "study.toml").read_text(encoding="utf-8"))
    assert asked["models"] == [
        {
            "name": "synthesis:together",
            "layers": ["build + build-2", "build.1 + build-2.1"],
            "options": {"models": [tiny, tiny]},
        }
    ]
    with open_study(tmp_path / "study") as tree:
        together = tree.load()["models/synthesis+together"]
    assert command("evaluate", "recognition", tmp_path / "study").status == 0
    other = tmp_path / "other"
    said = synthesise(tiny, tiny, layers="output,1", more=("-o", other))
    assert said.status == 0, said.err
    with open_study(other) as tree:
        first, second = tree.load()["models"].children.values()
    for each in (first, second):  # equal networks: the same metamers, alone and together
        assert np.array_equal(each["metamers/signal"].values, together["metamers/signal"].values)


@pytest.mark.parametrize(
    ("models", "layers", "more", "message"),
    [
        (1, "1", ("--together",), "1 model to be joined, expected at least two"),
        (2, "1", ("--set", "seed=1"), "--set is for one model"),
        (2, "build.1 + nothing.2", ("--together",), "unknown layer 'nothing.2'"),
        (1, "1 + 1", (), "joint layer '1 + 1' has '1' twice"),
    ],
)
def test_mistakes_are_one_line(
    synthesise: Command, tiny: str, models: int, layers: str, more: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    said = synthesise(*[tiny] * models, layers=layers, more=more)
    assert said.status == 2
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in said.err
    assert not (tmp_path / "study" / "results.zarr").exists()
