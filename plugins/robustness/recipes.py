"""Training set-ups: published ones, and their controls.

Sizes are for pictures like CIFAR-10's; SGD, batches and epochs are those of the `robustness` library (Engstrom et al.
2019) unless the paper states its own. A recipe with an attack is checked by PGD after each epoch, so that its best
weights are the most robust ones.
"""

from __future__ import annotations

from typing import Any

from ...framework.recipes import Recipe

_EPSILON = 8 / 255
_PGD = {"epsilon": _EPSILON, "steps": 7, "step_size": 2 / 255}
_PGD_L2 = {"epsilon": 0.5, "steps": 7, "step_size": 0.5 / 7 * 2.5}
_CHECK: dict[str, Any] = {"check": "robustness:pgd_linf", "check_options": {"epsilon": _EPSILON, "steps": 10}}
_CHECK_L2: dict[str, Any] = {"check": "robustness:pgd_l2", "check_options": {"epsilon": 0.5, "steps": 10}}
_SGD = {"momentum": 0.9, "weight_decay": 5e-4}


def standard() -> Recipe:
    """Train on the signals as they are."""
    return Recipe(optimizer_options=_SGD)


def adversarial_linf() -> Recipe:
    """Train on adversarial signals, PGD within Linf 8/255 (Madry et al. 2018; Feather et al. 2023, Methods)."""
    return Recipe(perturbation="robustness:pgd_linf", perturbation_options=_PGD, optimizer_options=_SGD, **_CHECK)


def adversarial_l2() -> Recipe:
    """Train on adversarial signals, PGD within L2 0.5, for pictures of CIFAR's size; for ImageNet it is L2 3."""
    return Recipe(perturbation="robustness:pgd_l2", perturbation_options=_PGD_L2, optimizer_options=_SGD, **_CHECK_L2)


def random_linf() -> Recipe:
    """Train on signals with random perturbations, corners of the Linf ball: the control of `adversarial_linf`."""
    return Recipe(
        perturbation="robustness:random_linf", perturbation_options={"epsilon": _EPSILON}, optimizer_options=_SGD
    )


def random_l2() -> Recipe:
    """Train on signals with random perturbations, directions in the L2 ball: the control of `adversarial_l2`."""
    return Recipe(perturbation="robustness:random_l2", perturbation_options={"epsilon": 0.5}, optimizer_options=_SGD)


def fast() -> Recipe:
    """Train on single steps of 1.25 epsilon from random starts (Wong et al. 2020, section 4 and appendix).

    When the accuracy under PGD falls by 0.2, which is catastrophic overfitting, training continues with PGD.
    """
    return Recipe(
        perturbation="robustness:fgsm",
        perturbation_options={"epsilon": _EPSILON, "step_size": 1.25 * _EPSILON, "random_start": True},
        optimizer_options=_SGD,
        epochs=15,
        learning_rate=0.2,
        schedule="linear",
        warmup=7.5,
        check_drop=0.2,
        **_CHECK,
    )


def free() -> Recipe:
    """Train eight times on each batch, each gradient also changing the signals (Shafahi et al. 2019, algorithm 1).

    It makes 26 × 8 updates per batch, in all as many as the paper's 80,000 on CIFAR-10.
    """
    return Recipe(
        replays=8,
        replay_epsilon=_EPSILON,
        optimizer_options={**_SGD, "weight_decay": 2e-4},
        epochs=26,
        decay_every=13,
        **_CHECK,
    )


def trades() -> Recipe:
    """Trade accuracy for a prediction that perturbations change little, beta 6 (Zhang et al. 2019, section 5.3)."""
    return Recipe(
        loss="robustness:trades",
        loss_options={"beta": 6.0},
        perturbation="robustness:pgd_kl",
        perturbation_options={"epsilon": _EPSILON, "steps": 10, "step_size": 2 / 255},
        optimizer_options={**_SGD, "weight_decay": 2e-4},
        epochs=100,
        decay_every=75,
        **_CHECK,
    )


def mart() -> Recipe:
    """Weight the change under perturbation by how wrong the prediction is, beta 5 (Wang et al. 2020, ResNet-18).

    Their rate also falls after epochs 90 and 100.
    """
    return Recipe(
        loss="robustness:mart",
        loss_options={"beta": 5.0},
        perturbation="robustness:pgd_linf",
        perturbation_options={"epsilon": _EPSILON, "steps": 10, "step_size": 2 / 255},
        optimizer_options={**_SGD, "weight_decay": 3.5e-3},
        learning_rate=0.01,
        epochs=120,
        decay_every=75,
        **_CHECK,
    )


def awp() -> Recipe:
    """Train on adversarial signals and adversarial weights, gamma 0.01 (Wu et al. 2020, AT-AWP).

    Their rate also falls after epoch 150.
    """
    return Recipe(
        perturbation="robustness:pgd_linf",
        perturbation_options={"epsilon": _EPSILON, "steps": 10, "step_size": 2 / 255},
        optimizer_options=_SGD,
        awp=0.01,
        epochs=200,
        decay_every=100,
        **_CHECK,
    )
