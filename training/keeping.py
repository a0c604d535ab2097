"""The contents of a run's folder, in the order in which they are written: the run's file, checkpoints, and the history.

The file is written just before the first checkpoint, so that a run that fails earlier does not block another.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..framework import claims, owners
from ..framework.errors import MetameryError
from ..framework.folders import RESULTS, RUN_FILE, check_output
from ..framework.manager import Plugins
from ..framework.replacing import replaced, writing_to
from ..framework.run import Run
from . import checkpoints
from .history import write_history
from .state import BEST, LAST, History
from .update_log import LOG


@dataclass(frozen=True)
class Keeper:
    """Writes to a run's folder while this process holds the claim on it.

    Parameters
    ----------
    run, folder
        The run, and its folder.
    claim
        Claim on the folder.
    attributes
        Attributes of the results: provenance.
    """

    run: Run
    folder: Path
    claim: claims.Claim
    attributes: Mapping[str, Any]

    def before(self) -> None:
        """Make the folder ready for a checkpoint.

        Raises
        ------
        MetameryError
            The folder was moved or removed, was claimed by another process, or cannot be written to.
        """
        self._check_claim()
        if (self.folder / LAST).exists():
            return
        with writing_to(self.folder), replaced(self.folder / RUN_FILE) as partial:
            partial.write_text(self.run.to_toml(), encoding="utf-8")

    def after(self, history: History) -> None:
        """Write the history of the epochs that were saved.

        Raises
        ------
        MetameryError
            The folder was moved or removed, or cannot be written to.
        """
        self._check_claim()
        try:
            write_history(self.folder, history, self.attributes, self.run.recipe.epochs)
        except Exception:  # of any kind, if the folder was removed meanwhile
            if (self.folder / LAST).exists():
                raise
        if not (self.folder / LAST).exists():
            self._remove_results()
            self._check_claim()

    def _remove_results(self) -> None:
        """Remove what was written to a folder after it was moved; threads may still be writing to it."""
        this = owners.Owner.this()
        for _ in range(5):
            mine = [each for each in self.folder.glob(f".{RESULTS}.*") if owners.Owner.of(each.name) == this]
            for path in (self.folder / RESULTS, *mine):
                owners.discard(path)
            with suppress(OSError):
                self.folder.rmdir()
            if not self.folder.exists():
                return
            time.sleep(0.1)

    def _check_claim(self) -> None:
        if self.claim.file.exists():
            return
        if (holder := claims.worker(self.folder)) is not None:
            raise MetameryError(f"'{self.folder}' was taken over by {holder}; nothing more is saved")
        raise MetameryError(f"'{self.folder}' was moved or removed during the training; nothing more is saved")


def check(run: Run, folder: Path, plugins: Plugins) -> None:
    """Compare a folder with a run that is to be trained into it, and remove what a killed writer left.

    A run without a checkpoint is replaced.

    Raises
    ------
    MetameryError
        The folder holds something else, another run, or weights without the checkpoint to continue from.
    """
    check_output(folder, "run")
    checkpoints.clear(folder)
    owners.clear(folder, f".{RUN_FILE}.", f".{LOG}.")
    compare(run, folder, plugins)


def compare(run: Run, folder: Path, plugins: Plugins) -> None:
    """Raise `MetameryError` if a folder holds another run, or weights without the checkpoint to continue from."""
    if not (folder / LAST).exists():
        for name in (RESULTS, BEST):
            if (folder / name).exists() and not _is_first(folder):
                raise MetameryError(
                    f"'{folder}' holds {name}, but no {LAST} to continue from. Put that back, or choose another folder"
                )
        return
    if not (folder / RUN_FILE).exists():
        raise MetameryError(f"'{folder}' holds {LAST}, but no {RUN_FILE}. Put that back, or choose another folder")
    stored = Run.read(folder)
    if differences := run.differences(stored, plugins):
        longer = run.recipe.epochs > stored.recipe.epochs
        further = f"; with --from {folder} it starts from these weights" if longer else ""
        raise MetameryError(
            f"'{folder}' holds another run: {'; '.join(differences)}. Choose another folder to keep both{further}"
        )


def epochs_done(folder: Path) -> int:
    """Return the number of epochs after which a run's folder was last saved, 0 where nothing was."""
    path = folder / LAST
    done = checkpoints.load(path)[1].get("epoch") if path.exists() else None
    return done if isinstance(done, int) else 0


def _is_first(folder: Path) -> bool:
    """Whether the best weights are all that an earlier version kept of a training, killed after its first epoch."""
    return not (folder / RESULTS).exists() and checkpoints.load(folder / BEST)[1].get("epoch") == 1
