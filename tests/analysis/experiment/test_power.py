"""Power by simulation: p values are uniform where nothing differs, and effects that are there are found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from answered_experiment import LAYERS, MODEL, small_experiment
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.observers import observe, read_accuracy
from metamery.analysis.experiment.power import power
from metamery.analysis.statistics.decomposition import one_way
from metamery.framework import MetameryError, Plugins
from metamery.framework.cli import make_app
from metamery.framework.schema import check_dataset
from scipy import stats
from typer.testing import CliRunner


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return small_experiment(tmp_path, stimuli=160)


def test_p_is_uniform_where_nothing_differs(key: Key) -> None:
    same = read_accuracy(["0.6"], key)
    found = power(key, 12, same, same, experiments=600, generator=np.random.default_rng(0))
    check_dataset(found)
    for term in found.term.values:
        values = found.p.sel(model=MODEL, term=term).values
        assert stats.kstest(values, "uniform").pvalue > 0.01
        assert found.power.sel(model=MODEL, term=term).item() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 600)


def test_p_of_observers_through_their_records_is_uniform_too(tmp_path: Path) -> None:
    """The slow way: every answer drawn and scored."""
    key = small_experiment(tmp_path, stimuli=120)
    generator = np.random.default_rng(2)
    accuracy = read_accuracy(["0.5"], key)
    layers = ["natural", *LAYERS]
    p_values = []
    for _ in range(200):
        right = np.zeros((1, 6, 4))
        for person, session in enumerate(observe(key, 6, accuracy, generator)):
            for record in session.records:
                item = key.items[record.item]
                if item.role == "main":
                    right[0, person, layers.index(item.layer)] += record.answer == item.answer
        p_values.append(float(one_way(right / 30).p()))
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_an_effect_is_found_more_often_by_more_people(key: Key) -> None:
    people = read_accuracy(["0.6", "output=0.5"], key)
    network = read_accuracy([], key, default=1.0)
    shares = [
        power(key, count, people, network, experiments=200, generator=np.random.default_rng(1)).power.sel(
            model=MODEL, term="layer"
        )
        for count in (4, 24)
    ]
    assert shares[0] < 0.5 < shares[1]
    certain = power(key, 20, network, network, experiments=5, generator=np.random.default_rng(1))
    assert (certain.power == 0).all()
    assert certain.p.isnull().all()


def test_the_command_says_the_power_and_writes_data_that_import_reads(tmp_path: Path, key: Key) -> None:
    given = ["experiment", "simulate", str(tmp_path), "--accuracy", "0.9", "--accuracy", "output=chance"]
    result = CliRunner().invoke(make_app(Plugins()), [*given, "--experiments", "20", "-o", str(tmp_path / "one.jsonl")])
    assert result.exit_code == 0, result.output
    assert "Power with 20 participants, 20 simulated experiments" in result.output
    assert "recogniser:layer" in result.output
    lines = [json.loads(line) for line in (tmp_path / "one.jsonl").read_text().splitlines()]
    assert sum(line["kind"] == "end" for line in lines) == 20
    assert sum(line["kind"] == "record" for line in lines) == 20 * 164


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["0.5", "outptu=1"], "unknown layer 'outptu'; did you mean 'output'"),
        (["output=0.5"], "layer 'natural' has no accuracy"),
        (["1.5"], "accuracy is 1.5, expected a number from 0 to 1"),
        (["high"], "accuracy is 'high', expected a number from 0 to 1"),
        (["none.toml"], "cannot read accuracies from 'none.toml'"),
    ],
)
def test_a_slip_in_an_accuracy_gets_one_line(key: Key, given: list[str], message: str) -> None:
    with pytest.raises(MetameryError, match=message):
        read_accuracy(given, key)


def test_accuracies_from_a_file(tmp_path: Path, key: Key) -> None:
    (tmp_path / "a.toml").write_text('natural = 0.9\nconv1 = 0.8\nconv2 = 0.7\noutput = "chance"\ncatch = 0.95\n')
    found = read_accuracy([str(tmp_path / "a.toml"), "conv1=0.75"], key).by_layer
    assert found == {"natural": 0.9, "conv1": 0.75, "conv2": 0.7, "output": 0.25, "catch": 0.95}
