"""torchaudio's labelled data sets, by torchaudio's own names.

torchaudio downloads and lists the files; `read_sound` reads them, since torchaudio's own reading requires torchcodec
and FFmpeg. Nothing is unpickled.
"""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchaudio import datasets

from ...framework.errors import MetameryError, unknown
from ...framework.stimuli import Stimulus, spread
from .sounds import read_sound


@dataclass(frozen=True)
class Recording:
    """One recording: its file inside the root, its category (the words or the speaker), and the speaker, if known."""

    file: Path
    category: str
    speaker: str = ""


def _librispeech(data: Any, position: int) -> Recording:
    file, _, _, speaker, _, _ = data.get_metadata(position)
    return Recording(Path("LibriSpeech", file), str(speaker), str(speaker))


def _speechcommands(data: Any, position: int) -> Recording:
    file, _, word, speaker, _ = data.get_metadata(position)
    return Recording(Path("SpeechCommands", file), word, speaker)


def _yesno(data: Any, position: int) -> Recording:
    name = data._walker[position]  # YESNO has no get_metadata
    words = [("no", "yes")[int(digit)] for digit in name.split("_")]
    return Recording(Path("waves_yesno", f"{name}.wav"), " ".join(words))


@dataclass(frozen=True)
class DataSet:
    """Description of one of torchaudio's data sets.

    Parameters
    ----------
    splits
        Arguments of torchaudio's class for each split.
    recording
        Function that describes the recording at an index of torchaudio's data set.
    licence
        Licence of the recordings; empty where their authors state none.
    """

    splits: Mapping[str, Mapping[str, str]]
    recording: Callable[[Any, int], Recording]
    licence: str = ""


_PARTS = ("dev-clean", "dev-other", "test-clean", "test-other", "train-clean-100", "train-clean-360", "train-other-500")
_SUBSETS = {"train": "training", "validation": "validation", "test": "testing"}

DATA_SETS: Mapping[str, DataSet] = {
    "LIBRISPEECH": DataSet({part: {"url": part} for part in _PARTS}, _librispeech, "CC BY 4.0"),
    "SPEECHCOMMANDS": DataSet(
        {split: {"subset": subset} for split, subset in _SUBSETS.items()}, _speechcommands, "CC BY 4.0"
    ),
    "YESNO": DataSet({"all": {}}, _yesno),
}
"""The data sets that are available."""


@dataclass(frozen=True)
class TorchaudioStimuli:
    """Some of a torchaudio data set's recordings, each decoded when it is read: ``(T,)`` in [−1, 1].

    The category is the word for SPEECHCOMMANDS, the speaker's number for LIBRISPEECH, and the eight words of a
    recording for YESNO, such as ``no no yes no yes yes no yes``. The group is the speaker; YESNO has only one, and no
    groups.

    Parameters
    ----------
    name, split
        Name and split, as given.
    root
        Folder that holds the data.
    data
        torchaudio's data set.
    indices
        Selected indices into it; they are part of the stimuli's names, so that names do not depend on a limit.
    """

    name: str
    split: str
    root: Path
    data: Any = field(repr=False)
    indices: Sequence[int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int, /) -> Stimulus:
        """Return one recording.

        Raises
        ------
        IndexError
            `index` is past the end.
        MetameryError
            Its file is missing, damaged, or not named as expected.
        """
        position = self.indices[index]
        recording = self._recording(position)
        signal, sample_rate = read_sound(self.root / recording.file)
        digits = len(str(len(self.data) - 1))
        return Stimulus(
            signal,
            recording.category,
            name=f"{self.name}-{self.split}-{position:0{digits}d}",
            source=f"torchaudio.datasets.{self.name}",
            licence=DATA_SETS[self.name].licence,
            group=recording.speaker,
            sample_rate=sample_rate,
        )

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))

    @property
    def categories(self) -> list[str]:
        """The category of each recording, without decoding any."""
        return [self._recording(position).category for position in self.indices]

    def _recording(self, position: int) -> Recording:
        try:
            return DATA_SETS[self.name].recording(self.data, position)
        except (OSError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise MetameryError(f"torchaudio/{self.name} in '{self.root}' is damaged: {reason}") from error


def torchaudio_data_names() -> list[str]:
    """Return the names of the data sets that are available."""
    return [name for name in DATA_SETS if hasattr(datasets, name)]


def torchaudio_data(
    name: str,
    *,
    root: str | Path = "data",
    split: str = "",
    limit: int | None = None,
    download: bool = True,
) -> TorchaudioStimuli:
    """Open a data set.

    Parameters
    ----------
    name
        Name as in torchaudio, such as ``SPEECHCOMMANDS``; ``SPEECHCOMMANDS/train`` names the split as well.
    root
        Folder that holds the data, or to which they are downloaded.
    split
        Split: ``train``, ``validation`` or ``test`` for SPEECHCOMMANDS; the name of a part, such as ``test-clean``, for
        LIBRISPEECH; ``all`` for YESNO. By default ``test``.
    limit
        Number of recordings to take, evenly spread over the split; by default all.
    download
        Whether to download missing data: 2.4 GB of SPEECHCOMMANDS, 5 MB of YESNO, 0.3 to 30 GB of LIBRISPEECH.

    Raises
    ------
    UnknownNameError
        The data set or the split is unknown.
    MetameryError
        The data set cannot be downloaded or read, or is empty.
    """
    name, slash, named = name.partition("/")
    if slash and split not in ("", named):
        raise MetameryError(f"torchaudio/{name}/{named} names a split, and so does split = '{split}': expected one")
    split = named or split or "test"
    if name not in (names := torchaudio_data_names()):
        raise unknown("torchaudio data set", name, names)
    if split not in DATA_SETS[name].splits:
        raise unknown(f"split of torchaudio/{name}:", split, DATA_SETS[name].splits)
    folder = Path(root).expanduser()
    task = "downloaded into" if download else "read from"
    try:
        if download:
            folder.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):
            data = getattr(datasets, name)(folder, download=download, **DATA_SETS[name].splits[split])
    except (OSError, RuntimeError, ValueError, EOFError, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MetameryError(f"torchaudio/{name} could not be {task} '{folder}': {reason}") from error
    if not len(data):
        raise MetameryError(f"torchaudio/{name} could not be read from '{folder}': it contains no recordings")
    return TorchaudioStimuli(name, split, folder, data, spread(len(data), limit))
