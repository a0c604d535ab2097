"""What starts the processes of a training: torchrun, SLURM's srun, or the training's own first process."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ..framework.errors import MetameryError

_BY_HAND = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@dataclass(frozen=True)
class Launch:
    """The processes of a training.

    Parameters
    ----------
    devices
        Number of processes on each machine.
    nodes
        Number of machines.
    environment
        What tells this process its index, and the address of the first.
    """

    devices: int
    nodes: int
    environment: ClusterEnvironment


def launch(devices: int | None = None, nodes: int | None = None) -> Launch:
    """Find out what starts the processes, from the environment's variables.

    Parameters
    ----------
    devices, nodes
        Numbers of processes on each machine and of machines; None for those that torchrun or srun started, otherwise
        for 1.

    Raises
    ------
    MetameryError
        torchrun or srun started other numbers, or it is not known where the first of several machines is.
    """
    if TorchElasticEnvironment.detect():
        count, each = _number("WORLD_SIZE"), max(_number("LOCAL_WORLD_SIZE"), 1)
        return _expected("torchrun", count, count // each, TorchElasticEnvironment(), devices, nodes)
    if _is_step():
        count, machines = _number("SLURM_STEP_NUM_TASKS"), max(_number("SLURM_STEP_NUM_NODES"), 1)
        return _expected("srun", count, machines, SlurmStep(), devices, nodes)
    machines = nodes or 1
    if machines > 1 and (missing := [name for name in _BY_HAND if name not in os.environ]):
        raise MetameryError(
            f"nodes is {machines}, and {missing[0]} is not set: expected a start by torchrun or srun, or one by hand "
            f"on each machine with {', '.join(_BY_HAND[:2])} and {_BY_HAND[2]} in the environment"
        )
    if machines > 1 and not 0 <= (index := _number("NODE_RANK")) < machines:
        raise MetameryError(f"NODE_RANK is {index}, and nodes is {machines}: expected 0 to {machines - 1}")
    return Launch(devices or 1, machines, LightningEnvironment())


def is_first() -> bool:
    """Whether this process, of those that train together, is the one that prints."""
    if TorchElasticEnvironment.detect():
        return _number("RANK") == 0
    if _is_step():
        return _number("SLURM_PROCID") == 0
    return _number("LOCAL_RANK") == 0 and _number("NODE_RANK") == 0


class SlurmStep(ClusterEnvironment):
    """The processes of one ``srun``; Fabric's own environment reads the variables of the job, which may have several.

    The first process listens on ``MASTER_PORT``, or on a port that follows from the job's number.
    """

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        nodes = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
        return os.environ.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodes)

    @property
    def main_port(self) -> int:
        return _number("MASTER_PORT") or 15000 + _number("SLURM_JOB_ID") % 10000

    @staticmethod
    def detect() -> bool:
        return _is_step()

    def world_size(self) -> int:
        return _number("SLURM_STEP_NUM_TASKS")

    def set_world_size(self, size: int) -> None:
        """Leave it: srun has set it."""

    def global_rank(self) -> int:
        return _number("SLURM_PROCID")

    def set_global_rank(self, rank: int) -> None:
        """Leave it: srun has set it."""

    def local_rank(self) -> int:
        return _number("SLURM_LOCALID")

    def node_rank(self) -> int:
        return _number("SLURM_NODEID")


def _is_step() -> bool:
    """Whether srun started this process as one of several; a batch script itself, outside of srun, is no step."""
    return _number("SLURM_STEP_NUM_TASKS") > 1


def _expected(
    program: str, count: int, machines: int, environment: ClusterEnvironment, devices: int | None, nodes: int | None
) -> Launch:
    if count % max(machines, 1):
        raise MetameryError(
            f"{program} started {count} processes on {machines} machines: expected equally many on each"
        )
    found = Launch(count // machines, machines, environment)
    for name, asked, given in (("devices", devices, found.devices), ("nodes", nodes, found.nodes)):
        if asked not in (None, given):
            raise MetameryError(f"{name} is {asked}, and {program} started {given}: expected {given}, or none given")
    return found


def _number(variable: str) -> int:
    """Return the whole number in a variable of the environment, 0 where it is not set."""
    value = os.environ.get(variable, "0")
    try:
        return int(value)
    except ValueError:
        raise MetameryError(f"{variable} in the environment is '{value}', expected a whole number") from None
