"""Repositories of Hugging Face: folders on disk, or files of the hub, of which data alone are read.

No code of a repository runs: its JSON files are read as text, its weights by `metamery.framework.read_weights`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ...framework.errors import MetameryError
from ...framework.limits import text_of
from ...framework.weight_files import WeightFile, read_weights

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
"""Files of weights, in the order in which they are looked for."""


@dataclass(frozen=True)
class Repository:
    """A repository, by its name on the hub or by its folder.

    Parameters
    ----------
    name
        ``OWNER/NAME``, or the path of a folder, which begins with ``/``, ``./``, ``../`` or ``~``.
    revision
        Branch, tag or commit on the hub; by default ``main``.
    """

    name: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.folder is not None and self.revision is not None:
            raise MetameryError(f"{self}: revision is {self.revision!r}, which a folder does not have")
        if self.folder is not None and not self.folder.is_dir():
            raise MetameryError(f"{self}: there is no such folder")

    def __str__(self) -> str:
        return f"hf/{self.name}"

    @property
    def folder(self) -> Path | None:
        """The folder on disk; None for a repository of the hub."""
        return Path(self.name).expanduser() if self.name.startswith(("/", "./", "../", "~")) else None

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The network's configuration, ``config.json``.

        Raises
        ------
        MetameryError
            There is none, or it cannot be read.
        """
        return self._json(self.path("config.json"))

    @cached_property
    def preprocessor(self) -> Mapping[str, Any] | None:
        """The settings of the preprocessor of pictures or sounds; None if there are none."""
        if path := self.find("preprocessor_config.json"):
            return self._json(path)
        whole = self._json(path) if (path := self.find("processor_config.json")) else {}
        return next((whole[part] for part in ("image_processor", "feature_extractor") if part in whole), None)

    @cached_property
    def commit(self) -> str:
        """The commit of the hub that is read; empty for a folder."""
        parts = self.path("config.json").parts
        return "" if self.folder or "snapshots" not in parts else parts[len(parts) - parts[::-1].index("snapshots")]

    def weights(self) -> WeightFile:
        """Read the weights: safetensors, in one file or several, or a file of PyTorch, of which only tensors are read.

        Raises
        ------
        MetameryError
            There are none, or they are damaged.
        """
        for name in WEIGHTS:
            if path := self.find(name):
                if name.endswith(".index.json"):
                    for shard in sorted(set(map(str, self._json(path).get("weight_map", {}).values()))):
                        self.path(shard)
                return read_weights(path)
        raise MetameryError(f"{self} has no weights: expected {' or '.join(WEIGHTS)}; weights=none makes random ones")

    def json(self, name: str) -> Mapping[str, Any] | None:
        """Return the contents of a JSON file; None if there is none."""
        path = self.find(name)
        return self._json(path) if path else None

    def find(self, name: str) -> Path | None:
        """Return the path of a file, downloaded if need be; None if the repository does not have it.

        Raises
        ------
        MetameryError
            There is no such repository or revision, it may not be read, or the hub cannot be reached.
        """
        if self.folder is not None:
            return path if (path := self.folder / name).is_file() else None
        try:
            return Path(hf_hub_download(self.name, name, revision=self.revision))
        except LocalEntryNotFoundError as error:
            if self._is_cached():
                return None
            raise MetameryError(self._unreachable(error)) from None
        except EntryNotFoundError:
            return None
        except GatedRepoError:
            raise MetameryError(f"{self}: its owner has to give access first, at huggingface.co/{self.name}") from None
        except RepositoryNotFoundError:
            raise MetameryError(
                f"there is no repository '{self.name}' on the hub, or it is private; a folder is written hf/./FOLDER"
            ) from None
        except RevisionNotFoundError:
            raise MetameryError(f"{self} has no revision '{self.revision}'") from None
        except HFValidationError:
            raise MetameryError(
                f"'{self.name}' is not a repository's name: expected hf/OWNER/NAME, or a folder as hf/./FOLDER"
            ) from None
        except (HfHubHTTPError, OSError) as error:
            raise MetameryError(self._unreachable(error)) from None

    def path(self, name: str) -> Path:
        """Return the path of a file that the repository needs, or raise `MetameryError`."""
        if (path := self.find(name)) is None:
            raise MetameryError(f"{self} has no {name}, which says what network it is")
        return path

    def _is_cached(self) -> bool:
        """Whether the configuration of this revision is in the cache, so that files that are not were not wanted."""
        try:
            hf_hub_download(self.name, "config.json", revision=self.revision, local_files_only=True)
        except (EntryNotFoundError, OSError):
            return False
        return True

    def _unreachable(self, error: Exception) -> str:
        if constants.is_offline_mode():
            return f"{self} is not in the cache of the hub, and HF_HUB_OFFLINE forbids a download"
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        return f"{self} is not in the cache of the hub, and cannot be downloaded ({reason})"

    def _json(self, path: Path) -> Mapping[str, Any]:
        try:
            read = json.loads(text_of(path, f"{self}:"))
        except ValueError as error:
            raise MetameryError(f"{self}: {path.name} is not JSON ({error})") from None
        if not isinstance(read, dict):
            raise MetameryError(f"{self}: {path.name} is a {type(read).__name__}, expected a table")
        return read
