"""`Recipe`: a training set-up, names and numbers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """A training set-up as frozen data; what it means is the training loop's business.

    Parameters
    ----------
    loss, optimizer, perturbation
        Registered names; an empty perturbation trains on the signals as they are.
    epochs, batch_size
        How often each stimulus is seen, and how many at once.
    learning_rate
        The first one.
    decay_every, decay_factor
        The learning rate is divided by `decay_factor` after every `decay_every` epochs.
    loss_options, optimizer_options, perturbation_options
        Keyword options of the three factories.
    """

    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    perturbation: str = ""
    epochs: int = 150
    batch_size: int = 128
    learning_rate: float = 0.1
    decay_every: int = 50
    decay_factor: float = 10.0
    loss_options: Mapping[str, float | str | bool] = field(default_factory=dict)
    optimizer_options: Mapping[str, float | str | bool] = field(default_factory=dict)
    perturbation_options: Mapping[str, float | str | bool] = field(default_factory=dict)
