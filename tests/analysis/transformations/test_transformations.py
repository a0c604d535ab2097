"""Families of changes, and measures of activations, against closed forms and slow reference versions."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from metamery.analysis.transformations.curves import Recorder, Unrelated, area
from metamery.analysis.transformations.families import (
    TRANSFORMATIONS,
    check_strengths,
    outside,
    through_aperture,
    transform,
)
from metamery.analysis.transformations.maps import layouts
from metamery.analysis.transformations.moves import Move, inside, moved, smoothed, sources
from metamery.framework import ImageDomain, MetameryError, Model, WaveformDomain
from torch import nn

PICTURES = ImageDomain(3, 16, 16)
SOUNDS = WaveformDomain(4000, 8000)
DOMAINS = {"image": PICTURES, "waveform": SOUNDS}
CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def signals(kind: str) -> torch.Tensor:
    return drawn(3, *PICTURES.shape) if kind == "image" else 0.2 * drawn(3, SOUNDS.samples) - 0.1


def sine(frequency: float) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * frequency * torch.arange(SOUNDS.samples) / SOUNDS.sample_rate)[None]


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("edges", ["reflect", "circular", "zero"])
def test_a_family_begins_with_no_change_and_ends_inside_the_range(name: str, edges: str) -> None:
    family = TRANSFORMATIONS[name]
    domain, given = DOMAINS[family.kind], signals(family.kind)
    noise = torch.randn(given.shape, generator=torch.Generator().manual_seed(1))
    kept = given.clone()
    assert torch.equal(transform(name, given, family.identity, domain, edges=edges, noise=noise), given)
    check_strengths(name, family.strengths)
    apart = []
    for strength in family.strengths:
        changed = transform(name, given, strength, domain, edges=edges, noise=noise)
        assert changed.shape == given.shape
        assert changed.dtype == given.dtype
        assert domain.low <= changed.min()
        assert changed.max() <= domain.high
        alone = transform(name, given[1:2], strength, domain, edges=edges, noise=noise[1:2])
        torch.testing.assert_close(alone, changed[1:2])  # whatever its batch mates
        apart.append(float((changed - given).norm()))
    assert apart[-1] > 0
    assert torch.equal(given, kept)


def test_quarter_turns_and_shifts_by_whole_pixels_are_exact() -> None:
    given = drawn(2, 3, 16, 16)
    assert torch.equal(transform("rotation", given, 90, PICTURES), given.rot90(1, (2, 3)))
    assert torch.equal(transform("rotation", given, -90, PICTURES), given.rot90(-1, (2, 3)))
    assert torch.equal(transform("translation", given, 3 / 16, PICTURES, edges="circular"), given.roll(3, 3))
    black = transform("translation", given, 3 / 16, PICTURES, edges="zero")
    assert torch.equal(black[..., 3:], given[..., :-3])
    assert not black[..., :3].any()
    mirrored = transform("translation", given, 3 / 16, PICTURES)
    assert torch.equal(mirrored[..., :3], given[..., 1:4].flip(3))
    assert torch.equal(transform("translation", given, -3 / 16, PICTURES)[..., :-3], given[..., 3:])


def test_a_move_of_a_ramp_is_known_between_pixels_too() -> None:
    y, x = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(9.0) - 4, indexing="ij")
    for move in (Move(degrees=30), Move(factor=1.7), Move(shift=1.3), Move(degrees=-20, factor=1.2, shift=0.4)):
        angle = math.radians(move.degrees)
        right, up = (x - move.shift) / move.factor, -y / move.factor  # turned back, in the mathematician's axes
        expected = math.cos(angle) * right + math.sin(angle) * up
        known = inside(sources(move, (9, 9)), "reflect")
        assert 9 < known.sum() < 82
        torch.testing.assert_close(moved(x, move)[known], expected[known], atol=1e-5, rtol=0)


def test_a_map_with_a_stride_moves_by_so_many_units_less() -> None:
    map_ = drawn(2, 5, 8, 8)
    torch.testing.assert_close(moved(map_, Move(shift=8), (4, 4), "circular"), map_.roll(2, 3))
    assert torch.equal(moved(map_, Move(degrees=90), (4, 4)), map_.rot90(1, (2, 3)))


def test_blur_is_convolution_with_a_gaussian() -> None:
    line = torch.zeros(1, 41)
    line[0, 20] = 1
    blurred = smoothed(line[None].double(), [0, 2.0], "reflect")[0, 0]
    places = torch.arange(41.0, dtype=torch.float64) - 20
    expected = torch.exp(-(places**2) / 8) / math.sqrt(8 * math.pi)
    torch.testing.assert_close(blurred, expected, atol=1e-4, rtol=0)
    given = drawn(1, 3, 16, 16)
    torch.testing.assert_close(
        smoothed(given, [1.5, 1.5], "circular").mean((2, 3)), given.mean((2, 3)), atol=1e-6, rtol=0
    )


def test_brightness_and_contrast_have_closed_forms_and_are_clamped() -> None:
    domain = ImageDomain(1, 4, 4, low=-1.0, high=1.0)
    given = 2 * drawn(2, 1, 4, 4) - 1
    torch.testing.assert_close(transform("brightness", given, 0.5, domain), (given - 1) / 2)
    torch.testing.assert_close(transform("brightness", given, 3, domain), (3 * given + 2).clamp(-1, 1))
    assert (transform("brightness", given, 3, domain) == 1).any()
    mean = given.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(transform("contrast", given, 0.25, domain), mean + (given - mean) / 4)


def test_gain_and_noise_are_of_the_decibels_asked_for() -> None:
    given = signals("waveform")
    softer = transform("gain", given, -6, SOUNDS)
    torch.testing.assert_close(20 * (softer.norm() / given.norm()).log10(), torch.tensor(-6.0))
    noise = torch.randn(given.shape, generator=torch.Generator().manual_seed(1))
    for ratio in (20, 0, -5):
        changed = transform("white-noise", given, ratio, SOUNDS, noise=noise)
        torch.testing.assert_close(changed.norm(dim=1), given.norm(dim=1))
        for sound, own, mixed in zip(given, noise, changed, strict=True):
            parts = torch.linalg.lstsq(torch.stack([sound, own], dim=1), mixed[:, None]).solution[:, 0]
            found = 20 * ((parts[0] * sound).norm() / (parts[1] * own).norm()).log10()
            assert found.item() == pytest.approx(ratio, abs=1e-3)
    assert not transform("white-noise", torch.zeros(1, 4000), 10, SOUNDS, noise=noise[:1]).any()


@pytest.mark.parametrize("semitones", [-5, 1, 4, 12])
def test_pitch_shift_moves_a_sine_s_peak(semitones: int) -> None:
    shifted = transform("pitch-shift", sine(600), semitones, SOUNDS)
    middle = shifted[0, 500:-500] * torch.hann_window(3000)
    peak = int(torch.fft.rfft(middle, n=64000).abs().argmax()) * 8000 / 64000
    assert peak == pytest.approx(600 * 2 ** (semitones / 12), rel=0.005)
    assert shifted[0, 500:-500].norm() / sine(600)[0, 500:-500].norm() == pytest.approx(1, abs=0.1)


def test_a_pitch_shift_keeps_level_and_silence_and_what_comes_after_it() -> None:
    late = sine(600)
    late[:, :2000] = 0
    shifted = transform("pitch-shift", late, 3, SOUNDS)
    torch.testing.assert_close(shifted.norm(), late.norm(), rtol=1e-4, atol=0)
    assert shifted[:, 2500:].norm() > 0.9 * late[:, 2500:].norm()
    assert shifted[:, :1500].norm() < 0.05 * late.norm()
    assert not transform("pitch-shift", torch.zeros(1, 4000), 3, SOUNDS).any()


def test_time_shift_is_in_milliseconds() -> None:
    given = signals("waveform")
    assert torch.equal(transform("time-shift", given, 2, SOUNDS, edges="circular"), given.roll(16, 1))
    assert outside("time-shift", 2, SOUNDS, edges="zero") == pytest.approx(16 / 4000)


def test_the_aperture_shows_a_disc_that_a_turn_does_not_fill_from_outside() -> None:
    domain = ImageDomain(3, 64, 64)
    given = drawn(1, 3, 64, 64)
    shown = through_aperture(given, domain)
    assert (shown[..., 0, 0] == 0.5).all()
    assert torch.equal(shown[..., 30:34, 30:34], given[..., 30:34, 30:34])
    assert outside("rotation", 45, domain, edges="reflect") == pytest.approx(3 - 2 * math.sqrt(2), abs=0.02)
    assert outside("rotation", 45, domain, edges="reflect", shown=True) == 0
    assert outside("rotation", 45, domain, edges="circular") == 0
    assert outside("blur", 0.1, domain, edges="reflect") == 0
    assert outside("translation", 0.25, domain, edges="reflect") == 0.25


@pytest.mark.parametrize(
    ("name", "strengths", "said"),
    [
        ("rotaton", [3], "unknown transformation 'rotaton'; did you mean 'rotation'"),
        ("rotation", 3, r"strengths of 'rotation' are 3, expected a list of numbers, such as \[5, 15, 45, 90\]"),
        ("rotation", [], "expected a list of numbers"),
        ("rotation", [200], "a strength of 'rotation' is 200, expected a number from -180 to 180 "),
        ("gain", [True], "a strength of 'gain' is True"),
        ("gain", ["3"], "a strength of 'gain' is '3'"),
        ("gain", [math.nan], "a strength of 'gain' is nan"),
        ("rotation", [10, 5], "expected numbers further and further from 0, which changes nothing"),
        ("rotation", [-10, 10], "to one side"),
        ("scale", [1.0, 2.0], "further and further from 1"),
        ("white-noise", [0, 10], "further and further from inf"),
    ],
)
def test_a_bad_strength_is_named(name: str, strengths: Any, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        check_strengths(name, strengths)


def test_what_cannot_be_transformed_is_named() -> None:
    given = signals("image")
    with pytest.raises(MetameryError, match="transformation 'gain' is for sounds, not for pictures"):
        transform("gain", given, -3, PICTURES)
    with pytest.raises(MetameryError, match="unknown edges 'mirror'"):
        transform("rotation", given, 3, PICTURES, edges="mirror")
    with pytest.raises(MetameryError, match=r"'noise' needs noise in the signals' shape, \(3, 3, 16, 16\)"):
        transform("noise", given, 0.1, PICTURES)
    with pytest.raises(MetameryError, match="expected a number from -1 to 1"):
        transform("translation", given, 2, PICTURES)


class Strided(nn.Module):
    """Maps of several kinds, and a head that takes only one size where asked."""

    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.valid = nn.Conv2d(3, 4, 5)
        self.halved = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.last = nn.Identity()
        self.tokens = nn.Identity()
        self.pooled = nn.AdaptiveAvgPool2d(1)
        self.fixed = fixed

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        if self.fixed and pictures.shape[-1] != 16:
            raise ValueError("16 pixels, please")
        map_ = self.halved(self.valid(pictures))
        self.last(map_.permute(0, 2, 3, 1))
        self.tokens(map_.flatten(2).transpose(1, 2))
        logits: torch.Tensor = self.pooled(map_).flatten(1)
        return logits


def test_maps_are_found_with_their_stride() -> None:
    names = ["input", "valid", "halved", "last", "tokens", "pooled", "output"]
    found = layouts(Model(Strided(False), PICTURES, names), names, CPU)
    kept = {name: (layout.axes, layout.stride) for name, layout in found.items() if layout is not None}
    assert kept == {
        "input": ((2, 3), (1, 1)),
        "valid": ((2, 3), (1, 1)),
        "halved": ((2, 3), (2, 2)),
        "last": ((1, 2), (2, 2)),
    }
    fixed = layouts(Model(Strided(True), PICTURES, names), names, CPU)
    guessed = {name: layout.stride for name, layout in fixed.items() if layout is not None and name != "last"}
    assert guessed == {"input": (1, 1), "valid": (16 / 12, 16 / 12), "halved": (16 / 6, 16 / 6)}
    sound = Model(nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 4, 5, stride=5)), SOUNDS, ["1"])
    layout = layouts(sound, ["input", "1"], CPU)
    assert {name: each and (each.axes, each.stride[1]) for name, each in layout.items()} == {
        "input": ((1,), 1),
        "1": ((2,), pytest.approx(5, rel=1e-3)),
    }


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_unrelated_pairs_as_if_each_were_taken(offset: float) -> None:
    rows = drawn(7, 3, 5).double() + offset
    rows[2] = offset  # constant: it has no correlation
    unrelated = Unrelated()
    for part in rows.split(3):
        unrelated.add(part)
    pairs = list(combinations(range(7), 2))
    squared = [float((rows[i] - rows[j]).square().sum()) for i, j in pairs]
    assert float(unrelated.squared().sum()) == pytest.approx(np.mean(squared), rel=1e-9)
    exact = rows.flatten(1).numpy()
    r = [np.corrcoef(exact[i], exact[j])[0, 1] for i, j in pairs if 2 not in (i, j)]
    assert unrelated.correlation() == pytest.approx(np.mean(r), abs=1e-9)


def test_curves_as_if_each_signal_were_taken_alone() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
    model = Model(module.eval(), PICTURES, ["1", "output"])
    given = drawn(5, 3, 16, 16)
    steps = [("rotation", 20.0), ("blur", 0.1), ("translation", 0.25)]
    with Recorder(model, steps) as recorder:
        for part in given.split(2):
            recorder.unchanged(part)
            for name, strength in steps:
                recorder.changed(name, strength, transform(name, part, strength, PICTURES))
        curves = recorder.finish()
    assert not list(module[1]._forward_hooks)
    even = np.full((1, 5), 0.2)
    found = curves.invariance(even)[0], curves.by_correlation(even)[0], curves.equivariance(even)[0]
    with torch.no_grad():
        plain = {"1": module[:2](given).double(), "output": module(given).double()}
    known = inside(sources(Move(shift=4), (8, 8), (2, 2)), "reflect")
    for place, (name, strength) in enumerate(steps):
        with torch.no_grad():
            signal = transform(name, given, strength, PICTURES)
            changed = {"1": module[:2](signal).double(), "output": module(signal).double()}
        for site, layer in enumerate(plain):
            a, b = changed[layer], plain[layer]
            pairs = [(b[i], b[j]) for i, j in combinations(range(5), 2)]
            base = np.mean([float((x - y).square().sum()) for x, y in pairs])
            own = np.mean([float((x - y).square().sum()) for x, y in zip(a, b, strict=True)])
            assert found[0][place, site] == pytest.approx(1 - math.sqrt(own / base), abs=1e-6)
            chance = np.mean([np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in pairs])
            r = np.mean([np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a, b, strict=True)])
            assert found[1][place, site] == pytest.approx((r - chance) / (1 - chance), abs=1e-6)
    a, b = changed["1"][..., 2:], plain["1"][..., :-2]
    assert known.sum() == 8 * 6
    own = float((a - b).square().sum()) / 5
    base = np.mean([float((x - y)[..., 2:].square().sum()) for x, y in combinations(plain["1"], 2)])
    assert found[2][2, 0] == pytest.approx(1 - math.sqrt(own / base), abs=1e-6)
    assert np.isnan(found[2][1]).all()  # a blur moves nothing
    assert np.isnan(found[2][:, 1]).all()  # logits are no map


def test_the_area_under_curves() -> None:
    assert area(np.array([[1.0], [0.5], [0.0]])).tolist() == [0.5]
    assert area(np.full((2, 4, 3), 0.7)) == pytest.approx(np.full((2, 3), 0.7))
