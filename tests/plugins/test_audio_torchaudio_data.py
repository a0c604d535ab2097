"""torchaudio's data sets, written to disk in their original format, so without the internet."""

import inspect
from urllib.error import URLError

import numpy as np
import pytest
import soundfile
import torch
from metamery.framework import MetameryError
from metamery.framework.errors import UnknownNameError
from metamery.framework.testing import check_stimuli
from metamery.plugins.audio.torchaudio_data import DATA_SETS, torchaudio_data, torchaudio_data_names
from torchaudio import datasets


def record(path, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(len(path.name)).uniform(-0.5, 0.5, 1600).astype(np.float32)
    soundfile.write(path, wave, rate)


@pytest.fixture
def commands(tmp_path):
    """Three speakers say two words each; there are lists of who is for validation and for testing, and noise."""
    folder = tmp_path / "SpeechCommands" / "speech_commands_v0.02"
    for speaker in ("0a7c2a8d", "b21f0fa4", "c50f55b8"):
        for word in ("yes", "no"):
            record(folder / word / f"{speaker}_nohash_0.wav")
    record(folder / "yes" / "0a7c2a8d_nohash_1.wav")
    record(folder / "_background_noise_" / "pink_noise.wav")
    (folder / "validation_list.txt").write_text("no/b21f0fa4_nohash_0.wav\nyes/b21f0fa4_nohash_0.wav\n")
    (folder / "testing_list.txt").write_text("no/c50f55b8_nohash_0.wav\nyes/c50f55b8_nohash_0.wav\n")
    return tmp_path


@pytest.fixture
def readings(tmp_path):
    """Two readers, with one and two sentences."""
    for speaker, chapter, count in ((1089, 134686, 2), (61, 70968, 1)):
        folder = tmp_path / "LibriSpeech" / "test-clean" / str(speaker) / str(chapter)
        names = [f"{speaker}-{chapter}-{number:04d}" for number in range(count)]
        for name in names:
            record(folder / f"{name}.flac")
        text = "".join(f"{name} A SENTENCE\n" for name in names)
        (folder / f"{speaker}-{chapter}.trans.txt").write_text(text)
    return tmp_path


@pytest.fixture
def answers(tmp_path):
    for name in ("0_0_0_0_1_1_1_1", "1_0_1_0_0_1_1_0"):
        record(tmp_path / "waves_yesno" / f"{name}.wav", 8000)
    return tmp_path


def test_words_speakers_and_splits(commands):
    test = torchaudio_data("SPEECHCOMMANDS", root=commands)
    assert [(s.category, s.group, s.name) for s in test] == [
        ("no", "c50f55b8", "SPEECHCOMMANDS-test-0"),
        ("yes", "c50f55b8", "SPEECHCOMMANDS-test-1"),
    ]
    assert (test[0].sample_rate, test[0].licence) == (16000, "CC BY 4.0")
    assert {s.group for s in torchaudio_data("SPEECHCOMMANDS", root=commands, split="validation")} == {"b21f0fa4"}
    train = torchaudio_data("SPEECHCOMMANDS/train", root=commands, download=False)
    assert [s.category for s in train] == ["no", "yes", "yes"]
    assert {s.group for s in train} == {"0a7c2a8d"}
    check_stimuli(train)


def test_the_signal_is_the_files(commands):
    signal = torchaudio_data("SPEECHCOMMANDS", root=commands)[1].signal
    values, _ = soundfile.read(
        commands / "SpeechCommands/speech_commands_v0.02/yes/c50f55b8_nohash_0.wav", dtype="float32"
    )
    assert torch.equal(signal, torch.from_numpy(values))


def test_readers(readings):
    read = torchaudio_data("LIBRISPEECH/test-clean", root=readings)
    assert [(s.category, s.group) for s in read] == [("1089", "1089"), ("1089", "1089"), ("61", "61")]
    assert [s.name for s in read] == [f"LIBRISPEECH-test-clean-{number}" for number in range(3)]
    check_stimuli(read)


def test_answers_in_eight_words(answers):
    said = torchaudio_data("YESNO", root=answers, split="all")
    assert [s.category for s in said] == ["no no no no yes yes yes yes", "yes no yes no no yes yes no"]
    assert {(s.group, s.sample_rate) for s in said} == {("", 8000)}
    check_stimuli(said)


def test_categories_are_known_without_decoding(commands, readings, answers, monkeypatch):
    for name in ("SPEECHCOMMANDS/test", "LIBRISPEECH/test-clean", "YESNO/all"):
        data = torchaudio_data(name, root=commands)
        expected = [stimulus.category for stimulus in data]
        with monkeypatch.context() as patched:
            patched.setattr(type(data), "__getitem__", None)
            assert data.categories == expected


def test_limit_is_spread_and_renames_none(readings):
    names = [s.name for s in torchaudio_data("LIBRISPEECH/test-clean", root=readings, limit=2)]
    assert names == ["LIBRISPEECH-test-clean-0", "LIBRISPEECH-test-clean-1"]
    with pytest.raises(MetameryError, match="limit is 0"):
        torchaudio_data("LIBRISPEECH/test-clean", root=readings, limit=0)


def test_names_and_splits_are_checked(commands):
    with pytest.raises(UnknownNameError, match="unknown torchaudio data set 'YESNOO'; did you mean 'YESNO'"):
        torchaudio_data("YESNOO")
    with pytest.raises(UnknownNameError, match="split of torchaudio/SPEECHCOMMANDS: 'trian'; did you mean 'train'"):
        torchaudio_data("SPEECHCOMMANDS/trian", root=commands)
    with pytest.raises(UnknownNameError, match="split of torchaudio/LIBRISPEECH: 'test'; did you mean 'test-"):
        torchaudio_data("LIBRISPEECH")
    with pytest.raises(UnknownNameError, match="Known: all"):
        torchaudio_data("YESNO")
    with pytest.raises(MetameryError, match="SPEECHCOMMANDS/train names a split, and so does split = 'test'"):
        torchaudio_data("SPEECHCOMMANDS/train", split="test")


def test_every_split_is_one_that_torchaudio_takes():
    assert torchaudio_data_names() == list(DATA_SETS)
    for name, known in DATA_SETS.items():
        accepted = set(inspect.signature(getattr(datasets, name)).parameters)
        assert all(set(arguments) | {"download"} <= accepted for arguments in known.splits.values()), name


def test_missing_data_and_failed_downloads_are_one_line(tmp_path, monkeypatch):
    for name in ("SPEECHCOMMANDS/test", "LIBRISPEECH/dev-clean", "YESNO/all"):
        start = name.partition("/")[0]
        with pytest.raises(MetameryError, match=f"torchaudio/{start} could not be read from '.*nowhere': "):
            torchaudio_data(name, root=tmp_path / "nowhere", download=False)
        assert not (tmp_path / "nowhere").exists()

    def fail(*given, **options):
        raise URLError("no network")

    for module in ("speechcommands", "librispeech", "yesno"):
        monkeypatch.setattr(f"torchaudio.datasets.{module}.download_url_to_file", fail)
    for name in ("SPEECHCOMMANDS/test", "LIBRISPEECH/dev-clean", "YESNO/all"):
        with pytest.raises(MetameryError, match=r"could not be downloaded into .*new': .*no network") as caught:
            torchaudio_data(name, root=tmp_path / "new")
        assert "\n" not in str(caught.value)
    assert (tmp_path / "new").is_dir()  # which torchaudio does not make


def test_damaged_data_are_one_line(commands, readings, answers):
    (commands / "SpeechCommands/speech_commands_v0.02/no/c50f55b8_nohash_0.wav").unlink()
    with pytest.raises(MetameryError, match=r"no/c50f55b8_nohash_0.wav' does not exist"):
        torchaudio_data("SPEECHCOMMANDS", root=commands)[0]
    next(readings.rglob("1089*.trans.txt")).unlink()
    with pytest.raises(MetameryError, match=r"torchaudio/LIBRISPEECH in '.*' is damaged: .*No such file"):
        torchaudio_data("LIBRISPEECH/test-clean", root=readings)[0]
    record(answers / "waves_yesno" / "0_0_7.wav")
    with pytest.raises(MetameryError, match=r"torchaudio/YESNO in '.*' is damaged"):
        _ = torchaudio_data("YESNO/all", root=answers).categories


def test_a_data_set_without_recordings_is_refused(tmp_path):
    (tmp_path / "waves_yesno").mkdir()
    with pytest.raises(MetameryError, match=r"torchaudio/YESNO could not be read from '.*': it contains no recordings"):
        torchaudio_data("YESNO/all", root=tmp_path)
