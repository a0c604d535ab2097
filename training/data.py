"""Training data: labelled signals in the model's domain, in an order that depends only on the seed.

What happens to an example depends on the seed, the epoch and its index in the data set: not on how many processes or
workers there are, nor on whether the training was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..framework.domains import Domain
from ..framework.errors import MetameryError, unknown
from ..framework.progress import Progress
from ..framework.randomness import derived_seed
from ..framework.stimuli import Selection, Stimuli, Stimulus

T = TypeVar("T")

MAX_CACHED_BYTES = 2 * 2**30
"""Largest size of a data set that is held in memory, decoded and fitted once."""

AHEAD = 4
"""Number of batches that each process of a loader reads ahead."""


def classes_of(stimuli: Stimuli) -> list[str]:
    """Return the categories of stimuli, sorted: the classes of a network that is trained on them.

    Raises
    ------
    MetameryError
        There are fewer than two, or a stimulus has none.
    """
    found = set(categories(stimuli))
    if "" in found:
        raise MetameryError("training needs the category of every stimulus: expected folders CLASS/FILE, or a data set")
    if len(found) < 2:
        raise MetameryError(f"training needs at least two categories; the stimuli have {', '.join(found) or 'none'}")
    return sorted(found)


def categories(stimuli: Stimuli) -> Sequence[str]:
    """Return the category of each stimulus; stimuli that list their categories, and some of them, are not decoded."""
    whole = stimuli.stimuli if isinstance(stimuli, Selection) else stimuli
    listed: Sequence[str] | None = getattr(whole, "categories", None)
    if listed is None:
        return [stimulus.category for stimulus in stimuli]
    return [listed[position] for position in stimuli.positions] if isinstance(stimuli, Selection) else listed


@dataclass(frozen=True)
class Augmentation:
    """Random changes of one signal, drawn from the global generator of the CPU.

    Parameters
    ----------
    original
        Change of a stimulus as it was read, whose signal is then fitted to the domain; none by default.
    fitted
        Change of the signal in the domain; none by default.
    """

    original: Callable[[Stimulus], Stimulus] | None = None
    fitted: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __call__(self, stimulus: Stimulus, domain: Domain) -> torch.Tensor:
        """Return a stimulus's signal in the domain, changed; in 8 bits where it was and still is."""
        signal = fitted(self.original(stimulus) if self.original else stimulus, domain)
        return self.fitted(signal) if self.fitted else signal


@dataclass(frozen=True)
class Examples(Dataset[tuple[torch.Tensor, int]]):
    """Stimuli as ``(signal, class)``, indexed by ``(epoch, index)``.

    Pictures that are not held in memory are in 8 bits where they have no more and fit the domain, `in_domain`.

    Parameters
    ----------
    stimuli
        Stimuli, decoded when they are read.
    targets
        Class of each stimulus.
    domain
        Domain that the signals are fitted to.
    augment
        Augmentation of each signal, from a seed of its own; none by default.
    seed
        Seed of the augmentation.
    kept
        All signals ``(N, …)``, where they are held in memory; otherwise None.
    names
        Names of the stimuli, where they are known without decoding.
    classes
        Number of classes.
    """

    stimuli: Stimuli
    targets: Sequence[int]
    domain: Domain
    augment: Augmentation | None = None
    seed: int = 0
    kept: torch.Tensor | None = None
    names: Sequence[str] | None = None
    classes: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, item: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, index = item
        with _one_thread(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(self.seed, "augment", epoch, index))
            return self._signal(index), self.targets[index]

    def _signal(self, index: int) -> torch.Tensor:
        if self.kept is None:
            stimulus = _read(self.stimuli, index)
            return fitted(stimulus, self.domain) if self.augment is None else self.augment(stimulus, self.domain)
        signal = self.kept[index]
        return signal if self.augment is None or self.augment.fitted is None else self.augment.fitted(signal)


def examples(
    stimuli: Stimuli,
    classes: Sequence[str],
    domain: Domain,
    augment: Augmentation | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    is_read: bool = True,
) -> Examples:
    """Prepare stimuli for a network of these classes; small data sets are decoded now.

    Signals that are augmented as they were read are decoded each time, and so are those of a data set that is not read
    (`is_read`) but for a few, as by a training that is finished, where their names are known without decoding.

    Raises
    ------
    MetameryError
        The category of a stimulus is not among the classes, or it cannot be decoded.
    """
    indices = {name: index for index, name in enumerate(classes)}
    _check_side(stimuli, domain)
    of_each = categories(stimuli)
    for category in sorted(set(of_each)):
        if category not in indices:
            raise unknown("category", category, classes)
    targets = [indices[category] for category in of_each]
    size = 4 * torch.Size(domain.shape).numel() * len(stimuli)
    kept, names = None, getattr(stimuli, "names", None)
    if size <= MAX_CACHED_BYTES and not (augment and augment.original) and (is_read or names is None):
        progress = progress or Progress()
        progress.start(len(stimuli), "reading signals")
        kept, names = torch.empty(len(stimuli), *domain.shape, dtype=torch.float32, device="cpu"), []
        for index in range(len(stimuli)):
            stimulus = stimuli[index]
            kept[index] = domain.fit(stimulus)
            names.append(stimulus.name)
            progress.advance()
    return Examples(stimuli, targets, domain, augment, seed, kept, names, len(classes))


@dataclass(frozen=True)
class Order(Sampler[list[tuple[int, int]]]):
    """One epoch's batches for one of several processes, from some batch on.

    Parameters
    ----------
    count
        Number of examples.
    batch_size
        Number of examples in a batch, over all processes; an incomplete last batch is left out, unless it is the only
        one.
    epoch, seed
        Epoch and seed that the order is drawn from; without a seed it is that of the data set, and nothing is left
        out.
    rank, processes
        Index of this process, and number of processes: of each batch it takes every `processes`-th example.
    first
        Index of the first batch to give.
    """

    count: int
    batch_size: int
    epoch: int
    seed: int | None = None
    rank: int = 0
    processes: int = 1
    first: int = 0

    def __len__(self) -> int:
        whole = self.count // self.batch_size
        batches = max(whole, 1) if self.seed is not None else -(-self.count // self.batch_size)
        return batches - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        if self.seed is None:
            order = torch.arange(self.count, device="cpu")
        else:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", self.epoch))
            order = torch.randperm(self.count, generator=generator, device=generator.device)
        for batch in range(self.first, self.first + len(self)):
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            if len(own := whole[self.rank :: self.processes]):  # a last batch may have fewer examples than processes
                yield [(self.epoch, index) for index in own.tolist()]


def batches(examples: Examples, order: Order, workers: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield signals ``(B, …)`` and classes ``(B,)`` in an order, read by `workers` processes."""
    yield from Loader(examples, workers)(order)


class Loader:
    """Reads batches of examples, ahead of their use, in processes that stay between epochs.

    Parameters
    ----------
    examples
        Examples to read.
    workers
        Number of processes that decode and augment signals; 0 for none besides this one.
    pinned
        Whether batches are in pinned memory, from which they are copied to a GPU while it computes.
    """

    def __init__(self, examples: Examples, workers: int = 0, pinned: bool = False) -> None:
        self.examples = examples
        self._turn = _Turn()
        self._loader = DataLoader(
            examples,
            batch_sampler=self._turn,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=AHEAD if workers else None,
            pin_memory=pinned,
            generator=torch.Generator(),  # otherwise the loader draws a seed from the global one
        )

    def __call__(self, order: Order) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield signals ``(B, …)`` and classes ``(B,)`` in an order."""
        kept = self.examples.kept
        if kept is None or self.examples.augment is not None:
            self._turn.order = order
            yield from plainly(self._loader)
            return
        targets = torch.tensor(self.examples.targets, dtype=torch.long, device="cpu")
        for batch in order:
            indices = torch.tensor([index for _, index in batch], dtype=torch.long, device="cpu")
            yield kept[indices], targets[indices]


class _Turn(Sampler[list[tuple[int, int]]]):
    """The order of the present epoch; a loader with processes of its own has one sampler for all epochs."""

    order: Order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.order)


def plainly(items: Iterable[T]) -> Iterator[T]:
    """Yield a loader's items; an error of one of its processes has no traceback in its message."""
    try:
        yield from items
    except MetameryError as error:
        _, is_of_process, reason = str(error).rpartition("MetameryError: ")
        if not is_of_process:
            raise
        raise MetameryError(reason.strip()) from None


def fitted(stimulus: Stimulus, domain: Domain) -> torch.Tensor:
    """Return a stimulus's signal in a domain; a picture in 8 bits stays so where it has the domain's size."""
    signal = stimulus.signal
    if signal.dtype != torch.uint8:
        return domain.fit(stimulus)
    if signal.shape == domain.shape:
        return signal
    return domain.fit(replace(stimulus, signal=signal.float() / 255))


def in_domain(signals: torch.Tensor, domain: Domain) -> torch.Tensor:
    """Return signals as float32 in the range of a domain, wherever they are; those in 8 bits are scaled to it."""
    if signals.dtype != torch.uint8:
        return signals
    scaled: torch.Tensor = domain.low + (domain.high - domain.low) * (signals.float() / 255)
    return scaled


def _read(stimuli: Stimuli, index: int) -> Stimulus:
    """Read a stimulus, in 8 bits where its stimuli offer that."""
    eight_bit: Callable[[int], Stimulus | None] | None = getattr(stimuli, "eight_bit", None)
    return (eight_bit(index) if eight_bit else None) or stimuli[index]


def _check_side(stimuli: Stimuli, domain: Domain) -> None:
    """Raise `MetameryError` if prepared pictures are smaller than the domain's."""
    side = getattr(stimuli, "side", None)
    if side is not None and (needed := max(domain.shape[-2:])) > side:
        raise MetameryError(
            f"the prepared pictures have sides of {side} pixels, and the network takes {needed}: prepare them again, "
            f"with --side {needed} or more"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, as the loader's processes do: sums over several are rounded otherwise."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
