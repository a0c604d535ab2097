"""Success: a metamer that matches better than any two unrelated natural signals, and gets its original's label.

The two parts of Feather et al. (2023, Methods): (a) the model gives the metamer the label that it gives the natural
signal, and (b) at its own layer Pearson's r, Spearman's ρ and the SNR each exceed the null's maximum. For a network
without classes, such as an encoder, (b) alone decides. A metamer of a joint layer has to exceed the maximum at each of
its terms that pulls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...framework.joint import is_joint, terms_of
from ...framework.schema import VERDICTS, success_variables
from ..statistics.proportions import proportion
from .measures import NULL_METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNATTAINABLE_FROM = 0.999
"""Correlation of the null's best pair at or above which no metamer can be distinguished from it."""

SETTLED_AT = 0.5
"""Part of what the null's best pair leaves unexplained that a metamer may leave whose success is settled."""

_PARTS = ("success", "agrees", "matches", "quantised_success", "quantised_agrees", "quantised_matches")
_EACH = ("layer", "stimulus", "seed")


def judge(metamers: xr.Dataset, null: xr.Dataset) -> xr.Dataset:
    """Compare metamers with a null distribution, as they are and after quantisation.

    Parameters
    ----------
    metamers
        With ``match``, ``agrees`` and the same quantised: what `synthesise` returns, or a study's group ``match``.
    null
        From `null_distribution`, or a study's group ``null``.

    Returns
    -------
    xr.Dataset
        ``margin`` and ``percentile (layer, stimulus, seed, metric)``, ``matches`` and ``success (layer, stimulus,
        seed)``, and the same with ``quantised_`` before the name (`success_variables`). A layer that the null does not
        have, or at which one of its maxima is NaN, is missing. Where two signals of the null correlate .999 or more, or
        fit perfectly, ``matches`` is ``unattainable``; so is ``success``, unless the label differs. At a joint layer,
        ``margin`` and ``percentile`` are the smallest of the terms'; and where there is one, ``term_matches (layer,
        measured_layer, stimulus, seed)`` has the verdict on each term.

    Examples
    --------
    >>> from metamery.analysis import judge, null_distribution, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model = example_model()
    >>> metamers = synthesise(model, example_stimuli(model), ["1"], steps=5)
    >>> judge(metamers, null_distribution(model, example_stimuli(model, 5), ["1"])).success.dims
    ('layer', 'stimulus', 'seed')
    """
    match = metamers["match"].transpose("layer", "measured_layer", "stimulus", "seed", "metric")
    has_joint = "quantised_term_match" in metamers
    results: dict[str, NDArray[np.generic]] = {}
    for prefix in ("", "quantised_"):

        def fit(layer: str, term: str, prefix: str = prefix) -> NDArray[np.floating]:
            name = f"{prefix}term_match" if prefix and is_joint(layer) else f"{prefix}match"
            values = metamers[name].sel(layer=layer)
            values = values.sel(measured_layer=term) if "measured_layer" in values.dims else values
            return np.asarray(values.transpose("stimulus", "seed", "metric").values)

        agrees = metamers[f"{prefix}agrees"].transpose(*_EACH).values
        judged = _judge(match, fit, agrees, null)
        results |= {f"{prefix}{name}": values for name, values in judged.items()}
    variables = success_variables(joint=has_joint)
    data = {name: (variable.dims, results[name], variable.attributes()) for name, variable in variables.items()}
    return xr.Dataset(data, {dim: match[dim] for dim in match.dims if has_joint or dim != "measured_layer"})


def settled_from(null: xr.Dataset, layer: str) -> dict[str, float]:
    """Return the least measures of match with which a metamer's success at a layer is settled, by metric.

    It leaves at most `SETTLED_AT` of what the null's best pair leaves unexplained: of 1 − r, of 1 − ρ, and of the power
    of the difference, for which the SNR is 3 dB above the maximum. Empty where no metamer can succeed, or where the
    null does not have the layer.

    >>> import numpy as np
    >>> coordinates = {"layer": ["1"], "metric": list(NULL_METRICS)}
    >>> null = xr.Dataset({"maximum": (("layer", "metric"), [[0.6, 0.4, 2.0]])}, coordinates)
    >>> {metric: round(least, 2) for metric, least in settled_from(null, "1").items()}
    {'pearson': 0.8, 'spearman': 0.7, 'snr_db': 5.01}
    """
    if layer not in null["layer"].values:
        return {}
    maximum = {metric: float(null["maximum"].sel(layer=layer, metric=metric)) for metric in NULL_METRICS}
    values = np.array([*maximum.values()])
    if np.isnan(values).any() or _indistinct(values):
        return {}
    return {
        metric: value - 10 * math.log10(SETTLED_AT) if metric == "snr_db" else 1 - SETTLED_AT * (1 - value)
        for metric, value in maximum.items()
    }


def success_by_layer(match: xr.Dataset) -> xr.Dataset:
    """Count successes at each layer, over stimuli and seeds.

    Parameters
    ----------
    match
        A study's group ``match``, or ``metamers.merge(judge(metamers, null))``.

    Returns
    -------
    xr.Dataset
        Over ``layer``: for ``success``, its two parts ``agrees`` and ``matches``, and all three quantised, the
        proportion, its 95 % Wilson interval (``…_low``, ``…_high``), which treats metamers as independent,
        and ``…_counted``, the number of metamers that are decided; and ``unattainable``, the number that are not.

    Examples
    --------
    >>> from metamery.analysis import judge, null_distribution, success_by_layer, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model = example_model()
    >>> metamers = synthesise(model, example_stimuli(model), ["1"], steps=5)
    >>> null = null_distribution(model, example_stimuli(model, 5), ["1"])
    >>> success_by_layer(metamers.merge(judge(metamers, null))).success_counted.values.tolist()
    [3]
    """
    result: dict[str, Any] = {}
    for part in _PARTS:
        verdicts = match[part].transpose("layer", "stimulus", "seed").values.reshape(match.sizes["layer"], -1)
        counted = np.isin(verdicts, (0, 1)).sum(axis=1)
        passed = (verdicts == VERDICTS["yes"]).sum(axis=1)
        what = match[part].attrs.get("long_name", part)
        result |= proportion(part, ["layer"], passed, counted, f"proportion: {what}")
        result[f"{part}_counted"] = ("layer", counted, {"long_name": f"metamers decided: {what}", "units": "1"})
    unattainable = (match["matches"] == VERDICTS["unattainable"]).sum(("stimulus", "seed")).values
    about = {"long_name": "metamers at a layer where no match can be told from chance", "units": "1"}
    return xr.Dataset({**result, "unattainable": ("layer", unattainable, about)}, {"layer": match["layer"]})


def success_by_term(match: xr.Dataset) -> xr.Dataset:
    """Count the metamers of joint layers that match at each of the terms, over stimuli and seeds.

    Parameters
    ----------
    match
        A study's group ``match`` that has ``term_matches``.

    Returns
    -------
    xr.Dataset
        Over ``layer`` and ``measured_layer``: for ``term_matches`` and ``quantised_term_matches`` the proportion, its
        95 % Wilson interval (``…_low``, ``…_high``), and ``…_counted``, the number of metamers that are decided, which
        is 0 at layers that are not terms.

    Examples
    --------
    >>> from metamery.analysis import judge, null_distribution, success_by_term, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model = example_model()
    >>> metamers = synthesise(model, example_stimuli(model), ["1 + 2"], steps=5)
    >>> null = null_distribution(model, example_stimuli(model, 5), ["1 + 2"])
    >>> success_by_term(metamers.merge(judge(metamers, null))).term_matches_counted.sel(layer="1 + 2").values.tolist()
    [3, 3, 0, 0]
    """
    result: dict[str, Any] = {}
    dims = ("layer", "measured_layer")
    for name in ("term_matches", "quantised_term_matches"):
        verdicts = match[name].transpose(*dims, "stimulus", "seed").values
        counted = np.isin(verdicts, (0, 1)).sum(axis=(2, 3))
        what = match[name].attrs.get("long_name", name)
        passed = (verdicts == VERDICTS["yes"]).sum(axis=(2, 3))
        result |= proportion(name, dims, passed, counted, f"proportion: {what}")
        result[f"{name}_counted"] = (dims, counted, {"long_name": f"metamers decided: {what}", "units": "1"})
    return xr.Dataset(result, {dim: match[dim] for dim in dims})


def at_own_layer(match: xr.DataArray) -> xr.DataArray:
    """Return the match of each metamer at the layer that it was made at, without the dimension ``measured_layer``."""
    own = xr.DataArray(match["layer"].values, dims="layer")
    return match.sel(measured_layer=own).drop_vars("measured_layer")


def _judge(
    match: xr.DataArray,
    fit: Callable[[str, str], NDArray[np.floating]],
    agrees: NDArray[np.int8],
    null: xr.Dataset,
) -> dict[str, NDArray[np.generic]]:
    """Judge metamers, whose `fit` at a layer and one of its terms is ``(stimulus, seed, metric)``.

    Of `match` the coordinates are read; `agrees` is ``(layer, stimulus, seed)``.
    """
    layers, metrics = ([str(name) for name in match[dim].values] for dim in ("layer", "metric"))
    measured = [str(name) for name in match["measured_layer"].values]
    columns = [metrics.index(metric) for metric in NULL_METRICS]
    margin, percentile = (np.full((*agrees.shape, len(metrics)), np.nan, dtype=np.float32) for _ in range(2))
    matches = np.full(agrees.shape, VERDICTS["missing"], dtype=np.int8)
    at_terms = np.full((len(layers), len(measured), *agrees.shape[1:]), VERDICTS["missing"], dtype=np.int8)
    for row, layer in enumerate(layers):
        pulling = [term.layer for term in terms_of(layer) if term.weight > 0]
        if not {*pulling} <= {*null["layer"].values}:
            continue
        each = [_at_term(fit(layer, term)[..., columns], null.sel(layer=term)) for term in pulling]
        margin[row][..., columns] = np.min([one.margin for one in each], axis=0)
        percentile[row][..., columns] = np.min([one.percentile for one in each], axis=0)
        matches[row] = _together([one.verdict for one in each])
        for term, one in zip(pulling, each, strict=True):
            at_terms[row, measured.index(term)] = one.verdict
    differs = (agrees == 0) & (matches != VERDICTS["missing"])
    success = np.where(differs, VERDICTS["no"], matches).astype(np.int8)
    return {
        "margin": margin,
        "percentile": percentile,
        "matches": matches,
        "success": success,
        "term_matches": at_terms,
    }


@dataclass(frozen=True, eq=False)
class _AtTerm:
    """Margin and percentile ``(stimulus, seed, metric)`` and verdict ``(stimulus, seed)`` at one layer."""

    margin: NDArray[np.floating]
    percentile: NDArray[np.floating]
    verdict: NDArray[np.int8]


def _at_term(values: NDArray[np.floating], null: xr.Dataset) -> _AtTerm:
    here = null.sel(metric=list(NULL_METRICS))
    maximum = here["maximum"].values
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        margin = values - maximum
    percentile = np.full_like(values, np.nan)
    for index, metric in enumerate(NULL_METRICS):
        quantiles = here["quantiles"].sel(metric=metric)
        ranks = np.interp(values[..., index], quantiles.values, 100 * quantiles["quantile"].values)
        percentile[..., index] = np.where(np.isnan(values[..., index]), np.nan, ranks)
    verdict = np.asarray((values > maximum).all(axis=-1), dtype=np.int8)
    if np.isnan(maximum).any():
        verdict[:] = VERDICTS["missing"]
    if _indistinct(maximum):
        verdict[:] = VERDICTS["unattainable"]
    verdict[np.isnan(values).any(axis=-1)] = VERDICTS["missing"]
    return _AtTerm(margin, percentile, verdict)


def _together(verdicts: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
    """The verdict on all terms: the first of missing, no, unattainable and yes that one of them has."""
    found = np.full_like(verdicts[0], VERDICTS["yes"])
    for verdict in ("unattainable", "no", "missing"):
        for each in verdicts:
            found[each == VERDICTS[verdict]] = VERDICTS[verdict]
    return found


def _indistinct(maximum: NDArray[np.floating]) -> bool:
    """Whether no metamer can match better than the null's best pair; `maximum` is in the order of `NULL_METRICS`."""
    return bool((maximum[:2] >= UNATTAINABLE_FROM).any() or np.isposinf(maximum).any())
