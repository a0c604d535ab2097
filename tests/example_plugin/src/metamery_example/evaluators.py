"""The evaluator: a measurement of a study."""

from __future__ import annotations

import numpy as np
import xarray as xr
from metamery.framework import Context, Evaluator, MetameryError, ModelResults, models_of
from metamery.framework.schema import SIGNAL_DIMENSIONS, STATES


def signal_rms() -> Evaluator:
    """Build the evaluator: how far metamers are from their natural signals, sample by sample.

    ``rms`` (model, layer) is the root mean square of the difference, averaged over the metamers that are done; NaN
    where there are none. ``chance`` (model) is the same between each natural signal and the next, which have nothing
    to do with each other. Both are in the units of the signal: a picture's values go from 0 to 1.
    """

    def evaluate(context: Context) -> xr.Dataset:
        if context.study is None:
            raise MetameryError("evaluator 'example-signal-rms' needs a study")
        models = models_of(context.study)
        rms = {results.name: _rms_by_layer(results) for results in models}
        layers = list(dict.fromkeys(layer for by_layer in rms.values() for layer in by_layer))
        table = [[by_layer.get(layer, np.nan) for layer in layers] for by_layer in rms.values()]
        chance = [_chance(results.natural["signal"]) for results in models]
        return xr.Dataset(
            {
                "rms": (
                    ("model", "layer"),
                    table,
                    {"long_name": "RMS difference between metamers and natural signals", "units": "1"},
                ),
                "chance": (
                    "model",
                    chance,
                    {"long_name": "RMS difference between unrelated natural signals", "units": "1"},
                ),
            },
            coords={"model": list(rms), "layer": layers},
        )

    return evaluate


def _rms_by_layer(results: ModelResults) -> dict[str, float]:
    """Average over the metamers of each layer; the signals of one layer are in memory at a time."""
    natural, metamers = results.natural["signal"].load(), results.metamers["signal"]
    done = results.metamers["state"] == STATES["done"]
    return {
        layer: float(_rms(metamers.sel(layer=layer) - natural).where(done.sel(layer=layer)).mean())
        for layer in results.layers
    }


def _chance(natural: xr.DataArray) -> float:
    """Average over pairs of neighbours; NaN where there is one signal only."""
    following = natural.roll(stimulus=-1)
    return float(_rms(following - natural).mean()) if natural.sizes["stimulus"] > 1 else np.nan


def _rms(difference: xr.DataArray) -> xr.DataArray:
    """Root mean square over the signal's own dimensions, whatever they are."""
    signal = [dim for dim in difference.dims if dim in SIGNAL_DIMENSIONS]
    return (difference**2).mean(signal) ** 0.5
