"""Training data: the seed alone decides on order and augmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, Stimulus, UnknownNameError
from metamery.framework.stimuli import Selection
from metamery.framework.study import Reference
from metamery.training import data
from metamery.training.augmentation import augmentation
from metamery.training.data import (
    Augmentation,
    Examples,
    Loader,
    Order,
    batches,
    categories,
    classes_of,
    examples,
    in_domain,
)
from metamery.training.splits import splits_of_name
from PIL import Image

DOMAIN = ImageDomain(3, 6, 6)


@pytest.fixture
def stimuli() -> list[Stimulus]:
    generator = torch.Generator().manual_seed(0)
    names = ["cat", "dog", "cat", "owl", "dog", "cat", "cat"]
    return [Stimulus(torch.rand(3, 6, 6, generator=generator), name, name=str(i)) for i, name in enumerate(names)]


def _noisy(signal: torch.Tensor) -> torch.Tensor:
    return signal + torch.rand(1)


noisy = Augmentation(fitted=_noisy)


def everything(given: Examples, order: Order, workers: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(signals.clone(), classes.clone()) for signals, classes in batches(given, order, workers)]


def same(one: Any, other: Any) -> bool:
    return all(
        torch.equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_categories_of_some_stimuli_are_read_without_decoding_any(pictures: Path) -> None:
    files = Plugins().load("stimuli", "folder", path=str(pictures))
    some = Selection(files, [len(files) - 1, 0])
    wanted = [files[len(files) - 1].category, files[0].category]
    assert wanted[0] != wanted[1]
    for file in pictures.rglob("*.png"):
        file.write_bytes(b"no picture")
    assert categories(some) == wanted


def test_classes_are_the_categories(stimuli: list[Stimulus], pictures: Path) -> None:
    assert classes_of(stimuli) == ["cat", "dog", "owl"]
    assert classes_of(Plugins().load("stimuli", "folder", path=str(pictures))) == ["cat", "dog", "owl"]
    with pytest.raises(MetameryError, match="needs the category of every stimulus"):
        classes_of([*stimuli, Stimulus(torch.zeros(3, 6, 6))])
    with pytest.raises(MetameryError, match="at least two categories; the stimuli have cat"):
        classes_of(stimuli[:1])


def test_a_category_without_a_class_is_named(stimuli: list[Stimulus]) -> None:
    with pytest.raises(MetameryError, match="unknown category 'owl'"):
        examples(stimuli, ["cat", "dog"], DOMAIN)


def test_examples_are_the_fitted_signals_with_their_classes(
    stimuli: list[Stimulus], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = examples(stimuli, ["cat", "dog", "owl"], DOMAIN)
    assert kept.kept is not None
    monkeypatch.setattr(data, "MAX_CACHED_BYTES", 0)
    loaded = examples(stimuli, ["cat", "dog", "owl"], DOMAIN)
    assert loaded.kept is None
    order = Order(7, 3, 0)
    assert same(everything(kept, order), everything(loaded, order))
    signals, classes = everything(kept, order)[0]
    assert torch.equal(signals, torch.stack([stimulus.signal for stimulus in stimuli[:3]]))
    assert classes.tolist() == [0, 1, 0]


def test_an_epoch_has_each_example_at_most_once_in_an_order_of_its_own() -> None:
    epochs = [[index for batch in Order(10, 3, epoch, seed=5) for _, index in batch] for epoch in range(3)]
    assert all(len(order) == 9 and max(Counter(order).values()) == 1 for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] == [index for batch in Order(10, 3, 0, seed=5) for _, index in batch]
    assert epochs[0] != [index for batch in Order(10, 3, 0, seed=6) for _, index in batch]


def test_an_order_without_a_seed_leaves_nothing_out() -> None:
    assert [[index for _, index in batch] for batch in Order(5, 2, 0)] == [[0, 1], [2, 3], [4]]
    assert [len(batch) for batch in Order(2, 8, 0, seed=1)] == [2]


def test_an_order_goes_on_where_it_was() -> None:
    whole = list(Order(20, 4, 2, seed=1))
    assert list(Order(20, 4, 2, seed=1, first=3)) == whole[3:]
    assert len(Order(20, 4, 2, seed=1, first=3)) == 2


def test_processes_share_each_batch() -> None:
    whole = list(Order(20, 4, 2, seed=1))
    parts = [list(Order(20, 4, 2, seed=1, rank=rank, processes=2)) for rank in range(2)]
    for batch, one, other in zip(whole, *parts, strict=True):
        assert len(one) == len(other) == 2
        assert sorted([*one, *other]) == sorted(batch)


def test_augmentation_hangs_on_seed_epoch_and_example_alone(
    stimuli: list[Stimulus], monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = ["cat", "dog", "owl"]
    given = examples(stimuli, classes, DOMAIN, noisy, seed=3)
    state = torch.get_rng_state()
    here = everything(given, Order(7, 3, 1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert same(here, everything(given, Order(7, 3, 1), workers=2))
    assert not same(here, everything(given, Order(7, 3, 2)))
    assert not same(here, everything(examples(stimuli, classes, DOMAIN, noisy, seed=4), Order(7, 3, 1)))
    monkeypatch.setattr(data, "MAX_CACHED_BYTES", 0)
    assert same(here, everything(examples(stimuli, classes, DOMAIN, noisy, seed=3), Order(7, 3, 1)))


@pytest.mark.parametrize(
    ("name", "held_out"),
    [
        ("torchaudio/SPEECHCOMMANDS", {"split": "validation"}),
        ("torchvision/DTD", {"split": "val"}),
        ("torchvision/ImageNet", {"split": "val"}),
        ("torchvision/Country211", {"split": "valid"}),
        ("torchvision/CIFAR10", {}),
    ],
)
def test_a_data_set_is_validated_on_its_validation_split_or_else_on_its_default(
    name: str, held_out: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # none of the data is there, and none is fetched
    learned, validated = splits_of_name(Plugins(installed=()), Reference(name))
    assert (learned, validated) == (Reference(name, {"split": "train"}), Reference(name, held_out))
    assert not list(tmp_path.iterdir())


def test_a_split_is_looked_for_where_its_files_are_and_in_no_name_that_has_none(
    fake_plugin: Any, stimuli: list[Stimulus]
) -> None:
    asked = []

    def split_in_two(*, split: str = "test", download: bool = True) -> list[Stimulus]:
        asked.append((split, download))
        if split not in ("train", "val", "test"):
            raise UnknownNameError(f"unknown split '{split}'")
        return stimuli

    def never_asked(*, split: str = "test") -> list[Stimulus]:
        raise AssertionError(split)

    def register_stimuli(register: Any) -> None:
        register("halves", split_in_two)
        register("remote", never_asked)
        register("whole", lambda: stimuli)

    plugins = Plugins([fake_plugin("mine", register_stimuli=register_stimuli)], installed=())
    assert splits_of_name(plugins, Reference("halves")) == (
        Reference("halves", {"split": "train"}),
        Reference("halves", {"split": "val"}),
    )
    assert asked == [("validation", False), ("val", False)]
    assert splits_of_name(plugins, Reference("remote")) == (
        Reference("remote", {"split": "train"}),
        Reference("remote"),
    )
    assert splits_of_name(plugins, Reference("whole")) == (Reference("whole"), None)
    assert splits_of_name(plugins, Reference("torchvision/DTD/train")) == (Reference("torchvision/DTD/train"), None)
    assert splits_of_name(plugins, Reference("nothing")) == (Reference("nothing"), None)


def sizes(signals: Any) -> list[Stimulus]:
    return [Stimulus(signal, "ab"[index % 2], name=str(index)) for index, signal in enumerate(signals)]


@dataclass(frozen=True)
class EightBit:
    """Stimuli that are also there in 8 bits, as those of a folder are."""

    pixels: list[torch.Tensor]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Stimulus:
        return replace(self.eight_bit(index), signal=self.pixels[index].float() / 255)

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))

    def eight_bit(self, index: int) -> Stimulus:
        return Stimulus(self.pixels[index], "ab"[index % 2], name=str(index))


CHAIN = [
    ("RandomResizedCrop", {"scale": [0.3, 1.0]}),
    ("flip", {}),
    ("ColorJitter", {"contrast": 0.4}),
    ("RandAugment", {}),
]


@pytest.fixture
def pixels() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (3, 14 + i, 20 - i), generator=generator, dtype=torch.uint8) for i in range(7)]


def test_batches_do_not_depend_on_processes_and_threads_nor_on_those_that_stay(pixels: list[torch.Tensor]) -> None:
    model = Model(torch.nn.Flatten(), ImageDomain(3, 8, 8), ["output"])
    large = [torch.nn.functional.interpolate(p[None].float(), 260)[0].to(torch.uint8) for p in pixels]
    threads = torch.get_num_threads()
    for stimuli in (EightBit(large), sizes(each.float() / 255 for each in large)):
        given = examples(stimuli, ["a", "b"], model.domain, augmentation(CHAIN, model), seed=3)
        assert given.kept is None
        loaders = [Loader(given), Loader(given, 2)]
        for epoch in range(2):
            order = Order(7, 3, epoch, seed=1)
            torch.set_num_threads(2)
            found = [[(signals.clone(), classes) for signals, classes in loader(order)] for loader in loaders]
            torch.set_num_threads(threads)
            assert same(*found)
            assert {signals.dtype for signals, _ in found[0]} == {
                torch.uint8 if isinstance(stimuli, EightBit) else torch.float32
            }


def test_pictures_in_eight_bits_are_those_in_thirty_two(pixels: list[torch.Tensor]) -> None:
    """They are scaled in two steps, each rounded to 8 bits."""
    domain = ImageDomain(3, 8, 8, -1.0, 2.0)
    model = Model(torch.nn.Flatten(), domain, ["output"])
    square = [each[:, :8, :8] for each in pixels]
    for chain, stimuli, tolerance in (([("flip", {})], square, 1e-6), (CHAIN[:2], pixels, 3 * 1.1 / 255)):
        narrow, wide = (
            Examples(given, [0, 1] * 4, domain, augmentation(chain, model), seed=2)
            for given in (EightBit(stimuli), sizes(each.float() / 255 for each in stimuli))
        )
        for index in range(7):
            eight, other = narrow[1, index][0], wide[1, index][0]
            assert (eight.dtype, other.dtype) == (torch.uint8, torch.float32)
            torch.testing.assert_close(in_domain(eight, domain), other, rtol=0, atol=tolerance)


def test_a_transform_that_counts_from_0_to_1_gets_no_bytes(pixels: list[torch.Tensor]) -> None:
    model = Model(torch.nn.Flatten(), ImageDomain(3, 8, 8), ["output"])
    augment = augmentation([("flip", {}), ("RandomSolarize", {"threshold": 0.5, "p": 1.0})], model)
    square = pixels[0][:, :8, :8]
    signal, _ = Examples(EightBit([square]), [0], model.domain, augment)[0, 0]
    assert signal.dtype == torch.float32
    assert float(signal.max()) <= 0.5


def test_a_file_of_a_folder_is_read_in_eight_bits_where_it_has_eight(pictures: Path, tmp_path: Path) -> None:
    folder = Plugins().load("stimuli", "folder", path=str(pictures))
    for index, stimulus in enumerate(folder):
        narrow = folder.eight_bit(index)
        assert torch.equal(narrow.signal.float() / 255, stimulus.signal)
        assert (narrow.name, narrow.category) == (stimulus.name, stimulus.category)
    (tmp_path / "odd" / "a").mkdir(parents=True)
    Image.new("RGBA", (9, 9), (200, 100, 50, 128)).save(tmp_path / "odd" / "a" / "clear.png")
    Image.new("I;16", (9, 9), 3000).save(tmp_path / "odd" / "a" / "deep.png")
    odd = Plugins().load("stimuli", "folder", path=str(tmp_path / "odd"), background="white")
    assert [odd.eight_bit(index) for index in range(2)] == [None, None]


def test_an_error_of_a_process_that_reads_is_one_line(pixels: list[torch.Tensor]) -> None:
    class Broken(EightBit):
        def eight_bit(self, index: int) -> Stimulus:
            raise MetameryError(f"the picture {index} is cut off")

    given = Examples(Broken(pixels), [0] * 7, ImageDomain(3, 8, 8))
    with pytest.raises(MetameryError) as raised:
        list(Loader(given, 1)(Order(7, 3, 0)))
    assert str(raised.value) == "the picture 0 is cut off"
