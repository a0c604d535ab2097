"""Sound files, good and bad."""

import struct

import numpy as np
import pytest
import soundfile
import torch
from metamery.framework import MetameryError
from metamery.plugins.audio.sounds import read_sound
from scipy.io import wavfile


def noise(samples=4000, high=0.5):
    return np.random.default_rng(samples).uniform(-high, high, samples).astype(np.float32)


def write(path, values, rate=8000, **options):
    soundfile.write(path, values, rate, **options)
    return path


def refused(path, said):
    with pytest.raises(MetameryError, match=said) as caught:
        read_sound(path)
    assert str(caught.value).startswith(f"the sound '{path}' ")
    assert "\n" not in str(caught.value)


def shortened(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    return path


@pytest.mark.parametrize(
    ("ending", "subtype", "error"),
    [
        ("wav", "PCM_16", 2**-15),
        ("wav", "PCM_24", 2**-23),
        ("wav", "PCM_U8", 2**-7),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("wav", "ULAW", 0.02),
        ("flac", "PCM_16", 2**-15),
        ("ogg", "VORBIS", 0.2),
    ],
)
def test_values_and_rate_are_those_that_were_written(tmp_path, ending, subtype, error):
    wave = np.sin(np.arange(16000) * 0.1).astype(np.float32) / 2
    signal, rate = read_sound(write(tmp_path / f"a.{ending}", wave, 16000, subtype=subtype))
    assert rate == 16000
    assert signal.dtype == torch.float32
    assert signal.shape == (16000,)
    assert float((signal - torch.from_numpy(wave)).abs().max()) <= error


def test_16_bits_are_read_as_scipy_reads_them_and_full_scale_is_1(tmp_path):
    whole = np.array([-32768, -1, 0, 1, 16384, 32767], dtype=np.int16)
    wavfile.write(tmp_path / "a.wav", 8000, whole)
    signal, _ = read_sound(tmp_path / "a.wav")
    assert torch.equal(signal, torch.from_numpy(whole.astype(np.float32) / 32768))


@pytest.mark.parametrize("channels", [2, 6])
def test_more_channels_than_one_are_refused(tmp_path, channels):
    refused(
        write(tmp_path / "a.wav", np.tile(noise()[:, None], channels)), f"a.wav' has {channels} channels, expected mono"
    )


def test_values_that_are_no_numbers_are_refused(tmp_path):
    wave = noise()
    wave[3], wave[5] = np.nan, np.inf
    refused(write(tmp_path / "a.wav", wave, subtype="FLOAT"), "has 2 samples that are NaN or infinite")


def test_values_beyond_full_scale_are_refused_with_the_peak(tmp_path):
    wave = noise()
    wave[7] = -1.25
    refused(write(tmp_path / "a.wav", wave, subtype="FLOAT"), "has values up to 1.25, expected −1 to 1")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_what_a_lossy_codec_adds_to_the_peaks_is_clamped(tmp_path, subtype):
    loud = np.sign(np.sin(np.arange(16000) * 0.05)).astype(np.float32)
    path = write(tmp_path / "a.ogg", loud, 16000, subtype=subtype)
    assert np.abs(soundfile.read(path)[0]).max() > 1
    assert float(read_sound(path)[0].abs().max()) == 1


def test_files_without_a_sample_are_empty(tmp_path):
    refused(write(tmp_path / "a.wav", noise(0)), "is empty")
    (tmp_path / "b.wav").touch()
    refused(tmp_path / "b.wav", "is empty")


def test_what_is_a_sound_by_its_name_only(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    refused(tmp_path / "a.wav", "cannot be read: Format not recognised")
    refused(tmp_path / "b.wav", "does not exist")


@pytest.mark.parametrize("keep", [0.5, 0.999])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.wav", {}),
        ("a.wav", {"subtype": "FLOAT"}),
        ("a.wav", {"format": "WAVEX"}),
        ("a.wav", {"format": "RF64"}),
        ("a.wav", {"subtype": "IMA_ADPCM"}),
        ("a.flac", {}),
        ("a.ogg", {}),
        ("a.ogg", {"subtype": "OPUS"}),
    ],
)
def test_a_file_that_is_cut_off_is_refused(tmp_path, name, options, keep):
    path = write(tmp_path / name, noise(80_000), **options)
    read_sound(path)
    refused(shortened(path, keep), "is cut off or damaged|cannot be read: flac decoder lost sync")


def test_it_is_said_how_much_of_a_wav_is_there(tmp_path):
    path = write(tmp_path / "a.wav", noise())
    path.write_bytes(path.read_bytes()[:1044])
    refused(path, "is cut off or damaged: its header states 8000 bytes of samples, but it has 1000")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFDB])
def test_a_wav_that_was_written_to_a_pipe_has_no_known_size(tmp_path, size):
    path = write(tmp_path / "a.wav", noise())
    content = bytearray(path.read_bytes())
    assert content[36:44] == b"data" + struct.pack("<I", 8000)
    content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    assert len(read_sound(path)[0]) == 4000


def test_less_than_the_header_says_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise())
    read = soundfile.SoundFile.read
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *given, **options: read(*given, **options)[:-5])
    refused(path, "is cut off or damaged: its header states 4000 samples, but it has 3995")


def patched(path, place, form, value):
    content = bytearray(path.read_bytes())
    content[place : place + struct.calcsize(form)] = struct.pack(form, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("rate", [0, 1, 99, 10**9, 2**31, 2**32 - 1])
def test_a_rate_that_cannot_be_is_refused(tmp_path, rate):
    path = patched(write(tmp_path / "a.wav", noise()), 24, "<I", rate)
    refused(path, f"states a sample rate of {rate} Hz, expected 100 to 10000000|cannot be read: ")


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (0, "does not state its number of samples: expected a file, not a stream"),
        (4001, "cannot be read|cut off"),
        (2**29, "cannot be read|cut off"),
        (2**29 + 1, "states 536870913 samples, expected at most 536870912: cut it first"),
        (2**36 - 1, "states 68719476735 samples, expected at most"),
    ],
)
def test_a_flac_whose_header_states_more_than_there_is_is_refused(tmp_path, total, said):
    path = write(tmp_path / "a.flac", noise())
    stated = int.from_bytes(path.read_bytes()[18:26], "big")  # the last 36 bits are the number of samples
    refused(patched(path, 18, ">Q", stated >> 36 << 36 | total), said)


def test_an_aiff_that_is_cut_off_is_refused(tmp_path):
    path = write(tmp_path / "a.aiff", noise(80_000))
    read_sound(path)
    refused(shortened(path, 0.9), "is cut off or damaged: its header states 160008 bytes of samples, but it has 144")


@pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="this libsndfile was built without MP3")
def test_mp3_is_refused_whatever_its_name(tmp_path):
    refused(write(tmp_path / "a.wav", noise(), 16000, format="MP3"), "is MP3, which may be read only in part")
