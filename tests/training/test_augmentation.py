"""Augmentations with arguments: what they do to pictures and sounds, and what is said of a slip."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metamery.framework import ImageDomain, MetameryError, Model, Stimulus, WaveformDomain
from metamery.training.augmentation import SIZING, TRANSFORMS, augmentation

PICTURES = Model(torch.nn.Flatten(), ImageDomain(3, 16, 16), ["output"])
SOUNDS = Model(torch.nn.Identity(), WaveformDomain(80, 8000), ["output"])
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ColorJitter": {"brightness": 0.5},
    "GaussianBlur": {"kernel_size": 3},
    "RandomAdjustSharpness": {"sharpness_factor": 2.0},
    "RandomAffine": {"degrees": 20},
    "RandomPosterize": {"bits": 2},
    "RandomRotation": {"degrees": 20},
    "RandomSolarize": {"threshold": 0.5},
}


def drawn(named: Any, stimulus: Stimulus, model: Model = PICTURES, count: int = 20) -> list[torch.Tensor]:
    augment = augmentation(named, model)
    assert augment is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [augment(stimulus, model.domain) for _ in range(count)]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_changes_pictures_and_makes_the_model_s_size(name: str) -> None:
    model = Model(torch.nn.Flatten(), ImageDomain(3, 64, 64), ["output"])
    signal = torch.rand(3, 90, 80, generator=torch.Generator().manual_seed(1))
    stimulus = Stimulus(signal if name in SIZING else signal[:, :64, :64])
    changed = drawn([(name, ARGUMENTS.get(name, {}))], stimulus, model)
    assert {each.shape for each in changed} == {(3, 64, 64)}
    assert all(each.min() >= 0 and each.max() <= 1 for each in changed)
    assert not all(torch.equal(each, stimulus.signal) for each in changed)


def test_a_crop_is_taken_from_the_picture_as_it_was_read() -> None:
    """A picture whose pixels say where they are: columns rise from left to right."""
    ramp = torch.linspace(0, 1, 400).expand(3, 300, 400)
    spans = [
        float(each.max() - each.min())
        for each in drawn(
            [("RandomResizedCrop", {"scale": [0.01, 0.01], "ratio": [1.0, 1.0]}), ("flip", {})], Stimulus(ramp)
        )
    ]
    assert all(0.06 < span < 0.10 for span in spans)  # 35 of 400 columns; of the 16 pixels it would be one or two
    places = [float(each.mean()) for each in drawn([("RandomCrop", {})], Stimulus(ramp))]
    assert max(places) - min(places) > 0.5


def test_what_follows_the_crop_sees_the_model_s_range() -> None:
    model = Model(torch.nn.Flatten(), ImageDomain(3, 16, 16, -1.0, 3.0), ["output"])
    grey = torch.full((3, 16, 16), 0.9)
    (changed,) = drawn([("RandomSolarize", {"threshold": 0.5, "p": 1.0})], Stimulus(grey), model, 1)
    torch.testing.assert_close(changed, torch.full((3, 16, 16), -1 + 4 * 0.1))


def test_grey_pictures_are_augmented_in_colour() -> None:
    grey = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    changed = drawn([("RandomResizedCrop", {}), ("ColorJitter", {"hue": 0.2})], Stimulus(grey))
    assert {each.shape for each in changed} == {(3, 16, 16)}


def test_a_sound_is_cut_at_a_random_place_and_fitted_like_any_other() -> None:
    time = torch.arange(16000) / 16000
    rising = torch.sin(2 * torch.pi * (200 + 800 * time) * time)  # at 16 kHz; the pitch says where
    whole = drawn([("crop", {})], Stimulus(rising, sample_rate=16000), SOUNDS)
    assert {each.shape for each in whole} == {(80,)}
    assert all(float(each.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-3) for each in whole)
    crossings = [int((each[1:].sign() != each[:-1].sign()).sum()) for each in whole]
    assert max(crossings) > 2 * min(crossings)


def test_a_silent_stretch_is_drawn_again() -> None:
    sound = torch.zeros(4000)
    sound[:1200] = torch.randn(1200, generator=torch.Generator().manual_seed(0)) * 0.1
    for each in drawn([("crop", {})], Stimulus(sound, sample_rate=8000), SOUNDS):
        assert float(each.square().mean()) > 0


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("flipp", {}, "unknown augmentation 'flipp'; did you mean 'flip'"),
        ("MixUp", {}, "unknown augmentation 'MixUp'.* other transforms change more than the picture"),
        ("flip", {"p": 0.1}, "unknown argument of augmentation 'flip': 'p'"),
        (
            "RandomResizedCrop",
            {"scales": [0.3, 1]},
            "unknown argument of augmentation 'RandomResizedCrop': 'scales'; did you mean 'scale'",
        ),
        ("RandomResizedCrop", {"scale": [1.0, 0.3]}, r"scale of .* is \[1.0, 0.3\], expected .* 0 < a ≤ b ≤ 1"),
        ("RandomResizedCrop", {"scale": [8, 100]}, r"scale of .* is \[8, 100\], expected two parts of a picture"),
        ("RandomResizedCrop", {"scale": 0.3}, r"scale of .* is 0.3, expected two parts of a picture"),
        ("RandomResizedCrop", {"ratio": [2.0, 0.5]}, r"'RandomResizedCrop' with size = .*ratio = \[2.0, 0.5\]: Scale"),
        ("RandomResizedCrop", {"interpolation": "cubic"}, "unknown interpolation .* 'cubic'; did you mean 'bicubic'"),
        ("RandomResizedCrop", {"size": 8}, r"makes pictures of 3 × 8 × 8, and the model takes 3 × 16 × 16"),
        ("ColorJitter", {}, r'does nothing without arguments: expected \{ name = "ColorJitter", brightness = … \}'),
        ("ColorJitter", {"hue": 3.0}, "augmentation 'ColorJitter' with hue = 3.0: hue values should be between"),
        ("RandomRotation", {}, r'needs degrees: expected \{ name = "RandomRotation", degrees = … \}'),
        ("RandAugment", {"magnitude": 99}, "fails on pictures of 3 × 24 × 24|fails on pictures of 3 × 16 × 16"),
    ],
)
def test_a_slip_is_named(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(MetameryError, match=said) as raised:
        augmentation([(name, given)], PICTURES)
    assert "\n" not in str(raised.value)


def test_augmentations_of_pictures_are_refused_for_sounds() -> None:
    with pytest.raises(MetameryError, match="augmentation 'flip' is for pictures, and the model takes sounds"):
        augmentation([("flip", {})], SOUNDS)
