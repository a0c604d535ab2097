"""How much Hann windows help, and how much folds without them: ``python aliasing.py STUDY`` after ``aliasing.sh``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from findings import Effects, by_stimulus, kind, text
from metamery.framework import open_study
from scipy.stats import t as student_t

JUDGES = {"": "all other networks", "random": "the ResNet-20", "other": "the networks on a mel spectrogram"}


def folded(study: xr.DataTree) -> None:
    """Print the mean share of energy that folds at each step of each network, for natural signals."""
    shares = study["character"].to_dataset()["natural_aliasing"].mean("stimulus")
    networks = [str(model) for model in shares["model"].values]
    for name in ("standard", "hann"):
        mean = shares[[kind(network) == name for network in networks]].mean("site").dropna("measured_layer")
        steps = (f"{step} {float(share):.3f}" for step, share in zip(mean["measured_layer"].values, mean, strict=True))
        print(f"{name}: {', '.join(steps)}")


def between(shares: xr.DataArray) -> str:
    """Return what each network's metamers get, and the difference of two kinds that Student's t would find (5 %)."""
    rows = shares.transpose("kind", "network").values
    error = np.sqrt(rows.var(axis=1, ddof=1).sum() / rows.shape[1])
    least = error * student_t.ppf(0.975, 2 * rows.shape[1] - 2)
    named = zip(shares["kind"].values, rows, strict=True)
    listed = (f"{name} {', '.join(f'{share:.2f}' for share in row)}" for name, row in named)
    return f"{'; '.join(listed)}; between networks a difference of {least:.2f} would be significant"


def main(folder: Path) -> None:
    study = open_study(folder)
    print("share of the activations' energy that folds where a network subsamples natural signals\n")
    folded(study)
    print("\nrecognition, on stimuli whose natural signal the generator classifies correctly\n")
    for judge, who in JUDGES.items():
        _, others = by_stimulus(study, judge)
        print(f"by {who}")
        for layer in others["layer"].values:
            effects = Effects({name: others.sel(kind=name, layer=layer) for name in ("standard", "hann")})
            means = ("{:.2f} ({:.2f} to {:.2f})".format(*effects.of(f"+{name}")) for name in effects.names)
            print(f"  {layer}: {'; '.join(means)}; Hann minus standard {text(effects.of('+hann', '-standard'))}")
            print(f"    network by network: {between(others.sel(layer=layer).mean('stimulus'))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
