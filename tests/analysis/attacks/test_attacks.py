"""Attacks: closed forms on linear classifiers, bounds for any setting, and that the model's state is restored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metamery.analysis.attacks import gradient as attacks
from metamery.analysis.attacks.balls import BALLS, L2Ball, LinfBall, check_epsilon, length, unit
from metamery.analysis.attacks.gradient import apgd, fgsm, pgd
from metamery.framework import ImageDomain, MetameryError, Model, UnknownNameError, WaveformDomain
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

Attack = Callable[..., torch.Tensor]
ATTACKS: dict[str, Attack] = {
    "fgsm": fgsm,
    "fgsm, random start": partial(fgsm, random_start=True),
    "pgd linf": partial(pgd, norm="linf"),
    "pgd l2": partial(pgd, norm="l2"),
    "pgd l2, restarts": partial(pgd, norm="l2", steps=3, restarts=2),
    "apgd linf": partial(apgd, norm="linf", steps=12),
    "apgd l2": partial(apgd, norm="l2", steps=12, loss="dlr"),
}
DOMAINS = [ImageDomain(2, 4, 5), ImageDomain(2, 4, 5, -2.0, 3.0), WaveformDomain(40, 8000)]
WIDE = ImageDomain(2, 4, 5, -100.0, 100.0)
EACH = pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))


def norm_of(attack: Attack) -> str:
    return str(getattr(attack, "keywords", {}).get("norm", "linf"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(domain: Any, classes: int = 2) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(nn.Sequential(nn.Flatten(), nn.Linear(40, classes)).eval(), domain, ["output"])


def signals_of(domain: Any, count: int = 6, seed: int = 1) -> torch.Tensor:
    return domain.low + (domain.high - domain.low) * torch.rand(count, *domain.shape, generator=seeded(seed))


def worse(model: Model, labels: torch.Tensor) -> torch.Tensor:
    """The direction that raises the loss of a linear classifier of two classes, ``(B, …)``."""
    weight = model.module[1].weight.detach()
    return (weight[1 - labels] - weight[labels]).reshape(-1, *model.domain.shape)


@pytest.fixture(scope="module")
def trained() -> tuple[Model, torch.Tensor, torch.Tensor]:
    """A small network with batch norm that has learnt four classes of 1 × 8 × 8 images, and 64 of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        centres = torch.rand(4, 1, 8, 8) * 0.5 + 0.25
        labels = torch.arange(256) % 4
        images = (centres[labels] + 0.15 * torch.randn(256, 1, 8, 8)).clamp(0, 1)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(288, 24),
            nn.ReLU(),
            nn.Linear(24, 4),
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
    optimizer.zero_grad()
    model = Model(network.eval(), ImageDomain(1, 8, 8), ["output"])
    assert (network(images[:64]).argmax(dim=1) == labels[:64]).all()
    return model, images[:64], labels[:64]


def losses(model: Model, signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return attacks.cross_entropy(model.module(signals), labels)


def missed(model: Model, signals: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.module(signals).argmax(dim=1) != labels


class TestClosedForms:
    @pytest.mark.parametrize("domain", DOMAINS, ids=str)
    @pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
    @pytest.mark.parametrize("attack", [fgsm, pgd, partial(pgd, restarts=2), partial(apgd, steps=30)])
    def test_linf_attacks_find_a_linear_classifier_s_worst_case(self, domain: Any, loss: str, attack: Attack) -> None:
        model, signals = linear(domain), signals_of(domain)
        labels = torch.arange(6) % 2
        found = attack(model, signals, labels, seeded(), epsilon=0.07, loss=loss)
        worst = (signals + 0.07 * worse(model, labels).sign()).clamp(domain.low, domain.high)
        torch.testing.assert_close(found, worst, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        "attack",
        [
            partial(pgd, random_start=False),
            partial(pgd, steps=40, step_size=2.0),
            partial(apgd, steps=60),
        ],
    )
    def test_l2_attacks_find_a_linear_classifier_s_worst_case(self, attack: Attack) -> None:
        model, signals = linear(WIDE), signals_of(WIDE) / 100  # far from the ends of the range
        labels = torch.arange(6) % 2
        found = attack(model, signals, labels, seeded(), epsilon=1.5, norm="l2", loss="margin")
        direction = worse(model, labels)
        worst = signals + 1.5 * direction / direction.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        torch.testing.assert_close(found, worst, rtol=0, atol=2e-4)

    @given(st.integers(0, 10_000), st.floats(0.01, 20))
    @settings(max_examples=40, deadline=None)
    def test_the_l2_projection_is_the_nearest_point_of_the_ball(self, seed: int, radius: float) -> None:
        centre, points = torch.randn(2, 5, 3, 7, generator=seeded(seed), dtype=torch.float64)
        found = L2Ball(centre, radius, -100.0, 100.0).project(points)
        for point, middle, projected in zip(points, centre, found, strict=True):
            away = math.sqrt(float(((point - middle) ** 2).sum()))
            expected = point if away <= radius else middle + (point - middle) * radius / away
            torch.testing.assert_close(projected, expected, rtol=0, atol=1e-12)

    def test_a_margin_is_other_minus_own_and_dlr_is_its_share(self) -> None:
        logits = torch.randn(50, 5, generator=seeded(), dtype=torch.float64)
        labels = torch.arange(50) % 5
        for row, label, one, ratio in zip(
            logits.tolist(), labels.tolist(), attacks.margin(logits, labels), attacks.dlr(logits, labels), strict=True
        ):
            other = max(value for index, value in enumerate(row) if index != label)
            first, _, third = sorted(row, reverse=True)[:3]
            assert float(one) == pytest.approx(other - row[label])
            assert float(ratio) == pytest.approx((other - row[label]) / (first - third))
        torch.testing.assert_close(attacks.dlr(1e4 * logits, labels), attacks.dlr(logits, labels))

    def test_the_checkpoints_are_the_paper_s(self) -> None:
        assert sorted(attacks._checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
        shares = [0.0, 0.22]
        while shares[-1] < 1:
            shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
        assert sorted(attacks._checkpoints(1000)) == [math.ceil(round(1000 * share, 6)) for share in shares[1:-1]]
        assert max(attacks._checkpoints(1)) == 1


class TestBounds:
    @EACH
    @given(data=st.data())
    @settings(max_examples=12, deadline=None)
    def test_results_stay_near_and_in_range(self, attack: Attack, data: st.DataObject) -> None:
        domain = data.draw(st.sampled_from(DOMAINS))
        model = linear(domain, classes=4)
        signals = signals_of(domain, 3, seed=data.draw(st.integers(0, 1000)))
        each = data.draw(st.booleans())
        most = (domain.high - domain.low) * (1.0 if norm_of(attack) == "linf" else 2.0)
        radii = torch.tensor(data.draw(st.lists(st.floats(0, most), min_size=3, max_size=3)), dtype=torch.float32)
        radii = radii if each else radii[:1].expand(3)
        found = attack(model, signals, torch.tensor([0, 1, 2]), seeded(), epsilon=radii if each else float(radii[0]))
        assert (found.shape, found.dtype, found.requires_grad) == (signals.shape, signals.dtype, False)
        assert domain.low <= float(found.min()) <= float(found.max()) <= domain.high
        moved = (found.double() - signals.double()).flatten(1)
        norms = moved.norm(dim=1) if norm_of(attack) == "l2" else moved.abs().amax(dim=1)
        assert (norms <= radii.double() + 1e-6).all()

    @pytest.mark.parametrize(
        ("attack", "from_signal"),
        [
            (fgsm, True),
            (partial(fgsm, random_start=True), False),
            *itertools.product((partial(pgd, norm=norm) for norm in BALLS), (False, True)),
            *itertools.product((partial(apgd, norm=norm, steps=12) for norm in BALLS), (False, True)),
        ],
    )
    def test_a_waveform_keeps_its_range_its_signs_and_the_norm(self, attack: Attack, from_signal: bool) -> None:
        class FirstHalf(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                parts = [nn.Conv1d(1, 4, 9, stride=4), nn.ReLU(), nn.AdaptiveAvgPool1d(8), nn.Flatten()]
                self.network = nn.Sequential(*parts, nn.Linear(32, 4))

            def forward(self, signals: torch.Tensor) -> torch.Tensor:
                logits: torch.Tensor = self.network(signals[:, None, :8000])
                return logits

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Model(FirstHalf().eval(), WaveformDomain(16000, 16000), ["output"])
        signals = signals_of(model.domain, 3)
        signals[:, ::7], signals[:, 3::7] = -1.0, 1.0
        epsilon = 0.5 if norm_of(attack) == "l2" else 0.02
        more: dict[str, Any] = {"start": signals} if from_signal and attack is not fgsm else {}
        found = attack(model, signals, torch.arange(3), seeded(), epsilon=epsilon, **more)
        assert -1 <= float(found.min()) <= float(found.max()) <= 1
        moved = found.double() - signals.double()
        norms = moved.norm(dim=1) if norm_of(attack) == "l2" else moved.abs().amax(dim=1)
        assert (norms <= epsilon + 1e-6).all()
        assert (norms > epsilon / 2).all()
        clear = signals.abs() > epsilon
        assert torch.equal(found.sign()[clear], signals.sign()[clear])
        if from_signal:  # a random start touches every sample
            assert torch.equal(found[:, 8000:], signals[:, 8000:])

    @EACH
    @pytest.mark.parametrize("epsilon", [0.0, torch.zeros(6)], ids=["number", "each"])
    @pytest.mark.parametrize("domain", DOMAINS, ids=str)
    def test_epsilon_zero_is_the_identity(self, attack: Attack, epsilon: Any, domain: Any) -> None:
        signals = signals_of(domain)
        found = attack(linear(domain, 4), signals, torch.arange(6) % 4, seeded(), epsilon=epsilon)
        assert torch.equal(found, signals)
        assert found.data_ptr() != signals.data_ptr()

    @pytest.mark.parametrize("attack", [a for n, a in ATTACKS.items() if "random" not in n and "restarts" not in n])
    def test_a_signal_s_result_does_not_depend_on_its_batch(self, attack: Attack, trained: Any) -> None:
        model, signals, labels = trained
        begin = signals[:6] + 0.01
        given_start: Any = {"start": begin.clamp(0, 1)} if attack is not fgsm else {}
        together = attack(model, signals[:6], labels[:6], epsilon=0.1, **given_start)
        for one in range(6):
            if given_start:
                given_start = {"start": begin[one : one + 1].clamp(0, 1)}
            alone = attack(model, signals[one : one + 1], labels[one : one + 1], epsilon=0.1, **given_start)
            torch.testing.assert_close(alone[0], together[one], rtol=0, atol=2e-5)

    def test_an_epsilon_for_each_signal_is_that_signal_s(self, trained: Any) -> None:
        model, signals, labels = trained
        both = pgd(model, signals[:2], labels[:2], epsilon=torch.tensor([0.02, 0.1]), random_start=False)
        for index, epsilon in enumerate([0.02, 0.1]):
            alone = pgd(model, signals[:2], labels[:2], epsilon=epsilon, random_start=False)
            torch.testing.assert_close(both[index], alone[index], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("norm", BALLS)
    def test_starts_are_where_they_are_said_to_be(self, norm: str) -> None:
        around = BALLS[norm](torch.zeros(4000, 3), 2.0, -9.0, 9.0)
        size = (lambda x: length(x).flatten()) if norm == "l2" else (lambda x: x.abs().amax(dim=1))
        volume = (size(around.inside(seeded())) / 2) ** 3  # of a ball up to there: uniform if the points are
        assert torch.quantile(volume, torch.tensor([0.25, 0.5, 0.75])).tolist() == pytest.approx(
            [0.25, 0.5, 0.75], abs=0.03
        )
        torch.testing.assert_close(size(around.surface(seeded())), torch.full((4000,), 2.0))

    def test_the_dtype_stays(self) -> None:
        model = linear(DOMAINS[0])
        model.module.double()
        assert (
            pgd(model, signals_of(DOMAINS[0]).double(), torch.zeros(6).long(), seeded(), epsilon=0.1).dtype
            == torch.double
        )


class TestStrength:
    @pytest.mark.parametrize("norm", ["linf", "l2"])
    @pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
    def test_apgd_is_at_least_as_strong_as_pgd(self, trained: Any, norm: str, loss: str) -> None:
        model, signals, labels = trained
        epsilon = 0.06 if norm == "linf" else 0.45
        about: Any = {"epsilon": epsilon, "norm": norm, "steps": 20, "loss": loss}
        plain = pgd(model, signals, labels, seeded(), **about)
        auto = apgd(model, signals, labels, seeded(), **about)
        clean, wrong, wrong_auto = (int(missed(model, x, labels).sum()) for x in (signals, plain, auto))
        assert clean == 0 < wrong <= wrong_auto
        assert wrong < len(labels)
        with torch.no_grad():
            reached, reached_auto = (attacks.LOSSES[loss](model.module(x), labels).mean() for x in (plain, auto))
        assert reached_auto >= reached - 1e-3

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_apgd_returns_the_best_point_it_has_seen(self, trained: Any, norm: str) -> None:
        model, signals, labels = trained
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []

        def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            values = attacks.cross_entropy(logits, labels)
            seen.append((values.detach(), logits.detach().argmax(dim=1) != labels))
            return values

        found = apgd(model, signals, labels, seeded(), epsilon=0.06, norm=norm, steps=15, restarts=2, loss=loss)
        assert len(seen) == 2 * 16
        values, wrong = (torch.stack(each) for each in zip(*seen, strict=True))
        assert torch.equal(missed(model, found, labels), wrong.any(dim=0))
        counted = values.where(wrong | ~wrong.any(dim=0), -torch.inf)
        torch.testing.assert_close(losses(model, found, labels), counted.amax(dim=0), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_restarts_keep_each_signal_s_best(self, trained: Any, norm: str) -> None:
        model, signals, labels = trained
        about: Any = {"epsilon": 0.06 if norm == "linf" else 0.45, "norm": norm, "steps": 3}
        generator = seeded()
        single = [pgd(model, signals, labels, generator, **about) for _ in range(4)]
        best = pgd(model, signals, labels, seeded(), restarts=4, **about)
        wrong = torch.stack([missed(model, x, labels) for x in single])
        assert torch.equal(missed(model, best, labels), wrong.any(dim=0))
        reached = torch.stack([losses(model, x, labels) for x in single])
        assert len(reached.argmax(dim=0).unique()) == 4  # no restart is the best for all
        reached = reached.where(wrong | ~wrong.any(dim=0), -torch.inf).amax(dim=0)
        torch.testing.assert_close(losses(model, best, labels), reached)

    def test_a_missed_label_is_better_than_a_high_loss(self, trained: Any) -> None:
        model, signals, labels = trained
        about: Any = {"epsilon": 0.2, "steps": 1, "loss": lambda logits, labels: logits[:, 0]}
        generator = seeded()
        ends = [pgd(model, signals, labels, generator, **about) for _ in range(6)]
        wrong = torch.stack([missed(model, x, labels) for x in ends])
        with torch.no_grad():
            highest = torch.stack([model.module(x)[:, 0] for x in ends]).argmax(dim=0)
        assert (wrong.any(dim=0) & ~wrong[highest, torch.arange(64)]).any()
        best = pgd(model, signals, labels, seeded(), restarts=6, **about)
        assert torch.equal(missed(model, best, labels), wrong.any(dim=0))

    def test_a_loss_of_one_s_own_can_aim_at_a_class(self, trained: Any) -> None:
        model, signals, labels = trained
        aim = (labels + 1) % 4
        found = pgd(
            model, signals, labels, seeded(), epsilon=0.3, loss=lambda logits, _: -attacks.cross_entropy(logits, aim)
        )
        with torch.no_grad():
            assert (model.module(found).argmax(dim=1) == aim).float().mean() > 0.9

    @EACH
    def test_a_gradient_of_zero_gives_numbers(self, attack: Attack) -> None:
        class Blind(nn.Module):
            def forward(self, signals: torch.Tensor) -> torch.Tensor:
                return (signals * 0).flatten(1)[:, :4]

        model = Model(Blind(), DOMAINS[0], ["output"])
        found = attack(model, signals_of(DOMAINS[0]), torch.arange(6) % 4, seeded(), epsilon=0.1)
        assert found.isfinite().all()

    def test_directions_do_not_depend_on_the_gradient_s_size(self) -> None:
        given_signals = torch.randn(4, 3, 5, 5, generator=seeded())
        expected = given_signals / given_signals.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        for scale in (1e-30, 1e-20, 1.0, 1e25):
            torch.testing.assert_close(unit(scale * given_signals), expected)
        assert not unit(torch.zeros(2, 3)).any()


class Failing(nn.Module):
    """Raises at its third call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count(1)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if next(self.calls) == 3:
            raise ZeroDivisionError("the third call")
        return signals


def mixed_modes(network: nn.Sequential) -> list[Any]:
    """Train mode, one batch norm and one weight frozen, gradients in place; everything that must stay."""
    network.train()
    network[1].eval()
    network[0].bias.requires_grad_(False)
    for weight in network.parameters():
        weight.grad = torch.full_like(weight, 3.0)
    return state_of(network)


def state_of(network: nn.Module) -> list[Any]:
    flags = [part.training for part in network.modules()]
    learning = [(weight.requires_grad, weight.grad) for weight in network.parameters()]
    return [
        flags,
        [(needs, gradient.tolist()) for needs, gradient in learning if gradient is not None],
        [value.tolist() for value in network.state_dict().values()],
    ]


class TestNothingIsLeftBehind:
    def network(self, *more: nn.Module) -> Model:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            parts = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.BatchNorm2d(3), nn.Flatten()]
            return Model(nn.Sequential(*parts, *more, nn.Linear(18, 4)), DOMAINS[0], ["output"])

    @EACH
    def test_modes_weights_buffers_and_gradients_are_as_before(self, attack: Attack) -> None:
        model = self.network()
        before, state = mixed_modes(model.module), torch.get_rng_state()
        signals, labels = signals_of(DOMAINS[0]), torch.arange(6) % 4
        given_signals = signals.clone()
        attack(model, signals, labels, seeded(), epsilon=0.1)
        assert state_of(model.module) == before
        assert torch.equal(signals, given_signals)
        assert torch.equal(torch.get_rng_state(), state)

    @EACH
    def test_also_where_the_network_raises(self, attack: Attack) -> None:
        model = self.network(failing := Failing())
        if getattr(attack, "func", attack) is fgsm:
            next(failing.calls), next(failing.calls)
        before = mixed_modes(model.module)
        with pytest.raises(ZeroDivisionError):
            attack(model, signals_of(DOMAINS[0]), torch.arange(6) % 4, seeded(), epsilon=0.1)
        assert state_of(model.module) == before

    @EACH
    def test_the_network_is_seen_in_eval_mode(self, attack: Attack) -> None:
        model = self.network()
        model.module.train()
        seen = []
        model.module.register_forward_pre_hook(lambda module, _: seen.append([p.training for p in module.modules()]))
        attack(model, signals_of(DOMAINS[0]), torch.arange(6) % 4, seeded(), epsilon=0.1)
        assert seen
        assert not any(itertools.chain(*seen))

    @EACH
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_the_caller_s_grad_mode_does_not_matter(self, attack: Attack, mode: Any) -> None:
        model, labels = self.network(), torch.arange(6) % 4
        expected = attack(model, signals_of(DOMAINS[0]), labels, seeded(), epsilon=0.1)
        with mode():
            found = attack(model, signals_of(DOMAINS[0]), labels.clone(), seeded(), epsilon=0.1)
            assert not torch.is_grad_enabled()
        assert torch.equal(found, expected)

    @EACH
    def test_autocast_lowers_the_network_s_precision_only(self, attack: Attack) -> None:
        model, signals = self.network(), signals_of(DOMAINS[0])
        with torch.autocast("cpu", torch.bfloat16):
            found = attack(model, signals, torch.arange(6) % 4, seeded(), epsilon=0.1)
        assert found.dtype == torch.float32
        moved = (found - signals).flatten(1)
        norms = moved.norm(dim=1) if norm_of(attack) == "l2" else moved.abs().amax(dim=1)
        assert (norms <= 0.1 + 1e-6).all()
        assert (norms > 0.05).all()

    @pytest.mark.parametrize("attack", [pgd, partial(pgd, norm="l2", restarts=2), apgd, partial(apgd, norm="l2")])
    def test_nothing_in_the_loop_waits_for_the_device(self, attack: Attack) -> None:
        class Waits(TorchDispatchMode):
            count = 0

            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                waiting = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")
                self.count += func.overloadpacket.__name__ in waiting
                return func(*args, **kwargs or {})

        model, counts = linear(DOMAINS[0], 4), []
        for steps in (2, 11):
            with Waits() as waits:
                attack(model, signals_of(DOMAINS[0]), torch.arange(6) % 4, seeded(), epsilon=0.1, steps=steps)
            counts.append(waits.count)
        assert counts[0] == counts[1] <= 4
        with Waits() as waits:
            float(torch.ones(()))
        assert waits.count == 1


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epsilon": -0.1}, "epsilon is -0.1, expected a number of at least 0"),
            ({"epsilon": math.nan}, "epsilon is nan"),
            ({"epsilon": True}, "epsilon is True"),
            ({"epsilon": torch.tensor([0.1, -0.1])}, "epsilon is -0.1"),
            ({"epsilon": torch.zeros(3)}, r"epsilon has shape \(3,\), expected \(2,\)"),
            ({"epsilon": 8}, r"epsilon is 8, larger than the model's range \[0, 1\]: expected at most 1 \(linf\)"),
            ({"epsilon": 7, "norm": "l2"}, r"epsilon is 7, larger than .* at most 6.32456 \(l2\)"),
            ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
            ({"steps": 2.5}, "steps is 2.5"),
            ({"step_size": -1.0}, "step_size is -1.0"),
            ({"restarts": 0}, "restarts is 0"),
            ({"restarts": 2, "random_start": False}, "without a random start all are the same"),
            ({"random_start": "no"}, "random_start is 'no', expected true or false"),
            ({"norm": "l3"}, "unknown norm 'l3'; did you mean 'l2'?"),
            ({"loss": "cross_entropi"}, "did you mean 'cross_entropy'?"),
            ({"loss": "dlr"}, "needs 3 classes or more, the model has 2"),
            ({"loss": lambda logits, labels: logits.sum()}, r"has shape \(\), expected \(2,\), one for each signal"),
            ({"generator": None}, "needs a generator"),
        ],
    )
    def test_a_setting_out_of_bounds_is_named(self, options: dict[str, Any], message: str) -> None:
        options = {"epsilon": 0.1, "generator": seeded()} | options
        model = linear(DOMAINS[0])
        with pytest.raises(MetameryError, match=message):
            pgd(model, signals_of(DOMAINS[0], 2), torch.tensor([0, 1]), **options)

    @EACH
    @pytest.mark.parametrize("value", [1.01, -0.01, math.nan])
    def test_signals_out_of_range_are_refused(self, attack: Attack, value: float) -> None:
        signals = signals_of(DOMAINS[0])
        signals[3, 0, 0, 0] = value
        with pytest.raises(MetameryError, match=r"the signals are in .*, outside the model's range \[0, 1\]"):
            attack(linear(DOMAINS[0], 4), signals, torch.arange(6) % 4, seeded(), epsilon=0.1)

    @EACH
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (torch.zeros(5).long(), r"labels have shape \(5,\), expected one for each of 6 signals"),
            (torch.zeros(1).long(), r"labels have shape \(1,\), expected one for each of 6 signals"),
            (torch.tensor(0), r"labels have shape \(\), expected one for each of 6 signals"),
            (torch.zeros(6, 1).long(), r"labels have shape \(6, 1\), expected \(6,\), a class index for each signal"),
            (torch.eye(6)[:, :4], r"labels have shape \(6, 4\), expected \(6,\)"),
            (torch.zeros(6), r"labels are torch.float32, expected whole numbers: class indices"),
            (torch.zeros(6, dtype=torch.bool), r"labels are torch.bool, expected whole numbers"),
            (torch.full((6,), -1), "label -1, expected class indices from 0"),
            (torch.arange(6), "label 5, expected at most 3: the model's last class"),
            (torch.full((6,), 2**40), "label 1099511627776, expected at most 3"),
            ([0] * 6, r"labels are a list, expected a tensor \(6,\)"),
        ],
    )
    def test_labels_of_the_wrong_form_are_refused(self, attack: Attack, labels: Any, message: str) -> None:
        for loss in ("cross_entropy", "margin", "dlr"):
            with pytest.raises(MetameryError, match=message):
                attack(linear(DOMAINS[0], 4), signals_of(DOMAINS[0]), labels, seeded(), epsilon=0.1, loss=loss)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
    def test_whole_numbers_of_any_type_are_labels(self, dtype: torch.dtype) -> None:
        found = [
            fgsm(linear(DOMAINS[0], 4), signals_of(DOMAINS[0]), torch.arange(6).to(kind) % 4, epsilon=0.1)
            for kind in (torch.long, dtype)
        ]
        assert torch.equal(*found)

    def test_labels_of_a_loss_of_ones_own_are_one_for_each_signal(self) -> None:
        def distance(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
            return -(logits - wanted).square().sum(dim=1)

        given = linear(DOMAINS[0], 4), signals_of(DOMAINS[0])
        assert fgsm(*given, torch.eye(6)[:, :4], epsilon=0.1, loss=distance).shape == given[1].shape
        with pytest.raises(MetameryError, match=r"labels have shape \(1, 4\), expected one for each of 6 signals"):
            fgsm(*given, torch.eye(4)[:1], epsilon=0.1, loss=distance)

    def test_whole_numbers_are_no_signals(self) -> None:
        with pytest.raises(MetameryError, match=r"the signals are torch\.uint8, expected floating point"):
            fgsm(linear(DOMAINS[0]), torch.zeros(1, 2, 4, 5, dtype=torch.uint8), torch.zeros(1).long(), epsilon=0.1)

    def test_a_whole_range_is_allowed(self) -> None:
        check_epsilon(1.0, "linf", signals_of(DOMAINS[0]), DOMAINS[0])
        check_epsilon(math.sqrt(40), "l2", signals_of(DOMAINS[0]), DOMAINS[0])
        with pytest.raises(UnknownNameError):
            check_epsilon(1.0, "l1", signals_of(DOMAINS[0]), DOMAINS[0])

    def test_a_ball_cut_by_the_range_is_projected_onto_at_once(self) -> None:
        around = LinfBall(torch.tensor([[0.1, 0.9]]), 0.2, 0.0, 1.0)
        assert around.project(torch.tensor([[-3.0, 3.0]])).tolist() == [[0.0, 1.0]]
