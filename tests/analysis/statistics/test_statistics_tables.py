"""Tables of recognition, and the prediction of people by other models, on small invented tables."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.statistics import (
    correlate,
    other_model_prediction,
    read_participants,
    read_recognition,
    repeated_measures_anova,
    select_models,
    select_observers,
)
from metamery.framework import MetameryError
from metamery.framework.schema import check_dataset

Row = dict[str, object]
LAYERS = {"net": ["natural", "b", "a"], "other": ["natural", "x", "y"], "third": ["natural", "b", "a", "c"]}


def score(*parts: object) -> float:
    return round(np.random.default_rng([ord(letter) for letter in "/".join(map(str, parts))]).random(), 6)


def participant_rows() -> list[Row]:
    """Experiment 1 has two models and three people; experiment 2 has one of them, another, and four people."""
    rows = []
    for experiment, names, people in (("1", ["net", "other"], 3), ("2", ["net", "third"], 4)):
        for name in names:
            for person in range(people):
                for index, layer in enumerate(LAYERS[name]):
                    rows.append(
                        {
                            "modality": "vision",
                            "experiment": experiment,
                            "model": name,
                            "participant": person,
                            "stage": layer,
                            "stage_index": index,
                            "human": score(experiment, name, person, layer),
                            "network": score(experiment, name, person, layer, "network"),
                        }
                    )
    return rows


def recognition_rows() -> list[Row]:
    return [
        {
            "modality": "vision",
            "generating_model": name,
            "evaluating_model": other,
            "stage": layer,
            "proportion_correct": 1.0 if other == name else score(name, layer, other),
            "n_metamers": 400,
        }
        for name, layers in LAYERS.items()
        for layer in [*layers[1:], "unseen"]
        for other in [*LAYERS, "fourth", "fifth"]
    ]


def write(folder: Path, rows: list[Row]) -> Path:
    path = folder / f"table{len(list(folder.iterdir()))}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def people(tmp_path: Path) -> xr.Dataset:
    return read_participants(write(tmp_path, participant_rows()[::-1]))


def test_participants_are_where_they_were(people: xr.Dataset) -> None:
    check_dataset(people)
    assert people.sizes == {"participant": 7, "site": 3 + 3 + 3 + 4}
    there = people.human.sel(participant="vision/2/1", site="vision/2/net/b")
    assert there.item() == score("2", "net", 1, "b")
    assert (there.model.item(), there.layer.item(), there.stage_index.item()) == ("net", "b", 1)
    assert np.isnan(people.human.sel(participant="vision/1/1", site="vision/2/net/b"))


def test_observers_and_models_come_in_the_order_of_stages(people: xr.Dataset) -> None:
    both = select_observers(people, "vision", "2", "third")
    assert both.dims == ("recogniser", "participant", "layer")
    assert both.layer.values.tolist() == LAYERS["third"]
    assert both.sel(recogniser="network", participant="vision/2/3", layer="a") == score("2", "third", 3, "a", "network")
    two = select_models(people, "vision", "1", ["other", "net"])
    assert two.dims == ("model", "participant", "layer")
    assert two.sel(model="net", participant="vision/1/2", layer="y") == score("1", "net", 2, "a")
    assert np.isfinite(repeated_measures_anova(two).F).all()


def test_what_is_not_in_the_table(people: xr.Dataset) -> None:
    for call, message in (
        (lambda: select_observers(people, "visoin", "1", "net"), "unknown modality 'visoin'; did you mean 'vision'"),
        (lambda: select_observers(people, "vision", "3", "net"), "unknown experiment '3'"),
        (lambda: select_observers(people, "vision", "1", "third"), "unknown model 'third'.* Known: net, other"),
        (lambda: select_models(people, "vision", "1", ["net", "net"]), "expected each once"),
        (lambda: select_models(people, "vision", "2", ["net", "third"]), "'third' has 4 stages, 'net' has 3"),
    ):
        with pytest.raises(MetameryError, match=message):
            call()


def changed(place: int, **values: object) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [*rows[:place], rows[place] | values, *rows[place + 1 :]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [{key: row[key] for key in row if key != "human"} for row in rows], "has no column 'human'; exp"),
        (lambda rows: rows[:4] + rows[5:], "model 'net', participant '1' has no stage 'b': not balanced"),
        (lambda rows: [*rows, rows[3]], "line 48: participant '1' has this stage twice"),
        (changed(4, human="nan"), "line 6: 'human' is 'nan', expected a number from 0 to 1"),
        (changed(4, network=1.5), "line 6: 'network' is '1.5', expected a number from 0 to 1"),
        (changed(4, human=""), "line 6: 'human' is empty"),
        (changed(4, stage_index="one"), "'stage_index' is 'one', expected a whole number"),
        (changed(4, stage_index=2), "line 6: stage 'b' had index 1 before"),
    ],
)
def test_bad_tables(tmp_path: Path, change: Callable[[list[Row]], list[Row]], message: str) -> None:
    with pytest.raises(MetameryError, match=message):
        read_participants(write(tmp_path, change(participant_rows())))


def test_bad_files(tmp_path: Path) -> None:
    same = [row | {"stage_index": min(int(str(row["stage_index"])), 1)} for row in participant_rows()]
    with pytest.raises(MetameryError, match="stages 'b' and 'a' have the same index"):
        read_participants(write(tmp_path, same))
    with pytest.raises(MetameryError, match="is a folder, expected a CSV table"):
        read_participants(tmp_path)
    with pytest.raises(MetameryError, match=r"cannot read .*missing\.csv"):
        read_participants(tmp_path / "missing.csv")
    (tmp_path / "empty.csv").write_text("modality,generating_model,evaluating_model,stage,proportion_correct\n")
    with pytest.raises(MetameryError, match="has no rows"):
        read_recognition(tmp_path / "empty.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MetameryError, match="as CSV"):
        read_recognition(tmp_path / "binary.csv")
    rows = recognition_rows()
    with pytest.raises(MetameryError, match="this pair of models has stage 'b' twice"):
        read_recognition(write(tmp_path, [*rows, rows[0]]))


@pytest.mark.parametrize("by_experiment", [False, True])
def test_points_are_means_over_people_and_over_other_models(
    people: xr.Dataset, tmp_path: Path, by_experiment: bool
) -> None:
    recognised = read_recognition(write(tmp_path, recognition_rows()))
    assert recognised.sizes == {"recogniser": 5, "site": 10}
    found = other_model_prediction(
        people, recognised, "vision", generator=np.random.default_rng(0), splits=50, by_experiment=by_experiment
    )
    check_dataset(found)
    assert found.points == found.sizes["site"] == (9 if by_experiment else 7)  # neither natural nor unseen
    of_net = {
        experiment: [score(experiment, "net", person, "b") for person in range(count)]
        for experiment, count in (("1", 3), ("2", 4))
    }
    seen = found.sel(site="net/b/2" if by_experiment else "net/b")
    everyone = of_net["2"] if by_experiment else of_net["1"] + of_net["2"]
    assert seen.participants == len(everyone)
    assert seen.human.item() == pytest.approx(np.mean(everyone))
    others = [score("net", "b", other) for other in ("other", "third", "fourth", "fifth")]
    assert seen.other_models.item() == pytest.approx(np.mean(others))
    for measure in ("pearson", "spearman"):
        expected = correlate(found.human.values, found.other_models.values, measure)
        assert found.correlation.sel(metric=measure).item() == pytest.approx(expected)


def test_people_who_do_as_models_do_reach_the_ceiling(tmp_path: Path) -> None:
    """With noise of their own only: the correlation is the ceiling, within what chance allows."""
    truth = {(name, layer): score(name, layer) for name, layers in LAYERS.items() for layer in layers}
    generator = np.random.default_rng(0)

    def near(row: Row, name: str) -> float:
        return float(
            np.clip(0.1 + 0.8 * truth.get((str(row[name]), str(row["stage"])), 0.5) + generator.normal() / 50, 0, 1)
        )

    seen = [row | {"human": near(row, "model")} for row in participant_rows()]
    recognised = [row | {"proportion_correct": near(row, "generating_model")} for row in recognition_rows()]
    found = other_model_prediction(
        read_participants(write(tmp_path, seen)),
        read_recognition(write(tmp_path, recognised)),
        "vision",
        generator=np.random.default_rng(0),
        splits=50,
    )
    assert found.corrected.sel(metric="pearson").item() == pytest.approx(1, abs=0.01)


def test_what_cannot_be_predicted(people: xr.Dataset, tmp_path: Path) -> None:
    rows = recognition_rows()
    options = {"generator": np.random.default_rng(0)}
    with pytest.raises(MetameryError, match="unknown modality 'audio'"):
        other_model_prediction(people, read_recognition(write(tmp_path, rows)), "audio", **options)
    few = read_recognition(write(tmp_path, [row for row in rows if row["stage"] == "x"]))
    with pytest.raises(MetameryError, match="share 1 stages of models"):
        other_model_prediction(people, few, "vision", **options)
    own = read_recognition(write(tmp_path, [row for row in rows if row["generating_model"] == row["evaluating_model"]]))
    with pytest.raises(MetameryError, match="given to no other model"):
        other_model_prediction(people, own, "vision", **options)
