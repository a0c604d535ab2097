"""What signals are like: ratios, SSIM, levels, diversity and size, against closed forms and slow reference versions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from metamery.analysis.character.signals import (
    ABOUT,
    Diversity,
    compare_with_natural,
    describe,
    measures_of,
    psnr,
    ssim,
    stretched,
)
from metamery.analysis.character.spectra import energy_above, spectral_slope
from metamery.framework import ImageDomain, WaveformDomain


def pictures(count: int = 4, size: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_the_ratio_of_a_constant_offset() -> None:
    natural = pictures() / 2
    np.testing.assert_allclose(psnr(natural + 0.1, natural, 1.0), 20, rtol=1e-5)
    np.testing.assert_allclose(psnr(natural + 0.1, natural, 2.0), 20 + 20 * math.log10(2), rtol=1e-5)
    assert psnr(natural, natural, 1.0).tolist() == [math.inf] * 4


@pytest.mark.parametrize("span", [1.0, 255.0])
def test_structural_similarity_is_that_of_scikit_image(span: float) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    natural = pictures() * span
    other = natural + 0.2 * span * torch.randn(natural.shape, generator=torch.Generator().manual_seed(1))
    expected = [
        metrics.structural_similarity(
            a.double().numpy(),
            b.double().numpy(),
            data_range=span,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(other, natural, strict=True)
    ]
    np.testing.assert_allclose(ssim(other, natural, span), expected, rtol=1e-9)


def test_structural_similarity_of_equal_small_and_plain_pictures() -> None:
    natural = pictures()
    np.testing.assert_allclose(ssim(natural, natural, 1.0), 1)
    assert ssim(natural[..., :10], natural[..., :10], 1.0).isnan().all()
    dark, bright = torch.full((1, 1, 12, 12), 0.25), torch.full((1, 1, 12, 12), 0.75)
    expected = (2 * 0.25 * 0.75 + 0.01**2) / (0.25**2 + 0.75**2 + 0.01**2)  # the luminance term alone
    assert ssim(dark, bright, 1.0).item() == pytest.approx(expected)


def test_levels_are_relative_to_full_scale() -> None:
    domain = WaveformDomain(800, 8000, low=-2, high=2)
    sine = (2 * math.pi * 10 * torch.arange(800) / 800).sin()
    square = torch.where(torch.arange(800) % 2 == 0, 2.0, -2.0)
    found = describe(torch.stack([sine, square, torch.zeros(800)]), domain, 0.5)
    np.testing.assert_allclose(found["peak_db"], [-6.0206, 0, -math.inf], atol=1e-3)
    np.testing.assert_allclose(found["rms_db"], [-9.0309, 0, -math.inf], atol=1e-3)
    assert found["energy_above"][:2].tolist() == pytest.approx([0, 1], abs=1e-6)


def test_the_measures_of_a_domain() -> None:
    for domain in (ImageDomain(3, 24, 24), WaveformDomain(800, 8000)):
        signals = torch.rand(2, *domain.shape, generator=torch.Generator().manual_seed(0))
        found = describe(signals, domain, 0.25) | compare_with_natural(signals, signals, domain)
        assert {*found} == {*measures_of(domain)} <= {*ABOUT}
        assert all(values.shape == (2,) and values.dtype == torch.float64 for values in found.values())
        torch.testing.assert_close(found["energy_above"], energy_above(signals, 0.25))
        lowest = 0.0 if domain.kind == "image" else 20 / 8000
        torch.testing.assert_close(found["slope"], spectral_slope(signals, lowest))


def diversity(stimuli: list[torch.Tensor]) -> list[float]:
    measured = Diversity()
    for activations in stimuli:
        measured.add(activations)
    found: list[float] = measured.result().tolist()
    return found


def distances(stimuli: list[torch.Tensor]) -> list[float]:
    """The same by its definition, pair by pair."""

    def rms(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
        return math.sqrt(np.mean([float((a - b).double().square().sum()) for a, b in pairs])) if pairs else math.nan

    between = [(a, b) for one, other in itertools.combinations(stimuli, 2) for a in one for b in other]
    return [rms(list(itertools.combinations(each, 2))) / rms(between) for each in stimuli]


def test_diversity_is_that_of_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    stimuli = [5 + torch.randn(count, 3, 4, generator=generator) for count in (3, 2, 1, 0, 3)]
    found = diversity(stimuli)
    np.testing.assert_allclose(found, distances(stimuli), rtol=1e-9)
    assert np.isnan(found).tolist() == [False, False, True, True, False]


def test_diversity_of_the_same_and_of_unrelated_metamers() -> None:
    generator = torch.Generator().manual_seed(0)
    same = [torch.randn(1, 500, generator=generator).expand(3, 500) for _ in range(4)]
    assert diversity(same) == [0, 0, 0, 0]
    unrelated = [torch.randn(3, 500, generator=generator) for _ in range(10)]
    np.testing.assert_allclose(diversity(unrelated), 1, atol=0.1)


def test_diversity_needs_seeds_and_stimuli() -> None:
    one = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert np.isnan(diversity([one])).all()
    assert np.isnan(diversity([one[:1], one[1:2]])).all()
    assert np.isnan(diversity([one[:0], one[:0]])).all()
    assert np.isnan(diversity([one[:1].expand(2, 5)] * 3)).all()  # every stimulus the same


def length(points: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm((points.double() - centre.double()).flatten(1), dim=1)


def test_a_change_is_stretched_or_shrunk_to_a_size() -> None:
    centre = pictures(6)
    points = (centre + 0.1 * (pictures(6, seed=1) - 0.5)).clamp(0, 1)
    size = torch.tensor([0.0, 0.05, 0.5, 3.0, 10.0, 20.0])
    found = stretched(points, centre, size, 0.0, 1.0)
    np.testing.assert_allclose(length(found, centre), size, rtol=1e-5)
    assert 0 <= found.min() <= found.max() <= 1
    assert torch.equal(found[0], centre[0])
    assert ((found - centre).sign() * (points - centre).sign() >= 0).all()
    # Far from the range's ends it is a scaling.
    grey = torch.full_like(centre, 0.5)
    moved = stretched(grey + 0.1 * (points - grey), grey, torch.ones(6), 0.0, 1.0)
    torch.testing.assert_close(moved - grey, (points - grey) / length(points, grey).float()[:, None, None, None])


def test_the_share_of_a_stretched_change_is_that_of_a_search() -> None:
    centre, points = pictures(5), pictures(5, seed=1)
    size = torch.tensor([1.0, 5.0, 12.0, 18.0, 22.0])
    low, high = torch.zeros(5, dtype=torch.float64), torch.full((5,), 1e6, dtype=torch.float64)
    for _ in range(100):
        middle = (low + high) / 2
        far = length((centre + middle[:, None, None, None] * (points - centre).double()).clamp(0, 1), centre) > size
        low, high = torch.where(far, low, middle), torch.where(far, middle, high)
    expected = (centre + low[:, None, None, None] * (points - centre).double()).clamp(0, 1)
    torch.testing.assert_close(stretched(points, centre, size, 0, 1).double(), expected, rtol=1e-5, atol=1e-6)


def test_the_range_and_a_change_of_nothing_end_a_stretch() -> None:
    centre = torch.full((2, 4), 0.5)
    points = torch.tensor([[0.6, 0.5, 0.4, 0.5], [0.5, 0.5, 0.5, 0.5]])
    found = stretched(points, centre, torch.tensor([9.0, 9.0]), 0.0, 1.0)
    assert found.tolist() == [[1.0, 0.5, 0.0, 0.5], [0.5, 0.5, 0.5, 0.5]]
