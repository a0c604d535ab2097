"""torchattacks through its adapter: every attack keeps the contract and restores the model, and ours agree with its."""

from __future__ import annotations

import inspect
import random
from typing import Any

import numpy as np
import pytest
import torch
from metamery.analysis.attacks import gradient as attacks
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, UnknownNameError, WaveformDomain
from metamery.framework.testing import check_perturbation, example_model, example_signals
from torch import nn

torchattacks = pytest.importorskip("torchattacks", reason="the extra torchattacks is not installed")
from metamery.plugins.torchattacks.adapter import torchattack_names  # noqa: E402

NAMES = torchattack_names()
QUICK: dict[str, dict[str, Any]] = {
    "AutoAttack": {"steps": 4},
    "EADEN": {"max_iterations": 10, "binary_search_steps": 2},
    "EADL1": {"max_iterations": 10, "binary_search_steps": 2},
    "OnePixel": {"steps": 2},
    "Pixle": {"restarts": 2, "max_iterations": 2},
    "SPSA": {"nb_sample": 8},
    "Square": {"n_queries": 50},
}
BOUNDED = {
    name: option
    for name in NAMES
    for option in ("eps", "max_epsilon")
    if option in inspect.signature(getattr(torchattacks, name)).parameters
}
TWO_DIMENSIONAL = {"DIFGSM", "PIFGSM", "PIFGSMPP", "Pixle", "TIFGSM"}  # these cannot attack a waveform


def sound_model() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = [nn.Unflatten(1, (1, 200)), nn.Conv1d(1, 6, 9, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)]
        return Model(nn.Sequential(*parts).eval(), WaveformDomain(200, 8000), ["output"])


class FirstHalf(nn.Module):
    """A network that hears the first half of a sound, so that an attack has no reason to touch the second."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.heard = samples // 2
        parts = [nn.Conv1d(1, 6, 9, stride=4), nn.ReLU(), nn.AdaptiveAvgPool1d(8), nn.Flatten(), nn.Linear(48, 5)]
        self.network = nn.Sequential(*parts)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(signals[:, None, : self.heard])
        return logits


def half_heard(samples: int) -> tuple[Model, torch.Tensor, torch.Tensor]:
    """A model of the first half of sounds, sounds that reach both ends of the range, and what the model says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Model(FirstHalf(samples).eval(), WaveformDomain(samples, 8000), ["output"])
    signals = 2 * torch.rand(3, samples, generator=torch.Generator().manual_seed(1)) - 1
    signals[:, ::7], signals[:, 3::7] = -1.0, 1.0
    with torch.no_grad():
        return model, signals, model.module(signals).argmax(dim=1)


def picture_model(low: float = 0.0, high: float = 1.0) -> Model:
    return Model(example_model().module, ImageDomain(3, 12, 12, low, high), ["output"])


def load(name: str, **options: Any) -> Any:
    return Plugins(installed=()).load("perturbation", f"torchattacks/{name}", **QUICK.get(name, {}) | options)


def right(model: Model, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Signals with the labels that the model gives them, so that every attack has something to do."""
    signals = example_signals(model, count)
    with torch.no_grad():
        return signals, model.module(signals).argmax(dim=1)


def attacked(name: str, model: Model, seed: int = 0, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    signals, labels = right(model)
    return signals, load(name, **options)(model, signals, labels, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_keeps_the_contract(name: str) -> None:
    check_perturbation(load(name))
    model = picture_model(-2.0, 3.0)
    signals, labels = right(model)
    state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    found = load(name)(model, signals, labels, torch.Generator().manual_seed(0))
    assert found.isfinite().all()
    assert -2 <= float(found.min()) <= float(found.max()) <= 3
    assert torch.equal(state[0], torch.get_rng_state())
    assert (state[1], state[2]) == (np.random.get_state()[1].tolist(), random.getstate())
    assert torch.equal(found, load(name)(model, signals, labels, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_takes_waveforms_or_says_that_it_cannot(name: str) -> None:
    model = sound_model()
    if name in TWO_DIMENSIONAL:
        with pytest.raises(MetameryError, match=rf"^torchattacks/{name} failed on signals \(3, 200\): "):
            attacked(name, model)
        return
    signals, found = attacked(name, model)
    assert found.shape == signals.shape
    assert -1 <= float(found.min()) <= float(found.max()) <= 1
    check_perturbation(load(name), model)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        pytest.param(name, model, id=f"{name}, {model.domain.kind} from {model.domain.low:g}")
        for name in BOUNDED
        for model in (picture_model(), picture_model(-2.0, 3.0), sound_model())
        if name not in TWO_DIMENSIONAL or model.domain.kind == "image"
    ],
)
def test_epsilon_is_in_the_signals_units_and_holds(name: str, model: Model) -> None:
    epsilon = 0.5 if name.endswith("L2") else 0.07
    signals, found = attacked(name, model, epsilon=epsilon)
    moved = (found.double() - signals.double()).flatten(1)
    norms = moved.norm(dim=1) if name.endswith("L2") else moved.abs().amax(dim=1)
    assert (norms <= epsilon + 1e-6).all()
    again, same = attacked(name, model, **{BOUNDED[name]: epsilon})
    assert torch.equal(found, same)
    assert torch.equal(again, attacked(name, model, epsilon=0.0)[1])


@pytest.mark.parametrize("name", ["PGD", "FGSM", "TPGD", "MIFGSM", "PGDL2"])
def test_waveforms_are_moved_by_the_whole_of_epsilon(name: str) -> None:
    epsilon = 0.5 if name == "PGDL2" else 0.02
    signals, found = attacked(
        name, sound_model(), epsilon=epsilon, **({} if name == "FGSM" else {"step_size": epsilon})
    )
    moved = (found - signals).flatten(1)
    norms = moved.norm(dim=1) if name == "PGDL2" else moved.abs().amax(dim=1)
    torch.testing.assert_close(norms, torch.full((3,), epsilon))
    assert (signals < 0).any()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("FGSM", {}),
        ("PGD", {"random_start": False}),
        ("PGD", {}),
        ("PGDL2", {"random_start": False}),
        ("PGDL2", {}),
    ],
)
def test_a_waveform_keeps_its_range_its_signs_and_the_norm(name: str, options: dict[str, Any]) -> None:
    model, signals, labels = half_heard(8000)
    epsilon = 0.5 if name == "PGDL2" else 0.02
    found = load(name, epsilon=epsilon, **options)(model, signals, labels, torch.Generator().manual_seed(0))
    assert -1 <= float(found.min()) <= float(found.max()) <= 1
    moved = found.double() - signals.double()
    norms = moved.norm(dim=1) if name == "PGDL2" else moved.abs().amax(dim=1)
    assert (norms <= epsilon + 1e-6).all()
    assert (norms > epsilon / 2).all()
    clear = signals.abs() > epsilon
    assert torch.equal(found.sign()[clear], signals.sign()[clear])
    if name == "FGSM" or options:  # a random start touches every sample
        assert torch.equal(found[:, 4000:], signals[:, 4000:])


@pytest.mark.parametrize(
    ("name", "samples", "most"), [("OnePixel", 2000, 1), ("SparseFool", 2000, 200), ("JSMA", 64, 7)]
)
def test_an_attack_of_few_samples_leaves_the_others_of_a_waveform(name: str, samples: int, most: int) -> None:
    model, signals, labels = half_heard(samples)
    found = load(name)(model, signals, labels, torch.Generator().manual_seed(0))
    assert -1 <= float(found.min()) <= float(found.max()) <= 1
    touched = (found != signals).sum(dim=1)
    assert 0 < int(touched.max()) <= most
    assert torch.equal(found[:, samples // 2 :], signals[:, samples // 2 :])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-2.0, 3.0)])
def test_our_pgd_is_torchattacks_pgd_from_the_same_start(low: float, high: float) -> None:
    model, span = picture_model(low, high), high - low
    signals, labels = right(model, 8)
    generator = torch.Generator().manual_seed(3)
    theirs = load("PGD", eps=0.1 * span, alpha=0.03 * span, steps=7)(model, signals, labels, generator)
    seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(3)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = signals + span * torch.empty_like(signals).uniform_(-0.1, 0.1)
    about: Any = {"epsilon": 0.1 * span, "step_size": 0.03 * span, "steps": 7}
    ours = attacks.pgd(model, signals, labels, start=start, **about)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * span)
    other = attacks.pgd(model, signals, labels, generator, **about)
    assert (other - ours).abs().max() > 0.01

    plain = load("PGD", eps=0.1 * span, alpha=0.03 * span, steps=7, random_start=False)
    theirs = plain(model, signals, labels, generator)
    ours = attacks.pgd(model, signals, labels, random_start=False, **about)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * span)


@pytest.mark.parametrize(
    "model", [picture_model(), picture_model(-2.0, 3.0), sound_model()], ids=["0 1", "-2 3", "sound"]
)
def test_our_pgd_l2_is_torchattacks_pgd_l2_from_the_same_start(model: Model) -> None:
    span = model.domain.high - model.domain.low
    signals, labels = right(model, 8)
    theirs = load("PGDL2", eps=0.5, alpha=0.1, steps=7)(model, signals, labels, torch.Generator().manual_seed(3))
    seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(3)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = torch.empty_like(signals).normal_()
        radius = torch.zeros(8, *[1] * (signals.ndim - 1)).uniform_(0, 1)
    start = signals + 0.5 * radius * drawn / drawn.flatten(1).norm(dim=1).reshape(radius.shape)
    about: Any = {"epsilon": 0.5, "norm": "l2", "step_size": 0.1, "steps": 7}
    ours = attacks.pgd(model, signals, labels, start=start, **about)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6 * span)


@pytest.mark.parametrize("model", [picture_model(), sound_model()], ids=["picture", "sound"])
def test_fgsm_is_torchattacks_fgsm(model: Model) -> None:
    span = model.domain.high - model.domain.low
    signals, labels = right(model, 8)
    theirs = load("FGSM", eps=0.1)(model, signals, labels, torch.Generator())
    torch.testing.assert_close(attacks.fgsm(model, signals, labels, epsilon=0.1), theirs, rtol=0, atol=1e-7 * span)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_our_apgd_is_torchattacks_apgd_from_the_same_start(norm: str, loss: str) -> None:
    model = picture_model()
    signals, labels = right(model, 8)
    epsilon = 0.004 if norm == "Linf" else 0.02
    theirs = torchattacks.APGD(model.module, norm=norm, eps=epsilon, steps=30, loss=loss)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected, right_still, reached, _ = theirs.attack_single_run(signals, labels)
        torch.manual_seed(0)
        drawn = 2 * torch.rand(signals.shape) - 1 if norm == "Linf" else torch.randn(signals.shape)
    assert right_still.sum() >= 5  # not fooled: of these both return the point of highest loss
    size = drawn.flatten(1).abs().amax(dim=1) if norm == "Linf" else drawn.flatten(1).norm(dim=1)
    start = signals + epsilon * drawn / size.reshape(-1, 1, 1, 1)
    name = {"ce": "cross_entropy", "dlr": "dlr"}[loss]
    about: Any = {"epsilon": epsilon, "norm": norm.lower(), "steps": 30, "loss": name}
    ours = attacks.apgd(model, signals, labels, start=start, **about)
    torch.testing.assert_close(ours[right_still], expected[right_still], rtol=0, atol=2e-5)
    with torch.no_grad():
        values = attacks.LOSSES[name](model.module(ours), labels)
    torch.testing.assert_close(values[right_still], reached[right_still], rtol=0, atol=1e-5)


class Failing(nn.Module):
    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("always")


@pytest.mark.parametrize("name", ["PGD", "CW", "AutoAttack", "Pixle"])
def test_an_attack_leaves_the_model_as_it_was(name: str) -> None:
    for raises in (False, True):
        with torch.random.fork_rng(devices=[]):
            parts = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 4)]
            network = nn.Sequential(*parts, *[Failing()] * raises)
        network.train()
        network[1].eval()
        network[0].bias.requires_grad_(False)
        for weight in network.parameters():
            weight.grad = torch.full_like(weight, 3.0)
        before = [part.training for part in network.modules()], [w.requires_grad for w in network.parameters()]
        buffers = [buffer.clone() for buffer in network.buffers()]
        state = torch.get_rng_state()
        model = Model(network, ImageDomain(3, 12, 12), ["output"])
        signals, labels = example_signals(model), torch.tensor([0, 1, 2])
        attack = load(name)
        if raises:
            with pytest.raises(MetameryError, match=f"^torchattacks/{name} failed .*: ZeroDivisionError: always$"):
                attack(model, signals, labels, torch.Generator())
        else:
            attack(model, signals, labels, torch.Generator())
        assert before == ([p.training for p in network.modules()], [w.requires_grad for w in network.parameters()])
        assert all(map(torch.equal, buffers, network.buffers()))
        assert all((weight.grad == 3).all() for weight in network.parameters())
        assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_caller_s_grad_mode_does_not_matter(mode: Any) -> None:
    model = picture_model()
    expected = attacked("PGD", model)[1]
    with mode():
        assert torch.equal(attacked("PGD", model)[1], expected)


def test_autoattack_runs_with_the_authors_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    run = torchattacks.AutoAttack.forward

    def forward(self: Any, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        parts = self._autoattack.attacks
        seen.append(
            [(part.attack, getattr(part, "steps", None), getattr(part, "n_target_classes", None)) for part in parts]
        )
        return run(self, images, labels)

    monkeypatch.setattr(torchattacks.AutoAttack, "forward", forward)
    model = picture_model()
    signals, labels = right(model)
    build = Plugins(installed=()).load
    build("perturbation", "torchattacks/AutoAttack", eps=0.01)(model, signals, labels, torch.Generator())
    assert seen == [[("APGD", 100, None), ("APGDT", 100, 3), ("FAB", 100, 3), ("Square", None, None)]]
    wide = Model(nn.Sequential(nn.Flatten(), nn.Linear(432, 40)).eval(), ImageDomain(3, 12, 12), ["output"])
    signals, labels = right(wide)
    build("perturbation", "torchattacks/AutoAttack", eps=1e-5, steps=2)(wide, signals, labels, torch.Generator())
    assert [targets for _, _, targets in seen[1] if targets] == [9, 9]


def test_seeds_come_from_the_generator() -> None:
    for name, options in {"PGD": {}, "Square": {"eps": 0.3}, "Pixle": {}, "GN": {}}.items():
        one, other, again = (attacked(name, picture_model(), seed, **options)[1] for seed in (0, 1, 0))
        assert torch.equal(one, again)
        assert not torch.equal(one, other), name


@pytest.mark.parametrize("value", [-0.1, 1.2, float("nan")])
def test_signals_out_of_range_are_refused(value: float) -> None:
    model = picture_model()
    signals, labels = right(model)
    signals[0, 0, 0, 0] = value
    with pytest.raises(MetameryError, match="outside the model's range"):
        load("FGSM")(model, signals, labels, torch.Generator())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("PDG", {}, "unknown attack of torchattacks 'PDG'; did you mean 'PGD'?"),
        ("LGV", {}, "unknown attack of torchattacks 'LGV'"),
        ("PGD", {"step": 3}, "unknown option of perturbation 'torchattacks/PGD': 'step'; did you mean 'steps'?"),
        ("PGD", {"seed": 3}, "unknown option of perturbation 'torchattacks/PGD': 'seed'"),
        ("PGD", {"eps": -0.1}, "eps is -0.1, expected a number of at least 0"),
        ("PGD", {"eps": 0.1, "epsilon": 0.1}, "is given 'eps' twice, under two names"),
        ("GN", {"std": -1}, "std is -1"),
        ("CW", {"epsilon": 1.0}, "unknown option of perturbation 'torchattacks/CW': 'epsilon'"),
    ],
)
def test_a_slip_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MetameryError) as raised:
        Plugins(installed=()).load("perturbation", f"torchattacks/{name}", **options)
    assert message in str(raised.value)
    assert isinstance(raised.value, UnknownNameError) == message.startswith("unknown")


def test_an_epsilon_beyond_the_range_is_refused() -> None:
    with pytest.raises(MetameryError, match=r"epsilon is 8, larger than the model's range \[0, 1\]"):
        attacked("PGD", picture_model(), eps=8)
    attacked("PGDL2", picture_model(), eps=8)
    attacked("AutoAttack", picture_model(), eps=8, norm="L2", version="rand")


def test_every_attack_is_listed() -> None:
    (family,) = [entry for entry in Plugins(installed=()).entries("perturbation") if entry.is_family]
    assert family.members() == [f"torchattacks/{name}" for name in NAMES]
    assert {"PGD", "AutoAttack", "CW"} < set(NAMES)
    assert not {"LGV", "MultiAttack"} & set(NAMES)
