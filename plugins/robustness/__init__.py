"""Training objectives, attacks and other perturbations, and recipes."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_losses(register: Register) -> None:
    module = "metamery.plugins.robustness.losses"
    register("cross_entropy", f"{module}:cross_entropy", "cross-entropy of the logits, optionally with label smoothing")
    register(
        "trades", f"{module}:trades", "cross-entropy, plus the change of the prediction under perturbation (TRADES)"
    )
    register("mart", f"{module}:mart", "boosted cross-entropy, and the change where the prediction is wrong (MART)")


@hookimpl
def register_perturbations(register: Register) -> None:
    module = "metamery.plugins.robustness.attacks"
    register("fgsm", f"{module}:fast_gradient_sign", "fast gradient sign method (Goodfellow et al. 2015), Linf")
    register("pgd_linf", f"{module}:pgd_linf", "projected gradient descent (Madry et al. 2018), Linf")
    register("pgd_l2", f"{module}:pgd_l2", "projected gradient descent (Madry et al. 2018), L2")
    register("pgd_kl", f"{module}:pgd_kl", "projected gradient descent away from the model's own prediction, Linf")
    register("apgd_linf", f"{module}:apgd_linf", "Auto-PGD, without a step size to set (Croce & Hein 2020), Linf")
    register("apgd_l2", f"{module}:apgd_l2", "Auto-PGD, without a step size to set (Croce & Hein 2020), L2")
    module = "metamery.plugins.robustness.random"
    register("random_l2", f"{module}:random_l2", "a random direction of length epsilon: the control of L2 attacks")
    register("random_linf", f"{module}:random_linf", "a random corner, ±epsilon: the control of Linf attacks")
    register("gaussian", f"{module}:gaussian", "independent Gaussian noise")
    module = "metamery.analysis.transformations.distortions"
    register("shift", f"{module}:shift", "a random shift, in space or time, by whole pixels or samples")
    register("blur", f"{module}:blur", "a Gaussian blur, in space or time")


@hookimpl
def register_recipes(register: Register) -> None:
    module = "metamery.plugins.robustness.recipes"
    register("standard", f"{module}:standard", "training on the signals as they are")
    register("adversarial-linf", f"{module}:adversarial_linf", "on adversarial signals (PGD, Linf 8/255)")
    register("adversarial-l2", f"{module}:adversarial_l2", "on adversarial signals (PGD, L2 0.5)")
    register(
        "random-linf",
        f"{module}:random_linf",
        "on signals with random perturbations of ±8/255: the control of adversarial-linf",
    )
    register(
        "random-l2",
        f"{module}:random_l2",
        "on signals with random perturbations of L2 length 0.5: the control of adversarial-l2",
    )
    register("fast", f"{module}:fast", "on single steps from random starts, guarded by PGD (Wong et al. 2020)")
    register("free", f"{module}:free", "eight times on each batch while it is attacked (Shafahi et al. 2019)")
    register(
        "trades", f"{module}:trades", "on accuracy and a prediction that attacks change little (Zhang et al. 2019)"
    )
    register(
        "mart",
        f"{module}:mart",
        "on adversarial signals, most on those that are named wrongly without an attack (Wang et al. 2020)",
    )
    register("awp", f"{module}:awp", "on adversarial signals, with adversarial weights (Wu et al. 2020)")
    module = "metamery.plugins.robustness.imagenet"
    register("imagenet-standard", f"{module}:standard", "on pictures like ImageNet's, as they are, for 90 epochs")
    register(
        "imagenet-adversarial-linf",
        f"{module}:adversarial_linf",
        "on adversarial pictures like ImageNet's (PGD, Linf 4/255)",
    )
    register(
        "imagenet-adversarial-l2", f"{module}:adversarial_l2", "on adversarial pictures like ImageNet's (PGD, L2 3)"
    )
    register(
        "imagenet-random-linf",
        f"{module}:random_linf",
        "with random perturbations of ±4/255: the control of imagenet-adversarial-linf",
    )
    register(
        "imagenet-random-l2",
        f"{module}:random_l2",
        "with random perturbations of L2 length 3: the control of imagenet-adversarial-l2",
    )
    register("imagenet-fast", f"{module}:fast", "on single steps within Linf 4/255 for 15 epochs (Wong et al. 2020)")
    register(
        "imagenet-free", f"{module}:free", "four times on each batch while it is attacked, Linf 4/255 (Shafahi et al.)"
    )
