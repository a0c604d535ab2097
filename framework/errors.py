"""Errors that the user can correct.

The command line prints a `MetameryError` as one line and exits with status 2; every other exception is a
fault of the program and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class MetameryError(Exception):
    """A request that cannot be fulfilled; the message states it, what is expected and the nearest valid name."""


class UnknownNameError(MetameryError):
    """A name that is not known."""


class MissingExtraError(MetameryError):
    """A name whose optional dependency is not installed."""


SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "lr": ("step_size", "learning_rate"),
    "learning_rate": ("step_size",),
    "step_size": ("learning_rate",),
    "steps": ("epochs",),
    "iterations": ("steps", "epochs"),
    "epochs": ("steps",),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "eps": ("epsilon", "epsilons"),
    "epsilon": ("epsilons",),
    "alpha": ("step_size",),
    "tv": ("total_variation",),
    "scheduler": ("schedule",),
    "optim": ("optimizer",),
    "optimiser": ("optimizer",),
    "metric": ("distance",),
    "l2": ("relative_l2",),
    "mse": ("relative_l2",),
    "pearson": ("correlation",),
    "ce": ("cross_entropy",),
    "pgd": ("pgd_linf", "pgd_l2"),
    "transforms": ("augment",),
    "augmentation": ("augment",),
    "cka": ("similarity",),
    "rsa": ("similarity",),
    "rdm": ("similarity",),
    "transformations": ("invariance",),
    "eigendistortions": ("geometry",),
    "jacobian": ("geometry",),
    "aliasing": ("character",),
    "adversarial": ("adversarial-linf", "contrast"),
    "shifts": ("shift-consistency",),
    "dataset": ("stimuli",),
    "data": ("stimuli",),
    "model": ("models",),
    "gpu": ("cuda",),
}
"""Other words of the field for a name, each with the names to suggest, the first that is known."""


def unknown(kind: str, given: str, known: Iterable[str], hint: str = "") -> UnknownNameError:
    """Return the error for a name that is not among `known`, with the nearest valid name.

    >>> str(unknown("preset", "fasst", ["fast", "feather2023"]))
    "unknown preset 'fasst'; did you mean 'fast'? Known: fast, feather2023"
    >>> str(unknown("distance", "l2", ["cosine", "relative_l2"]))
    "unknown distance 'l2'; did you mean 'relative_l2'? Known: cosine, relative_l2"
    """
    names = list(known)
    meant = [name for name in SYNONYMS.get(given.lower(), ()) if name in names]
    near = meant or get_close_matches(given, names, n=1, cutoff=0.5)
    guess = f"; did you mean '{near[0]}'?" if near else "."
    shown = ", ".join(names[:12]) + (f", … ({len(names)} in all)" if len(names) > 12 else "")
    return UnknownNameError(f"unknown {kind} '{given}'{guess} Known: {shown or 'none'}{hint}")
