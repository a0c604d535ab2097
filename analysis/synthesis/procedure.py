"""A procedure of synthesis: settings, with the distance and the optimizer that they name."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...framework.manager import Plugins
from ...framework.optimizers import make_optimizer
from ...framework.protocols import Distance, OptimizerFactory
from .settings import Settings
from .starts import StartFile


@dataclass(frozen=True)
class Procedure:
    """How metamers are made, independent of the model and the stimuli.

    Parameters
    ----------
    settings
        Steps, step size and schedule, tolerance, modified ReLU, weights of the priors, precision, seeds, batch size.
    distance
        Distance to lower.
    optimizer
        Called with the signals of a batch, each as a parameter of its own; the learning rate is set at each update.
    start
        File that every synthesis starts from, where the settings name one.
    """

    settings: Settings
    distance: Distance
    optimizer: OptimizerFactory
    start: StartFile | None = None

    @classmethod
    def load(
        cls,
        settings: Settings,
        plugins: Plugins,
        distance: Distance | None = None,
        optimizer: OptimizerFactory | None = None,
    ) -> Procedure:
        """Load what the settings name, unless it is given as an object.

        Raises
        ------
        MetameryError
            A name or an option is unknown, the file to start from cannot be read, or the optimizer does not take its
            options, or needs a closure, as L-BFGS does.
        """
        if distance is None:
            distance = plugins.load("distance", settings.distance, **settings.distance_options)
        name = settings.optimizer if optimizer is None else getattr(optimizer, "__qualname__", "given")
        if optimizer is None:
            optimizer = plugins.load(
                "optimizer", settings.optimizer, lr=settings.step_size, **settings.optimizer_options
            )
        make_optimizer(optimizer, [torch.zeros(1, dtype=torch.float32, device="cpu")], name)
        start = StartFile.load(settings.start, plugins) if settings.starts_from_file else None
        return cls(settings, distance, optimizer, start)
