"""What of a metamer depends on the batch it was made in? The same metamers, one at a time and several at once.

A network rounds otherwise where it works on another number of signals at once, and descent then amplifies that. For
layers of EfficientNet-Lite0: how far the losses are apart after some updates, as a share of the loss; how far the final
signals are (their range is [0, 1]); the final losses themselves; and on how many of the verdicts (label, match, success
against the null of the bundled photographs) both ways agree. Two seeds in place of two batch sizes are the yardstick.
Last, the first photograph is made again with other mates, and at another index, in batches of the same size.

``python benchmarks/batch_size.py --threads 1``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from metamery.analysis import judge, null_distribution, synthesise
from metamery.framework import Model, Plugins, Stimulus

LAYERS = ("_blocks.1", "_blocks.8", "output")
EARLY = (0, 1, 5, 20)
VERDICTS = ("agrees", "matches", "success")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default=",".join(LAYERS), help="between commas")
    parser.add_argument("--limit", type=int, default=4, help="photographs, and the larger batch")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    layers, count, steps = arguments.layers.split(","), arguments.limit, arguments.steps
    plugins = Plugins(installed=())
    model = plugins.load("model", "efficientnet-lite0")
    photographs = plugins.load("stimuli", "natural")
    some = [photographs[index] for index in range(2 * count - 1)]
    made = {}
    for size in (1, count):
        began = time.perf_counter()
        made[size] = synthesise(model, some[:count], layers, steps=steps, seeds=2, batch_size=size)
        print(f"batches of {size}: {time.perf_counter() - began:.0f} s")
    null = null_distribution(model, photographs, layers)
    judged = {size: found.merge(judge(found, null)) for size, found in made.items()}
    for layer in layers:
        one, many = (found.sel(layer=layer) for found in judged.values())
        print(f"\n{layer}")
        tell(f"batches of 1 and {count}", one, many)
        tell("two seeds", one.isel(seed=0), one.isel(seed=1))
    print(f"\nthe first photograph, in batches of {count}")
    for what, mates in (
        ("other mates", [some[0], *some[count:]]),
        ("other mates, last in the batch", [*some[count:], some[0]]),
    ):
        print(f"{what}: {same_with(model, mates, made[count], layers, steps)}")


def tell(what: str, one: xr.Dataset, other: xr.Dataset) -> None:
    """Print how far two ways of making the same metamers are apart."""
    losses = [found.loss.values.reshape(-1, found.sizes["step"]) for found in (one, other)]  # (N, step)
    apart = np.abs(losses[0] - losses[1]) / losses[0]
    after = [step for step in (*EARLY, losses[0].shape[1] - 1) if step < losses[0].shape[1]]
    ends = [values[:, -1] for values in losses]
    ratio = np.maximum(ends[0] / ends[1], ends[1] / ends[0]).max()
    moved = np.abs(one.signal.values - other.signal.values)
    early = ", ".join(f"{apart[:, step].max():.1e} after {step}" for step in after)
    print(f"  {what}")
    print(f"    losses differ by up to {early}")
    print(f"    final losses: median {np.median(ends[0]):.4f} and {np.median(ends[1]):.4f}, ", end="")
    print(f"mean {ends[0].mean():.4f} and {ends[1].mean():.4f}, ratio of a pair up to {ratio:.2f}")
    print(f"    signals: up to {moved.max():.2f} apart, on average {moved.mean():.4f}")
    equal = {name: int((one[name].values == other[name].values).sum()) for name in VERDICTS}
    print(f"    equal of {one['agrees'].size}: " + ", ".join(f"{name} {number}" for name, number in equal.items()))


def same_with(model: Model, mates: Sequence[Stimulus], before: xr.Dataset, layers: Sequence[str], steps: int) -> str:
    """Say whether the first photograph's metamers come out bit for bit in another company."""
    again = synthesise(model, mates, layers, steps=steps, batch_size=len(mates))
    first = before.stimulus.values[0]
    equal = [
        np.array_equal(*(found.signal.sel(layer=layer, stimulus=first, seed=0).values for found in (again, before)))
        for layer in layers
    ]
    return ", ".join(f"{layer} {'equal' if same else 'not equal'}" for layer, same in zip(layers, equal, strict=True))


if __name__ == "__main__":
    main()
