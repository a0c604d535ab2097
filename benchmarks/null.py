"""How long does the null of a million pairs take, and how much memory?

For each layer of EfficientNet-Lite0: the time for all pairs of the signals beyond the forward passes, which are
shared by all layers, and what the same pairs would take one after the other (a sample of them is timed). At the end
the largest memory the process had: ``python benchmarks/null.py FOLDER``, with a folder of pictures, ``CLASS/FILE``.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import torch
from metamery.analysis import null_distribution
from metamery.analysis.proof.measures import NULL_METRICS, measure, snr_db
from metamery.framework import Model, Plugins, Stimuli, Tap
from metamery.framework.progress import Progress
from metamery.framework.running import channels_last, frozen

SAMPLE = 24  # signals whose pairs are taken one by one


class Clock(Progress):
    """Notes when each part of the work begins."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}

    def start(self, total: int, description: str = "") -> None:
        self.describe(description)

    def describe(self, description: str) -> None:
        self.began[description] = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """How long each part took."""
        self.describe("")
        times = list(self.began.values())
        return {part: after - before for part, before, after in zip(self.began, times, times[1:], strict=False)}


def one_by_one(model: Model, stimuli: Stimuli, layer: str) -> float:
    """Seconds for one pair, both orders, without the forward passes."""
    signals = torch.stack([model.domain.fit(stimuli[index]) for index in range(SAMPLE)])
    with frozen(model.module), channels_last(model.module, model.domain), Tap(model.module, [layer]) as tap:
        with torch.no_grad():
            activations = tap(signals)[layer]
        began = time.perf_counter()
        for one, two in zip(activations[:-1, None], activations[1:, None], strict=True):
            measure(one, two)
            snr_db(two, one)
    return (time.perf_counter() - began) / (SAMPLE - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--signals", type=int, default=1415)
    parser.add_argument("--layers", default="", help="between commas; the model's own by default")
    parser.add_argument("--scratch", type=Path, help="where activations are kept meanwhile")
    given = parser.parse_args()

    plugins = Plugins(installed=())
    model: Model = plugins.load("model", "efficientnet-lite0")
    stimuli = plugins.load("stimuli", "folder", path=str(given.folder))
    layers = given.layers.split(",") if given.layers else list(model.layers)
    clock = Clock()
    null = null_distribution(model, stimuli, layers, signals=given.signals, progress=clock, scratch=given.scratch)
    parts = clock.seconds()
    pairs = null.attrs["pairs"]
    print(f"{null.attrs['signals']} signals, {pairs:,} pairs, {torch.get_num_threads()} threads")
    print(f"near-duplicates left out: {', '.join(null.attrs['left_out']) or 'none'}\n")
    print(f"{'reading the signals, and near-duplicates':<44} {parts['null: reading signals']:8.1f} s")
    print(f"{'forward passes, all layers':<44} {parts['null: activations']:8.1f} s\n")
    heads = [f"max {metric}" for metric in NULL_METRICS]
    print(f"{'layer':<12} {'all pairs':>10} {'one by one':>12} {'shorter':>9}  " + " ".join(f"{h:>13}" for h in heads))
    for layer in layers:
        together, slowly = parts[f"null: pairs at {layer}"], pairs * one_by_one(model, stimuli, layer)
        maxima = " ".join(f"{float(null['maximum'].sel(layer=layer, metric=m)):13.4f}" for m in NULL_METRICS)
        print(f"{layer:<12} {together:8.1f} s {slowly / 3600:10.1f} h {slowly / together:8.0f}×  {maxima}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
