"""`metamery statistics`, on invented tables."""

import numpy as np
import pytest
from metamery.analysis.statistics import (
    mixed_anova,
    read_participants,
    repeated_measures_anova,
    select_models,
    select_observers,
)
from metamery.framework import open_study
from scipy import stats


@pytest.fixture
def tables(tmp_path):
    """People who are worse at later stages, and worst with `net`; other models on the same metamers."""
    generator = np.random.default_rng(0)
    people = ["modality,experiment,model,participant,stage,stage_index,human,network"]
    models = ["modality,generating_model,evaluating_model,stage,proportion_correct"]
    for model, loss in (("net", 0.25), ("robust", 0.1)):
        for index, stage in enumerate(("natural", "early", "late")):
            for participant in range(6):
                human = 0.9 - loss * index + generator.uniform(-0.05, 0.05)
                row = ("vision", 1, model, participant, stage, index, human, 0.95 + generator.uniform(-0.05, 0.05))
                people.append(",".join(map(str, row)))
            for other in ("net", "robust", "third", "fourth"):
                share = 0.8 - loss * index + generator.uniform(-0.02, 0.02)
                models.append(f"vision,{model},{other},{stage},{share}")
    files = tmp_path / "people.csv", tmp_path / "models.csv"
    for file, rows in zip(files, (people, models), strict=True):
        file.write_text("\n".join(rows), encoding="utf-8")
    return files


def test_it_says_and_keeps_what_the_table_says(command, tables, tmp_path):
    people, models = tables
    given = ("--recognition", models, "--models", "net,robust", "--shuffles", 99, "-o", tmp_path / "out")
    said = command("statistics", people, *given)
    assert said.status == 0, said.err
    assert "People on net, robust" in said.out
    tree = open_study(tmp_path / "out")
    found = tree["observers"].to_dataset()
    assert found.model.values.tolist() == ["vision 1 net", "vision 1 robust"]
    alone = mixed_anova(select_observers(read_participants(people), "vision", "1", "net"))
    np.testing.assert_allclose(found.F.sel(model="vision 1 net"), alone.F)
    compared = repeated_measures_anova(select_models(read_participants(people), "vision", "1", ["net", "robust"]))
    np.testing.assert_allclose(tree["between_models"].to_dataset().F.isel(model=0), compared.F)
    assert (tree["between_models"].to_dataset().p_permutation.sel(term="model:layer") < 0.1).all()
    assert tree["prediction_vision"].to_dataset().correlation.sel(metric="pearson").item() > 0.9
    assert "Recognition by people and by other models: vision" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_chosen_stages_and_people_alone(command, tables, tmp_path):
    said = command("statistics", tables[0], "--without", "late", "--shuffles", 19, "-o", tmp_path / "out")
    assert said.status == 0, said.err
    tree = open_study(tmp_path / "out")
    assert (tree["observers"].to_dataset().df_effect.sel(term="layer") == 1).all()
    alone = tree["stages"].to_dataset()
    assert alone.attrs["without"] == ["late"]
    two = select_observers(read_participants(tables[0]), "vision", "1", "net").isel(recogniser=0, layer=[0, 1])
    t = stats.ttest_rel(*two.transpose("layer", "participant").values)
    np.testing.assert_allclose(alone.F.sel(model="vision 1 net").item(), t.statistic**2)
    chosen = command("statistics", tables[0], "--stages", "natural,early", "--shuffles", 19, "-o", tmp_path / "other")
    assert chosen.status == 0, chosen.err
    np.testing.assert_allclose(open_study(tmp_path / "other")["stages"].to_dataset().F, alone.F)


def test_a_table_of_people_alone(command, tables, tmp_path):
    rows = [line.rpartition(",")[0] for line in tables[0].read_text(encoding="utf-8").splitlines()]
    (tmp_path / "alone.csv").write_text("\n".join(rows), encoding="utf-8")
    said = command("statistics", tmp_path / "alone.csv", "--shuffles", 19, "-o", tmp_path / "out")
    assert said.status == 0, said.err
    assert "people alone are analysed" in said.err
    tree = open_study(tmp_path / "out")
    assert "observers" not in tree.children
    assert tree["stages"].to_dataset().sizes == {"model": 2, "term": 1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--stages", "natural,erly"], "unknown stage 'erly'; did you mean 'early'?"),
        (["--without", "natural,early"], "no model keeps two stages"),
        (["--stages", ","], "--stages is ',', expected names between commas"),
        (["--models", "nett"], "unknown model 'nett'; did you mean 'net'?"),
        (["--models", "net"], "model 'net' is in no experiment with another of the models net"),
        (["--scheme", "propper"], "unknown scheme 'propper'; did you mean 'proper'?"),
    ],
)
def test_a_slip_gets_one_line(command, tables, tmp_path, given, said):
    result = command("statistics", tables[0], *given, "-o", tmp_path / "out")
    assert result.status == 2
    assert said in result.error
    assert not (tmp_path / "out").exists()
