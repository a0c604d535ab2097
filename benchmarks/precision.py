"""What does a reduced precision of the passes do to metamers? The same metamers in each, measured in float32.

For each layer and precision that the device has: the mean loss at the end as the network computes it in float32, that
loss relative to that of float32 (geometric mean over metamers), and how many metamers succeed after rounding.

    python benchmarks/precision.py efficientnet-lite0 --layers _blocks.1 _blocks.8 _blocks.15
"""

from __future__ import annotations

import numpy as np
from metamery.analysis import judge, null_distribution, synthesise
from metamery.analysis.proof.success import at_own_layer
from metamery.framework import MetameryError, Plugins
from metamery.framework.devices import PRECISIONS, check_precision, resolve_device
from others import stimuli_of
from table import Benchmark, Column

COLUMNS = (
    Column("loss"),
    Column("loss", "of float32's"),
    Column("succeed", better="higher"),
    Column("unattainable", better=""),
    Column("metamers", better=""),
)


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("network", help="name or run folder")
    benchmark.option("--layers", nargs="+", help="the network's own by default")
    benchmark.option("--stimuli", default="natural", help="a folder or a name")
    benchmark.option("--limit", type=int, default=16)
    benchmark.option("--null", help="stimuli of the null; the same by default")
    benchmark.option("--null-signals", type=int, default=400)
    benchmark.option("--steps", type=int, default=2000)
    benchmark.option("--device", default="auto")
    given = benchmark.parse()
    plugins, device = Plugins(installed=()), resolve_device(given.device)
    model = plugins.load("model", given.network)
    layers = given.layers or list(model.layers)
    stimuli = stimuli_of(given.stimuli, given.limit, plugins)
    null = null_distribution(
        model, stimuli_of(given.null or given.stimuli, given.null_signals, plugins), layers, device=device
    )
    benchmark.head()
    table = benchmark.table("Precision", ["layer", "precision"], COLUMNS)
    reference: np.ndarray | None = None
    for precision in PRECISIONS:
        try:
            check_precision(precision, device)
        except MetameryError:
            continue
        made = synthesise(
            model, stimuli, layers, precision=precision, steps=given.steps, batch_size=len(stimuli), device=device
        )
        verdicts = judge(made, null)["quantised_success"]
        losses = at_own_layer(made["match"]).sel(metric="relative_l2").transpose("layer", ...).values
        losses = losses.reshape(len(layers), -1)
        reference = losses if reference is None else reference
        for index, layer in enumerate(layers):
            found = verdicts.sel(layer=layer).values
            table.row(
                layer,
                precision,
                float(losses[index].mean()),
                float(np.exp(np.log(losses[index] / reference[index]).mean())),
                int((found == 1).sum()),
                int((found == 2).sum()),
                found.size,
            )


if __name__ == "__main__":
    main()
