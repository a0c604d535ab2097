"""torchvision's data sets, written to disk in their original format, so without the internet."""

import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch
from metamery.framework import MetameryError, Plugins
from metamery.framework.errors import UnknownNameError
from metamery.framework.run import Run
from PIL import Image


@pytest.fixture
def load():
    plugins = Plugins(installed=())
    return lambda name, **options: plugins.load("stimuli", f"torchvision/{name}", **options)


@pytest.fixture
def fashion(tmp_path):
    """Write 12 training and 8 test pictures in the idx format; return the folder and the test pictures."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for part, count in (("train", 12), ("t10k", 8)):
        pictures = noise.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, count, 28, 28) + pictures.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + labels.tobytes())
    return tmp_path, pictures


def test_pictures_classes_and_splits(fashion, load):
    root, pictures = fashion
    test = load("FashionMNIST", root=str(root))
    assert len(test) == 8
    assert len(load("FashionMNIST", root=str(root), split="train")) == 12
    assert torch.equal(test[3].signal, torch.from_numpy(pictures[3:4]).float() / 255)
    assert [s.category for s in test][:3] == ["T-shirt/top", "Trouser", "Pullover"]
    assert test[-1].name == "FashionMNIST-test-7"
    with pytest.raises(IndexError):
        test[8]


def test_a_split_may_be_named(fashion, load):
    root, _ = fashion
    assert len(load("FashionMNIST/train", root=str(root))) == 12
    with pytest.raises(MetameryError, match="FashionMNIST/train names a split, and so does split = 'test'"):
        load("FashionMNIST/train", root=str(root), split="test")
    with pytest.raises(
        UnknownNameError, match="unknown split of torchvision/FashionMNIST: 'trian'; did you mean 'train'"
    ):
        load("FashionMNIST/trian", root=str(root))


def test_categories_are_known_without_decoding(fashion, load, monkeypatch):
    data = load("FashionMNIST", root=str(fashion[0]), limit=4)
    expected = [stimulus.category for stimulus in data]
    monkeypatch.setattr(type(data), "__getitem__", None)
    assert data.categories == expected
    del data.data.targets
    assert data.categories is None


@pytest.mark.filterwarnings("ignore:the validation stimuli have none of Ankle boot, Bag")
def test_training_takes_the_training_split_and_validates_on_the_test_split(fashion, command, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(fashion[0])
    monkeypatch.chdir(tmp_path)
    settings = ("--setting", "batch_size=4", "--epochs", 1, "--set", "width=2")
    said = command(
        "train", "standard", "--model", "small-cnn", "--stimuli", "torchvision/FashionMNIST", *settings, "-o", "run"
    )
    assert said.status == 0, said.err
    run = Run.read(tmp_path / "run")
    assert (run.stimuli.options, run.validation.options) == ({"split": "train"}, {})
    assert len(run.classes) == 10


def test_limit_is_spread_and_renames_none(fashion, load):
    names = [s.name for s in load("FashionMNIST", root=str(fashion[0]), limit=2)]
    assert names == ["FashionMNIST-test-0", "FashionMNIST-test-4"]


def test_imagenette_answers_are_imagenet_classes(tmp_path, load):
    for wnid in ("n01440764", "n03394916"):
        folder = tmp_path / "imagenette2" / "val" / wnid
        folder.mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(folder / "1.jpeg", format="JPEG")
    fish, horn = load("Imagenette", root=str(tmp_path), download=False)
    assert fish.category == "tench"
    assert horn.right_answers("imagenet-1k") == {"French horn"}


def test_names_and_splits_are_checked(load):
    with pytest.raises(UnknownNameError, match="did you mean 'CIFAR10"):
        load("CIFAR11")
    with pytest.raises(UnknownNameError, match=r"unknown split of torchvision/CIFAR10: 'tset'; did you mean 'test'"):
        load("CIFAR10", split="tset")
    with pytest.raises(UnknownNameError, match="Known: all"):
        load("EuroSAT")


def test_every_split_is_one_that_torchvision_takes():
    import inspect

    from metamery.plugins.vision.torchvision_data import SPLITS, torchvision_data_names
    from torchvision import datasets

    assert set(torchvision_data_names()) == set(SPLITS)
    for name, splits in SPLITS.items():
        accepted = set(inspect.signature(getattr(datasets, name)).parameters)
        assert all(set(arguments) <= accepted for arguments in splits.values()), name


def test_missing_data_and_failed_downloads_are_one_line(tmp_path, load, monkeypatch):
    from torchvision import datasets

    with pytest.raises(MetameryError, match=r"torchvision/CIFAR10 could not be read from .*not found"):
        load("CIFAR10", root=str(tmp_path), download=False)
    with pytest.raises(MetameryError, match="torchvision/ImageNet could not be read from"):
        load("ImageNet", root=str(tmp_path))

    def fail(self):
        raise URLError("no network")

    monkeypatch.setattr(datasets.CIFAR10, "download", fail)
    with pytest.raises(MetameryError, match=r"torchvision/CIFAR10 could not be downloaded into .*no network") as caught:
        load("CIFAR10", root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_family_lists_its_members():
    entry = Plugins(installed=()).find("stimuli", "torchvision/CIFAR10").entry
    assert "torchvision/FashionMNIST" in entry.members()
