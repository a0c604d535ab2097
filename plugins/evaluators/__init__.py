"""Names of the evaluators: what can be measured of models and of a study. They live with their questions."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register

_HERE = "metamery.analysis"


@hookimpl
def register_evaluators(register: Register) -> None:
    place = f"{_HERE}.recognition"
    register("accuracy", f"{place}.accuracy:accuracy", "how often models are right about natural signals")
    register(
        "agreement",
        f"{place}.agreement:agreement",
        "how often a metamer gets its natural signal's label, by layer",
    )
    register(
        "robustness",
        f"{_HERE}.attacks.robustness:robustness",
        "accuracy under PGD and APGD over the size of the perturbation",
    )
    register(
        "shift-consistency",
        f"{_HERE}.transformations.shift_consistency:shift_consistency",
        "how often models say the same of a signal at two positions (Zhang 2019)",
    )
    register(
        "recognition",
        f"{place}.evaluator:recognition",
        "how often other models recognise metamers, by the model and layer that they are of",
    )
    register(
        "similarity",
        f"{_HERE}.similarity.evaluator:similarity",
        "how alike layers of models are: linear and RBF CKA, and RSA, with noise ceilings",
    )
    register(
        "invariance",
        f"{_HERE}.transformations.evaluator:invariance",
        "how little activations move when signals are shifted, turned, scaled, blurred, made louder …, by layer",
    )
    register(
        "geometry",
        f"{_HERE}.geometry.evaluator:geometry",
        "which changes of a signal a layer notices most and least: spectrum of its Jacobian, eigendistortions",
    )
    register(
        "character",
        f"{_HERE}.character.evaluator:character",
        "what metamers are like: diversity over seeds, distance from the stimulus, spectrum, aliasing",
    )
    register(
        "contrast",
        f"{_HERE}.character.contrast:contrast",
        "metamers against adversarial examples of the same size, by layer",
    )
