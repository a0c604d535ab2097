"""Pictures in tar files, as WebDataset writes them."""

import io
import tarfile

import numpy as np
import pytest
import torch
from metamery.framework import MetameryError, Plugins
from metamery.framework.study import Reference, load_stimuli, located
from metamery.framework.testing import check_stimuli
from PIL import Image


def shard(path, pictures, *, classes=True, ending="png"):
    """Write pictures ``{key: (category, array)}``."""
    with tarfile.open(path, "w") as tar:
        for key, (category, values) in pictures.items():
            content = io.BytesIO()
            Image.fromarray(values).save(content, ending)
            for name, data in ((f"{key}.{ending}", content.getvalue()), (f"{key}.cls", category.encode())):
                if classes or not name.endswith("cls"):
                    about = tarfile.TarInfo(name)
                    about.size = len(data)
                    tar.addfile(about, io.BytesIO(data))
    return path


def drawn(number, size=(9, 7)):
    return np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture
def two(tmp_path):
    shard(tmp_path / "train-00.tar", {f"{n:04}": ("cat" if n % 2 else "dog", drawn(n)) for n in range(3)})
    shard(tmp_path / "train-01.tar", {f"{n:04}": ("owl", drawn(n, (5, 12))) for n in range(3, 5)})
    return tmp_path


@pytest.mark.parametrize("pattern", ["train-{00..01}.tar", "train-*.tar"])
def test_the_pictures_of_all_shards_are_stimuli(two, pattern):
    use = located(Reference(str(two / pattern)))
    assert use == Reference("files:shards", {"path": str(two / pattern)})
    stimuli = load_stimuli(Plugins(installed=()), use)
    check_stimuli(stimuli)
    assert stimuli.categories == ["dog", "cat", "dog", "owl", "owl"]
    assert stimuli.names == ["train-00/0000", "train-00/0001", "train-00/0002", "train-01/0003", "train-01/0004"]
    for number, stimulus in enumerate(stimuli):
        expected = torch.from_numpy(drawn(number, (9, 7) if number < 3 else (5, 12))).permute(2, 0, 1)
        assert torch.equal(stimulus.signal, expected.float() / 255)
        assert torch.equal(stimuli.eight_bit(number).signal, expected)


def test_some_are_taken_evenly_and_folders_name_categories_where_no_file_does(tmp_path):
    path = shard(
        tmp_path / "a.tar", {f"{name}/x": ("", drawn(0)) for name in ("n01", "n02", "n03", "n04")}, classes=False
    )
    stimuli = Plugins(installed=()).load("stimuli", "shards", path=str(path), limit=2)
    assert stimuli.categories == ["n01", "n03"]
    assert stimuli.names == ["a/n01/x", "a/n03/x"]


@pytest.mark.parametrize("cut", [700, 1024 * 10])
def test_a_shard_that_is_cut_off_is_named(tmp_path, cut):
    """In the middle of a file, or between two, where only the empty blocks at the end are missing."""
    whole = shard(tmp_path / "whole.tar", {f"{n}": ("cat", drawn(n)) for n in range(4)}).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:700] if cut == 700 else whole.rstrip(b"\0"))
    with pytest.raises(
        MetameryError, match=r"the shard '.*a.tar' is cut off, after \d pictures: copy it again"
    ) as raised:
        Plugins(installed=()).load("stimuli", "shards", path=str(tmp_path / "a.tar"))
    assert "\n" not in str(raised.value)


def test_what_is_no_shard_is_named(two):
    load = Plugins(installed=()).load
    with pytest.raises(MetameryError, match=r"no shard '.*train-02.tar': there is no such file"):
        load("stimuli", "shards", path=str(two / "train-{00..02}.tar"))
    (two / "text.tar").write_text("hello")
    with pytest.raises(MetameryError, match=r"the shard '.*text.tar' cannot be read"):
        load("stimuli", "shards", path=str(two / "text.tar"))
    with tarfile.open(two / "empty.tar", "w"):
        pass
    with pytest.raises(MetameryError, match="no pictures in"):
        load("stimuli", "shards", path=str(two / "empty.tar"))


def test_a_picture_that_is_damaged_is_named(tmp_path):
    path = shard(tmp_path / "a.tar", {"one": ("cat", drawn(0, (60, 60)))})
    content = bytearray(path.read_bytes())
    content[900:1400] = bytes(500)
    path.write_bytes(content)
    stimuli = Plugins(installed=()).load("stimuli", "shards", path=str(path))
    with pytest.raises(MetameryError, match=r"the picture '.*a.tar/one' cannot be read"):
        stimuli[0]
