"""How long do CKA and RSA of wide layers take, and how much memory, beside a plain implementation?

Two layers of about 100,000 units each, 500 signals: linear and RBF CKA, and RSA of correlation distances by Spearman.
The plain implementation has all activations in memory and follows the papers' formulas. Each runs in a process of its
own; memory is the largest that it had, less what it had before: ``python benchmarks/similarity.py``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from metamery.analysis.similarity.comparison import bootstrap, draw_stimuli, similarity_of
from metamery.analysis.similarity.streaming import GIB, inner_products, plan
from metamery.framework import Tap
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from table import Benchmark, Column
from torch import nn

LAYERS = ["0", "2"]
MEASURES = ("cka_linear", "cka_rbf", "rsa_correlation_spearman")
BATCH = 25
COLUMNS = (
    Column("time", "s"),
    Column("memory", "GiB"),
    Column("planned", "GiB", ""),
    Column("time: all in memory / this", "×", "higher", peer="all in memory"),
    Column("memory: all in memory / this", "×", "higher", peer="all in memory"),
    *(Column(measure, "", "") for measure in MEASURES),
)


def network(channels: int, size: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
    ).eval()


def shown(size: int) -> Callable[[slice], torch.Tensor]:
    """Signals as they are asked for, each from its own seed."""

    def draw(number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(number)
        coarse = torch.rand(1, 3, 8, 8, generator=generator)
        return nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")[0]

    return lambda stimuli: torch.stack([draw(number) for number in range(stimuli.start, stimuli.stop)])


def streamed(given: argparse.Namespace) -> dict[str, float]:
    signals = shown(given.size)
    each = len(LAYERS) * given.channels * given.size**2 * 4
    planned = plan(given.signals, len(LAYERS), each, batch_size=BATCH, memory=given.memory)
    with Tap(network(given.channels, given.size), LAYERS) as tap:
        inners = inner_products(
            lambda stimuli: tap(signals(stimuli)), given.signals, batch_size=BATCH, held=planned.held
        )
    found = {name: float(similarity_of(list(inners.values()), name).matrix()[0, 1]) for name in MEASURES}
    return found | {"planned": planned.memory / GIB, "batches": planned.batches}


def plain(given: argparse.Namespace) -> dict[str, float]:
    signals = shown(given.size)
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in LAYERS}
    with Tap(network(given.channels, given.size), LAYERS) as tap:
        for first in range(0, given.signals, BATCH):
            for name, rows in tap(signals(slice(first, min(first + BATCH, given.signals)))).items():
                parts[name].append(rows.flatten(1))
    one, other = (torch.cat(rows).double().numpy() for rows in parts.values())
    distances = [squareform(pdist(x)) for x in (one, other)]
    kernels = {
        "cka_linear": [x @ x.T for x in (one, other)],
        "cka_rbf": [np.exp(-((d / np.median(d[np.triu_indices_from(d, 1)])) ** 2) / (2 * 0.8**2)) for d in distances],
    }
    found = {name: hsic(*own) / np.sqrt(hsic(own[0], own[0]) * hsic(own[1], own[1])) for name, own in kernels.items()}
    apart = np.triu_indices(given.signals, 1)
    rho = spearmanr(*(1 - np.corrcoef(x)[apart] for x in (one, other))).statistic
    return {**found, "rsa_correlation_spearman": float(rho)}


def hsic(kernel: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Song et al. (2012), equation 5."""
    one, two = (matrix - np.diag(np.diag(matrix)) for matrix in (kernel, other))
    n = len(one)
    product = one @ two
    return float(np.trace(product) + one.sum() * two.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * product.sum()) / (
        n * (n - 3)
    )


def draws(given: argparse.Namespace) -> dict[str, float]:
    """Seconds of a draw of the bootstrap, at 20 sites."""
    rows = torch.randn(20, given.signals, 300, generator=torch.Generator().manual_seed(0))
    inners = list(
        inner_products(lambda some: {str(n): own[some] for n, own in enumerate(rows)}, given.signals).values()
    )
    drawn = draw_stimuli(given.signals, 5, torch.Generator().manual_seed(0))
    found = {}
    for name in MEASURES:
        comparison = similarity_of(inners, name)
        began = time.perf_counter()
        bootstrap(comparison, drawn)
        found[name] = (time.perf_counter() - began) / len(drawn)
    return found


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kB in Linux


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--signals", type=int, default=500)
    benchmark.option("--channels", type=int, default=24)
    benchmark.option("--size", type=int, default=64)
    benchmark.option("--memory", type=float, default=0.4, help="of the streamed one, in GiB")
    benchmark.option("--only", choices=["streamed", "plain", "draws"])
    given = benchmark.parse()
    if given.only:
        before, began = peak(), time.perf_counter()
        with torch.no_grad():
            found = {"streamed": streamed, "plain": plain, "draws": draws}[given.only](given)
        print(json.dumps(found | {"seconds": time.perf_counter() - began, "GiB": peak() - before}))
        return
    benchmark.head()
    title = f"{given.signals:,} signals, {len(LAYERS)} layers of {given.channels * given.size**2:,} units"
    table = benchmark.table(title, ["implementation"], COLUMNS)
    plainly = separately("plain")
    for name, found in (("all in memory", plainly), ("streamed", separately("streamed"))):
        ratios = [None, None] if found is plainly else [plainly[what] / found[what] for what in ("seconds", "GiB")]
        table.row(name, found["seconds"], found["GiB"], found.get("planned"), *ratios, *(found[m] for m in MEASURES))
    drawn = separately("draws")
    columns = [Column(name, "s") for name in MEASURES]
    benchmark.table("A draw of the bootstrap at 20 sites", ["of"], columns).row("all", *(drawn[m] for m in MEASURES))


def separately(name: str) -> dict[str, float]:
    """Return what a process of its own finds."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()
