"""Every bundled evaluator on the same few studies: it keeps its contract, or one line states why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from inputs import TINY, draw_pictures
from metamery.analysis.studies.batches import running
from metamery.analysis.studies.cost import cost
from metamery.framework import Context, MetameryError, Model, Plugins, Stimulus, WaveformDomain
from metamery.framework.cli import main
from metamery.framework.results import open_study
from metamery.framework.schema import STATES
from metamery.framework.study import Reference, load_stimuli
from metamery.framework.testing import check_evaluator, example_model
from peers import peer
from torch import nn

QUICK: dict[str, dict[str, Any]] = {
    "accuracy": {},
    "accuracy-under": {"perturbation": "gaussian", "batch_size": 3},
    "accuracy-in-noise": {"snrs": [0.0], "noise": "white"},
    "agreement": {},
    "autoattack": {"epsilons": [0.9], "steps": 2},  # the first of its attacks does, which saves the others
    "character": {"batch_size": 3},
    "contrast": {"steps": 2, "batch_size": 3},
    "geometry": {"components": 2, "limit": 1},
    "invariance": {"batch_size": 3, "resamples": 20},
    "principal-distortions": {"steps": 4, "starts": 1, "limit": 1, "resamples": 20},
    "recognition": {"resamples": 20},
    "robustness": {"epsilons": [0.02], "steps": 2, "apgd_steps": 2, "batch_size": 3},
    "shift-consistency": {"batch_size": 3},
    "similarity": {"resamples": 20, "batch_size": 3},
}
EVALUATORS = sorted(QUICK)
NETWORK = TINY.replace("(144, 3)", "(144, 4)").replace('"owl"]', '"owl", "fox"]')  # AutoAttack wants four classes
COMPARING = ("principal-distortions",)
OF_STUDIES = ("agreement", "character", "contrast", "recognition")
GRADING = ("accuracy", "accuracy-in-noise", "accuracy-under", "autoattack", "robustness")
OF_SOUNDS = ("accuracy-in-noise",)


def evaluator(name: str, plugins: Plugins | None = None) -> Any:
    if name == "autoattack":
        peer("torchattacks")
    return (plugins or Plugins(installed=())).load("evaluator", name, **QUICK[name])


def sounds() -> Context:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hears = Model(nn.Linear(400, 2).eval(), WaveformDomain(400, 8000), ["output"], ["no", "yes"])
    waves = 0.3 * torch.randn(5, 400, generator=torch.Generator().manual_seed(0))
    given = [Stimulus(wave, ("no", "yes")[n % 2], name=str(n), sample_rate=8000) for n, wave in enumerate(waves)]
    return Context({"made:hears": hears}, given)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Context]:
    """``given(name, change, count)``: what an evaluator is given of a changed study, or of two models without one."""
    folder = tmp_path_factory.mktemp("made")
    network = folder / "tiny.py"
    network.write_text(NETWORK, encoding="utf-8")
    pictures = draw_pictures(folder / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    asked = [f"{network}:build", "--stimuli", pictures, "--layers", "1,output", "--steps", 3, "--seeds", 2]
    assert main(["synthesise", *map(str, asked), "-o", str(folder / "study")]) == 0
    plugins = Plugins(installed=())
    model = plugins.load("model", f"{network}:build")
    stimuli = load_stimuli(plugins, Reference(f"{pictures}/"))
    whole = open_study(folder / "study").load()
    (at,) = whole["models"].children
    name = whole[f"models/{at}"].attrs["model"]
    second = plugins.load("model", f"{network}:build", seed=1)

    def context(evaluator: str, change: Callable[[xr.DataTree], xr.DataTree] | None = None, count: int = 5) -> Context:
        if evaluator in OF_SOUNDS:
            heard = sounds()
            return Context(heard.models, heard.stimuli[:count], None)  # type: ignore[index]
        tree = None if change is None else change(whole.copy(deep=True).isel(stimulus=slice(count)))
        shown = [stimuli[index] for index in range(count)]
        is_alone = tree is not None and evaluator not in COMPARING
        models = {name: model} if is_alone else {name: model, "made:second": second}
        return Context(models, shown, tree, generator=torch.Generator().manual_seed(0))

    return context


def as_it_is(tree: xr.DataTree) -> xr.DataTree:
    return tree


def without(layers: slice) -> Callable[[xr.DataTree], xr.DataTree]:
    """A change of a study: at some layers no metamer could be made."""

    def change(tree: xr.DataTree) -> xr.DataTree:
        for group in tree["models"].children.values():
            made, match = group["metamers"], group["match"]
            made.state.values[layers] = STATES["failed"]
            for name in ("signal", "loss"):
                made[name].values[layers] = np.nan
            made.steps.values[layers] = -1
            for array in match.data_vars.values():
                array.values[layers] = np.nan if array.dtype.kind == "f" else -1
        return tree

    return change


CASES: dict[str, tuple[Callable[[xr.DataTree], xr.DataTree] | None, int]] = {
    "a study": (as_it_is, 5),
    "two models alone": (None, 5),
    "no metamers": (without(slice(None)), 5),
    "a failed layer": (without(slice(1, None)), 5),
    "one stimulus": (as_it_is, 1),
}
REFUSED = {
    **{("two models alone", name): f"evaluator '{name}' needs a study" for name in OF_STUDIES},
    ("one stimulus", "invariance"): "expected at least two stimuli",
    ("one stimulus", "similarity"): "similarity of 1 stimuli, expected at least 4",
}


def test_the_table_has_every_evaluator() -> None:
    assert [entry.name for entry in Plugins(installed=()).entries("evaluator")] == EVALUATORS


@pytest.mark.parametrize("name", EVALUATORS)
@pytest.mark.parametrize("case", CASES)
def test_it_holds_its_contract_or_says_why_not(name: str, case: str, given: Callable[..., Context]) -> None:
    change, count = CASES[case]
    evaluate = evaluator(name)
    if said := REFUSED.get((case, name)):
        with pytest.raises(MetameryError, match=said):
            evaluate(given(name, change, count))
    else:
        check_evaluator(evaluate, given(name, change, count))


@pytest.mark.parametrize("name", EVALUATORS)
@pytest.mark.parametrize("case", CASES)
def test_what_it_states_before_it_runs_holds(name: str, case: str, given: Callable[..., Context]) -> None:
    evaluate, context = evaluator(name), given(name, *CASES[case])
    if said := REFUSED.get((case, name)):
        with pytest.raises(MetameryError, match=said):
            cost(evaluate, context)
        return
    drawn = context.generator.get_state()
    stated = evaluate.passes(context)
    assert torch.equal(context.generator.get_state(), drawn)
    if stated is None:
        assert name == "accuracy-under"  # the perturbation's passes are its own
        return
    seen = dict.fromkeys(context.models, 0)

    def count(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: tuple[torch.Tensor]) -> None:
            seen[name] += len(arguments[0])

        return hook

    hooks = [model.module.register_forward_pre_hook(count(name)) for name, model in context.models.items()]
    try:
        evaluate(context)  # probes each network first
        seen = dict.fromkeys(context.models, 0)
        with running(context):
            checked = max(seen.values())
        seen = dict.fromkeys(context.models, 0)
        evaluate(context)
    finally:
        for hook in hooks:
            hook.remove()
    assert max(seen.values()) - checked <= stated.forward + stated.backward, (seen, stated)


@pytest.mark.parametrize("name", GRADING)
def test_stimuli_without_a_right_answer_are_refused_before_it_runs(name: str, given: Callable[..., Context]) -> None:
    evaluate, context = evaluator(name), given(name)
    unknown = replace(context, stimuli=[replace(each, category="", labels={}) for each in context.stimuli])
    for work in (evaluate, evaluate.passes):
        with pytest.raises(MetameryError, match="none of the stimuli has a right answer among the labels of model"):
            work(unknown)


@pytest.mark.parametrize("name", EVALUATORS)
def test_it_says_how_it_is_read_and_depends_on_the_seed_alone(
    name: str, given: Callable[..., Context], fake_plugin: Callable[..., ModuleType]
) -> None:
    def register(register: Any) -> None:
        register("another", example_model)

    first = evaluator(name)(given(name, as_it_is))
    assert first.attrs["reading_order"]
    assert first.attrs["read_first"].endswith(".")
    extra = Plugins([fake_plugin("extra", register_models=register)], installed=())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        np.random.seed(1)
        again = evaluator(name, extra)(given(name, as_it_is))
    xr.testing.assert_identical(again, first)


@pytest.mark.parametrize("name", OF_STUDIES)
def test_a_failed_layer_leaves_the_others_as_they_are(name: str, given: Callable[..., Context]) -> None:
    whole, part = (evaluator(name)(given(name, CASES[case][0])) for case in ("a study", "a failed layer"))
    (along,) = whole.layer.dims
    assert part.layer.values.tolist() == whole.layer.values.tolist()
    kept, failed = whole.layer.values == "1", whole.layer.values == "output"
    assert kept.any()
    assert failed.any()
    for variable, values in part.data_vars.items():
        if along in values.dims:
            xr.testing.assert_allclose(values.isel({along: kept}), whole[variable].isel({along: kept}))
