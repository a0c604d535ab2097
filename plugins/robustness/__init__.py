"""Training objectives, attacks and other perturbations, and recipes."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_losses(register: Register) -> None:
    place = "metamery.plugins.robustness.losses"
    register("cross_entropy", f"{place}:cross_entropy", "cross-entropy of the logits, with label smoothing if wanted")
    register("trades", f"{place}:trades", "cross-entropy, plus how far perturbing moves the prediction (TRADES)")


@hookimpl
def register_perturbations(register: Register) -> None:
    place = "metamery.plugins.robustness.attacks"
    register("fgsm", f"{place}:fast_gradient_sign", "fast gradient sign method (Goodfellow et al. 2015), Linf")
    register("pgd_linf", f"{place}:pgd_linf", "projected gradient descent (Madry et al. 2018), Linf")
    register("pgd_l2", f"{place}:pgd_l2", "projected gradient descent (Madry et al. 2018), L2")
    register("pgd_kl", f"{place}:pgd_kl", "projected gradient descent away from the model's own prediction, Linf")
    register("apgd_linf", f"{place}:apgd_linf", "Auto-PGD, no step size to set (Croce & Hein 2020), Linf")
    register("apgd_l2", f"{place}:apgd_l2", "Auto-PGD, no step size to set (Croce & Hein 2020), L2")
    place = "metamery.plugins.robustness.random"
    register("random_l2", f"{place}:random_l2", "a random direction of length epsilon: the control of L2 attacks")
    register("random_linf", f"{place}:random_linf", "a random corner, ±epsilon: the control of Linf attacks")
    register("gaussian", f"{place}:gaussian", "independent Gaussian noise")
    place = "metamery.analysis.transformations.distortions"
    register("shift", f"{place}:shift", "a random shift, in space or time, by whole pixels or samples")
    register("blur", f"{place}:blur", "a Gaussian blur, in space or time")


@hookimpl
def register_recipes(register: Register) -> None:
    place = "metamery.plugins.robustness.recipes"
    register("standard", f"{place}:standard", "training on the signals as they are")
    register("adversarial-linf", f"{place}:adversarial_linf", "on PGD's worst signals within Linf 8/255")
    register("adversarial-l2", f"{place}:adversarial_l2", "on PGD's worst signals within L2 0.5")
    register("random-linf", f"{place}:random_linf", "on random corners, ±8/255: the control of adversarial-linf")
    register("random-l2", f"{place}:random_l2", "on random directions of length 0.5: the control of adversarial-l2")
    register("fast", f"{place}:fast", "on single steps from random starts, guarded by PGD (Wong et al. 2020)")
    register("free", f"{place}:free", "eight times on each batch while it is attacked (Shafahi et al. 2019)")
    register("trades", f"{place}:trades", "on accuracy and a prediction that attacks move little (Zhang et al. 2019)")
