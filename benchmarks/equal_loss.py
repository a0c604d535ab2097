"""Are metamers of `fast` those of `feather2023` at equal loss? Both on the same stimuli, judged by other networks.

`feather2023` runs to its end; `fast` runs in full, and once more such that each metamer stops at the first look (every
10 updates) at which its loss is at most that of its counterpart. For each network and layer: the mean losses, the
updates of `fast` until then, and how often the other networks give a metamer the class that they give its natural
signal, with the differences in pairs and their 95 % intervals over stimuli.

    python benchmarks/equal_loss.py standard-1 adversarial-1 --others other-1 other-2 --stimuli CIFAR10_TEST_FOLDER
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from metamery.analysis import match_layer
from metamery.analysis.synthesis.driver import starting_noise
from metamery.analysis.synthesis.matching import Record
from metamery.analysis.synthesis.procedure import Procedure
from metamery.analysis.synthesis.settings import resolve_settings
from metamery.framework import Model, Plugins
from metamery.framework.devices import repeatable, resolve_device
from metamery.framework.folding import folded
from metamery.framework.running import channels_last, frozen
from others import interval, networks, recognised, stimuli_of
from table import Benchmark, Column


class Until:
    """Lets a metamer leave at the first look at which its loss is low enough."""

    def __init__(self, wanted: torch.Tensor) -> None:
        self._wanted = wanted

    def __call__(self, _update: int, _signals: object, distances: torch.Tensor, rows: Sequence[int]) -> list[bool]:
        reached: list[bool] = (distances.cpu() <= self._wanted[[*rows]]).tolist()
        return reached


def final(record: Record) -> torch.Tensor:
    """The last loss of each metamer, ``(B,)``."""
    return record.losses.gather(1, record.steps[:, None].long()).squeeze(1)


COLUMNS = (
    Column("loss: published"),
    Column("fast"),
    Column("fast until then"),
    Column("its updates"),
    Column("recognised: published", better=""),
    Column("fast minus it", better=""),
    Column("fast until then minus it", better=""),
    Column("time", "s"),
)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("networks", nargs="+", help="names or run folders")
    benchmark.option("--others", nargs="*", default=[], help="networks that only recognise")
    benchmark.option("--layers", nargs="+", default=["stages.2", "stages.3", "output"])
    benchmark.option("--stimuli", default="natural", help="a folder or a name")
    benchmark.option("--limit", type=int, default=100)
    benchmark.option("--published-steps", type=int, default=24_000, help="updates of feather2023")
    benchmark.option("--fast-steps", type=int, default=2000, help="updates of fast")
    benchmark.option("--device", default="auto")
    given = benchmark.parse()
    plugins, device = Plugins(installed=()), resolve_device(given.device)
    made, others = networks(given.networks, plugins), networks(given.others, plugins)
    items = stimuli_of(given.stimuli, given.limit, plugins)
    published, fast = (
        Procedure.load(resolve_settings(preset, steps=steps), plugins)
        for preset, steps in (("feather2023", given.published_steps), ("fast", given.fast_steps))
    )
    benchmark.head()
    table = benchmark.table("The presets at equal loss", ["network", "layer"], COLUMNS)
    pooled: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, model in made.items():
        natural = torch.stack([model.domain.fit(item) for item in items])
        asked = {other: each for other, each in {**made, **others}.items() if other != name}
        for layer in given.layers:
            began = time.perf_counter()
            records = make(model, layer, natural, [item.name for item in items], published, fast, device)
            seconds = time.perf_counter() - began
            seen = [recognised(asked, model.domain, record.signals, natural, device) for record in records]
            pooled[layer].append(np.stack(seen))
            losses = [float(final(record).mean()) for record in records]
            table.row(name, layer, *losses, float(records[2].steps.float().median()), *compared(seen), seconds)
    for layer, each in pooled.items():
        table.row("all", layer, None, None, None, None, *compared(np.mean(each, axis=0)), None)


def make(
    model: Model,
    layer: str,
    natural: torch.Tensor,
    names: Sequence[str],
    published: Procedure,
    fast: Procedure,
    device: torch.device,
) -> tuple[Record, Record, Record]:
    """Make metamers by the published procedure, by `fast`, and by `fast` until the loss of the first."""
    noise = torch.stack([starting_noise(model.domain, None, 0, 0, name) for name in names]).to(device)
    model.module.to(device)
    with (
        frozen(model.module),
        channels_last(model.module, model.domain),
        repeatable("float32"),
        folded(model, [layer]),
        model.tap([layer]) as tap,
    ):
        with torch.no_grad():
            target = tap(natural.to(device))[layer].clone()
        matched = partial(match_layer, tap, target, noise, domain=model.domain, capture=True)
        first = matched(published)
        return first, matched(fast), matched(fast, settled=Until(final(first)))


def compared(seen: Sequence[np.ndarray]) -> list[str]:
    """How much is recognised of the published metamers, and by how much more of the others."""
    published, fast, until = seen
    return [interval(published), interval(fast - published), interval(until - published)]


if __name__ == "__main__":
    main()
