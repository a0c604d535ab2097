"""Networks that hear: sizes computed by hand, positions of the windows, contracts, training."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from metamery.framework import MetameryError, Plugins, WaveformDomain, testing
from metamery.framework.errors import UnknownNameError
from metamery.framework.layers import Tap, is_relu
from metamery.plugins import audio
from metamery.plugins.antialias.blur import Blur
from metamery.plugins.audio.cochcnn9 import SamePadding
from torch import nn

PLUGINS = Plugins([audio], installed=())
LARGE = ["cochcnn9", "cochcnn9-hann", "cochresnet50", "cochresnet50-hann"]
SIZES = {
    "cochcnn9": {
        "cochleagram": (1, 211, 390),
        "relu0": (96, 71, 130),
        "relu1": (256, 18, 33),
        "relu2": (512, 9, 17),
        "relu3": (1024, 9, 17),
        "relu4": (512, 9, 17),
        "avgpool": (512, 5, 9),
        "relufc": (4096,),
        "output": (794,),
    },
    "cochresnet50": {
        "cochleagram": (1, 211, 390),
        "relu": (64, 106, 195),
        "layer1": (256, 53, 98),
        "layer2": (512, 27, 49),
        "layer3": (1024, 14, 25),
        "layer4": (2048, 7, 13),
        "avgpool": (2048, 1, 1),
        "output": (794,),
    },
}


def load(name, **options):
    return PLUGINS.load("model", name, **options)


def weights_of(model):
    return sum(weight.numel() for weight in model.module.parameters())


def sounds(model, count=2, seed=0):
    return 0.1 * torch.randn(count, *model.domain.shape, generator=torch.Generator().manual_seed(seed))


def digits_loss(module, signals):
    return nn.functional.cross_entropy(module(signals), torch.arange(len(signals)) % 10)


# The large networks


@pytest.mark.parametrize("name", LARGE)
def test_sizes_of_layers(name):
    model = load(name, density=8)
    assert model.domain == WaveformDomain(40_000, 20_000)
    with torch.no_grad(), Tap(model.module, model.layers) as tap:
        sizes = {layer: tuple(activation.shape[1:]) for layer, activation in tap(sounds(model, 1)).items()}
    expected = SIZES[name.removesuffix("-hann")]
    assert sizes == expected
    assert list(sizes) == list(expected)


@pytest.mark.parametrize("name", ["cochcnn9", "cochcnn9-hann"])
def test_weights_of_cochcnn9_by_hand(name):
    convolutions = [(1, 96, 7 * 14), (96, 256, 4 * 8), (256, 512, 2 * 5), (512, 1024, 2 * 5), (1024, 512, 2 * 5)]
    expected = sum(before * after * taps + after for before, after, taps in convolutions)
    expected += 2 * (1 + 96 + 256)  # BatchNorm
    expected += (512 * 5 * 9 + 1) * 4096 + (4096 + 1) * 20
    assert weights_of(load(name, num_classes=20)) == expected


@pytest.mark.parametrize("name", ["cochresnet50", "cochresnet50-hann"])
def test_weights_of_cochresnet50_are_resnet50s_with_one_channel(name):
    model = load(name, num_classes=20)
    plain = torchvision.models.resnet50(num_classes=20)
    assert weights_of(model) == sum(weight.numel() for weight in plain.parameters()) - 2 * 64 * 7 * 7
    first = plain.state_dict().pop("conv1.weight")[:, :1]
    plain.load_state_dict(model.module.state_dict() | {"conv1.weight": first.expand(-1, 3, -1, -1)})


def test_cochresnet50_sees_the_cochleagram_as_it_is():
    model = load("cochresnet50", num_classes=5, density=8)
    plain = torchvision.models.resnet50(num_classes=5).eval()
    plain.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    plain.load_state_dict(model.module.state_dict())
    signals = sounds(model, 1)
    with torch.no_grad():
        torch.testing.assert_close(model.module(signals), plain(model.module.cochleagram(signals)))


@settings(deadline=None)
@given(length=st.integers(1, 60), kernel=st.integers(1, 14), stride=st.integers(1, 4))
def test_same_padding(length, kernel, stride):
    padded = SamePadding((1, kernel), stride)(torch.ones(1, 1, 3, length))
    needed = (-(-length // stride) - 1) * stride + kernel
    assert padded.shape == (1, 1, 3, max(length, needed))
    ones = padded[0, 0, 0].nonzero().flatten()
    before, behind = int(ones[0]), padded.shape[3] - 1 - int(ones[-1])
    assert len(ones) == length
    assert behind - before in (0, 1)


def test_same_padding_is_pytorchs():
    signals = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(4, 3, 3, 5, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.conv2d(signals, weight, padding="same")
    torch.testing.assert_close(nn.functional.conv2d(SamePadding((3, 5))(signals), weight), expected)


def test_pooling_comes_behind_the_relu_and_zeros_count_in_the_average():
    module = load("cochcnn9", num_classes=5, density=8).module
    order = [name for name, _ in module.named_children()]
    for place in (0, 1):
        assert order.index(f"relu{place}") + 1 == order.index(f"maxpool{place}")
        assert order.index(f"maxpool{place}") + 1 == order.index(f"batchnorm{place + 1}")
    ones = torch.ones(1, 1, 9, 17)
    averages = module.avgpool(ones)[0, 0]
    expected = torch.ones(5, 9)
    expected[-1] *= 0.5
    expected[:, 0] *= 3 / 5
    expected[:, -1] *= 3 / 5
    torch.testing.assert_close(averages, expected)
    assert torch.equal(module.maxpool0(torch.ones(1, 1, 71, 130)), torch.ones(1, 1, 36, 65))


# Reduced aliasing


@pytest.mark.parametrize("name", ["cochcnn9-hann", "cochresnet50-hann"])
def test_only_windows_subsample(name):
    model = load(name, num_classes=5, density=8)
    for part in model.module.modules():
        assert not isinstance(part, nn.MaxPool2d | nn.AvgPool2d)
        assert not isinstance(part, nn.Conv2d) or part.stride == (1, 1)
    blurs = [part for part in model.module.modules() if isinstance(part, Blur)]
    assert {part.kind for part in blurs} == {"hann"}
    strides = sorted(part.grids[0].stride for part in blurs)
    assert strides == ([2, 2, 2, 2, 3] if name == "cochcnn9-hann" else [2] * 8)
    for part in blurs:
        stride = part.grids[0].stride
        assert [grid.stride for grid in part.grids] == [stride, stride]
        assert part.taps.shape[-2:] == (4 * stride - 2, 4 * stride - 2)  # of 8 or 12 samples the ends are 0
    assert len(model.notes) == len(blurs)


@pytest.mark.parametrize("name", ["cochcnn9", "cochresnet50"])
def test_weights_of_both_kinds_fit_into_each_other(name):
    plain, hann = (load(f"{name}{kind}", num_classes=5, density=8) for kind in ("", "-hann"))
    assert plain.weights_sha256() == hann.weights_sha256()
    assert plain.layers == hann.layers


@pytest.mark.parametrize(("kind", "without"), [("", set()), ("-hann", {"relu0", "relu1"})])
def test_layers_end_in_their_relu_or_in_the_window_behind_it(kind, without):
    model = load(f"cochcnn9{kind}", num_classes=5, density=8)
    with Tap(model.module, model.layers) as tap:
        ends = {layer: is_relu(activation) for layer, activation in tap(sounds(model, 1)).items()}
    assert {layer for layer, relu in ends.items() if relu} == {f"relu{k}" for k in [*range(5), "fc"]} - without


# The small network


@pytest.mark.parametrize("front_end", ["cochleagram", "mel"])
def test_contract_of_the_small_network(front_end):
    model = load("coch-cnn-digits", front_end=front_end, width=4, labels=["a", "b", "c"])
    assert model.domain == WaveformDomain(8000, 8000)
    assert model.layers == (front_end, "relu1", "relu2", "relu3", "relu4", "relu5", "output")
    assert model.labels == ("a", "b", "c")
    testing.check_model(model)


@pytest.mark.parametrize(("front_end", "frames"), [("cochleagram", 90), ("mel", 101)])
def test_sizes_of_the_small_networks_layers(front_end, frames):
    model = load("coch-cnn-digits", front_end=front_end, width=4)
    with Tap(model.module, model.layers) as tap:
        read = tap(sounds(model, 1))
    sizes = [tuple(activation.shape[1:]) for activation in read.values()]
    channels = enumerate((4, 8, 16, 32, 32))
    expected = [(count, 53 // 2**block, frames // 2**block) for block, count in channels]
    assert sizes == [(1, 53, frames), *expected, (10,)]
    assert [is_relu(activation) for activation in read.values()] == [False, *[True] * 5, False]
    assert sum(isinstance(part, nn.MaxPool2d) for part in model.module.modules()) == 4


@pytest.mark.parametrize("width", [4, 16])
def test_weights_of_the_small_network_by_hand(width):
    expected, before = 2, 1
    for factor in (1, 2, 4, 8, 8):
        expected += 9 * before * factor * width + 2 * factor * width
        before = factor * width
    assert weights_of(load("coch-cnn-digits", width=width)) == expected + (before + 1) * 10


@pytest.mark.parametrize("front_end", ["cochleagram", "mel"])
def test_some_steps_lower_the_loss(front_end):
    model = load("coch-cnn-digits", front_end=front_end, width=8)
    module, signals = model.module.train(), sounds(model, 10)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(12):
        loss = digits_loss(module, signals)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["coch-cnn-digits", *LARGE])
def test_in_training_every_weight_and_the_signal_get_a_gradient(name):
    model = load(name, **({} if name == "coch-cnn-digits" else {"num_classes": 10, "density": 8}))
    module, signals = model.module.train(), sounds(model).requires_grad_()
    digits_loss(module, signals).backward()
    for path, weight in [*module.named_parameters(), ("the signal", signals)]:
        assert weight.grad is not None, path
        assert weight.grad.isfinite().all(), path
        assert weight.grad.any(), path


@pytest.mark.parametrize("name", ["coch-cnn-digits", "cochcnn9", "cochresnet50"])
def test_weights_come_from_the_seed_alone(name):
    before = torch.random.get_rng_state()
    first, same, other = (load(name, seed=seed, num_classes=5).weights_sha256() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first == same != other


def test_options_that_make_no_sense():
    with pytest.raises(MetameryError, match="model 'cochcnn9-hann': 3 labels for 4 classes"):
        load("cochcnn9-hann", num_classes=4, labels=["a", "b", "c"])
    with pytest.raises(MetameryError, match="model 'cochresnet50': num_classes is 0"):
        load("cochresnet50", num_classes=0)
    with pytest.raises(MetameryError, match="density = 1"):
        load("cochcnn9", density=1)
    with pytest.raises(MetameryError, match="width is 0, expected a whole number of at least 1"):
        load("coch-cnn-digits", width=0)
    with pytest.raises(UnknownNameError, match="unknown front end of coch-cnn-digits: 'mell'; did you mean 'mel'"):
        load("coch-cnn-digits", front_end="mell")
