"""Are metamers of `fast` those of `feather2023` at equal loss? Both on the same stimuli, judged by other networks.

`feather2023` runs to its end; `fast` runs in full, and once more such that each metamer stops at the first look (every
10 updates) at which its loss is at most that of its counterpart. For each network and layer: the mean losses, the
updates of `fast` until then, and how often the other networks give a metamer the class that they give its natural
signal, with the differences in pairs and their 95 % intervals over stimuli.

    python benchmarks/equal_loss.py standard-1 adversarial-1 --others other-1 other-2 --stimuli CIFAR10_TEST_FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

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


def compare(model: Model, layer: str, natural: torch.Tensor, names: Sequence[str], arguments: argparse.Namespace):
    """Make the metamers of one layer by `feather2023`, `fast`, and `fast` until the loss of the first."""
    device = resolve_device(arguments.device)
    noise = torch.stack([starting_noise(model.domain, None, 0, 0, name) for name in names]).to(device)
    model.module.to(device)
    changes = [{"steps": steps} if steps else {} for steps in (arguments.published_steps, arguments.fast_steps)]
    published, fast = (
        Procedure.load(resolve_settings(preset, **own), Plugins(installed=()))
        for preset, own in zip(("feather2023", "fast"), changes, strict=True)
    )
    with (
        frozen(model.module),
        channels_last(model.module, model.domain),
        repeatable("float32"),
        folded(model, [layer]),
        model.tap([layer]) as tap,
    ):
        with torch.no_grad():
            target = tap(natural.to(device))[layer].clone()

        def make(procedure: Procedure, settled: Until | None = None) -> Record:
            return match_layer(tap, target, noise, procedure, model.domain, capture=True, settled=settled)

        first = make(published)
        return first, make(fast), make(fast, Until(final(first)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+", help="names or run folders")
    parser.add_argument("--others", nargs="*", default=[], help="networks that only recognise")
    parser.add_argument("--layers", nargs="+", default=["stages.2", "stages.3", "output"])
    parser.add_argument("--stimuli", default="natural", help="a folder or a name")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--published-steps", type=int, help="updates of feather2023 in place of 24,000")
    parser.add_argument("--fast-steps", type=int, help="updates of fast in place of 2,000")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    plugins, device = Plugins(installed=()), resolve_device(arguments.device)
    made, others = networks(arguments.networks, plugins), networks(arguments.others, plugins)
    stimuli = stimuli_of(arguments.stimuli, arguments.limit, plugins)
    items = [stimuli[index] for index in range(len(stimuli))]
    print("| network | layer | s | loss: published | fast | fast until then | its updates | recognised: published | "
          "fast minus it | fast until then minus it |\n|" + "---|" * 10)  # fmt: skip
    pooled: dict[str, list[np.ndarray]] = {}
    for name, model in made.items():
        natural = torch.stack([model.domain.fit(item) for item in items])
        asked = {other: each for other, each in {**made, **others}.items() if other != name}
        for layer in arguments.layers:
            began = time.perf_counter()
            records = compare(model, layer, natural, [item.name for item in items], arguments)
            seconds = time.perf_counter() - began
            seen = [recognised(asked, model.domain, record.signals, natural, device) for record in records]
            losses = [float(final(record).mean()) for record in records]
            pooled.setdefault(layer, []).append(np.stack(seen))
            updates = records[2].steps.float()
            print(
                f"| {name} | `{layer}` | {seconds:.0f} | {losses[0]:.4f} | {losses[1]:.4f} | {losses[2]:.4f} | "
                f"{int(updates.median())} | {interval(seen[0])} | {interval(seen[1] - seen[0])} | "
                f"{interval(seen[2] - seen[0])} |",
                flush=True,
            )
    for layer, each in pooled.items():
        published, fast, until = np.mean(each, axis=0)
        print(
            f"| all | `{layer}` | | | | | | {interval(published)} | {interval(fast - published)} | "
            f"{interval(until - published)} |"
        )


if __name__ == "__main__":
    main()
