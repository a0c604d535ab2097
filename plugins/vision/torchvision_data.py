"""torchvision's labelled data sets, by torchvision's own names.

torchvision downloads and reads the files. It unpickles those of CIFAR10 and CIFAR100, after checking their MD5 sums;
for the others nothing is unpickled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchvision import datasets

from ...framework.errors import MetameryError, unknown
from ...framework.stimuli import Stimulus, spread
from .imagenet import IMAGENET_1K, imagenet_labels
from .pictures import picture_signal


def _splits(*names: str) -> dict[str, dict[str, Any]]:
    return {name: {"split": name} for name in names}


_TRAIN_OR_TEST: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_HELD_OUT = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "val"}}
_ALL: dict[str, dict[str, Any]] = {"all": {}}

SPLITS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "Caltech101": _ALL,
    "Caltech256": _ALL,
    "CIFAR10": _TRAIN_OR_TEST,
    "CIFAR100": _TRAIN_OR_TEST,
    "Country211": _splits("train", "valid", "test"),
    "DTD": _splits("train", "val", "test"),
    "EuroSAT": _ALL,
    "FashionMNIST": _TRAIN_OR_TEST,
    "FGVCAircraft": _splits("train", "val", "trainval", "test"),
    "Flowers102": _splits("train", "val", "test"),
    "Food101": _splits("train", "test"),
    "GTSRB": _splits("train", "test"),
    "ImageNet": _HELD_OUT,
    "Imagenette": _HELD_OUT,
    "KMNIST": _TRAIN_OR_TEST,
    "MNIST": _TRAIN_OR_TEST,
    "OxfordIIITPet": _splits("trainval", "test"),
    "RenderedSST2": _splits("train", "val", "test"),
    "StanfordCars": _splits("train", "test"),
    "STL10": _splits("train", "test"),
    "SUN397": _ALL,
    "SVHN": _splits("train", "extra", "test"),
    "USPS": _TRAIN_OR_TEST,
}
"""The data sets, and for each split the arguments of torchvision's class."""

_NO_DOWNLOAD = ("ImageNet",)
_TARGETS = ("targets", "labels", "_labels")  # attributes in which torchvision keeps the class of each picture


@dataclass(frozen=True)
class TorchvisionStimuli:
    """Some of a torchvision data set's pictures, each decoded when it is read: ``(1 or 3, H, W)`` in [0, 1].

    Parameters
    ----------
    name, split
        Name and split, as given.
    data
        torchvision's data set.
    indices
        Selected indices into it; they are part of the stimuli's names, so that names do not depend on a limit.
    """

    name: str
    split: str
    data: Any = field(repr=False)
    indices: Sequence[int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Stimulus:
        """Return one picture; raise `IndexError` past the end."""
        position = self.indices[index]
        image, target = self.data[position]
        category = self._category(int(target))
        digits = len(str(len(self.data) - 1))
        return Stimulus(
            picture_signal(image),
            category,
            self._labels(int(target), category),
            f"{self.name}-{self.split}-{position:0{digits}d}",
            f"torchvision.datasets.{self.name}",
        )

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))

    @property
    def categories(self) -> list[str] | None:
        """The category of each picture, without decoding any; None where torchvision does not keep a list of them."""
        kept = next((list(getattr(self.data, name)) for name in _TARGETS if hasattr(self.data, name)), [])
        return [self._category(int(kept[i])) for i in self.indices] if len(kept) == len(self.data) else None

    def _category(self, target: int) -> str:
        classes = getattr(self.data, "classes", None) or getattr(self.data, "categories", None)
        if not classes:
            return str(target)
        name = classes[target]
        return str(name[0] if isinstance(name, tuple) else name)  # ImageNet gives all synonyms

    def _labels(self, target: int, category: str) -> dict[str, frozenset[str]]:
        if self.name == "ImageNet":
            return {IMAGENET_1K: frozenset({imagenet_labels()[target]})}
        if self.name == "Imagenette" and category in imagenet_labels():
            return {IMAGENET_1K: frozenset({category})}
        return {}


def torchvision_data_names() -> list[str]:
    """Return the names of the data sets that are available."""
    return [name for name in SPLITS if hasattr(datasets, name)]


def torchvision_data(
    name: str,
    *,
    root: str | Path = "data",
    split: str = "",
    limit: int | None = None,
    download: bool = True,
) -> TorchvisionStimuli:
    """Open a data set.

    Parameters
    ----------
    name
        Name as in torchvision, such as ``CIFAR10``; ``CIFAR10/train`` names the split as well.
    root
        Folder that holds the data, or to which they are downloaded.
    split
        Split as in torchvision; ``train`` or ``test`` where torchvision's class has ``train=``, ``all`` where there is
        only one. By default ``test``. For ImageNet and Imagenette ``test`` is the validation split: their test labels
        are not published.
    limit
        Number of pictures to take, evenly spread over the split; by default all.
    download
        Whether to download missing data. ImageNet has to be put into `root` by hand.

    Raises
    ------
    UnknownNameError
        The data set or the split is unknown.
    MetameryError
        The data set cannot be downloaded or read.
    """
    name, slash, named = name.partition("/")
    if slash and split not in ("", named):
        raise MetameryError(f"torchvision/{name}/{named} names a split, and so does split = '{split}': expected one")
    split = named or split or "test"
    if name not in (names := torchvision_data_names()):
        raise unknown("torchvision data set", name, names)
    if split not in SPLITS[name]:
        raise unknown(f"split of torchvision/{name}:", split, SPLITS[name])
    arguments = dict(SPLITS[name][split])
    download = download and name not in _NO_DOWNLOAD
    if name not in _NO_DOWNLOAD:
        arguments["download"] = download
    folder = Path(root).expanduser()
    try:
        with redirect_stdout(sys.stderr):
            data = getattr(datasets, name)(folder, **arguments)
    except (OSError, RuntimeError, ValueError, ModuleNotFoundError) as error:
        task = "downloaded into" if download else "read from"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MetameryError(f"torchvision/{name} could not be {task} '{folder}': {reason}") from error
    return TorchvisionStimuli(name, split, data, spread(len(data), limit))
