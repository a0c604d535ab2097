"""How fast is synthesis? metamery beside the published procedure done plainly, and beside a loop written by hand.

On a network with scikit-image's photographs, at three layers, side by side in one run:

(a) published  one stimulus at a time, two forward passes through the whole network an update, the gradient of the
               weights computed too (as in the released code of Feather et al. 2023);
(b) by hand    the network cut off behind the layer, a batch of eight, Adam: what an expert would write;
(b') the same with the two things that metamery does to be fast on CPUs: the weights' channels last, and freed memory
     kept for the next update;
(c) metamery   `match_layer` with the preset `fast`, the same batch and optimizer, run as `synthesise` does: as (b')
               with batch normalisations folded.

First the time of one update of one stimulus: medians over rounds in which the four take turns, and the medians of the
rounds' ratios. Then the time until `fast` has the loss that (a) has after all its updates, for each stimulus.

    python benchmarks/synthesis.py                    both parts, about a quarter of an hour on two cores
    python benchmarks/synthesis.py --updates-of-a 0   the first part alone, about two minutes
    python benchmarks/synthesis.py --network torchvision/resnet50 --updates-of-a 0   of another network
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from statistics import median

import torch
from metamery.analysis import match_layer, synthesise
from metamery.analysis.proof.distances import relative_l2
from metamery.analysis.synthesis.driver import starting_noise
from metamery.analysis.synthesis.optimizers import adam
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import Model, Plugins, Tap
from metamery.framework.folding import folded
from metamery.framework.running import channels_last, fast_on_cpu, frozen
from table import Benchmark, Column
from torch import nn
from torchvision.models import ResNet

LAYERS = ("_blocks.1", "_blocks.8", "_blocks.15")
NETWORKS = {"efficientnet-lite0": LAYERS, "torchvision/resnet50": ("layer1", "layer2", "layer4")}
"""Networks, each with an early, a middle and a late layer; the weights of the second are random."""

PER_UPDATE = (
    Column("(a) published", "ms"),
    Column("(b) by hand", "ms"),
    Column("(b′)", "ms"),
    Column("(c) metamery", "ms"),
    Column("(a) / (c)", "×", "higher", peer="the published procedure"),
    Column("(c) / (b)", "×", peer="a loop by hand"),
    Column("(c) / (b′)", "×", limit="a loop by hand in the same memory layout"),
)
TO_LOSS = (
    Column("loss of (a)", "", ""),
    Column("its time", "s"),
    Column("updates of `fast`", "", ""),
    Column("their time", "s"),
    Column("shorter", "×", "higher", peer="the published procedure"),
    Column("last loss of `fast`"),
)


def published(model: Model, layer: str, target: torch.Tensor, start: torch.Tensor, updates: int, rounds: int = 8):
    """(a): the update of Feather et al. (2023) for one signal, and the loss after the last."""
    network, read = model.module, {}
    handle = network.get_submodule(layer).register_forward_hook(lambda _m, _x, y: read.update(y=y))
    x = start[None].clone()

    def loss() -> torch.Tensor:
        network(x)
        return (read["y"] - target).norm() / target.norm()

    try:
        for update in range(updates):
            x.requires_grad_()
            network.zero_grad()
            loss().backward()
            step = 1.0 / 2 ** (rounds * update // updates)
            with torch.no_grad():
                x = (x - step * x.grad / (x.grad.norm() + 1e-10)).clamp(0, 1)
                loss()
        with torch.no_grad():
            return loss().item()
    finally:
        handle.remove()


def cut_off(network: nn.Module, layer: str) -> nn.Module:
    """A network up to and with one of its blocks, as plain modules one after the other."""
    if isinstance(network, ResNet):
        parts = dict(network.named_children())
        names = ["normalise", "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
        return nn.Sequential(*(parts[name] for name in names[: names.index(layer) + 1]))
    last = int(layer.rpartition(".")[2])
    first = [network.normalise, network._conv_stem, network._bn0, network._swish]
    return nn.Sequential(*first, *network._blocks[: last + 1])


def by_hand(network: nn.Module, target: torch.Tensor, start: torch.Tensor, updates: int) -> None:
    """(b)."""
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.01)
    size = target.flatten(1).norm(dim=1)
    for _ in range(updates):
        loss = (network(x) - target).flatten(1).norm(dim=1) / size
        (x.grad,) = torch.autograd.grad(loss.sum(), x)
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)


@contextmanager
def learning(network: nn.Module) -> Iterator[None]:
    """Weights that ask for gradients, as in a network that nobody froze."""
    for weight in network.parameters():
        weight.requires_grad_(True)
    yield
    for weight in network.parameters():
        weight.requires_grad_(False)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def activations(model: Model, layer: str, signals: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), Tap(model.module, [layer]) as tap:
        return tap(signals)[layer].clone()


def per_update(
    benchmark: Benchmark,
    model: Model,
    layers: Sequence[str],
    signals: torch.Tensor,
    start: torch.Tensor,
    rounds: int,
    updates: int,
) -> None:
    batch = len(signals)
    table = benchmark.table(f"One update of one stimulus, in batches of {batch}", ["layer"], PER_UPDATE)
    fast = resolve_settings("fast", steps=updates)
    procedure = Procedure(fast, relative_l2, adam(fast.step_size, **fast.optimizer_options))
    own = deepcopy(model)
    for layer in layers:
        with frozen(model.module), channels_last(model.module, model.domain):
            target = activations(model, layer, signals)
        network = cut_off(model.module, layer)

        def plain(layer: str = layer, target: torch.Tensor = target) -> None:
            with learning(model.module):
                published(model, layer, target[:1], start[0], updates)

        def hand(last: bool, network: nn.Module = network, target: torch.Tensor = target) -> None:
            with fast_on_cpu(network, model.domain) if last else nullcontext():
                by_hand(network, target, start, updates)

        def ours(layer: str = layer, target: torch.Tensor = target) -> None:
            with fast_on_cpu(own.module, own.domain), Tap(own.module, [layer]) as tap:
                match_layer(tap, target, start, procedure, own.domain)

        times = []
        with frozen(model.module), frozen(own.module), folded(own, [layer]):  # once, as a synthesis does
            for turn in range(rounds + 1):  # the first one warms up
                a = timed(plain) / updates
                b, b_last, c = (
                    timed(work) / updates / batch for work in (lambda: hand(False), lambda: hand(True), ours)
                )
                times += [(a, b, b_last, c)] if turn else []
        a, b, b_last, c = (median(column) * 1e3 for column in zip(*times, strict=True))
        ratios = zip(*((t[0] / t[3], t[3] / t[1], t[3] / t[2]) for t in times), strict=True)
        table.row(layer, a, b, b_last, c, *map(median, ratios))


def time_to_loss(
    benchmark: Benchmark,
    model: Model,
    layers: Sequence[str],
    signals: torch.Tensor,
    names: list[str],
    updates: int,
    stimuli: int,
) -> None:
    batch = len(signals)
    title = f"Until `fast`, in a batch of {batch}, has the loss of (a) after {updates:,} updates"
    table = benchmark.table(title, ["layer", "stimulus"], TO_LOSS)
    for layer in layers:
        began = time.perf_counter()
        made = synthesise(model, [_stimulus(s, n) for s, n in zip(signals, names, strict=True)], [layer], "fast")
        each = (time.perf_counter() - began) / batch  # everything counts: the natural pass, the labels
        history = made.loss.values[0, :, 0]
        for index in range(stimuli):
            with frozen(model.module):
                target = activations(model, layer, signals[index : index + 1])
                start = starting_noise(model.domain, None, 0, 0, names[index])
                with learning(model.module):
                    began = time.perf_counter()
                    reference = published(model, layer, target, start, updates)
                    taken = time.perf_counter() - began
            reached = (history[index] <= reference).nonzero()[0]
            ours = each * reached[0] / (history.shape[1] - 1) if len(reached) else each
            found = (int(reached[0]), ours, taken / ours) if len(reached) else ("not reached", ours, None)
            table.row(layer, names[index], reference, taken, *found, float(history[index, -1]))


def _stimulus(signal: torch.Tensor, name: str):
    from metamery.framework import Stimulus

    return Stimulus(signal, name=name)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--network", choices=list(NETWORKS), default="efficientnet-lite0")
    benchmark.option("--layers", nargs="+", help="an early, a middle and a late one by default")
    benchmark.option("--rounds", type=int, default=7)
    benchmark.option("--updates", type=int, default=40, help="in each round")
    benchmark.option("--batch", type=int, default=8)
    benchmark.option("--updates-of-a", type=int, default=3000)
    benchmark.option("--stimuli", type=int, default=2, help="of the second part")
    arguments = benchmark.parse()
    benchmark.head()
    plugins = Plugins(installed=())
    options = {} if arguments.network == "efficientnet-lite0" else {"weights": "none"}
    model = plugins.load("model", arguments.network, **options)
    layers = arguments.layers or NETWORKS[arguments.network]
    chosen = plugins.load("stimuli", "natural", limit=arguments.batch)
    signals = torch.stack([model.domain.fit(stimulus) for stimulus in chosen])
    names = [stimulus.name for stimulus in chosen]
    start = torch.stack([starting_noise(model.domain, None, 0, 0, name) for name in names])
    per_update(benchmark, model, layers, signals, start, arguments.rounds, arguments.updates)
    if arguments.updates_of_a:
        given = layers, signals, names, arguments.updates_of_a, arguments.stimuli
        time_to_loss(benchmark, model, *given)


if __name__ == "__main__":
    main()
