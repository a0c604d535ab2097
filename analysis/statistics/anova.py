"""Analyses of variance of recognition: people against a network, and models against models, over stages.

The two analyses of Feather et al. (2023, Methods), for balanced designs. A score is the proportion correct of one
participant at one stage; the natural signals are a stage, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, unknown
from .decomposition import mixed, repeated
from .permutation import SCHEMES, Design, Scheme, permutation_p

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


def _analysed(
    scores: xr.DataArray,
    factor: str,
    design: Design,
    nested: bool,
    generator: np.random.Generator | None,
    shuffles: int,
    scheme: Scheme,
) -> xr.Dataset:
    values = _checked(scores, factor)
    if scheme not in SCHEMES:
        raise unknown("scheme", str(scheme), SCHEMES)
    if shuffles < 1:
        raise MetameryError(f"shuffles is {shuffles}, expected at least 1")
    effects = design(values)
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
        {"term": [factor, "layer", f"{factor}:layer"]},
        {"title": "Analysis of variance", "participants": values.shape[1], "between": factor if nested else "none"},
    )
    result["term"].attrs = {"long_name": "effects of the factor, of stage, and their interaction"}
    if generator is not None:
        main, both = permutation_p(values, design, nested=nested, shuffles=shuffles, generator=generator, scheme=scheme)
        attributes = {"long_name": f"permutation p, {scheme} scheme", "units": "1"}
        result["p_permutation"] = ("term", [main, np.nan, both], attributes)
        result.attrs |= {"shuffles": shuffles, "scheme": scheme}
    return result


def _checked(scores: xr.DataArray, factor: str) -> NDArray[np.float64]:
    wanted = (factor, "participant", "layer")
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
