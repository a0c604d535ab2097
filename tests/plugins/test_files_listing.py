"""What a folder leaves out is named, a class that would vanish is an error; transparency, odd names, odd headers."""

import os
import pickle
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import soundfile
import torch
from metamery.framework import ImageDomain, MetameryError, Plugins
from metamery.plugins.vision.pictures import ENDINGS
from PIL import Image, features

NOT_UTF8 = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def load():
    plugins = Plugins(installed=())
    return lambda path, **options: plugins.load("stimuli", "folder", path=str(path), **options)


def save(path, mode="RGB", value=100, size=(6, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)
    return path


def record(path, samples=800):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, samples), 8000, format="WAV")


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def two(tmp_path):
    for name in ("cat/1.png", "cat/2.PNG", "dog/1.png"):
        save(tmp_path / name)
    return tmp_path


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [str(each.message).splitlines()[0] for each in caught]


# What is left out


def test_nothing_is_said_where_nothing_is_left_out(two, load):
    for name in (".DS_Store", "Thumbs.db", "cat/desktop.ini", "cat/.hidden.heic", ".cache/x.heic", "__MACOSX/1.heic"):
        put(two / name)
    stimuli, said = warned(lambda: load(two))
    assert len(stimuli) == 3
    assert not said


@pytest.mark.parametrize(
    ("names", "summary"),
    [
        (["cat/3.heic", "cat/4.HEIC", "dog/2.heic"], "3 files in .heic"),
        (["cat/3.mp4"], "1 file in .mp4"),
        (
            ["labels.csv", "README", "cat/3.svg", "dog/3.svg"],
            "2 files in .svg, 1 file in .csv, 1 file without an ending",
        ),
        (["cat/more/3.png"], "1 folder ('more')"),
        (["cat/3.png.part", "cat/3.heic"], "1 file in .heic, 1 file in .part|1 file in .part, 1 file in .heic"),
    ],
)
def test_other_endings_are_named_with_numbers_in_one_line(two, load, names, summary):
    for name in names:
        put(two / name)
    stimuli, said = warned(lambda: load(two))
    assert len(stimuli) == 3
    assert len(said) == 1
    assert said[0] in [f"left out of the folder '{two}': {each}" for each in summary.split("|")]


def test_mp3_beside_wav_is_named(tmp_path, load):
    record(tmp_path / "yes/1.wav")
    record(tmp_path / "no/1.wav")
    put(tmp_path / "no/2.mp3")
    _, said = warned(lambda: load(tmp_path))
    assert said == [f"left out of the folder '{tmp_path}': 1 file in .mp3"]


def test_links_are_followed_and_broken_ones_named(two, load):
    save(two.parent / "elsewhere/bird/1.png")
    (two / "bird").symlink_to(two.parent / "elsewhere/bird")
    (two / "dog/2.png").symlink_to(two / "cat/1.png")
    (two / "dog/3.png").symlink_to(two / "nowhere.png")
    (two / "dog/loop.png").symlink_to(two / "dog/loop.png")
    stimuli, said = warned(lambda: load(two))
    assert stimuli.categories == ["bird", "cat", "cat", "dog", "dog"]
    assert said == [f"left out of the folder '{two}': 2 broken links ('3.png', …)"]


def test_folders_beside_a_flat_list_are_no_classes_but_named(tmp_path, load):
    save(tmp_path / "1.png")
    put(tmp_path / "raw/1.heic")
    (tmp_path / "empty").mkdir()
    stimuli, said = warned(lambda: load(tmp_path))
    assert stimuli.categories == [""]
    assert said == [f"left out of the folder '{tmp_path}': 2 folders ('empty', …)"]


# Classes that would vanish


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["bird/1.heic", "bird/2.HEIC"], r"'bird' \(2 files in \.heic\)"),
        (["bird/1.svg", "bird/notes.txt"], r"'bird' \(1 file in \.\w+, 1 file in \.\w+\)"),
        (["bird/robin/1.png"], r"'bird' \(1 folder \('robin'\)\)"),
        (["bird/"], r"'bird' \(empty\)"),
        (["bird/.hidden.png"], r"'bird' \(empty\)"),
        (["ant/1.mp3", "bee/", "bird/", "cow/"], r"'ant' \(1 file in \.mp3\), 'bee' \(empty\), 'bird' .* and 1 more"),
    ],
)
def test_a_class_without_a_file_to_read_is_an_error(two, load, names, found):
    for name in names:
        (two / name).mkdir(parents=True) if name.endswith("/") else put(two / name)
    count = len({name.split("/")[0] for name in names})
    said = rf"of {count + 2} classes in the folder .*, {count} would be lost: {found}; expected pictures .* in each"
    with pytest.raises(MetameryError, match=said):
        load(two)


def test_a_class_of_broken_links_is_an_error(two, load):
    (two / "bird").mkdir()
    (two / "bird/1.png").symlink_to(two / "nowhere.png")
    with pytest.raises(MetameryError, match=r"would be lost: 'bird' \(1 broken link \('1.png'\)\)"):
        load(two)


def test_a_class_of_which_nothing_can_be_read_is_an_error(two, load):
    put(two / "bird/1.png", b"no picture")
    put(two / "bird/2.png", b"no picture")
    said = r"none of the 2 pictures of class 'bird' in the folder .* can be read"
    with pytest.warns(UserWarning, match="left out"), pytest.raises(MetameryError, match=said):
        load(two, skip_unreadable=True)


def test_a_folder_of_other_endings_alone_says_which(tmp_path, load):
    put(tmp_path / "1.heic")
    with pytest.raises(MetameryError, match=r"no pictures and no sounds .*; it holds 1 file in \.heic"):
        load(tmp_path)
    put(tmp_path / "cat/1.mp3")
    with pytest.raises(MetameryError, match=r"no pictures and no sounds .*cat' holds 1 file in \.mp3"):
        load(tmp_path)


def test_a_study_beside_the_classes_is_no_class(two, load):
    put(two / "study/results.zarr/zarr.json")
    put(two / "study/report.html")
    stimuli, said = warned(lambda: load(two))
    assert {*stimuli.categories} == {"cat", "dog"}
    assert not said


# Further formats


@pytest.mark.parametrize(
    ("ending", "feature"), [("avif", "avif"), ("jp2", "jpg_2000"), ("jfif", "jpg"), ("jpe", "jpg"), ("pnm", "jpg")]
)
def test_what_pillow_reads_is_read(tmp_path, load, ending, feature):
    if not features.check(feature):
        pytest.skip(f"this Pillow was built without {feature}")
    Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / f"a.{ending}")
    signal = load(tmp_path)[0].signal
    torch.testing.assert_close(signal.mean(dim=(1, 2)) * 255, torch.tensor([200.0, 100, 50]), atol=4, rtol=0)
    whole = (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MetameryError, match="cannot be read"):
        load(tmp_path)[0]


@pytest.mark.parametrize("ending", ["avif", "jp2", "jfif", "pnm"])
def test_damaged_pictures_are_read_or_refused(tmp_path, load, ending):
    if f".{ending}" not in ENDINGS:
        pytest.skip("this Pillow was built without it")
    generator = np.random.default_rng(0)
    path = tmp_path / f"a.{ending}"
    Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    whole, refused = path.read_bytes(), 0
    for place in np.linspace(0, len(whole) - 4, 60).astype(int):
        put(path, whole[:place] + generator.bytes(3) + whole[place + 3 :])
        try:
            load(tmp_path)[0]
        except MetameryError:
            refused += 1
    assert refused


@pytest.mark.parametrize(("ending", "options"), [("aif", {}), ("aiff", {}), ("oga", {}), ("opus", {"subtype": "OPUS"})])
def test_what_libsndfile_reads_whole_is_read(tmp_path, load, ending, options):
    wave = 0.5 * np.sin(np.arange(16000) * 0.1)
    kind = "AIFF" if ending.startswith("aif") else "OGG"
    soundfile.write(tmp_path / f"a.{ending}", wave, 16000, format=kind, **options)
    signal = load(tmp_path)[0].signal.numpy()
    assert np.corrcoef(signal, wave)[0, 1] > 0.99
    whole = (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MetameryError, match=r"cut off or damaged|cannot be read: .* malformed"):
        load(tmp_path)[0]


# Transparency


@pytest.mark.parametrize(
    ("mode", "value", "background", "expected"),
    [
        ("RGBA", (255, 0, 0, 51), "white", [1.0, 0.8, 0.8]),
        ("RGBA", (255, 0, 0, 0), "#102030", [16 / 255, 32 / 255, 48 / 255]),
        ("LA", (255, 51), "black", [0.2]),
        ("LA", (255, 51), "red", [1.0, 0.2, 0.2]),
        ("RGBA", (9, 8, 7, 255), "white", [9 / 255, 8 / 255, 7 / 255]),
    ],
)
def test_a_background_lies_behind_what_is_partly_transparent(tmp_path, load, mode, value, background, expected):
    save(tmp_path / "a.png", mode, value)
    signal = load(tmp_path, background=background)[0].signal
    torch.testing.assert_close(signal, torch.tensor(expected)[:, None, None].expand(-1, 6, 6), atol=1e-6, rtol=0)
    assert ImageDomain(3, 6, 6).fit(load(tmp_path, background=background)[0]).shape == (3, 6, 6)


def test_worker_processes_get_the_background_too(tmp_path, load):
    save(tmp_path / "a.png", "RGBA", (255, 0, 0, 51))
    assert len(pickle.loads(pickle.dumps(load(tmp_path, background="white")))[0].signal) == 3


def test_a_palette_with_a_transparent_colour_is_laid_on_the_background(tmp_path, load):
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "clear.png", transparency=b"\x00\xff")
    signal = load(tmp_path, background="lime")[0].signal
    assert signal[:, 0, 0].tolist() == [0, 1, 0]
    assert signal[:, 1:].min() == 1


def test_a_grey_of_16_bits_that_counts_as_transparent_is_laid_on_the_background(tmp_path, load):
    values = np.full((6, 6), 32768, dtype=np.uint16)
    values[0, 0] = 5
    Image.fromarray(values).save(tmp_path / "a.png", transparency=5)
    assert load(tmp_path)[0].signal.shape == (2, 6, 6)
    signal = load(tmp_path, background="white")[0].signal
    assert signal[0, 0, :2].tolist() == pytest.approx([1, 0.5], abs=1e-4)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert load(tmp_path)[0].signal.shape == (1, 6, 6)


def test_partly_transparent_pictures_are_skipped_when_asked_unless_there_is_a_background(two, load):
    save(two / "cat/clear.png", "RGBA", (1, 2, 3, 100))
    with pytest.warns(UserWarning, match=r"clear.png' is partly transparent, .*--background white\); it is left out"):
        assert len(load(two, skip_unreadable=True)) == 3
    assert len(load(two, skip_unreadable=True, background="white")) == 4


@pytest.mark.parametrize("background", ["whit", "#12345", "#ffffff80", 3])
def test_what_is_not_a_colour_is_refused(two, load, background):
    with pytest.raises(MetameryError, match=r"background is .*, expected a colour, such as white"):
        load(two, background=background)


def test_sounds_have_no_background(tmp_path, load):
    record(tmp_path / "1.wav")
    with pytest.raises(MetameryError, match=r"background = 'white' is for pictures, and the folder .* holds sounds"):
        load(tmp_path, background="white")


# Names


@pytest.fixture
def odd(two):
    try:
        put(two / "cat" / NOT_UTF8)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    return two


def test_a_name_that_is_not_utf8_is_one_line(odd, load):
    said = r"in the folder .* 1 name is not UTF-8, such as b'cat/caf\\xe9.png': rename it \(--skip-unreadable"
    with pytest.raises(MetameryError, match=said) as caught:
        load(odd)
    str(caught.value).encode()


def test_names_that_are_not_utf8_are_skipped_when_asked(odd, load):
    (odd / os.fsdecode(b"\xff")).mkdir()
    with pytest.warns(UserWarning, match=r"2 names are not UTF-8, such as b.*; they are left out"):
        assert len(load(odd, skip_unreadable=True)) == 3


def test_a_folder_whose_name_is_not_utf8_is_one_line(odd, load):
    (odd / os.fsdecode(b"\xff")).mkdir()
    with pytest.raises(MetameryError, match=r"the folder b.* has a name that is not UTF-8: rename it") as caught:
        load(odd / os.fsdecode(b"\xff"))
    str(caught.value).encode()


def test_the_command_line_says_in_one_line_what_is_not_utf8(odd):
    command = [sys.executable, "-c", "from metamery.framework.start import entry; entry()"]
    for arguments in (
        ["synthesise", "small-cnn", "--stimuli", os.fsencode(odd), "-o", os.fsencode(odd / "out")],
        ["report", b"\xff"],
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, check=False)
        assert done.returncode == 2
        assert len(done.stderr.decode().splitlines()) == 1
        assert b"UTF-8" in done.stderr


def test_a_name_of_another_source_that_is_not_text_is_one_line(tmp_path, tiny, command):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom metamery.framework import Stimulus\n"
        "def make():\n    return [Stimulus(torch.rand(3, 8, 8), name='caf\\udce9')]\n"
    )
    said = command("synthesise", tiny, "--stimuli", f"{tmp_path / 'own.py'}:make", "--steps", 2, "-o", tmp_path / "s")
    assert said.status == 2
    assert r"the name 'caf\udce9' cannot be written as text" in said.error
    assert not (tmp_path / "s").exists()


# Headers


def claims(width, height):
    """A PNG whose header states a size that is not there."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


def test_a_jpeg_that_claims_more_than_its_bytes_can_hold_is_refused(tmp_path, load):
    content = bytearray(save(tmp_path / "a.jpg", size=(2000, 2000)).read_bytes())
    load(tmp_path)[0]  # of one colour, which takes the fewest bytes
    start = content.find(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", 30_000, 2_500)
    put(tmp_path / "a.jpg", content)
    with pytest.raises(
        MetameryError, match=r"a\.jpg' cannot be read: its header states 2500 × 30000 pixels, more than"
    ):
        load(tmp_path)[0]


@pytest.mark.parametrize("size", [(9_000, 9_000), (10**5, 10**5), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path, load, size):
    put(tmp_path / "bomb.png", claims(*size))
    with pytest.raises(MetameryError, match=r"bomb\.png' cannot be read: "):
        load(tmp_path)[0]
