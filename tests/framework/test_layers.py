"""Layers: what a tap reads, and the modified ReLU."""

import warnings
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from metamery.framework import ImageDomain, LayerName, MetameryError, Model, Tap, WaveformDomain, examine
from metamery.framework.layers import before_relu, is_relu
from metamery.framework.outline import default_layers, outline
from metamery.framework.running import frozen
from torch import nn
from torch.utils.checkpoint import checkpoint


class InPlace(nn.Module):
    """Its first layer's result is changed in place by what follows."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.relu(self.first(x)))


class Rich(nn.Module):
    """Returns tuples and mappings, and runs a module twice."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(3, 3)
        self.pair = Pair()

    def forward(self, x):
        a, rest = self.pair(self.shared(self.shared(x)))
        return {"logits": a, "rest": rest["deep"]}


class Pair(nn.Module):
    def forward(self, x):
        return x + 1, {"deep": x * 2}


def signals(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


paths = st.from_regex(r"[a-z_0-9]{1,8}(\.[a-z_0-9]{1,8}){0,3}", fullmatch=True)
keys = st.lists(st.one_of(st.integers(0, 99), st.from_regex(r"[A-Za-z_ .-]{0,6}", fullmatch=True)), max_size=3)


@given(paths, st.integers(1, 99), keys)
def test_a_name_survives_writing_and_reading(path, call, keys):
    name = LayerName(path, call, tuple(keys))
    assert LayerName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", "a b", "a@0", "a@x", "a[", "a[b]", "a[__import__('os')]", "[0]", "a[0]b"])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(MetameryError, match="is not a layer name"):
        LayerName.parse(text)


def test_reading_does_not_change_the_result_and_leaves_no_hook():
    network = torchvision.models.resnet18().eval()
    x = signals(1, 3, 64, 64)
    before = network(x)
    with Tap(network, ["layer1.0.relu@2", "output"]) as tap:
        assert torch.equal(tap(x)["output"], before)
    assert not any(module._forward_hooks for module in network.modules())


def test_an_activation_changed_in_place_is_read_as_the_layer_returned_it():
    network = InPlace()
    x = signals(5, 3)
    expected = F.linear(x, network.first.weight, network.first.bias)
    assert (expected < 0).any()
    for stop in (True, False):
        with Tap(network, ["first", "relu"], stop=stop) as tap:
            read = tap(x)
        assert torch.equal(read["first"], expected)
        assert torch.equal(read["relu"], expected.relu())


def test_calls_and_elements():
    network = Rich()
    x = signals(2, 3)
    once = network.shared(x)
    twice = network.shared(once)
    names = ["input", "shared", "shared@2", "pair[0]", "pair[1]['deep']", "output['logits']"]
    with Tap(network, names) as tap:
        read = tap(x)
    assert list(read) == names
    expected = [x, once, twice, twice + 1, twice * 2, twice + 1]
    for activation, wanted in zip(read.values(), expected, strict=True):
        assert torch.equal(activation, wanted)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pari", "did you mean 'pair'"),
        ("pair", "name an element, such as 'pair\\[0\\]'"),
        ("pair[5]", "no element 5 in a tuple of 2"),
        ("pair[1]['deeper']", "a mapping with the keys 'deep'"),
        ("shared@3", "'shared' runs 2 times"),
    ],
)
def test_a_layer_that_cannot_be_read_is_named(name, said):
    with pytest.raises(MetameryError, match=said), Tap(Rich(), [name]) as tap:
        tap(signals(2, 3))


class Awkward(nn.Module):
    """Changes modes and grad mode by hand, and catches exceptions."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        self.layer.training = not self.layer.training
        torch.set_grad_enabled(False)
        try:
            return self.layer(x)
        except Exception:
            return x
        finally:
            self.passed = True


def test_stopping_restores_modes_and_grad_mode_whatever_the_network_does():
    network = Awkward()
    with torch.enable_grad(), Tap(network, ["layer"]) as tap:
        read = tap(signals(2, 3))
        assert torch.is_grad_enabled()
    assert network.layer.training
    assert read["layer"].shape == (2, 3)


def test_an_error_in_the_network_restores_everything():
    class Broken(Awkward):
        def forward(self, x):
            super().forward(x)
            raise ValueError("broken")

    network = Broken()
    with pytest.raises(ValueError, match="broken"), Tap(network, ["layer", "output"]) as tap:
        tap(signals(2, 3))
    assert torch.is_grad_enabled()
    assert network.layer.training
    assert not network.layer._forward_hooks


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.last = nn.Linear(4, 2)
        self.reentrant = reentrant

    def forward(self, x):
        return self.last(checkpoint(self.block, x, use_reentrant=self.reentrant))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_is_refused_by_name():
    for grad in (True, False):
        x = signals(2, 3).requires_grad_(grad)
        with (
            pytest.raises(MetameryError, match=r"'block\.0' is under reentrant checkpointing"),
            Tap(Checkpointed(True), ["block.0"]) as tap,
            torch.set_grad_enabled(grad),
        ):
            tap(x)


@pytest.mark.parametrize("name", ["block.0", "block", "last"])
def test_other_checkpointing_gives_the_same_gradient(name):
    plain, checkpointed = Checkpointed(False), Checkpointed(False)
    checkpointed.load_state_dict(plain.state_dict())
    plain.forward = lambda x: plain.last(plain.block(x))
    gradients = []
    for network in (plain, checkpointed):
        x = signals(2, 3).requires_grad_()
        with frozen(network), Tap(network, [name]) as tap:
            activation = tap(x)[name]
            gradients.append(torch.autograd.grad(before_relu(activation), x, torch.ones_like(activation))[0])
    assert torch.equal(*gradients)


def test_scripted_and_compiled_modules_are_refused_by_name():
    class Holder(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3)))
        compiled = torch.compile(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(MetameryError, match="inner is a TorchScript module"):
        Tap(Holder(scripted), ["inner.0"])
    with pytest.raises(MetameryError, match="inner is a compiled module"):
        Tap(Holder(compiled), ["inner"])


NETWORKS = {
    "resnet18": (torchvision.models.resnet18, 64),
    "vit_b_16": (partial(torchvision.models.vit_b_16, image_size=64), 64),
    "convnext_tiny": (torchvision.models.convnext_tiny, 64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_stopping_gives_what_passing_gives_at_every_layer(name):
    build, size = NETWORKS[name]
    network = build().eval()
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    domain = ImageDomain(3, size, size)
    layers = [layer.name for layer in outline(network, domain) if layer.shape is not None]
    with torch.no_grad():
        with Tap(network, layers, stop=False) as tap:
            passing = tap(x)
        for layer in default_layers(network, domain):
            with Tap(network, [layer]) as tap:
                assert torch.equal(tap(x)[layer], passing[layer]), layer


def straight(function, low=0.0, high=None):
    """The modified ReLU as its authors write it: an autograd function whose backward pass is the identity."""

    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clamp(low, high)

        @staticmethod
        def backward(context, gradient):
            return gradient

    return Straight.apply


RELUS = {
    "nn.ReLU": (nn.ReLU(), None),
    "nn.ReLU in place": (nn.ReLU(inplace=True), None),
    "F.relu": (F.relu, None),
    "F.relu in place": (lambda x: F.relu(x, inplace=True), None),
    "torch.relu": (torch.relu, None),
    "Tensor.relu_": (torch.Tensor.relu_, None),
    "nn.ReLU6": (nn.ReLU6(), 6.0),
    "nn.ReLU6 in place": (nn.ReLU6(inplace=True), 6.0),
    "F.relu6": (F.relu6, 6.0),
}


class Block(nn.Module):
    def __init__(self, linear, activation):
        super().__init__()
        self.linear, self.activation = linear, activation

    def forward(self, x):
        return self.activation(5 * self.linear(x))


class Twice(nn.Module):
    """One ReLU module, called twice; only the call that is matched may be modified."""

    def __init__(self, activations):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.relu = nn.ReLU()
        self.activations = activations

    def forward(self, x):
        one, two = self.activations or (self.relu, self.relu)
        return two(self.second(one(self.first(x))))


def gradient_at(network, layer, x):
    x = x.clone().requires_grad_()
    with frozen(network), Tap(network, [layer]) as tap:
        activation = tap(x)[layer]
        return torch.autograd.grad(before_relu(activation), x, torch.ones_like(activation))[0]


@pytest.mark.parametrize("kind", RELUS)
def test_the_modified_relu_is_the_identity_backwards(kind):
    activation, high = RELUS[kind]
    linear = nn.Linear(6, 6)
    x = signals(4, 6)
    got = gradient_at(Block(linear, activation), "output", x)
    leaf = x.clone().requires_grad_()
    twin = straight(activation, high=high)(5 * linear(leaf))
    (expected,) = torch.autograd.grad(twin.sum(), leaf)
    (plain,) = torch.autograd.grad(Block(linear, activation)(leaf).sum(), leaf)
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(got, plain)


@pytest.mark.parametrize("call", [1, 2])
def test_only_the_matched_call_is_modified(call):
    network = Twice(None)
    twin = Twice((straight(None), F.relu) if call == 1 else (F.relu, straight(None)))
    twin.load_state_dict(network.state_dict())
    x = signals(4, 6)
    layer = "relu" if call == 1 else "relu@2"
    leaf = x.clone().requires_grad_()
    inside = twin.activations[0](twin.first(leaf))
    matched = inside if call == 1 else twin.activations[1](twin.second(inside))
    (expected,) = torch.autograd.grad(matched.sum(), leaf)
    torch.testing.assert_close(gradient_at(network, layer, x), expected)


@pytest.mark.parametrize("activation", [nn.GELU(), nn.LeakyReLU(), nn.Hardtanh(), torch.sigmoid])
def test_what_is_no_relu_is_left_alone(activation):
    linear = nn.Linear(6, 6)
    x = signals(4, 6).requires_grad_()
    y = Block(linear, activation)(x)
    assert not is_relu(y)
    assert before_relu(y) is y


class Output(NamedTuple):
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


@dataclass
class Answer:
    logits: torch.Tensor
    states: list[torch.Tensor]


OUTPUTS = {
    "mapping": lambda x: {"logits": x, "pooled": 2 * x},
    "namedtuple": lambda x: Output(x, (x, 2 * x)),
    "dataclass": lambda x: Answer(x, [x, 2 * x]),
    "tuple": lambda x: (x, 2 * x),
}


class Returning(nn.Module):
    """A network that returns what a function makes of its logits."""

    def __init__(self, kind):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.kind = kind

    def forward(self, x):
        return OUTPUTS[self.kind](self.layer(x))


@pytest.mark.parametrize(
    ("kind", "logits", "doubled"),
    [
        ("mapping", "output.logits", "output.pooled"),
        ("namedtuple", "output.logits", "output.hidden.1"),
        ("dataclass", "output.logits", "output.states.1"),
        ("tuple", "output.0", "output.1"),
    ],
)
def test_parts_of_the_output_are_layers_by_name(kind, logits, doubled):
    model = Model(Returning(kind), WaveformDomain(3, 10), ["layer", "output"])
    with pytest.warns(UserWarning, match="logits are taken to be"):
        examined = examine(model, [logits, doubled])
    assert {logits, doubled, "output"} <= {layer.name for layer in examined.outline}
    x = signals(2, 3)
    with model.tap([doubled, logits, "layer"]) as tap:
        read = tap(x)
    assert torch.equal(read[logits], read["layer"])
    assert torch.equal(read[doubled], 2 * read["layer"])
    assert default_layers(model.module, model.domain) == ("output",)


def test_a_part_that_is_not_there_is_named_with_those_that_are():
    with (
        pytest.raises(MetameryError, match=r"no element 'logit' in a Answer with the fields 'logits', 'states'"),
        Tap(Returning("dataclass"), ["output.logit"]) as tap,
    ):
        tap(signals(2, 3))


def test_a_module_called_output_keeps_its_path():
    network = nn.Sequential(OrderedDict(output=nn.Sequential(nn.Linear(3, 2), nn.ReLU())))
    with Tap(network, ["output.0"]) as tap:
        assert torch.equal(tap(signals(2, 3))["output.0"], network.output[0](signals(2, 3)))


def test_one_part_under_two_names_is_named_twice():
    model = Model(Returning("mapping"), WaveformDomain(3, 10), ["output"])
    with pytest.raises(MetameryError, match="named twice"):
        examine(model, ["output.pooled", "output['pooled']"])
