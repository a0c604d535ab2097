"""Where a run is computed: device, precision and processes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger

from ..framework.checks import one_of, whole
from ..framework.devices import check_precision, resolve_device
from ..framework.errors import MetameryError, MissingExtraError, unknown

MAX_PROCESSES = 1024
"""Largest number of processes of each kind on one machine."""

PRECISIONS = ("float32", "bfloat16", "float16")
"""Precisions of the passes through a network; on CUDA, PyTorch's switches say whether float32 is rounded to TF32."""

_COMPUTED = {"cpu": ("float32", "bfloat16"), "cuda": PRECISIONS, "mps": ("float32",)}
"""Precisions that Lightning Fabric supports, by kind of device; it silently replaces others."""

_FABRIC = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


@dataclass(frozen=True)
class Hardware:
    """Where a run is computed; not a part of the `Run`.

    Parameters
    ----------
    device
        Device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
    devices
        Number of processes, each on a device of its own; on the CPU they share its cores.
    precision
        Precision of the passes through the network, one of `PRECISIONS`; weights stay float32.
    workers
        Number of processes that decode signals.
    """

    device: str = "cpu"
    devices: int = 1
    precision: str = "float32"
    workers: int = 0

    def __post_init__(self) -> None:
        one_of("precision", self.precision, PRECISIONS)
        whole("devices", self.devices, 1, MAX_PROCESSES)
        whole("workers", self.workers, 0, MAX_PROCESSES)

    def kind(self) -> str:
        """Return ``cpu``, ``cuda`` or ``mps``.

        Raises
        ------
        MetameryError
            The device is not available, or does not compute in this precision.
        """
        device = resolve_device(self.device)
        kind = device.type
        if kind not in ("cpu", "cuda", "mps"):
            raise unknown("device", self.device, ("cpu", "cuda", "mps", "auto"))
        check_precision(self.precision, device)
        if self.precision not in _COMPUTED[kind]:
            raise MetameryError(
                f"precision is {self.precision}, which training does not support on device '{kind}': "
                f"expected {' or '.join(_COMPUTED[kind])}"
            )
        return kind

    def fabric(self, loggers: Sequence[Logger] = ()) -> Fabric:
        """Make the `Fabric` that runs a training on these devices, or raise `MetameryError` as `kind` does.

        `loggers` are those of Lightning Fabric, which are given each row of the run's log.
        """
        kind = self.kind()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", message="The `srun` command is available"
                )  # not needed on one machine
                precision: Any = _FABRIC[self.precision]
                return Fabric(accelerator=kind, devices=self.devices, precision=precision, loggers=list(loggers))
        except (ValueError, RuntimeError) as error:
            raise MetameryError(f"{self.devices} devices '{self.device}' are not available: {error}") from None


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
