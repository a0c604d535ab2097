"""How fast is synthesis? metamery beside the published procedure done plainly, and beside a loop written by hand.

On EfficientNet-Lite0 with scikit-image's photographs, at three layers, side by side in one run:

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
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
from metamery.framework.running import channels_last, frozen, keeping_memory
from torch import nn

LAYERS = ("_blocks.1", "_blocks.8", "_blocks.15")
WANTED = {"_blocks.1": 4.0, "_blocks.8": 2.2, "_blocks.15": 1.8}


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
    """EfficientNet-Lite0 up to and with one of its blocks, as plain modules one after the other."""
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


@contextmanager
def quick(network: nn.Module, model: Model) -> Iterator[None]:
    """What `synthesise` does with the memory."""
    with channels_last(network, model.domain), keeping_memory():
        yield


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def activations(model: Model, layer: str, signals: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), Tap(model.module, [layer]) as tap:
        return tap(signals)[layer].clone()


def per_update(model: Model, signals: torch.Tensor, start: torch.Tensor, rounds: int, updates: int) -> None:
    batch = len(signals)
    print(
        f"\nmilliseconds for one update of one stimulus, batch {batch}: median of {rounds} rounds of {updates} updates"
    )
    print(f"{'layer':<12}{'(a) published':>14}{'(b) by hand':>13}{'(b′)':>8}{'(c) metamery':>14}", end="")
    print(f"{'(a)/(c)':>10}{'wanted':>8}{'(c)/(b)':>9}{'(c)/(b′)':>10}")
    fast = resolve_settings("fast", steps=updates)
    procedure = Procedure(fast, relative_l2, adam(fast.step_size, **fast.optimizer_options))
    for layer in LAYERS:
        with frozen(model.module), channels_last(model.module, model.domain):
            target = activations(model, layer, signals)
        network = cut_off(model.module, layer)

        def plain(layer: str = layer, target: torch.Tensor = target) -> None:
            with learning(model.module):
                published(model, layer, target[:1], start[0], updates)

        def hand(last: bool, network: nn.Module = network, target: torch.Tensor = target) -> None:
            with quick(network, model) if last else nullcontext():
                by_hand(network, target, start, updates)

        def ours(layer: str = layer, target: torch.Tensor = target) -> None:
            with folded(model, [layer]), quick(model.module, model), Tap(model.module, [layer]) as tap:
                match_layer(tap, target, start, procedure, model.domain)

        times = []
        with frozen(model.module):
            for turn in range(rounds + 1):  # the first one warms up
                a = timed(plain) / updates
                b, b_last, c = (
                    timed(work) / updates / batch for work in (lambda: hand(False), lambda: hand(True), ours)
                )
                times += [(a, b, b_last, c)] if turn else []
        a, b, b_last, c = (median(column) * 1e3 for column in zip(*times, strict=True))
        ratios = [median(x(t) for t in times) for x in (_a_to_c, _c_to_b, _c_to_b_last)]
        print(f"{layer:<12}{a:>14.1f}{b:>13.1f}{b_last:>8.1f}{c:>14.1f}", end="")
        print(f"{ratios[0]:>9.1f}×{WANTED[layer]:>7.1f}×{ratios[1]:>9.2f}{ratios[2]:>10.2f}", flush=True)


def _a_to_c(times: tuple[float, float, float, float]) -> float:
    return times[0] / times[3]


def _c_to_b(times: tuple[float, float, float, float]) -> float:
    return times[3] / times[1]


def _c_to_b_last(times: tuple[float, float, float, float]) -> float:
    return times[3] / times[2]


def time_to_loss(model: Model, signals: torch.Tensor, names: list[str], updates: int, stimuli: int) -> None:
    batch = len(signals)
    print(f"\ntime until `fast` (a batch of {batch}) has the loss of (a) after {updates} updates; wanted: 15×")
    print(f"{'layer':<12}{'stimulus':<14}{'loss of (a)':>12}{'seconds':>9}{'fast: updates':>15}{'seconds':>9}", end="")
    print(f"{'shorter':>9}{'last loss':>11}")
    for layer in LAYERS:
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
            line = f"{layer:<12}{names[index]:<14}{reference:>12.4f}{taken:>9.1f}"
            if len(reached):
                ours = each * reached[0] / (history.shape[1] - 1)
                line += f"{reached[0]:>15}{ours:>9.2f}{taken / ours:>8.1f}×"
            else:
                line += f"{'not reached':>15}{each:>9.2f}{'–':>9}"
            print(f"{line}{history[index, -1]:>11.4f}", flush=True)


def _stimulus(signal: torch.Tensor, name: str):
    from metamery.framework import Stimulus

    return Stimulus(signal, name=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=40, help="in each round")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--updates-of-a", type=int, default=3000)
    parser.add_argument("--stimuli", type=int, default=2, help="of the second part")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    plugins = Plugins(installed=())
    model = plugins.load("model", "efficientnet-lite0")
    chosen = plugins.load("stimuli", "natural", limit=arguments.batch)
    signals = torch.stack([model.domain.fit(stimulus) for stimulus in chosen])
    names = [stimulus.name for stimulus in chosen]
    start = torch.stack([starting_noise(model.domain, None, 0, 0, name) for name in names])
    per_update(model, signals, start, arguments.rounds, arguments.updates)
    if arguments.updates_of_a:
        time_to_loss(model, signals, names, arguments.updates_of_a, arguments.stimuli)


if __name__ == "__main__":
    main()
