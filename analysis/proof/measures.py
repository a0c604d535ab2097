"""How closely activations fit others: the measures of match, on arrays, and `match`, which takes datasets.

The measures take activations and targets ``(B, …)`` of the same shape and return ``(B,)`` in float64, one value for
each signal. A constant activation correlates 0 with everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from scipy.stats import rankdata

from ...framework.contract import examine, on_device
from ...framework.errors import MetameryError
from ...framework.joint import terms_of, with_terms
from ...framework.layers import LayerName
from ...framework.models import Model
from ...framework.running import drawing, fast_on_cpu, frozen, ordinary, signal_type
from ...framework.schema import METRIC_UNITS
from . import distances

if TYPE_CHECKING:
    from numpy.typing import NDArray

NULL_METRICS = ("pearson", "spearman", "snr_db")
"""The measures that decide on success: each has to exceed the null's maximum."""


def pearson(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Pearson's r over the units of each signal's activation, in [−1, 1]."""
    return (_standardised(activations) * _standardised(targets)).sum(dim=1).clamp(-1, 1)


def spearman(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Spearman's ρ over the units of each signal's activation, in [−1, 1]; ties take their average rank."""
    return pearson(average_ranks(activations.flatten(1)), average_ranks(targets.flatten(1)))


def snr_db(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Signal-to-noise ratio 20·log₁₀(‖a₀‖ / ‖a₀ − a‖) in dB; infinite for a perfect match (Feather et al. 2023)."""
    a, b = activations.flatten(1).double(), targets.flatten(1).double()
    signal, noise = torch.linalg.vector_norm(b, dim=1), torch.linalg.vector_norm(b - a, dim=1)
    return torch.where(noise > 0, 20 * (signal.log10() - noise.log10()), math.inf)


def snr_db_2023(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Half of `snr_db`: 10·log₁₀ of the norms' ratio, as the code released with Feather et al. (2023) prints it."""
    return snr_db(activations, targets) / 2


def relative_l2(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """‖a − a₀‖₂ / ‖a₀‖₂, the loss of Feather et al. (2023); 0 is a perfect match."""
    return distances.relative_l2(activations.double(), targets.double())


MEASURES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    measure.__name__: measure for measure in (pearson, spearman, snr_db, snr_db_2023, relative_l2)
}
"""Every measure by name."""

METRICS = ("pearson", "spearman", "snr_db", "relative_l2")
"""The measures that a study stores, in the order of the coordinate ``metric``; older ones have ``snr_db_2023``."""


def measure(activations: torch.Tensor, targets: torch.Tensor, metrics: Sequence[str] = METRICS) -> NDArray[np.float32]:
    """Take measures of a batch of activations ``(B, …)`` by name: ``(B, metric)``; on CUDA they are computed there."""
    a, b = activations.detach(), targets.detach()
    if a.device.type != "cuda":  # other devices may have no float64
        a, b = a.cpu(), b.cpu()
    return torch.stack([MEASURES[name](a, b) for name in metrics], dim=1).float().cpu().numpy()


def average_ranks(values: torch.Tensor) -> torch.Tensor:
    """Rank each row ``(B, D)`` from 1, in float64; ties take the average of their ranks."""
    wide = values if values.dtype == torch.float64 else values.float()  # NumPy has no bfloat16
    return torch.from_numpy(rankdata(wide.numpy(), axis=1)) if wide.device.type == "cpu" else _sorted_ranks(wide)


def _sorted_ranks(values: torch.Tensor) -> torch.Tensor:
    """`average_ranks` on any device: the mean of the first and the last place of each value among the sorted ones."""
    ordered = values.sort(dim=1).values
    below, up_to = torch.searchsorted(ordered, values), torch.searchsorted(ordered, values, right=True)
    return (below + 1 + up_to).double() / 2


def _standardised(values: torch.Tensor) -> torch.Tensor:
    """Rows ``(B, D)`` without their mean and of norm 1, in float64; a constant row is all 0."""
    rows = values.flatten(1).double()
    centred = rows - rows.mean(dim=1, keepdim=True)
    constant = rows.amin(dim=1, keepdim=True) == rows.amax(dim=1, keepdim=True)
    norm = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return torch.where(constant, 0.0, centred / norm)


def measured_layers(model: Model, layers: Sequence[str]) -> tuple[str, ...]:
    """The layers at which a metamer is measured, in network order: these, their terms, the model's own, ``output``."""
    names = dict.fromkeys([*model.layers, *with_terms(layers), "output"])
    order = {layer.name: index for index, layer in enumerate(examine(model, [*names]).outline)}

    def position(name: str) -> int:
        parsed = [LayerName.parse(term.layer) for term in terms_of(name)]
        return max(order.get(str(LayerName(each.path, each.call)), len(order)) for each in parsed)

    return tuple(sorted(names, key=position))


@ordinary()
def match(model: Model, metamers: xr.Dataset, *, device: str | torch.device = "cpu") -> xr.DataArray:
    """Measure metamers against their natural signals, at their own layer and all others.

    Parameters
    ----------
    model
        The network.
    metamers
        From `synthesise`: ``signal (layer, stimulus, seed, …)`` and ``natural (stimulus, …)``.

    Returns
    -------
    xr.DataArray
        ``match (layer, measured_layer, stimulus, seed, metric)``; NaN where a metamer is missing. The stimuli of one
        layer and seed pass through the network together.

    Raises
    ------
    MetameryError
        The dataset lacks one of the two, or the signals are not of the model's domain.

    Examples
    --------
    >>> from metamery.analysis import match, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> model = example_model()
    >>> metamers = synthesise(model, example_stimuli(model), ["1"], steps=5)
    >>> dict(match(model, metamers).sizes)
    {'layer': 1, 'measured_layer': 3, 'stimulus': 3, 'seed': 1, 'metric': 4}
    """
    if absent := {"signal", "natural"} - set(metamers.data_vars):
        raise MetameryError(f"the metamers have no variable '{min(absent)}': expected what synthesise returns")
    natural = torch.from_numpy(np.asarray(metamers["natural"].values))
    if natural.shape[1:] != model.domain.shape:
        raise MetameryError(f"the signals are {tuple(natural.shape[1:])}, the model takes {model.domain}")
    names = measured_layers(model, [str(name) for name in metamers["layer"].values])
    signals = metamers["signal"].transpose("layer", "seed", "stimulus", *model.domain.dims).values
    result = np.full((*signals.shape[:2], len(names), len(natural), len(METRICS)), np.nan, dtype=np.float32)
    module, dtype = on_device(model, device), signal_type(model.module)
    with (
        frozen(module),
        fast_on_cpu(module, model.domain),
        drawing(model, 0),
        model.tap(names) as tap,
        torch.no_grad(),
    ):
        targets = {name: target.clone() for name, target in tap(natural.to(device, dtype)).items()}
        for layer, seed in np.ndindex(signals.shape[:2]):
            signal = torch.from_numpy(np.nan_to_num(signals[layer, seed]))
            present = np.isfinite(signals[layer, seed]).all(axis=tuple(range(1, signals.ndim - 2)))
            for index, activations in enumerate(tap(signal.to(device, dtype)).values()):
                result[layer, seed, index, present] = measure(activations, targets[names[index]])[present]
    return xr.DataArray(
        result,
        {
            **{dim: metamers[dim] for dim in ("layer", "seed", "stimulus")},
            "measured_layer": list(names),
            "metric": list(METRICS),
        },
        ("layer", "seed", "measured_layer", "stimulus", "metric"),
        "match",
        {"long_name": "how closely the metamer's activations fit the stimulus's", "units": METRIC_UNITS},
    ).transpose("layer", "measured_layer", "stimulus", "seed", "metric")
