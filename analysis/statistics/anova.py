"""Analyses of variance of recognition over stages: people alone, people against a network, models against models.

The latter two are those of Feather et al. (2023, Methods). Designs are balanced. A score is the proportion correct of
one participant at one stage; the natural signals are a stage, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, unknown
from .decomposition import Effect, mixed, one_way, repeated
from .permutation import SCHEMES, Design, Scheme, permutation_p, stage_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VARIABLES = {
    "F": "F",
    "df_effect": "degrees of freedom of the effect",
    "df_error": "degrees of freedom of the error",
    "p": "p of the F distribution",
    "epsilon": "Greenhouse–Geisser ε",
    "p_GG": "p with both degrees of freedom multiplied by ε",
    "partial_eta_squared": "partial η²",
}


def mixed_anova(
    scores: xr.DataArray,
    *,
    generator: np.random.Generator | None = None,
    shuffles: int = 10_000,
    scheme: Scheme = "proper",
) -> xr.Dataset:
    """Compare observers: recogniser between participants, stage within.

    Parameters
    ----------
    scores
        ``(recogniser, participant, layer)``, finite: people, and the network on each person's stimuli. Participants
        are treated as nested in recognisers.
    generator
        Generator of the shuffles; without one there is no permutation test.
    shuffles
        Number of shuffles.
    scheme
        ``proper`` or ``feather2023`` (`permutation`).

    Returns
    -------
    xr.Dataset
        Over ``term`` (``recogniser``, ``layer``, ``recogniser:layer``): ``F``, ``df_effect``, ``df_error``, ``p``,
        ``epsilon``, ``p_GG``, ``partial_eta_squared`` in [0, 1], and with a generator ``p_permutation``, which is NaN
        for ``layer``, as no scheme tests it.

    Raises
    ------
    MetameryError
        The scores have other dimensions, fewer than two items along one, or missing or infinite values, or the scheme
        is unknown.
    """
    return _analysed(scores, "recogniser", mixed, True, generator, shuffles, scheme)


def repeated_measures_anova(
    scores: xr.DataArray,
    *,
    generator: np.random.Generator | None = None,
    shuffles: int = 10_000,
    scheme: Scheme = "proper",
) -> xr.Dataset:
    """Compare models by people's recognition: model and stage both within participants.

    Parameters
    ----------
    scores
        ``(model, participant, layer)``, finite: how well each participant recognises each model's metamers.
    generator, shuffles, scheme
        As in `mixed_anova`.

    Returns
    -------
    xr.Dataset
        As in `mixed_anova`, with the terms ``model``, ``layer`` and ``model:layer``.

    Raises
    ------
    MetameryError
        As in `mixed_anova`.
    """
    return _analysed(scores, "model", repeated, False, generator, shuffles, scheme)


def stage_anova(
    scores: xr.DataArray,
    *,
    generator: np.random.Generator | None = None,
    shuffles: int = 10_000,
    scheme: Scheme = "proper",
) -> xr.Dataset:
    """Compare stages by people's recognition of one model's metamers: stage within participants.

    Parameters
    ----------
    scores
        ``(participant, layer)``, finite.
    generator, shuffles, scheme
        As in `mixed_anova`.

    Returns
    -------
    xr.Dataset
        As in `mixed_anova`, with the term ``layer`` alone, whose ``p_permutation`` is known.

    Raises
    ------
    MetameryError
        As in `mixed_anova`.
    """
    values = _checked(scores, ("participant", "layer"))[None]
    _check_tests(shuffles, scheme)
    result = _table([one_way(values)], ["layer"], values.shape[1], "none")
    if generator is not None:
        p = stage_p(values, shuffles=shuffles, generator=generator, scheme=scheme)
        result = _with_permutation(result, [p], shuffles, scheme)
    return result


def _analysed(
    scores: xr.DataArray,
    factor: str,
    design: Design,
    nested: bool,
    generator: np.random.Generator | None,
    shuffles: int,
    scheme: Scheme,
) -> xr.Dataset:
    values = _checked(scores, (factor, "participant", "layer"))
    _check_tests(shuffles, scheme)
    terms = [factor, "layer", f"{factor}:layer"]
    result = _table(design(values), terms, values.shape[1], factor if nested else "none")
    if generator is not None:
        main, both = permutation_p(values, design, nested=nested, shuffles=shuffles, generator=generator, scheme=scheme)
        result = _with_permutation(result, [main, np.nan, both], shuffles, scheme)
    return result


def _table(effects: Sequence[Effect], terms: list[str], participants: int, between: str) -> xr.Dataset:
    columns: dict[str, list[Any]] = {
        "F": [effect.f for effect in effects],
        "df_effect": [effect.df_effect for effect in effects],
        "df_error": [effect.df_error for effect in effects],
        "p": [effect.p() for effect in effects],
        "epsilon": [effect.epsilon for effect in effects],
        "p_GG": [effect.p(corrected=True) for effect in effects],
        "partial_eta_squared": [effect.partial_eta_squared for effect in effects],
    }
    result = xr.Dataset(
        {
            name: ("term", np.array(column), {"long_name": _VARIABLES[name], "units": "1"})
            for name, column in columns.items()
        },
        {"term": terms},
        {"title": "Analysis of variance", "participants": participants, "between": between},
    )
    result["term"].attrs = {"long_name": "effects of the factor, of stage, and their interaction"}
    return result


def _with_permutation(result: xr.Dataset, p: list[float], shuffles: int, scheme: Scheme) -> xr.Dataset:
    attributes = {"long_name": f"permutation p, {scheme} scheme", "units": "1"}
    return result.assign(p_permutation=("term", p, attributes)).assign_attrs(shuffles=shuffles, scheme=scheme)


def _check_tests(shuffles: int, scheme: Scheme) -> None:
    if scheme not in SCHEMES:
        raise unknown("scheme", str(scheme), SCHEMES)
    if shuffles < 1:
        raise MetameryError(f"shuffles is {shuffles}, expected at least 1")


def _checked(scores: xr.DataArray, wanted: tuple[str, ...]) -> NDArray[np.float64]:
    if set(scores.dims) != set(wanted):
        raise MetameryError(f"scores have the dimensions {_listed(scores.dims)}, expected {_listed(wanted)}")
    for dim in wanted:
        if scores.sizes[dim] < 2:
            raise MetameryError(f"scores have size {scores.sizes[dim]} along '{dim}', expected at least 2")
    values = scores.transpose(*wanted).values.astype(np.float64)
    if bad := np.argwhere(~np.isfinite(values)).tolist():
        where = ", ".join(
            f"{dim} '{scores[dim].values[index]}'" if dim in scores.coords else f"{dim} {index}"
            for dim, index in zip(wanted, bad[0], strict=True)
        )
        raise MetameryError(f"the score of {where} is missing or infinite: expected a balanced design")
    return values


def _listed(dims: tuple[Any, ...]) -> str:
    return "(" + ", ".join(map(str, dims)) + ")"
