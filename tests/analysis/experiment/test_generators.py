"""What the generating network answers to what people got: the first of three sources that the study has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from answered_experiment import LAYERS, MODEL, small_experiment, small_study
from metamery.analysis.experiment.generators import generator_answers
from metamery.analysis.experiment.key import Key
from metamery.framework import MetameryError, open_study
from metamery.framework.schema import site_coordinates
from metamery.framework.store import StudyStore

STIMULI = 6


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return small_experiment(tmp_path / "experiment", stimuli=STIMULI)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Of a network that gives stimulus n, and its metamers, the class n modulo 3."""
    return small_study(tmp_path / "study", stimuli=STIMULI)


def test_without_right_answers_agreement_counts(study: Path, key: Key) -> None:
    StudyStore.reopen(study).write(f"models/{MODEL.replace(':', '+')}/match", {}, {"quantised_agrees": agrees()})
    found, judged = generator_answers(open_study(study), key)
    assert judged == {MODEL: "agreement"}
    assert (found[found.layer == "natural"].network == 1).all()
    assert len(found) == STIMULI * (1 + len(LAYERS))
    other = found[found.network == 0]
    assert other[["layer", "stimulus", "seed"]].values.tolist() == [["conv2", "s4", 0]]


def agrees() -> np.ndarray:
    values = np.ones((len(LAYERS), STIMULI, 1))
    values[1, 4] = 0
    return values


def test_right_answers_count_by_the_rounded_metamers_class(study: Path, key: Key) -> None:
    right = {f"s{number}": {"imagenet": [number % 3 if number != 1 else 2]} for number in range(STIMULI - 1)}
    predicted = np.tile((np.arange(STIMULI) % 3)[None, :, None], (len(LAYERS), 1, 1))
    predicted[2, 3] = 1
    predicted[0, 0] = -1
    StudyStore.reopen(study).write(f"models/{MODEL.replace(':', '+')}/match", {}, {"quantised_predicted": predicted})
    tree = open_study(study)
    tree.attrs["answers"] = json.dumps(right)
    found, judged = generator_answers(tree, key)
    assert judged == {MODEL: "classes"}
    table = found.set_index(["layer", "stimulus"]).network
    assert table["natural"].to_dict() == {"s0": 1, "s1": 0, "s2": 1, "s3": 1, "s4": 1}
    assert table["conv1"].to_dict() == {"s1": 0, "s2": 1, "s3": 1, "s4": 1}
    assert table["output"].to_dict() == {"s0": 1, "s1": 0, "s2": 1, "s3": 0, "s4": 1}


def test_results_of_recognition_come_first(study: Path, key: Key) -> None:
    sites = [(MODEL, layer) for layer in ("natural", *LAYERS)]
    names = [f"s{number}" for number in range(STIMULI)]
    values = np.zeros((len(sites), 2, STIMULI, 1), np.int8)
    values[:, 1] = 1
    values[2, 1, 3] = -1
    about = {"long_name": "whether the recogniser's answer is right", "units": "1"}
    StudyStore.reopen(study).add(
        "recognition",
        xr.Dataset(
            {"correct": (("site", "recogniser", "stimulus", "seed"), values, about)},
            {**site_coordinates(sites), "recogniser": ["other", MODEL], "stimulus": names, "seed": [0]},
        ),
    )
    found, judged = generator_answers(open_study(study), key)
    assert judged == {MODEL: "recognition"}
    assert (found.network == 1).all()
    assert len(found) == STIMULI * len(sites) - 1


def test_another_studys_layer_is_refused(tmp_path: Path, study: Path) -> None:
    key = small_experiment(tmp_path / "other", stimuli=STIMULI, layers=["conv1", "conv3"])
    with pytest.raises(MetameryError, match="not of this study: unknown layer 'conv3'; did you mean 'conv2'"):
        generator_answers(open_study(study), key)
