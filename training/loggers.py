"""Loggers that are told each row of a run's log: TensorBoard's, which is Lightning Fabric's, and Weights & Biases'."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import Logger
from lightning_fabric.utilities.rank_zero import rank_zero_only

from ..framework.errors import MetameryError, MissingExtraError
from ..framework.replacing import replaced, writing_to

WITHOUT_LOGIN = ("offline", "disabled")
"""Modes, in the variable ``WANDB_MODE``, in which nothing is sent."""


def tensorboard(folder: Path) -> Logger:
    """Make the logger whose files TensorBoard shows, in the folder ``tensorboard`` of a run.

    Raises
    ------
    MissingExtraError
        TensorBoard is not installed.
    """
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    try:
        return TensorBoardLogger(folder.parent, folder.name, "tensorboard")
    except ModuleNotFoundError:
        raise MissingExtraError(
            "--tensorboard needs the package tensorboard: pip install 'metamery[tensorboard]'"
        ) from None


class WeightsAndBiases(Logger):
    """A run of Weights & Biases, one for each folder, which is continued when the training is.

    Its files are in the folder ``wandb`` of the training's run, and are made with the first row. With ``WANDB_MODE``
    set to ``offline`` nothing is sent; ``wandb sync`` does that later.

    Parameters
    ----------
    folder
        The run's folder, whose name is that of the run.
    project
        Name of the project.
    settings
        Settings of the run, to be shown with it.

    Raises
    ------
    MissingExtraError
        The package wandb is not installed.
    MetameryError
        Nobody is logged in.
    """

    def __init__(self, folder: Path, project: str, settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ModuleNotFoundError:
            raise MissingExtraError("--wandb needs the package wandb: pip install 'metamery[wandb]'") from None
        self._wandb: Any = wandb
        self._folder, self._project, self._settings = folder, project, dict(settings)
        self._run: Any = None
        self._has_failed = False
        if os.environ.get("WANDB_MODE", "online") not in WITHOUT_LOGIN:
            try:
                wandb.login()
            except wandb.errors.Error as error:
                raise MetameryError(
                    f"Weights & Biases: {_line(error)} Or set WANDB_MODE=offline, and run wandb sync later"
                ) from None

    @property
    def name(self) -> str:
        """The run's name."""
        return self._folder.name

    @property
    def version(self) -> str | None:
        """The run's identifier, once there is one."""
        return None if self._run is None else str(self._run.id)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Send a row. Where that fails there is a warning, and the training goes on without."""
        if self._has_failed:
            return
        try:
            if self._run is None:
                self._run = self._begin()
            self._run.log(metrics, step=step)
        except self._wandb.errors.Error as error:
            self._has_failed = True
            warnings.warn(f"nothing more is sent to Weights & Biases: {_line(error)}", stacklevel=2)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Leave it: the settings are sent at the start."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Send what is left, and end the run."""
        if self._run is not None:
            self._run.finish(exit_code=int(status != "success"))

    def _begin(self) -> Any:
        return self._wandb.init(
            project=self._project,
            name=self._folder.name,
            id=_identifier(self._folder),
            resume="allow",
            dir=self._folder,
            config=self._settings,
            settings=self._wandb.Settings(silent=True, console="off"),
        )


def _identifier(folder: Path) -> str:
    """Return a random name that is kept in the run's folder."""
    file = folder / "wandb" / "identifier.txt"
    if file.exists():
        return file.read_text(encoding="utf-8")
    identifier = secrets.token_hex(8)
    with writing_to(folder):
        file.parent.mkdir(exist_ok=True)
        with replaced(file) as partial:
            partial.write_text(identifier, encoding="utf-8")
    return identifier


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
