"""Anti-aliasing: windows in closed form, the blur's grid, surgery on networks, LowpassAlexNet."""

import copy
import pickle
from math import cos, log10, pi

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from metamery.framework import MetameryError, Model, Plugins, WaveformDomain, testing
from metamery.framework.errors import UnknownNameError
from metamery.framework.layers import Tap, is_relu
from metamery.plugins.antialias.blur import Blur, Blurred, Grid
from metamery.plugins.antialias.surgery import antialias, antialiased
from metamery.plugins.antialias.windows import KINDS, averages, gain_db, hann, window
from torch import nn
from torch.nn import functional as F

PLUGINS = Plugins(installed=())
STRIDES = (2, 3, 4, 5)


# Windows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", STRIDES)
def test_a_window_is_symmetric_and_sums_to_one(kind, stride):
    taps = window(kind, stride)
    assert taps.sum().item() == pytest.approx(1, abs=1e-12)
    assert (taps > 0).all()
    torch.testing.assert_close(taps, taps.flip(0))
    assert gain_db(taps, 0) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stride_of_one_leaves_the_signal_alone(kind):
    assert window(kind, 1).tolist() == [1]
    signals = torch.rand(2, 3, 5, 4)
    assert torch.equal(Blur(kind, [Grid(1), Grid(1)])(signals), signals)


def test_binomial_windows():
    torch.testing.assert_close(window("blur3", 2) * 4, torch.tensor([1.0, 2, 1], dtype=torch.float64))
    torch.testing.assert_close(window("blur5", 2) * 16, torch.tensor([1.0, 4, 6, 4, 1], dtype=torch.float64))
    torch.testing.assert_close(window("blur3", 3) * 9, torch.tensor([1.0, 2, 3, 2, 1], dtype=torch.float64))


@pytest.mark.parametrize("frequency", [0.05, 0.1, 0.2, 0.25, 0.3, 0.45])
def test_gains_in_closed_form(frequency):
    cosine = abs(cos(pi * frequency))
    assert gain_db(window("blur3", 2), frequency) == pytest.approx(20 * log10(cosine**2))
    assert gain_db(window("blur5", 2), frequency) == pytest.approx(20 * log10(cosine**4))
    assert gain_db(window("blur3", 2), 0.25) == pytest.approx(20 * log10(0.5))


@pytest.mark.parametrize("stride", STRIDES)
def test_binomial_windows_remove_what_would_be_folded_onto_zero(stride):
    for kind in ("blur3", "blur5"):
        assert all(gain_db(window(kind, stride), fold / stride) < -200 for fold in range(1, stride))


@pytest.mark.parametrize("times", [2, 4])
def test_stride_four_is_stride_two_twice(times):
    two = averages(2, times)
    spread = torch.zeros(2 * len(two) - 1, dtype=torch.float64)
    spread[::2] = two
    twice = F.conv1d(F.pad(two[None, None], [len(spread) - 1] * 2), spread.flip(0)[None, None]).flatten()
    torch.testing.assert_close(averages(4, times), twice)


@pytest.mark.parametrize(("stride", "size", "frequency", "published"), [(2, 8, 1 / 4, -24.1), (3, 12, 1 / 6, -28.6)])
def test_hann_windows_of_feather_2019(stride, size, frequency, published):
    taps = window("hann", stride)
    by_hand = torch.tensor([0.5 - 0.5 * cos(2 * pi * i / (size - 1)) for i in range(size)], dtype=torch.float64)
    torch.testing.assert_close(taps, (by_hand / by_hand.sum())[1:-1])
    assert len(taps) == size - 2
    assert gain_db(taps, frequency) == pytest.approx(published, abs=0.25)


def test_an_unknown_kind_is_named():
    with pytest.raises(UnknownNameError, match="unknown anti-aliasing 'blurr3'; did you mean 'blur3'"):
        antialias(nn.Identity(), "blurr3", torch.rand(1, 3, 8, 8))


# The blur and its grid


def test_blur_by_hand():
    signals = torch.tensor([[[1.0, 5.0, 2.0, 8.0, 4.0]]])
    expected = torch.tensor([[[(5 + 2 + 5) / 4, (5 + 4 + 8) / 4, (8 + 8 + 8) / 4]]])
    torch.testing.assert_close(Blur("blur3", [Grid(2)])(signals), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_results_lie_where_those_of_the_pooling_lay(kind, stride, kernel):
    ramp = torch.arange(100.0)[None, None]
    pooled = F.avg_pool1d(ramp, kernel, stride, padding=kernel // 2)
    blurred = Blur(kind, [Grid(stride, kernel, kernel // 2)])(ramp)
    assert blurred.shape == pooled.shape
    late = 0.0 if (len(window(kind, stride)) - kernel) % 2 == 0 else 0.5 if kernel % 2 else -0.5
    torch.testing.assert_close((blurred - pooled)[..., 5:-5], torch.full_like(pooled, late)[..., 5:-5])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 3, 9), (2, 3, 8, 7), (1, 2, 1, 1), (1, 2, 2, 3), (3, 16, 16)])
def test_a_constant_stays(kind, shape):
    axes = 1 if shape == (2, 3, 9) else 2
    signals = torch.full(shape, 0.7)
    blurred = Blur(kind, [Grid(2)] * axes)(signals)
    torch.testing.assert_close(blurred, torch.full_like(blurred, 0.7))
    assert blurred.shape[-axes:] == tuple((length + 1) // 2 for length in shape[-axes:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_shorter_than_the_window_is_reflected_again_and_again(kind):
    signals = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float64)
    taps = window(kind, 4)
    period = [1.0, 2.0, 3.0, 2.0]
    first = (len(taps) - 1) // 2
    expected = sum(tap * period[(place - first) % 4] for place, tap in enumerate(taps.tolist()))
    assert Blur(kind, [Grid(4)])(signals).item() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    length=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(2, 5),
    half=st.integers(0, 3),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
    kind=st.sampled_from(KINDS),
)
def test_every_pooling_keeps_its_shape(length, kernel, stride, half, dilation, ceil_mode, kind):
    padding = min(half, kernel // 2)
    signals = torch.rand(1, 2, length)
    poolings = [nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)]
    poolings += [nn.AvgPool1d(kernel, stride, padding, ceil_mode)]
    for pooling in poolings:
        network = nn.Sequential(nn.Identity(), pooling)
        try:
            expected = network(signals).shape
        except RuntimeError:  # the window is larger than the signal
            continue
        new, found = antialias(network, kind, signals)
        assert new(signals).shape == expected
        if isinstance(pooling, nn.MaxPool1d):
            assert [entry.path for entry in found] == ["1"]
            fits = length + 2 * padding > dilation * (kernel - 1)  # with `ceil_mode`, a window may stick out
            assert (found[0].now is not None) == fits


def test_zhangs_example():
    signals = torch.tensor([0.0, 0, 1, 1] * 4)[None, None]
    plain = nn.MaxPool1d(2, 2)
    blurred, _ = antialias(plain, "blur3", signals)
    inner = slice(2, -2)
    assert plain(signals)[..., inner].tolist() == [[[0, 1, 0, 1]]]
    assert plain(signals.roll(-1, -1))[..., inner].tolist() == [[[1, 1, 1, 1]]]
    assert blurred(signals)[..., inner].tolist() == [[[0.5, 1, 0.5, 1]]]
    assert blurred(signals.roll(-1, -1))[..., inner].tolist() == [[[0.75, 0.75, 0.75, 0.75]]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [2, 3])
def test_shifts_move_the_sum_of_a_blurred_maximum_less(kind, stride):
    generator = torch.Generator().manual_seed(0)
    signals = F.pad(torch.rand(16, 8, 200, generator=generator), [30, 30])
    plain = nn.MaxPool1d(stride)
    blurred, _ = antialias(plain, kind, signals)

    def unsteadiness(pool):
        sums = torch.stack([pool(signals.roll(shift, -1)).sum(-1) for shift in range(stride)])
        return sums.std(0).mean().item()

    assert unsteadiness(blurred) < 0.3 * unsteadiness(plain)


def test_a_shift_by_the_stride_shifts_by_one():
    signals = torch.randn(2, 3, 64)
    blur = Blur("hann", [Grid(2)])
    torch.testing.assert_close(blur(signals.roll(2, -1))[..., 8:-8], blur(signals).roll(1, -1)[..., 8:-8])


def test_frequencies_that_would_fold_are_removed():
    time = torch.arange(256.0)
    alternating = torch.cos(pi * time)[None, None]  # half a cycle per sample: subsampling makes a constant of it
    assert alternating[..., ::2].abs().min() > 0.99
    for kind in KINDS:
        assert Blur(kind, [Grid(2)])(alternating)[..., 4:-4].abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass(kind):
    signals = torch.rand(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    blur = Blur(kind, [Grid(2), Grid(3)])
    assert torch.autograd.gradcheck(blur.double(), [signals])


# Surgery

CHAIN = {  # networks in which the blur belongs behind the activation function
    "sequential": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
    "without norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()),
    "group norm": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.GroupNorm(2, 4), nn.SiLU()),
    "dropout": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Dropout(), nn.GELU()),
    "groups, dilation, reflection": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 2, dilation=2, groups=3, padding_mode="reflect"), nn.LeakyReLU()
    ),
    "parametric": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.PReLU(4)),
    "one axis": lambda: nn.Sequential(nn.Conv2d(3, 4, 5, (1, 3), 1), nn.ReLU()),
}


class Functional(nn.Module):
    """The activation function is no module."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, signals):
        return F.relu(self.conv(signals))


class Shared(nn.Module):
    """One ReLU runs twice."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, signals):
        return self.relu(self.conv2(self.relu(self.conv1(signals))))


CHAIN |= {"functional": Functional, "shared": Shared}


def expected_chain(network, signals, kind):
    """The same by hand: stride 1, the rest of the chain, then the blur."""
    dense = copy.deepcopy(network)
    convolution = next(part for part in dense.modules() if isinstance(part, nn.Conv2d))
    grids = [Grid(stride) for stride in convolution.stride]
    convolution.stride = (1, 1)
    if isinstance(network, Shared):
        return dense.relu(dense.conv2(Blur(kind, grids)(dense.relu(dense.conv1(signals)))))
    return Blur(kind, grids)(dense(signals))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CHAIN)
def test_a_strided_convolution_is_blurred_behind_its_activation_function(name, kind):
    torch.manual_seed(0)
    network = CHAIN[name]().eval()
    signals = torch.randn(2, 3, 17, 20)
    before = network(signals)
    new, (entry,) = antialias(network, kind, signals[:1])
    torch.testing.assert_close(new(signals), expected_chain(network, signals, kind))
    assert torch.equal(network(signals), before)
    assert new(signals).shape == before.shape
    assert not entry.note
    again = copy.deepcopy(new)
    assert torch.equal(again(signals), new(signals))
    assert not any(part.training for part in new.modules())


class Averages(nn.Module):
    """A functional ReLU whose result an average pool takes, which becomes a blur itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.average = nn.AvgPool2d(2)

    def forward(self, signals):
        return self.average(F.relu(self.conv(signals)))


def test_a_blur_in_front_of_a_pooling_that_becomes_one():
    network = Averages()
    signals = torch.rand(1, 3, 32, 32)
    new, found = antialias(network, "blur3", signals)
    assert [entry.now for entry in found] == ["Conv2d 3×3 /1 → before 'average': blur3 /2", "blur3 /2"]
    dense = F.relu(F.conv2d(signals, network.conv.weight, network.conv.bias, padding=1))
    first, second = Blur("blur3", [Grid(2)] * 2), Blur("blur3", [Grid(2, kernel=2)] * 2)
    torch.testing.assert_close(new(signals), second(first(dense)))


def test_what_the_list_says():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 8, 1, 2), nn.AvgPool2d(2)
    )
    new, found = antialias(network, "blur3", torch.rand(1, 3, 32, 32))
    assert [str(entry) for entry in found] == [
        "0: Conv2d 3×3 /2 → Conv2d 3×3 /1 → after '1': blur3 /2",
        "2: MaxPool2d 3×3 /2 → MaxPool2d 3×3 /1 → blur3 /2",
        "3: Conv2d 1×1 /2 → blur3 /2 → Conv2d 1×1 /1",
        "4: AvgPool2d 2×2 /2 → blur3 /2",
    ]
    assert isinstance(new[1], Blurred)
    assert isinstance(new[4], Blur)
    twice, left = antialias(new, "blur3", torch.rand(1, 3, 32, 32))
    assert left == []
    assert torch.equal(twice(torch.ones(1, 3, 32, 32)), new(torch.ones(1, 3, 32, 32)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pointwise_convolution_and_its_blur_change_places(kind):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 5, 1, stride=2)
    signals = torch.randn(2, 3, 16, 15)
    new, _ = antialias(nn.Sequential(network), kind, signals)
    blur = Blur(kind, [Grid(2), Grid(2)])
    behind = blur(F.conv2d(signals, network.weight, network.bias))
    torch.testing.assert_close(new(signals), behind, rtol=1e-4, atol=1e-6)


def test_a_network_that_is_one_pooling():
    signals = torch.rand(1, 2, 9, 9)
    new, (entry,) = antialias(nn.MaxPool2d(3, 2), "blur3", signals)
    assert isinstance(new, Blurred)
    assert entry.path == ""
    assert str(entry).startswith("the network: ")
    assert new(signals).shape == (1, 2, 4, 4)


class Forks(nn.Module):
    """The convolution's result goes to a ReLU and past it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.relu = nn.ReLU()

    def forward(self, signals):
        inside = self.conv(signals)
        return self.relu(inside) + inside


class Repeats(nn.Module):
    """The same strided convolution runs twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()

    def forward(self, signals):
        return self.relu2(self.conv(self.relu1(self.conv(signals))))


class Adds(nn.Module):
    """A functional ReLU whose result goes into a sum: no module begins or ends there."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, signals):
        inside = F.relu(self.conv(signals))
        return inside + 1


class Measures(nn.Module):
    """The module that returns the ReLU's result has used it before."""

    def __init__(self):
        super().__init__()
        self.inner = Functional()
        self.inner.register_forward_hook(lambda part, _arguments, result: setattr(part, "level", result.mean()))
        self.conv = self.inner.conv

    def forward(self, signals):
        return self.inner(signals) * self.inner.level


class Returns(nn.Module):
    """The ReLU's result goes into a module and to whoever called."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.next = nn.Conv2d(4, 4, 1)

    def forward(self, signals):
        inside = F.relu(self.conv(signals))
        self.next(inside)
        return inside


@pytest.mark.parametrize(
    ("network", "note"),
    [
        (Forks, "its result is used 2 times"),
        (Repeats, "it runs 2 times in a pass"),
        (Adds, "no module begins or ends where its activation function does"),
        (Measures, "no module begins or ends where its activation function does"),
        (Returns, "no module begins or ends where its activation function does"),
    ],
)
def test_the_fall_back_is_directly_behind_the_convolution_and_named(network, note):
    network = network()
    signals = torch.rand(2, 3, 16, 16)
    shape = network(signals).shape
    new, (entry,) = antialias(network, "blur3", signals)
    assert entry.note == note
    assert entry.now == "Conv2d 3×3 /1 → blur3 /2"
    assert new(signals).shape == shape
    assert new.conv.stride == (1, 1)
    with Tap(new, ["conv"]) as tap:
        blurred = tap(signals)["conv"]
    dense = F.conv2d(signals, network.conv.weight, network.conv.bias, padding=1)
    torch.testing.assert_close(blurred, Blur("blur3", [Grid(2), Grid(2)])(dense))


class Calls(nn.Module):
    """Subsampling that no module does, and a module that does not run."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 3, 3, 3))
        self.unused = nn.MaxPool2d(2)
        self.ours = nn.MaxPool2d(2)

    def forward(self, signals):
        signals = F.max_pool2d(signals, 2)
        signals = F.conv2d(signals, self.weight, None, 2, 1)
        signals = F.avg_pool2d(signals, kernel_size=2, stride=1)
        return self.ours(signals[:, :, ::2])


def test_functions_that_code_calls_are_listed_and_left():
    network = Calls()
    signals = torch.rand(1, 3, 64, 64)
    new, found = antialias(network, "hann", signals)
    assert [str(entry).partition(" (")[0] for entry in found] == [
        "unused: MaxPool2d 2×2 /2 → left as it is",
        "ours: MaxPool2d 2×2 /2 → MaxPool2d 2×2 /1 → hann /2",
        "the network: max_pool2d /2 → left as it is",
        "the network: conv2d /2 → left as it is",
        "the network: __getitem__ /2 → left as it is",
    ]
    assert new(signals).shape == network(signals).shape
    assert isinstance(new.unused, nn.MaxPool2d)


class Odd(nn.Module):
    """Other subsampling that cannot be replaced."""

    def __init__(self):
        super().__init__()
        self.maximum = nn.MaxPool2d(2, return_indices=True)
        self.average = nn.AvgPool2d(2, divisor_override=3)
        self.power = nn.LPPool2d(2, 2)
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, signals):
        values, _ = self.maximum(signals)
        return self.conv(self.power(self.average(values)))


def test_what_is_left_says_why():
    new, found = antialias(Odd(), "blur5", torch.rand(1, 3, 64, 64), keep=["co*"])
    assert {entry.path: entry.note for entry in found} == {
        "maximum": "it returns the indices of its maxima",
        "average": "it has a divisor override",
        "power": "no blur is available for it",
        "conv": "kept on request",
    }
    assert not any(entry.now for entry in found)
    assert not any(isinstance(part, Blur) for part in new.modules())


def test_an_average_over_everything_is_no_subsampling():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(8), nn.AdaptiveAvgPool2d(1))
    signals = torch.rand(2, 3, 8, 8)
    new, found = antialias(network, "blur3", signals)
    assert found == []
    assert torch.equal(new(signals), network(signals))


def test_a_network_without_strides_gives_the_same():
    model = testing.example_model()
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(3, 1), nn.Flatten(), nn.Linear(384, 4))
    plain = Model(network, model.domain, ["1", "output"])
    new, found = antialiased(plain, "hann")
    signals = testing.example_signals(plain)
    assert found == []
    assert torch.equal(new.module(signals), network(signals))
    assert new.module is not network


def test_a_model_keeps_its_domain_layers_and_labels():
    model = testing.example_model()
    new, (entry,) = antialiased(model, "blur3")
    assert (new.domain, new.layers, new.labels) == (model.domain, model.layers, model.labels)
    assert entry.path == "2"
    testing.check_model(new)
    assert isinstance(model.module[2], nn.AvgPool2d)


def test_weights_are_copies():
    model = testing.example_model()
    new, _ = antialiased(model, "blur3")
    with torch.no_grad():
        new.module[0].weight.zero_()
    assert model.module[0].weight.any()


def test_a_half_precision_or_double_network():
    signals = torch.rand(1, 3, 16, 16)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2))
    for dtype in (torch.float64, torch.bfloat16):
        new, _ = antialias(network.to(dtype), "blur3", signals.to(dtype))
        assert new(signals.to(dtype)).dtype == dtype


def test_a_network_on_waveforms():
    class Sound(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 4, 11, stride=4, padding=5)
            self.norm = nn.BatchNorm1d(4)
            self.relu = nn.ReLU()
            self.pool = nn.MaxPool1d(3, 2, 1)
            self.average = nn.AvgPool1d(2, 2)
            self.classify = nn.Linear(4, 5)

        def forward(self, signals):
            inside = self.average(self.pool(self.relu(self.norm(self.conv(signals[:, None])))))
            return self.classify(inside.mean(-1))

    model = Model(Sound().eval(), WaveformDomain(1000, 8000), ["relu", "pool", "output"])
    for kind in KINDS:
        new, found = antialiased(model, kind)
        assert [entry.now for entry in found] == [
            f"Conv1d 11 /1 → after 'relu': {kind} /4",
            f"MaxPool1d 3 /1 → {kind} /2",
            f"{kind} /2",
        ]
        testing.check_model(new)
        signals = torch.rand(2, 1000)
        with Tap(model.module, model.layers) as tap, Tap(new.module, model.layers) as blurred:
            assert [a.shape for a in tap(signals).values()] == [a.shape for a in blurred(signals).values()]


FAMILIES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11_bn",
]


def torchvision_network(name):
    auxiliary = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **auxiliary).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_torchvisions_families(name):
    network = torchvision_network(name)
    signals = torch.rand(1, 3, 97, 97)
    new, found = antialias(network, "blur3", signals)
    with torch.no_grad():
        assert new(signals).shape == network(signals).shape == (1, 1000)
    weights, kept = network.state_dict(), new.state_dict()
    assert weights.keys() == kept.keys()
    assert all(torch.equal(weights[key], kept[key]) for key in weights)
    assert {path for path, _ in network.named_modules()} <= {path for path, _ in new.named_modules()}
    in_code = {"Mixed_6a", "Mixed_7a"} if name == "inception_v3" else set()
    assert {entry.path for entry in found if entry.now is None} == in_code
    if name != "convnext_tiny":
        assert not [entry for entry in found if entry.now and entry.note]
    strides = [part.stride for part in new.modules() if isinstance(part, nn.Conv2d | nn.MaxPool2d)]
    assert set(strides) <= {1, (1, 1)}


def test_resnet_as_zhang_builds_it():
    """Blurs lie behind the stem's ReLU and its maximum, before each stage's second convolution and its shortcut."""
    network = torchvision_network("resnet18")
    new, found = antialias(network, "blur3", torch.rand(1, 3, 64, 64))
    blurs = [path.rpartition(".")[0] for path, part in new.named_modules() if isinstance(part, Blur)]
    places = ["relu", "maxpool"]
    places += [f"layer{stage}.0.{part}" for stage in (2, 3, 4) for part in ("conv2", "downsample.0")]
    assert blurs == places
    assert len(found) == 8
    signals = torch.rand(2, 3, 64, 64)
    blur = Blur("blur3", [Grid(2), Grid(2)])
    block, new_block = network.layer2[0], new.layer2[0]
    inside = torch.rand(2, 64, 16, 16)
    with torch.no_grad():
        dense = F.relu(block.bn1(F.conv2d(inside, block.conv1.weight, padding=1)))
        passed = block.downsample[1](F.conv2d(blur(inside), block.downsample[0].weight))
        expected = F.relu(block.bn2(block.conv2(blur(dense))) + passed)
        torch.testing.assert_close(new_block(inside), expected)
        assert new(signals).shape == (2, 1000)


def test_the_relu_before_its_blur_can_be_matched():
    network = torchvision_network("alexnet")
    new, _ = antialias(network, "hann", torch.rand(1, 3, 97, 97))
    signals = torch.rand(1, 3, 97, 97, requires_grad=True)
    with Tap(new, ["features.1.dense", "features.1"]) as tap:
        activations = tap(signals)
    assert is_relu(activations["features.1.dense"])
    assert not is_relu(activations["features.1"])
    assert activations["features.1"].shape == network.features[:2](signals).shape


def test_it_is_saved_and_trained_like_any_network():
    new, _ = antialias(
        nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.PReLU(), nn.MaxPool2d(2)), "hann", torch.rand(1, 3, 24, 24)
    )
    signals = torch.rand(1, 3, 24, 24)
    assert torch.equal(pickle.loads(pickle.dumps(new))(signals), new(signals))
    new(signals).square().sum().backward()
    assert all(weight.grad.any() for weight in new.parameters())


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("normalise", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_weight_norm_goes_on(normalise):
    network = nn.Sequential(normalise(nn.Conv1d(2, 4, 5, stride=2)), nn.ReLU())
    signals = torch.rand(1, 2, 32)
    new, (entry,) = antialias(network, "hann", signals)
    assert entry.now.endswith("after '1': hann /2")
    before = new(signals)
    dense = F.conv1d(signals, network[0].weight, network[0].bias)
    torch.testing.assert_close(before, Blur("hann", [Grid(2)])(F.relu(dense)))
    new(signals).sum().backward()
    assert all(weight.grad is not None for weight in new.parameters())
    with torch.no_grad():
        next(new.parameters()).mul_(3)
    assert not torch.equal(new(signals), before)
    assert all(weight.grad is None for weight in network.parameters())


def test_a_compiled_network_is_refused():
    with pytest.raises(MetameryError, match=r"before torch\.compile"):
        antialias(torch.compile(nn.MaxPool2d(2), backend="eager"), "blur3", torch.rand(1, 3, 8, 8))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_module_is_listed_and_left():
    scripted = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU()), torch.rand(1, 3, 16, 16))
    network = nn.Sequential(scripted, nn.MaxPool2d(2))
    new, found = antialias(network, "blur3", torch.rand(1, 3, 16, 16))
    assert [(entry.path, entry.now) for entry in found] == [("0", None), ("1", "MaxPool2d 2×2 /1 → blur3 /2")]
    assert new(torch.rand(1, 3, 16, 16)).shape == (1, 4, 3, 3)
    assert all(weight.is_leaf and weight.requires_grad for weight in new.parameters())


def test_a_convolution_that_pads_by_its_stride():
    timm = pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    network = timm.create_model("tf_efficientnet_b0", num_classes=3).eval()
    signals = torch.rand(1, 3, 75, 75)
    new, found = antialias(network, "blur3", signals)
    with torch.no_grad():
        assert new(signals).shape == (1, 3)
    assert len(found) == 5
    assert all("after" in entry.now for entry in found)


@pytest.mark.parametrize("name", ["small-cnn", "cifar-resnet20", "preact-resnet18"])
def test_bundled_networks(name):
    model = PLUGINS.load("model", name, width=4)
    for kind in KINDS:
        new, found = antialiased(model, kind)
        assert found
        assert all(entry.now and not entry.note for entry in found)
        testing.check_model(new)


# LowpassAlexNet


@pytest.fixture(scope="module")
def lowpass():
    return PLUGINS.load("model", "lowpass-alexnet", num_classes=10)


def test_lowpass_alexnet_has_the_papers_sizes(lowpass):
    pooled = ["0_pool", "2", "4", "5", "7", "12"]
    with Tap(lowpass.module, [f"features.{name}" for name in ["0", *pooled]]) as tap, torch.no_grad():
        sizes = [activation.shape[-1] for activation in tap(torch.rand(1, 3, 224, 224)).values()]
    assert sizes == [224, 55, 27, 27, 13, 13, 6]
    kinds = [type(part).__name__ for part in lowpass.module.features]
    assert kinds[:5] == ["Conv2d", "ReLU", "HannPool2d", "ReLU", "HannPool2d"]
    assert [part.p for part in lowpass.module.classifier if isinstance(part, nn.Dropout)] == [0.5, 0.5]


@pytest.mark.parametrize(("size", "count"), [(17, 15), (9, 7)])
def test_lowpass_alexnets_windows(lowpass, size, count):
    pools = [part for part in lowpass.module.modules() if type(part).__name__ == "HannPool2d" and part.size == size]
    assert len(pools) == (1 if size == 17 else 3)
    by_hand = torch.tensor([0.5 - 0.5 * cos(2 * pi * i / (size - 1)) for i in range(1, size - 1)])
    for pool in pools:
        assert pool.taps.shape == (1, 1, count, count)
        assert pool.taps.sum().item() == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close(pool.taps[0, 0].sum(0), by_hand / by_hand.sum())
    assert hann(size)[count // 2] == hann(size).max()


def test_lowpass_alexnet_compares_with_alexnet_layer_by_layer(lowpass):
    alexnet = torchvision.models.alexnet(num_classes=10).eval()
    assert {key: tuple(weight.shape) for key, weight in alexnet.state_dict().items()} == {
        key: tuple(weight.shape) for key, weight in lowpass.module.state_dict().items() if "normalise" not in key
    }
    signals = torch.rand(1, 3, 224, 224)
    with torch.no_grad(), Tap(alexnet, lowpass.layers) as plain, Tap(lowpass.module, lowpass.layers) as tap:
        assert [a.shape for a in plain(signals).values()] == [a.shape for a in tap(signals).values()]
    signals.requires_grad_()
    with Tap(lowpass.module, lowpass.layers) as tap:
        activations = tap(signals)
    assert [is_relu(a) for a in activations.values()] == [True] * 7 + [False]


def test_lowpass_alexnets_labels_and_options(lowpass):
    assert lowpass.labels is None
    assert lowpass.domain.shape == (3, 224, 224)
    with pytest.raises(MetameryError, match="size is 16, expected a whole number of at least 32"):
        PLUGINS.load("model", "lowpass-alexnet", size=16)
    named = PLUGINS.load("model", "lowpass-alexnet", labels=["a", "b"], size=64)
    assert named.labels == ("a", "b")
    testing.check_model(named)
