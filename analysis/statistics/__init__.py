"""Tests and intervals for recognition by people and models: balanced designs, resampling, reliability."""

from __future__ import annotations

from .anova import mixed_anova, repeated_measures_anova, stage_anova
from .logistic import logistic_regression
from .overview import overview
from .people import read_participants, read_recognition, select_models, select_observers, select_stages
from .prediction import other_model_prediction
from .random_intercept import fit_random_intercept
from .reliability import correlate, noise_ceiling, spearman_brown, split_half
from .resampling import bootstrap, bootstrap_mean

__all__ = [
    "bootstrap",
    "bootstrap_mean",
    "correlate",
    "fit_random_intercept",
    "logistic_regression",
    "mixed_anova",
    "noise_ceiling",
    "other_model_prediction",
    "overview",
    "read_participants",
    "read_recognition",
    "repeated_measures_anova",
    "select_models",
    "select_observers",
    "select_stages",
    "spearman_brown",
    "split_half",
    "stage_anova",
]
