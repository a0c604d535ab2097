import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from metamery.analysis.studies.export import export
from metamery.framework import MetameryError, open_study
from metamery.framework.domains import ImageDomain
from metamery.framework.store import StudyStore
from PIL import Image
from scipy.io import wavfile
from studies import IMAGE, JUDGED, LAYERS, REASON, SEEDS, SOUND, STIMULI, make_study

FILES = len(STIMULI) + len(LAYERS) * len(STIMULI) * len(SEEDS) - 2


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metamers.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def everything(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_pictures_hold_the_quantised_signals(tmp_path: Path, low: float) -> None:
    domain = ImageDomain(3, 8, 10, low=low)
    study = make_study(tmp_path / "study", {"vision:net": domain})
    assert export(study, tmp_path / "out") == FILES
    with open_study(study) as tree:
        natural = tree["models/vision+net/stimuli"]["signal"].sel(stimulus="coffee").values
        metamer = tree["models/vision+net/metamers"]["signal"].sel(layer="blocks[0].relu", stimulus="coffee", seed=1)
        pairs = {"natural/coffee": natural, "blocks[0].relu/coffee_seed1": metamer.values}
        for name, signal in pairs.items():
            with Image.open(tmp_path / "out" / "vision+net" / f"{name}.png") as image:
                pixels = np.asarray(image).transpose(2, 0, 1).astype(np.float32)
            expected = domain.quantise(torch.from_numpy(signal)).numpy()
            np.testing.assert_allclose(low + (1 - low) * pixels / 255, expected, rtol=0, atol=1e-6)
            assert np.abs(expected - signal).max() <= 0.5001 * (1 - low) / 255


def test_sounds_hold_the_quantised_signals(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", {"audio:net": SOUND})
    assert export(study, tmp_path / "out") == FILES
    rate, samples = wavfile.read(tmp_path / "out" / "audio+net" / "output" / "chelsea_seed0.wav")
    assert rate == SOUND.sample_rate
    assert samples.dtype == np.int16
    with open_study(study) as tree:
        signal = tree["models/audio+net/metamers"]["signal"].sel(layer="output", stimulus="chelsea", seed=0).values
    expected = SOUND.quantise(torch.from_numpy(signal)).numpy()
    np.testing.assert_allclose(samples / 32767, expected, rtol=0, atol=1e-7)


def heard(out: Path) -> dict[str, np.ndarray]:
    """Every sound's samples as shares of full scale, by the name of its file."""
    return {path.relative_to(out).as_posix(): wavfile.read(path)[1] / 32767 for path in out.rglob("*.wav")}


def decibels(value: float) -> float:
    return 20 * float(np.log10(value))


def test_the_table_states_each_sound_s_level(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(make_study(tmp_path / "study", {"audio:net": SOUND}), out)
    sounds = heard(out)
    assert len(sounds) == FILES
    for row in rows(out):
        stated = [row[column] for column in ("peak_dbfs", "rms_dbfs", "gain_db", "limited")]
        if not row["file"]:
            assert stated == ["", "", "", ""]
            continue
        samples = sounds[row["file"]]
        assert float(stated[0]) == pytest.approx(decibels(np.abs(samples).max()), abs=0.0051)
        assert float(stated[1]) == pytest.approx(decibels(np.sqrt((samples**2).mean())), abs=0.0051)
        assert stated[2:] == ["0.00", ""]


@pytest.mark.parametrize(("level", "limited"), [(-23.0, "no"), (-1.0, "yes")])
def test_sounds_are_set_to_a_level_as_far_as_their_peaks_allow(tmp_path: Path, level: float, limited: str) -> None:
    study = make_study(tmp_path / "study", {"audio:net": SOUND, "vision:net": IMAGE})
    export(study, tmp_path / "as measured")
    export(study, tmp_path / "out", level)
    measured, sounds = heard(tmp_path / "as measured"), heard(tmp_path / "out")
    assert sorted(measured) == sorted(sounds)
    for row in rows(tmp_path / "out"):
        stated = [row[column] for column in ("peak_dbfs", "rms_dbfs", "gain_db", "limited")]
        if row["model"] == "vision:net" or not row["file"]:
            assert stated == ["", "", "", ""]
            continue
        own, samples = measured[row["file"]], sounds[row["file"]]
        assert np.abs(samples).max() <= 1
        gain = 10 ** (float(row["gain_db"]) / 20)
        np.testing.assert_allclose(samples, gain * own, rtol=0, atol=0.7e-3)  # 2 decimals of a dB, and 16 bits
        assert row["limited"] == limited
        if limited == "no":
            assert float(row["rms_dbfs"]) == pytest.approx(level, abs=0.006)
        else:
            assert (row["peak_dbfs"], float(row["rms_dbfs"]) < level) == ("0.00", True)


def test_silence_has_no_level_and_stays_silent(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study", {"audio:net": SOUND}), tmp_path / "out"
    StudyStore.reopen(study).write(
        "models/audio+net/stimuli", {"stimulus": slice(0, 1)}, {"signal": np.zeros((1, 400))}
    )
    export(study, out, -20.0)
    row = rows(out)[0]
    assert [row[column] for column in ("peak_dbfs", "rms_dbfs", "gain_db", "limited")] == ["-inf", "-inf", "0.00", "no"]
    assert not heard(out)[row["file"]].any()


def test_a_level_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for level in (3.0, float("nan"), float("-inf")):
        with pytest.raises(MetameryError, match="expected dBFS of at most 0, such as -23"):
            export(tmp_path / "study", tmp_path / "out", level)
    study = make_study(tmp_path / "study", {"vision:net": IMAGE})
    with pytest.raises(MetameryError, match=r"the level is -23 dBFS, but .* holds pictures only"):
        export(study, tmp_path / "out", -23.0)
    assert not (tmp_path / "out").exists()


def test_the_table_has_a_row_for_everything(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(make_study(tmp_path / "study", {"vision:net": IMAGE, "audio:net": SOUND}), out)
    table = rows(out)
    assert len(table) == 2 * len(STIMULI) * (1 + len(LAYERS) * len(SEEDS))
    assert {row["file"] for row in table} - {""} == everything(out) - {"metamers.csv"}
    by = {(row["model"], row["layer"], row["stimulus"], row["seed"]): row for row in table}
    with open_study(tmp_path / "study") as tree:
        match = tree["models/vision+net/match"]["match"].load()
    at = {"layer": "blocks[0].relu", "measured_layer": "blocks[0].relu", "stimulus": "chelsea", "seed": 0}
    own = {metric: str(match.sel(metric=metric, **at).values) for metric in JUDGED}
    assert by["vision:net", "blocks[0].relu", "chelsea", "0"] == {
        "file": "vision+net/blocks[0].relu/chelsea_seed0.png",
        "model": "vision:net",
        "layer": "blocks[0].relu",
        "stimulus": "chelsea",
        "seed": "0",
        "category": "cat",
        "state": "done",
        "reason": "",
        "loss": "0.015625",
        "steps": "6",
        "predicted": "espresso",
        "natural_predicted": "tabby, tabby cat",
        "agrees": "no",
        "success": "no",
        "matches": "yes",
        "quantised_success": "no",
        "pearson": own["pearson"],
        "spearman": own["spearman"],
        "snr_db": own["snr_db"],
        "peak_dbfs": "",
        "rms_dbfs": "",
        "gain_db": "",
        "limited": "",
        "licence": "CC0 1.0",
        "source": "https://example.org/cat",
    }
    natural = by["audio:net", "natural", "rocket", ""]
    assert (natural["state"], natural["predicted"]) == ("done", "missile")
    failed, missing = by["vision:net", "output", "coffee", "0"], by["vision:net", "output", "rocket", "1"]
    assert (failed["file"], failed["state"], failed["reason"]) == ("", "failed", REASON)
    assert (missing["file"], missing["state"], missing["reason"]) == ("", "missing", "")
    assert {missing[column] for column in ("success", "matches", "quantised_success", *JUDGED)} == {""}
    verdicts = {
        ("conv1", "coffee", "1"): ("yes", "yes", "yes"),
        ("blocks[0].relu", "coffee", "1"): ("no", "no", "no"),
        ("blocks[0].relu", "rocket", "0"): ("yes", "yes", "no"),
        ("output", "chelsea", "0"): ("unattainable", "unattainable", "unattainable"),
    }
    for place, expected in verdicts.items():
        row = by["vision:net", *place]
        assert (row["success"], row["matches"], row["quantised_success"]) == expected
    assert by["vision:net", "conv1", "coffee", "1"]["snr_db"] == "inf"


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    hostile = ["../../up", "a/b", "A b", "..", "é" * 300]
    out = tmp_path / "out"
    study = make_study(tmp_path / "study", {"vision:net": IMAGE}, hostile, finished=True)
    count = export(study, out)
    assert count == len(hostile) * (1 + len(LAYERS) * len(SEEDS))
    assert len({name.casefold() for name in everything(out)}) == count + 1
    assert {path.name for path in tmp_path.iterdir()} == {"study", "out"}


def test_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study", {"vision:net": IMAGE}), tmp_path / "out"
    export(study, out)
    before = everything(out)
    (out / "notes.txt").write_text("mine")
    store = StudyStore.reopen(study)
    first = {"layer": slice(0, 1), "stimulus": slice(0, 1), "seed": slice(0, 1)}
    store.write("models/vision+net/metamers", first, {"state": [[[2]]]})
    assert export(study, out) == FILES - 1
    assert everything(out) == before - {"vision+net/conv1/chelsea_seed0.png"} | {"notes.txt"}


def test_a_table_that_points_outside_removes_nothing_there(tmp_path: Path) -> None:
    study, out = make_study(tmp_path / "study", {"vision:net": IMAGE}), tmp_path / "out"
    export(study, out)
    outside = tmp_path / "precious.png"
    outside.write_text("mine")
    with (out / "metamers.csv").open("a", encoding="utf-8") as file:
        file.write("../precious.png" + "," * 20 + "\n")
    export(study, out)
    assert outside.read_text() == "mine"


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", {"vision:net": IMAGE})
    with pytest.raises(MetameryError, match="holds a study; choose another folder"):
        export(study, study)
    (tmp_path / "file").write_text("")
    with pytest.raises(MetameryError, match="expected a folder"):
        export(study, tmp_path / "file")


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(make_study(tmp_path / "study", {"vision:net": IMAGE}), tmp_path / "out")
    assert len(everything(tmp_path / "out")) == FILES + 1


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", {"vision:net": ImageDomain(5, 4, 4)})
    with pytest.raises(MetameryError, match="5 channels"):
        export(study, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_letters_of_any_script_stay_and_only_what_no_disk_holds_is_replaced(tmp_path: Path) -> None:
    stimuli = ["Käfer", "käfer", "狐 1", "what?", "CON", "e\N{COMBINING ACUTE ACCENT}", "é"]
    study = make_study(tmp_path / "study", {"vision:net": IMAGE}, stimuli, layers=["1"], seeds=[0], finished=True)
    export(study, tmp_path / "out")
    names = [path.stem for path in (tmp_path / "out" / "vision+net" / "natural").iterdir()]
    assert sorted(names) == sorted(["Käfer", "käfer-2", "狐 1", "what_", "CON_", "é", "é-2"])
