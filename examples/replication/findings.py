"""Which findings of Feather et al. (2023) a miniature shows: ``python findings.py FOLDER`` after ``replicate.sh``.

Recognition is the mean proportion of right answers of all *other* networks, on stimuli whose natural signal the
generator gets right; intervals are 95 % percentiles of a bootstrap over stimuli, which all networks share. The curves
go into ``findings.svg``.
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
    """``standard`` of ``run:standard-1``."""
    return model.rpartition(":")[2].rpartition("/")[2].rpartition("-")[0]


def by_stimulus(study: xr.DataTree, judge: str = "", common: bool = False) -> tuple[xr.DataArray, xr.DataArray]:
    """Own and others' recognition ``(kind, layer, network, stimulus)``, where the network knows the natural signal.

    Others are all other networks, or those of one kind, `judge`; with `common` only stimuli count that all generators
    know.
    """
    found = study["recognition"].to_dataset()
    models = [str(model) for model in found["model"].values]
    layers = [str(layer) for layer in found["layer"].values]
    recognisers = [str(name) for name in found["recogniser"].values]
    row_of = {site: row for row, site in enumerate(zip(models, layers, strict=True))}
    correct = found["correct"].where(found["correct"] >= 0).mean("seed")
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
    """``(b, stimulus, …, network)`` to ``(b, …)``: over stimuli, then over networks."""
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
        """A sum of means, such as ``"+a", "-b"``, and its interval."""
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
    """Whether all effects are above 0, by their intervals."""
    if all(low > 0 for _, low, _ in effects):
        return "comes out"
    if any(high < 0 for _, _, high in effects):
        return "the contrary"
    return "does not show"


def text(effect: tuple[float, float, float]) -> str:
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*effect)


def draw(means: Array, layers: list[str], path: Path) -> None:
    """Curves over layers, of ``(kind, layer, 3)``: a mean and the ends of its interval."""
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "metamery", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for place, (name, rows) in enumerate(zip(KINDS, means, strict=True)):
        mean, low, high = rows.T
        at = np.arange(len(layers)) + 0.06 * (place - (len(KINDS) - 1) / 2)
        axes.errorbar(at, mean, [mean - low, high - mean], marker="o", markersize=4, capsize=2, label=name)
    axes.set_xticks(range(len(layers)), [layer.replace(".stages", ".\nstages") for layer in layers])
    axes.set(ylim=(0, 1.02), xlabel="metamers of", ylabel="proportion recognised by others")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, metadata={"Date": None})


def kept(study: xr.DataTree, layer: str) -> dict[str, xr.DataArray]:
    """Whether the standard networks' answers stay under changes of the same size ``(stimulus, network)``."""
    found = study["contrast"].to_dataset()
    agrees = found["agrees"].where(found["agrees"] >= 0).mean("seed")
    wanted = [s for s, (m, at) in enumerate(zip(found["model"].values, found["layer"].values, strict=True))
              if kind(str(m)) == "standard" and at == layer]  # fmt: skip
    own = [agrees.isel(site=s).sel(recogniser=str(found["model"].values[s])) for s in wanted]
    joined = xr.concat([each.drop_vars([n for n in each.coords if n not in each.dims]) for each in own], "network")
    return {name: joined.sel(transformation=name, drop=True) for name in ("metamer", "adversarial", "noise")}


def main(folder: Path) -> None:
    study, prior = open_study(folder / "study"), open_study(folder / "prior")
    own, others = by_stimulus(study)
    _, smooth = by_stimulus(prior)
    layers = [str(layer) for layer in own["layer"].values]
    last = layers[-1]
    print("recognition by other networks, given that the generator is right about the natural signal\n")
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
         f"own less others {text(idiosyncrasy)}; natural less metamer, by others {text(lost)}"),
        ("2", "metamers are no adversarial examples: of the same size, these flip the answer", verdict(apart),
         f"answer kept, metamer less adversarial {text(apart)}; kept under noise {text(changes.of('+noise'))}"),
        ("3", "adversarial training makes late metamers more recognisable, random perturbations do not",
         verdict(adversarial, beyond), f"adversarial less standard {text(adversarial)}, less random {text(beyond)}; "
         f"random less standard {text(random)}"),
        ("4", "reducing aliasing makes them more recognisable", verdict(hann), f"Hann less standard {text(hann)}"),
        ("5", "other networks' recognition predicts people's", "needs people", "metamery statistics, on released data"),
        ("6", "a smoothness prior does not close the gap", verdict(gap),
         f"natural less metamer with the prior {text(gap)}; the prior itself {text(gained)}"),
    ]  # fmt: skip
    print("\nthe same differences from standard at the last layer, asked otherwise\n")
    for how, options in (
        ("of the other architecture alone", {"judge": "other"}),
        ("on stimuli that all networks know", {"common": True}),
    ):
        _, again = by_stimulus(study, **options)
        asked = Effects({name: again.sel(kind=name, layer=last) for name in KINDS})
        told = "; ".join(f"{name} {text(asked.of('+' + name, '-standard'))}" for name in KINDS[1:])
        print(f"{how}: {told}")
    print(f"\nfindings, at '{last}'\n")
    for number, finding, outcome, numbers in lines:
        print(f"{number}  {finding}: {outcome.upper()}\n   {numbers}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
