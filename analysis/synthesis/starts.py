"""A picture or sound file that every synthesis of a study starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from ...framework.domains import Domain
from ...framework.errors import MetameryError
from ...framework.stimuli import Stimulus
from ...framework.study import FILE

if TYPE_CHECKING:
    from ...framework.manager import Plugins

FINGERPRINT = "start_sha256"
"""The attribute of a group of metamers that holds the SHA-256 of the file that they started from."""


@dataclass(frozen=True, eq=False)
class StartFile:
    """A file to start from: its path, the SHA-256 of its bytes, and the signal that it holds."""

    path: str
    sha256: str
    stimulus: Stimulus

    @classmethod
    def load(cls, path: str, plugins: Plugins) -> Self:
        """Read a picture or sound.

        Raises
        ------
        MetameryError
            There is no such file, or it is not a picture or sound that can be decoded.
        """
        try:
            stimulus: Stimulus = plugins.load("stimuli", FILE, path=path)[0]
            digest = hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()
        except MetameryError as error:
            raise MetameryError(f"start: {error}") from error
        except OSError as error:
            raise MetameryError(f"start: '{path}' cannot be read: {error.strerror}") from None
        return cls(path, digest, stimulus)

    def fit(self, domain: Domain) -> torch.Tensor:
        """Return its signal in a model's domain, as `Domain.fit` does that of a stimulus.

        Raises
        ------
        MetameryError
            It does not fit: the domain is of sounds, and the file a picture, for example.
        """
        kind = "image" if self.stimulus.sample_rate is None else "waveform"
        if kind != domain.kind:
            given, taken = ("picture", "sounds") if kind == "image" else ("sound", "pictures")
            raise MetameryError(f"start: '{self.path}' is a {given}, and the model takes {taken} ({domain})")
        try:
            return domain.fit(self.stimulus)
        except MetameryError as error:
            raise MetameryError(f"start: '{self.path}': {error}") from error

    def attributes(self) -> dict[str, str]:
        """Return the attribute that a group of metamers keeps of it."""
        return {FINGERPRINT: self.sha256}


def check_start(start: StartFile | None, attributes: Mapping[Any, Any], made: str) -> None:
    """Raise `MetameryError` if the file is another than the one that stored metamers started from.

    Parameters
    ----------
    start
        The file, if the settings name one.
    attributes
        Those of the group of metamers.
    made
        What these metamers are, for the message.
    """
    if start is not None and attributes.get(FINGERPRINT, start.sha256) != start.sha256:
        raise MetameryError(
            f"start: '{start.path}' is not the file that {made} started from. Restore it, or choose another folder"
        )
