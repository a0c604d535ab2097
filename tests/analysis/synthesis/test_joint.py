"""Joint layers: closed forms of linear networks, and the same as a slow version and as single layers."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from metamery.analysis import judge, match_layer, null_distribution, synthesise
from metamery.analysis.proof.distances import relative_l2
from metamery.analysis.synthesis import passes
from metamery.analysis.synthesis.optimizers import normalised_gradient_descent
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.analysis.synthesis.together import join_models
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, Tap, WaveformDomain
from metamery.framework.running import frozen
from metamery.framework.schema import VERDICTS, check_dataset
from metamery.framework.testing import example_model, example_stimuli
from torch import nn

SIGNALS = ImageDomain(1, 4, 5)


class Linear(nn.Module):
    """Two linear layers beside each other, of one signal."""

    def __init__(self, units: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(units)
        self.a, self.b = nn.Linear(20, units, bias=False), nn.Linear(20, units + 1, bias=False)
        for layer in (self.a, self.b):
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        flat = signals.flatten(1)
        return torch.cat([self.a(flat), self.b(flat)], dim=1)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def matched(network: nn.Module, layers: list[str], natural: torch.Tensor, start: torch.Tensor, **options):
    settings = resolve_settings("feather2023", steps=4000, step_size=0.05)
    procedure = Procedure(settings, relative_l2, normalised_gradient_descent())
    with frozen(network), Tap(network, layers) as tap:
        with torch.no_grad():
            targets = [each.clone() for each in tap(natural).values()]
        return match_layer(tap, targets, start, procedure, ImageDomain(1, 4, 5, -9, 9), **options)


def test_joint_metamers_of_a_linear_network_are_the_start_plus_the_projection_on_the_joint_row_space():
    network, natural, start = Linear(), rand(3, 1, 4, 5), rand(3, 1, 4, 5, seed=1)
    record = matched(network, ["a", "b"], natural, start, weights=[1, 1])
    rows = torch.cat([network.a.weight, network.b.weight]).detach()
    projection = torch.linalg.pinv(rows) @ rows
    expected = start.flatten(1) + (natural - start).flatten(1) @ projection
    assert torch.allclose(record.signals.flatten(1), expected, atol=2e-3)
    alone = matched(network, ["a"], natural, start).signals.flatten(1)
    own = torch.linalg.pinv(network.a.weight.detach()) @ network.a.weight.detach()
    assert torch.allclose(alone, start.flatten(1) + (natural - start).flatten(1) @ own, atol=2e-3)


def test_the_gradient_is_the_weighted_sum_of_those_of_single_layers():
    """Each term's modified ReLU is its own: the gradient of the later layer passes the earlier ReLU as it is."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 2), nn.ReLU(inplace=True))
    natural, signals, domain = rand(2, 1, 4, 5), rand(2, 1, 4, 5, seed=1), SIGNALS
    procedure = Procedure(resolve_settings(), relative_l2, normalised_gradient_descent())
    single = {}
    for layer in ("1", "3"):
        with frozen(network), Tap(network, [layer]) as tap:
            target = tap(natural)[layer].detach().clone()
            single[layer] = target, *passes.pull(signals, (target,), torch.ones(1, 2), tap, procedure, domain)
    weights = torch.tensor([[0.7, 0.2], [-0.3, 0.8]])
    with frozen(network), Tap(network, ["1", "3"]) as tap:
        targets = tuple(each[0] for each in single.values())
        distances, gradient = passes.pull(signals, targets, weights, tap, procedure, domain)
    assert torch.equal(distances, torch.cat([each[1] for each in single.values()]))
    expected = sum(w[:, None, None, None] * each[2] for w, each in zip(weights, single.values(), strict=True))
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_weights_are_in_units_of_each_terms_distance_at_the_start():
    weights = passes.relative_weights([3, 1], torch.tensor([[2.0, 1.0, 1.0], [4.0, 0.5, 0.0]]))
    assert torch.allclose(weights, torch.tensor([[0.75, 0.75, 0.75], [0.125, 0.5, 0.25]]))


def test_the_pass_that_gives_the_scale_is_the_first_pass_and_its_gradient_the_same_to_the_bit():
    """The slow twin makes a pass for the scale, and then that of the first update."""
    network, natural, start = Linear(), rand(3, 1, 4, 5), rand(3, 1, 4, 5, seed=1)
    procedure = Procedure(resolve_settings(steps=5), relative_l2, normalised_gradient_descent())
    ran = []
    network.register_forward_pre_hook(lambda *_: ran.append(1))
    with frozen(network), Tap(network, ["a", "b"]) as tap:
        with torch.no_grad():
            targets = tuple(each.clone() for each in tap(natural).values())
        pull = partial(passes.pull, start, targets, tap=tap, procedure=procedure, domain=SIGNALS)
        apart, _ = pull(torch.ones(2, 3), differentiate=False)
        twice = pull(passes.relative_weights([1, -0.3], apart))
        once = pull(partial(passes.relative_weights, [1, -0.3]))
        assert all(map(torch.equal, once, twice))
        ran.clear()
        match_layer(tap, targets, start, procedure, SIGNALS, weights=[1, -0.3])
    assert len(ran) == 6, "one for each update and one after the last"


def test_a_tolerance_is_of_every_term_that_pulls():
    network, natural, start = Linear(), rand(3, 1, 4, 5), rand(3, 1, 4, 5, seed=1)
    settings = resolve_settings(steps=400, tolerance=0.05)
    procedure = Procedure.load(settings, Plugins())
    with frozen(network), Tap(network, ["a", "b"]) as tap:
        with torch.no_grad():
            targets = [each.clone() for each in tap(natural).values()]
        for weights, pulling in (((1, -0.1), [0]), ((1, 0.2), [0, 1])):
            record = match_layer(tap, targets, start, procedure, ImageDomain(1, 4, 5, -9, 9), weights=weights)
            assert (record.steps % 10 == 0).all()
            assert (record.steps > 0).all()
            assert (record.steps < 400).all()
            reached = [relative_l2(own, each) for own, each in zip(tap(record.signals).values(), targets, strict=True)]
            assert all((reached[index] <= 0.05).all() for index in pulling)
            if weights[1] < 0:  # the weighted mean was that small before
                means = record.losses[torch.arange(3), record.steps - 10]
                assert (means <= 0.05).any()
        with pytest.raises(MetameryError, match=r"^weights is \[-1, -1\], expected at least one above 0$"):
            match_layer(tap, targets, start, procedure, SIGNALS, weights=[-1, -1])


def test_two_equal_networks_are_one_bit_for_bit():
    alone = synthesise(example_model(), example_stimuli(), ["1"], steps=60)
    both = join_models({"one": example_model(), "other": example_model()})
    together = synthesise(both, example_stimuli(), ["one.1 + other.1"], steps=60)
    assert np.array_equal(together.signal.values, alone.signal.values)
    assert np.array_equal(together.loss.values, alone.loss.values)


def test_a_term_of_weight_0_is_not_there():
    alone = synthesise(example_model(), example_stimuli(), ["1"], steps=5)
    assert synthesise(example_model(), example_stimuli(), ["1 + 0 2"], steps=5).identical(alone)


def test_a_metamer_of_a_joint_layer_matches_at_both_and_one_of_a_single_layer_does_not():
    model, stimuli = example_model(), example_stimuli(count=6)
    null = null_distribution(model, stimuli, ["1 + 2", "1"])
    assert null["layer"].values.tolist() == ["1 + 2", "1", "2"]
    metamers = synthesise(model, stimuli, ["1 + 2"], steps=600)
    check_dataset(metamers)
    verdicts = judge(metamers, null)
    check_dataset(verdicts)
    at_terms = verdicts["term_matches"].sel(layer="1 + 2")
    assert (at_terms.sel(measured_layer=["1", "2"]) == VERDICTS["yes"]).all()
    assert (at_terms.sel(measured_layer=["1 + 2", "output"]) == VERDICTS["missing"]).all()
    assert (verdicts["matches"] == VERDICTS["yes"]).all()
    least = smaller_margin(metamers, null)
    assert np.allclose(verdicts["margin"].values[0, ..., :3], least, atol=1e-5)


def smaller_margin(metamers, null):
    """The smaller of the two terms' margins, by hand."""
    metrics = ["pearson", "spearman", "snr_db"]
    each = [
        metamers["match"].sel(layer="1 + 2", measured_layer=term, metric=metrics).values
        - null["maximum"].sel(layer=term, metric=metrics).values
        for term in ("1", "2")
    ]
    return np.minimum(*each)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [("yes", "yes", "yes"), ("yes", "no", "no"), ("unattainable", "yes", "unattainable"), ("no", "unattainable", "no")],
)
def test_success_is_required_at_every_term(first, second, both):
    model = example_model()
    metamers = synthesise(model, example_stimuli(), ["1 + 2"], steps=2)
    null = null_distribution(model, example_stimuli(count=4), ["1 + 2"])
    limits = {"yes": -5.0, "no": 0.9989, "unattainable": 1.0}
    for term, verdict in (("1", first), ("2", second)):
        null["maximum"].loc[{"layer": term}] = limits[verdict]
        null["maximum"].loc[{"layer": term, "metric": "snr_db"}] = -100 if verdict == "yes" else 1000
    for name in ("match", "quantised_term_match"):
        metamers[name].loc[{"metric": ["pearson", "spearman"]}] = 0.5
    agrees = metamers.assign(agrees=metamers.agrees * 0 + 1, quantised_agrees=metamers.agrees * 0 + 1)
    verdicts = judge(agrees, null)
    for prefix in ("", "quantised_"):
        assert (verdicts[f"{prefix}success"] == VERDICTS[both]).all()
        found = verdicts[f"{prefix}term_matches"].sel(layer="1 + 2", measured_layer=["1", "2"])
        assert (found[0] == VERDICTS[first]).all()
        assert (found[1] == VERDICTS[second]).all()


def test_a_term_that_pushes_ends_far_away():
    model, stimuli = example_model(), example_stimuli()
    pulled = synthesise(model, stimuli, ["2 + output"], steps=200)
    pushed = synthesise(model, stimuli, ["2 - 0.3 output"], steps=200)
    error = [each["match"].sel(measured_layer="output", metric="relative_l2") for each in (pulled, pushed)]
    assert (error[1].values > 5 * error[0].values).all()


def test_members_answer_for_themselves():
    both = join_models({"one": example_model(), "other": example_model(seed=1)})
    stimuli = example_stimuli(count=5)
    metamers = synthesise(both, stimuli, ["one.1"], steps=3)
    shown = torch.from_numpy(metamers["signal"].values[0, :, 0])
    natural = torch.from_numpy(metamers["natural"].values)
    for name in ("one", "other"):
        member = both.module.get_submodule(name)
        with torch.no_grad():
            same = (member(shown).argmax(1) == member(natural).argmax(1)).numpy()
        assert (same | (metamers["agrees"].values[0, :, 0] == 0)).all()
    assert both.labels == ("a", "b", "c", "d")
    with torch.no_grad():
        mean = sum(both.module.get_submodule(name)(natural).log_softmax(1) for name in ("one", "other")) / 2
        assert torch.allclose(both.module(natural), mean)


def test_members_get_the_signal_in_their_own_domains():
    class Kept(nn.Module):
        def forward(self, signals):
            self.seen = signals
            return signals.flatten(1)

    large, small = ImageDomain(3, 16, 16), ImageDomain(3, 8, 8, -1, 1)
    both = join_models({"a": Model(Kept(), large, ["output"]), "b": Model(Kept(), small, ["output"])})
    signals = rand(2, 3, 16, 16).requires_grad_()
    both.module(signals).sum().backward()
    seen = both.module.get_submodule("b").seen.detach()
    assert seen.shape == (2, 3, 8, 8)
    assert float(seen.min()) >= -1
    assert torch.allclose(seen.mean(), 2 * signals.detach().mean() - 1, atol=0.02)
    assert both.domain == large
    assert signals.grad.abs().sum() > 0

    fast, slow = WaveformDomain(1600, 16000), WaveformDomain(800, 8000, rms=0.05)
    both = join_models({"a": Model(Kept(), fast, ["output"]), "b": Model(Kept(), slow, ["output"])})
    tone = 0.1 * torch.sin(2 * torch.pi * 440 * torch.arange(1600) / 16000)
    both.module(tone[None])
    expected = 0.05 * torch.sin(2 * torch.pi * 440 * torch.arange(800) / 8000)
    assert torch.allclose(both.module.get_submodule("b").seen[0, 50:-50], expected[50:-50], atol=2e-3)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("1 + 1", "joint layer '1 + 1' has '1' twice"),
        ("- 1", "'- 1' is not a layer name"),
        ("0 1 + 0 2", "matches nowhere"),
        ("1 + ", "is not a layer name: expected a module path, or a sum"),
        ("1 + nothing", "unknown layer 'nothing'"),
        ("1 2 3", "'1 2 3' is not a layer name"),
    ],
)
def test_wrong_sums_are_refused(layer, message):
    with pytest.raises(MetameryError, match=re.escape(message)):
        synthesise(example_model(), example_stimuli(), [layer], steps=2)


def test_models_that_cannot_share_a_signal_are_refused():
    sound = Model(nn.Flatten(), WaveformDomain(800, 8000), ["output"])
    with pytest.raises(MetameryError, match=r"^'b' and 'a' cannot share a signal: waveform.*; image"):
        join_models({"a": Model(nn.Flatten(), ImageDomain(3, 900, 900), ["output"]), "b": sound})
    with pytest.raises(MetameryError, match=r"^1 model to be joined, expected at least two$"):
        join_models({"a": sound})
    with pytest.raises(MetameryError, match=r"joined with itself"):
        join_models({"a": sound, "b": sound})


def test_a_synthesis_starts_where_it_is_told_to():
    model, stimuli = example_model(), example_stimuli(count=3)
    natural = torch.stack([model.domain.fit(each) for each in stimuli])
    for start, expected in (("natural", natural), ("other", natural.roll(-1, 0))):
        small = {"steps": 1, "step_size": 1e-9, "noise": 0, "start": start, "batch_size": 2}
        begun = synthesise(model, stimuli, ["1"], **small)
        assert np.allclose(begun["signal"].values[0, :, 0], expected, atol=1e-6)
    noisy = synthesise(model, stimuli, ["1"], steps=1, step_size=1e-9, start="natural", noise=0.1)
    around = noisy["signal"].values[0, :, 0] - natural.numpy()
    assert 0.08 < around.std() < 0.12
    with pytest.raises(MetameryError, match="unknown start 'nature'"):
        synthesise(model, stimuli, ["1"], start="nature")


def test_of_each_network_no_more_is_run_than_a_joint_layer_needs():
    members = {name: example_model(seed) for seed, name in enumerate(("one", "other"))}
    both, ran = join_models(members), []
    for name, member in members.items():
        for path, part in member.module.named_children():
            part.register_forward_hook(lambda *_, at=f"{name}.{path}": ran.append(at))
    signals = torch.stack([both.domain.fit(each) for each in example_stimuli()])
    with torch.no_grad(), both.tap(["one.1", "other.2"]) as tap, frozen(both.module):
        ran.clear()
        found = tap(signals)
    assert ran == ["one.0", "one.1", "other.0", "other.1", "other.2"]
    with torch.no_grad(), both.tap(["one.1", "other.2"], stop=False) as tap, frozen(both.module):
        whole = tap(signals)
    assert all(torch.equal(found[name], whole[name]) for name in found)
