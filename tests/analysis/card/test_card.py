"""The card of a tiny network: its numbers, the same bytes again, resumed, compared, and a line for each mistake."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from inputs import TINY
from metamery.analysis import run_study
from metamery.analysis.card.cautions import cautions
from metamery.analysis.card.compare import boards, lines, read_cards
from metamery.analysis.card.contents import Card, Estimate, read_card
from metamery.analysis.card.human_fit import published_fit
from metamery.analysis.card.work import plan
from metamery.framework import Plugins, open_study
from metamery.framework.choosing import spaced_layers
from metamery.framework.cli import main
from metamery.framework.store import StudyStore
from metamery.framework.study import Reference

Command = Callable[..., Any]

NETWORKS = TINY + "".join(
    f"\n\ndef {name}() -> Model:\n    return build({seed})\n" for seed, name in ((1, "one"), (2, "two"))
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> Path:
    """A folder with the networks, three pictures, and ``card.html`` with its JSON file and study."""
    folder = tmp_path_factory.mktemp("card")
    (folder / "tiny.py").write_text(NETWORKS, encoding="utf-8")
    drawn(folder / "pictures", ["cat/a", "dog/a", "owl/a"])
    assert main([str(each) for each in arguments(folder, folder / "card.html")]) == 0
    return folder


def arguments(folder: Path, output: Path, model: str = "build", jury: str = "one,two") -> list[object]:
    network = folder / "tiny.py"
    members = ",".join(f"{network}:{name}" for name in jury.split(","))
    return ["card", f"{network}:{model}", "--jury", members, "--stimuli", folder / "pictures", "-o", output]


def both(folder: Path) -> list[bytes]:
    return [(folder / f"card.{suffix}").read_bytes() for suffix in ("html", "json")]


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A copy of the folder of the card, beside the same networks and pictures."""
    for name in ("card.html", "card.json"):
        shutil.copy(made / name, tmp_path / name)
    shutil.copytree(made / "card.study", tmp_path / "card.study")
    return tmp_path


def test_its_numbers_are_those_of_its_study(made: Path) -> None:
    card = read_card(made / "card.json")
    layers = [layer.name for layer in card.layers]
    assert layers == list(spaced_layers(Plugins().load("model", f"{made / 'tiny.py'}:build"), 5))
    with open_study(made / "card.study") as tree:
        recognition, robustness = tree["recognition"].dataset, tree["robustness"].dataset
        for layer in card.layers:
            site = f"{card.network} {layer.name}"
            assert layer.others.value == pytest.approx(float(recognition["others"].sel(site=site)), abs=1e-5)
            correct = recognition["correct"].sel(site=site).sel(recogniser=[juror.name for juror in card.jury])
            assert layer.others.value == pytest.approx(float((correct == 1).mean()), abs=1e-5)
        accuracies = [card.accuracy, *(each.accuracy for each in card.robust)]
        assert [each.value for each in accuracies] == pytest.approx(robustness["accuracy"].values[0].tolist(), abs=1e-5)
    assert (card.made, card.stimuli.count, card.stimuli.counted, card.null_signals) == (15, 3, 3, 3)


def test_the_jury_s_recognition_of_the_hardest_and_easiest_is_that_of_each_stimulus_s_metamers(made: Path) -> None:
    card = read_card(made / "card.json")
    jury = [juror.name for juror in card.jury]
    with open_study(made / "card.study") as tree:
        answers = tree["diversity"].to_dataset()[["correct", "ordinary_correct"]].sel(recogniser=jury).load()
    every = xr.concat([answers["correct"], answers["ordinary_correct"]], "variant")
    for layer in card.layers:
        correct = every.sel(site=f"{card.network} {layer.name}").transpose("stimulus", "variant", "recogniser").values
        shares = [[float((a == 1).mean()) for a in metamers if (a >= 0).all()] for metamers in correct]
        found = [own for own in shares if own]
        assert layer.searched == len(found)
        assert len(shares) == 2  # of three stimuli
        for ends, end in ((max, layer.easiest), (min, layer.hardest)):
            expected = sum(map(ends, found)) / len(found) if found else None
            assert end.value == (None if expected is None else pytest.approx(expected, abs=1e-5))
    assert any(layer.searched for layer in card.layers)


def test_people_are_predicted_from_the_jury_alone(made: Path) -> None:
    card = read_card(made / "card.json")
    for layer in card.layers:
        expected = published_fit("vision").predict(layer.others.value or 0.0, members=2, choices=3, stimuli=3)
        found = (layer.people.value, layer.people.low, layer.people.high)
        assert found == pytest.approx((expected.value, expected.low, expected.high), rel=1e-3)


def test_the_same_command_gives_the_same_bytes_and_measures_nothing_again(made: Path, command: Command) -> None:
    before, times = both(made), created(made)
    assert command(*arguments(made, made / "card")).status == 0
    assert both(made) == before
    assert created(made) == times


def created(folder: Path) -> dict[str, float]:
    names = ("recognition", "robustness", "shift-consistency", "character", "diversity")
    return {name: (folder / "card.study" / "results.zarr" / name / "zarr.json").stat().st_mtime for name in names}


@pytest.mark.slow
def test_what_was_interrupted_ends_with_the_same_bytes(made: Path, tmp_path: Path, command: Command) -> None:
    network = f"{made / 'tiny.py'}:build"
    jury = [f"{made / 'tiny.py'}:{name}" for name in ("one", "two")]
    use = Reference("files:folder", {"path": str((made / "pictures").resolve())})
    asked = plan(network, jury, stimuli=use, plugins=Plugins())
    run_study(asked.study, tmp_path / "card.study", part="1/2")  # a part of the metamers, and no evaluation
    assert command(*arguments(made, tmp_path / "card.html")).status == 0
    assert both(tmp_path) == both(made)


def test_a_lost_evaluation_is_made_again(made: Path, copied: Path, command: Command) -> None:
    StudyStore.reopen(copied / "card.study").remove("recognition")
    times = created_without(copied, "recognition")
    assert command(*arguments(made, copied / "card.html")).status == 0
    assert both(copied) == both(made)
    assert created_without(copied, "recognition") == times


def created_without(folder: Path, name: str) -> list[float]:
    store = folder / "card.study" / "results.zarr"
    return [(store / n / "zarr.json").stat().st_mtime for n in ("robustness", "character") if n != name]


def test_another_jury_is_asked(made: Path, copied: Path, command: Command) -> None:
    assert command(*arguments(made, copied / "card.html", jury="two")).status == 0
    card = read_card(copied / "card.json")
    assert [juror.name.rpartition(":")[2] for juror in card.jury] == ["two"]
    assert card.layers[0].success == read_card(made / "card.json").layers[0].success


def test_the_page_needs_nothing_else(made: Path) -> None:
    page = (made / "card.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert set(re.findall(r'(?:src|href)="([^"#]{0,5})', page)) == {"data:", "card."}  # pictures; the study's report
    assert (made / "card.study" / "report.html").is_file()
    for layer in read_card(made / "card.json").layers:
        assert f">{layer.name}</th>" in page


def test_cards_are_compared(made: Path, tmp_path: Path, command: Command) -> None:
    card = read_card(made / "card.json")
    worse = Estimate(0.01, 0.001, 0.02)
    other = replace(card, network="vision:other", layers=(*card.layers[:-1], replace(card.layers[-1], people=worse)))
    (tmp_path / "a.json").write_text(other.to_json(), encoding="utf-8")
    shutil.copy(made / "card.json", tmp_path / "b.json")
    shutil.copy(made / "card.html", tmp_path / "b.html")
    said = command("card", "--compare", tmp_path, "-o", tmp_path / "board.html")
    assert said.status == 0
    names = [line.split()[0] for line in said.out.splitlines()[1:3]]
    assert names == [card.network, "other"]
    page = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert page.index(f'<a href="b.html">{card.network}</a>') < page.index(">other</th>")
    assert "these cards differ" not in said.err + page
    command("card", "--compare", tmp_path / "b.json", tmp_path / "a.json", "-o", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "board.html").read_bytes()


def test_cards_of_other_juries_are_not_said_to_be_comparable(made: Path, tmp_path: Path, command: Command) -> None:
    card = read_card(made / "card.json")
    (tmp_path / "a.json").write_text(replace(card, jury=card.jury[:1]).to_json(), encoding="utf-8")
    said = command("card", "--compare", made / "card.json", tmp_path / "a.json")
    assert "differ in their juries, not in the network alone" in said.err


def test_pictures_and_sounds_are_not_on_one_board(made: Path, tmp_path: Path) -> None:
    sounds = replace(read_card(made / "card.json"), kind="waveform")
    (tmp_path / "sounds.json").write_text(sounds.to_json(), encoding="utf-8")
    found = boards(read_cards([made / "card.json", tmp_path / "sounds.json"]))
    assert [(board.kind, len(board.entries)) for board in found] == [("image", 1), ("waveform", 1)]
    assert all(len(lines(board)) == 2 for board in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": 1}, "is of protocol 1, expected 2"),
        ({"schema": 7}, "has schema 7"),
        ({"layers": []}, "'layers' is empty"),
        ({"made": "many"}, "made is damaged: 'many', expected a whole number"),
        ({"accuracy": {"value": True, "low": None, "high": None}}, "accuracy, value is damaged: True"),
        ({"accuracy": {"value": 1}}, "accuracy is damaged: expected value, low, high"),
        ({"more": 1}, "is damaged: expected schema, protocol"),
        ({"jury": {}}, "expected a list"),
    ],
)
def test_what_is_not_a_card_is_one_line(
    change: dict[str, Any], message: str, made: Path, tmp_path: Path, command: Command
) -> None:
    table = json.loads((made / "card.json").read_text(encoding="utf-8")) | change
    (tmp_path / "b.json").write_text(json.dumps(table), encoding="utf-8")
    said = command("card", "--compare", made / "card.json", tmp_path / "b.json")
    assert said.status == 2
    assert message in said.error
    assert "b.json" in said.error


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--jury", "{tiny}:build"], "the jury contains the network itself"),
        (["--jury", "{tiny}:same"], "has the weights of"),
        ([], "a card needs a jury"),
        (["--jury", "{tiny}:one,{tiny}:one"], "twice"),
        (["--jury", "coch-cnn-digits"], "takes waveforms"),
        (["--jury", "efficientnet-lite9"], "unknown model 'efficientnet-lite9'; did you mean"),
        (["--jury", "{tiny}:one", "--labels", "imagenet16"], "did you mean 'imagenet-16'"),
        (["--jury", "{tiny}:one", "--labels", "imagenet-16", "--limit", "1"], "--limit is for --stimuli"),
        (["--jury", "{tiny}:one", "--stimuli", "nowhere"], "nowhere"),
        (["--jury", "{tiny}:one", "-o", "card.pdf"], "expected a file such as card.html"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    given: list[str], message: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = tmp_path / "tiny.py"
    tiny.write_text(NETWORKS + "\n\ndef same() -> Model:\n    return build()\n", encoding="utf-8")
    said = command("card", f"{tiny}:build", "-o", "card.html", *(each.format(tiny=tiny) for each in given))
    assert said.status == 2
    assert message in said.error
    assert {path.name for path in tmp_path.iterdir()} <= {"tiny.py", "__pycache__"}


def test_a_study_of_another_network_is_refused(made: Path, copied: Path, command: Command) -> None:
    before = both(copied)
    said = command(*arguments(made, copied / "card.html", model="one", jury="two"))
    assert said.status == 2
    assert "card.study" in said.error
    assert both(copied) == before


def test_a_dry_run_says_what_would_be_done(made: Path, tmp_path: Path, command: Command) -> None:
    said = command(*arguments(made, tmp_path / "x.html"), "--dry-run")
    assert said.status == 0
    assert "15 metamers, 4500 updates" in said.out
    assert "evaluate recognition, robustness, shift-consistency, character, diversity" in said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_several_networks_get_a_card_each_and_a_board(made: Path, tmp_path: Path, command: Command) -> None:
    one, *rest = arguments(made, tmp_path / "cards", model="build", jury="two")
    said = command(one, rest[0], f"{made / 'tiny.py'}:one", *rest[1:])
    assert said.status == 0, said.err
    cards = [read_card(path) for path in sorted((tmp_path / "cards").glob("*.json"))]
    assert len(cards) == 2
    board = (tmp_path / "cards" / "index.html").read_text(encoding="utf-8")
    assert all(f">{card.network}</a>" in board for card in cards)


def test_what_makes_a_card_uncertain_is_said(made: Path) -> None:
    card = read_card(made / "card.json")
    sure = replace(
        card,
        stimuli=replace(card.stimuli, counted=400),
        others_natural=Estimate(0.97, 0.96, 0.98),
        jury=tuple(replace(juror, choices=16) for juror in card.jury),
        layers=tuple(replace(layer, is_extrapolated=False) for layer in card.layers),
    )
    assert cautions(sure) == []
    doubted: list[tuple[Card, str]] = [
        (replace(sure, stimuli=card.stimuli), "3 stimuli"),
        (replace(sure, others_natural=Estimate(0.4, 0.2, 0.6)), "0.400 of the natural signals"),
        (replace(sure, jury=card.jury), "chooses from 3 answers, people chose from 16"),
        (replace(sure, layers=(replace(sure.layers[0], is_extrapolated=True),)), f"At {sure.layers[0].name} the jury"),
        (replace(sure, failed=2), "2 metamers"),
    ]
    for each, words in doubted:
        (line,) = cautions(each)
        assert words in line
