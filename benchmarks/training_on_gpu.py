"""How near does adversarial training on a GPU come to a loop written by hand, and to what the card can do?

ResNet-50 at 224 pixels, on random pictures that are on the device already: `benchmarks/input.py` is about reading. On
the pictures as they are, under PGD with three steps, and under a single step from a random start:

by hand    what an expert would write: the attack in eval mode with gradients of the pictures alone, autocast, and one
           step of SGD; nothing is measured or kept;
metamery   `metamery.training.loop.train`, as the command calls it;
compiled   the same with ``--compiled``, for the pictures as they are and the precisions of ``--compiled``.

Updates are timed after the first few, as one stretch without a pause. ``of the peak`` is the share of the operations
that the card's data sheet promises (dense, in that precision): a pass forward has `FORWARD` of them, one back to the
pictures as many again, and one to the weights, too, twice as many.

    python benchmarks/training_on_gpu.py                    about two minutes on an H100
    python benchmarks/training_on_gpu.py --device cpu --batch 2 --updates 2 --side 64 --precisions float32
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from metamery.framework import ImageDomain, Model, Plugins
from metamery.framework.devices import synchronize
from metamery.framework.progress import Progress
from metamery.framework.recipes import Recipe
from metamery.training.data import Examples
from metamery.training.hardware import Hardware
from metamery.training.loop import train
from metamery.training.tools import load_tools
from table import Benchmark, Column, skip
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

EPSILON = 4 / 255
ATTACKS = {"none": (0, 0.0), "PGD, 3 steps": (3, EPSILON / 2), "one step": (1, 1.25 * EPSILON)}
"""Number and size of the steps."""

LAYOUTS = torch.contiguous_format, torch.channels_last
CLASSES, FIRST = 1000, 4

PEAK = {"H100": {"tf32": 494.7e12, "bfloat16": 989.4e12}, "H200": {"tf32": 494.7e12, "bfloat16": 989.4e12}}
"""Operations a second, dense, of the SXM cards (NVIDIA's data sheets, half of what they state with sparsity)."""


Task = tuple[torch.Tensor, torch.Tensor, int, str, str]
"""Pictures and labels, the size of a batch, the precision and the attack."""


class EnoughError(Exception):
    """Ends a training whose updates have been timed."""


class Clock(Progress):
    """Times some updates, when those before them have been made."""

    def __init__(self, updates: int, device: torch.device) -> None:
        self._last, self._device = FIRST + updates, device
        self._made, self._began = 0, 0.0
        self.seconds = float("nan")

    def advance(self, steps: int = 1) -> None:
        if not steps:
            return
        self._made += steps
        if self._made in (FIRST, self._last):
            synchronize(self._device)
            now = time.perf_counter()
            if self._made == self._last:
                self.seconds = (now - self._began) / (self._last - FIRST)
                raise EnoughError
            self._began = now


def resnet50(side: int, device: torch.device) -> Model:
    """ResNet-50 with random weights, of a seed, for pictures of some side."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Plugins(installed=()).load("model", "torchvision/resnet50", weights="none")
    return Model(model.module.to(device), ImageDomain(3, side, side), ("output",))


def attacked(network: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int, size: float) -> torch.Tensor:
    if not steps:
        return x
    network.eval()
    low, high = (x - EPSILON).clamp(0, 1), (x + EPSILON).clamp(0, 1)
    seen = (x + torch.empty_like(x).uniform_(-EPSILON, EPSILON)).clamp(0, 1)
    for _ in range(steps):
        seen.requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(network(seen), y), seen)
        seen = torch.clamp(seen.detach() + size * gradient.sign(), low, high)
    network.train()
    return seen


def by_hand(
    model: Model, pictures: torch.Tensor, labels: torch.Tensor, batch: int, precision: str, attack: str, clock: Clock
) -> None:
    network = model.module.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for places in torch.randperm(len(pictures)).split(batch):
        x, y = pictures[places], labels[places]
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            x = attacked(network, x, y, *ATTACKS[attack])
            loss = cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.advance()


def by_metamery(
    model: Model,
    pictures: torch.Tensor,
    labels: torch.Tensor,
    batch: int,
    precision: str,
    attack: str,
    clock: Clock,
    compiled: bool = False,
) -> None:
    steps, size = ATTACKS[attack]
    options = {"epsilon": EPSILON, "steps": steps, "step_size": size}
    recipe = Recipe(
        perturbation="pgd_linf" if steps else "",
        perturbation_options=options if steps else {},
        epochs=1,
        batch_size=batch,
        learning_rate=0.01,
        schedule="constant",
        optimizer_options={"momentum": 0.9},
    )
    device = pictures.device.type
    hardware = Hardware(device, precision="bfloat16" if precision == "bfloat16" else "float32", compiled=compiled)
    examples = Examples((), labels.tolist(), model.domain, kept=pictures, classes=CLASSES)
    tools, fabric = load_tools(recipe, Plugins(installed=())), hardware.fabric()
    with tempfile.TemporaryDirectory() as folder:
        train(model, examples, None, recipe, tools, Path(folder), fabric=fabric, compiled=compiled, progress=clock)


def peak(precision: str, device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((own.get(precision) for card, own in PEAK.items() if card in name), None)


COLUMNS = (
    Column("by hand: images", "1/s", "higher"),
    Column("with the channels last", "1/s", "higher"),
    Column("metamery", "1/s", "higher"),
    Column("compiled", "1/s", "higher"),
    Column("metamery / by hand", "×", "higher", limit="the loop by hand, with the layout that is faster"),
    Column("of the peak", better="higher", limit="the card's peak"),
)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--device", default="cuda")
    benchmark.option("--batch", type=int, default=256)
    benchmark.option("--side", type=int, default=224)
    benchmark.option("--updates", type=int, default=16, help="that are timed; fewer under attack")
    benchmark.option("--precisions", nargs="+", default=["tf32", "bfloat16"])
    benchmark.option("--compiled", nargs="*", default=[], help="precisions that are compiled too")
    given = benchmark.parse()
    if given.device == "cuda" and not torch.cuda.is_available():
        skip("there is no GPU")
    device = torch.device(given.device)
    benchmark.head()
    generator = torch.Generator(device).manual_seed(0)
    count = given.batch * (FIRST + given.updates + 1)  # an epoch, at whose end checkpoints are written, is not reached
    pictures = torch.rand(count, 3, given.side, given.side, generator=generator, device=device)
    labels = torch.randint(CLASSES, (count,), generator=generator, device=device)
    network = resnet50(given.side, device).module
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(pictures[:1])
    forward = counter.get_total_flops()
    benchmark.note(f"a pass forward: {forward / 1e9:.3g}·10⁹ operations for a picture; batches of {given.batch}")
    table = benchmark.table("Training ResNet-50 on a GPU", ["attack", "precision"], COLUMNS)
    for precision in given.precisions:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
        for attack, (steps, _) in ATTACKS.items():
            updates = -(-given.updates // (1 + steps))
            task = pictures, labels, given.batch, precision, attack
            plain, last = (images_a_second(by_hand, task, updates, layout) for layout in LAYOUTS)
            own, compiled = images_a_second(by_metamery, task, updates), None
            if not steps and precision in given.compiled:
                compiled = images_a_second(partial(by_metamery, compiled=True), task, updates)
            best, operations = peak(precision, device), forward * (3 + 2 * steps)
            share = best and max(own, compiled or 0.0) * operations / best
            table.row(attack, precision, plain, last, own, compiled, own / max(plain, last), share)


def images_a_second(
    work: Callable[..., None], task: Task, updates: int, layout: torch.memory_format = torch.contiguous_format
) -> float:
    """Pictures that a fresh network is trained on in a second."""
    pictures, _, batch, *_ = task
    clock = Clock(updates, pictures.device)
    model = resnet50(pictures.shape[-1], pictures.device)
    model.module.to(memory_format=layout)
    with suppress(EnoughError):
        work(model, *task, clock)
    return batch / clock.seconds


if __name__ == "__main__":
    main()
