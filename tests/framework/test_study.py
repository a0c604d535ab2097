"""Studies as files: what is written is read back, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework import MetameryError, Plugins, Stimulus, Study, UnknownNameError
from metamery.framework.study import ModelReference, Reference, load_stimuli, located

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
NAME = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
VALUE = st.one_of(TEXT, st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.lists(NAME))
OPTIONS = st.dictionaries(NAME.filter(lambda name: name not in ("name", "path")), VALUE, max_size=3)
USE = st.builds(Reference, NAME, OPTIONS)
STUDY = st.builds(
    Study,
    models=st.lists(
        st.builds(ModelReference, TEXT.filter(bool), st.lists(TEXT, max_size=3).map(tuple), OPTIONS),
        min_size=1,
        max_size=3,
    ).map(tuple),
    stimuli=USE,
    null_stimuli=st.none() | USE,
    synthesis=OPTIONS,
    seed=st.integers(0, 2**62),
)

PLUGINS = Plugins(installed=())

SMALL = """
seed = 3
stimuli = "natural"

[[models]]
name = "efficientnet-lite0"
layers = ["output"]
"""


@given(STUDY)
def test_what_is_written_is_read_back(study: Study) -> None:
    again = Study.from_toml(study.to_toml())
    assert again == study
    assert again.to_toml() == study.to_toml()
    assert study.differences(again, PLUGINS) == []


@given(STUDY, STUDY)
def test_two_studies_differ_where_they_are_not_equal(one: Study, other: Study) -> None:
    # TOML cannot tell 1 from 1.0 once Python has compared them, hence the comparison of what is written.
    if one != other:
        assert one.differences(other, PLUGINS)
    assert len(one.differences(other, PLUGINS)) == len(other.differences(one, PLUGINS))


def test_differences_name_the_entry_and_both_values() -> None:
    one = Study.from_toml(SMALL)
    other = Study.from_toml(SMALL.replace("seed = 3", "seed = 4") + '[synthesis]\npreset = "fast"\n')
    assert one.differences(other, PLUGINS) == ["seed (3, stored 4)", "synthesis.preset (unset, stored fast)"]
    more = Study.from_toml(SMALL.replace('"output"', '"input", "output"'))
    (said,) = one.differences(more, PLUGINS)
    assert said.startswith("models[0].layers")


def test_a_name_with_its_plugin_is_the_same_name() -> None:
    bare = Study.from_toml(SMALL + '[synthesis]\noptimizer = "adam"\n')
    full = Study.from_toml(
        SMALL.replace("natural", "vision:natural").replace("efficientnet", "vision:efficientnet")
        + '[synthesis]\noptimizer = "synthesis:adam"\n'
    )
    assert bare.differences(full, PLUGINS) == full.differences(bare, PLUGINS) == []
    other = Study.from_toml(SMALL + '[synthesis]\noptimizer = "mine:adam"\n')
    assert bare.differences(other, PLUGINS) == ["synthesis.optimizer (synthesis:adam, stored mine:adam)"]


def test_the_example_of_the_design_is_a_study() -> None:
    study = Study.from_toml(
        """
        seed = 0
        stimuli = { name = "torchvision/CIFAR10", split = "test", limit = 100 }
        null_stimuli = "natural"
        null_signals = 500
        [[models]]
        name = "efficientnet-lite0"
        layers = ["_blocks.1", "output"]
        [[models]]
        name = "runs/adversarial"
        options = { size = 3 }
        [synthesis]
        preset = "feather2023"
        steps = 24000
        seeds = 2
        """
    )
    assert study.models == (
        ModelReference("efficientnet-lite0", ("_blocks.1", "output")),
        ModelReference("runs/adversarial", (), {"size": 3}),
    )
    assert study.stimuli == Reference("torchvision/CIFAR10", {"split": "test", "limit": 100})
    assert study.null_stimuli == Reference("natural")
    assert study.null_signals == 500
    assert study.synthesis == {"preset": "feather2023", "steps": 24000, "seeds": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = ", "not valid TOML"),
        ("sede = 3" + SMALL.replace("seed = 3", ""), "unknown study entry 'sede'; did you mean 'seed'"),
        (SMALL.replace("layers", "layer"), r"unknown \[\[models\]\] entry 'layer'; did you mean 'layers'"),
        (SMALL.replace("seed = 3", "seed = -1"), "seed is -1, expected a whole number of at least 0"),
        (SMALL.replace("seed = 3", "seed = true"), "seed is True, expected a whole number of at least 0"),
        (SMALL.replace("seed = 3", 'seed = "3"'), "seed is '3', expected a whole number"),
        (SMALL.replace('stimuli = "natural"', ""), "names no stimuli"),
        (SMALL.replace('"natural"', "3"), "stimuli = 3: expected a name or a table with a name"),
        (SMALL.replace('"natural"', "{ limit = 3 }"), "expected a name or a table with a name"),
        ('stimuli = "natural"', "names no models"),
        ('stimuli = "natural"\nmodels = "a"', r"needs \[\[models\]\] tables"),
        ('stimuli = "natural"\nmodels = ["a"]', "expected a table with a name"),
        (SMALL.replace('["output"]', '"output"'), "layers = 'output': expected a list of names"),
        (SMALL.replace('["output"]', "[1]"), r"layers = \[1\]: expected a list of names"),
        (SMALL + "options = 3", "options = 3: expected a table"),
        ("synthesis = 3" + SMALL, r"a \[synthesis\] table"),
        (SMALL.replace("seed = 3", "null_stimuli = 3"), "null_stimuli = 3: expected a name"),
        (SMALL.replace("seed = 3", "null_signals = 1"), "null_signals is 1, expected a whole number of at least 2"),
    ],
)
def test_what_is_no_study_is_named(text: str, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        Study.from_toml(text)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "study.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MetameryError, match=r"no study in '.*study\.toml'"):
        Study.read(file)


# Folders


def test_folders_in_a_study_are_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "photos").mkdir(parents=True)
    file = tmp_path / "deep" / "study.toml"
    for written in ('"photos/"', '"./photos"', '{ name = "folder", path = "photos" }'):
        file.write_text(SMALL.replace('"natural"', written))
        monkeypatch.chdir(tmp_path)
        study = Study.read(Path("deep/study.toml"))
        assert study.stimuli.options == {"path": str(tmp_path / "deep" / "photos")}
        assert study.stimuli.qualified(PLUGINS, "stimuli").name == "files:folder"
        assert Study.from_toml(study.to_toml()) == study


def test_files_in_a_study_are_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        'stimuli = "mine.py:pictures"\n[[models]]\nname = "nets/mine.py:build"\n[synthesis]\ndistance = "d.py:far"\n'
    )
    study = Study.read(tmp_path / "study.toml")
    assert study.stimuli.name == f"{tmp_path}/mine.py:pictures"
    assert study.models[0].name == f"{tmp_path}/nets/mine.py:build"
    assert study.synthesis["distance"] == f"{tmp_path}/d.py:far"


def test_a_name_stays_a_name_even_beside_a_folder_called_so(tmp_path: Path) -> None:
    (tmp_path / "natural").mkdir()
    assert located(Reference("natural", {"limit": 2}), tmp_path) == Reference("natural", {"limit": 2})
    assert located(Reference("natural/", {"limit": 2}), tmp_path) == Reference(
        "files:folder", {"limit": 2, "path": str(tmp_path / "natural")}
    )


def test_stimuli_that_are_neither_a_name_nor_a_folder(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown stimuli 'natral'; did you mean 'natural'.*nor is there a folder"
    ):
        load_stimuli(Plugins(), Reference("natral"))
    stimuli: Any = load_stimuli(Plugins(), Reference(str(pictures), {"limit": 2}))
    assert len(stimuli) == 2


def test_a_limit_selects_from_stimuli_without_such_an_option(fake_plugin: Any) -> None:
    def register(register: Any) -> None:
        register("tones", lambda: [Stimulus(torch.zeros(8), name=f"{index}") for index in range(6)])

    plugins = Plugins([fake_plugin("mine", register_stimuli=register)], installed=())
    some = load_stimuli(plugins, Reference("tones", {"limit": 3}))
    assert [each.name for each in some] == [some[index].name for index in range(len(some))] == ["0", "2", "4"]
    with pytest.raises(UnknownNameError, match="unknown option of stimuli 'tones': 'limits'"):
        load_stimuli(plugins, Reference("tones", {"limits": 3}))
