"""Does `stop = "verdict"` give the verdicts of full runs, and in how much less time? And what does it change?

Metamers of the same stimuli, networks and layers are made in full and screened; for each network and layer: how many
verdicts (after rounding) are equal, the mean number of updates, the time, the mean loss, and how often other networks
give a metamer the class that they give its natural signal.

    python benchmarks/screening.py standard-1 adversarial-1 --others other-1 other-2 --stimuli CIFAR10_TEST_FOLDER
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from metamery.analysis import judge, null_distribution, synthesise
from metamery.framework import Model, Plugins
from metamery.framework.devices import resolve_device
from others import interval, networks, recognised, stimuli_of
from table import Benchmark, Column

COLUMNS = (
    Column("metamers", better=""),
    Column("succeed: full", better="higher"),
    Column("screened", better="higher"),
    Column("equal verdicts", better="higher"),
    Column("updates", "of the full run's"),
    Column("time", "of the full run's"),
    Column("loss: full"),
    Column("screened"),
    Column("recognised: full", better=""),
    Column("screened minus it", better=""),
)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("networks", nargs="+", help="names or run folders")
    benchmark.option("--others", nargs="*", default=[], help="networks that only recognise")
    benchmark.option("--layers", nargs="+", help="the networks' own by default")
    benchmark.option("--stimuli", default="natural", help="a folder or a name")
    benchmark.option("--limit", type=int, default=100)
    benchmark.option("--null-signals", type=int, default=400)
    benchmark.option("--steps", type=int, default=2000)
    benchmark.option("--seeds", type=int, default=1)
    benchmark.option("--device", default="auto")
    given = benchmark.parse()
    plugins, device = Plugins(installed=()), resolve_device(given.device)
    made, others = networks(given.networks, plugins), networks(given.others, plugins)
    stimuli = stimuli_of(given.stimuli, given.limit, plugins)
    unrelated = stimuli_of(given.stimuli, given.null_signals, plugins)
    benchmark.head()
    table = benchmark.table("Screening", ["network", "layer"], COLUMNS)
    equal = total = 0
    for name, model in made.items():
        asked = {other: each for other, each in {**made, **others}.items() if other != name}
        layers = given.layers or list(model.layers)
        null = null_distribution(model, unrelated, layers, device=device)
        for layer in layers:
            took, results = [], []
            for changes in ({}, {"stop": "verdict", "null": null}):
                began = time.perf_counter()
                made_so = {"steps": given.steps, "seeds": given.seeds, "batch_size": len(stimuli), "device": device}
                results.append(synthesise(model, stimuli, [layer], **made_so, **changes))
                took.append(time.perf_counter() - began)
            full, screened = (judge(result, null)["quantised_success"].values.ravel() for result in results)
            seen = [by_others(asked, model, result, device) for result in results]
            same = int((full == screened).sum())
            equal, total = equal + same, total + full.size
            table.row(
                name,
                layer,
                full.size,
                int((full == 1).sum()),
                int((screened == 1).sum()),
                same,
                float(results[1].steps.mean()) / given.steps,
                took[1] / took[0],
                *(float(result.loss.isel(step=result.steps).mean()) for result in results),
                interval(seen[0]),
                interval(seen[1] - seen[0]),
            )
    benchmark.note(f"{equal} of {total} verdicts are equal")


def by_others(asked: Mapping[str, Model], model: Model, made: xr.Dataset, device: torch.device) -> np.ndarray:
    """How many of the networks recognise the metamers of each stimulus; ``(N,)``."""
    natural = torch.from_numpy(made["natural"].values)
    each_seed = made["signal"].isel(layer=0).transpose("seed", "stimulus", ...).values
    signals = [torch.from_numpy(one) for one in each_seed]
    return np.mean([recognised(asked, model.domain, one, natural, device) for one in signals], axis=0)


if __name__ == "__main__":
    main()
