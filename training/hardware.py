"""Where a run is computed: device, precision and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from ..framework.checks import one_of, whole
from ..framework.devices import check_precision, resolve_device
from ..framework.errors import MetameryError, unknown
from .launchers import Launch, launch

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
        Number of processes on each machine, each on a device of its own; on the CPU they share its cores. By default
        as many as torchrun or SLURM's srun started, otherwise one.
    nodes
        Number of machines; by default as many as torchrun or srun started processes on, otherwise one.
    precision
        Precision of the passes through the network, one of `PRECISIONS`; weights stay float32.
    workers
        Number of processes that decode signals, beside each of the others.
    sync_batch_norm
        Whether batch normalisation takes its statistics over the signals of all processes, as one process would.
    compiled
        Whether the passes of the updates, and of their perturbations, are compiled (`torch.compile`).
    """

    device: str = "cpu"
    devices: int | None = None
    precision: str = "float32"
    workers: int = 0
    nodes: int | None = None
    sync_batch_norm: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        one_of("precision", self.precision, PRECISIONS)
        for name in ("devices", "nodes"):
            if (given := getattr(self, name)) is not None:
                whole(name, given, 1, MAX_PROCESSES)
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

    def started(self) -> Launch:
        """Return the processes of a training and what starts them, or raise `MetameryError` as `launch` does."""
        return launch(self.devices, self.nodes)

    def fabric(self, loggers: Sequence[Logger] = (), *, alone: bool = False) -> Fabric:
        """Make the `Fabric` that runs a training on these devices, or on one of them `alone`.

        `loggers` are those of Lightning Fabric, which are given each row of the run's log.

        Raises
        ------
        MetameryError
            The devices are not available, do not compute in this precision, or were started otherwise.
        """
        kind = self.kind()
        started = Launch(1, 1, LightningEnvironment()) if alone else self.started()
        precision: Any = _FABRIC[self.precision]
        try:
            return Fabric(
                accelerator=kind,
                devices=started.devices,
                num_nodes=started.nodes,
                precision=precision,
                plugins=[started.environment],
                loggers=list(loggers),
            )
        except (ValueError, RuntimeError) as error:
            raise MetameryError(f"{started.devices} devices '{self.device}' are not available: {error}") from None
