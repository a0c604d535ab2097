"""How near is synthesis on a GPU to what the card can do? metamery beside the raw pass, and beside plenoptic.

For some networks, each at one layer, batches and precisions, milliseconds for one update of the batch:

raw        the truncated pass forward and back as PyTorch runs it, without an optimizer;
eager      `match_layer` with the preset `fast`, of the network as it is, kernel by kernel;
metamery   the same as `synthesise` runs it: batch normalisations folded, the pass captured as a CUDA graph;
last       the same with the network's weights in the layout with the channels last;
compiled   with the setting ``compiled``, captured as well, for some sizes of batch.

Updates are timed after the first 15, so that what happens once (warming up, capturing, compiling) is not in it.
``metamers a second`` are those of 2,000 updates, by the faster way. plenoptic, where it is installed, makes one
metamer at a time: its `Metamer` of its `DeepNetFeatures`, for the first network at its layer.

    python benchmarks/gpu.py                    every network, batch and precision: about five minutes on an H100
    python benchmarks/gpu.py --device cpu --batches 1 --precisions float32 --updates 4    whether it runs
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec

import torch
from metamery.analysis import match_layer
from metamery.analysis.synthesis.passes import Compiled
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import Model, Plugins
from metamery.framework.devices import repeatable, synchronize
from metamery.framework.folding import folded
from metamery.framework.running import frozen
from table import Benchmark, Column, skip

NETWORKS = {
    "efficientnet-lite0": "_blocks.8",
    "torchvision/resnet50": "layer3",
    "torchvision/vit_b_16": "encoder.layers.encoder_layer_5",
}
FIRST = 15
"""Updates before those that are timed: a pass is captured after ten."""


class EnoughError(Exception):
    """Ends a synthesis whose first updates have been timed."""


class Clock:
    """Times some updates, when those before them have been made: called after each of them."""

    def __init__(self, updates: int, device: torch.device) -> None:
        self._first, self._last, self._device = FIRST, FIRST + updates, device
        self._made, self._began = 0, 0.0
        self.milliseconds = float("nan")

    def __call__(self, *_: object) -> None:
        self._made += 1
        if self._made in (self._first, self._last):
            synchronize(self._device)
            now = time.perf_counter()
            if self._made == self._last:
                self.milliseconds = (now - self._began) / (self._last - self._first) * 1e3
                raise EnoughError
            self._began = now


def per_update(work: Callable[[Clock], object], updates: int, device: torch.device) -> float:
    """Milliseconds for one update."""
    clock = Clock(updates, device)
    with suppress(EnoughError):
        work(clock)
    return clock.milliseconds


def measured(
    model: Model, layer: str, batch: int, precision: str, updates: int, device: torch.device, compiles: bool
) -> dict[str, float]:
    """Milliseconds for one update of a batch: raw, eager, as `synthesise` runs it, and compiled if wanted."""
    generator = torch.Generator().manual_seed(0)
    natural, start = (torch.rand(batch, *model.domain.shape, generator=generator).to(device) for _ in range(2))
    procedure = Procedure.load(resolve_settings("fast", precision=precision), Plugins(installed=()))
    reduced = getattr(torch, precision, torch.float32)
    with torch.no_grad(), model.tap([layer]) as tap:
        target = tap(natural)[layer].clone()

    def raw(clock: Clock) -> None:
        signals, size = start.clone().requires_grad_(), target.flatten(1).norm(dim=1)
        with model.tap([layer]) as tap:
            while True:
                with torch.autocast(device.type, reduced, enabled=reduced is not torch.float32):
                    (found,) = tap(signals).values()
                loss = (found.float() - target).flatten(1).norm(dim=1) / size
                torch.autograd.grad(loss.sum(), signals)
                clock()

    def matched(clock: Clock, capture: bool, compiled: Compiled | None = None) -> None:
        with model.tap([layer]) as tap:
            match_layer(tap, target, start, procedure, model.domain, clock, capture=capture, compiled=compiled)

    with frozen(model.module), repeatable(precision):
        found = {"raw": per_update(raw, updates, device)}
        found["eager"] = per_update(partial(matched, capture=False), updates, device)
        with folded(model, [layer]):
            found["metamery"] = per_update(partial(matched, capture=True), updates, device)
            if compiles:
                found["compiled"] = per_update(partial(matched, capture=True, compiled=Compiled()), updates, device)
        model.module.to(memory_format=torch.channels_last)
        with folded(model, [layer]):
            found["last"] = per_update(partial(matched, capture=True), updates, device)
        model.module.to(memory_format=torch.contiguous_format)
    return found


def plenoptic(model: Model, layer: str, updates: int, device: torch.device) -> float:
    """Milliseconds for one update of one signal."""
    import plenoptic as po

    features = po.models.DeepNetFeatures(model.module, layer, torch.nn.Identity())  # which normalises by itself
    po.remove_grad(features)
    natural, start = torch.rand(2, 1, *model.domain.shape, generator=torch.Generator().manual_seed(0)).to(device)

    def seconds(count: int) -> float:
        metamer = po.Metamer(natural, features)
        metamer.setup(start, optimizer_kwargs={"amsgrad": False})
        synchronize(device)
        began = time.perf_counter()
        metamer.synthesize(count, stop_iters_to_check=count)
        synchronize(device)
        return time.perf_counter() - began

    with frozen(model.module):
        first = seconds(FIRST)  # what is done once is in both
        return (seconds(FIRST + updates) - first) / updates * 1e3


COLUMNS = (
    Column("raw", "ms"),
    Column("eager", "ms"),
    Column("metamery", "ms"),
    Column("channels last", "ms"),
    Column("compiled", "ms"),
    Column("raw / metamery", better="higher", limit="the raw pass"),
    Column("metamery / channels last", better="higher"),
    Column("metamery / compiled", better="higher"),
    Column("metamers a second", better="higher"),
    Column("plenoptic / metamery, for a stimulus", better="higher", peer="plenoptic"),
)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--device", default="cuda")
    benchmark.option("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    benchmark.option("--batches", type=int, nargs="+", default=[1, 8, 64, 256])
    benchmark.option("--compiled", type=int, nargs="*", default=[64], help="batches that are compiled too")
    benchmark.option("--precisions", nargs="+", default=["float32", "tf32", "bfloat16"])
    benchmark.option("--updates", type=int, default=40, help="that are timed; fewer of large batches")
    given = benchmark.parse()
    if given.device == "cuda" and not torch.cuda.is_available():
        skip("there is no GPU")
    device = torch.device(given.device)
    benchmark.head(*(["plenoptic"] if find_spec("plenoptic") else []))
    labels = ["network", "batch", "precision"]
    table = benchmark.table("One update of a batch on a GPU", labels, COLUMNS, across="batch")
    for network in given.networks:
        options = {} if network.startswith("efficientnet") else {"weights": "none"}
        model, layer = Plugins(installed=()).load("model", network, **options), NETWORKS[network]
        model.module.to(device)
        peer = None
        if network == given.networks[0] and find_spec("plenoptic"):
            peer = plenoptic(model, layer, given.updates, device)
            benchmark.note(f"plenoptic, {network}: {peer:.3g} ms for an update of one stimulus")
        for batch in given.batches:
            updates = max(4, given.updates // (1 + batch // 64))
            for precision in given.precisions:
                found = measured(model, layer, batch, precision, updates, device, batch in given.compiled)
                own, best = found["metamery"], found.get("compiled")
                table.row(
                    network,
                    batch,
                    precision,
                    found["raw"],
                    found["eager"],
                    own,
                    found["last"],
                    best,
                    found["raw"] / own,
                    own / found["last"],
                    best and own / best,
                    batch / (min(own, best or own) * resolve_settings().steps / 1e3),
                    peer and peer * batch / own,
                )


if __name__ == "__main__":
    main()
