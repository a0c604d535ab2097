"""Names on the command line: shown with their options, and in one line where they are missing or meant otherwise."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from metamery.analysis import run_study
from metamery.analysis.synthesis.settings import Settings
from metamery.framework import MetameryError, ModelReference, Plugins, Reference, Study, hookimpl, open_study
from metamery.framework.folders import STUDY_FILE
from metamery.framework.registry import KINDS
from metamery.framework.study import SYNTHESIS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["robustness"], ["evaluator evaluators:robustness", "steps = 20\n      Number of steps of PGD"]),
        (["pgd_l2"], ["perturbation robustness:pgd_l2", "steps = 10"]),
        (["trades", "--kind", "recipes"], ["recipe robustness:trades", "[loss_options]\n  beta = 6.0"]),
        (["feather2023"], ["preset feather2023", "step_size = 1.0"]),
        (["fast", "--kind", "preset"], ["preset fast", "optimizer_options = {'beta2': 0.9}"]),
        (["fast"], ["recipe robustness:fast", "also a preset: metamery show fast --kind preset"]),
        (["spoken-digits"], ["stimuli audio:spoken-digits", "licence: ", "limit = None"]),
        (["torchattacks/FGSM"], ["perturbation torchattacks:torchattacks/"]),
    ],
)
def test_every_kind_is_shown(command: Any, arguments: list[str], expected: list[str]) -> None:
    said = command("show", *arguments)
    assert said.status == 0, said.err
    assert all(text in said.out for text in expected), said.out


def test_every_bundled_name_can_be_shown(command: Any) -> None:
    for kind in KINDS:
        for entry in Plugins(installed=()).entries(kind):
            if kind != "model" and not entry.is_family and "extra" not in entry.facts:
                said = command("show", entry.qualified, "--kind", kind)
                assert (said.status, "option" in said.out) == (0, True), (entry, said.err)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["show", "robustnes"], "unknown name 'robustnes'; did you mean 'robustness'?"),
        (["show", "runs/none"], "no folder 'runs/none': expected a run's folder, or a model's name"),
        (["show", "./none"], "no folder './none': expected a run's folder"),
        (["show", "torchvison/resnet18"], "unknown model 'torchvison/resnet18'; did you mean 'torchvision/'?"),
        (["show", "zebra:net"], "model 'zebra:net' needs plugin 'zebra', which is not installed"),
        (["show", "fast", "--kind", "presset"], "unknown kind 'presset'; did you mean 'preset'?"),
    ],
)
def test_what_is_missing_is_named(command: Any, arguments: list[str], expected: str) -> None:
    assert expected in command(*arguments).error


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("lr=0.1", "unknown synthesis setting 'lr'; did you mean 'step_size'?"),
        ("epochs=3", "unknown synthesis setting 'epochs'; did you mean 'steps'?"),
        ("tv=1", "did you mean 'total_variation'?"),
        ("distance=l2", "unknown distance 'l2'; did you mean 'relative_l2'?"),
    ],
)
def test_other_words_of_the_field_are_understood(
    command: Any, tiny: str, pictures: Path, tmp_path: Path, setting: str, expected: str
) -> None:
    said = command("synthesise", tiny, "--stimuli", pictures, "-o", tmp_path / "out", "--setting", setting)
    assert expected in said.error


def test_a_setting_of_the_synthesis_at_the_top_of_a_study_is_sent_to_its_table() -> None:
    with pytest.raises(MetameryError, match=r"'steps' is a setting of the synthesis: write it under \[synthesis\]"):
        Study.from_toml('steps = 3\nstimuli = "natural"\n[[models]]\nname = "small-cnn"\n')
    assert set(Settings.__dataclass_fields__) == {*SYNTHESIS}


def test_several_studies_are_refused_in_one_line(command: Any, tiny: str, pictures: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    made = ("--stimuli", pictures, "--limit", 2, "--layers", "output", "--steps", 1)
    assert command("synthesise", tiny, *made, "-o", folders[0]).status == 0
    shutil.copytree(folders[0], folders[1])
    assert (
        f"'{folders[0]}' is a study, which is evaluated alone: give one"
        in command("evaluate", "agreement", *folders).error
    )


def test_the_version_is_printed(command: Any) -> None:
    from importlib.metadata import version

    assert command("--version").out == f"metamery {version('metamery')}\n"


def test_the_program_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metamery.framework", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("metamery ")


def test_a_study_names_the_plugin_that_it_was_made_with(command: Any, pictures: Path, tmp_path: Path) -> None:
    zebra = ModuleType("zebra")

    @hookimpl
    def register_models(register: Any) -> None:
        register("zebra-net", lambda: Plugins(installed=()).load("model", "small-cnn", width=2, size=8))

    zebra.register_models = register_models  # type: ignore[attr-defined]
    study = Study((ModelReference("zebra-net", ("output",)),), Reference("folder", {"path": str(pictures), "limit": 2}),
                  synthesis={"steps": 1})  # fmt: skip
    run_study(study, tmp_path / "study", Plugins([zebra], installed=()))
    stored = Study.read(tmp_path / "study" / STUDY_FILE)
    assert (stored.models[0].name, stored.stimuli.name) == ("zebra:zebra-net", "files:folder")
    assert open_study(tmp_path / "study").attrs["study"] == stored.to_toml()
    for arguments in (["evaluate", "agreement", tmp_path / "study"], ["run", tmp_path / "study"]):
        said = command(*arguments)
        assert f"'{tmp_path / 'study'}' needs plugin zebra ( ), which is not installed or not loaded" in said.error
