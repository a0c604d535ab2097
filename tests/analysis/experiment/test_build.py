"""Experiments built from small studies: what is served, what is not, and what a folder may hold before."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from metamery.analysis.experiment import build as building
from metamery.analysis.experiment.build import build, check_consent, check_unused
from metamery.analysis.experiment.key import NATURAL, Key
from metamery.analysis.experiment.resolving import read_settings, resolve
from metamery.analysis.experiment.session_settings import Consent
from metamery.analysis.experiment.sounds import root_mean_square
from metamery.framework import MetameryError, Plugins, open_study
from metamery.framework.model_results import models_of
from PIL import Image
from small_studies import CATEGORIES, LAYERS, NAMES, PICTURE, pictures, sounds, study_of

CHANGES = {
    "consent.text": ["Yours."],
    "allocation.rule": "latin-square",
    "practice.feedback": 3,
    "practice.free": 2,
    "practice.needed": 1,
    "catch.trials": 4,
    "masks.files": 2,
    "sounds.check": False,
    "completion.code": "C0DE",
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studies")
    pictures(root / "pictures")
    sounds(root / "sounds")
    study_of(root / "small", {"vision:net": PICTURE})
    return root


@pytest.fixture(scope="module")
def again(studies: Path) -> Path:
    """An experiment to be built again, from the study ``small``."""
    build(studies / "small", studies / "again", Plugins(installed=[]), changes=CHANGES)
    return studies / "again"


@pytest.fixture(scope="module")
def built(studies: Path) -> Path:
    """An experiment with nine of twelve pictures."""
    build(studies / "pictures", studies / "built", Plugins(installed=[]), changes=CHANGES | {"conditions.stimuli": 9})
    return studies / "built"


@pytest.fixture(scope="module")
def heard(studies: Path) -> Path:
    """An experiment with sounds."""
    changes = CHANGES | {"headphones.tests": ["antiphase", "huggins"], "conditions.stimuli": 9, "practice.feedback": 1}
    changes |= {"practice.free": 1}
    build(studies / "sounds", studies / "heard", Plugins(installed=[]), changes=changes)
    return studies / "heard"


def page_of(folder: Path) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((folder / "site" / "experiment.json").read_text(encoding="utf-8"))
    return page


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_list_shows_each_original_once_with_conditions_balanced(built: Path) -> None:
    key = Key.read(built)
    conditions = 1 + 2 * len(LAYERS)
    assert len(key.lists) % conditions == 0
    for number in range(len(key.lists)):
        items = [key.items[name] for name in key.trials(number)]
        main = [item for item in items if item.role == "main"]
        assert len({item.stimulus for item in main}) == len(main) == 9
        assert Counter(item.answer for item in main) == dict.fromkeys(CATEGORIES, 3)
        counts = Counter((item.model, item.layer) for item in main)
        assert len(counts) == conditions
        assert max(counts.values()) <= 2
        assert sum(item.role == "catch" for item in items) == 4
        caught = [sum(key.items[name].role == "catch" for name in block) for block in key.lists[number]]
        assert caught == [1, 1, 1, 1]


def test_lists_that_are_served_are_those_of_the_key(built: Path) -> None:
    key = Key.read(built)
    for number, blocks in enumerate(key.lists):
        served = json.loads((built / "site" / "lists" / f"{number}.json").read_text())
        assert served == {"list": number, "blocks": [list(block) for block in blocks]}
    assert page_of(built)["lists"] == len(key.lists) == len(list((built / "site" / "lists").iterdir()))


@pytest.mark.parametrize("which", ["built", "heard"])
def test_files_are_those_of_the_key_and_of_the_page(which: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(which)
    page, key = page_of(folder), Key.read(folder)
    names = {path.relative_to(folder / "site").as_posix() for path in (folder / "site" / "media").iterdir()}
    assert names == {f"media/{name}.{page['media']}" for name in key.items} | {*page["masks"]}
    used = {each["item"] for part in ("feedback", "free") for each in page["practice"][part]}
    used |= {trial["item"] for check in page["headphones"] for trial in check["trials"]}
    used |= {page["level"]["item"]} if page["level"] else set()
    used |= {name for number in range(len(key.lists)) for name in key.trials(number)}
    assert used == {*key.items}


def test_a_picture_is_the_signal_rounded_to_8_bits(built: Path, studies: Path) -> None:
    results = models_of(open_study(studies / "pictures"))[0]
    seen: Counter[str] = Counter()
    for name, item in Key.read(built).items.items():
        if item.role not in ("main", "practice") or item.model not in ("", results.name):
            continue
        at = results.natural["signal"].sel(stimulus=item.stimulus)
        if item.shown == "metamer":
            at = results.metamers["signal"].sel(layer=item.layer, stimulus=item.stimulus, seed=item.seed)
        held = np.asarray(Image.open(built / "site" / "media" / f"{name}.png"))
        expected = at.transpose("y", "x", "channel").values * 255
        assert np.abs(held - expected).max() <= 0.5 + 1e-3
        seen[item.shown] += 1
    assert seen["metamer"] > 20
    assert seen["natural"] > 9


def test_a_failed_metamer_is_replaced_and_the_key_says_so(built: Path) -> None:
    replaced = [item for item in Key.read(built).items.values() if item.reason == "failed"]
    assert {(item.layer, item.shown, item.seed) for item in replaced} <= {("output", "natural", 0)}


def test_sounds_have_one_level_and_no_clipped_peak(heard: Path) -> None:
    key, levels = Key.read(heard), {}
    for name, item in key.items.items():
        samples, rate = soundfile.read(heard / "site" / "media" / f"{name}.wav", dtype="int16", always_2d=True)
        assert rate == 48000
        assert np.abs(samples.astype(int)).max() < 32767, item
        assert samples.shape[1] == (2 if item.role == "headphones" else 1)
        if item.role in ("main", "practice", "catch"):
            levels[item.layer, item.stimulus] = 20 * np.log10(root_mean_square(samples / 32767))
    assert {layer for layer, _ in levels} == {NATURAL, *LAYERS}
    assert np.ptp(list(levels.values())) < 0.01
    assert np.mean(list(levels.values())) == pytest.approx(-23, abs=0.01)


def test_practice_and_catch_sounds_are_none_of_the_main_part(heard: Path) -> None:
    shown: dict[str, set[str]] = {"main": set(), "practice": set(), "catch": set()}
    for item in Key.read(heard).items.values():
        if item.stimulus:
            shown[item.role].add(item.stimulus)
    assert {role: len(stimuli) for role, stimuli in shown.items()} == {"main": 9, "practice": 2, "catch": 1}
    assert set.union(*shown.values()) == {*NAMES}


def test_a_level_that_would_clip_is_lowered_for_all_and_said(studies: Path, tmp_path: Path) -> None:
    changes = CHANGES | {"sounds.level": -1.0, "sounds.format": "flac"}
    summary = build(studies / "sounds", tmp_path / "out", Plugins(installed=[]), changes=changes)
    assert any("so that 'photo" in remark and "is not clipped" in remark for remark in summary.remarks)
    levels, peaks = [], []
    for name, item in Key.read(tmp_path / "out").items.items():
        if item.role == "main":
            content = (tmp_path / "out" / "site" / "media" / f"{name}.flac").read_bytes()
            samples = soundfile.read(io.BytesIO(content), dtype="int16")[0]
            levels.append(20 * np.log10(root_mean_square(samples / 32767)))
            peaks.append(np.abs(samples.astype(int)).max())
    assert np.ptp(levels) < 0.01
    assert 32000 < max(peaks) <= 32767


@pytest.mark.parametrize("which", ["built", "heard"])
def test_nothing_that_is_served_tells_what_is_shown(which: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(which)
    key = Key.read(folder)
    secrets = {key.secret, "vision:", "audio:ear", "results.zarr", "metamer", *NAMES, *LAYERS[:2]}
    page = page_of(folder)
    told = {each["item"] for part in ("feedback", "free") for each in page["practice"][part]}
    told |= {trial["item"] for check in page["headphones"] for trial in check["trials"]}
    assert told == {name for name, item in key.items.items() if item.role in ("practice", "headphones")}
    asked = json.dumps({name: value for name, value in page.items() if name not in ("texts", "answers", "practice")})
    assert not [name for name in (*CATEGORIES, *secrets, NATURAL) if name in asked]
    for path in (folder / "site").rglob("*"):
        relative = path.relative_to(folder / "site")
        if path.is_dir() or relative.parts[0] not in ("media", "lists"):
            continue
        assert not [name for name in (*secrets, *CATEGORIES) if name.encode() in path.read_bytes()], relative
        assert path.stem in key.items or path.stem.startswith("mask") or path.stem.isdecimal()
    assert len({path.stat().st_mtime for path in (folder / "site" / "media").iterdir()}) == 1


def test_pictures_hold_no_metadata(built: Path) -> None:
    for path in (built / "site" / "media").iterdir():
        with Image.open(path) as picture:
            assert picture.size == (PICTURE.width, PICTURE.height)
            assert not picture.info
            assert not picture.getexif()


def test_names_of_natural_and_catch_files_are_of_the_same_form(built: Path) -> None:
    items = Key.read(built).items
    assert all(len(name) == 20 and set(name) <= set("0123456789abcdef") for name in items)
    assert list(items) == sorted(items)


def test_the_page_has_the_settings_of_the_experiment(built: Path, heard: Path) -> None:
    page, settings = page_of(built), read_settings(built)
    assert page["experiment"] == Key.read(built).experiment
    assert page["timing"] == {
        "fixation": 300,
        "signal": 300,
        "mask": 300,
        "practice": [500, 400, 400],
        "slow_practice": 8,
    }
    assert page["parts"] == ["consent", "instructions", "practice", "main", "survey", "debriefing"]
    assert page["consent"] == ["Yours."]
    assert [choice["name"] for choice in page["answers"]["choices"]] == CATEGORIES
    assert [choice["icon"] for choice in page["answers"]["choices"]] == ["icons/cat.svg", "icons/dog.svg", None]
    assert (built / "site" / "icons" / "cat.svg").is_file()
    assert (page["saving"], page["completion"]) == ({"to": "server"}, None)
    assert (settings.completion.code, settings.conditions.stimuli) == ("C0DE", 9)
    assert (len(page["practice"]["feedback"]), len(page["practice"]["free"])) == (3, 2)
    other = page_of(heard)
    assert [check["test"] for check in other["headphones"]] == ["antiphase", "huggins"]
    assert [len(check["trials"]) for check in other["headphones"]] == [6, 6]
    assert other["parts"][2:4] == ["level", "headphones"]
    assert other["answers"]["form"] == "typed"


def test_other_ways_of_saving_tell_the_page_the_code(studies: Path, tmp_path: Path) -> None:
    changes = CHANGES | {"saving.to": "datapipe", "saving.experiment_id": "abc"}
    build(studies / "small", tmp_path / "out", Plugins(installed=[]), changes=changes)
    page = page_of(tmp_path / "out")
    assert page["saving"] == {"to": "datapipe", "experiment_id": "abc"}
    assert page["completion"] == {"code": "C0DE", "redirect": ""}


def test_building_again_gives_the_same_bytes_and_another_folder_other_names(
    studies: Path, again: Path, tmp_path: Path
) -> None:
    one, two = shutil.copytree(again, tmp_path / "one"), tmp_path / "two"
    before, key = files_of(one), Key.read(one)
    for folder in (one, two):
        build(studies / "small", folder, Plugins(installed=[]), changes=CHANGES)
    assert files_of(one) == before
    assert not {*key.items} & {*Key.read(two).items}
    assert key.experiment != Key.read(two).experiment
    build(studies / "small", one, Plugins(installed=[]), changes=CHANGES | {"seed": 1})
    assert Key.read(one).secret == key.secret
    assert Key.read(one).experiment != key.experiment
    assert not [path for path in one.iterdir() if path.name.startswith(".")]


def test_the_random_rule_makes_a_list_for_each_participant(studies: Path, tmp_path: Path) -> None:
    changes = CHANGES | {"allocation.rule": "random", "allocation.lists": 3}
    build(studies / "small", tmp_path / "out", Plugins(installed=[]), changes=changes)
    key = Key.read(tmp_path / "out")
    assert len(key.lists) == 3
    shown = {name for number in range(3) for name in key.trials(number)}
    assert {name for name, item in key.items.items() if item.role == "main"} <= shown


def test_metamers_that_are_left_out_are_in_no_list(studies: Path, tmp_path: Path) -> None:
    changes = CHANGES | {"conditions.missing": "leave-out", "conditions.unsuccessful": "leave-out"}
    summary = build(studies / "small", tmp_path / "out", Plugins(installed=[]), changes=changes)
    assert any(remark.endswith("left out") for remark in summary.remarks)
    assert not [item for item in Key.read(tmp_path / "out").items.values() if item.reason]


def test_too_few_stimuli_for_practice_are_said(studies: Path, tmp_path: Path) -> None:
    changes = CHANGES | {"practice.feedback": 20}
    summary = build(studies / "small", tmp_path / "out", Plugins(installed=[]), changes=changes, dry_run=True)
    assert "12 practice stimuli are also originals of the main part" in summary.remarks
    assert "22 practice trials show 12 stimuli, so that some are repeated" in summary.remarks


def test_practice_can_show_stimuli_of_its_own(studies: Path, tmp_path: Path, drawn: Any) -> None:
    folder = drawn(tmp_path / "others", ["cat/x", "cat/y", "dog/x", "dog/y", "espresso/x"])
    changes = CHANGES | {"practice.stimuli": str(folder)}
    summary = build(studies / "small", tmp_path / "out", Plugins(installed=[]), changes=changes)
    assert not [remark for remark in summary.remarks if "practice" in remark]
    practice = [item for item in Key.read(tmp_path / "out").items.values() if item.role == "practice"]
    assert len(practice) == 5
    assert not {item.stimulus for item in practice} & {*NAMES}
    others = drawn(tmp_path / "more", ["owl/x"])
    with pytest.raises(MetameryError, match=r"shows 'owl', which is not among the answers"):
        build(
            studies / "small",
            tmp_path / "out",
            Plugins(installed=[]),
            changes=changes | {"practice.stimuli": str(others)},
        )


@pytest.mark.parametrize("text", [(), ("",), ("REPLACE THIS TEXT with the one",), ("Ours.", "And REPLACE THIS TEXT")])
def test_consent_to_nothing_is_refused(text: tuple[str, ...]) -> None:
    settings = resolve("picture", changes={"consent.text": list(text)})
    with pytest.raises(MetameryError, match="consent to is missing: give yours by --consent FILE"):
        check_consent(settings)
    check_consent(replace(settings, parts=("main",)))
    check_consent(replace(settings, consent=Consent(("Ours.",))))


def test_parts_for_sounds_are_refused_for_pictures(studies: Path, tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match="part 'level' is for sounds, and the study holds pictures"):
        build(studies / "pictures", tmp_path / "out", Plugins(installed=[]), preset="feather2023-sounds")


def test_an_experiment_with_answers_is_not_changed(studies: Path, again: Path, tmp_path: Path) -> None:
    out = shutil.copytree(again, tmp_path / "out")

    def refused(said: str) -> None:
        before = files_of(out)
        with pytest.raises(MetameryError, match=said):
            build(studies / "small", out, Plugins(installed=[]), changes=CHANGES | {"seed": 1})
        assert files_of(out) == before

    with closing(sqlite3.connect(out / "sessions.sqlite")) as database:
        database.execute("CREATE TABLE sessions (session TEXT)")
        check_unused(out)  # nobody has come yet
        database.execute("INSERT INTO sessions VALUES ('s')")
        database.commit()
    refused("holds sessions of participants and is not changed: choose another folder")
    (out / "sessions.sqlite").write_bytes(b"not a database" * 100)
    refused(r"sessions\.sqlite' cannot be read")
    (out / "sessions.sqlite").unlink()
    (out / "data").mkdir()
    refused("holds data of participants and is not changed")


def test_a_killed_replacement_keeps_the_secret(studies: Path, again: Path, tmp_path: Path) -> None:
    out = shutil.copytree(again, tmp_path / "out")
    before, left = Key.read(out), out / ".experiment.~elsewhere"
    (left / "old").mkdir(parents=True)
    (out / "key.json").rename(left / "old" / "key.json")
    with pytest.raises(MetameryError, match=r"it has no key\.json"):
        Key.read(out)
    build(studies / "small", out, Plugins(installed=[]), changes=CHANGES)
    assert Key.read(out) == before
    assert not left.exists()


def test_an_interrupted_build_leaves_the_earlier_one(
    studies: Path, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(again, tmp_path / "out")
    before = files_of(out)

    def interrupted(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "write_page", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(studies / "small", out, Plugins(installed=[]), changes=CHANGES | {"seed": 1})
    assert files_of(out) == before


def test_the_program_describes_and_builds(studies: Path, tmp_path: Path, command: Any) -> None:
    (tmp_path / "consent.txt").write_text("We ask you.\n")
    out, given = tmp_path / "out", ["--preset", "geirhos2018", "--set", 'answers.categories=""']
    described = command("experiment", "build", studies / "small", "-o", out, "--dry-run", *given)
    assert described.status == 0, described
    assert "4 conditions" in described.out
    assert "12 originals, 3 answers" in described.out
    assert "minutes for a participant" in described.out
    assert not out.exists()
    assert "consent to is missing" in command("experiment", "build", studies / "small", "-o", out, *given).error
    said = command("experiment", "build", studies / "small", "-o", out, "--consent", tmp_path / "consent.txt", *given)
    assert said.status == 0, said
    assert page_of(out)["timing"]["signal"] == 200
    assert "metamers not successful after rounding: shown all the same" in said.err
