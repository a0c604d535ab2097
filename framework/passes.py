"""`Passes`: what an evaluator's time depends on, stated before it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    import torch

    from .context import Context
    from .models import Model
    from .protocols import Evaluator

E = TypeVar("E", bound="Evaluator")


class Passes(NamedTuple):
    """Largest number of signals that an evaluator passes through each model of its context.

    Parameters
    ----------
    forward
        Number of signals in forward passes alone.
    backward
        Number of signals in a forward and a backward pass.
    batch_size
        Number of signals in a pass.
    forward_pass
        Forward pass of a model and signals ``(B, …)``, where it takes longer than the model's own.
    """

    forward: int
    backward: int = 0
    batch_size: int = 1
    forward_pass: Callable[[Model, torch.Tensor], object] | None = None


def with_passes(passes: Callable[[Context], Passes | None]) -> Callable[[E], E]:
    """Give an evaluator the attribute `passes`, from which the command estimates its time before it runs.

    `passes` takes the context, and raises `MetameryError` where the evaluator itself would refuse it. It returns None
    where the number is not known.

    Examples
    --------
    >>> @with_passes(lambda context: Passes(forward=len(context.stimuli)))
    ... def evaluate(context): ...
    >>> from metamery.framework import Context
    >>> evaluate.passes(Context({}, ["a", "b"]))
    Passes(forward=2, backward=0, batch_size=1, forward_pass=None)
    """

    def add(evaluate: E) -> E:
        evaluate.passes = passes  # type: ignore[attr-defined]
        return evaluate

    return add
