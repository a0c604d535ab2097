"""Stimuli in batches, fitted to each model, with their right answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from ...framework.context import Context
from ...framework.contract import examine, require_classes
from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.models import Model
from ...framework.running import drawing, fast_on_cpu, frozen, ordinary
from ...framework.stimuli import Stimulus


@dataclass(frozen=True, eq=False)
class StimulusBatch:
    """A batch of stimuli, fitted to one model.

    Parameters
    ----------
    signals
        Signals ``(B, …)``, on the model's device.
    right
        Which classes are right answers, ``(B, classes)``; none where that is not known.
    stimuli
        Stimuli of the signals.
    """

    signals: torch.Tensor
    right: torch.Tensor
    stimuli: Sequence[Stimulus]

    @property
    def known(self) -> torch.Tensor:
        """Whether a right answer to each signal is known, ``(B,)``."""
        return self.right.any(dim=1)

    def correct(self, logits: torch.Tensor) -> torch.Tensor:
        """Whether the class with the highest logit is a right answer, ``(B,)``."""
        return self.right.gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)

    def best(self, logits: torch.Tensor) -> torch.Tensor:
        """The right answer with the highest logit, ``(B,)``."""
        return logits.masked_fill(~self.right, -torch.inf).argmax(dim=1)

    def some(self, which: torch.Tensor) -> StimulusBatch:
        """Return the selected signals only; `which` is boolean, ``(B,)``."""
        indices = which.nonzero().squeeze(1).tolist()
        return StimulusBatch(self.signals[which], self.right[which], [self.stimuli[index] for index in indices])


def graded(context: Context) -> Context:
    """Return a context in which each model knows the right answer to a stimulus; those up to the first are loaded.

    Raises
    ------
    MetameryError
        A model has no labels, the first stimulus does not fit it, or no stimulus has a right answer among its labels.
    """
    for name, model in context.models.items():
        require_classes(name, model)
    if len(context.stimuli):
        fit([context.stimuli[0]], {model.domain for model in context.models.values()}, context.device)
    unknown = dict(context.models)
    for index in range(len(context.stimuli)):
        if not unknown:
            break
        stimulus = context.stimuli[index]
        unknown = {name: model for name, model in unknown.items() if not _right(model, [stimulus]).any()}
    for name in unknown:
        raise MetameryError(f"none of the stimuli has a right answer among the labels of model '{name}'")
    return context


def batches(context: Context, batch_size: int) -> Iterator[dict[str, StimulusBatch]]:
    """Yield batches of stimuli by the model's name, each stimulus loaded for all models together.

    Raises
    ------
    MetameryError
        A model has no labels, or no stimulus has a right answer among them.
    """
    graded(context)
    for first in range(0, len(context.stimuli), batch_size):
        last = min(first + batch_size, len(context.stimuli))
        stimuli = [context.stimuli[index] for index in range(first, last)]
        fitted = fit(stimuli, {model.domain for model in context.models.values()}, context.device)
        yield {
            name: StimulusBatch(fitted[model.domain], _right(model, stimuli).to(context.device), stimuli)
            for name, model in context.models.items()
        }


def fit(stimuli: Sequence[Stimulus], domains: set[Domain], device: torch.device) -> dict[Domain, torch.Tensor]:
    """Fit stimuli to domains: ``(B, …)`` for each."""
    return {domain: torch.stack([domain.fit(stimulus) for stimulus in stimuli]).to(device) for domain in domains}


@contextmanager
def running(context: Context) -> Iterator[None]:
    """Freeze all models, in the memory layout that suits the device; stochastic ones draw from a fixed seed.

    Raises
    ------
    MetameryError
        A network does not keep its contract, see `examine`.
    """
    with ExitStack() as stack:
        stack.enter_context(ordinary())
        for model in context.models.values():
            examine(model, model.layers)
            stack.enter_context(drawing(model, 0))
            stack.enter_context(frozen(model.module))
            stack.enter_context(fast_on_cpu(model.module, model.domain))
        yield


def drawn_seed(context: Context) -> int:
    """Draw a seed from the context's generator, from which generators of single signals are seeded."""
    return int(torch.randint(2**62, (), generator=context.generator, device=context.generator.device))


def batch_count(context: Context, batch_size: int) -> int:
    return -(-len(context.stimuli) // batch_size)


def _right(model: Model, stimuli: Sequence[Stimulus]) -> torch.Tensor:
    right = torch.zeros(len(stimuli), len(model.labels or ()), dtype=torch.bool, device="cpu")
    for row, stimulus in zip(right, stimuli, strict=True):
        row[[*model.class_numbers(stimulus.right_answers(model.label_space) or ())]] = True
    return right
