"""Running a study: what is stored, what is resumed, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import xarray as xr
from inputs import TINY
from metamery.analysis import judge, synthesise
from metamery.analysis.proof import null as nulls
from metamery.analysis.studies import making, preparation
from metamery.analysis.studies.estimate import estimate
from metamery.analysis.studies.run_study import run_study
from metamery.analysis.synthesis import driver
from metamery.framework import MetameryError, Plugins, Stimulus, Study, WaveformDomain, open_study
from metamery.framework.model_results import models_of
from metamery.framework.progress import Progress
from metamery.framework.schema import STATES, VERDICTS, check_dataset
from metamery.framework.store import RESULTS, StudyStore
from metamery.framework.study import ModelReference, Reference, load_stimuli

SETTINGS = {"preset": "fast", "steps": 4, "batch_size": 2}


def study_of(network: str, pictures: Path) -> Study:
    return Study(
        models=(ModelReference(network, ("1", "output")),),
        stimuli=Reference("files:folder", {"path": str(pictures)}),
        synthesis={**SETTINGS, "seeds": 2},
        seed=7,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> tuple[Study, Path]:
    """A study and its folder, which is finished."""
    root = tmp_path_factory.mktemp("made")
    (root / "tiny.py").write_text(TINY, encoding="utf-8")
    pictures = drawn(root / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    study = study_of(f"{root / 'tiny.py'}:build", pictures)
    run_study(study, root / "study", Plugins())
    return study, root / "study"


@pytest.fixture
def study(made: tuple[Study, Path]) -> Study:
    return made[0]


@pytest.fixture
def whole(made: tuple[Study, Path]) -> Path:
    """The finished study, to be read."""
    return made[1]


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be written to."""
    return Path(shutil.copytree(whole, tmp_path / "study"))


@pytest.fixture
def own(tiny: str, pictures: Path) -> Study:
    """The same study of a network and pictures that the test may change."""
    return study_of(tiny, pictures)


SOUNDS = """
import torch
from metamery.framework import Model, WaveformDomain


def build(rms: float = 0.0) -> Model:
    torch.manual_seed(0)
    domain = WaveformDomain(400, 8000, -0.5, 0.5, rms or None)
    return Model(torch.nn.Sequential(torch.nn.Linear(400, 3), torch.nn.ReLU()).eval(), domain, ["0", "output"])
"""


def single(tree: xr.DataTree) -> Any:
    (group,) = tree["models"].children.values()
    return group


def contents(path: Path) -> dict[str, Any]:
    """Every array of a study by its path, as bytes or texts."""
    found = {}
    for node in open_study(path).subtree:
        for name, variable in node.dataset.variables.items():
            values = variable.values
            found[f"{node.path}/{name}"] = values.tolist() if values.dtype.kind in "OTU" else values.tobytes()
    return found


# What is stored


def test_a_study_proves_its_metamers(whole: Path) -> None:
    group = single(open_study(whole).load())
    match, null = group["match"].to_dataset(), group["null"].to_dataset()
    assert match["match"].dims == ("layer", "measured_layer", "stimulus", "seed", "metric")
    assert match["measured_layer"].values.tolist() == ["0", "1", "output"]
    assert match["match"].notnull().all()
    assert (null.attrs["signals"], null.attrs["pairs"], null.attrs["stimuli"]) == (5, 10, "folder (the study's own)")
    assert null["layer"].values.tolist() == ["1", "output"]
    for name, verdicts in judge(match, null).items():
        np.testing.assert_array_equal(match[name], verdicts, err_msg=str(name))
    assert set(np.unique(match["success"])) <= {0, 1, 2}
    best = null["maximum"].sel(metric="pearson")
    above = (match["match"].sel(measured_layer="1", layer="1", metric="pearson") > best.sel(layer="1")).values
    assert (match["matches"].sel(layer="1").values <= above).all()


def test_the_null_may_have_signals_of_its_own(study: Study, drawn: Any, tmp_path: Path) -> None:
    folder = drawn(tmp_path / "others", [f"x/{number}" for number in range(9)])
    others = replace(study, null_stimuli=Reference("files:folder", {"path": str(folder)}), null_signals=6)
    run_study(others, tmp_path / "study", Plugins())
    tree = open_study(tmp_path / "study").load()
    assert single(tree)["null"].attrs["pairs"] == 15
    assert Study.from_toml(tree.attrs["study"]) == others


def test_a_single_stimulus_has_no_null_unless_signals_are_named(study: Study, pictures: Path, tmp_path: Path) -> None:
    alone = replace(study, stimuli=Reference("folder", {"path": str(pictures), "limit": 1}))
    run_study(alone, tmp_path / "alone", Plugins())
    group = single(open_study(tmp_path / "alone").load())
    assert "null" not in group.children
    assert (group["match/success"] == VERDICTS["missing"]).all()
    assert group["match/match"].notnull().all()
    named = replace(alone, null_stimuli=alone.stimuli)
    with pytest.raises(MetameryError, match="two unlike signals"):
        run_study(named, tmp_path / "named", Plugins())


def test_a_second_study_takes_the_null_of_the_first(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAMERY_CACHE", str(tmp_path / "cache"))
    run_study(study, tmp_path / "first", Plugins())
    monkeypatch.setattr(nulls, "pair_matrices", None)
    run_study(replace(study, seed=8), tmp_path / "second", Plugins())
    first, second = (single(open_study(tmp_path / name).load())["null"] for name in ("first", "second"))
    xr.testing.assert_identical(first.to_dataset(), second.to_dataset())


def test_what_an_interrupted_study_has_is_judged(study: Study, tmp_path: Path) -> None:
    class Stopping(Progress):
        def describe(self, description: str) -> None:
            if description.startswith("output"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "study", Plugins(), progress=Stopping())
    match = single(open_study(tmp_path / "study").load())["match"]
    assert (match["matches"].sel(layer="1").isel(stimulus=slice(2)) >= 0).all()
    assert (match["matches"].sel(layer="output") == VERDICTS["missing"]).all()


def test_an_earlier_study_goes_on_with_the_measures_that_it_stores(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = ("pearson", "spearman", "snr_db", "snr_db_2023", "relative_l2")
    with monkeypatch.context() as patch:
        patch.setattr(driver, "METRICS", earlier)
        run_study(study, tmp_path / "study", Plugins())
    store = StudyStore.reopen(tmp_path / "study")
    (key,) = store.children("models")
    state = store.read(f"models/{key}/metamers", "state")
    store.write(f"models/{key}/metamers", {}, {"state": np.where(np.arange(2)[:, None, None] == 1, 0, state)})
    run_study(study, tmp_path / "study", Plugins())
    match = single(open_study(tmp_path / "study").load())["match/match"]
    assert tuple(match.metric.values) == earlier
    assert match.notnull().all()
    np.testing.assert_allclose(match.sel(metric="snr_db_2023"), match.sel(metric="snr_db") / 2, rtol=1e-6)


def test_a_study_holds_its_metamers(whole: Path) -> None:
    tree = open_study(whole).load()
    group = single(tree)
    metamers = group["metamers"]
    assert metamers.signal.dims == ("layer", "stimulus", "seed", "channel", "y", "x")
    assert metamers.signal.shape == (2, 5, 2, 3, 8, 8)
    assert metamers.layer.values.tolist() == ["1", "output"]
    assert metamers.stimulus.values.tolist() == ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"]
    assert (metamers.state == STATES["done"]).all()
    assert metamers.signal.notnull().all()
    assert ((metamers.signal >= 0) & (metamers.signal <= 1)).all()
    assert metamers.loss.shape == (2, 5, 2, 5)
    assert (metamers.loss.isel(step=-1) < metamers.loss.isel(step=0)).all()
    assert (metamers.steps == 4).all()
    assert metamers.modified_relu.values.tolist() == [1, 0]
    assert tree["stimuli/category"].values.tolist() == ["cat", "cat", "dog", "dog", "owl"]
    assert set(np.unique(group["match/agrees"])) <= {0, 1}
    for node in tree.subtree:
        check_dataset(node.to_dataset(inherit=False))


def test_a_study_holds_what_synthesise_makes(study: Study, whole: Path) -> None:
    group = single(open_study(whole).load())
    plugins = Plugins()
    model = plugins.load("model", study.models[0].name)
    stimuli = load_stimuli(plugins, study.stimuli)
    result = synthesise(model, stimuli, ["1", "output"], seed=7, **SETTINGS, seeds=2)
    for name in ("signal", "loss", "steps", "state", "modified_relu"):
        np.testing.assert_array_equal(group["metamers"][name], result[name], err_msg=name)
    np.testing.assert_array_equal(group["match/predicted"], result.predicted)
    np.testing.assert_array_equal(group["stimuli/signal"], result.natural)


def test_the_natural_signals_predictions_are_the_models(study: Study, whole: Path) -> None:
    natural = single(open_study(whole).load())["stimuli"]
    model = Plugins().load("model", study.models[0].name)
    with torch.no_grad():
        logits = model.module(torch.from_numpy(natural.signal.values))
    assert natural.predicted.values.tolist() == logits.argmax(1).tolist()
    np.testing.assert_allclose(natural.confidence, logits.softmax(1).amax(1), rtol=1e-5)
    said = [model.labels[index] for index in logits.argmax(1)]
    shown = ["cat", "cat", "dog", "dog", "owl"]
    assert natural.correct.values.tolist() == [int(a == b) for a, b in zip(said, shown, strict=True)]


def test_labels_that_are_no_category_are_never_called_wrong(own: Study, tiny: str, tmp_path: Path) -> None:
    file = Path(tiny.removesuffix(":build"))
    file.write_text(file.read_text().replace('["cat", "dog", "owl"]', '["p", "q", "owl"]'))
    run_study(own, tmp_path / "study", Plugins())
    correct = single(open_study(tmp_path / "study").load())["stimuli/correct"]
    assert (correct.values[:4] == -1).all()
    assert correct.values[4] in (0, 1)


def test_provenance_is_there(study: Study, whole: Path) -> None:
    tree = open_study(whole)
    attributes = tree.attrs
    assert attributes["metamery_version"] == version("metamery")
    assert attributes["torch_version"] == torch.__version__
    assert attributes["device"] == "cpu"
    assert attributes["threads"] == torch.get_num_threads()
    assert Study.from_toml(attributes["study"]) == study
    assert json.loads(attributes["settings"])["steps"] == 4
    assert attributes["names"] == ["tiny.py:build", "synthesis:relative_l2", "synthesis:adam", "files:folder"]
    assert [name.partition(" ")[0] for name in attributes["plugins"]] == ["files", "synthesis"]
    group = single(tree).attrs
    assert group["weights_sha256"] == Plugins().load("model", study.models[0].name).weights_sha256()
    assert group["model"] == "tiny.py:build"
    assert list(group["labels"]) == ["cat", "dog", "owl"]
    assert (group["low"], group["high"], group["domain_kind"]) == (0.0, 1.0, "image")
    assert (whole / "study.toml").read_text() == study.to_toml()


@pytest.mark.parametrize("rms", [0.05, None])
def test_sounds_go_the_whole_way_and_their_domain_is_read_back(tmp_path: Path, rms: float | None) -> None:
    (tmp_path / "sounds.py").write_text(SOUNDS, encoding="utf-8")
    for number, name in enumerate(("one/anna_1", "one/ben_1", "two/anna_2")):
        file = tmp_path / "spoken" / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.random.default_rng(number).uniform(-0.2, 0.2, 500), 8000)
    study = Study(
        models=(ModelReference(f"{tmp_path}/sounds.py:build", ("0",), {} if rms is None else {"rms": rms}),),
        stimuli=Reference("folder", {"path": str(tmp_path / "spoken"), "group": "^[a-z]+"}),
        synthesis=SETTINGS,
    )
    run_study(study, tmp_path / "study", Plugins())
    tree = open_study(tmp_path / "study").load()
    assert tree["stimuli/category"].values.tolist() == ["one", "one", "two"]
    assert tree["stimuli/group"].values.tolist() == ["anna", "ben", "anna"]
    (model,) = models_of(tree)
    assert model.domain == WaveformDomain(400, 8000, -0.5, 0.5, rms)
    assert model.attributes["domain"] == str(model.domain)
    levels = np.sqrt(np.square(single(tree)["stimuli/signal"].values).mean(axis=1))
    np.testing.assert_allclose(levels, rms or 0.2 / np.sqrt(3), rtol=1e-5 if rms else 0.1)


def test_several_models_lie_side_by_side(study: Study, tiny: str, tmp_path: Path) -> None:
    both = replace(
        study,
        models=(*study.models, ModelReference(tiny, ("output",), {"seed": 1})),
        synthesis={**SETTINGS, "steps": 2},
    )
    run_study(both, tmp_path / "both", Plugins())
    groups = open_study(tmp_path / "both").load()["models"].children
    assert len(groups) == 2
    first, second = groups.values()
    assert first.attrs["weights_sha256"] != second.attrs["weights_sha256"]
    assert json.loads(second.attrs["options"]) == {"seed": 1}
    assert second["metamers/signal"].shape[0] == 1
    alone = replace(both, models=both.models[1:])
    run_study(alone, tmp_path / "alone", Plugins())
    other = single(open_study(tmp_path / "alone").load())
    for path in ("metamers/signal", "metamers/loss", "match/predicted", "stimuli/predicted"):
        np.testing.assert_array_equal(second[path], other[path])


def test_seeds_start_from_other_noise_and_more_of_them_change_none(study: Study, whole: Path, tmp_path: Path) -> None:
    run_study(replace(study, synthesis=SETTINGS), tmp_path, Plugins())
    two, one = (single(open_study(folder).load())["metamers/signal"] for folder in (whole, tmp_path))
    np.testing.assert_array_equal(two.isel(seed=0), one.isel(seed=0))
    assert not np.array_equal(two.isel(seed=0), two.isel(seed=1))


def test_a_model_without_layers_in_the_study_gets_its_own(study: Study, tiny: str, tmp_path: Path) -> None:
    run_study(replace(study, models=(ModelReference(tiny),)), tmp_path / "study", Plugins())
    assert single(open_study(tmp_path / "study"))["metamers"].layer.values.tolist() == ["0", "1", "output"]


def test_a_silent_layer_fails_with_its_reason_and_the_others_go_on(study: Study, tiny: str, tmp_path: Path) -> None:
    silent = replace(study, models=(ModelReference(tiny, ("0", "1"), {"silent": True}),))
    run_study(silent, tmp_path / "study", Plugins())
    group = single(open_study(tmp_path / "study").load())
    metamers = group["metamers"]
    assert (metamers.state.sel(layer="0") == STATES["done"]).all()
    assert (metamers.state.sel(layer="1") == STATES["failed"]).all()
    assert set(metamers.reason.sel(layer="1").values.flat) == {
        "the layer is silent for this stimulus: all of its activations are 0"
    }
    assert set(metamers.reason.sel(layer="0").values.flat) == {""}
    assert (group["match/predicted"].sel(layer="1") == -1).all()
    assert (group["match/agrees"].sel(layer="1") == -1).all()


# Going on


class Counted(Progress):
    def __init__(self, stop_after: int | None = None) -> None:
        self.total = self.made = 0
        self.stop_after = stop_after

    def start(self, total: int, description: str = "") -> None:
        self.total, self.made = total, 0

    def advance(self, steps: int = 1) -> None:
        self.made += steps
        if self.stop_after is not None and self.made >= self.stop_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop_after", [6, 19, 40, 75])
def test_stopped_and_resumed_is_never_stopped_bit_for_bit(
    study: Study, whole: Path, tmp_path: Path, stop_after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "study", Plugins(), progress=Counted(stop_after))
    assert (single(open_study(tmp_path / "study"))["metamers/state"] == STATES["missing"]).any()
    rest = Counted()
    run_study(study, tmp_path / "study", Plugins(), progress=rest)
    assert rest.made == rest.total <= 2 * 5 * 2 * 4
    assert contents(tmp_path / "study") == contents(whole)


def test_progress_adds_up(study: Study, tiny: str, tmp_path: Path) -> None:
    for name, options in (("sound", {}), ("silent", {"silent": True})):
        counted = Counted()
        run_study(
            replace(study, models=(ModelReference(tiny, ("0", "1"), options),)),
            tmp_path / name,
            Plugins(),
            progress=counted,
        )
        assert counted.made == counted.total == 2 * 5 * 2 * 4


def test_a_finished_study_is_left_alone(study: Study, folder: Path) -> None:
    before = contents(folder), open_study(folder).attrs
    counted = Counted()
    run_study(study, folder, Plugins(), progress=counted)
    assert (counted.made, counted.total) == (0, 0)
    assert (contents(folder), open_study(folder).attrs) == before


def test_a_finished_study_needs_its_stimuli_no_more(own: Study, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_study(own, tmp_path / "study", Plugins(), progress=Counted(30))
    (pictures / "cat" / "a.png").write_bytes(b"damaged since")
    with pytest.warns(UserWarning, match="1 of the stimuli of '.*' can no longer be read .*the stored signals are"):
        run_study(own, tmp_path / "study", Plugins())
    assert (single(open_study(tmp_path / "study"))["metamers/state"] == STATES["done"]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: replace(s, seed=8), r"seed \(8, stored 7\)"),
        (lambda s: replace(s, synthesis={**s.synthesis, "steps": 5}), r"synthesis.steps \(5, stored 4\)"),
        (lambda s: replace(s, synthesis={**s.synthesis, "seeds": 3}), r"synthesis.seeds \(3, stored 2\)"),
        (lambda s: replace(s, models=(replace(s.models[0], layers=("1",)),)), r"models\[0\].layers"),
        (lambda s: replace(s, stimuli=replace(s.stimuli, options={**s.stimuli.options, "limit": 2})), "stimuli.limit"),
        (
            lambda s: replace(s, seed=9, synthesis={**s.synthesis, "batch_size": 5}),
            r"seed \(9, stored 7\); synthesis.batch_size \(5, stored 2\)",
        ),
    ],
)
def test_other_settings_on_the_same_folder_are_refused(
    study: Study, folder: Path, change: Callable[[Study], Study], said: str
) -> None:
    before = contents(folder)
    with pytest.raises(MetameryError, match=f"holds a study with other settings: {said}"):
        run_study(change(study), folder, Plugins())
    assert contents(folder) == before


def test_other_weights_under_the_same_name_are_refused(own: Study, tiny: str, tmp_path: Path) -> None:
    run_study(own, tmp_path / "study", Plugins())
    file = Path(tiny.removesuffix(":build"))
    file.write_text(file.read_text().replace("seed: int = 0", "seed: int = 1"))
    with pytest.raises(MetameryError, match=r"was made with other weights of model '.*tiny.py:build'"):
        run_study(own, tmp_path / "study", Plugins())


def test_a_preset_that_was_defined_otherwise_is_refused(
    study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = preparation.resolve_settings
    monkeypatch.setattr(preparation, "resolve_settings", lambda given: replace(original(given), step_size=0.5))
    with pytest.raises(MetameryError, match="the preset, which another version of metamery defines differently"):
        run_study(study, folder, Plugins())


def test_a_study_file_of_the_users_own_is_kept(study: Study, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("# my notes\n" + study.to_toml())
    run_study(study, tmp_path, Plugins())
    assert (tmp_path / "study.toml").read_text().startswith("# my notes")


def test_a_study_file_that_was_not_written_is_written_on_resuming(study: Study, folder: Path) -> None:
    (folder / "study.toml").unlink()
    run_study(study, folder, Plugins())
    assert Study.read(folder / "study.toml") == study


def test_a_study_in_which_nothing_was_made_gives_way(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before the first metamer, or by an error: the mended command takes the folder."""

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "study"
    with monkeypatch.context() as patch:
        patch.setattr(making, "make_metamers", fail)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, folder, Plugins())
    assert Study.read(folder / "study.toml") == study
    other = replace(study, seed=8)
    run_study(other, folder, Plugins())
    assert Study.read(folder / "study.toml") == other
    with pytest.raises(MetameryError, match="holds a study with other settings"):
        run_study(study, folder, Plugins())


def test_a_fault_in_a_distance_leaves_nothing_behind(
    study: Study, tmp_path: Path, fake_plugin: Callable[..., ModuleType]
) -> None:
    def faulty(activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise ValueError("a slip")

    def register_distances(register: Any) -> None:
        register("faulty", lambda: faulty)

    plugins = Plugins([fake_plugin("zebra", register_distances=register_distances)])
    asked = replace(study, synthesis={**study.synthesis, "distance": "faulty"})
    with pytest.raises(ValueError, match="a slip"):
        run_study(asked, tmp_path / "faulty", plugins)
    assert not (tmp_path / "faulty").exists()


def test_what_an_evaluator_found_is_not_given_up(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "make_metamers", lambda *_arguments, **_options: None)
    store = run_study(study, tmp_path / "study", Plugins())
    store.add("mine", xr.Dataset({"n": ((), 1.0, {"long_name": "a number", "units": "1"})}))
    with pytest.raises(MetameryError, match="holds a study with other settings"):
        run_study(replace(study, seed=8), tmp_path / "study", Plugins())


def test_a_study_file_that_asks_for_another_study_is_in_the_way(study: Study, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(replace(study, seed=8).to_toml())
    with pytest.raises(MetameryError, match=r"describes another study: seed \(7, stored 8\)"):
        run_study(study, tmp_path, Plugins())
    assert not (tmp_path / RESULTS).exists()


# What cannot be begun


class Given(list[Stimulus]):
    """Stimuli as a factory gives them."""


def stimuli_plugin(fake_plugin: Any, *stimuli: Stimulus) -> Any:
    return fake_plugin("mine", register_stimuli=lambda register: register("given", lambda: Given(stimuli)))


def picture(name: str, *shape: int) -> Stimulus:
    return Stimulus(torch.rand(shape, generator=torch.Generator().manual_seed(0)), name=name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "stimuli 'given' are empty"),
        ([picture("a", 3, 8, 8), picture("a", 3, 9, 9)], "the name 'a' is not unique"),
        ([picture("a", 3, 8, 8), picture("b", 4, 8, 8)], "stimulus 'b' has 4 channels"),
        ([picture("a", 8)], r"stimulus 'a' has shape \(8,\)"),
    ],
)
def test_stimuli_that_cannot_be_used_are_found_before_anything_is_written(
    study: Study, tmp_path: Path, fake_plugin: Any, given: list[Stimulus], said: str
) -> None:
    plugins = Plugins([stimuli_plugin(fake_plugin, *given)])
    with pytest.raises(MetameryError, match=said):
        run_study(replace(study, stimuli=Reference("given")), tmp_path / "study", plugins)
    assert not (tmp_path / "study").exists()


def test_a_stimulus_does_not_depend_on_its_batch_mates(study: Study, tmp_path: Path) -> None:
    for size in (1, 5):
        run_study(replace(study, synthesis={**study.synthesis, "batch_size": size}), tmp_path / str(size), Plugins())
    one, many = (single(open_study(tmp_path / size).load())["metamers"] for size in ("1", "5"))
    np.testing.assert_allclose(one.loss.isel(step=0), many.loss.isel(step=0), rtol=1e-5)
    np.testing.assert_allclose(one.signal, many.signal, atol=1e-4)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (("conv",), "unknown layer 'conv'"),
        (("1", "1"), "layer '1' is named twice"),
        (("1@2",), "layer '1@2' was not reached"),
        (("a b",), "is not a layer name"),
    ],
)
def test_layers_that_cannot_be_used_are_found_before_anything_is_written(
    study: Study, tiny: str, tmp_path: Path, layers: tuple[str, ...], said: str
) -> None:
    with pytest.raises(MetameryError, match=said):
        run_study(replace(study, models=(ModelReference(tiny, layers),)), tmp_path / "study", Plugins())
    assert not (tmp_path / "study").exists()


# Planning


def test_a_plan_counts_and_writes_nothing(own: Study, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    planned = estimate(own, Plugins(), torch.device("cpu"))
    assert planned.metamers == 2 * 5 * 2
    assert planned.updates == 2 * 5 * 2 * 4
    assert [path for path in sorted(tmp_path.rglob("*")) if "__pycache__" not in path.parts] == before


def test_only_the_results_and_the_study_are_in_the_folder(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == [RESULTS, "study.toml"]
