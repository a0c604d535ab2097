"""torchvision's and timm's networks, with random weights: no download needed."""

import copy
from urllib.error import URLError

import pytest
import torch
from metamery.framework import MetameryError, Plugins
from metamery.framework.errors import UnknownNameError
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()

    def forward(self, signals):
        return self.relu(self.conv(signals))


class Same(nn.Module):
    def forward(self, signals):
        return signals


@pytest.fixture
def load():
    plugins = Plugins(installed=())
    return lambda name, **options: plugins.load("model", name, **options)


def test_normalise_is_the_formula_and_leaves_paths_alone():
    from metamery.framework.normalisation import normalise_input

    network = Small()
    plain = copy.deepcopy(network)
    paths = [path for path, _ in network.named_modules()]
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    signals = torch.rand(2, 3, 8, 8)
    explicit = torch.stack([(signals[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    assert normalise_input(network, mean, std) is network
    torch.testing.assert_close(network(signals), plain(explicit))
    assert [path for path, _ in network.named_modules()] == [*paths, "normalise"]


def test_a_copy_normalises_by_its_own():
    from metamery.framework.normalisation import normalise_input

    network = normalise_input(Same(), [0.5], [1.0])
    twin = copy.deepcopy(network)
    twin.normalise.mean.fill_(0.0)
    signals = torch.ones(1, 1, 2, 2)
    assert network(signals).unique() == 0.5
    assert twin(signals).unique() == 1.0
    assert twin.double()(signals.double()).dtype == torch.float64


@pytest.mark.parametrize(("mean", "std"), [([0.5], [0.0]), ([0.5, 0.5], [1.0]), ([], [])])
def test_normalisation_that_makes_no_sense(mean, std):
    from metamery.framework.normalisation import Normalise, normalise_input

    with pytest.raises(MetameryError, match="normalisation"):
        Normalise(mean, std)
    network = normalise_input(Same(), [0.5], [1.0])
    with pytest.raises(MetameryError, match="already has"):
        normalise_input(network, [0.5], [1.0])
    with pytest.raises(MetameryError, match="Sequential"):
        normalise_input(nn.Sequential(nn.Identity()), [0.5], [1.0])


def test_torchvision_resnet_is_torchvisions(load):
    import torchvision

    model = load("torchvision/resnet18", weights="none", seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = torchvision.models.resnet18().eval()
    signals = torch.rand(2, 3, 224, 224)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model.module(signals), plain((signals - mean) / std))
    assert model.domain.shape == (3, 224, 224)
    assert model.layers[-1] == "output"
    assert "normalise" not in model.layers
    assert {"layer1", "layer4"} <= set(model.layers)
    assert model.labels[281] == "tabby"
    assert model.label_space == "imagenet-1k"


@pytest.mark.parametrize("name", ["torchvision/squeezenet1_1", "timm/test_resnet"])
def test_seed_and_global_generator(load, name):
    if name.startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    before = torch.random.get_rng_state()
    first, same, other = (load(name, weights="none", num_classes=7, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.weights_sha256() == same.weights_sha256() != other.weights_sha256()
    assert first.labels is None
    assert first.module(torch.rand(1, *first.domain.shape)).shape == (1, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_whose_published_weights_have_auxiliary_heads(load, monkeypatch, name):
    import torchvision
    from metamery.framework.contract import examine

    published = torchvision.models.get_model(name, aux_logits=True, init_weights=False).state_dict()
    assert any(key.lower().startswith("aux") for key in published)
    weights = type(torchvision.models.get_model_weights(name).DEFAULT)
    monkeypatch.setattr(weights, "get_state_dict", lambda _self, *_given, **_named: published)
    model = load(f"torchvision/{name}")
    assert not any(key.lower().startswith("aux") for key in model.module.state_dict())
    assert examine(model, ["output"]).classes == len(model.labels) == 1000
    assert torch.equal(model.module.state_dict()["fc.weight"], published["fc.weight"])
    assert examine(load(f"torchvision/{name}", num_classes=7)).classes == 7


def test_googlenet_returns_logits_without_auxiliary_heads(load):
    model = load("torchvision/googlenet", weights="none", num_classes=5)
    assert model.module.train()(torch.rand(2, *model.domain.shape)).shape == (2, 5)


def test_torchvision_names_are_checked(load):
    with pytest.raises(UnknownNameError, match=r"unknown torchvision network 'resnet19'; did you mean 'resnet1"):
        load("torchvision/resnet19")
    with pytest.raises(UnknownNameError, match=r"IMAGENET1K_V3'; did you mean 'IMAGENET1K_V1'.*none"):
        load("torchvision/resnet18", weights="IMAGENET1K_V3")
    with pytest.raises(MetameryError, match="num_classes is 0, expected a whole number of at least 1"):
        load("torchvision/resnet18", num_classes=0)


def test_torchvision_weights_that_cannot_be_downloaded(load, monkeypatch, tmp_path):
    def fail(*_arguments, **_options):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(MetameryError, match=r"resnet18 could not be downloaded .*weights=none"):
        load("torchvision/resnet18")


def test_torchvision_weights_are_downloaded_and_used(load, monkeypatch, tmp_path):
    import torchvision

    state = torchvision.models.squeezenet1_1().state_dict()

    def download(url, dst, *_arguments, **_options):
        torch.save(state, dst)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    model = load("torchvision/squeezenet1_1")
    assert torch.equal(model.module.state_dict()["features.0.weight"], state["features.0.weight"])
    ten, same, other = (load("torchvision/squeezenet1_1", num_classes=10, seed=seed) for seed in (1, 1, 2))
    assert ten.weights_sha256() == same.weights_sha256() != other.weights_sha256()
    assert ten.module(torch.rand(1, *ten.domain.shape)).shape == (1, 10)
    assert ten.labels is None
    kept = {name for name, weight in ten.module.state_dict().items() if torch.equal(weight, state.get(name, weight))}
    assert set(state) - kept == {"classifier.1.weight", "classifier.1.bias"}
    thousand = load("torchvision/squeezenet1_1", num_classes=1000)
    assert thousand.weights_sha256() == model.weights_sha256()
    assert thousand.labels == model.labels


def test_torchvision_weights_that_run_code_are_refused(load, monkeypatch, tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    def download(url, dst, *_arguments, **_options):
        torch.save({"features.0.weight": Evil()}, dst)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(Exception, match=r"weights_only|Weights only|refused"):
        load("torchvision/squeezenet1_1")
    assert not ran.exists()


def test_timm_domain_layers_and_labels(load):
    pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    model = load("timm/test_resnet", weights="none")
    assert model.domain.shape == (3, 160, 160)
    assert torch.equal(model.module.normalise.mean.flatten(), torch.full((3,), 0.5))
    assert len(model.labels) == 1000
    assert model.layers[-1] == "output"


def test_timm_keeps_weights_and_makes_a_new_last_layer(load, monkeypatch):
    timm = pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    from timm.models import _builder

    state = timm.create_model("test_resnet").state_dict()
    monkeypatch.setattr(_builder, "load_state_dict_from_hf", lambda *_arguments, **_options: dict(state))
    ten, other = (load("timm/test_resnet", num_classes=10, seed=seed).module for seed in (1, 2))
    assert ten(torch.rand(1, 3, 160, 160)).shape == (1, 10)
    assert not torch.equal(ten.fc.weight, other.fc.weight)
    weights = ten.state_dict()
    assert all(torch.equal(weights[name], state[name]) for name in state if not name.startswith("fc."))
    with pytest.raises(MetameryError, match="num_classes is -1"):
        load("timm/test_resnet", num_classes=-1)


def test_timm_names_are_checked(load, monkeypatch):
    timm = pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    with pytest.raises(UnknownNameError, match=r"unknown timm network 'test_resnett'; did you mean 'test_resnet"):
        load("timm/test_resnett")
    with pytest.raises(UnknownNameError, match="r160_in2k'; did you mean 'r160_in1k'"):
        load("timm/test_resnet", weights="r160_in2k")

    def fail(*_arguments, **_options):
        raise URLError("no network")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(MetameryError, match=r"timm/test_resnet could not be downloaded .*weights=none"):
        load("timm/test_resnet")


def test_families_list_their_members():
    plugins = Plugins(installed=())
    assert "torchvision/resnet50" in plugins.find("model", "torchvision/resnet50").entry.members()
    pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    assert "timm/test_resnet" in plugins.find("model", "timm/test_resnet").entry.members()
