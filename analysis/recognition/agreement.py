"""Label agreement: how often a model gives a metamer the label that it gives the natural signal."""

from __future__ import annotations

import xarray as xr

from ...framework.context import Context
from ...framework.errors import MetameryError
from ...framework.model_results import ModelResults, models_of
from ...framework.passes import Passes, with_passes
from ...framework.protocols import Evaluator
from ...framework.schema import site_coordinates
from ..proof.success import success_by_layer
from ..statistics.proportions import ENDS

_PARTS = ("agrees", "agrees_low", "agrees_high", "agrees_counted")


def agreement() -> Evaluator:
    """Build the evaluator: at each layer of each model the proportion of metamers that get the stimulus's label.

    It has a 95 % Wilson interval, which treats metamers as independent, and the number of metamers that count: those
    that are done, of a model with classes. A layer without such metamers is NaN.
    """

    def passes(context: Context) -> Passes:
        _matched(context)
        return Passes(forward=0)

    @with_passes(passes)
    def evaluate(context: Context) -> xr.Dataset:
        return xr.concat([_agreement(results) for results in _matched(context)], "site").assign_attrs(
            title="Label agreement",
            reading_order=["agreement"],
            read_first="At 1 every metamer gets its natural signal's label; chance is one over the number of classes.",
        )

    return evaluate


def _matched(context: Context) -> list[ModelResults]:
    """Return the models of a study that have metamers, or raise `MetameryError`."""
    if context.study is None:
        raise MetameryError("evaluator 'agreement' needs a study")
    found = [results for results in models_of(context.study) if results.match is not None]
    if not found:
        raise MetameryError("evaluator 'agreement' needs a study with metamers, and this one has none")
    return found


def _agreement(results: ModelResults) -> xr.Dataset:
    assert results.match is not None
    counts = success_by_layer(results.match)[list(_PARTS)]
    named = counts.rename_vars({part: part.replace("agrees", "agreement") for part in _PARTS})
    named = named.rename_vars(agreement_counted="counted").drop_vars("layer").rename_dims(layer="site")
    what = "proportion of metamers with the natural signal's label"
    named["agreement"].attrs |= {"long_name": what, "missing": "the model has no classes, or no metamer is made"}
    for end in ENDS:
        named[f"agreement_{end}"].attrs["long_name"] = f"{end} end of the 95 % Wilson interval: {what}"
    return named.assign_coords(site_coordinates([(results.name, layer) for layer in results.layers]))
