"""Settings of experiments: presets, files and single changes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from metamery.analysis.experiment.resolving import parse_settings, preset_table, resolve
from metamery.analysis.experiment.settings import PLACEHOLDER, PRESETS
from metamery.framework import MetameryError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_after_writing_and_reading(name: str) -> None:
    settings = parse_settings(preset_table(name))
    assert settings.preset == name
    assert parse_settings(tomllib.loads(settings.to_toml())) == settings
    assert settings.consent.text[0].startswith(PLACEHOLDER)


def test_published_numbers() -> None:
    pictures, sounds, lab = (parse_settings(preset_table(name)) for name in PRESETS)
    assert (pictures.timing.fixation, pictures.timing.signal, pictures.timing.mask) == (300, 300, 300)
    assert (pictures.timing.practice, pictures.timing.slow_practice) == ((500, 400, 400), 8)
    assert (pictures.practice.feedback, pictures.practice.free, pictures.practice.needed) == (16, 12, 7)
    assert (sounds.practice.feedback, sounds.practice.free, sounds.practice.needed) == (10, 12, 5)
    assert (sounds.headphones.tests, sounds.headphones.trials, sounds.headphones.needed) == (("antiphase",), 6, 5)
    assert (sounds.answers.form, pictures.answers.form, lab.answers.form) == ("typed", "grid", "grid")
    assert pictures.allocation.rule == sounds.allocation.rule == "random"
    assert pictures.catch.trials == sounds.catch.trials == 16
    assert pictures.allocation.blocks == 4
    assert (lab.timing.fixation, lab.timing.signal, lab.timing.mask) == (300, 200, 200)
    assert lab.answers.categories == "imagenet-16"


def test_a_file_changes_a_preset_and_a_single_setting_the_file(tmp_path: Path) -> None:
    file, consent = tmp_path / "mine.toml", tmp_path / "consent.txt"
    file.write_text('preset = "geirhos2018"\nseed = 3\n[timing]\nmask = 100\nfixation = 7\n')
    consent.write_text("We ask\nyou.\n\n\nYou may stop.\n")
    settings = resolve("picture", file=file, changes={"timing.mask": 50}, consent=consent)
    assert (settings.preset, settings.seed) == ("geirhos2018", 3)
    assert (settings.timing.fixation, settings.timing.signal, settings.timing.mask) == (7, 200, 50)
    assert settings.consent.text == ("We ask you.", "You may stop.")
    assert resolve("picture", "feather2023-pictures", file).timing.signal == 300
    assert resolve("sound").preset == "feather2023-sounds"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timing.maks": 1}, r"unknown entry of \[timing\] 'maks'; did you mean 'mask'\?"),
        ({"alocation.rule": "random"}, "did you mean 'allocation'"),
        ({"timing": 3}, r"\[timing\] is 3, expected a table of settings"),
        ({"timing.mask": -1}, r"\[timing\]: mask is -1, expected a whole number of at least 0"),
        ({"timing.practice": [1, 2]}, r"practice is \[1, 2\], expected three durations in ms"),
        ({"saving.to": "jatoz"}, r"\[saving\]: unknown to 'jatoz'; did you mean 'jatos'\?"),
        ({"saving.to": "datapipe"}, "experiment_id is '', expected the experiment's identifier at DataPipe"),
        ({"saving.experiment_id": "x"}, "for it alone"),
        ({"practice.needed": 13}, "needed is 13, expected at most the number of trials without feedback, 12"),
        ({"headphones.needed": 7}, "expected at most the number of trials, 6"),
        ({"headphones.tests": ["antifase"]}, "did you mean 'antiphase'"),
        ({"parts": ["survey"]}, "expected main among them"),
        ({"parts": ["main", "surveys"]}, "did you mean 'survey'"),
        ({"conditions.layers": "conv1"}, r"layers is 'conv1', expected a list of names"),
        ({"conditions.unsuccessful": "hide"}, "unknown unsuccessful 'hide'"),
        ({"answers.labels": 3}, "labels is 3, expected a table of labels by answer"),
        ({"completion.redirect": "http://x"}, "expected an address that begins with https://"),
        ({"sounds.format": "mp3"}, "unknown format 'mp3'"),
        ({"survey": [{"name": "age", "form": "choice"}]}, "expected answers for the form choice"),
        ({"survey": [{"name": "a b"}]}, "expected letters, digits and _"),
        ({"survey": [{"name": "a"}, {"name": "a"}]}, "two questions of the survey are called 'a'"),
        ({"survey": 3}, r"survey is 3, expected \[\[survey\]\] tables"),
        ({"preset": "x"}, "unknown preset"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said) as raised:
        parse_settings(changes) if "preset" in changes else resolve("picture", changes=changes)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[timing")
    with pytest.raises(MetameryError, match=r"mine.toml' is not valid TOML"):
        resolve("picture", file=tmp_path / "mine.toml")
    with pytest.raises(MetameryError, match="no settings in"):
        resolve("picture", file=tmp_path / "none.toml")


def test_the_program_prints_settings_that_it_reads(command: Any, tmp_path: Path) -> None:
    for name in PRESETS:
        printed = command("experiment", "settings", name)
        (tmp_path / "mine.toml").write_text(printed.out)
        assert resolve("picture", file=tmp_path / "mine.toml") == parse_settings(preset_table(name))
    assert "did you mean 'geirhos2018'" in command("experiment", "settings", "geirhos").error
