"""The networks that are to be trained: sizes from the papers, options, contracts."""

import pytest
import torch
from metamery.framework import MetameryError, Plugins, testing
from metamery.framework.errors import UnknownNameError
from torch import nn

PLUGINS = Plugins(installed=())
RESNETS = ["cifar-resnet20", "cifar-resnet32", "cifar-resnet56", "preact-resnet18"]
NAMES = ["small-cnn", *RESNETS]


def load(name, **options):
    return PLUGINS.load("model", name, **options)


def weights_of(model):
    return sum(weight.numel() for weight in model.module.parameters())


def resnet_weights(depth, width=16, classes=10):
    """By hand: 3 × 3 convolutions without bias, two numbers for each normalised channel, one linear layer."""
    total, before = 27 * width + 2 * width, width
    for channels in (width, 2 * width, 4 * width):
        for _ in range((depth - 2) // 6):
            total += 9 * before * channels + 9 * channels * channels + 4 * channels
            before = channels
    return total + (before + 1) * classes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{"width": 8, "size": 24, "labels": ["a", "b", "c"]}])
def test_contract_with_other_options(name, options):
    model = load(name, **options)
    assert model.domain.shape == (3, 24, 24)
    assert model.labels == ("a", "b", "c")
    assert model.label_space == "category"
    testing.check_model(model)


@pytest.mark.parametrize(
    ("name", "published"),
    [("cifar-resnet20", "0.27"), ("cifar-resnet32", "0.46"), ("cifar-resnet56", "0.85"), ("preact-resnet18", "11.17")],
)
def test_number_of_weights_is_the_papers(name, published):
    millions = weights_of(load(name)) / 1e6
    assert f"{millions:.2f}" == published


@pytest.mark.parametrize("depth", [20, 32, 56])
@pytest.mark.parametrize("width", [4, 16])
def test_number_of_weights_by_hand(depth, width):
    model = load(f"cifar-resnet{depth}", width=width, num_classes=7)
    assert weights_of(model) == resnet_weights(depth, width, 7)
    convolutions = [part for part in model.module.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) + 1 == depth


def test_stages_halve_the_size_and_double_the_channels():
    from metamery.framework.layers import Tap

    model = load("cifar-resnet20")
    with Tap(model.module, model.layers) as tap:
        shapes = [tuple(activation.shape[1:]) for activation in tap(torch.rand(1, 3, 32, 32)).values()]
    assert shapes == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8), (10,)]


def test_a_shortcut_skips_samples_and_adds_zeros():
    from metamery.plugins.vision.cifar_resnets import Shortcut

    signals = torch.rand(2, 3, 8, 8)
    passed = Shortcut(2, 2)(signals)
    assert torch.equal(passed[:, :3], signals[:, :, ::2, ::2])
    assert passed.shape == (2, 5, 4, 4)
    assert not passed[:, 3:].any()


def test_the_normalisation_is_inside():
    from metamery.plugins.vision.cifar import CIFAR10_MEAN, CIFAR10_STD

    model = load("small-cnn", seed=1)
    signals = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    with torch.no_grad():
        plain = model.module.forward((signals - mean) / std)  # `forward` itself runs no hook
        torch.testing.assert_close(model.module(signals), plain)


def test_width_and_norm_of_the_small_network():
    for width in (1, 6, 32):
        model = load("small-cnn", width=width, norm="group")
        channels = [part.out_channels for part in model.module.modules() if isinstance(part, nn.Conv2d)]
        assert channels == [width, 2 * width, 4 * width, 8 * width]
        assert not any(isinstance(part, nn.BatchNorm2d) for part in model.module.modules())
        testing.check_model(model)
    groups = [part.num_groups for part in model.module.modules() if isinstance(part, nn.GroupNorm)]
    assert groups == [8] * 4


def test_group_norm_sees_no_batch_mates_in_training():
    module = load("small-cnn", width=8, norm="group").module.train()
    signals = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(module(signals)[:1], module(signals[:1]))
    assert not list(module.features.buffers())


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_from_the_seed_alone(name):
    before = torch.random.get_rng_state()
    first, same, other = (load(name, width=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.weights_sha256() == same.weights_sha256() != other.weights_sha256()
    assert not any(part.training for part in first.module.modules())


@pytest.mark.parametrize("name", ["small-cnn", "cifar-resnet20", "preact-resnet18"])
def test_some_steps_lower_the_loss(name):
    module = load(name, width=8, seed=0).module.train()
    generator = torch.Generator().manual_seed(0)
    signals = torch.rand(16, 3, 32, 32, generator=generator)
    labels = torch.arange(16) % 10
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(module(signals), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_options_that_make_no_sense():
    with pytest.raises(MetameryError, match="3 labels for 4 classes"):
        load("small-cnn", num_classes=4, labels=["a", "b", "c"])
    with pytest.raises(MetameryError, match=r"labels are 'cat', expected a list"):
        load("small-cnn", labels="cat")
    with pytest.raises(MetameryError, match="num_classes is 0, expected a whole number of at least 1"):
        load("cifar-resnet20", num_classes=0)
    with pytest.raises(MetameryError, match=r"width is 2\.5"):
        load("preact-resnet18", width=2.5)
    with pytest.raises(MetameryError, match="size is 4, expected a whole number of at least 8"):
        load("small-cnn", size=4)
    with pytest.raises(UnknownNameError, match="unknown norm of small-cnn: 'grup'; did you mean 'group'"):
        load("small-cnn", norm="grup")
