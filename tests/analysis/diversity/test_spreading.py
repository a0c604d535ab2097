"""Signals pushed apart in regions of linear networks, where what the box allows is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from metamery.analysis.diversity.spreading import Pushed, PushSettings, mean_distance, pairwise, push_apart
from metamery.analysis.proof.distances import relative_l2
from metamery.analysis.synthesis import passes
from metamery.analysis.synthesis.optimizers import normalised_gradient_descent
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import ImageDomain, MetameryError, Tap, WaveformDomain
from metamery.framework.domains import Domain
from metamery.framework.running import frozen
from torch import nn

PICTURES, SOUNDS = ImageDomain(1, 3, 4), WaveformDomain(12, 8000)
PROCEDURE = Procedure(resolve_settings(), relative_l2, normalised_gradient_descent())


def seeing(pixels: list[int], domain: Domain = PICTURES) -> nn.Module:
    """A network whose layer ``1`` has the values of some samples and no others."""
    count = int(np.prod(domain.shape))
    network = nn.Sequential(nn.Flatten(), nn.Linear(count, len(pixels), bias=False))
    network[1].weight.data = torch.eye(count)[pixels]
    return network.eval()


def pushed(
    network: nn.Module,
    natural: torch.Tensor,
    start: torch.Tensor,
    domain: Domain,
    radius: float = 0.02,
    apart=lambda signals: signals,
    **settings,
) -> Pushed:
    k = start.shape[1]
    with frozen(network), Tap(network, ["1"]) as tap:
        target = tap(natural)["1"].detach().repeat_interleave(k, dim=0)

        def is_inside(signals: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return (relative_l2(tap(signals.flatten(0, 1))["1"], target) <= radius).reshape(-1, k)

        pull = partial(passes.pull, targets=(target,), tap=tap, procedure=PROCEDURE, domain=domain)
        found = push_apart(
            start,
            pull,
            torch.tensor([radius]),
            is_inside,
            domain,
            PushSettings(**{"steps": 150, **settings}),
            apart,
        )
        assert torch.equal(is_inside(found.signals), found.inside)
    return found


def starts(natural: torch.Tensor, k: int, ignored: list[int], seed: int = 0, scale: float = 0.05) -> torch.Tensor:
    """Variants that differ from the natural signals a little, where the network sees nothing."""
    generator = torch.Generator().manual_seed(seed)
    start = natural[:, None].repeat_interleave(k, dim=1).flatten(2)
    start[..., ignored] += scale * torch.randn(*start.shape[:2], len(ignored), generator=generator)
    return start.reshape(len(natural), k, *natural.shape[1:])


def natural_pictures(count: int = 2, domain: Domain = PICTURES) -> torch.Tensor:
    drawn = torch.rand(count, *domain.shape, generator=torch.Generator().manual_seed(3))
    return domain.quantise(domain.low + (domain.high - domain.low) * (0.3 + 0.4 * drawn))


def test_a_pixel_that_the_network_ignores_goes_to_both_ends_of_the_range() -> None:
    network, natural = seeing([*range(1, 12)]), natural_pictures()
    found = pushed(network, natural, starts(natural, 2, [0]), PICTURES, 0.002)
    assert found.inside.all()
    assert found.signals.flatten(2)[..., 0].sort().values.tolist() == [[0, 1], [0, 1]]
    assert torch.equal(found.signals.flatten(2)[..., 1:], natural.flatten(1)[:, None, 1:].expand(-1, 2, -1))
    assert torch.allclose(found.spread, torch.tensor(1 / 12**0.5))


def test_four_variants_reach_the_bound_of_the_box_in_the_null_space() -> None:
    """Of 4 values in [0, 1] at most 4 of the 6 pairs differ by 1, so the mean distance is at most √(⅔ · ignored)."""
    ignored = [0, 1, 2, 3, 4, 5]
    network, natural = seeing([*range(6, 12)]), natural_pictures()
    found = pushed(network, natural, starts(natural, 4, ignored), PICTURES, 0.002)
    bound = (2 / 3 * len(ignored) / 12) ** 0.5
    assert found.inside.all()
    assert (found.spread <= bound + 1e-4).all()
    assert (found.spread > 0.95 * bound).all()


def test_what_the_network_sees_moves_as_far_as_the_radius_allows() -> None:
    """All samples are seen alike: two variants end on opposite sides of the ball around the natural signal."""
    network, natural = seeing([*range(12)]), natural_pictures()
    radius = 0.2
    found = pushed(network, natural, starts(natural, 2, [*range(12)], scale=0.01), PICTURES, radius)
    widest = 2 * radius * torch.linalg.vector_norm(natural.flatten(1), dim=1) / 12**0.5
    assert found.inside.all()
    assert (found.spread <= widest).all()
    assert (found.spread > 0.9 * widest).all()


@pytest.mark.parametrize("domain", [PICTURES, SOUNDS], ids=["8-bit", "16-bit"])
def test_signals_stay_inside_and_in_the_range_after_rounding(domain: Domain) -> None:
    network, natural = seeing([*range(2, 12)], domain), natural_pictures(3, domain)
    found = pushed(network, natural, starts(natural, 3, [0, 1]), domain)
    assert found.inside.all()
    assert torch.equal(found.signals, domain.quantise(found.signals))
    assert found.signals.amin() >= domain.low
    assert found.signals.amax() <= domain.high
    limit = (domain.high - domain.low) * (2 / 3 * 2 / 12) ** 0.5
    assert (found.spread > 0.9 * limit).all()  # the two samples go to both ends, −1 and 1 for a sound


def test_a_start_outside_comes_inside_and_one_that_cannot_is_left() -> None:
    network, natural = seeing([*range(1, 12)]), natural_pictures()
    outside = torch.rand(2, 2, *PICTURES.shape, generator=torch.Generator().manual_seed(1))
    found = pushed(network, natural, outside, PICTURES)
    assert found.inside.all()
    far = natural.clone()
    far[1] = 3.0  # beyond the range
    found = pushed(network, far, outside, PICTURES)
    assert found.inside.tolist() == [[True, True], [False, False]]
    assert torch.equal(found.signals[1], PICTURES.quantise(outside[1]))
    assert found.spread.isnan().tolist() == [False, True]


def test_the_spread_never_falls_below_that_of_the_start() -> None:
    network, natural = seeing([*range(1, 12)]), natural_pictures()
    start = natural[:, None].repeat(1, 2, 1, 1, 1)
    start[:, 0, 0, 0, 0], start[:, 1, 0, 0, 0] = 0, 1
    before = mean_distance(start, torch.ones(2, 2, dtype=torch.bool))
    for steps in (1, 7, 40):
        found = pushed(network, natural, start, PICTURES, steps=steps, step_size=1.0)
        assert (found.spread >= before).all()


def test_a_stimulus_does_not_depend_on_the_others_of_its_batch() -> None:
    network, natural = seeing([*range(2, 12)]), natural_pictures(3)
    start = starts(natural, 3, [0, 1])
    together = pushed(network, natural, start, PICTURES, steps=60)
    for row in range(3):
        alone = pushed(network, natural[row : row + 1], start[row : row + 1], PICTURES, steps=60)
        assert torch.equal(alone.signals[0], together.signals[row])


def test_signals_are_pushed_apart_where_it_is_asked() -> None:
    """Two pixels are ignored, and only one of them counts: the other stays as it is."""
    network, natural = seeing([*range(2, 12)]), natural_pictures()
    start = starts(natural, 2, [0])
    found = pushed(network, natural, start, PICTURES, 0.002, apart=lambda signals: signals.flatten(1)[:, :1])
    assert found.signals.flatten(2)[..., 0].sort().values.tolist() == [[0, 1], [0, 1]]
    assert torch.equal(found.signals.flatten(2)[..., 1], natural.flatten(1)[:, None, 1].expand(-1, 2))
    assert torch.allclose(found.spread, torch.ones(2))


def test_distances_are_root_mean_squares_of_pairs_that_count() -> None:
    features = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]])
    assert torch.allclose(pairwise(features)[0, 0], torch.tensor([0, 5, 10]) / 2**0.5)
    assert torch.allclose(mean_distance(features, torch.tensor([[True, True, False]])), torch.tensor(5 / 2**0.5))
    assert mean_distance(features, torch.tensor([[True, False, False]])).isnan().all()


@pytest.mark.parametrize(("settings", "said"), [({"steps": 0}, "steps is 0"), ({"step_size": 0}, "step_size is 0")])
def test_a_setting_out_of_range_is_one_line(settings: dict[str, float], said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        PushSettings(**settings)
