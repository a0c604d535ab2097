"""A study's stimuli as stored; the originals are read only for signals of another size or rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...framework.domains import Domain, ImageDomain
from ...framework.errors import MetameryError
from ...framework.folders import STUDY_FILE
from ...framework.models import Model
from ...framework.remote import Folder
from ...framework.stimuli import Stimuli, Stimulus
from ...framework.study import Reference, load_stimuli
from .unchanged import is_replaced, right_answers

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from ...framework.manager import Plugins

_FACTS = ("category", "source", "licence", "group")


class StoredStimuli:
    """The stimuli of a study: names, right answers and other facts, and the signals as fitted to the models.

    `Domain.fit` returns the stored signal, bit for bit, for the domain of any model of the study. For another domain
    the original is read, and refused if it is not the one that the study was made from. A stimulus's own ``signal`` is
    that of the first model, a picture scaled to [0, 1].

    Parameters
    ----------
    folder
        The study's folder; None for a study in memory.
    tree
        Results of the study.
    models
        Models by the key of their groups.
    use, plugins
        Reference to the originals, and the plugins in which it is looked up; without them another domain is refused.
    """

    def __init__(
        self,
        folder: Folder | None,
        tree: xr.DataTree,
        models: Mapping[str, Model],
        use: Reference | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        self._folder, self._tree, self._models = folder, tree, models
        self._use, self._plugins = use, plugins
        self._names = [str(name) for name in tree["stimuli"].dataset["stimulus"].values]
        self._answers = right_answers(tree)
        kept = tree["stimuli"].to_dataset().load()
        self._facts = {name: [str(value) for value in kept[name].values] for name in _FACTS}
        self._keys: dict[Domain, str] = {}
        for key, model in models.items():
            self._keys.setdefault(model.domain, key)
        self._blocks: dict[Domain, tuple[slice, NDArray[np.float32]]] = {}
        self._originals: Stimuli | None = None

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int, /) -> Stimulus:
        index = range(len(self))[index]
        domain = next(iter(self._keys))
        signal = self._stored(index, domain)
        if isinstance(domain, ImageDomain):
            signal = ((signal - domain.low) / (domain.high - domain.low)).clamp(0, 1)
        return Stimulus(
            signal,
            labels=self._answers.get(self._names[index], {}),
            name=self._names[index],
            sample_rate=None if isinstance(domain, ImageDomain) else domain.sample_rate,
            **{name: values[index] for name, values in self._facts.items()},
        ).known_as(partial(self._fitted, index))

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))

    def _fitted(self, index: int, domain: Domain) -> torch.Tensor:
        return self._stored(index, domain) if domain in self._keys else domain.fit(self._original(index))

    def _stored(self, index: int, domain: Domain) -> torch.Tensor:
        block, signals = self._blocks.get(domain, (slice(0), None))
        if signals is None or not block.start <= index < block.stop:
            stored = self._tree[f"models/{self._keys[domain]}/stimuli"].dataset["signal"]
            length = stored.encoding.get("preferred_chunks", {}).get("stimulus", 1)
            block = slice(index - index % length, index - index % length + length)
            signals = stored[block].transpose("stimulus", *domain.dims).values
            self._blocks[domain] = block, signals
        return torch.from_numpy(signals[index - block.start].copy())

    def _original(self, index: int) -> Stimulus:
        name = self._names[index]
        if self._use is None or self._plugins is None:
            raise MetameryError(
                f"'{name}' is needed at another size or rate than the models', which the study does not hold: expected "
                "the original stimuli as well"
            )
        why = f"an evaluation at another size or rate than the models' reads the stimuli of '{self._folder}' again, "
        try:
            if self._originals is None:
                with self._plugins.trust.named_in(self._folder and self._folder / STUDY_FILE):
                    self._originals = load_stimuli(self._plugins, self._use)
            found = self._originals[index] if index < len(self._originals) else None
        except MetameryError as error:
            raise MetameryError(f"{why}which cannot be read: {error}") from error
        if found is None or found.name != name:
            raise MetameryError(f"{why}and '{name}' is not at its index: expected the stimuli of the study")
        if is_replaced(found, index, self._models, self._tree):
            raise MetameryError(f"{why}and '{name}' was replaced: expected the stimuli of the study")
        return found


def known_stimuli(tree: xr.DataTree, names: Sequence[str]) -> list[Stimulus]:
    """Return some stimuli of a study with their right answers and facts, without their signals."""
    kept, answers = tree["stimuli"].to_dataset().load(), right_answers(tree)
    nothing = torch.empty(0, dtype=torch.float32, device="cpu")
    facts: dict[str, Any] = {each: [str(value) for value in kept[each].values] for each in _FACTS}
    index = {name: position for position, name in enumerate(kept["stimulus"].values.tolist())}
    return [
        Stimulus(
            nothing,
            labels=answers.get(name, {}),
            name=name,
            **{each: facts[each][index[name]] for each in _FACTS},
        )
        for name in names
    ]
