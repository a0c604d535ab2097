"""Models and runs, evaluated from the command line: one table, one page, and one line for every mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metamery.analysis.studies.evaluate import qualified_names
from metamery.framework import Context, Plugins, open_study
from metamery.framework.schema import check_dataset

MODEL = """
import torch
from metamery.framework import ImageDomain, Model


def build(num_classes: int = 2, labels=("cat", "dog"), seed: int = 0) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, num_classes))
    return Model(network, ImageDomain(3, 8, 8), ["output"], list(labels))


def other() -> Model:
    return build(seed=1)
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    return f"{tmp_path / 'model.py'}:build"


@pytest.fixture
def data(tmp_path: Path, drawn: Any) -> Path:
    for split in ("train", "test"):
        drawn(tmp_path / "data" / split, [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(4)])
    return tmp_path / "data"


@pytest.fixture
def trained(command: Callable[..., Any], model: str, data: Path, tmp_path: Path) -> Callable[..., Path]:
    """``trained("name")`` is the folder of a run."""

    def train(name: str, *more: object) -> Path:
        settings = ("--model", model, "--stimuli", data, "--epochs", 1, "--setting", "batch_size=4")
        said = command("train", "standard", *settings, *more, "-o", tmp_path / name)
        assert said.status == 0, said.err
        return tmp_path / name

    return train


def test_runs_are_compared_in_one_table_and_one_page(trained: Any, command: Any, tmp_path: Path, data: Path) -> None:
    runs = [trained("one"), trained("two", "--seed", 1)]
    out = tmp_path / "compared"
    settings = ("--set", "epsilons=[0.01, 0.3]", "--set", "apgd_steps=3", "--set", "steps=2", "--seed", 5)
    said = command("evaluate", "robustness", *runs, *settings, "-o", out)
    assert said.status == 0, said.err
    head, one, two = said.out.split("accuracy under all attacks up to this size\n")[1].splitlines()[:3]
    assert head.split() == ["model", "×", "epsilon", "0", "0.01", "0.3"]
    assert (one.split()[0], two.split()[0]) == ("run:one", "run:two")
    assert f"report:  {out / 'report.html'}" in said.out
    group = open_study(out)["robustness"].to_dataset()
    check_dataset(group)
    assert group.model.values.tolist() == ["run:one", "run:two"]
    assert f"{float(group.accuracy[0, 0]):.3f} ({float(group.accuracy_low[0, 0]):.3f} to " in one
    assert (group.accuracy.diff("epsilon") <= 0).all()
    assert group.attrs["seed"] == 5
    assert json.loads(group.attrs["options"]) == {"epsilons": [0.01, 0.3], "apgd_steps": 3, "steps": 2}
    assert json.loads(group.attrs["stimuli"]) == {"name": "files:folder", "path": str(data / "test")}
    assert len(group.attrs["weights_sha256"]) == 2
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "run:one" in page
    assert "<svg" in page

    assert command("evaluate", "accuracy", *runs, "-o", out).status == 0
    assert set(open_study(out).children) == {"accuracy", "robustness"}
    assert command("evaluate", "accuracy", out, "--remove").status == 0
    assert set(open_study(out).children) == {"robustness"}


def test_models_are_measured_on_what_is_named(command: Any, model: str, data: Path, tmp_path: Path) -> None:
    given = ("--stimuli", data / "test", "--limit", 3, "-o", tmp_path / "out")
    said = command("evaluate", "accuracy", model, model.replace("build", "other"), model, *given)
    assert said.status == 0, said.err
    found = open_study(tmp_path / "out")["accuracy"]
    assert found.model.values.tolist() == ["model.py:build", "model.py:other", "model.py:build+2"]
    assert found.counted.values.tolist() == [3, 3, 3]
    assert float(found.accuracy[0]) == float(found.accuracy[2])


def test_a_study_s_models_are_measured_on_its_stimuli(command: Any, model: str, data: Path, tmp_path: Path) -> None:
    made = ("--stimuli", data / "test", "--layers", "output", "--steps", 1, "-o", tmp_path / "study")
    assert command("synthesise", model, *made).status == 0
    assert command("evaluate", "accuracy", tmp_path / "study").status == 0
    assert open_study(tmp_path / "study")["accuracy"].counted.item() == 8


def test_dry_run_measures_nothing(command: Any, model: str, data: Path, tmp_path: Path) -> None:
    said = command("evaluate", "accuracy", model, "--stimuli", data / "test", "-o", tmp_path / "out", "--dry-run")
    assert said.status == 0
    assert f"'evaluators:accuracy' would measure {model}" in said.out
    assert re.search(
        r"\nat most about \d+ s, at least [\d.]+ kB of memory besides PyTorch, and the size of its", said.out
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["accuracy", "--set", "batchsize=3"], "unknown option of evaluator 'accuracy': 'batchsize'"),
        (["accuracy", "--stimuli", "spoken-digits"], "expected a picture"),
        (["robustness", "--set", "epsilons=[0.1]", "--device", "cuda:9"], "device 'cuda:9' is not available"),
        (["recognition"], "evaluator 'recognition' needs a study"),
    ],
)
def test_a_dry_run_refuses_what_the_evaluation_would(
    command: Any, model: str, data: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    for more in ([], ["--dry-run"]):
        result = command("evaluate", arguments[0], model, "--stimuli", data / "test", "-o", tmp_path / "out",
                         *arguments[1:], *more)  # fmt: skip
        assert result.status == 2
        assert said in result.error
        assert not (tmp_path / "out").exists()


def test_stimuli_without_a_right_answer_are_refused_by_a_dry_run_too(
    command: Any, model: str, tmp_path: Path, drawn: Any
) -> None:
    owls = drawn(tmp_path / "owls", ["owl/a", "owl/b"])
    for more in ([], ["--dry-run"]):
        said = command("evaluate", "accuracy", model, "--stimuli", owls, "-o", tmp_path / "out", *more)
        assert "none of the stimuli has a right answer among the labels of model 'model.py:build'" in said.error


def test_a_long_evaluation_says_at_its_start_how_long(
    command: Any, model: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metamery.analysis.commands.evaluations.WORTH_SAYING", 0.0)
    given = ("--stimuli", data / "test", "-o", tmp_path / "out", "--set", "steps=2", "--set", "apgd_steps=2")
    said = command("evaluate", "robustness", model, *given)
    assert said.status == 0
    assert "at most about " in said.err


def test_the_passes_that_robustness_states_are_not_exceeded(model: str, data: Path) -> None:
    plugins, seen = Plugins(), []
    context = Context({"net": plugins.load("model", model)}, plugins.load("stimuli", "folder", path=str(data / "test")))
    evaluate = plugins.load("evaluator", "robustness", epsilons=[0.001, 0.002], steps=2, apgd_steps=3, restarts=2)
    stated = evaluate.passes(context)
    context.models["net"].module.register_forward_hook(lambda _m, given, _out: seen.append(len(given[0])))
    evaluate(context)
    assert 0.5 * (stated.forward + stated.backward) < sum(seen) <= stated.forward + stated.backward


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nosuchfolder", "unknown model 'nosuchfolder'"),
        ("smal-cnn", "unknown model 'smal-cnn'; did you mean 'small-cnn'?"),
        ("runs/none", "no folder 'runs/none': expected a run's folder, or a model's name"),
        ("small-cnn", "'small-cnn' is not a run that records its stimuli: expected --stimuli NAME|FOLDER"),
    ],
)
def test_a_folder_or_model_that_does_not_exist_is_named(command: Any, name: str, expected: str) -> None:
    said = command("evaluate", "accuracy", name)
    assert expected in said.error
    assert name == "runs/none" or (f"nor is there a folder '{name}'" in said.error) == ("unknown" in expected)


def test_a_warning_is_said(command: Any, model: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(
        MODEL.replace("torch.nn.Flatten(),", "torch.nn.Flatten(), Rounded(),").replace(
            "def build",
            "class Rounded(torch.nn.Module):\n"
            "    def forward(self, signals):\n"
            "        return (signals * 20).round() / 20\n\n\ndef build",
            1,
        )
    )
    given = ("--stimuli", data / "test", "--set", "epsilons=[0.1]", "--set", "apgd_steps=2", "-o", tmp_path / "out")
    said = command("evaluate", "robustness", f"{tmp_path / 'flat.py'}:build", *given)
    assert said.status == 0, said.err
    assert "warning: flat.py:build: the attacks may be fooled by masked gradients" in said.err
    assert "fooled by masked gradients" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_slips_are_named(trained: Any, command: Any, model: str, data: Path, tmp_path: Path) -> None:
    run, elsewhere = trained("run"), trained("elsewhere", "--validation", data / "train")
    alone = trained("alone", "--stimuli", data / "train")
    made = ("--stimuli", data / "test", "--layers", "output", "--steps", 1, "-o", tmp_path / "study")
    assert command("synthesise", model, *made).status == 0
    out, study, named = ("-o", tmp_path / "out"), tmp_path / "study", ("--stimuli", data / "test")
    assert command("evaluate", "accuracy", run, "-o", tmp_path / "kept").status == 0
    slips = {
        ("accuracy", model, *out): f"'{model}' is not a run that records its stimuli: expected",
        ("accuracy", run, elsewhere, *out): "the runs were validated on different stimuli: expected",
        ("accuracy", alone, *out): "was trained without validation: expected --stimuli NAME|FOLDER",
        ("accuracy", study, *named): "is a study, which has its own stimuli",
        ("accuracy", study, run, *named, *out): "is a study, which is evaluated alone",
        ("accuracy", run, "-o", study): "holds a study; choose another folder",
        ("accuracy", run, "-o", run): "holds a run; choose another folder",
        ("accuracy", tmp_path / "kept"): "holds evaluations, expected a study, or models to evaluate",
        ("accuracy", tmp_path / "nothing", *named, *out): "nothing': expected a run's folder, or a model's name",
        ("agreement", run, *out): "evaluator 'agreement' needs a study",
        ("robustness", run, "--set", "epsilon=[1]", *out): "did you mean 'epsilons'?",
        ("accuracy", run, "--remove"): "holds nothing of 'accuracy'",
    }
    for arguments, message in slips.items():
        said = command("evaluate", *arguments)
        assert said.status == 2, arguments
        assert message in said.error
    assert not (tmp_path / "out").exists()


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [str(tmp_path / folder / "net") for folder in ("a/x", "b/x", "b/y")]
    for run in runs:
        Path(run).mkdir(parents=True)
        (Path(run) / "run.toml").touch()
    names = qualified_names([*runs, runs[0]], Plugins(installed=()))
    assert list(names.values()) == ["run:a/x/net", "run:b/x/net", "run:b/y/net"]
    assert qualified_names(runs[:1], Plugins(installed=())) == {runs[0]: "run:net"}
