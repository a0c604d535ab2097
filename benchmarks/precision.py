"""What does a reduced precision of the passes do to metamers? The same metamers in each, measured in float32.

For each layer and precision that the device has: the mean loss at the end as the network computes it in float32, that
loss relative to that of float32 (geometric mean over metamers), and how many metamers succeed after rounding.

    python benchmarks/precision.py efficientnet-lite0 --layers _blocks.1 _blocks.8 _blocks.15
"""

from __future__ import annotations

import argparse

import numpy as np
from metamery.analysis import judge, null_distribution, synthesise
from metamery.analysis.proof.success import at_own_layer
from metamery.framework import MetameryError, Plugins
from metamery.framework.devices import PRECISIONS, check_precision, resolve_device
from others import stimuli_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", help="name or run folder")
    parser.add_argument("--layers", nargs="+", help="the network's own by default")
    parser.add_argument("--stimuli", default="natural", help="a folder or a name")
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--null-signals", type=int, default=400)
    parser.add_argument("--null", help="stimuli of the null; the same by default")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    plugins, device = Plugins(installed=()), resolve_device(arguments.device)
    model = plugins.load("model", arguments.network)
    layers = arguments.layers or list(model.layers)
    stimuli = stimuli_of(arguments.stimuli, arguments.limit, plugins)
    unrelated = stimuli_of(arguments.null or arguments.stimuli, arguments.null_signals, plugins)
    null = null_distribution(model, unrelated, layers, device=device)
    print("| layer | precision | loss | of float32's | succeed | unattainable |\n|" + "---|" * 6)
    reference = None
    for precision in PRECISIONS:
        try:
            check_precision(precision, device)
        except MetameryError:
            continue
        given = {"precision": precision, "steps": arguments.steps, "batch_size": len(stimuli), "device": device}
        made = synthesise(model, stimuli, layers, **given)
        verdicts = judge(made, null)["quantised_success"]
        losses = at_own_layer(made["match"]).sel(metric="relative_l2").transpose("layer", ...).values
        losses = losses.reshape(len(layers), -1)
        reference = losses if reference is None else reference
        for index, layer in enumerate(layers):
            ratio = np.exp(np.log(losses[index] / reference[index]).mean())
            found = verdicts.sel(layer=layer).values
            print(
                f"| `{layer}` | {precision} | {losses[index].mean():.4f} | {ratio:.3f} | "
                f"{(found == 1).sum()}/{found.size} | {(found == 2).sum()} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
