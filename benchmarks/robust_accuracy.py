"""Are the accuracies under attack those that other packages measure of the same weights, on the same pictures?

PGD           the evaluator `robustness`, beside `robustness` 1.2.1 with as many steps of the same size from a random
              start, which keeps each picture's last point;
AutoAttack    the evaluator `autoattack`, which runs torchattacks' with the authors' numbers of steps, beside the
              authors' own code (`pyautoattack`, which RobustBench calls): APGD, targeted APGD and FAB, and Square.

All draw random numbers of their own, so that single pictures may differ. Without networks a small one is trained on
some of the pictures: its accuracies mean nothing, but have to agree all the same. The peers are installed into a folder
of their own, without what they need, which the environment has.

    python benchmarks/robust_accuracy.py adversarial-1 standard-1 --stimuli CIFAR10_TEST_FOLDER
"""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from adversarial_training import ENVIRONMENT, MISSING, PEER, add_peer, attacker_model, on_cpu
from metamery.analysis import evaluate
from metamery.framework import Model, Plugins
from metamery.framework.running import frozen
from metamery.training import train
from others import networks, stimuli_of
from table import Benchmark, Column, skip

AUTHORS = "pyautoattack==0.2.0"
STEPS = 20
COLUMNS = (
    Column("pictures", better=""),
    Column("without attack", better=""),
    Column("metamery", better=""),
    Column("peer", better="", peer="robustness and the authors' AutoAttack"),
    Column("metamery", "s"),
    Column("peer", "s", better=""),
)


def add_authors(folder: Path) -> None:
    """Make the authors' AutoAttack importable, behind everything that the environment has."""
    if not (folder / "pyautoattack").exists():
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, AUTHORS]
        if subprocess.run(install, check=False).returncode:
            skip(f"needs {AUTHORS}, which pip does not install here")


def pgd_of_robustness(model: Model, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
    options = {"constraint": "inf", "eps": epsilon, "step_size": 2.5 * epsilon / STEPS, "iterations": STEPS}
    made = attacker_model(copy.deepcopy(model.module)).eval()
    with on_cpu():
        moved: torch.Tensor = made.attacker(x, y, use_best=False, random_start=True, **options)
    return moved


def autoattack_of_its_authors(model: Model, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
    from pyautoattack import AutoAttack

    attack = AutoAttack(model.module, norm="Linf", eps=epsilon, seed=0, device="cpu")
    moved: torch.Tensor = attack.run_standard_evaluation(x, y, batch_size=len(x))[0]
    return moved


def trained(stimuli: str, plugins: Plugins) -> Model:
    """A small network trained with single steps on some pictures."""
    pictures = stimuli_of(stimuli, 1000, plugins)
    model = replace(plugins.load("model", "small-cnn"), labels=sorted({each.category for each in pictures}))
    train(model, pictures, "fast", epochs=10, plugins=plugins)
    return model


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("networks", nargs="*", help="names or run folders")
    benchmark.option("--stimuli", required=True, help="a folder CLASS/FILE or a name")
    benchmark.option("--limit", type=int, default=100)
    benchmark.option("--epsilon", type=float, default=4 / 255, help="size of the perturbation, Linf")
    benchmark.option("--environment", type=Path, default=ENVIRONMENT)
    given = benchmark.parse()
    if not find_spec("torchattacks"):
        skip("needs torchattacks (pip install --no-deps torchattacks)")
    if not add_peer(given.environment):
        skip(MISSING)
    add_authors(given.environment)
    plugins = Plugins(installed=())
    items = stimuli_of(given.stimuli, given.limit, plugins)
    benchmark.head("torchattacks")
    benchmark.note(f"robustness {PEER[0].rpartition('=')[2]}, {AUTHORS}; within {given.epsilon:.4g}")
    table = benchmark.table("Accuracy under attack", ["network", "attack"], COLUMNS)
    made = networks(given.networks, plugins) or {"small-cnn": trained(given.stimuli, plugins)}
    for name, model in made.items():
        x = torch.stack([model.domain.fit(item) for item in items])
        y = torch.tensor([model.labels.index(item.category) for item in items])
        with frozen(model.module), torch.no_grad():
            right = model.module(x).argmax(dim=1) == y
        for attack, peer, evaluator, options, variable in (
            ("PGD", pgd_of_robustness, "robustness", {"steps": STEPS, "apgd_steps": 1}, "pgd"),
            ("AutoAttack", autoattack_of_its_authors, "autoattack", {}, "accuracy"),
        ):
            began = time.perf_counter()
            found = evaluate(evaluator, model, items, plugins=plugins, epsilons=[given.epsilon], **options)
            own = float(found[variable].isel(model=0).sel(epsilon=given.epsilon))
            between = time.perf_counter()
            torch.manual_seed(0)
            with frozen(model.module):
                moved = peer(model, x[right], y[right], given.epsilon).detach()
                held = (model.module(moved).argmax(dim=1) == y[right]).sum().item()
            ended = time.perf_counter()
            natural = right.double().mean().item()
            table.row(name, attack, len(x), natural, own, held / len(x), between - began, ended - between)


if __name__ == "__main__":
    main()
