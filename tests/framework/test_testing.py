"""Contract checks: every bundled name passes its own, and each check can fail."""

import pytest
import torch
from metamery.framework import ImageDomain, Model, Plugins, Recipe, Stimulus, WaveformDomain, open_study, testing
from metamery.framework.errors import MissingExtraError
from torch import nn

PLUGINS = Plugins(installed=())
SMALL = {
    "antialias/": "antialias/blur3/small-cnn",
    "feather2023/": "feather2023/alexnet",
    "timm/": "timm/resnet10t",
    "torchattacks/": "torchattacks/PGD",
    "torchaudio/": "torchaudio/WAV2VEC2_BASE",
    "torchvision/": "torchvision/squeezenet1_1",
}
OPTIONS = {
    "together": {"models": ["small-cnn", {"name": "small-cnn", "seed": 1}]},
    "torchaudio/WAV2VEC2_BASE": {"weights": "none", "samples": 1600},
    "torchvision/squeezenet1_1": {"weights": "none"},
    "timm/resnet10t": {"weights": "none"},
    "feather2023/alexnet": {"weights": "none"},
    **{f"coch{network}{kind}": {"density": 8} for network in ("cnn9", "resnet50") for kind in ("", "-hann")},
}
OF_SOUNDS = {"background", "gain"}
NEEDS_REPOSITORIES = {"hf/", "open_clip/"}  # held by tests of their own, on tiny networks
NEEDS_DATA = {
    "file",
    "folder",
    "prepared",
    "shards",
    "torchaudio/",
    "torchvision/",
}  # held by tests of their own, on files they make


def names(kind):
    return [entry.name for entry in PLUGINS.entries(kind)]


def load(kind, name, **options):
    try:
        return PLUGINS.load(kind, name, **options)
    except MissingExtraError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", sorted(set(names("model")) - NEEDS_REPOSITORIES))
def test_every_bundled_model(name):
    name = SMALL.get(name, name)
    testing.check_model(load("model", name, **OPTIONS.get(name, {})))


@pytest.mark.parametrize("name", sorted(set(names("stimuli")) - NEEDS_DATA))
def test_all_bundled_stimuli(name):
    testing.check_stimuli(load("stimuli", name), count=100)


@pytest.mark.parametrize("name", names("loss"))
def test_every_bundled_loss(name):
    testing.check_loss(load("loss", name))


@pytest.mark.parametrize("name", names("distance"))
def test_every_bundled_distance(name):
    testing.check_distance(load("distance", name))


@pytest.mark.parametrize("name", names("optimizer"))
def test_every_bundled_optimizer(name):
    testing.check_optimizer(load("optimizer", name, lr=0.01))


@pytest.mark.parametrize("name", names("perturbation"))
def test_every_bundled_perturbation(name):
    hears = Model(nn.Linear(400, 4).eval(), WaveformDomain(400, 8000), ["output"]) if name in OF_SOUNDS else None
    testing.check_perturbation(load("perturbation", SMALL.get(name, name)), hears)


@pytest.mark.parametrize("name", names("recipe"))
def test_every_bundled_recipe(name):
    testing.check_recipe(load("recipe", name))


def fails(number):
    return pytest.raises(AssertionError, match=f"check {number}:")


class Odd(nn.Module):
    """A network with one fault."""

    def __init__(self, fault):
        super().__init__()
        self.linear = nn.Linear(12, 4)
        self.fault = fault

    def forward(self, x):
        if self.fault == 3:
            x.add_(1)
        y = self.linear(x.flatten(1))
        if self.fault == 2:
            return y * torch.nan
        if self.fault == 7:
            return y - y.mean(dim=0)
        return y.detach() if self.fault == 8 else y


@pytest.mark.parametrize("fault", [2, 3, 7, 8])
def test_a_model_with_a_fault_is_found_out(fault):
    torch.manual_seed(0)
    domain = ImageDomain(3, 2, 2)
    testing.check_model(Model(Odd(0), domain, ["output"], list("abcd")))
    with fails(fault):
        testing.check_model(Model(Odd(fault), domain, ["output"], list("abcd")))


def test_a_layer_may_have_several_rows_for_each_signal():
    """As the inner blocks of Transformer in Transformer, whose batch is that of the patches."""

    class Rows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.reshape(-1, 4)).reshape(len(x), -1)

    testing.check_model(Model(Rows(), ImageDomain(3, 2, 2), ["inner", "output"]))


def test_a_model_with_a_label_too_many_is_found_out():
    with fails(4):
        testing.check_model(Model(Odd(0), ImageDomain(3, 2, 2), ["output"], list("abcde")))


def test_stimuli_with_faults_are_found_out():
    good = Stimulus(torch.rand(3, 4, 4), name="a")
    testing.check_stimuli([good])
    for number, bad in {
        1: [],
        2: [Stimulus(2 + torch.rand(3, 4, 4), name="a")],
        3: [good, good],
        6: [Stimulus(torch.rand(3, 4, 4), name="a", labels={"x": ["y"]})],
    }.items():
        with fails(number):
            testing.check_stimuli(bad)


def test_a_distance_that_mixes_the_batch_is_found_out():
    with fails(2):
        testing.check_distance(lambda a, b: (a - b).flatten(1).norm(dim=1) / (a - b).norm())


def test_an_optimizer_that_couples_its_parameters_is_found_out():
    class Coupled(torch.optim.SGD):
        def step(self):
            gradients = [p.grad for p in self.param_groups[0]["params"] if p.grad is not None]
            total = torch.stack(gradients).norm() if gradients else 1
            for p in self.param_groups[0]["params"]:
                p.grad = None if p.grad is None else p.grad / total
            super().step()

    with fails(3):
        testing.check_optimizer(lambda parameters: Coupled(parameters, lr=0.1))


@pytest.mark.parametrize(
    ("number", "perturb"),
    [
        (1, lambda model, x, y, g: x + 1),
        (2, lambda model, x, y, g: (x + 0.1 * torch.rand(x.shape)).clamp(0, 1)),
        (3, lambda model, x, y, g: x.mul_(0.9)),
        (4, lambda model, x, y, g: (model.module.train(), x)[1]),
    ],
)
def test_a_perturbation_with_a_fault_is_found_out(number, perturb):
    with fails(number):
        testing.check_perturbation(perturb)


def test_a_loss_without_gradient_is_found_out():
    with fails(1):
        testing.check_loss(lambda model, x, y: model.module(x))


def test_a_recipe_that_holds_an_object_is_found_out():
    with fails(2):
        testing.check_recipe(Recipe(loss_options={"a": object()}))


@pytest.mark.parametrize("sound", [False, True])
def test_the_example_study_has_the_answers_that_are_said(tmp_path, sound):
    model = testing.example_model()
    if sound:
        model = Model(nn.Linear(20, 3), WaveformDomain(20, 100), ["output"], list("abc"))
    study = open_study(testing.example_study(tmp_path / "study", model))
    (group,) = study["models"].children.values()
    metamers, natural = group["metamers"], group["stimuli/signal"]
    assert group.attrs["model"] == "testing:example_model"
    assert metamers["layer"].values.tolist() == list(model.layers)
    assert metamers["state"].values[-1, -1].tolist() == [2, 0]
    done = metamers["state"] == 1
    assert int(done.sum()) == done.size - 2
    for number, layer in enumerate(metamers["layer"].values, start=1):
        moved = (metamers["signal"].sel(layer=layer) - natural).where(done.sel(layer=layer))
        assert float(moved.min()) == pytest.approx(0.01 * number, rel=1e-4)
        assert float(moved.max()) == pytest.approx(0.01 * number, rel=1e-4)
    assert float(metamers["signal"].isel(layer=-1, stimulus=-1, seed=0).max()) == model.domain.low
    assert metamers["loss"].where(done, drop=True).isel(layer=0, stimulus=0, seed=0).values.tolist() == [1, 0.5, 0.25]
    predicted = model.module(torch.tensor(natural.values)).argmax(dim=1)
    assert group["stimuli/predicted"].values.tolist() == predicted.tolist()


def test_the_example_context_is_that_of_the_example_study(example_context, example_study):
    (name,) = example_context.models
    assert example_context.study.identical(open_study(example_study))
    natural = example_context.study[f"models/{name.replace(':', '+')}/stimuli/signal"]
    assert natural["stimulus"].values.tolist() == [stimulus.name for stimulus in example_context.stimuli]
    for values, stimulus in zip(natural.values, example_context.stimuli, strict=True):
        assert torch.equal(torch.tensor(values), stimulus.signal)
