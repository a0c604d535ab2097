"""Pictures and sounds of the user's own."""

import pickle
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from inputs import draw_pictures
from metamery.framework import ImageDomain, MetameryError, Plugins, WaveformDomain
from metamery.framework.errors import UnknownNameError
from metamery.framework.testing import check_stimuli
from metamery.training.data import categories
from peers import SPOKEN_DIGITS, needs_digits
from PIL import Image


@pytest.fixture
def load():
    plugins = Plugins(installed=())
    return lambda path, **options: plugins.load("stimuli", "folder", path=str(path), **options)


def save(path, mode="RGB", size=(9, 6), value=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(Image.new(mode, (1, 1)).getbands())
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    array = noise if value is None else np.full_like(noise, value)
    Image.fromarray(array[..., 0] if channels == 1 else array, mode=None if channels in (1, 3, 4) else mode).save(
        path, **options
    )
    return array


def record(path, samples=800, rate=8000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)
    soundfile.write(path, wave, rate, **options)
    return wave


def cut(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def test_classes_names_and_order(tmp_path, load):
    for file in ("b/2.png", "b/1.png", "a/x.JPG", "top.png", ".hidden.png", ".cache/1.png"):
        save(tmp_path / file)
    stimuli = load(tmp_path)
    assert [s.name for s in stimuli] == ["a/x", "b/1", "b/2", "top"]
    assert [s.category for s in stimuli] == ["a", "b", "b", ""]
    assert stimuli[-1].name == "top"
    assert len(stimuli) == 4
    with pytest.raises(IndexError):
        stimuli[4]


def test_same_stem_keeps_the_ending(tmp_path, load):
    for file in ("a/1.png", "a/1.bmp", "a/2.png"):
        save(tmp_path / file)
    assert [s.name for s in load(tmp_path)] == ["a/1.bmp", "a/1.png", "a/2"]


def test_names_are_unique_even_when_an_ending_is_part_of_a_stem(tmp_path, load):
    for file in ("1.png", "1.bmp", "1.png.bmp"):
        save(tmp_path / file)
    names = [s.name for s in load(tmp_path)]
    assert len(set(names)) == 3


def test_limit_spreads_over_the_classes_and_renames_none(tmp_path, load):
    for file in ("a/1.png", "a/2.png", "a/2.bmp", "b/1.png", "b/2.png", "b/3.png"):
        save(tmp_path / file)
    whole = [s.name for s in load(tmp_path)]
    some = [s.name for s in load(tmp_path, limit=2)]
    assert [name[0] for name in some] == ["a", "b"]
    assert set(some) < set(whole)
    assert len(load(tmp_path, limit=100)) == 6
    with pytest.raises(MetameryError, match="limit is 0"):
        load(tmp_path, limit=0)


def test_values_are_the_files_values(tmp_path, load):
    array = save(tmp_path / "a.png")
    signal = load(tmp_path)[0].signal
    assert signal.shape == (3, 6, 9)
    assert signal.dtype == torch.float32
    assert torch.equal(signal, torch.from_numpy(array).permute(2, 0, 1).float() / 255)


def test_grey_has_one_channel_and_fits_a_colour_model(tmp_path, load):
    array = save(tmp_path / "8bit.png", mode="L")
    Image.fromarray(array[..., 0] > 127).save(tmp_path / "1bit.png")
    deep = array[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "16bit.png")
    one, sixteen, eight = load(tmp_path)[1], load(tmp_path)[0], load(tmp_path)[2]
    assert one.signal.shape == sixteen.signal.shape == eight.signal.shape == (1, 6, 9)
    torch.testing.assert_close(sixteen.signal, eight.signal)
    assert torch.equal(one.signal, (eight.signal > 0.5).float())
    assert ImageDomain(3, 4, 4).fit(eight).shape == (3, 4, 4)


def test_palette_and_cmyk_become_colour(tmp_path, load):
    save(tmp_path / "rgb.png")
    with Image.open(tmp_path / "rgb.png") as image:
        image.convert("P").save(tmp_path / "palette.png")
        image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert [s.signal.shape[0] for s in load(tmp_path)] == [3, 3, 3]


def test_opaque_alpha_is_dropped_and_real_alpha_is_refused_by_the_domain(tmp_path, load):
    colour = Image.new("RGBA", (6, 6), (255, 0, 0, 255))
    colour.save(tmp_path / "opaque.png")
    Image.new("RGBA", (6, 6), (255, 0, 0, 100)).save(tmp_path / "see-through.png")
    opaque, through = load(tmp_path)
    assert opaque.signal.shape == (3, 6, 6)
    assert through.signal.shape == (4, 6, 6)
    with pytest.raises(MetameryError, match=r"see-through.*4 channels.*takes 3: .*--background white"):
        ImageDomain(3, 6, 6).fit(through)


def test_palette_transparency_counts_as_alpha(tmp_path, load):
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "clear.png", transparency=b"\x00\xff")
    assert load(tmp_path)[0].signal.shape == (4, 6, 6)


def test_exif_orientation_turns_the_picture(tmp_path, load):
    exif = Image.Exif()
    exif[0x0112] = 6
    array = save(tmp_path / "a.png", exif=exif)
    turned = torch.from_numpy(np.rot90(array, -1).copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(load(tmp_path)[0].signal, turned)


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "webp"])
def test_truncated_picture_is_named(tmp_path, load, ending):
    save(tmp_path / f"a/bad.{ending}", size=(90, 60))
    cut(tmp_path / f"a/bad.{ending}")
    stimuli = load(tmp_path)
    with pytest.raises(MetameryError, match=rf"bad\.{ending}.*cannot be read.*--skip-unreadable"):
        stimuli[0]


def test_skip_unreadable_warns_once_and_leaves_out(tmp_path, load):
    save(tmp_path / "a/bad.jpg", size=(90, 60))
    cut(tmp_path / "a/bad.jpg")
    save(tmp_path / "a/good.jpg")
    (tmp_path / "a" / "text.png").write_text("no picture")
    with pytest.warns(UserWarning, match="left out") as caught:
        stimuli = load(tmp_path, skip_unreadable=True)
    assert len(caught) == 2
    assert [s.name for s in stimuli] == ["a/good"]


def test_nothing_readable_is_an_error(tmp_path, load):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.warns(UserWarning, match="left out"), pytest.raises(MetameryError, match="none of the 1 pictures"):
        load(tmp_path, skip_unreadable=True)


def test_no_folder_no_pictures_and_a_file(tmp_path, load):
    with pytest.raises(MetameryError, match=r"nowhere' does not exist.*\.png.*\.flac"):
        load(tmp_path / "nowhere")
    with pytest.raises(MetameryError, match=r"no pictures and no sounds in the folder.*\.jpg.*\.wav"):
        load(tmp_path)
    save(tmp_path / "train/cat/1.png")
    with pytest.raises(MetameryError, match=r"in deeper folders: give '.*train'"):
        load(tmp_path)
    with pytest.raises(MetameryError, match="is a file"):
        load(tmp_path / "train/cat/1.png")


def test_a_folder_is_listed_without_opening_a_file(tmp_path, load):
    opened, listening = [], True

    def hear(event, arguments):
        if listening and event == "open" and str(arguments[0]).startswith(str(tmp_path)):
            opened.append(arguments[0])

    for file in ("cat/1.png", "cat/2.png", "dog/1.png"):
        save(tmp_path / file)
    sys.addaudithook(hear)  # cannot be removed
    stimuli = load(tmp_path, group=r"\d")
    assert (len(stimuli), stimuli.names, stimuli.categories) == (3, ["cat/1", "cat/2", "dog/1"], ["cat", "cat", "dog"])
    assert opened == []
    assert stimuli[1].group == "2"
    assert opened == [str(tmp_path / "cat/2.png")]
    listening = False


def test_files_are_small_in_memory_and_survive_a_worker(tmp_path, load):
    """A data set of millions of files is listed in each worker."""
    for file in ("cat/1.png", "cat/1.jpg"):
        save(tmp_path / file)
    stimuli = pickle.loads(pickle.dumps(load(tmp_path)))
    assert [stimulus.name for stimulus in stimuli] == ["cat/1.jpg", "cat/1.png"]
    assert not any(hasattr(file, "__dict__") for file in stimuli.files)


def test_options_are_checked(tmp_path, load):
    with pytest.raises(UnknownNameError, match="did you mean 'limit'"):
        load(tmp_path, limt=3)
    with pytest.raises(MetameryError, match="path"):
        Plugins(installed=()).load("stimuli", "folder")


# Sounds


def test_sounds_are_listed_by_the_same_rules(tmp_path, load):
    for file in ("b/2.wav", "b/1.FLAC", "a/x.ogg", "a/x.wav", "top.wav", ".hidden.wav", ".cache/1.wav"):
        record(tmp_path / file)
    stimuli = load(tmp_path)
    assert [s.name for s in stimuli] == ["a/x.ogg", "a/x.wav", "b/1", "b/2", "top"]
    assert [s.category for s in stimuli] == stimuli.categories == ["a", "a", "b", "b", ""]
    assert {s.group for s in stimuli} == {""}
    assert [s.name for s in load(tmp_path, limit=2)] == ["a/x.ogg", "b/1"]
    check_stimuli(stimuli, count=len(stimuli))


def test_a_sound_has_the_files_values_and_rate(tmp_path, load):
    wave = record(tmp_path / "a.wav", rate=22050, subtype="FLOAT")
    (stimulus,) = load(tmp_path)
    assert torch.equal(stimulus.signal, torch.from_numpy(wave))
    assert stimulus.sample_rate == 22050
    assert stimulus.source == str(tmp_path / "a.wav")
    assert WaveformDomain(400, 8000).fit(stimulus).shape == (400,)


def test_categories_are_known_without_decoding(tmp_path, load, monkeypatch):
    for file in ("yes/1.wav", "no/1.wav"):
        record(tmp_path / file)
    stimuli = load(tmp_path)
    monkeypatch.setattr(type(stimuli), "__getitem__", None)
    assert categories(stimuli) == ["no", "yes"]


@pytest.mark.parametrize(
    ("group", "found"),
    [
        ("^[a-z]+", ["george", "lucas"]),
        (r"_(\d)", ["1", "7"]),
        ("s?_.", ["_1", "s_7"]),
        ("x*", ["", ""]),
        ("(x)?", ["", ""]),
    ],
)
def test_the_group_is_the_patterns_first_match_in_the_name(tmp_path, load, group, found):
    for file in ("one/george_12.wav", "one/lucas_70.wav"):
        record(tmp_path / file)
    assert [s.group for s in load(tmp_path, group=group)] == found


def test_a_group_has_to_be_found_in_every_name(tmp_path, load):
    for file in ("one/george_12.wav", "one/70.wav"):
        record(tmp_path / file)
    with pytest.raises(MetameryError, match=r"group '\^\[a-z\]\+' does not match the file's name '70.wav'"):
        load(tmp_path, group="^[a-z]+")
    with pytest.raises(MetameryError, match=r"group is '\[a', expected a regular expression: unterminated"):
        load(tmp_path, group="[a")
    with pytest.raises(MetameryError, match="group is 3, expected a regular expression"):
        load(tmp_path, group=3)


def test_pictures_may_have_groups_too(tmp_path, load):
    save(tmp_path / "cat/anna_1.png")
    assert load(tmp_path, group="^[a-z]+")[0].group == "anna"


def test_both_kinds_in_one_folder_are_refused(tmp_path, load):
    save(tmp_path / "cat/1.png")
    record(tmp_path / "dog/2.wav")
    with pytest.raises(MetameryError, match=r"holds pictures \('cat/1.png'\) and sounds \('dog/2.wav'\): expected one"):
        load(tmp_path)


def test_what_is_wrong_with_a_sound_is_said_and_can_be_left_out(tmp_path, load):
    record(tmp_path / "a/good.wav")
    record(tmp_path / "a/bad.wav")
    cut(tmp_path / "a/bad.wav")
    with pytest.raises(MetameryError, match=r"bad\.wav' is cut off .*--skip-unreadable leaves such sounds out"):
        load(tmp_path)[0]
    with pytest.warns(UserWarning, match="cut off.*; it is left out"):
        assert [s.name for s in load(tmp_path, skip_unreadable=True)] == ["a/good"]
    (tmp_path / "a/good.wav").unlink()
    with pytest.warns(UserWarning, match="left out"), pytest.raises(MetameryError, match="none of the 1 sounds"):
        load(tmp_path, skip_unreadable=True)


def test_sounds_deeper_down_are_pointed_at(tmp_path, load):
    record(tmp_path / "train/yes/1.wav")
    with pytest.raises(MetameryError, match=r"in deeper folders: give '.*train'"):
        load(tmp_path)


@needs_digits
def test_spoken_digits(load):
    stimuli = load(SPOKEN_DIGITS, group="^[a-z]+")
    check_stimuli(stimuli, count=len(stimuli))
    assert set(Counter(stimuli.categories).values()) == {25}
    assert Counter(file.group for file in stimuli.files) == dict.fromkeys(
        ["george", "jackson", "lucas", "nicolas", "yweweler"], 50
    )
    fitted = WaveformDomain(8000, 8000).fit(stimuli[0])
    assert stimuli[0].sample_rate == 8000
    assert fitted.shape == (8000,)


@pytest.mark.parametrize("names", [("n01440764", "n02123045"), ("tench", "Tabby"), ("n01440764", "tabby")])
def test_folders_of_imagenet_s_classes_have_their_numbers(tmp_path, load, names):
    draw_pictures(tmp_path, [f"{name}/a" for name in names])
    stimuli = load(tmp_path)
    found = {each.category: each.answers["imagenet-1k"] for each in stimuli}
    assert found == {names[0]: {0}, names[1]: {281}}


def test_other_folders_have_no_numbers_of_imagenet(tmp_path, load):
    draw_pictures(tmp_path, ["tench/a", "my cat/a"])
    assert [*load(tmp_path)[0].answers] == ["category"]
