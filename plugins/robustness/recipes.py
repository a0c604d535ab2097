"""Training set-ups: the published ones, and their controls."""

from __future__ import annotations

from ...framework.recipes import Recipe

_PGD = {"epsilon": 8 / 255, "steps": 7, "step_size": 2 / 255}
_PGD_L2 = {"epsilon": 0.5, "steps": 7, "step_size": 0.5 / 7 * 2.5}


def adversarial_linf() -> Recipe:
    """Train on PGD's worst signals within Linf 8/255 (Madry et al. 2018; Feather et al. 2023, Methods)."""
    return Recipe(perturbation="pgd_linf", perturbation_options=_PGD)


def adversarial_l2() -> Recipe:
    """Train on PGD's worst signals within L2 0.5, for pictures of CIFAR's size; L2 3 is ImageNet's."""
    return Recipe(perturbation="pgd_l2", perturbation_options=_PGD_L2)


def random_linf() -> Recipe:
    """Train on random corners of the Linf ball: the control of `adversarial_linf`."""
    return Recipe(perturbation="random_linf", perturbation_options={"epsilon": 8 / 255})


def random_l2() -> Recipe:
    """Train on random directions of the L2 ball: the control of `adversarial_l2`."""
    return Recipe(perturbation="random_l2", perturbation_options={"epsilon": 0.5})
