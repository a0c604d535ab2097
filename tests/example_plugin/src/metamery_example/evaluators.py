"""The evaluator: a measurement of a study."""

from __future__ import annotations

import numpy as np
import xarray as xr
from metamery.framework import Context, Evaluator, MetameryError, ModelResults, Passes, models_of, with_passes
from metamery.framework.schema import SIGNAL_DIMENSIONS, STATES, site_coordinates


def signal_rms() -> Evaluator:
    """Build the evaluator: how far metamers are from their natural signals, sample by sample.

    A site is a layer of a model. ``rms`` (site) is the root mean square of the difference, averaged over the metamers
    that are done; NaN where there are none. ``chance`` (site) is the same between each natural signal and the next,
    which have nothing to do with each other. Both are in the units of the signal: a picture's values go from 0 to 1.
    """

    def passes(context: Context) -> Passes:
        _models(context)
        return Passes(forward=0)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        models = _models(context)
        rms = [value for results in models for value in _rms_by_layer(results)]
        chance = [_chance(results.natural["signal"]) for results in models for _ in results.layers]
        return xr.Dataset(
            {
                "rms": (
                    "site",
                    rms,
                    {"long_name": "RMS difference between metamers and natural signals", "units": "1"},
                ),
                "chance": (
                    "site",
                    chance,
                    {"long_name": "RMS difference between unrelated natural signals", "units": "1"},
                ),
            },
            site_coordinates([(results.name, layer) for results in models for layer in results.layers]),
            {
                "reading_order": ["rms", "chance"],
                "read_first": "At a layer where metamers reach chance, nothing of the signal's values is left.",
            },
        )

    return evaluate


def _models(context: Context) -> list[ModelResults]:
    if context.study is None:
        raise MetameryError("evaluator 'example-signal-rms' needs a study")
    return models_of(context.study)


def _rms_by_layer(results: ModelResults) -> list[float]:
    """Average over the metamers of each layer; the signals of one layer are in memory at a time."""
    natural, metamers = results.natural["signal"].load(), results.metamers["signal"]
    done = results.metamers["state"] == STATES["done"]
    return [
        float(_rms(metamers.sel(layer=layer) - natural).where(done.sel(layer=layer)).mean()) for layer in results.layers
    ]


def _chance(natural: xr.DataArray) -> float:
    """Average over pairs of neighbours; NaN where there is one signal only."""
    following = natural.roll(stimulus=-1)
    return float(_rms(following - natural).mean()) if natural.sizes["stimulus"] > 1 else np.nan


def _rms(difference: xr.DataArray) -> xr.DataArray:
    """Root mean square over the signal's own dimensions, whatever they are."""
    signal = [dim for dim in difference.dims if dim in SIGNAL_DIMENSIONS]
    return (difference**2).mean(signal) ** 0.5
