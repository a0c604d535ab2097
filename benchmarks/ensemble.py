"""Are metamers of two networks at once recognised more often by a third than each network's own?

For each layer, with the same stimuli, starting noise and updates: the metamers of A at its layer, those of B, and those
of both together (one term in each, at the same relative depth). Networks that neither made them are asked: a metamer
counts as recognised where they give it the class that they give its original (rounded, in their own domain). Intervals
are 95 % bootstraps over stimuli; the last column is the gain over the mean of the two networks' own.

    python benchmarks/ensemble.py efficientnet-lite0 efficientnet-lite1 --others efficientnet-lite2
"""

from __future__ import annotations

import numpy as np
import torch
from metamery.analysis import join_models, judge, null_distribution, synthesise
from metamery.analysis.synthesis.together import member_names
from metamery.framework import Plugins
from others import interval, networks, recognised, stimuli_of
from table import Benchmark, Column


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("models", nargs=2)
    benchmark.option("--others", nargs="+", required=True, help="networks that are asked")
    benchmark.option("--stimuli", default="natural", help="a name or a folder")
    benchmark.option("--limit", type=int, default=6)
    benchmark.option("--layers", type=int, default=3, help="number of layers, evenly spaced")
    benchmark.option("--steps", type=int, default=500)
    benchmark.option("--null-signals", type=int, default=20)
    benchmark.option("--device", default="cpu")
    asked = benchmark.parse()
    benchmark.head()
    plugins, device = Plugins(), torch.device(asked.device)
    members = dict(zip(member_names(asked.models), networks(asked.models, plugins).values(), strict=True))
    others = networks(asked.others, plugins)
    stimuli = stimuli_of(asked.stimuli, asked.limit, plugins)
    signals = stimuli_of(asked.stimuli, asked.null_signals, plugins)
    both = join_models(members)
    natural = torch.stack([both.domain.fit(stimuli[index]) for index in range(len(stimuli))])
    columns = [Column("succeed", better="higher"), Column("recognised by others", better="higher"), Column("more")]
    table = benchmark.table("Metamers of two networks at once", ["layer", "made of"], columns)
    count = len(both.objectives)
    for index in np.linspace(0, count - 1, asked.layers).round().astype(int):
        joint = both.objectives[index]
        found: dict[str, np.ndarray] = {}
        for layer in [*joint.split(" + "), joint]:
            metamers = synthesise(both, stimuli, [layer], steps=asked.steps, device=device)
            null = null_distribution(both, signals, [layer], device=device)
            success = judge(metamers, null)["quantised_matches"].values == 1
            made = torch.from_numpy(metamers["signal"].values[0, :, 0])
            found[layer] = recognised(others, both.domain, made, natural, device)
            own = np.mean([*found.values()][:2], axis=0)
            gain = interval(found[layer] - own) if layer == joint else None
            table.row(joint, layer if layer != joint else "both", f"{success.mean():.2f}", interval(found[layer]), gain)


if __name__ == "__main__":
    main()
