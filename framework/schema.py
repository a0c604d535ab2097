"""The schema of results: dimensions, variables and the attributes that every dataset needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import groups
from .errors import MetameryError, unknown

if TYPE_CHECKING:
    import xarray as xr

SCHEMA_VERSION = 1

DIMENSIONS: Mapping[str, str] = {
    "stimulus": "natural signals, by name",
    "layer": "the layer at which a metamer was made",
    "measured_layer": "the layer at which it was measured",
    "seed": "repetitions from different starting noise",
    "metric": "measures, of match or of anything else",
    "model": "networks, by qualified name",
    "recogniser": "networks or people asked what a metamer shows",
    "step": "updates of a synthesis",
    "epoch": "epochs of a training",
    "quantile": "quantiles of a distribution",
    "bin": "bins of a histogram",
    "epsilon": "sizes of a perturbation",
    "transformation": "kinds of change of a signal",
    "strength": "how strong a transformation is",
    "category": "what a stimulus shows",
    "answer": "what people answer, one of the choices of an experiment, or a network",
    "site": "a layer of a model, named by the coordinates `model` and `layer`",
    "other_site": "the layer that it is compared with, named by `other_model` and `other_layer`",
    "component": "singular values and directions, the largest first",
    "distortion": "the two distortions of a pair",
    "term": "effects in an analysis of variance",
    "participant": "people",
    "channel": "channels of a picture",
    "y": "rows of a picture, from the top",
    "x": "columns of a picture, from the left",
    "time": "samples of a waveform",
}
"""The vocabulary of dimensions, each with its meaning; it grows only here."""

SIGNAL_DIMENSIONS = frozenset({"channel", "y", "x", "time"})
"""The dimensions that need no coordinate."""

STATES = {"missing": 0, "done": 1, "failed": 2}
"""States of a metamer."""

VERDICTS = {"missing": -1, "no": 0, "yes": 1, "unattainable": 2}
"""Whether a metamer succeeds; unattainable where two unrelated signals can match perfectly."""

_SUFFIXES = {"": "", "quantised_": ", quantised"}

METRIC_UNITS = "1, or dB where the metric's name says so"


@dataclass(frozen=True)
class Variable:
    """The dimensions, type, fill value, meaning and units of an array."""

    dims: tuple[str, ...]
    dtype: str
    fill: float | int | str
    long_name: str
    units: str = "1"
    flags: Mapping[str, int] = field(default_factory=dict)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the array; flags follow the CF conventions."""
        attributes: dict[str, Any] = {"long_name": self.long_name, "units": self.units}
        if self.flags:
            attributes["flag_values"] = list(self.flags.values())
            attributes["flag_meanings"] = " ".join(self.flags)
        return attributes


_STIMULI = {
    "category": Variable(("stimulus",), "str", "", "what the stimulus shows"),
    "source": Variable(("stimulus",), "str", "", "where the stimulus comes from"),
    "licence": Variable(("stimulus",), "str", "", "terms under which it may be shown"),
    "group": Variable(("stimulus",), "str", "", "what it shares with other stimuli"),
}

_PER_METAMER = ("layer", "stimulus", "seed")


def stimuli_variables() -> dict[str, Variable]:
    """The variables of ``/stimuli``."""
    return dict(_STIMULI)


def fitted_variables(signal_dims: tuple[str, ...]) -> dict[str, Variable]:
    """The variables of ``/models/KEY/stimuli``; `signal_dims` are the domain's."""
    return {
        "signal": Variable(("stimulus", *signal_dims), "float32", float("nan"), "natural signal, as the model gets it"),
        "predicted": Variable(("stimulus",), "int32", -1, "class that the model gives the natural signal"),
        "confidence": Variable(("stimulus",), "float32", float("nan"), "softmax probability of that class"),
        "correct": Variable(
            ("stimulus",), "int8", -1, "whether that class is a right answer",
            flags={"missing": -1, "wrong": 0, "right": 1},
        ),
    }  # fmt: skip


def metamer_variables(signal_dims: tuple[str, ...]) -> dict[str, Variable]:
    """The variables of ``/models/KEY/metamers``; `signal_dims` are the domain's."""
    nan = float("nan")
    return {
        "signal": Variable((*_PER_METAMER, *signal_dims), "float32", nan, "metamer"),
        "loss": Variable(
            (*_PER_METAMER, "step"), "float32", nan, "distance to the stimulus, before each update and after the last"
        ),
        "steps": Variable(_PER_METAMER, "int32", -1, "updates made"),
        "state": Variable(_PER_METAMER, "int8", 0, "state of the metamer", flags=STATES),
        "reason": Variable(_PER_METAMER, "str", "", "why a metamer failed"),
        "made_on": Variable(_PER_METAMER, "str", "", "what it was made on: device, threads, PyTorch, folded or not"),
        "modified_relu": Variable(
            ("layer",), "int8", -1, "whether the layer's own ReLU passed gradients of inactive units",
            flags={"missing": -1, "no": 0, "yes": 1},
        ),
    }  # fmt: skip


def match_variables(*, joint: bool = False) -> dict[str, Variable]:
    """The variables of ``/models/KEY/match`` that come with the metamers; with `joint`, those of joint layers, too.

    Those that begin with ``quantised_`` belong to the metamer as it is shown to people: 8-bit pictures, 16-bit sound.
    """
    nan = float("nan")
    at_all = ("layer", "measured_layer", "stimulus", "seed", "metric")
    fit = "how closely the metamer's activations fit the stimulus's"
    variables = {"match": Variable(at_all, "float32", nan, fit, METRIC_UNITS)}
    own = Variable((*_PER_METAMER, "metric"), "float32", nan, f"{fit} at its own layer, quantised", METRIC_UNITS)
    for prefix, how in _SUFFIXES.items():
        variables |= {
            f"{prefix}predicted": Variable(_PER_METAMER, "int32", -1, f"class that the model gives the metamer{how}"),
            f"{prefix}confidence": Variable(_PER_METAMER, "float32", nan, f"softmax probability of that class{how}"),
            f"{prefix}agrees": Variable(
                _PER_METAMER, "int8", -1, f"whether it is the class that the model gives the natural signal{how}",
                flags={"missing": -1, "other": 0, "same": 1},
            ),
        }  # fmt: skip
    of_terms = f"{fit} at a term of its joint layer, quantised"
    terms = {"quantised_term_match": Variable(at_all, "float32", nan, of_terms, METRIC_UNITS)}
    return variables | {"quantised_match": own} | (terms if joint else {})


def success_variables(*, joint: bool = False) -> dict[str, Variable]:
    """The variables of ``/models/KEY/match`` that compare it with the null; with `joint`, also of joint layers."""
    nan, each = float("nan"), (*_PER_METAMER, "metric")
    variables: dict[str, Variable] = {}
    for prefix, how in _SUFFIXES.items():
        variables |= {
            f"{prefix}margin": Variable(
                each, "float32", nan, f"match at its own layer above the null's maximum{how}", METRIC_UNITS
            ),
            f"{prefix}percentile": Variable(
                each, "float32", nan, f"share of the null's pairs that match less{how}", "percent"
            ),
            f"{prefix}matches": Variable(
                _PER_METAMER, "int8", -1, f"whether every measure is above the null's maximum{how}", flags=VERDICTS
            ),
            f"{prefix}success": Variable(
                _PER_METAMER, "int8", -1, f"whether it matches and has the natural signal's class{how}", flags=VERDICTS
            ),
        }  # fmt: skip
        if joint:
            variables[f"{prefix}term_matches"] = Variable(
                ("layer", "measured_layer", "stimulus", "seed"),
                "int8",
                VERDICTS["missing"],
                f"whether every measure is above the null's maximum at a term of its joint layer{how}",
                flags=VERDICTS,
            )
    return variables


def null_variables() -> dict[str, Variable]:
    """The variables of ``/models/KEY/null``: match between unrelated natural signals."""
    nan, per_layer = float("nan"), ("layer", "metric")
    return {
        "maximum": Variable(per_layer, "float32", nan, "best match of any pair", METRIC_UNITS),
        "first": Variable(per_layer, "str", "", "signal of that pair in the role of the natural one"),
        "second": Variable(per_layer, "str", "", "signal of that pair in the role of the metamer"),
        "quantiles": Variable((*per_layer, "quantile"), "float32", nan, "match between pairs", METRIC_UNITS),
        "histogram": Variable((*per_layer, "bin"), "int64", 0, "number of pairs in each bin; the outer bins are open"),
        "bin_low": Variable(("metric", "bin"), "float32", nan, "lower edge of each bin", METRIC_UNITS),
        "bin_high": Variable(("metric", "bin"), "float32", nan, "upper edge of each bin", METRIC_UNITS),
    }


def model_key(qualified: str) -> str:
    """Return the name of a model's group: each run of characters that a path cannot hold becomes ``+``.

    >>> model_key("vision:torchvision/resnet50")
    'vision+torchvision+resnet50'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "+", qualified)


def site_coordinates(sites: Sequence[tuple[str, str]], dim: str = "site") -> dict[str, Any]:
    """Return coordinates of a dimension ``site``: text, and the model and layer of each site.

    >>> site_coordinates([("net", "conv1")], "other_site")["other_layer"]
    ('other_site', ['conv1'])

    Parameters
    ----------
    sites
        Pairs of a model's name and a layer.
    dim
        ``site`` or ``other_site``.
    """
    prefix = dim.removesuffix("site")
    return {
        dim: [f"{model} {layer}" for model, layer in sites],
        f"{prefix}model": (dim, [model for model, _ in sites]),
        f"{prefix}layer": (dim, [layer for _, layer in sites]),
    }


def check_dataset(dataset: xr.Dataset) -> None:
    """Check a dataset against the schema.

    1. Every dimension is in the vocabulary (`DIMENSIONS`).
    2. Every dimension but the signal's has a coordinate.
    3. Every variable has ``long_name`` and ``units``.
    4. Nothing has type object except text; times, complex numbers and pickles are not allowed.
    5. Names are valid names of files: text, without ``/``, and no two differ only in case.
    6. The attribute ``reading_order``, if there is one, lists variables of the dataset, each once.

    Raises
    ------
    MetameryError
        A check fails; the message states which.
    """
    groups.check_variables(dataset.variables)
    for dim in map(str, dataset.dims):
        if dim not in DIMENSIONS:
            raise unknown("dimension", dim, DIMENSIONS)
        if dim not in SIGNAL_DIMENSIONS and dim not in dataset.coords:
            raise MetameryError(f"dimension '{dim}' has no coordinate")
    for name, variable in dataset.variables.items():
        if variable.dtype.kind not in "biufUST" and not (
            variable.dtype.kind == "O" and all(isinstance(item, str) for item in variable.values.flat)
        ):
            raise MetameryError(f"variable '{name}' has type {variable.dtype}, expected numbers or text")
    for name, array in dataset.data_vars.items():
        for needed in ("long_name", "units"):
            if not isinstance(array.attrs.get(needed), str):
                raise MetameryError(f"variable '{name}' has no '{needed}'")
    order = dataset.attrs.get("reading_order", [])
    if not isinstance(order, list | tuple):
        raise MetameryError(f"attribute 'reading_order' is {order!r}, expected a list of variables' names")
    for position, name in enumerate(order):
        if name not in dataset.data_vars:
            raise unknown("variable in 'reading_order'", str(name), list(map(str, dataset.data_vars)))
        if name in order[:position]:
            raise MetameryError(f"attribute 'reading_order' has '{name}' twice, expected each variable once")
