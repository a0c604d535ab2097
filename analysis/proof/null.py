"""The null: the measures of match between all pairs of unrelated natural signals, that is, at chance.

Feather et al. (2023, Methods) drew a million pairs one by one; here K signals give all of their K(K − 1)/2 pairs, and
each signal passes through the network once.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from platformdirs import user_cache_path

from ...framework import owners
from ...framework.choosing import choose_layers
from ...framework.claims import turn
from ...framework.contract import examine, on_device
from ...framework.devices import repeatable
from ...framework.errors import MetameryError
from ...framework.joint import with_terms
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.results import plottable
from ...framework.running import drawing, fast_on_cpu, frozen, ordinary, signal_type
from ...framework.schema import null_variables
from ...framework.staging import exchange
from ...framework.stimuli import Stimuli, Stimulus
from ...framework.store import Group, write_dataset
from .measures import NULL_METRICS
from .pairs import BLOCK_BYTES, RowFile, near_duplicates, pair_matrices

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SIGNALS = 1415
"""Number of signals of a null by default: the smallest that has a million pairs, as in the paper."""

NEAR_DUPLICATE = 0.99
"""Correlation of two inputs at or above which one of them is left out."""

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
_PROBED = 4  # signals by whose activations a cached null is checked to be of this network
_VERSION = 2  # of the cached nulls' format


class TooFewSignalsError(MetameryError):
    """There are fewer than two unlike signals."""


def cache_folder() -> Path | None:
    """Folder that caches nulls across studies: in the user's cache, or ``METAMERY_CACHE``; None where that is empty."""
    folder = os.environ.get("METAMERY_CACHE", user_cache_path("metamery"))
    return Path(folder) / "nulls" if folder else None


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

    Activations are written to `scratch` in the meantime: 4 bytes for each unit of these layers and each sample of the
    signals, times the number of signals, and the same again for the ranks of the largest layer. Beside the network's
    memory, about half a gigabyte and 80 bytes for each pair are needed.

    Parameters
    ----------
    model
        The network.
    stimuli
        Natural signals; each is fitted to the model's domain.
    layers
        Layers, as `choose_layers` takes them: names, patterns, or a number of them; the model's own by default. The
        terms of a joint layer are added, since its metamers are judged at each of these.
    signals
        Largest number of signals; where there are more, this number is drawn at random.
    seed
        Seed of that draw.
    device
        Device on which the network runs.
    progress
        Display of the progress, for example a `ProgressBar`.
    scratch
        A folder with room for the activations; the system's own for temporary files by default.
    cache
        Folder where results are stored and looked up, layer by layer; one is used again for the same signals, weights
        and layer, if the network still gives the first signals the same activations. None is stored by default.
    batch_size
        Number of signals that pass through the network at once.

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
        There are fewer than two unlike signals.

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
        choose_layers(model, layers or ()),
        device=device,
        progress=progress,
        scratch=scratch,
        cache=cache,
        batch_size=batch_size,
    )


def draw_signals(available: int, wanted: int, seed: int) -> list[int]:
    """Indices of the signals that a null takes, in order: of all, or of `wanted` drawn at random."""
    if wanted >= available:
        return list(range(available))
    return sorted(np.random.default_rng(seed).choice(available, wanted, replace=False).tolist())


def null_bytes(signals: int, units: Sequence[int], largest: int) -> int:
    """Estimate the memory that a null takes beside the network's weights.

    Parameters
    ----------
    signals
        Number of signals.
    units
        Number of units of each layer, and of samples of a signal.
    largest
        Number of units of the network's largest activation; a pass has two of these in memory.
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
    """Compute `null_distribution` from `count` named signals that are already fitted to the model's domain."""
    progress = progress or Progress()
    progress.start((2 + len(with_terms(layers))) * count, "null: reading signals")
    cache, layers = _usable(cache), with_terms(layers)
    module = on_device(model, device)
    examine(model, layers)
    with (
        _scratch_folder(scratch) as folder,
        frozen(module),
        fast_on_cpu(module, model.domain),
        repeatable("float32"),
    ):
        inputs, names, digest = _write_signals(signals, folder, progress)
        keys = {layer: _key(model, digest, layer) for layer in layers}
        probes = {
            layer: _probe(values) for layer, values in _activations(model, inputs, range(_PROBED), layers).items()
        }
        summaries = {layer: _read_cached(cache, keys[layer], probes[layer]) for layer in layers} if cache else {}
        if missing := [layer for layer in layers if summaries.get(layer) is None]:
            alike = near_duplicates(inputs, NEAR_DUPLICATE)
            left = sorted({*range(len(names))} - {index for index, _ in alike})
            if len(left) < 2:
                raise TooFewSignalsError(f"a null needs at least two unlike signals, got {len(left)} of {len(names)}")
            attributes = {
                "signals": len(left),
                "pairs": len(left) * (len(left) - 1) // 2,
                "left_out": [f"{names[one]}: nearly the same as {names[other]}" for one, other in alike],
                "signals_sha256": digest,
                "names_sha256": hashlib.sha256("\0".join(names).encode()).hexdigest(),
                "note": "the pairs share signals; the SNR counts both orders of each pair",
            }
            rows = _write_activations(model, inputs, left, missing, names, folder, progress, batch_size)
            for layer in missing:
                progress.describe(f"null: pairs at {layer}")
                pairs = pair_matrices(rows[layer], folder / "ranks")
                summary = _summary(layer, pairs, [names[index] for index in left]).assign_attrs(attributes)
                for used in (rows[layer].path, folder / "ranks"):
                    used.unlink()
                summaries[layer] = summary
                if cache:
                    _store_cached(cache, keys[layer], summary, probes[layer])
                progress.advance(count)
    parts = [part for layer in layers if (part := summaries[layer]) is not None]
    return xr.concat(
        parts, "layer", data_vars="minimal", coords="minimal", compat="override", join="exact", combine_attrs="override"
    )


@contextmanager
def _scratch_folder(parent: Path | None) -> Iterator[Path]:
    """Create a folder for the activations; those that killed processes left behind are removed."""
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    owners.clear(parent, _SCRATCH)
    try:
        with owners.scratch(parent, _SCRATCH) as folder:
            yield folder
    except OSError as error:
        raise MetameryError(f"cannot write to '{parent}': {error.strerror or error}") from error


def _write_signals(
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
    model: Model, inputs: RowFile, indices: Sequence[int], layers: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Activations of some signals at layers, each ``(B, D)``."""
    signals = inputs.pick([index for index in indices if index < inputs.count])
    weight = next(model.module.parameters(), signals)
    shaped = signals.reshape(-1, *model.domain.shape).to(weight.device, signal_type(model.module))
    with drawing(model, 0), model.tap(layers) as tap:
        return {name: values.flatten(1).float().cpu().numpy() for name, values in tap(shaped).items()}


def _write_activations(
    model: Model,
    inputs: RowFile,
    indices: Sequence[int],
    layers: Sequence[str],
    names: Sequence[str],
    folder: Path,
    progress: Progress,
    batch_size: int,
) -> dict[str, RowFile]:
    """Write the activations of some signals at layers to a file for each layer."""
    progress.describe("null: activations")
    rows = {layer: RowFile(folder / f"layer-{number}") for number, layer in enumerate(layers)}
    for first in range(0, len(indices), batch_size):
        batch = indices[first : first + batch_size]
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
        column = NULL_METRICS.index(metric)
        distinct = ~np.eye(len(names), dtype=bool) if metric == "snr_db" else np.tri(len(names), k=-1, dtype=bool).T
        first, second = divmod(int(np.where(distinct, matrix, -np.inf).argmax()), len(names))
        values, edges = np.sort(matrix[distinct]), _EDGES[metric]  # sorted: quantiles and histogram are faster then
        summary["first"].values[0, column], summary["second"].values[0, column] = names[first], names[second]
        summary["maximum"].values[0, column] = matrix[first, second]
        summary["quantiles"].values[0, column] = np.quantile(values, QUANTILES, method="nearest")
        summary["histogram"].values[0, column] = np.diff([0, *values.searchsorted(edges[1:-1]), len(values)])
        summary["bin_low"].values[column], summary["bin_high"].values[column] = edges[:-1], edges[1:]
    return summary


def _key(model: Model, signals: str, layer: str) -> str:
    parts = (_VERSION, NEAR_DUPLICATE, model.weights_sha256(), repr(model.module), str(model.domain), signals, layer)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _probe(activations: NDArray[np.float32]) -> list[float]:
    """Return the first signals' means and norms, which distinguish networks of the same weights."""
    values = activations.astype(np.float64)
    return [*values.mean(axis=1).tolist(), *np.linalg.norm(values, axis=1).tolist()]


def _read_cached(cache: Path, key: str, probe: list[float]) -> xr.Dataset | None:
    path = cache / f"{key}.zarr"
    if not path.is_dir():
        return None
    try:
        kept = plottable(xr.open_zarr(path, consolidated=False, chunks=None).load())
        digest, probed = kept.attrs.pop("digest"), kept.attrs.pop("probe")
        is_valid = digest == _digest(kept) and np.allclose(probed, probe, rtol=1e-3)
    except Exception:  # whatever is wrong with it, it is computed again
        return None
    return kept if is_valid else None


def _digest(summary: xr.Dataset) -> str:
    """SHA-256 of everything in a cached null, so that one that is incomplete or was changed is not used."""
    digest = hashlib.sha256(json.dumps({name: summary.attrs[name] for name in sorted(summary.attrs)}).encode())
    for name in sorted(summary.variables, key=str):
        values = summary[name].values
        digest.update(f"\0{name} {values.shape}\0".encode())
        digest.update(values.tobytes() if values.dtype.kind in "biuf" else "\0".join(map(str, values.flat)).encode())
    return digest.hexdigest()


def _usable(cache: Path | None) -> Path | None:
    """Return a cache that can be written to, without leftovers; otherwise warn, and the study continues without one."""
    if cache is None:
        return None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        reason = f"cannot write to '{cache}': {error.strerror}"
        warnings.warn(f"the null is not kept for other studies: {reason}", stacklevel=3)
        return None
    if owners.abandoned(cache, _STAGED):  # a process was killed when its null was there, so that nothing is written
        with suppress(MetameryError), turn(cache):
            owners.clear(cache, _STAGED)
    return cache


def _store_cached(cache: Path, key: str, summary: xr.Dataset, probe: list[float]) -> None:
    """Store a null for other studies, or warn if that is not possible."""
    try:
        with owners.scratch(cache, _STAGED) as staging:
            write_dataset(summary.assign_attrs(probe=probe, digest=_digest(summary)), staging / "new")
            with turn(cache):
                owners.clear(cache, _STAGED)
                exchange(staging, cache, f"{key}.zarr")
    except (OSError, MetameryError) as error:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(f"the null is not kept for other studies: '{cache}': {reason}", stacklevel=3)
