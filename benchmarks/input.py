"""How many pictures a second are read, trained on, and both, from JPEGs and from a prepared file?

Pictures are drawn once, as JPEGs of a folder CLASS/FILE: of CIFAR's size, and of ImageNet's usual 500 × 375 pixels for
a network of 224. All input is a random resized crop at the picture's own resolution and a flip:

metamery          its loader, which reads ahead in processes that stay, in 8 bits;
prepared          the same from the file that `metamery prepare` writes, mapped into memory;
torchvision       what its reference script does: `ImageFolder`, its transforms on the decoded picture, and PyTorch's
                  `DataLoader` with processes that stay, in float32;
timm              timm's own loader with its transforms of training (where timm is installed);
robustness        the loader of `robustness` 1.2.1 with torchvision's transforms (where pip installs it).

Trained is `small-cnn` at 32 pixels and ResNet-18 at 224, by `train` itself: on pictures in memory, which is
training alone; and from JPEGs and from the prepared file. In the last column, what both take together is compared with
the slower of the two alone; on few cores they share these, and cannot both be as fast as alone. Updates before the
loader's processes have started are not counted. The speeds are medians of rounds in which all take turns.

    python benchmarks/input.py                     about five minutes on two cores
    python benchmarks/input.py --size 32           CIFAR's size alone
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from adversarial_training import ENVIRONMENT, add_peer
from lightning_fabric import Fabric
from metamery.framework import Model, Plugins, Recipe
from metamery.framework.progress import Progress
from metamery.framework.stimuli import Stimuli
from metamery.training.augmentation import augmentation
from metamery.training.data import Examples, Loader, Order
from metamery.training.loop import train
from metamery.training.prepared import prepare
from metamery.training.tools import load_tools
from PIL import Image
from table import Benchmark, Column

SIZES: dict[int, tuple[str, dict[str, Any], tuple[int, int], int, int]] = {
    32: ("small-cnn", {}, (32, 32), 32, 128),
    224: ("torchvision/resnet18", {"weights": "none"}, (500, 375), 256, 16),
}
"""Network with its options, width and height of the pictures, side of the prepared file, and batch."""

CHAIN: list[tuple[str, dict[str, Any]]] = [("RandomResizedCrop", {"scale": [0.35, 1.0]}), ("flip", {})]
CLASSES = ("a", "b", "c", "d")
UPDATES = 31
WARM = 12  # updates before the time is taken, in which what was read ahead is used up


def drawn(folder: Path, width: int, height: int, count: int) -> Path:
    """Write JPEGs of clouds with grain, which decode about as fast as photographs."""
    random = np.random.default_rng(0)
    for index in range(count):
        cloud = Image.fromarray(random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
        values = np.asarray(cloud.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        values = (values + random.integers(-12, 13, values.shape)).clip(0, 255).astype(np.uint8)
        path = folder / CLASSES[index % len(CLASSES)] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path, quality=90)
    return folder


def speed(batches: Iterable[Any], size: int) -> float:
    """Pictures a second, after the first batches."""
    times = []
    for number, _batch in enumerate(batches):
        times.append(time.perf_counter())
        if number + 1 == UPDATES:
            break
    return size * (len(times) - 1 - WARM) / (times[-1] - times[WARM])


class Clock(Progress):
    """Times at which updates were done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def advance(self, steps: int = 1) -> None:
        self.times.append(time.perf_counter())


def trained(model: Model, given: Examples, recipe: Recipe, workers: int) -> float:
    """Pictures a second that `train` takes."""
    clock, tools = Clock(), load_tools(recipe, Plugins())
    with tempfile.TemporaryDirectory() as folder:
        fabric = Fabric(accelerator="cpu", devices=1)
        train(model, given, None, recipe, tools, Path(folder), fabric=fabric, workers=workers, progress=clock)
    times = clock.times[1:]  # the first is that of the start
    return recipe.batch_size * (len(times) - 1 - WARM) / (times[-1] - times[WARM])


def of_pillow(size: int) -> Callable[[Any], torch.Tensor]:
    """torchvision's transforms of Pillow's pictures."""
    from torchvision import transforms

    crop = transforms.RandomResizedCrop(size, scale=(0.35, 1.0))
    chain: Callable[[Any], torch.Tensor] = transforms.Compose(
        [crop, transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    )
    return chain


def of_torchvision(folder: Path, size: int, batch: int, workers: int) -> Iterable[Any]:
    from torchvision.datasets import ImageFolder

    data = ImageFolder(str(folder / "train"), of_pillow(size))
    more: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 4} if workers else {}
    return torch.utils.data.DataLoader(data, batch, shuffle=True, num_workers=workers, drop_last=True, **more)


def of_timm(folder: Path, size: int, batch: int, workers: int) -> Iterable[Any]:
    from timm.data import create_dataset, create_loader

    data = create_dataset("", root=str(folder), split="train")
    loader: Iterable[Any] = create_loader(
        data, (3, size, size), batch, is_training=True, use_prefetcher=False, no_aug=False, scale=(0.35, 1.0),
        hflip=0.5, color_jitter=None, num_workers=workers, persistent_workers=workers > 0, device=torch.device("cpu"),
    )  # fmt: skip
    return loader


def of_robustness(folder: Path, size: int, batch: int, workers: int) -> Iterable[Any]:
    sys.modules.setdefault("torchvision.models.utils", torch.hub)  # where it looks for what torchvision had from there
    from robustness.loaders import make_loaders

    if not (held_out := folder / "val").exists():  # without it there is no loader
        held_out.symlink_to("train")
    chain = of_pillow(size)
    warnings.filterwarnings("ignore", "'pin_memory'")  # it always asks for pinned memory, which only a GPU needs
    with redirect_stdout(None):
        loader: Iterable[Any] = make_loaders(workers, batch, (chain, chain), str(folder))[0]
    return loader


def examples_of(stimuli: Stimuli, model: Model) -> Examples:
    targets = [CLASSES.index(category) for category in stimuli.categories]  # type: ignore[attr-defined]
    return Examples(stimuli, targets, model.domain, augmentation(CHAIN, model), classes=len(CLASSES))


def measured(size: int, workers: int, rounds: int, has_robustness: bool) -> dict[str, list[float]]:
    """Pictures a second of each contestant, by round."""
    name, options, shape, side, batch = SIZES[size]
    count = UPDATES * batch
    model = Plugins().load("model", name, num_classes=len(CLASSES), **options)
    recipe = Recipe(epochs=1, batch_size=batch, learning_rate=0.01)
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "data")
        listed = Plugins().load("stimuli", "folder", path=str(drawn(folder / "train", *shape, count)))
        given = {"JPEG": examples_of(listed, model)}
        given["prepared"] = examples_of(prepare(listed, Path(place, "x.prepared"), side), model)
        memory = torch.rand(count, *model.domain.shape)
        held = Examples([], [index % len(CLASSES) for index in range(len(memory))], model.domain, kept=memory)
        order = Order(count, batch, 0, 0)
        work: dict[str, Callable[[], float]] = {
            "input, JPEG": lambda: speed(Loader(given["JPEG"], workers)(order), batch),
            "input, prepared": lambda: speed(Loader(given["prepared"], workers)(order), batch),
            "input, torchvision": lambda: speed(of_torchvision(folder, size, batch, workers), batch),
            "training alone": lambda: trained(model, held, recipe, 0),
            "both, JPEG": lambda: trained(model, given["JPEG"], recipe, workers),
            "both, prepared": lambda: trained(model, given["prepared"], recipe, workers),
        }
        if find_spec("timm"):
            work["input, timm"] = lambda: speed(of_timm(folder, size, batch, workers), batch)
        if has_robustness:
            work["input, robustness"] = lambda: speed(of_robustness(folder, size, batch, workers), batch)
        for turn in range(rounds):
            names = list(work)
            for each in [*names[turn % len(names) :], *names[: turn % len(names)]]:
                found[each].append(work[each]())
    return found


def main() -> None:
    benchmark = Benchmark(__doc__ or "")
    benchmark.option("--size", type=int, choices=[*SIZES], action="append", help="of the network, by default both")
    benchmark.option("--workers", type=int, default=2)
    benchmark.option("--rounds", type=int, default=3)
    benchmark.option("--environment", type=Path, default=ENVIRONMENT, help="folder to which robustness is installed")
    given = benchmark.parse()
    has_robustness = add_peer(given.environment)
    benchmark.head("torchvision")
    speeds = benchmark.table(
        f"Input, {given.workers} processes",
        ("pixels",),
        (
            Column("JPEG", "pictures/s", "higher"),
            Column("prepared", "pictures/s", "higher"),
            Column("torchvision", "pictures/s", ""),
            Column("timm", "pictures/s", ""),
            Column("robustness", "pictures/s", ""),
            Column("JPEG / torchvision", "×", "higher", peer="torchvision's reference loader"),
            Column("prepared / JPEG", "×", "higher"),
        ),
    )
    rows = []
    for size in given.size or SIZES:
        speeds_of = measured(size, given.workers, given.rounds, has_robustness)
        found = {name: median(each) for name, each in speeds_of.items()}
        jpeg, file, other = (found[f"input, {name}"] for name in ("JPEG", "prepared", "torchvision"))
        optional = [found.get(f"input, {name}") for name in ("timm", "robustness")]
        speeds.row(size, jpeg, file, other, *optional, jpeg / other, file / jpeg)
        for name in ("JPEG", "prepared"):
            alone, training, both = found[f"input, {name}"], found["training alone"], found[f"both, {name}"]
            rows.append((size, name, alone, training, both, both / min(alone, training)))
    together = benchmark.table(
        "Input and training together",
        ("pixels", "from"),
        (
            Column("input alone", "pictures/s", "higher"),
            Column("training alone", "pictures/s", "higher"),
            Column("both", "pictures/s", "higher"),
            Column("both / the slower", "×", "higher", limit="the slower of input and training"),
        ),
    )
    for row in rows:
        together.row(*row)


if __name__ == "__main__":
    main()
