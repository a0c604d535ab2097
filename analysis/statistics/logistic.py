"""Logistic regression of single answers with errors clustered by participant, through statsmodels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError, MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def logistic_regression(correct: ArrayLike, predictors: Mapping[str, ArrayLike], participants: ArrayLike) -> xr.Dataset:
    """Regress whether answers are right on properties of the trials.

    Maximum likelihood with a cluster-robust covariance (Liang & Zeger 1986): answers of one participant may depend on
    one another in any way. With few participants, under 30 or so, its errors are somewhat too small.

    Parameters
    ----------
    correct
        ``(trial,)``: 0 or 1.
    predictors
        Each ``(trial,)``, by name. Numbers enter as they are; words enter as one term for each but the first in order
        of appearance, ``name[word]``. An interaction is a predictor of its own: the product.
    participants
        ``(trial,)``: the participant who answered.

    Returns
    -------
    xr.Dataset
        Over ``term``, ``intercept`` first: ``coefficient`` in log odds, its ``coefficient_low`` and
        ``coefficient_high`` (95 %), ``standard_error``, ``z``, ``p`` and ``odds_ratio``.

    Raises
    ------
    MissingExtraError
        statsmodels is not installed.
    MetameryError
        Lengths differ, an answer is neither 0 nor 1, a predictor is constant, not finite or linearly dependent on
        others, there is one participant, or a coefficient is not finite, as when all answers at one stage are right.
    """
    try:
        from statsmodels.discrete.discrete_model import Logit
        from statsmodels.tools.sm_exceptions import PerfectSeparationError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"logistic regression needs the package '{error.name}': pip install 'metamery[statistics]'"
        ) from error
    answers, terms, clusters = _checked(np.asarray(correct), predictors, np.asarray(participants))
    design = np.stack(list(terms.values()), axis=1)
    fit = None
    with warnings.catch_warnings(), suppress(PerfectSeparationError, np.linalg.LinAlgError):
        warnings.simplefilter("ignore")  # about what the checks below find, and about overflow
        fit = Logit(answers, design).fit(disp=0, maxiter=100, cov_type="cluster", cov_kwds={"groups": clusters})
    if fit is None or not fit.mle_retvals["converged"]:
        raise MetameryError(
            "the regression has no finite solution: a predictor separates right from wrong answers, "
            "or the answers at one of its values are all right or all wrong"
        )
    if not (np.isfinite(fit.params) & np.isfinite(fit.bse) & (fit.bse > 0)).all():
        raise MetameryError(f"{int(clusters.max()) + 1} participants are too few for the errors of {len(terms)} terms")
    low, high = np.asarray(fit.conf_int()).T
    columns = {
        "coefficient": (fit.params, "log odds", "change in log odds"),
        "coefficient_low": (low, "log odds", "low end of the 95 % interval: change in log odds"),
        "coefficient_high": (high, "log odds", "high end of the 95 % interval: change in log odds"),
        "standard_error": (fit.bse, "log odds", "cluster-robust standard error"),
        "z": (fit.tvalues, "1", "coefficient divided by its standard error"),
        "p": (fit.pvalues, "1", "two-sided p of the normal distribution"),
        "odds_ratio": (np.exp(fit.params), "1", "factor by which the odds change"),
    }
    return xr.Dataset(
        {
            name: ("term", np.asarray(values), {"long_name": text, "units": units})
            for name, (values, units, text) in columns.items()
        },
        {"term": list(terms)},
        {"title": "Logistic regression", "trials": len(answers), "participants": int(clusters.max()) + 1},
    )


def _checked(
    correct: NDArray[np.generic], predictors: Mapping[str, ArrayLike], participants: NDArray[np.generic]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]], NDArray[np.intp]]:
    """Answers, the design's columns by name, and the index of each trial's participant."""
    if correct.ndim != 1 or not np.isin(correct, (0, 1)).all():
        raise MetameryError("an answer is neither 0 nor 1")
    terms = {"intercept": np.ones(len(correct))}
    for name, given in {**predictors, "participants": participants}.items():
        if np.shape(given) != correct.shape:
            raise MetameryError(f"'{name}' is {np.shape(given)}, expected one for each of {len(correct)} answers")
    for name, given in predictors.items():
        values = np.asarray(given)
        if values.dtype.kind in "biuf":
            if not np.isfinite(values).all():
                raise MetameryError(f"predictor '{name}' has missing or infinite values")
            columns = {name: values.astype(np.float64)}
        else:
            words = list(dict.fromkeys(values.tolist()))
            columns = {f"{name}[{word}]": (values == word).astype(np.float64) for word in words[1:]}
        if not columns or any(np.ptp(column) == 0 for column in columns.values()):
            raise MetameryError(f"predictor '{name}' has the same value in all trials")
        terms |= columns
    if np.linalg.matrix_rank(np.stack(list(terms.values()), axis=1)) < len(terms):
        raise MetameryError(f"the predictors {', '.join(predictors)} are linearly dependent")
    names, clusters = np.unique(participants, return_inverse=True)
    if len(names) < 2:
        raise MetameryError("the answers are by 1 participant, expected at least 2")
    return correct.astype(np.float64), terms, clusters
