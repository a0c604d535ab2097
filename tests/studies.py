"""Studies with invented results, for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import xarray as xr
from metamery.analysis.proof.success import judge
from metamery.framework import open_study
from metamery.framework.domains import Domain, ImageDomain, WaveformDomain
from metamery.framework.schema import (
    STATES,
    fitted_variables,
    match_variables,
    metamer_variables,
    model_key,
    null_variables,
    stimuli_variables,
    success_variables,
)
from metamery.framework.store import Group, StudyStore

LAYERS = ["conv1", "blocks[0].relu", "output"]
MEASURED = ["conv1", "blocks[0].relu", "blocks[1]", "output"]
METRICS = ["pearson", "spearman", "snr_db", "snr_db_2023", "relative_l2"]
JUDGED = METRICS[:3]
SEEDS = [0, 1]
STIMULI = ["chelsea", "coffee", "rocket"]
STEPS = 7
REASON = "the loss is not finite after update 3"
IMAGE = ImageDomain(3, 8, 10)
SOUND = WaveformDomain(400, 8000)
FAILED = (2, 1, 0)  # layer, stimulus, seed
MISSING = (2, 2, 1)
PERFECT = (0, 1, 1)
OTHER_LABEL = (1, 0, 0)
NO_MATCH = (1, 1, 1)
LOST_IN_ROUNDING = (1, 2, 0)


def make_study(
    folder: Path,
    domains: dict[str, Domain],
    stimuli: list[str] = STIMULI,
    finished: bool = False,
    null: bool = True,
    pairs: int = 3,
    layers: list[str] = LAYERS,
    seeds: list[int] = SEEDS,
) -> Path:
    """Make a small study; unless finished, one metamer of each model has failed and one is missing.

    At the last layer the null makes success unattainable; the metamers of the constants above are what these say.
    """
    generator = np.random.default_rng(0)
    measured = MEASURED if layers == LAYERS else layers
    groups = {"stimuli": Group(stimuli_variables(), {"stimulus": stimuli})}
    for name, domain in domains.items():
        path = f"models/{model_key(name)}"
        sizes = dict(zip(domain.dims, domain.shape, strict=True))
        each = {"layer": layers, "stimulus": stimuli, "seed": seeds}
        attributes = {
            "model": name,
            "labels": ["tabby, tabby cat", "espresso", "missile"],
            "label_space": "imagenet",
            "domain": str(domain),
            "domain_kind": domain.kind,
            "low": domain.low,
            "high": domain.high,
            "weights_sha256": "0123456789abcdef" * 4,
            "options": "{}",
        }
        if isinstance(domain, WaveformDomain):
            attributes |= {"sample_rate": domain.sample_rate} | ({} if domain.rms is None else {"rms": domain.rms})
        settings = {"preset": "fast", "distance": "inversion", "steps": STEPS - 1, "prior": None}
        groups |= {
            path: Group(attributes=attributes),
            f"{path}/stimuli": Group(fitted_variables(domain.dims), {"stimulus": stimuli}, sizes, {"stimulus": 2}),
            f"{path}/metamers": Group(
                metamer_variables(domain.dims),
                {**each, "step": list(range(STEPS))},
                sizes,
                {"layer": 1, "stimulus": 2},
                {"settings": json.dumps(settings)},
            ),
            f"{path}/match": Group(
                match_variables() | success_variables(), {**each, "measured_layer": measured, "metric": METRICS}
            ),
        }
        if null:
            groups[f"{path}/null"] = make_null(pairs, layers)
    root = {
        "metamery_version": "0.1.0",
        "torch_version": "2.12.0",
        "plugins": ["vision (metamery 0.1.0)"],
        "device": "cpu",
        "threads": 2,
        "study": "seed = 0\n",
        "created": "2026-03-12T14:05:00+00:00",
    }
    store = StudyStore.create(folder, groups, root)
    count = len(stimuli)
    text = {"category": "cat", "source": "https://example.org/cat", "licence": "CC0 1.0"}
    store.write("stimuli", {}, {name: np.array([value] * count, dtype=object) for name, value in text.items()})
    for name, domain in domains.items():
        path = f"models/{model_key(name)}"

        def signals(*shape: int, domain: Domain = domain) -> np.ndarray:
            return generator.uniform(domain.low, domain.high, (*shape, *domain.shape)).astype(np.float32)

        predicted = np.arange(count) % 3
        store.write(
            f"{path}/stimuli",
            {},
            {
                "signal": signals(count),
                "predicted": predicted,
                "confidence": np.full(count, 0.9),
                "correct": np.ones(count),
            },
        )
        shape = (len(layers), count, len(seeds))
        state = np.full(shape, STATES["done"])
        reason = np.full(shape, "", dtype=object)
        if not finished:
            state[FAILED], reason[FAILED], state[MISSING] = STATES["failed"], REASON, STATES["missing"]
        done = state == STATES["done"]
        signal = np.where(done.reshape(*shape, *[1] * len(domain.shape)), signals(*shape), np.nan)
        loss = np.where(done[..., None], 0.5 ** np.arange(STEPS), np.nan)
        store.write(
            f"{path}/metamers",
            {},
            {
                "signal": signal,
                "loss": loss,
                "steps": np.where(done, STEPS - 1, -1),
                "reason": reason,
                "state": state,
                "modified_relu": np.arange(len(layers)) == 1,
            },
        )
        answer = np.where(done, predicted[:, None], -1)
        if layers == LAYERS:
            answer[OTHER_LABEL] = 1
        match, quantised = make_match(generator, done, layers, measured)
        answers = {
            "predicted": answer,
            "confidence": np.where(done, 0.41, np.nan),
            "agrees": np.where(done, answer == predicted[:, None], -1),
        }
        rounded = {f"quantised_{name}": value for name, value in answers.items()}
        store.write(f"{path}/match", {}, {"match": match, "quantised_match": quantised, **answers, **rounded})
        if null:
            write_null(store, f"{path}/null", pairs, len(layers))
            with open_study(folder) as tree:
                judged = judge(tree[f"{path}/match"].to_dataset(), tree[f"{path}/null"].to_dataset())
            store.write(f"{path}/match", {}, {str(name): array.values for name, array in judged.items()})
    return folder


def make_match(
    generator: np.random.Generator, done: np.ndarray, layers: list[str], measured: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Match that is close from the metamers' own layer on, at all layers and at the own layer quantised."""
    closeness = generator.uniform(0.97, 0.999, (len(layers), len(measured), *done.shape[1:]))
    for layer, name in enumerate(layers):
        closeness[layer, : measured.index(name)] -= generator.uniform(0.2, 0.6)
    if layers == LAYERS:
        closeness[NO_MATCH[0], 1, NO_MATCH[1], NO_MATCH[2]] = 0.4
    match = np.where(done[:, None, ..., None], at_all_metrics(closeness), np.nan)
    if layers == LAYERS:
        match[0, 0, PERFECT[1], PERFECT[2]] = [1, 1, np.inf, np.inf, 0]
    own = np.stack([match[layer, measured.index(name)] for layer, name in enumerate(layers)])
    quantised = own.copy()
    quantised[..., :2] -= 0.002
    quantised[..., 2:4] = np.minimum(quantised[..., 2:4], 24.0) - 0.5
    if layers == LAYERS:
        quantised[LOST_IN_ROUNDING] = at_all_metrics(np.array(0.5))
    return match, quantised


def at_all_metrics(closeness: np.ndarray) -> np.ndarray:
    decibels = -20 * np.log10(1 - closeness)
    return np.stack([closeness, closeness - 0.01, decibels, decibels / 2, 1 - closeness], axis=-1)


def make_null(pairs: int, layers: list[str]) -> Group:
    coordinates = {"layer": layers, "metric": JUDGED, "quantile": [0, 0.001, 0.05, 0.5, 0.95, 0.999, 1]}
    attributes = {
        "signals": 2 * pairs,
        "pairs": pairs,
        "left_out": ["coffee-2: nearly the same as coffee"],
        "stimuli": "the study's own",
    }
    return Group(null_variables(), {**coordinates, "bin": list(range(10))}, attributes=attributes)


def write_null(store: StudyStore, path: str, pairs: int, layers: int) -> None:
    low, high = np.array([-0.1, -0.1, -3.0]), np.array([0.6, 0.55, 1.8])
    quantiles = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 7)  # (metric, quantile)
    each = np.stack([quantiles + 0.01 * layer for layer in range(layers)])
    each[-1, :2, -1] = 0.9995
    edges = np.stack([np.linspace(-1, 1, 11), np.linspace(-1, 1, 11), np.linspace(-40, 60, 11)])
    edges[:, 0], edges[:, -1] = -np.inf, np.inf
    shape = (layers, len(JUDGED))
    store.write(
        path,
        {},
        {
            "maximum": each[..., -1],
            "first": np.full(shape, "coffee", dtype=object),
            "second": np.full(shape, "rocket", dtype=object),
            "quantiles": each,
            "histogram": np.broadcast_to(pairs * np.array([0, 0, 0, 1, 4, 9, 4, 1, 0, 0]), (*shape, 10)),
            "bin_low": edges[:, :-1],
            "bin_high": edges[:, 1:],
        },
    )


def add_evaluations(folder: Path) -> None:
    """Write what evaluators of other people might: known dimensions, and names that nobody has heard of."""
    store = StudyStore.reopen(folder)
    generator = np.random.default_rng(1)
    share = {"long_name": "proportion of metamers recognised", "units": "1"}
    coordinates = {"layer": LAYERS, "stimulus": STIMULI, "seed": SEEDS, "model": ["a:one", "b:<two>"]}

    def array(*dims: str, **attributes: object) -> xr.DataArray:
        values = generator.uniform(0.2, 0.9, [len(coordinates[dim]) for dim in dims])
        return xr.DataArray(values, [(dim, coordinates[dim]) for dim in dims], attrs={**share, **attributes})

    by_model = array("model", "layer")
    by_model[1, 2] = np.nan
    correct = (array("layer", "stimulus", "seed") > 0.5).astype(np.int8).assign_attrs(share)
    correct[0, 0, 0] = -1
    flags = {"flag_values": [-1, 0, 1], "flag_meanings": "missing wrong right"}
    lines = xr.Dataset(
        {
            "agreement": by_model,
            "agreement_low": (by_model - 0.1).assign_attrs(share),
            "agreement_high": (by_model + 0.1).assign_attrs(share),
            "counted": (by_model * 10).fillna(0).astype(np.int64).assign_attrs(long_name="counted", units="1"),
        }
    )
    store.add("elsewhere", lines.assign_attrs(title="What <others> say", description="Asked twice & again."))
    store.add("recognition/vision+net", xr.Dataset({"correct": correct.assign_attrs(flags)}))
    generated = xr.DataArray(
        generator.normal(size=(3, 4)),
        [("layer", LAYERS), ("measured_layer", MEASURED)],
        attrs={"long_name": "angle", "units": "degrees"},
    )
    classes = xr.full_like(correct, 7).assign_attrs(long_name="class given", units="1")
    robust = xr.DataArray(
        [0.9, 0.5, 0.1],
        [("epsilon", [0.0, 0.01, 0.03])],
        attrs={"long_name": "accuracy under attack", "units": "percent"},
    )
    alone = xr.DataArray(0.25, attrs={"long_name": "one number", "units": "bits"})
    words = xr.DataArray(np.array(STIMULI, dtype=object), [("stimulus", STIMULI)], attrs=share)
    others = {"angle": generated, "classes": classes, "robust": robust, "alone": alone, "words": words}
    store.add("odd", xr.Dataset(others))
    store.add("models/vision+net/geometry", xr.Dataset({"dimension": alone}))
