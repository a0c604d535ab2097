"""Creating a study: stimuli are read a batch at a time, and what is stored does not depend on that."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inputs import PEAK_MEMORY, draw_pictures, on_linux
from metamery.analysis.studies.creation import create
from metamery.analysis.studies.parts import load_parts
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import MetameryError, Plugins, Stimulus, Study, open_study
from metamery.framework import limits as limits_module
from metamery.framework.progress import Progress
from metamery.framework.study import ModelReference, Reference

CPU = torch.device("cpu")
NAMES = ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"]


@pytest.fixture
def study(tiny: str, tmp_path: Path) -> Study:
    pictures = draw_pictures(tmp_path / "pictures", NAMES)
    models = (ModelReference(tiny, ("0",)), ModelReference(tiny, ("1",), {"seed": 1}))
    return Study(models, Reference("folder", {"path": str(pictures)}), None, {"steps": 1})


def created(study: Study, folder: Path, plugins: Plugins | None = None) -> Path:
    plugins = plugins or Plugins()
    parts, settings = load_parts(study, plugins, CPU), resolve_settings(study.synthesis)
    create(study, folder, plugins, parts, settings, CPU, Progress())
    return folder


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_every_stimulus_is_stored_for_every_model_whatever_the_block(
    study: Study, tmp_path: Path, batch_size: int
) -> None:
    plugins = Plugins()
    given = plugins.load("stimuli", "folder", path=study.stimuli.options["path"])
    model = load_parts(study, plugins, CPU)[0].model
    folder = created(replace(study, synthesis={"steps": 1, "batch_size": batch_size}), tmp_path / "study")
    with open_study(folder) as tree:
        assert tree["stimuli"].stimulus.values.tolist() == NAMES
        assert tree["stimuli"]["category"].values.tolist() == [name[:3] for name in NAMES]
        assert tree["stimuli"]["source"].values.tolist() == [stimulus.source for stimulus in given]
        for node in tree["models"].children.values():
            stored = node["stimuli/signal"]
            np.testing.assert_array_equal(stored.values, torch.stack([model.domain.fit(each) for each in given]))
            assert stored.encoding["chunks"][0] == min(batch_size, 5)
            for group in ("stimuli", "metamers", "match"):
                assert node[group].stimulus.values.tolist() == NAMES
            assert "activations" in node.attrs


class Reading(list[Stimulus]):
    """Stimuli that record which of them are read."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(Stimulus(torch.rand(3, 8, 8), name=name) for name in names)
        self.read: list[str] = []

    def __getitem__(self, index: Any) -> Any:
        self.read.append(super().__getitem__(index).name)
        return super().__getitem__(index)


def given_by(fake_plugin: Any, stimuli: Reading, study: Study) -> tuple[Plugins, Study]:
    plugin = fake_plugin("mine", register_stimuli=lambda register: register("given", lambda: stimuli))
    return Plugins([plugin]), replace(study, stimuli=Reference("given"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([f"s{index % 6}" for index in range(12)], "stimuli 'given': the name 's0' is not unique"),
        (["a", "b", "c\udcff"], r"stimuli 'given': the name 'c\\udcff' cannot be written as text"),
    ],
)
def test_a_name_that_cannot_be_used_ends_the_reading_and_leaves_nothing(
    study: Study, tmp_path: Path, fake_plugin: Any, names: list[str], said: str
) -> None:
    stimuli = Reading(names)
    plugins, asked = given_by(fake_plugin, stimuli, replace(study, synthesis={"steps": 1, "batch_size": 2}))
    with pytest.raises(MetameryError, match=said):
        created(asked, tmp_path / "study", plugins)
    assert len(stimuli.read) == min(7, len(names))
    assert not (tmp_path / "study").exists()


def test_room_on_the_disk_is_looked_for_before_a_stimulus_is_read(
    study: Study, tmp_path: Path, fake_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stimuli = Reading(["a", "b"])
    plugins, asked = given_by(fake_plugin, stimuli, study)
    full = limits_module.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(limits_module.shutil, "disk_usage", lambda _path: full)
    with pytest.raises(MetameryError, match=r"metamers of 2 stimuli .* on the disk of"):
        created(asked, tmp_path / "study", plugins)
    assert stimuli.read == []


def test_an_error_of_the_stimuli_s_own_is_not_taken_for_one_of_the_disk(
    study: Study, tmp_path: Path, fake_plugin: Any
) -> None:
    class Lost(Reading):
        def __getitem__(self, index: Any) -> Any:
            raise OSError(5, "Input/output error")

    plugins, asked = given_by(fake_plugin, Lost(["a"]), study)
    with pytest.raises(OSError, match="Input/output error"):
        created(asked, tmp_path / "study", plugins)
    assert not (tmp_path / "study").exists()


SCRIPT = """
import sys
from pathlib import Path

import torch
from metamery.analysis.studies.creation import create
from metamery.analysis.studies.parts import load_parts
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import ImageDomain, Model, Plugins, Stimulus, Study, hookimpl
from metamery.framework.progress import Progress
from metamery.framework.study import ModelReference, Reference

SIDE, CPU = 96, torch.device("cpu")


class Noise:
    def __init__(self, *, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return Stimulus(torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(index)), name=f"s{index}")


def network():
    parts = torch.nn.Conv2d(3, 1, 3, stride=16), torch.nn.Flatten(), torch.nn.Linear(36, 3)
    return Model(torch.nn.Sequential(*parts).eval(), ImageDomain(3, SIDE, SIDE), ["2"])


@hookimpl
def register_models(register):
    register("network", network)


@hookimpl
def register_stimuli(register):
    register("noise", Noise)


plugins = Plugins([sys.modules["__main__"]], installed=())
torch.set_num_threads(1)
for count in 100, 1000:
    study = Study((ModelReference("network"),), Reference("noise", {"count": count}), None, {"steps": 1})
    parts, settings = load_parts(study, plugins, CPU), resolve_settings(study.synthesis)
    create(study, Path(sys.argv[1]) / str(count), plugins, parts, settings, CPU, Progress())
    print(peak_memory())
"""


@on_linux
def test_memory_does_not_grow_with_the_number_of_stimuli(tmp_path: Path) -> None:
    """All signals of the larger study are 110 MB."""
    asked = [sys.executable, "-c", PEAK_MEMORY + SCRIPT, tmp_path]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many - few < 15e6
