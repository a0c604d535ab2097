"""Which findings of Feather et al. (2023) a miniature replicates: ``python findings.py FOLDER`` after ``replicate.sh``.

Recognition is the mean proportion of right answers of all *other* networks, on stimuli whose natural signal the
generator classifies correctly; intervals are 95 % percentiles of a bootstrap over stimuli, which all networks share.
The curves are written to ``findings.svg``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from metamery.analysis.recognition.recognise import NATURAL
from metamery.analysis.statistics import bootstrap
from metamery.framework import open_study
from numpy.typing import NDArray

KINDS = ("standard", "adversarial", "random", "hann")
RESAMPLES = 4000

Array = NDArray[np.float64]


def kind(model: str) -> str:
    """Return the kind of a model, ``standard`` for ``run:standard-1``."""
    return model.rpartition(":")[2].rpartition("/")[2].rpartition("-")[0]


def by_stimulus(study: xr.DataTree, judge: str = "", common: bool = False) -> tuple[xr.DataArray, xr.DataArray]:
    """Own and others' recognition ``(kind, layer, network, stimulus)``, NaN where the natural signal is not recognised.

    Others are all other networks, or those of one kind, `judge`; with `common` only stimuli count that all generators
    recognise.
    """
    results = study["recognition"].to_dataset()
    models = [str(model) for model in results["model"].values]
    layers = [str(layer) for layer in results["layer"].values]
    recognisers = [str(name) for name in results["recogniser"].values]
    row_of = {site: row for row, site in enumerate(zip(models, layers, strict=True))}
    correct = results["correct"].where(results["correct"] >= 0).mean("seed")
    correct = correct.transpose("site", "recogniser", "stimulus").values
    is_own = np.array([[name == model for name in recognisers] for model in models])[..., None]
    own = np.where(is_own, correct, 0).sum(axis=1)
    asked = ~is_own & np.array([judge in ("", kind(name)) for name in recognisers])[:, None]
    others = np.where(asked, correct, 0).sum(axis=1) / asked.sum(axis=1)
    right = np.array([own[row_of[model, NATURAL]] == 1 for model in models])
    right = right.all(axis=0) if common else right
    kinds = [name for name in KINDS if name in {kind(model) for model in models}]
    networks = {name: [model for model in dict.fromkeys(models) if kind(model) == name] for name in kinds}
    order = list(dict.fromkeys(layers))
    rows = np.array([[[row_of[model, layer] for model in networks[name]] for layer in order] for name in kinds])
    named = {"kind": kinds, "layer": order}, ("kind", "layer", "network", "stimulus")
    own, others = (np.where(right, each, np.nan)[rows] for each in (own, others))
    return xr.DataArray(own, *named), xr.DataArray(others, *named)


def means(values: Array) -> Array:
    """Average ``(b, stimulus, …, network)`` over stimuli, then over networks, to ``(b, …)``."""
    known = np.isfinite(values)
    counted = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.divide(total, counted, out=np.full(total.shape, np.nan), where=counted > 0).mean(axis=-1)


class Effects:
    """Differences of means with their intervals, all from the same resamples."""

    def __init__(self, values: dict[str, xr.DataArray]) -> None:
        self.names = list(values)
        arrays = [each.transpose("stimulus", "network").values for each in values.values()]
        self.values = np.stack(arrays, axis=1)  # (stimulus, name, network)

    def of(self, *terms: str) -> tuple[float, float, float]:
        """Return a sum of means, such as ``"+a", "-b"``, and its interval."""
        signs = np.array([("+" + name in terms) - float("-" + name in terms) for name in self.names])
        result = bootstrap(
            self.values,
            lambda drawn: means(drawn) @ signs,
            generator=np.random.default_rng(0),
            resamples=RESAMPLES,
            method="percentile",
        )
        return float(result.estimate), float(result.low), float(result.high)


def verdict(*effects: tuple[float, float, float]) -> str:
    """Return whether all effects are above 0, by their intervals, as text."""
    if all(low > 0 for _, low, _ in effects):
        return "replicates"
    if any(high < 0 for _, _, high in effects):
        return "opposite effect"
    return "does not replicate"


def text(effect: tuple[float, float, float]) -> str:
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*effect)


def draw(means: Array, layers: list[str], path: Path) -> None:
    """Draw curves over layers, of ``(kind, layer, 3)``: a mean and the ends of its interval."""
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "metamery", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for index, (name, rows) in enumerate(zip(KINDS, means, strict=True)):
        mean, low, high = rows.T
        at = np.arange(len(layers)) + 0.06 * (index - (len(KINDS) - 1) / 2)
        axes.errorbar(at, mean, [mean - low, high - mean], marker="o", markersize=4, capsize=2, label=name)
    axes.set_xticks(range(len(layers)), [layer.replace(".stages", ".\nstages") for layer in layers])
    axes.set(ylim=(0, 1.02), xlabel="metamers of", ylabel="proportion recognised by others")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, metadata={"Date": None})


def kept(study: xr.DataTree, layer: str) -> dict[str, xr.DataArray]:
    """Whether the standard networks keep their answers under changes of the same size ``(stimulus, network)``."""
    results = study["contrast"].to_dataset()
    agrees = results["agrees"].where(results["agrees"] >= 0).mean("seed")
    wanted = [s for s, (m, at) in enumerate(zip(results["model"].values, results["layer"].values, strict=True))
              if kind(str(m)) == "standard" and at == layer]  # fmt: skip
    own = [agrees.isel(site=s).sel(recogniser=str(results["model"].values[s])) for s in wanted]
    joined = xr.concat([each.drop_vars([n for n in each.coords if n not in each.dims]) for each in own], "network")
    return {name: joined.sel(transformation=name, drop=True) for name in ("metamer", "adversarial", "noise")}


def main(folder: Path) -> None:
    study, prior = open_study(folder / "study"), open_study(folder / "prior")
    own, others = by_stimulus(study)
    _, smooth = by_stimulus(prior)
    layers = [str(layer) for layer in own["layer"].values]
    last = layers[-1]
    print("recognition by other networks, on stimuli whose natural signal the generator classifies correctly\n")
    width = max(map(len, layers))
    print("  ".join(["layer".ljust(width), *(name.ljust(20) for name in KINDS)]))
    curves = np.array(
        [[Effects({"a": others.sel(kind=name, layer=layer)}).of("+a") for layer in layers] for name in KINDS]
    )
    for layer, row in zip(layers, curves.swapaxes(0, 1), strict=True):
        cells = ["{:.2f} ({:.2f} to {:.2f})".format(*mean) for mean in row]
        print("  ".join([layer.ljust(width), *(cell.ljust(20) for cell in cells)]))
    draw(curves, layers, folder / "findings.svg")
    at_last = Effects(
        {
            "own": own.sel(kind="standard", layer=last),
            "natural": others.sel(kind="standard", layer=NATURAL),
            "smooth": smooth.sel(kind="standard", layer=last),
            **{name: others.sel(kind=name, layer=last) for name in KINDS},
        }
    )
    idiosyncrasy, lost = at_last.of("+own", "-standard"), at_last.of("+natural", "-standard")
    adversarial, random = at_last.of("+adversarial", "-standard"), at_last.of("+random", "-standard")
    beyond, hann = at_last.of("+adversarial", "-random"), at_last.of("+hann", "-standard")
    gap, gained = at_last.of("+natural", "-smooth"), at_last.of("+smooth", "-standard")
    changes = Effects(kept(study, last))
    apart = changes.of("+metamer", "-adversarial")
    lines = [
        ("1", f"metamers of '{last}' keep their own network's answer and lose others'", verdict(idiosyncrasy, lost),
         f"own minus others {text(idiosyncrasy)}; natural minus metamer, by others {text(lost)}"),
        ("2", "metamers are not adversarial examples: those of the same size flip the answer", verdict(apart),
         f"answer kept, metamer minus adversarial {text(apart)}; kept under noise {text(changes.of('+noise'))}"),
        ("3", "adversarial training makes late metamers more recognisable, random perturbations do not",
         verdict(adversarial, beyond), f"adversarial minus standard {text(adversarial)}, minus random {text(beyond)}; "
         f"random minus standard {text(random)}"),
        ("4", "reducing aliasing makes them more recognisable", verdict(hann), f"Hann minus standard {text(hann)}"),
        ("5", "other networks' recognition predicts people's", "needs people", "metamery statistics, on released data"),
        ("6", "a smoothness prior does not close the gap", verdict(gap),
         f"natural minus metamer with the prior {text(gap)}; the prior itself {text(gained)}"),
    ]  # fmt: skip
    print("\nthe same differences from standard at the last layer, with other recognisers or stimuli\n")
    for how, options in (
        ("recognised by the other architecture alone", {"judge": "other"}),
        ("on stimuli that all networks recognise", {"common": True}),
    ):
        _, recognition = by_stimulus(study, **options)
        effects = Effects({name: recognition.sel(kind=name, layer=last) for name in KINDS})
        listed = "; ".join(f"{name} {text(effects.of('+' + name, '-standard'))}" for name in KINDS[1:])
        print(f"{how}: {listed}")
    print(f"\nfindings, at '{last}'\n")
    for number, finding, outcome, numbers in lines:
        print(f"{number}  {finding}: {outcome.upper()}\n   {numbers}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
