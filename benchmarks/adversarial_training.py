"""How many images per second does adversarial training take, beside a loop written by hand and beside other packages?

PGD with 7 steps of 2/255 within Linf 8/255 from a random start, SGD with momentum, float32, random pictures of
CIFAR's size in memory, on the CPU. Each of these trains a fresh copy of the same network for one epoch of 4 updates:

metamery      `train` itself, called once and timed whole, as the command calls it on CPUs, with the weights' channels
              last and freed memory kept: data order, the randomness of each update, loss and accuracy, and at the end
              both of its checkpoints, which a real epoch spreads over more updates;
by hand       what an expert would write: a random order, the attack in eval mode with gradients of the pictures alone,
              the update in train mode; nothing is measured or kept;
torchattacks  the loop by hand with `torchattacks.PGD` as its attack;
robustness    its own loop over an epoch (`robustness.train._model_loop`) with its `AttackerModel`, once as it comes,
              where it keeps each picture's worst point and so makes an eighth forward pass in the attack
              (`use_best`), and once without, which is the work that the others do. It starts at the picture by
              default; here it starts at random, too. It is given ready batches, not a loader of its own, it
              normalises instead of the network, and its progress bar is written to memory;
bare          the cost model: 7 gradients of the loss by the pictures, in eval mode with frozen weights, and one step of
              training, each timed alone on one batch, without an attack, with the channels last and memory kept.

The layout with the channels last and the kept memory (`fast_on_cpu`) are worth more than all else here, and anyone can
have them by a few lines. So there are also the loop by hand and robustness with both: beside them it shows what
metamery's loop itself costs or saves.

robustness 1.2.1 needs CUDA: while it runs here, `torch.Tensor.cuda` returns the tensor as it is. This script installs
it into a folder of its own, with the few packages that its training imports; torch and all that the environment has
are the environment's. `torchattacks` has to be installed already (`pip install metamery[torchattacks]`).

First, untimed, all attacks are seeded alike, which gives them the same random start up to rounding: they have to find
the same pictures, or the script stops. Rounding may turn the sign of a gradient near 0, so one sample in a thousand
may differ. Then they take turns, each round beginning with another one; the first round warms up. Printed are medians
over rounds of images per second, and of the rounds' ratios, with their quartiles. Where other programs run meanwhile,
the ratios by processor time are steadier; they mean something with one thread alone.

    python benchmarks/adversarial_training.py --threads 1    about seven minutes
    python benchmarks/adversarial_training.py --threads 1 --network cifar-resnet20
"""

from __future__ import annotations

import contextlib
import copy
import io
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from lightning_fabric import Fabric
from metamery.framework import Model, Plugins
from metamery.framework.recipes import Recipe
from metamery.framework.running import fast_on_cpu, frozen
from metamery.training.data import Examples
from metamery.training.loop import train
from metamery.training.tools import TrainingTools, load_tools
from table import Benchmark, Column, Table, skip
from torch import nn
from torch.nn.functional import cross_entropy

PEER = ("robustness==1.2.1.post2", "cox==0.2", "dill==0.4.1", "tensorboardX==2.6.5", "protobuf==7.36.2")
ENVIRONMENT = Path.home() / ".cache" / "metamery" / "robustness"
MISSING = f"needs {PEER[0]}, which pip does not install here"
EPSILON, STEP_SIZE, STEPS = 8 / 255, 2 / 255, 7
RATE, MOMENTUM = 0.01, 0.9
UPDATES = 4  # of each contestant in each round
COLUMNS = (
    Column("updates with images", "1/s", "higher"),
    Column("metamery / it", "×", "higher", peer="loops by hand, torchattacks and robustness"),
    Column("lower quartile", "×", ""),
    Column("upper quartile", "×", ""),
    Column("by processor time", "×", ""),
)
BARE = (Column("a gradient of the pictures", "ms"), Column("a step of training", "ms"))
AGREEMENT = (Column("largest difference"), Column("samples that differ by more than 10⁻⁶", "share"))

Attack = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def recipe(batch_size: int) -> Recipe:
    return Recipe(
        perturbation="pgd_linf",
        perturbation_options={"epsilon": EPSILON, "steps": STEPS, "step_size": STEP_SIZE},
        epochs=1,
        batch_size=batch_size,
        learning_rate=RATE,
        schedule="constant",
        optimizer_options={"momentum": MOMENTUM},
    )


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)


def epoch_of_metamery(
    made: TrainingTools, fabric: Fabric, model: Model, pictures: torch.Tensor, labels: torch.Tensor, batch_size: int
) -> None:
    examples = Examples((), labels.tolist(), model.domain, kept=pictures)
    with fast_on_cpu(model.module, model.domain), tempfile.TemporaryDirectory() as folder:
        train(model, examples, None, recipe(batch_size), made, Path(folder), fabric=fabric)


def epoch_by_hand(
    attacked: Callable[[nn.Module], Attack], model: Model, pictures: torch.Tensor, labels: torch.Tensor, batch_size: int
) -> None:
    network = model.module.train()
    optimizer, attack = sgd(network), attacked(network)
    for places in torch.randperm(len(pictures)).split(batch_size):
        x, y = pictures[places], labels[places]
        loss = cross_entropy(network(attack(x, y)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def as_fast(epoch: Callable[..., None]) -> Callable[..., None]:
    def run(model: Model, *task: Any) -> None:
        with fast_on_cpu(model.module, model.domain):
            epoch(model, *task)

    return run


def pgd_by_hand(network: nn.Module) -> Attack:
    def attack(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        network.eval()
        low, high = (x - EPSILON).clamp(0, 1), (x + EPSILON).clamp(0, 1)
        seen = (x + torch.empty_like(x).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
        for _ in range(STEPS):
            seen.requires_grad_()
            (gradient,) = torch.autograd.grad(cross_entropy(network(seen), y), seen)
            seen = torch.clamp(seen.detach() + STEP_SIZE * gradient.sign(), low, high)
        network.train()
        return seen

    return attack


def pgd_of_torchattacks(network: nn.Module) -> Attack:
    import torchattacks

    return torchattacks.PGD(network, eps=EPSILON, alpha=STEP_SIZE, steps=STEPS)


class Flagless(nn.Module):
    """A network whose calls may have the flags that robustness gives its own ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, signals: torch.Tensor, **_flags: bool) -> torch.Tensor:
        return self.network(signals)


def attacker_model(network: Any) -> Any:
    """robustness's own model, which normalises instead of the network."""
    from robustness.attacker import AttackerModel

    mean, std = network.normalise.mean.flatten(), network.normalise.std.flatten()
    network.normalise = nn.Identity()
    return AttackerModel(Flagless(network), SimpleNamespace(mean=mean, std=std))


def epoch_of_robustness(
    use_best: bool, model: Model, pictures: torch.Tensor, labels: torch.Tensor, batch_size: int
) -> None:
    from robustness.train import _model_loop

    options = {"constraint": "inf", "eps": EPSILON, "attack_lr": STEP_SIZE, "attack_steps": STEPS, "random_start": 1}
    options |= {"use_best": use_best, "random_restarts": 0, "custom_eps_multiplier": None, "mixed_precision": False}
    network = attacker_model(model.module)
    batches = [(pictures[places], labels[places]) for places in torch.randperm(len(pictures)).split(batch_size)]
    with on_cpu(), contextlib.redirect_stderr(io.StringIO()):
        _model_loop(SimpleNamespace(**options), "train", batches, network, sgd(network), 0, True, None)


def pgd_of_robustness(network: nn.Module) -> Attack:
    made = attacker_model(network).eval()
    options = {"constraint": "inf", "eps": EPSILON, "step_size": STEP_SIZE, "iterations": STEPS, "random_start": True}

    def attack(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with on_cpu():
            return made.attacker(x, y, use_best=False, **options)

    return attack


def on_cpu() -> contextlib.AbstractContextManager[Any]:
    return patch.object(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor)


def bare(
    parts: list[tuple[float, float]], model: Model, pictures: torch.Tensor, labels: torch.Tensor, batch_size: int
) -> None:
    """Note the seconds of one gradient of the pictures and of one step of training."""
    network = model.module
    x, y = pictures[:batch_size], labels[:batch_size]
    with frozen(network):
        leaf = x.clone().requires_grad_()
        began = time.perf_counter()
        for _ in range(STEPS * UPDATES):
            torch.autograd.grad(cross_entropy(network(leaf), y), leaf)
        gradient = (time.perf_counter() - began) / STEPS / UPDATES
    network.train()
    optimizer = sgd(network)
    began = time.perf_counter()
    for _ in range(UPDATES):
        optimizer.zero_grad()
        cross_entropy(network(x), y).backward()
        optimizer.step()
    parts.append((gradient, (time.perf_counter() - began) / UPDATES))


def fresh(model: Model) -> Model:
    return replace(model, module=copy.deepcopy(model.module))


def check_same_work(table: Table, made: TrainingTools, model: Model, x: torch.Tensor, y: torch.Tensor) -> None:
    """Stop unless all attacks find the same pictures."""

    def pgd_of_metamery(network: nn.Module) -> Attack:
        learner, perturb = replace(model, module=network), made.perturbation(1.0)
        return lambda x, y: perturb(learner, x, y, torch.Generator().manual_seed(0))

    found = {}
    for attacked in (pgd_by_hand, pgd_of_metamery, pgd_of_torchattacks, pgd_of_robustness):
        attack = attacked(fresh(model).module)
        torch.manual_seed(0)
        found[attacked.__name__] = attack(x, y).detach()
    reference = found.pop("pgd_by_hand")
    for name, pictures in found.items():
        distance = (pictures - reference).abs()
        share = (distance > 1e-6).double().mean().item()
        table.row(name, distance.max().item(), share)
        if share > 1e-3:
            raise SystemExit("these do not do the same work")


def add_peer(folder: Path) -> bool:
    """Make robustness importable, behind everything that the environment has; False where pip does not install it."""
    if not (folder / "robustness").exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *PEER]
        if subprocess.run(install, check=False).returncode:
            return False
    sys.path.append(str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like apex to be there
        import robustness.train  # noqa: F401
    return True


def show(table: Table, times: dict[str, list[tuple[float, float]]], count: int) -> None:
    for name, rounds in times.items():
        ratios = torch.tensor(rounds) / torch.tensor(times["metamery"])  # (rounds, 2)
        low, middle, high = ratios[:, 0].quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        found = [None] * 4 if name == "metamery" else [middle, low, high, ratios[:, 1].quantile(0.5).item()]
        table.row(name, count / median(wall for wall, _ in rounds), *found)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--rounds", type=int, default=15)
    benchmark.option("--batch-size", type=int, default=128)
    benchmark.option("--network", default="small-cnn", choices=("small-cnn", "cifar-resnet20"))
    benchmark.option("--environment", type=Path, default=ENVIRONMENT)
    given = benchmark.parse()
    if not find_spec("torchattacks"):
        skip("needs torchattacks (pip install --no-deps torchattacks)")
    if not add_peer(given.environment):
        skip(MISSING)
    plugins = Plugins(installed=())
    model = plugins.load("model", given.network)
    made, fabric = load_tools(recipe(given.batch_size), plugins), Fabric(accelerator="cpu", devices=1)
    generator, count = torch.Generator().manual_seed(0), given.batch_size * UPDATES
    pictures = torch.rand(count, *model.domain.shape, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    first = pictures[: given.batch_size], labels[: given.batch_size]
    benchmark.head("torchattacks")
    benchmark.note(f"robustness {PEER[0].rpartition('=')[2]}; {given.rounds} rounds of {UPDATES} updates")
    check_same_work(benchmark.table("Attacks beside one by hand", ["attack"], AGREEMENT), made, model, *first)
    parts: list[tuple[float, float]] = []  # of the bare passes
    by_hand, same_work = partial(epoch_by_hand, pgd_by_hand), partial(epoch_of_robustness, False)
    epochs = {
        "metamery": partial(epoch_of_metamery, made, fabric),
        "by hand": by_hand,
        "by hand, channels last, memory kept": as_fast(by_hand),
        "by hand, PGD of torchattacks": partial(epoch_by_hand, pgd_of_torchattacks),
        "robustness": partial(epoch_of_robustness, True),
        "robustness without `use_best`": same_work,
        "robustness without `use_best`, channels last, memory kept": as_fast(same_work),
        f"bare: {STEPS} gradients and a step": as_fast(partial(bare, parts)),
    }
    order, times = list(epochs), defaultdict(list)
    for turn in range(given.rounds + 1):
        for name in order:
            learner = fresh(model)
            wall, processor = time.perf_counter(), time.process_time()
            epochs[name](learner, pictures, labels, given.batch_size)
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
        if turn == 0:  # which warms up
            times.clear()
            parts.clear()
        order = [*order[1:], order[0]]
    title = f"Adversarial training of {given.network}, batches of {given.batch_size}"
    show(benchmark.table(title, ["loop"], COLUMNS), {name: times[name] for name in epochs}, count)
    benchmark.table("Bare passes", ["of"], BARE).row("a batch", *(1e3 * median(s) for s in zip(*parts, strict=True)))


if __name__ == "__main__":
    main()
