"""Names of the evaluators, which measure models and studies. Their code is in the folders of `analysis`."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register

_HERE = "metamery.analysis"


@hookimpl
def register_evaluators(register: Register) -> None:
    module = f"{_HERE}.recognition"
    register("accuracy", f"{module}.accuracy:accuracy", "accuracy of models on natural signals")
    register(
        "agreement",
        f"{module}.agreement:agreement",
        "how often a metamer gets its natural signal's label, by layer",
    )
    register(
        "robustness",
        f"{_HERE}.attacks.robustness:robustness",
        "accuracy under PGD and APGD by size of the perturbation",
    )
    register(
        "accuracy-under",
        f"{_HERE}.attacks.accuracy_under:accuracy_under",
        "accuracy on signals that a perturbation changed: --set perturbation=NAME",
    )
    register(
        "shift-consistency",
        f"{_HERE}.transformations.shift_consistency:shift_consistency",
        "how often models give a signal the same label at two positions (Zhang 2019)",
    )
    register(
        "recognition",
        f"{module}.evaluator:recognition",
        "how often other models recognise metamers, by model and layer of the metamer",
    )
    register(
        "similarity",
        f"{_HERE}.similarity.evaluator:similarity",
        "similarity of layers of models: linear and RBF CKA, and RSA, with noise ceilings",
    )
    register(
        "invariance",
        f"{_HERE}.transformations.evaluator:invariance",
        "how little activations change when signals are shifted, rotated, scaled, blurred, made louder …, by layer",
    )
    register(
        "geometry",
        f"{_HERE}.geometry.evaluator:geometry",
        "which changes of a signal a layer notices most and least: spectrum of its Jacobian, eigendistortions",
    )
    register(
        "principal-distortions",
        f"{_HERE}.geometry.principal_evaluator:principal_distortions",
        "the two small changes of a signal that tell models apart best, and a map of the models (Feather et al. 2025)",
    )
    register(
        "character",
        f"{_HERE}.character.evaluator:character",
        "properties of metamers: diversity over seeds, distance from the stimulus, spectrum, aliasing",
    )
    register(
        "contrast",
        f"{_HERE}.character.contrast:contrast",
        "metamers compared with adversarial examples of the same size, by layer",
    )
    register(
        "diversity",
        f"{_HERE}.diversity.evaluator:diversity",
        "how different metamers of a layer can be, and the easiest and hardest of them to recognise",
    )
    register(
        "controversial",
        f"{_HERE}.controversial.evaluator:controversial",
        "signals that match different stimuli in two networks (Golan et al. 2020)",
    )
