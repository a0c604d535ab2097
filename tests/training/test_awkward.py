"""Networks and optimizers whose state is not a plain mapping of tensors: kept and resumed, or refused at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from metamery.framework import ImageDomain, MetameryError, Model, Recipe, Stimulus
from metamery.framework.progress import Progress
from metamery.training.data import Examples, examples
from metamery.training.loop import train
from metamery.training.state import BEST, LAST
from metamery.training.tools import TrainingTools
from torch import nn

CLASSES = ["bright", "dark"]
DOMAIN = ImageDomain(1, 4, 4)


class Linear(nn.Module):
    """The plainest network; each of the others has one thing more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(signals.flatten(1))
        return logits


class Counting(Linear):
    """What it counts is kept by ``get_extra_state``, and goes into what it answers."""

    def __init__(self, wrap: Callable[[int], Any], unwrap: Callable[[Any], int]) -> None:
        super().__init__()
        self.calls, self.wrap, self.unwrap = 0, wrap, unwrap

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
        return super().forward(signals) * (1 + 0.1 * self.calls)

    def get_extra_state(self) -> Any:
        return self.wrap(self.calls)

    def set_extra_state(self, state: Any) -> None:
        self.calls = self.unwrap(state)


class Forgetful(Counting):
    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError("not implemented")


class Opaque:
    pass


class Buffered(Linear):
    """A buffer that changes and is left out of the state."""

    def __init__(self, **more: Any) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, **more), persistent=False)

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += 1
        return super().forward(signals) + 0.1 * self.seen.float()


class Restless(Linear):
    """A buffer that changes in eval mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return super().forward(signals) * (1 + 0.01 * self.seen)


class Drawing(Linear):
    """Its answers are random in eval mode, too."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(signals))


class Picky(Linear):
    """It takes batches of one size alone."""

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return super().forward(signals.reshape(8, 1, 4, 4))


class Holding(Linear):
    """A buffer of any kind that stays."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("held", value)


class Tied(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return super().forward(self.second(self.first(signals.flatten(1)).relu()))


class Strided(Linear):
    """A weight whose values do not lie one after the other, and a view of another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer.weight = nn.Parameter(self.layer.weight.detach().t().contiguous().t())
        self.register_buffer("view", torch.arange(10.0)[::3])


def parametrized(make: Callable[[nn.Linear], Any]) -> nn.Module:
    network = Linear()
    make(network.layer)
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "extra number": lambda: Counting(int, int),
    "extra mapping": lambda: Counting(lambda n: {"calls": n, "why": None}, lambda state: state["calls"]),
    "extra tuple": lambda: Counting(lambda n: (n, [n, "a"], {1: 2.5}), lambda state: state[0] * state[2][1] / 2.5),
    "extra tensor": lambda: Counting(torch.tensor, int),
    "extra nested tensors": lambda: Counting(lambda n: [{"n": torch.tensor(n)}], lambda state: int(state[0]["n"])),
    "unsaved buffer": Buffered,
    "unsaved whole number": lambda: Buffered(dtype=torch.int64),
    "buffer that changes in eval mode": Restless,
    "tied weights": Tied,
    "strided": Strided,
    "float64 buffer": lambda: Holding(torch.ones(3, dtype=torch.float64)),
    "bfloat16 buffer": lambda: Holding(torch.ones(3, dtype=torch.bfloat16)),
    "complex buffer": lambda: Holding(torch.full((2,), 1 + 2j).conj()),
    "empty buffer": lambda: Holding(torch.empty(0, 3)),
    "infinite mask": lambda: Holding(torch.tensor([0.0, -torch.inf])),
    "no buffer": lambda: Holding(None),  # type: ignore[arg-type]
    "weight norm": lambda: parametrized(torch.nn.utils.parametrizations.weight_norm),
    "spectral norm": lambda: parametrized(torch.nn.utils.parametrizations.spectral_norm),
    "orthogonal": lambda: parametrized(torch.nn.utils.parametrizations.orthogonal),
    "old spectral norm": lambda: parametrized(torch.nn.utils.spectral_norm),
    "half frozen": lambda: parametrized(lambda layer: layer.bias.requires_grad_(False)),
}

REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "extra object": (lambda: Counting(lambda _n: Opaque(), lambda _s: 0), "'_extra_state' cannot be kept .*Opaque"),
    "extra object within": (lambda: Counting(lambda n: {"a": [Opaque()]}, lambda _s: 0), "'_extra_state' .*Opaque"),
    "extra bytes": (lambda: Counting(lambda _n: b"1", lambda _s: 0), r"it holds a builtins\.bytes"),
    "extra set": (lambda: Counting(lambda n: {n}, lambda _s: 0), r"it holds a builtins\.set"),
    "extra that is not read": (lambda: Forgetful(int, int), "state cannot be loaded again: not implemented"),
    "sparse": (lambda: Holding(torch.eye(3).to_sparse()), r"'held' .* its layout is torch\.sparse_coo"),
    "sparse rows": (lambda: Holding(torch.eye(3).to_sparse_csr()), r"'held' .* its layout is torch\.sparse_csr"),
    "complex128": (lambda: Holding(torch.ones(2, dtype=torch.complex128)), r"'held' .* its type is torch\.complex128"),
    "meta": (lambda: Holding(torch.empty(2, device="meta")), "'held' .* meta device"),
    "all frozen": (lambda: Linear().requires_grad_(False), "nothing to train"),
}


def model_of(make: Callable[[], nn.Module]) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(make(), DOMAIN, ["output"], CLASSES)


def pictures() -> Examples:
    values = 0.5 * torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    values[::2] += 0.4
    stimuli = [Stimulus(value, CLASSES[index % 2], name=str(index)) for index, value in enumerate(values)]
    return examples(stimuli, CLASSES, DOMAIN)


class Stopping(Progress):
    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt


def run(folder: Path, model: Model, optimizer: Any = None, after: int | None = None, **recipe: Any) -> Model:
    given = Recipe(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.1, "schedule": "constant", **recipe})
    tools = TrainingTools(
        lambda model, signals, labels: nn.functional.cross_entropy(model.module(signals), labels),
        optimizer or (lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9)),
    )
    progress = Progress() if after is None else Stopping(after)
    train(
        model, pictures(), None, given, tools, folder, fabric=Fabric(accelerator="cpu", devices=1), progress=progress,
        checkpoint_every=2,
    )  # fmt: skip
    return model


def same(one: Path, other: Path) -> None:
    """Both end with the same files but for the time that it took, which stands in `last`'s history."""
    from metamery.training.checkpoints import load

    assert (one / BEST).read_bytes() == (other / BEST).read_bytes()
    (whole, said), (again, told) = load(one / LAST), load(other / LAST)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    for state in (said, told):
        for row in state["history"]:
            del row["seconds"]
    assert said == told


def goes_on(tmp_path: Path, make: Callable[[], nn.Module], optimizer: Any = None, **recipe: Any) -> None:
    whole = run(tmp_path / "whole", model_of(make), optimizer, **recipe)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", model_of(make), optimizer, after=6, **recipe)
    resumed = run(tmp_path / "part", model_of(make), optimizer, **recipe)
    same(tmp_path / "whole", tmp_path / "part")
    assert torch.equal(whole.module(pictures().kept), resumed.module(pictures().kept))


@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.*:FutureWarning", "ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_an_awkward_network_goes_on_as_if_never_stopped(tmp_path: Path, name: str) -> None:
    goes_on(tmp_path, NETWORKS[name])


@pytest.mark.parametrize("make", [Drawing, Picky])
def test_a_network_that_cannot_be_held_against_itself_goes_on(tmp_path: Path, make: Callable[[], nn.Module]) -> None:
    run(tmp_path / "whole", model_of(make))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", model_of(make), after=6)
    run(tmp_path / "part", model_of(make))
    same(tmp_path / "whole", tmp_path / "part")


@pytest.mark.parametrize("name", ["extra nested tensors", "unsaved buffer", "tied weights", "spectral norm"])
def test_so_does_the_average_of_its_weights(tmp_path: Path, name: str) -> None:
    goes_on(tmp_path, NETWORKS[name], ema=0.5)


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_before_training(tmp_path: Path, name: str) -> None:
    make, said = REFUSED[name]
    updates: list[int] = []

    class Seen(Progress):
        def advance(self, steps: int = 1) -> None:
            updates.append(steps)

    model = model_of(make)
    with pytest.raises(MetameryError, match=said):
        run(tmp_path / "run", model)
    assert not (tmp_path / "run").exists()


def nested(weights: Any) -> torch.optim.Optimizer:
    """An optimizer whose state has a list of tensors and a tuple."""

    class Nested(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for weight in group["params"]:
                    state = self.state[weight]
                    state.setdefault("past", []).append(weight.grad.clone())
                    state["pair"] = (len(state["past"]), None)
                    weight.grad += 0.1 * state["past"][0]
            return super().step(closure)

    return Nested(weights, lr=0.1)


def holding_objects(weights: Any) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(weights, lr=0.1)
    optimizer.param_groups[0]["odd"] = Opaque()
    return optimizer


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1),
    "adafactor": torch.optim.Adafactor,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "amsgrad": lambda weights: torch.optim.AdamW(weights, amsgrad=True),
    "rprop": torch.optim.Rprop,
    "asgd": torch.optim.ASGD,
    "nested": nested,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_of_any_state_goes_on(tmp_path: Path, name: str) -> None:
    goes_on(tmp_path, Linear, OPTIMIZERS[name])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (torch.optim.LBFGS, "computes the loss several times in an update"),
        (lambda weights: torch.optim.SGD(weights, lr=-1), "optimizer 'sgd': Invalid learning rate: -1"),
        (lambda weights: torch.optim.Muon(weights, lr=0.1), "optimizer 'sgd': Muon only supports 2D parameters"),
        (holding_objects, "'groups' cannot be kept in a checkpoint: it holds a .*Opaque"),
    ],
)
def test_an_optimizer_that_cannot_be_used_is_named(tmp_path: Path, make: Any, said: str) -> None:
    with pytest.raises(MetameryError, match=said):
        run(tmp_path / "run", model_of(Linear), make)
    assert not list(tmp_path.rglob("*.safetensors"))
