"""Does `stop = "verdict"` give the verdicts of full runs, and in how much less time? And what does it change?

Metamers of the same stimuli, networks and layers are made in full and screened; for each network and layer: how many
verdicts (after rounding) are equal, the mean number of updates, the time, the mean loss, and how often other networks
give a metamer the class that they give its natural signal.

    python benchmarks/screening.py standard-1 adversarial-1 --others other-1 other-2 --stimuli CIFAR10_TEST_FOLDER
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from metamery.analysis import judge, null_distribution, synthesise
from metamery.framework import Plugins
from metamery.framework.devices import resolve_device
from others import interval, networks, recognised, stimuli_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+", help="names or run folders")
    parser.add_argument("--others", nargs="*", default=[], help="networks that only recognise")
    parser.add_argument("--layers", nargs="+", help="the networks' own by default")
    parser.add_argument("--stimuli", default="natural", help="a folder or a name")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--null-signals", type=int, default=400)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    plugins, device = Plugins(installed=()), resolve_device(arguments.device)
    made, others = networks(arguments.networks, plugins), networks(arguments.others, plugins)
    stimuli = stimuli_of(arguments.stimuli, arguments.limit, plugins)
    unrelated = stimuli_of(arguments.stimuli, arguments.null_signals, plugins)
    print("| network | layer | metamers | succeed: full | screened | equal verdicts | updates | time | loss: full | "
          "screened | recognised: full | screened minus it |\n|" + "---|" * 12)  # fmt: skip
    total, equal = 0, 0
    for name, model in made.items():
        asked = {other: each for other, each in {**made, **others}.items() if other != name}
        layers = arguments.layers or list(model.layers)
        null = null_distribution(model, unrelated, layers, device=device)
        for layer in layers:
            given = {"steps": arguments.steps, "seeds": arguments.seeds, "batch_size": len(stimuli), "device": device}
            took, results = [], []
            for changes in ({}, {"stop": "verdict", "null": null}):
                began = time.perf_counter()
                results.append(synthesise(model, stimuli, [layer], **given, **changes))
                took.append(time.perf_counter() - began)
            verdicts = [judge(result, null)["quantised_success"].values.ravel() for result in results]
            losses = [float(r.loss.isel(step=r.steps).mean()) for r in results]
            seen = []
            for result in results:
                natural = torch.from_numpy(result["natural"].values)
                each = [
                    recognised(asked, model.domain, torch.from_numpy(seed.values), natural, device)
                    for seed in result["signal"].isel(layer=0).transpose("seed", "stimulus", ...)
                ]
                seen.append(np.mean(each, axis=0))
            total, equal = total + len(verdicts[0]), equal + int((verdicts[0] == verdicts[1]).sum())
            updates = results[1].steps.values.mean() / arguments.steps
            print(
                f"| {name} | `{layer}` | {len(verdicts[0])} | {(verdicts[0] == 1).sum()} | {(verdicts[1] == 1).sum()} |"
                f" {(verdicts[0] == verdicts[1]).sum()} | {updates:.0%} | {took[1] / took[0]:.0%} | {losses[0]:.4f} | "
                f"{losses[1]:.4f} | {interval(seen[0])} | {interval(seen[1] - seen[0])} |",
                flush=True,
            )
    print(f"\n{equal} of {total} verdicts are equal")


if __name__ == "__main__":
    main()
