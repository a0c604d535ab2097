"""Judging a study's metamers: those of a unit as they are stored, and earlier ones once the null is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...framework.joint import is_joint
from ...framework.schema import STATES, match_variables, success_variables
from ...framework.store import StudyStore
from ..proof.success import judge
from .damage import readable
from .units import Unit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_JUDGED = ("match", "agrees", "quantised_match", "quantised_agrees")


@dataclass(frozen=True, eq=False)
class Judge:
    """Compares the metamers of one model with its null, where there is one.

    Parameters
    ----------
    store
        Results of the study.
    path
        Path of the model's group.
    """

    store: StudyStore
    path: str

    @cached_property
    def null(self) -> xr.Dataset | None:
        """The null of the model, if it was measured."""
        return self.store.dataset(f"{self.path}/null").load() if "null" in self.store.children(self.path) else None

    @cached_property
    def _coordinates(self) -> dict[str, NDArray[Any]]:
        return {dim: self.store.read(f"{self.path}/match", dim) for dim in ("layer", "measured_layer", "metric")}

    @cached_property
    def _has_joint(self) -> bool:
        return any(is_joint(str(layer)) for layer in self._coordinates["layer"])

    @property
    def _judged(self) -> tuple[str, ...]:
        return (*_JUDGED, *(["quantised_term_match"] if self._has_joint else []))

    def verdicts(self, region: Mapping[str, slice], values: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Return the verdicts of a region of the group ``match``, from the values that are written there."""
        if self.null is None:
            return {}
        coordinates = {dim: (dim, own[region.get(dim, slice(None))]) for dim, own in self._coordinates.items()}
        variables = match_variables(joint=self._has_joint)
        given = {name: (variables[name].dims, np.asarray(values[name])) for name in self._judged}
        verdicts = judge(xr.Dataset(given, coordinates), self.null)
        return {str(name): values.values for name, values in verdicts.data_vars.items()}

    def again(self, units: Sequence[Unit], state: NDArray[np.int8]) -> None:
        """Judge the metamers that exist; only those units are written whose verdicts change, and no unfinished one."""
        if self.null is None or not (state != STATES["missing"]).any():
            return
        verdicts = self.verdicts({}, {name: self._stored(name) for name in self._judged})
        variables = success_variables(joint=self._has_joint)
        changed = np.zeros(state.shape, dtype=bool)
        for name, values in verdicts.items():
            stored = self._stored(name)
            differs = ~((stored == values) | (np.isnan(stored) & np.isnan(values)))
            others = [axis for axis, dim in enumerate(variables[name].dims) if dim in ("measured_layer", "metric")]
            changed |= differs.any(axis=tuple(others))
        for unit in units:
            if changed[unit.at].any() and (state[unit.at] != STATES["missing"]).all():
                region = unit.batch.region
                written = {
                    name: values[tuple(region.get(dim, slice(None)) for dim in variables[name].dims)]
                    for name, values in verdicts.items()
                }
                self.store.write(f"{self.path}/match", region, written)

    def _stored(self, name: str) -> NDArray[Any]:
        return readable(self.store.path, f"{self.path}/match/{name}")
