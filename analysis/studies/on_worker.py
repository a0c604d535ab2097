"""What a worker of Dask computes: a unit of a study, the null of a model, or an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from ...framework.devices import resolve_device
from ...framework.errors import MetameryError
from ...framework.folders import has_results
from ...framework.manager import Plugins
from ...framework.progress import Progress
from ...framework.remote import folder_at
from ...framework.store import StudyStore
from ...framework.study import Study
from ..synthesis.procedure import Procedure
from ..synthesis.settings import resolve_settings
from ..synthesis.starts import check_start
from .making import make_units
from .parts import Part, load_part
from .preparation import measure_null
from .units import Unit

if TYPE_CHECKING:
    import xarray as xr

_ONE_AT_A_TIME = Lock()  # a worker may have several threads, which PyTorch is to use


@dataclass(frozen=True)
class Order:
    """How a worker is to compute, so that its results are those of the process that gives the order.

    Parameters
    ----------
    device
        Name of the device.
    plugins
        Installed third-party plugins to load.
    versions
        Versions of metamery and PyTorch.
    """

    device: str
    plugins: tuple[str, ...]
    versions: tuple[str, str]

    def load_plugins(self) -> Plugins:
        """Load the plugins; the process that gives the order has checked which files are run."""
        return Plugins(installed=self.plugins, trust=True)


@dataclass(frozen=True)
class StoredStudy:
    """A study's results in a folder that all machines share; `created` tells a study that took its place apart."""

    folder: str
    created: str

    @classmethod
    def of(cls, store: StudyStore) -> Self:
        """Return what identifies the results that a store writes."""
        return cls(str(store.path.parent.resolve()), store.attributes["created"])

    def open(self) -> StudyStore:
        """Open the results.

        Raises
        ------
        MetameryError
            There are none, or those of another study.
        """
        folder = folder_at(self.folder)
        if not has_results(folder):
            raise MetameryError(f"there are no results in '{folder}': expected a folder that all machines share")
        store = StudyStore(folder)
        if store.attributes["created"] != self.created:
            raise MetameryError(f"'{folder}' holds another study by now")
        return store


def versions() -> tuple[str, str]:
    """Return the versions of metamery and PyTorch of this process."""
    return version("metamery"), torch.__version__


def make_unit(order: Order, study: StoredStudy, unit: Unit) -> int:
    """Make and store one unit; return its number of metamers."""
    with _as_worker(order):
        store, prepared = study.open(), _prepared(order, study, unit.model)
        others = np.ones(store.shape(f"models/{unit.model}/metamers", "state"), dtype=bool)
        others[unit.at] = False
        make_units(
            store,
            prepared.part,
            prepared.procedure,
            prepared.study.seed,
            others,
            device=prepared.device,
            progress=Progress(),
        )
    return unit.metamers


def make_null(order: Order, study: StoredStudy, key: str) -> xr.Dataset | None:
    """Measure the null of one model; None if it has none."""
    with _as_worker(order):
        made = _prepared(order, study, key)
        return measure_null(made.study, made.part, study.open(), made.plugins, made.device, Progress())


def call(order: Order, function: Callable[[Plugins, torch.device], Any]) -> Any:
    """Call a function with the plugins and the device."""
    with _as_worker(order):
        return function(order.load_plugins(), resolve_device(order.device))


@dataclass(frozen=True, eq=False)
class _Prepared:
    study: Study
    plugins: Plugins
    procedure: Procedure
    part: Part
    device: torch.device


@contextmanager
def _as_worker(order: Order) -> Iterator[None]:
    """Compute on all threads of this worker; errors name it.

    Raises
    ------
    MetameryError
        This worker has other versions than the order.
    """
    from distributed import get_worker

    worker = get_worker()
    with _ONE_AT_A_TIME:
        if worker.state.nthreads > 1:
            torch.set_num_threads(worker.state.nthreads)
        try:
            for name, asked, own in zip(("metamery", "torch"), order.versions, versions(), strict=True):
                if asked != own:
                    raise MetameryError(f"it has {name} {own}, the command {asked}: expected the same version")
            yield
        except MetameryError as error:
            raise MetameryError(f"on worker '{worker.address}': {error}") from None


@lru_cache(maxsize=1)  # units are sorted by model
def _prepared(order: Order, study: StoredStudy, key: str) -> _Prepared:
    plugins, device, store = order.load_plugins(), resolve_device(order.device), study.open()
    named = Study.stored(store.attributes["study"], folder_at(study.folder)).qualified(plugins)
    procedure = Procedure.load(resolve_settings(named.synthesis), plugins)
    check_start(procedure.start, store.group_attributes(f"models/{key}/metamers"), f"the metamers in '{study.folder}'")
    return _Prepared(named, plugins, procedure, load_part(named, key, plugins, device), device)
