"""`stop = "verdict"`: metamers leave the batch when their success is settled, and are what a full run had then."""

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis import judge, null_distribution, run_study, synthesise, write_report
from metamery.analysis.proof.measures import NULL_METRICS, snr_db
from metamery.analysis.proof.success import settled_from
from metamery.analysis.synthesis.responses import Responses
from metamery.analysis.synthesis.settling import LOOK_EVERY, Settling
from metamery.framework import MetameryError, Study, open_study, testing
from metamery.framework.study import ModelReference, Reference


def responses(activations, classes, layer="1"):
    return Responses({layer: activations}, classes, np.ones(len(classes)), classes[:, None])


def null_of(*maximum):
    return xr.Dataset({"maximum": (("layer", "metric"), [maximum])}, {"layer": ["1"], "metric": list(NULL_METRICS)})


@pytest.mark.parametrize("maximum", [(0.999, 0.5, 3.0), (0.5, 0.9995, 3.0), (0.5, 0.5, np.inf), (np.nan, 0.5, 3.0)])
def test_nothing_is_settled_where_nothing_can_succeed(maximum):
    assert settled_from(null_of(*maximum), "1") == {}
    assert settled_from(null_of(0.5, 0.5, 3.0), "2") == {}
    classes = np.zeros(2, int)
    originals = responses(torch.rand(2, 9), classes)
    settling = Settling(lambda signals: responses(signals, classes), originals, null_of(*maximum), "1")
    assert settling(LOOK_EVERY, torch.rand(2, 9), torch.ones(2), [0, 1]) == [False, False]


def test_the_margin_is_half_of_what_is_left_unexplained():
    least = settled_from(null_of(0.8, 0.6, 4.0), "1")
    assert least["pearson"] == pytest.approx(0.9)
    assert least["spearman"] == pytest.approx(0.8)
    target, error = torch.randn(2, 1, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smaller = snr_db(target + error / 2**0.5, target) - snr_db(target + error, target)
    assert least["snr_db"] - 4.0 == pytest.approx(float(smaller))  # half the power


def test_two_looks_one_after_the_other_settle_it():
    target = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    classes = np.array([5, 6, 7])
    answers = classes.copy()
    originals, null = responses(target, classes), null_of(0.5, 0.5, 3.0)
    settling = Settling(lambda signals: responses(signals, answers[rows]), originals, null, "1")

    def look(signals, rows):
        assert settling(LOOK_EVERY + 10, signals, torch.ones(len(rows)), rows) == [False] * len(rows)  # no look
        return settling(LOOK_EVERY, signals, torch.ones(len(rows)), rows)

    rows = [0, 1, 2]
    good = target + 0.01
    assert look(good, rows) == [False] * 3  # the first look
    answers[1] = 0
    bad_third = good.clone()
    bad_third[2] = -target[2]
    assert look(bad_third, rows) == [True, False, False]  # another class; no match
    answers[1], rows = 6, [1, 2]
    assert look(good[1:], rows) == [False, False]  # its first look again
    assert look(good[1:], rows) == [True, True]


def test_a_network_without_classes_is_judged_by_the_match_alone():
    target, none = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)), np.empty((1, 0), int)

    def read(signals):
        return Responses({"1": signals}, np.array([-1]), np.ones(1), none)

    settling = Settling(read, read(target), null_of(0.5, 0.5, 3.0), "1")
    assert [settling(LOOK_EVERY, target, torch.ones(1), [0]) for _ in range(2)] == [[False], [True]]


def test_every_term_of_a_joint_layer_has_to_be_settled():
    target = torch.randn(2, 200, generator=torch.Generator().manual_seed(0))
    classes, null = np.array([5, 6]), xr.concat([null_of(0.5, 0.5, 3.0)] * 2, "layer").assign_coords(layer=["1", "2"])

    def read(signals):
        at_2 = torch.stack([signals[0], -signals[1]])
        return Responses({"1": signals, "2": at_2}, classes, np.ones(2), classes[:, None])

    originals = Responses({"1": target, "2": target}, classes, np.ones(2), classes[:, None])
    for layer, expected in (("1 + 2", [True, False]), ("1 - 2", [True, True])):
        settling = Settling(read, originals, null, layer)
        assert [settling(LOOK_EVERY, target, torch.ones(2), [0, 1]) for _ in range(2)][-1] == expected


@pytest.fixture(scope="module")
def screened():
    """The same metamers made in full and screened, and their null."""
    model = testing.example_model()
    stimuli = testing.example_stimuli(model, 6)
    null = null_distribution(model, stimuli, ["1"])
    made = {"steps": 400, "seeds": 2, "batch_size": 3, "seed": 1}
    full = synthesise(model, stimuli, ["1"], **made)
    return full, synthesise(model, stimuli, ["1"], **made, stop="verdict", null=null), null


def test_a_screening_gives_the_same_verdicts_in_fewer_updates(screened):
    full, screening, null = screened
    assert (full.steps == 400).all()
    left = screening.steps.values < 400
    assert left.any()
    assert set(screening.steps.values[left] % LOOK_EVERY) == {0}
    assert (screening.steps.values[left] >= 2 * LOOK_EVERY).all()
    verdicts = judge(screening, null)
    xr.testing.assert_equal(verdicts.quantised_success, judge(full, null).quantised_success)
    assert (verdicts.quantised_success.values[left] == 1).all()
    assert (screening.state == 1).all()


def test_until_it_leaves_a_metamer_is_that_of_a_full_run(screened):
    full, screening, _ = screened
    for index in np.ndindex(screening.steps.shape):
        steps = int(screening.steps.values[index])
        np.testing.assert_allclose(
            screening.loss.values[index][: 2 * LOOK_EVERY + 1], full.loss.values[index][: 2 * LOOK_EVERY + 1], rtol=1e-4
        )
        assert np.isnan(screening.loss.values[index][steps + 1 :]).all()
        assert np.isfinite(screening.loss.values[index][: steps + 1]).all()


def test_without_a_null_it_is_refused(tmp_path):
    model = testing.example_model()
    with pytest.raises(MetameryError, match="stop is 'verdict', which needs a null"):
        synthesise(model, testing.example_stimuli(model), ["1"], steps=5, stop="verdict")
    with pytest.raises(MetameryError, match="unknown stop 'verdit'"):
        synthesise(model, testing.example_stimuli(model), ["1"], steps=5, stop="verdit")
    study = Study(
        models=(ModelReference("audio:coch-cnn-digits", ("relu1",)),),
        stimuli=Reference("audio:spoken-digits", {"limit": 1}),
        synthesis={"steps": 2, "stop": "verdict"},
    )
    with pytest.raises(MetameryError, match="stop is 'verdict', which needs a null"):
        run_study(study, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_study_of_screened_metamers_says_so_and_goes_on(tmp_path):
    study = Study(
        models=(ModelReference("audio:coch-cnn-digits", ("relu1",)),),
        stimuli=Reference("audio:spoken-digits", {"limit": 3}),
        synthesis={"steps": 200, "stop": "verdict"},
    )
    run_study(study, tmp_path)
    with open_study(tmp_path) as tree:
        part = tree["models/audio+coch-cnn-digits"]
        assert part["metamers"].attrs["settings"].count('"stop": "verdict"') == 1
        settled = part["metamers"].steps.values < 200
        assert settled.any()
        assert (part["match"].quantised_success.values[settled] == 1).all()
    assert "stopped when its success was settled (a screening)" in write_report(tmp_path).read_text(encoding="utf-8")
    run_study(study, tmp_path)
