"""Training set-ups for pictures like ImageNet's, at 224 pixels.

Batch, learning rate, momentum and weight decay are those of the `robustness` library (Engstrom et al. 2019) and of
Feather et al. (2023) for ResNet50; 90 epochs with a tenth of the rate after every 30 are those of PyTorch's ImageNet
example and of Shafahi et al. (2019), while Feather et al. trained for 120, dropping after every 50. Augmentations are
those of both libraries, but for their noise along the colours' principal components. AlexNet is trained at a learning
rate of 0.01 (Feather et al. 2023). Attacks have the sizes of the released networks, seven steps and a random start.
"""

from __future__ import annotations

from typing import Any

from ...framework.recipes import Recipe

_LINF, _L2 = 4 / 255, 3.0

_COMMON: dict[str, Any] = {
    "epochs": 90,
    "batch_size": 256,
    "learning_rate": 0.1,
    "decay_every": 30,
    "optimizer_options": {"momentum": 0.9, "weight_decay": 1e-4},
    "augment": (
        {"name": "RandomResizedCrop", "scale": [0.08, 1.0]},
        "flip",
        {"name": "ColorJitter", "brightness": 0.1, "contrast": 0.1, "saturation": 0.1},
    ),
}


def standard() -> Recipe:
    """Train on the pictures as they are."""
    return Recipe(**_COMMON)


def adversarial_linf() -> Recipe:
    """Train on adversarial pictures, PGD within Linf 4/255; Feather et al. (2023) also have 8/255."""
    return _attacked("linf", _LINF)


def adversarial_l2() -> Recipe:
    """Train on adversarial pictures, PGD within L2 3."""
    return _attacked("l2", _L2)


def random_linf() -> Recipe:
    """Train on pictures with random corners of the Linf ball: the control of `adversarial_linf`.

    Feather et al. (2023) trained theirs at 8/255, beside an adversarial network of that size.
    """
    return Recipe(perturbation="robustness:random_linf", perturbation_options={"epsilon": _LINF}, **_COMMON)


def random_l2() -> Recipe:
    """Train on pictures with random directions of length 3: the control of `adversarial_l2`."""
    return Recipe(perturbation="robustness:random_l2", perturbation_options={"epsilon": _L2}, **_COMMON)


def fast() -> Recipe:
    """Train for 15 epochs on single steps of 1.25 epsilon from random starts, Linf 4/255 (Wong et al. 2020).

    Their 15 epochs went from 128 to 288 pixels in three phases; one size and a linear schedule to a rate of 0.2 are
    this library's choice. When the accuracy under PGD falls by 0.2, training continues with PGD.
    """
    single = {"epsilon": _LINF, "step_size": 1.25 * _LINF, "random_start": True}
    own: dict[str, Any] = {"epochs": 15, "learning_rate": 0.2, "schedule": "linear", "warmup": 1.0, "check_drop": 0.2}
    return Recipe(
        perturbation="robustness:fgsm", perturbation_options=single, **_checked("linf", _LINF), **{**_COMMON, **own}
    )


def free() -> Recipe:
    """Train four times on each batch, each gradient also changing the pictures, Linf 4/255 (Shafahi et al. 2019).

    Their 90 epochs are 23 passes over the pictures, with a tenth of the rate after every 8, without changes of colour.
    """
    own: dict[str, Any] = {"epochs": 23, "decay_every": 8, "augment": ({"name": "RandomResizedCrop"}, "flip")}
    return Recipe(replays=4, replay_epsilon=_LINF, **_checked("linf", _LINF), **{**_COMMON, **own})


def _attacked(norm: str, epsilon: float) -> Recipe:
    options = {"epsilon": epsilon, "steps": 7, "step_size": 2.5 * epsilon / 7}
    return Recipe(
        perturbation=f"robustness:pgd_{norm}", perturbation_options=options, **_checked(norm, epsilon), **_COMMON
    )


def _checked(norm: str, epsilon: float) -> dict[str, Any]:
    return {"check": f"robustness:pgd_{norm}", "check_options": {"epsilon": epsilon, "steps": 10}}
