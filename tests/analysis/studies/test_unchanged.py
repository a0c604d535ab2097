"""A study is resumed and evaluated only with the network and the stimuli that it was made with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from metamery.analysis.studies.evaluate import study_context
from metamery.analysis.studies.fingerprint import PROBED, TOLERANCE, difference, fingerprint, sketch, tolerance
from metamery.analysis.studies.run_study import run_study
from metamery.analysis.studies.unchanged import KEPT, alike, kept_activations
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, Stimulus, Study, open_study
from metamery.framework.progress import Progress
from metamery.framework.schema import STATES
from metamery.framework.store import RESULTS
from metamery.framework.study import ModelReference, Reference
from metamery.framework.testing import example_model
from PIL import Image

NETWORK = """
import torch
from metamery.framework import ImageDomain, Model
from torch.nn import functional as F


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4, eps=1e-5)
        self.last = torch.nn.Linear(400, 3)

    def forward(self, signals):
        signals = (signals - 0.45) / 0.225
        signals = F.interpolate(signals, size=12, mode="bilinear", align_corners=False)
        signals = F.relu(self.norm(self.conv(signals)))
        signals = 0.9 * signals  # as a dropout's
        return F.leaky_relu(self.last(signals.flatten(1)), 0.01)


def build(gain: float = 1.0) -> Model:
    torch.manual_seed(0)
    network = Network().eval()
    network.norm.weight.data *= gain
    return Model(network, ImageDomain(3, 8, 8), ["conv", "norm", "output"], ["cat", "dog", "owl"])
"""


class Stopped(Progress):
    """Stops after some updates."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.counts = False

    def start(self, total: int, description: str = "") -> None:
        self.counts = not description

    def advance(self, steps: int = 1) -> None:
        self.left -= steps if self.counts else 0
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> tuple[Path, Path]:
    """A folder with a network, pictures and a study whose first batch is there; and a copy of it."""
    root = tmp_path_factory.mktemp("unchanged") / "root"
    drawn(root / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a", "owl/b"])
    (root / "network.py").write_text(NETWORK, encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        run_study(asked(root), root / "study", Plugins(), progress=Stopped(5))
    shutil.copytree(root, root.with_name("copy"))
    return root, root.with_name("copy")


@pytest.fixture
def root(made: tuple[Path, Path]) -> Path:
    """That folder, as it was."""
    shutil.rmtree(made[0])
    shutil.copytree(made[1], made[0])
    return made[0]


@pytest.fixture
def network(root: Path) -> Path:
    return root / "network.py"


@pytest.fixture
def pictures(root: Path) -> Path:
    return root / "pictures"


@pytest.fixture
def begun(root: Path) -> Path:
    return root / "study"


@pytest.fixture
def study(root: Path) -> Study:
    return asked(root)


def asked(root: Path) -> Study:
    return Study(
        models=(ModelReference(f"{root / 'network.py'}:build", ("conv", "output")),),
        stimuli=Reference("folder", {"path": str(root / "pictures")}),
        synthesis={"preset": "fast", "steps": 2, "batch_size": 2},
    )


def context(folder: Path) -> Any:
    return study_context(folder, Plugins(), torch.device("cpu"), torch.Generator().manual_seed(0), Progress())


def states(folder: Path) -> np.ndarray:
    (group,) = open_study(folder)["models"].children.values()
    return group["metamers/state"].values


# The network

CODE = {
    "another activation": ("F.relu(", "F.gelu("),
    "a normalisation's constant": ("0.225", "0.226"),
    "a dropout's scale left out": ("0.9 * signals", "1.0 * signals"),
    "another interpolation": ('mode="bilinear"', 'mode="bicubic"'),
    "corners aligned": ("align_corners=False", "align_corners=True"),
    "another epsilon": ("eps=1e-5", "eps=1e-3"),
    "another default": ("0.01)", "0.02)"),
    "axes in another order": ("signals.flatten(1)", "signals.mT.flatten(1)"),
    "signals turned over": ("(signals - 0.45)", "(signals.flip(-1) - 0.45)"),
    "classes in another order": ("0.01)", "0.01).flip(1)"),
}
LAST = ("another default", "axes in another order", "classes in another order")


@pytest.mark.parametrize("change", CODE)
def test_other_code_of_the_same_weights_is_refused(study: Study, network: Path, begun: Path, change: str) -> None:
    old, new = CODE[change]
    assert old in NETWORK
    network.write_text(NETWORK.replace(old, new), encoding="utf-8")
    layer = (
        "output" if change in ("another default", "axes in another order", "a channel more") else "(conv|norm|output)"
    )
    said = rf"made with other code \(the weights are the same; activations at '{layer}' (are|differ) .* Choose another"
    before = states(begun)
    with pytest.raises(MetameryError, match=said):
        run_study(study, begun, Plugins())
    with pytest.raises(MetameryError, match=said):
        context(begun)
    np.testing.assert_array_equal(states(begun), before)


MODEL = {
    "weights": ("manual_seed(0)", "manual_seed(1)", "other weights"),
    "range": ("ImageDomain(3, 8, 8)", "ImageDomain(3, 8, 8, -1.0, 1.0)", "another domain"),
    "size": ("ImageDomain(3, 8, 8)", "ImageDomain(3, 9, 9)", "another domain"),
    "labels": ('"cat", "dog"', '"dog", "cat"', "other labels"),
    "label space": ('"owl"])', '"owl"], "pets")', "other label space"),
}


@pytest.mark.parametrize("change", MODEL)
def test_another_model_under_the_same_name_is_refused(study: Study, network: Path, begun: Path, change: str) -> None:
    old, new, said = MODEL[change]
    network.write_text(NETWORK.replace(old, new), encoding="utf-8")
    for attempt in (lambda: run_study(study, begun, Plugins()), lambda: context(begun)):
        with pytest.raises(MetameryError, match=f"was made with {said}.* of model '.*network.py:build'"):
            attempt()


def test_other_layers_of_its_own_are_refused_where_a_study_goes_on(study: Study, network: Path, begun: Path) -> None:
    network.write_text(NETWORK.replace('["conv", "norm", "output"]', '["conv", "last"]'), encoding="utf-8")
    with pytest.raises(
        MetameryError, match=r"other layers of model '.*': conv, norm, output; now they are conv, last, out"
    ):
        run_study(study, begun, Plugins())
    assert context(begun).models


def test_a_study_of_before_goes_on(study: Study, network: Path, begun: Path) -> None:
    group = zarr.open_group(begun / RESULTS, mode="r+", use_consolidated=False)[f"models/{network.name}+build"]
    assert group.attrs[KEPT]
    del group.attrs[KEPT]
    run_study(study, begun, Plugins())
    assert (states(begun) == STATES["done"]).all()


def test_the_same_network_in_other_ways_is_the_same() -> None:
    model = example_model()
    signals = torch.rand(PROBED, *model.domain.shape, generator=torch.Generator().manual_seed(0))
    layers = [*model.layers]
    kept = fingerprint(model, signals, layers)
    alone = [fingerprint(model, signal[None], layers) for signal in signals]
    torch.set_num_threads(2)
    try:
        threads = fingerprint(model, signals, layers)
    finally:
        torch.set_num_threads(1)
    model.module.double()
    double = fingerprint(model, signals, layers)
    assert set(kept) == set(layers)
    for name in layers:
        assert difference(kept[name], threads[name]) < TOLERANCE / 10
        assert difference(kept[name], np.concatenate([each[name] for each in alone])) < TOLERANCE / 10
        assert difference(kept[name], double[name]) < TOLERANCE / 10
    assert tolerance(model.module) == TOLERANCE < tolerance(model.module.half()) < tolerance(model.module.bfloat16())


@pytest.mark.parametrize("size", [100, 1000, 2**16 + 7])
def test_sketches_differ_as_the_activations_do(size: int) -> None:
    random = np.random.default_rng(0)
    one = random.normal(size=(PROBED, size)).astype(np.float32)
    for change in (1e-3, 1e-1):
        other = (one + change * random.normal(size=one.shape)).astype(np.float32)
        assert 0.4 * change < difference(sketch(one), sketch(other)) < 2.5 * change
    assert difference(sketch(one), sketch(one[:, ::-1])) > 0.3  # whose means and norms are the same
    assert difference(sketch(one), sketch(one[:2])) == np.inf
    assert difference(sketch(one), sketch(one * np.nan)) == np.inf
    assert difference(sketch(one * 0), sketch(one * 0)) == 0


def test_a_random_network_has_no_fingerprint() -> None:
    class Noisy(torch.nn.Module):
        def forward(self, signals: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(signals).flatten(1)

    model = Model(Noisy(), ImageDomain(1, 4, 4), ["output"], stochastic=True)
    assert kept_activations(model, torch.rand(2, 1, 4, 4), ["output"]) == {}


# The stimuli


def draw(path: Path, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def add(pictures: Path) -> None:
    draw(pictures / "dog" / "new.png", 9)


def remove(pictures: Path) -> None:
    (pictures / "owl" / "a.png").unlink()


def exchange(pictures: Path) -> None:
    draw(pictures / "cat" / "b.png", 9)


def retouch(pictures: Path) -> None:
    values = np.array(Image.open(pictures / "dog" / "a.png"))
    values[2, 3, 1] ^= 128
    Image.fromarray(values).save(pictures / "dog" / "a.png")


def enlarge(pictures: Path) -> None:
    draw(pictures / "cat" / "a.png", 0)
    Image.open(pictures / "cat" / "a.png").resize((16, 8)).save(pictures / "cat" / "a.png")


def rename(pictures: Path) -> None:
    (pictures / "owl" / "a.png").rename(pictures / "dog" / "z.png")


def vanish(pictures: Path) -> None:
    shutil.rmtree(pictures / "owl")
    (pictures / "owl").mkdir()


def several(pictures: Path) -> None:
    add(pictures)
    remove(pictures)
    exchange(pictures)
    for seed in range(5):
        draw(pictures / f"more{seed}.png", seed)


CHANGES = {
    add: "added 'dog/new'",
    remove: "removed 'owl/a'",
    exchange: "replaced 'cat/b'",
    retouch: "replaced 'dog/a'",
    enlarge: "replaced 'cat/a'",
    rename: "added 'dog/z'; removed 'owl/a'",
    vanish: "of 3 classes in the folder '.*pictures', 1 would be lost: 'owl'.*",
    several: "added 'dog/new', 'more0', 'more1' and 3 more; removed 'owl/a'; replaced 'cat/b'",
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_stimuli_are_named(study: Study, pictures: Path, begun: Path, change: Callable[[Path], None]) -> None:
    change(pictures)
    before = states(begun)
    with pytest.raises(MetameryError, match=f"the stimuli of '.*' have changed: {CHANGES[change]}. Choose another"):
        run_study(study, begun, Plugins())
    np.testing.assert_array_equal(states(begun), before)


def test_the_command_says_so_in_a_line(tiny: str, pictures: Path, tmp_path: Path, command: Any) -> None:
    given = ["synthesise", tiny, "--stimuli", pictures, "--steps", 1, "--layers", "output", "-o", tmp_path / "study"]
    assert command(*given).status == 0
    add(pictures)
    said = command(*given)
    assert said.status == 2
    assert "have changed: added 'dog/new'. Choose another folder" in said.error


def test_with_the_originals_gone_it_ends_as_it_would_have(study: Study, pictures: Path, begun: Path) -> None:
    run_study(study, begun.with_name("whole"), Plugins())
    shutil.rmtree(pictures)
    with pytest.warns(UserWarning, match=r"can no longer be read .*pictures' does not exist.* the stored signals are"):
        run_study(study, begun, Plugins())
    one, other = (
        open_study(folder)["models/network.py+build/metamers/signal"] for folder in (begun, begun.with_name("whole"))
    )
    np.testing.assert_array_equal(one, other)


def test_other_right_answers_are_named(study: Study, tmp_path: Path, fake_plugin: Any) -> None:
    def plugins(right: str) -> Plugins:
        def factory() -> list[Stimulus]:
            signals = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
            answers = {"pets": frozenset({right})}
            return [Stimulus(signal, "cat", answers, str(number)) for number, signal in enumerate(signals)]

        return Plugins([fake_plugin("mine", register_stimuli=lambda register: register("given", factory))])

    given = replace(study, stimuli=Reference("given"))
    run_study(given, tmp_path / "study", plugins("tom"))
    run_study(given, tmp_path / "study", plugins("tom"))
    with pytest.raises(MetameryError, match=r"have changed: with other right answers '0', '1'. Choose"):
        run_study(given, tmp_path / "study", plugins("garfield"))


def test_signals_decoded_by_other_versions_are_the_same() -> None:
    random = np.random.default_rng(0)
    stored = random.uniform(size=(3, 20, 20)).astype(np.float32)
    off = stored.copy()
    off[:, ::7, ::9] += 1 / 255  # a decoder that rounds otherwise
    assert alike(off, stored)
    assert alike(stored * 0, stored * 0)
    assert not alike(stored[:, ::-1], stored)
    assert not alike(stored * 1.01, stored)
    assert not alike(stored * 0 + 1e-3, stored * 0)


# The null's stimuli


def test_a_null_whose_stimuli_are_gone_costs_a_warning(study: Study, pictures: Path, begun: Path) -> None:
    others = pictures.with_name("others")
    shutil.copytree(pictures, others)
    given = replace(study, null_stimuli=Reference("folder", {"path": str(others)}))
    folder = begun.with_name("second")
    with pytest.raises(KeyboardInterrupt):
        run_study(given, folder, Plugins(), progress=Stopped(5))
    shutil.rmtree(folder / RESULTS / "models" / "network.py+build" / "null")  # as if it had been stopped before
    shutil.rmtree(others)
    with pytest.warns(
        UserWarning, match="the null is not measured, since its stimuli can no longer be read: .*others'"
    ):
        run_study(given, folder, Plugins())
    assert (states(folder) == STATES["done"]).all()
    shutil.copytree(pictures, others)
    run_study(given, folder, Plugins())
    assert "null" in open_study(folder)["models/network.py+build"].children


def test_nulls_of_two_models_are_of_the_same_signals(
    study: Study, network: Path, pictures: Path, tmp_path: Path
) -> None:
    others = pictures.with_name("others")
    shutil.copytree(pictures, others)
    uses = (*study.models, ModelReference(f"{network}:build", ("output",), {"gain": 2.0}))
    given = replace(study, models=uses, null_stimuli=Reference("folder", {"path": str(others)}))
    folder = tmp_path / "study"
    run_study(given, folder, Plugins())
    shutil.rmtree(folder / RESULTS / "models" / "network.py+build+2" / "null")
    exchange(others)
    with pytest.raises(
        MetameryError, match=r"the null's stimuli of '.*' have changed since the null of '.*:build' was"
    ):
        run_study(given, folder, Plugins())
