"""A plugin that registers every bundled name changes nothing that does not name it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from metamery.framework import Plugins
from metamery.framework.registry import KINDS
from metamery.framework.results import open_study

SYNTHESIS = ("--preset", "feather2023", "--steps", 2, "--layers", "1")
TRAINING = ("--epochs", 1, "--setting", "batch_size=4", "--setting", "augment=['flip']")


@pytest.fixture
def namesake(install: Any, fake_plugin: Any) -> Callable[[], None]:
    """``namesake()`` installs a plugin that registers every bundled name, and some that pictures are augmented by."""

    def begin() -> None:
        hooks = {}
        bundled = Plugins(installed=())
        for kind, hook in KINDS.items():
            names = [entry.name for entry in bundled.entries(kind)]

            def register_all(register: Any, names: Any = names, kind: str = kind) -> None:
                for name in [*names, *(["flip", "crop"] if kind == "perturbation" else [])]:
                    register(name, "no_such_module:anything")

            hooks[hook] = register_all
        install(namesake=fake_plugin("namesake", **hooks))

    return begin


def results(folder: Path) -> xr.DataTree:
    with open_study(folder) as tree:
        return tree.load()


def same(one: Path, other: Path, *groups: str) -> None:
    for group in groups:
        first, second = (
            results(each)[group].to_dataset().drop_vars(["seconds", "model"], errors="ignore") for each in (one, other)
        )
        xr.testing.assert_equal(first, second)


def test_the_demo(command: Any, namesake: Any, tmp_path: Path) -> None:
    namesake()
    said = command("demo", "--audio", "--dry-run", "-o", tmp_path / "demo")
    assert said.status == 0, said.err
    assert 'name = "audio:coch-cnn-digits"' in said.out


def test_synthesis_gives_the_same_and_goes_on(
    command: Any, namesake: Any, tiny: str, pictures: Path, tmp_path: Path
) -> None:
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    asked = ("synthesise", tiny, "--stimuli", pictures, *SYNTHESIS, "-o")
    assert command(*asked, alone).status == 0
    namesake()
    assert command(*asked, beside).status == 0
    same(alone, beside, "models/tiny.py+build/metamers")
    evaluated = ("--set", "epsilons=[0.1]", "--set", "steps=2", "--set", "apgd_steps=2")
    assert command("evaluate", "evaluators:robustness", beside, *evaluated).status == 0
    for study in (alone, beside):
        _as_stored_earlier(study)
        assert command(*asked, study).status == 0
        assert command("run", study).status == 0


def _as_stored_earlier(study: Path) -> None:
    """Write the names of distance, optimizer and folder as earlier versions did, without their plugins."""
    root = study / "results.zarr" / "zarr.json"
    stored = json.loads(root.read_text())
    attributes = stored["attributes"]
    attributes["study"] = attributes["study"].replace("files:folder", "folder")
    settings = json.loads(attributes["settings"])
    for tool in ("distance", "optimizer"):
        settings[tool] = settings[tool].partition(":")[2]
    attributes["settings"] = json.dumps(settings)
    root.write_text(json.dumps(stored))
    file = study / "study.toml"
    file.write_text(file.read_text().replace("files:folder", "folder"))


def test_training_gives_the_same_and_goes_on(command: Any, namesake: Any, pictures: Path, tmp_path: Path) -> None:
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    asked = ("train", "{}adversarial-linf", "--stimuli", pictures, "--validation", pictures, *TRAINING)

    def trained(prefix: str, model: str, folder: Path) -> Any:
        return command(asked[0], f"{prefix}adversarial-linf", *asked[2:], "--model", model, "-o", folder)

    assert trained("", "small-cnn", alone).status == 0
    namesake()
    assert trained("robustness:", "vision:small-cnn", beside).status == 0
    same(alone, beside, "history")
    recipe = (alone / "run.toml").read_text()
    for name in ("robustness:cross_entropy", "synthesis:sgd", "robustness:pgd_linf", "files:folder"):
        assert name in recipe
        recipe = recipe.replace(name, name.partition(":")[2])
    (alone / "run.toml").write_text(recipe)  # as earlier versions wrote it
    assert trained("robustness:", "vision:small-cnn", alone).status == 0
    assert command("show", alone).status == 0
    evaluated = ("--set", "epsilons=[0.1]", "--set", "steps=2", "--set", "apgd_steps=2", "-o")
    assert command("evaluate", "evaluators:robustness", alone, *evaluated, tmp_path / "one").status == 0
    assert command("evaluate", "evaluators:robustness", beside, *evaluated, tmp_path / "other").status == 0
    same(tmp_path / "one", tmp_path / "other", "robustness")


def test_options_of_an_augmentation_go_by_its_name_without_the_plugin() -> None:
    from metamery.training.tools import load_tools

    plugins = Plugins(installed=())
    recipe = plugins.load("recipe", "sound-in-noise").changed({"augment_options.background.noise": "white"})
    assert recipe.augment == ("audio:background",)
    assert len(load_tools(recipe, plugins).augment) == 1
