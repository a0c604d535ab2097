"""A study as one tidy table: a row for each metamer, for pandas, R and spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...framework.errors import MetameryError
from ...framework.model_results import STATE_NAMES, ModelResults, models_of, stimulus_facts
from ...framework.schema import VERDICTS
from ..proof.measures import MEASURES
from .in_memory import Results, opened

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_VERDICTS = ("agrees", "matches", "success", "quantised_success")
_RECOGNITION = {"site", "recogniser", "stimulus", "seed"}
_MEASURES = [name for name in MEASURES if name != "snr_db_2023"]  # half of snr_db
_UNATTAINABLE = VERDICTS["unattainable"]


def to_table(study: Results) -> pd.DataFrame:
    """Return a study as one table with a row for each metamer.

    Columns are ``model``, ``layer``, ``layer_index`` (from 0, among the layers at which the model was measured, in the
    network's order), ``depth`` (the same from 0 for the first to 1 for the last), ``stimulus``, ``category``,
    ``group``, ``seed``, ``state`` (missing, done or failed), ``steps``, ``loss``; the match at the metamer's own layer,
    ``pearson``, ``spearman``, ``snr_db`` (in dB) and ``relative_l2``; the classes ``predicted`` and
    ``natural_predicted`` by name, ``confidence`` in [0, 1]; the verdicts ``agrees``, ``matches``, ``success`` and
    ``quantised_success``, and ``attainable``, False where no match can be distinguished from chance. A study with the
    evaluation ``recognition`` also has a column ``recognised_by NAME`` for each recogniser.

    Verdicts have pandas' type ``boolean`` and are missing where not known; ``to_csv`` leaves them empty.

    Parameters
    ----------
    study
        A study's folder, an open study (see `as_study`), or what `synthesise` returned.

    Raises
    ------
    MetameryError
        The folder holds no study, or the study holds no metamers.

    Examples
    --------
    >>> from metamery.analysis import synthesise, to_table
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> table = to_table(synthesise(example_model(), example_stimuli(), steps=5))
    >>> table[["layer", "depth", "stimulus", "state"]].tail(2)
        layer  depth stimulus state
    7  output    1.0       s1  done
    8  output    1.0       s2  done
    """
    import pandas as pd

    with opened(study) as tree:
        models = models_of(tree)
        if not models:
            raise MetameryError("there are no metamers, expected a study or what synthesise returns")
        facts, recognition = _facts(tree), _recognition(tree)
        parts = [_rows(results, facts, recognition) for results in models]
    return pd.concat(parts, ignore_index=True)


def _rows(results: ModelResults, facts: Mapping[str, Mapping[str, str]], recognition: xr.DataArray | None) -> Any:
    """Return the rows of one model."""
    import pandas as pd

    shape = len(results.layers), len(results.stimuli), len(results.seeds)
    layer, stimulus, seed = (index.ravel() for index in np.indices(shape))
    known = results.measured_layers or results.layers
    index = np.array([known.index(name) for name in results.layers])
    names = np.array(results.stimuli, dtype=object)
    natural = [results.label(int(number)) for number in results.natural["predicted"].values]
    matches = results.answers("matches", -1).ravel()
    columns: dict[str, Any] = {
        "model": results.name,
        "layer": np.array(results.layers, dtype=object)[layer],
        "layer_index": index[layer],
        "depth": index[layer] / (len(known) - 1) if len(known) > 1 else np.nan,
        "stimulus": names[stimulus],
        **{fact: [facts.get(name, {}).get(fact, "") for name in names[stimulus]] for fact in ("category", "group")},
        "seed": np.array(results.seeds)[seed],
        "state": [STATE_NAMES[int(number)] for number in results.metamers["state"].values.ravel()],
        "steps": results.metamers["steps"].values.ravel(),
        "loss": results.final_loss.values.ravel(),
        **{name: results.own_match(name).ravel() for name in _MEASURES},
        "predicted": [results.label(int(number)) for number in results.answers("predicted", -1).ravel()],
        "natural_predicted": np.array(natural, dtype=object)[stimulus],
        "confidence": results.answers("confidence", np.nan).ravel(),
        **{name: _boolean(results.answers(name, -1).ravel()) for name in _VERDICTS},
        "attainable": pd.array(matches != _UNATTAINABLE, dtype="boolean"),
        **_recognised(results, recognition, shape),
    }
    return pd.DataFrame(columns)


def _boolean(values: NDArray[Any]) -> Any:
    """Return 1 as True, 0 as False, and anything else as missing."""
    import pandas as pd

    return pd.arrays.BooleanArray(values == 1, ~np.isin(values, (0, 1)))


def _facts(tree: xr.DataTree) -> dict[str, dict[str, str]]:
    facts = stimulus_facts(tree)
    if "stimuli" in tree.children and "group" in tree["stimuli"].dataset:
        for name, group in zip(facts, tree["stimuli"].dataset["group"].values, strict=True):
            facts[name]["group"] = str(group)
    return facts


def _recognition(tree: xr.DataTree) -> xr.DataArray | None:
    """Return the recognisers' answers of the evaluation ``recognition``, ``(site, recogniser, stimulus, seed)``."""
    found = tree.children.get("recognition")
    if found is None or {*found.dataset.get("correct", xr.DataArray()).dims} != _RECOGNITION:
        return None
    return found.to_dataset()["correct"].load().transpose("site", "recogniser", "stimulus", "seed")


def _recognised(results: ModelResults, recognition: xr.DataArray | None, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return a column for each recogniser, missing at layers, stimuli and seeds that it was not asked about."""
    columns: dict[str, Any] = {}
    if recognition is None:
        return columns
    own = recognition.isel(site=recognition["model"].values == results.name)
    own = own.assign_coords(site=own["layer"].values).drop_vars(["model", "layer"])
    at = {"site": results.layers, "stimulus": results.stimuli, "seed": results.seeds}
    wanted = own.reindex(at, fill_value=-1)
    for recogniser in wanted["recogniser"].values:
        answers = wanted.sel(recogniser=recogniser).transpose("site", "stimulus", "seed").values.reshape(shape)
        columns[f"recognised_by {recogniser}"] = _boolean(answers.ravel())
    return columns
