"""Synthesis against an independent version and closed forms, and its messages when it is impossible."""

from functools import partial

import numpy as np
import pytest
import torch
from metamery.analysis import match_layer
from metamery.analysis.proof.distances import correlation, cosine, relative_l2
from metamery.analysis.synthesis.driver import starting_noise
from metamery.analysis.synthesis.optimizers import adam, normalised_gradient_descent, sgd
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import ImageDomain, Plugins, Stimulus, Tap
from metamery.framework.running import frozen
from metamery.framework.schema import STATES
from torch import nn


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64)


def image_network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(72, 5),
    ).double()


def wide_image_network():
    """More units than pixels: the loss stays well above 0, where every rounding error would be magnified."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(inplace=True), nn.Conv2d(12, 12, 3), nn.ReLU()).double()


def wide_sound_network():
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Unflatten(1, (1, 400)), nn.Conv1d(1, 6, 9), nn.Tanh(), nn.Conv1d(6, 6, 5), nn.ReLU6()
    ).double()


def make(
    network, layer, targets, start, settings, *, distance=relative_l2, optimizer=None, low=0.0, high=1.0, **options
):
    procedure = Procedure(settings, distance, optimizer or normalised_gradient_descent())
    with frozen(network), Tap(network, [layer]) as tap:
        return match_layer(tap, targets, start, procedure, ImageDomain(1, 1, 1, low, high), **options)


def activation(network, layer, x):
    with torch.no_grad(), frozen(network), Tap(network, [layer]) as tap:
        return tap(x)[layer].clone()


class Straight(torch.autograd.Function):
    """The modified ReLU as its authors write it."""

    @staticmethod
    def forward(context, x, high):
        return x.clamp(0, high)

    @staticmethod
    def backward(context, gradient):
        return gradient, None


def twin(layers, high, target, start, low_high, steps):
    """The published procedure, for one signal, in plain PyTorch: returns every iterate and every loss."""
    x = start.clone()
    iterates, losses = [], []
    for k in range(steps):
        x.requires_grad_()
        y = x[None]
        for layer in layers:
            y = layer(y)
        y = Straight.apply(y, high)
        loss = torch.sqrt(((y[0] - target) ** 2).sum()) / torch.sqrt((target**2).sum())
        loss.backward()
        step = 1.0 / 2 ** (k // (steps // 8))
        with torch.no_grad():
            x = torch.clamp(x - step * x.grad / (torch.sqrt((x.grad**2).sum()) + 1e-10), *low_high)
        iterates.append(x.clone())
        losses.append(loss.item())
    return iterates, losses


@pytest.mark.parametrize(
    ("network", "depth", "high", "layer", "shape", "low"),
    [(wide_image_network(), 3, None, "3", (3, 24, 24), 0.0), (wide_sound_network(), 4, 6.0, "4", (400,), -1.0)],
    ids=["images", "waveforms"],
)
def test_feather2023_is_the_published_procedure_update_by_update(network, depth, high, layer, shape, low):
    natural, start = rand(2, *shape), rand(2, *shape, seed=1)
    targets = activation(network, layer, natural)
    record = make(network, layer, targets, start, resolve_settings("feather2023", steps=200), low=low, high=1.0)
    for row in range(2):
        iterates, losses = twin(list(network)[:depth], high, targets[row], start[row], (low, 1.0), 200)
        np.testing.assert_allclose(record.losses[row, :200], losses, rtol=1e-6)
        assert losses[-1] < 0.5 * losses[0]
        difference = (record.signals[row] - iterates[-1]).norm() / iterates[-1].norm()
        assert difference <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "layer", "steps"),
    [
        ("coch-cnn-digits", {}, "relu2", 24),
        ("coch-cnn-digits", {}, "relu5", 24),
        ("cochcnn9", {"density": 8, "num_classes": 2}, "relu1", 8),
    ],
)
def test_feather2023_on_sounds_is_the_published_procedure_update_by_update(name, options, layer, steps):
    model = Plugins(installed=()).load("model", name, **options)
    network = model.module.double()
    depth = [part for part, _ in network.named_children()].index(layer)
    time = torch.arange(model.domain.samples, dtype=torch.float64) / model.domain.sample_rate
    vowel = (
        sum(torch.sin(2 * torch.pi * 120 * k * time) / k for k in range(1, 20)) * torch.sin(3 * torch.pi * time) ** 2
    )
    natural = model.domain.fit(Stimulus(vowel.float(), name="vowel", sample_rate=model.domain.sample_rate)).double()
    start = starting_noise(model.domain, None, 0, 0, "vowel").double()
    targets = activation(network, layer, natural[None])
    record = make(
        network, layer, targets, start[None], resolve_settings("feather2023", steps=steps), low=-1.0, high=1.0
    )
    with frozen(network):
        iterates, losses = twin(list(network)[:depth], None, targets[0], start, (-1.0, 1.0), steps)
    np.testing.assert_allclose(record.losses[0, :steps], losses, rtol=1e-6)
    assert losses[-1] < losses[0]
    assert (record.signals[0] - iterates[-1]).norm() <= 1e-6 * iterates[-1].norm()


def test_a_linear_networks_metamer_is_the_start_plus_the_minimum_norm_correction():
    """The row space comes right to twice the last step, the null space stays as it was."""
    rows, columns = 6, 40
    q, _ = torch.linalg.qr(rand(columns, rows) - 0.5)
    mixing, _ = torch.linalg.qr(rand(rows, rows, seed=2) - 0.5)
    weight = mixing @ torch.diag(torch.linspace(1.0, 1.5, rows, dtype=torch.float64)) @ q.T
    network = nn.Linear(columns, rows, bias=False).double()
    network.weight.data = weight
    natural, start = rand(3, columns) * 4 - 2, rand(3, columns, seed=5) * 4 - 2
    chosen = resolve_settings("feather2023", steps=800, step_size=0.5)
    record = make(network, "output", natural @ weight.T, start, chosen, low=-100.0, high=100.0)
    expected = start + ((natural - start) @ weight.T) @ torch.linalg.pinv(weight).T
    off = record.signals - expected
    assert off.norm(dim=1).max() <= 2 * chosen.step_size / 2**7
    null = torch.eye(columns, dtype=torch.float64) - q @ q.T
    assert ((record.signals - start) @ null).abs().max() <= 1e-12


@pytest.mark.parametrize("optimizer", [normalised_gradient_descent(), adam(0.02), sgd(0.5, momentum=0.9)])
def test_a_batch_of_eight_equals_eight_batches_of_one(optimizer):
    network = image_network()
    natural, start = rand(8, 3, 9, 9), rand(8, 3, 9, 9, seed=1)
    targets = activation(network, "3", natural)
    chosen = resolve_settings("feather2023", steps=120, step_size=0.2)
    together = make(network, "3", targets, start, chosen, optimizer=optimizer)
    for row in range(8):
        own = slice(row, row + 1)
        alone = make(network, "3", targets[own], start[own], chosen, optimizer=optimizer)
        torch.testing.assert_close(alone.signals[0], together.signals[row], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(alone.losses[0], together.losses[row], rtol=1e-6, atol=1e-6)


def test_what_has_converged_leaves_and_the_others_do_not_notice():
    network = image_network()
    natural, start = rand(4, 3, 9, 9), rand(4, 3, 9, 9, seed=1)
    start[2] = natural[2]
    targets = activation(network, "3", natural)
    chosen = resolve_settings("fast", steps=300, step_size=0.05)
    full = make(network, "3", targets, start, chosen, optimizer=adam(0.05))
    limit = float(full.losses[1, 200])
    told = []
    stopping = resolve_settings(chosen, tolerance=limit)
    stopped = make(network, "3", targets, start, stopping, optimizer=adam(0.05), advance=told.append)
    assert stopped.steps[2] == 0
    assert torch.equal(stopped.signals[2], start[2])
    assert (stopped.steps < 300).sum() >= 2
    assert sum(told) == 4 * 300
    for row in range(4):
        steps = int(stopped.steps[row])
        torch.testing.assert_close(
            stopped.losses[row, : steps + 1], full.losses[row, : steps + 1], rtol=1e-7, atol=1e-9
        )
        assert stopped.losses[row, steps + 1 :].isnan().all()
        if steps < 300:
            final = relative_l2(activation(network, "3", stopped.signals[row : row + 1]), targets[row : row + 1])
            assert final.item() == pytest.approx(stopped.losses[row, steps].item())
            assert final.item() <= limit
    assert stopped.states.tolist() == [STATES["done"]] * 4


def test_the_last_loss_is_that_of_the_signal_that_is_returned():
    network = image_network()
    natural, start = rand(2, 3, 9, 9), rand(2, 3, 9, 9, seed=1)
    targets = activation(network, "3", natural)
    record = make(network, "3", targets, start, resolve_settings("feather2023", steps=40))
    torch.testing.assert_close(record.losses[:, -1], relative_l2(activation(network, "3", record.signals), targets))
    torch.testing.assert_close(record.losses[:, 0], relative_l2(activation(network, "3", start), targets))
    assert record.steps.tolist() == [40, 40]


def test_the_start_the_weights_and_the_global_generator_are_left_as_they_were():
    network = image_network().train()
    natural, start = rand(2, 3, 9, 9), rand(2, 3, 9, 9, seed=1)
    kept, weights, state = start.clone(), [p.clone() for p in network.parameters()], torch.get_rng_state()
    make(network, "3", activation(network, "3", natural), start, resolve_settings("feather2023", steps=20))
    assert torch.equal(start, kept)
    assert all(map(torch.equal, weights, network.parameters()))
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert network.training
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("distance", [relative_l2, cosine, correlation])
def test_every_distance_is_lowered(distance):
    network = image_network()
    targets = activation(network, "2", rand(2, 3, 9, 9))
    chosen = resolve_settings("fast", steps=200, step_size=0.02)
    record = make(network, "2", targets, rand(2, 3, 9, 9, seed=1), chosen, distance=distance, optimizer=adam(0.02))
    assert (record.losses[:, -1] < 0.05 * record.losses[:, 0]).all()


def test_distances_have_their_closed_forms():
    a, b = rand(3, 2, 5), rand(3, 2, 5, seed=1)
    for row in range(3):
        x, y = a[row].flatten().numpy(), b[row].flatten().numpy()
        assert relative_l2(a, b)[row].item() == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(y))
        assert cosine(a, b)[row].item() == pytest.approx(1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y))
        assert correlation(a, b)[row].item() == pytest.approx(1 - np.corrcoef(x, y)[0, 1])


def test_priors_make_signals_smoother_and_keep_them_from_the_ends():
    network = image_network()
    targets = activation(network, "3", rand(2, 3, 9, 9))
    start = rand(2, 3, 9, 9, seed=1)
    chosen = resolve_settings("fast", steps=200, step_size=0.02)
    plain, smooth, inner = (
        make(network, "3", targets, start, resolve_settings(chosen, **weights), optimizer=adam(0.02)).signals
        for weights in ({}, {"total_variation": 10.0}, {"bounds": 10.0})
    )
    assert smooth.diff(dim=-1).square().mean() < 0.5 * plain.diff(dim=-1).square().mean()
    assert (inner - 0.5).abs().max() < (plain - 0.5).abs().max()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_still_matches(precision):
    network = image_network().float()
    natural, start = rand(2, 3, 9, 9).float(), rand(2, 3, 9, 9, seed=1).float()
    targets = activation(network, "2", natural)
    chosen = resolve_settings("fast", steps=200, step_size=0.02, precision=precision)
    record = make(network, "2", targets, start, chosen, optimizer=adam(0.02))
    assert record.signals.dtype == torch.float32
    assert (record.losses[:, -1] < 0.1).all()


class Awkward(nn.Module):
    """Silent for dark pictures; NaN for bright ones."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x - 0.5)


def test_a_silent_layer_fails_by_name_and_the_others_go_on():
    network = Awkward()
    natural = rand(3, 4)
    natural[1] = 0.1
    record = make(network, "relu", activation(network, "relu", natural), rand(3, 4, seed=1), resolve_settings(steps=20))
    assert record.states.tolist() == [STATES["done"], STATES["failed"], STATES["done"]]
    assert "silent" in record.reasons[1]
    assert record.losses[[0, 2], -1].isfinite().all()


def test_a_nan_fails_by_name_and_the_others_go_on():
    class Root(nn.Module):
        def forward(self, x):
            return (x[:, :1] - 0.3).sqrt() + 0 * x + x

    natural, start = 0.5 + 0.5 * rand(3, 4), 0.5 + 0.3 * rand(3, 4, seed=1)
    start[0] = 0.1
    network = Root()
    record = make(network, "output", activation(network, "output", natural), start, resolve_settings(steps=30))
    assert record.states.tolist() == [STATES["failed"], STATES["done"], STATES["done"]]
    assert record.reasons[0] == "the loss became NaN after 0 updates"
    natural[2] = 0.1
    record = make(network, "output", activation(network, "output", natural), start, resolve_settings(steps=30))
    assert record.reasons[2] == "the stimulus's own activations are not finite here"


def test_a_layer_that_does_not_depend_on_the_signal_fails():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.weight.expand(len(x), 3) * 2

    network = Constant()
    target = torch.full((2, 3), 1.5)
    record = make(network, "output", target, rand(2, 4).float(), resolve_settings(steps=30))
    assert record.reasons == ["the layer does not depend on the signal"] * 2


def test_a_start_without_gradient_fails():
    class Dead(nn.Module):
        def forward(self, x):
            return torch.relu(x - 0.5) + 0.0 * x + 1

    network = Dead()
    start = rand(2, 4) * 0.4
    targets = activation(network, "output", 0.6 + 0.4 * rand(2, 4))
    record = make(network, "output", targets, start, resolve_settings(steps=30))
    assert record.reasons == ["no gradient reaches the starting signal"] * 2


def test_the_signal_itself_can_be_matched():
    natural = rand(2, 4)
    record = make(
        image_network(), "input", natural, rand(2, 4, seed=1), resolve_settings(steps=300), optimizer=adam(0.02)
    )
    assert (record.losses[:, -1] < 0.01).all()


class OneByOne(torch.optim.Adam):
    """Adam by another name, which gets each signal as a parameter of its own."""


def test_one_tensor_of_signals_is_many_parameters():
    network, natural, start = wide_image_network(), rand(5, 3, 9, 9), rand(5, 3, 9, 9, seed=1)
    target = activation(network, "3", natural)
    target[1] = 0  # is refused
    settings = resolve_settings({"steps": 120, "tolerance": 0.3, "schedule": "constant"})
    whole, each = (
        make(network, "3", target, start, settings, optimizer=partial(kind, lr=0.01))
        for kind in (torch.optim.Adam, OneByOne)
    )
    assert len({*whole.steps.tolist()}) > 2  # they leave at different updates
    assert torch.equal(whole.steps, each.steps)
    assert torch.allclose(whole.signals, each.signals, rtol=0, atol=1e-12)
    assert torch.allclose(whole.losses, each.losses, rtol=1e-12, equal_nan=True)
