"""The null: the measures of match between all pairs of unrelated natural signals, which is what chance looks like.

Feather et al. (2023, Methods) drew a million pairs one by one; here K signals give all of their K(K − 1)/2 pairs,
each signal passing through the network once.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from platformdirs import user_cache_path

from ...framework import owners
from ...framework.claims import turn
from ...framework.contract import examine, on_device
from ...framework.errors import MetameryError
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.results import plottable
from ...framework.running import channels_last, drawing, frozen, ordinary, signal_type
from ...framework.schema import null_variables
from ...framework.staging import exchange
from ...framework.stimuli import Stimuli, Stimulus
from ...framework.store import Group, write_dataset
from .measures import NULL_METRICS
from .pairs import BLOCK_BYTES, RowFile, near_duplicates, pair_matrices

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SIGNALS = 1415
"""Signals of a null by default: the fewest with a million pairs, the number in the paper."""

NEAR_DUPLICATE = 0.99
"""Correlation of two inputs from which one of them is left out."""

QUANTILES = np.array([0, 1e-5, 1e-4, 1e-3, *np.arange(1, 100) / 100, 0.999, 0.9999, 0.99999, 1])

_BINS = 200
_EDGES = {
    "pearson": np.linspace(-1, 1, _BINS + 1),
    "spearman": np.linspace(-1, 1, _BINS + 1),
    "snr_db": np.linspace(-40, 60, _BINS + 1),
}
_STAGED = ".null."
_SCRATCH = ".metamery-null-"
_BATCH = 32
_PROBED = 4  # signals whose activations tell whether a kept null is of this network
_VERSION = 2  # of what is kept


class TooFewSignalsError(MetameryError):
    """There are no two unlike signals."""


def cache_folder() -> Path | None:
    """Where nulls are kept from study to study: the user's cache, or ``METAMERY_CACHE``; None where that is empty."""
    chosen = os.environ.get("METAMERY_CACHE", user_cache_path("metamery"))
    return Path(chosen) / "nulls" if chosen else None


def null_distribution(
    model: Model,
    stimuli: Stimuli | Sequence[Stimulus],
    layers: Sequence[str] | None = None,
    *,
    signals: int = MAX_SIGNALS,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    scratch: Path | None = None,
    cache: Path | None = None,
    batch_size: int = _BATCH,
) -> xr.Dataset:
    """Measure the match of every pair of natural signals at layers of a model.

    Activations are written to `scratch` meanwhile: the disk holds 4 bytes for each unit of these layers, and for each
    sample of the signals, times the number of signals; and again for the largest layer, its ranks. Memory is about half
    a gigabyte plus 40 bytes a pair, beyond the network's.

    Parameters
    ----------
    model
        The network.
    stimuli
        Natural signals; each is fitted to the model's domain.
    layers
        Names of layers; the model's own by default.
    signals
        Take this many at most, at random where there are more.
    seed
        Of that choice.
    device
        Where the network runs.
    progress
        For example a `ProgressBar`.
    scratch
        A folder with room for the activations; the system's own for temporary files by default.
    cache
        A folder where the result is kept and looked for, layer by layer: that of the same signals, weights and layer,
        if the network still gives the first signals the same activations. Nothing is kept by default.
    batch_size
        Signals that pass through the network at once.

    Returns
    -------
    xr.Dataset
        The variables of a study's group ``null`` (`null_variables`), with the number of ``signals`` and ``pairs`` and
        the near-duplicates that were ``left_out`` among the attributes. The pairs share signals, so they are not
        independent.

    Raises
    ------
    MetameryError
        A stimulus does not fit, an activation is not finite, or `scratch` cannot be written to.
    TooFewSignalsError
        There are no two unlike signals.

    Examples
    --------
    >>> from metamery.analysis import null_distribution
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> null = null_distribution(example_model(), example_stimuli(count=5), ["1"])
    >>> null.attrs["pairs"], null.maximum.dims
    (10, ('layer', 'metric'))
    """
    drawn = draw_signals(len(stimuli), signals, seed)
    fitted = ((stimulus.name, model.domain.fit(stimulus)) for stimulus in map(stimuli.__getitem__, drawn))
    return null_of_signals(
        model,
        fitted,
        len(drawn),
        tuple(model.layers if layers is None else layers),
        device=device,
        progress=progress,
        scratch=scratch,
        cache=cache,
        batch_size=batch_size,
    )


def draw_signals(available: int, wanted: int, seed: int) -> list[int]:
    """Which of the available signals a null takes: all, or that number at random, in order."""
    if wanted >= available:
        return list(range(available))
    return sorted(np.random.default_rng(seed).choice(available, wanted, replace=False).tolist())


def null_bytes(signals: int, units: Sequence[int], largest: int) -> int:
    """Estimate the memory that a null takes beside the network's weights.

    Parameters
    ----------
    signals
        Their number.
    units
        Of each layer, and of the signal itself.
    largest
        Units of the network's largest activation, of which a pass holds two.
    """
    block = min(BLOCK_BYTES, 4 * signals * max(units))
    pairs = signals * signals // 2
    batch = 4 * min(_BATCH, signals) * (2 * sum(units) + 2 * largest)
    return max(7 * block + 80 * pairs, batch)


@ordinary()
def null_of_signals(
    model: Model,
    signals: Iterable[tuple[str, torch.Tensor]],
    count: int,
    layers: Sequence[str],
    *,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    scratch: Path | None = None,
    cache: Path | None = None,
    batch_size: int = _BATCH,
) -> xr.Dataset:
    """Do what `null_distribution` does, of `count` signals with their names, as fitted to the model's domain."""
    progress = progress or Progress()
    progress.start((2 + len(layers)) * count, "null: reading signals")
    cache = _usable(cache)
    module = on_device(model, device)
    examine(model, layers)
    with (
        _room(scratch) as folder,
        frozen(module),
        channels_last(module, model.domain),
    ):
        inputs, names, digest = _write_down(signals, folder, progress)
        keys = {layer: _key(model, digest, layer) for layer in layers}
        probes = {
            layer: _probe(values) for layer, values in _activations(model, inputs, range(_PROBED), layers).items()
        }
        found = {layer: _kept(cache, keys[layer], probes[layer]) for layer in layers} if cache else {}
        if missing := [layer for layer in layers if found.get(layer) is None]:
            alike = near_duplicates(inputs, NEAR_DUPLICATE)
            left = sorted({*range(len(names))} - {place for place, _ in alike})
            if len(left) < 2:
                raise TooFewSignalsError(
                    f"a null needs two unlike signals or more; of {len(names)} there is {len(left)}"
                )
            attributes = {
                "signals": len(left),
                "pairs": len(left) * (len(left) - 1) // 2,
                "left_out": [f"{names[one]}: nearly the same as {names[other]}" for one, other in alike],
                "signals_sha256": digest,
                "names_sha256": hashlib.sha256("\0".join(names).encode()).hexdigest(),
                "note": "the pairs share signals; the SNR counts both orders of each pair",
            }
            rows = _spill(model, inputs, left, missing, names, folder, progress, batch_size)
            for layer in missing:
                progress.describe(f"null: pairs at {layer}")
                pairs = pair_matrices(rows[layer], folder / "ranks")
                summary = _summary(layer, pairs, [names[place] for place in left]).assign_attrs(attributes)
                for used in (rows[layer].path, folder / "ranks"):
                    used.unlink()
                found[layer] = summary
                if cache:
                    _keep(cache, keys[layer], summary, probes[layer])
                progress.advance(count)
    parts = [part for layer in layers if (part := found[layer]) is not None]
    return xr.concat(
        parts, "layer", data_vars="minimal", coords="minimal", compat="override", join="exact", combine_attrs="override"
    )


@contextmanager
def _room(place: Path | None) -> Iterator[Path]:
    """A folder for the activations; those of processes that were killed are removed."""
    place = Path(tempfile.gettempdir()) if place is None else place
    owners.clear(place, _SCRATCH)
    try:
        with owners.scratch(place, _SCRATCH) as folder:
            yield folder
    except OSError as error:
        raise MetameryError(f"cannot write to '{place}': {error.strerror or error}") from error


def _write_down(
    signals: Iterable[tuple[str, torch.Tensor]], folder: Path, progress: Progress
) -> tuple[RowFile, list[str], str]:
    """Write the signals to a file; return it, their names, and the SHA-256 of both."""
    rows, names, digest = RowFile(folder / "input"), [], hashlib.sha256()
    for name, signal in signals:
        values = signal.numpy().reshape(1, -1)
        rows.append(values)
        names.append(name)
        digest.update(f"{name}\0".encode() + values.tobytes())
        progress.advance()
    return rows, names, digest.hexdigest()


@torch.no_grad()
def _activations(
    model: Model, inputs: RowFile, places: Sequence[int], layers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Activations of some signals at layers, each ``(B, D)``."""
    signals = inputs.pick([place for place in places if place < inputs.count])
    weight = next(model.module.parameters(), signals)
    shaped = signals.reshape(-1, *model.domain.shape).to(weight.device, signal_type(model.module))
    with drawing(model, 0), model.tap(layers) as tap:
        return {name: found.flatten(1).float().cpu().numpy() for name, found in tap(shaped).items()}


def _spill(
    model: Model,
    inputs: RowFile,
    places: Sequence[int],
    layers: Sequence[str],
    names: Sequence[str],
    folder: Path,
    progress: Progress,
    batch_size: int,
) -> dict[str, RowFile]:
    """Write the activations of some signals at layers down."""
    progress.describe("null: activations")
    rows = {layer: RowFile(folder / f"layer-{number}") for number, layer in enumerate(layers)}
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        for layer, values in _activations(model, inputs, batch, layers).items():
            if not (finite := np.isfinite(values).all(axis=1)).all():
                culprit = names[batch[int(finite.argmin())]]
                raise MetameryError(f"the null's signal '{culprit}' has activations at '{layer}' that are not finite")
            rows[layer].append(values)
        progress.advance(len(batch))
    return rows


def _summary(layer: str, pairs: Iterable[tuple[str, NDArray[np.float32]]], names: Sequence[str]) -> xr.Dataset:
    """Reduce the pairs at one layer to the variables of the group ``null``."""
    at = {"layer": [layer], "metric": NULL_METRICS, "quantile": QUANTILES.tolist(), "bin": range(_BINS)}
    summary = Group(null_variables(), at).empty()
    for metric, matrix in pairs:
        place = NULL_METRICS.index(metric)
        distinct = ~np.eye(len(names), dtype=bool) if metric == "snr_db" else np.tri(len(names), k=-1, dtype=bool).T
        first, second = divmod(int(np.where(distinct, matrix, -np.inf).argmax()), len(names))
        values, edges = matrix[distinct], _EDGES[metric]
        summary["first"].values[0, place], summary["second"].values[0, place] = names[first], names[second]
        summary["maximum"].values[0, place] = matrix[first, second]
        summary["quantiles"].values[0, place] = np.quantile(values, QUANTILES, method="nearest")
        summary["histogram"].values[0, place] = np.histogram(values.clip(edges[0], edges[-1]), edges)[0]
        summary["bin_low"].values[place], summary["bin_high"].values[place] = edges[:-1], edges[1:]
    return summary


def _key(model: Model, signals: str, layer: str) -> str:
    parts = (_VERSION, NEAR_DUPLICATE, model.weights_sha256(), repr(model.module), str(model.domain), signals, layer)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _probe(activations: NDArray[np.float32]) -> list[float]:
    """What tells a network from another of the same weights: the first signals' means and norms."""
    values = activations.astype(np.float64)
    return [*values.mean(axis=1).tolist(), *np.linalg.norm(values, axis=1).tolist()]


def _kept(cache: Path, key: str, probe: list[float]) -> xr.Dataset | None:
    place = cache / f"{key}.zarr"
    if not place.is_dir():
        return None
    try:
        kept = plottable(xr.open_zarr(place, consolidated=False, chunks=None).load())
        digest, probed = kept.attrs.pop("digest"), kept.attrs.pop("probe")
        whole = digest == _digest(kept) and np.allclose(probed, probe, rtol=1e-3)
    except Exception:  # whatever is wrong with it, it is made anew
        return None
    return kept if whole else None


def _digest(summary: xr.Dataset) -> str:
    """SHA-256 of all that a kept null says, so that one of which a part is lost or changed is not taken for whole."""
    digest = hashlib.sha256(json.dumps({name: summary.attrs[name] for name in sorted(summary.attrs)}).encode())
    for name in sorted(summary.variables, key=str):
        values = summary[name].values
        digest.update(f"\0{name} {values.shape}\0".encode())
        digest.update(values.tobytes() if values.dtype.kind in "biuf" else "\0".join(map(str, values.flat)).encode())
    return digest.hexdigest()


def _usable(cache: Path | None) -> Path | None:
    """A cache that can be written to; a study goes on without one, with a warning."""
    if cache is None:
        return None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        reason = f"cannot write to '{cache}': {error.strerror}"
        warnings.warn(f"the null is not kept for other studies: {reason}", stacklevel=3)
        return None
    return cache


def _keep(cache: Path, key: str, summary: xr.Dataset, probe: list[float]) -> None:
    """Keep a null for other studies; one that cannot be kept costs a warning."""
    try:
        with owners.scratch(cache, _STAGED) as staging:
            write_dataset(summary.assign_attrs(probe=probe, digest=_digest(summary)), staging / "new")
            with turn(cache):
                owners.clear(cache, _STAGED)
                exchange(staging, cache, f"{key}.zarr")
    except (OSError, MetameryError) as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(f"the null is not kept for other studies: '{cache}': {reason}", stacklevel=3)
