"""Evaluators work on the signals that a study stored, and on the originals only for signals of another size."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import xarray as xr
from metamery.analysis.studies.evaluate import study_context
from metamery.analysis.studies.run_study import run_study
from metamery.framework import Context, ImageDomain, MetameryError, Plugins, Study, WaveformDomain
from metamery.framework.progress import Progress
from metamery.framework.study import ModelReference, Reference, load_stimuli
from PIL import Image

NETWORKS = """
import torch
from metamery.framework import ImageDomain, Model, WaveformDomain


def network(units: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(units, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))


def build(size: int = 8, low: float = 0.0) -> Model:
    return Model(network(3 * size * size).eval(), ImageDomain(3, size, size, low, 1.0), ["1", "output"], ["cat", "dog", "owl"])


def hear(rate: int = 8000, rms: float = 0.1) -> Model:
    return Model(network(400).eval(), WaveformDomain(400, rate, rms=rms or None), ["1", "output"], ["cat", "dog", "owl"])
"""  # noqa: E501


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[[Path, list[str]], Path]) -> Path:
    """Studies of pictures and of sounds, each of two models that take other signals, and what they were made of."""
    root = tmp_path_factory.mktemp("stored") / "root"
    drawn(root / "pictures", ["cat/a", "cat/b", "dog/a", "dog/b", "owl/a"])
    for seed, picture in enumerate(sorted((root / "pictures").rglob("*.png"))):
        small = np.random.default_rng(seed).integers(0, 256, (24, 30, 3), dtype=np.uint8)
        Image.fromarray(small).save(picture)
    for seed, name in enumerate(("cat/a", "cat/b", "dog/a", "owl/a")):
        file = root / "sounds" / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(seed)
        sound = random.normal(0, 0.02, 300 + 200 * seed) * random.choice([1, 20], 300 + 200 * seed, p=[0.98, 0.02])
        soundfile.write(file, sound.clip(-1, 1), 8000)  # some shorter than the model's, with peaks that are clamped
    (root / "networks.py").write_text(NETWORKS, encoding="utf-8")
    for name, function, options in (
        ("pictures", "build", {"size": 12, "low": -1.0}),
        ("sounds", "hear", {"rms": 0.3}),
    ):
        file = f"{root / 'networks.py'}:{function}"
        study = Study(
            models=(ModelReference(file, ("1",)), ModelReference(file, ("1",), options)),
            stimuli=Reference("folder", {"path": str(root / name)}),
            synthesis={"preset": "fast", "steps": 1, "batch_size": 2},
        )
        run_study(study, root / f"study-{name}", Plugins())
    shutil.copytree(root, root.with_name("copy"))
    return root


@pytest.fixture
def root(made: Path) -> Path:
    """That folder, as it was."""
    shutil.rmtree(made)
    shutil.copytree(made.with_name("copy"), made)
    return made


def context(folder: Path) -> Context:
    return study_context(folder, Plugins(), torch.device("cpu"), torch.Generator().manual_seed(0), Progress())


def with_originals(folder: Path, kind: str) -> Context:
    stimuli = load_stimuli(Plugins(), Reference("folder", {"path": str(folder.with_name(kind))}))
    return replace(context(folder), stimuli=stimuli)


@pytest.fixture(scope="module")
def before(made: Path) -> dict[str, tuple[Context, Context]]:
    """The contexts of both studies: from the store, and with the originals."""
    shutil.rmtree(made)
    shutil.copytree(made.with_name("copy"), made)
    kinds = ("pictures", "sounds")
    folders = {kind: made / f"study-{kind}" for kind in kinds}
    return {kind: (context(folder), with_originals(folder, kind)) for kind, folder in folders.items()}


def evaluated(name: str, context: Context, options: dict[str, Any]) -> xr.Dataset:
    context = replace(context, generator=torch.Generator().manual_seed(0))
    one = next(iter(context.models))
    if name == "geometry":  # which takes models of one domain
        context = replace(context, models={one: context.models[one]})
    return Plugins().load("evaluator", name, **options)(context)


PICTURES: list[tuple[str, dict[str, Any]]] = [
    ("accuracy", {}),
    ("robustness", {"epsilons": [0.1], "steps": 2, "restarts": 1, "apgd_steps": 2}),
    ("shift-consistency", {"maximum": 2}),
    ("shift-consistency", {"maximum": 2, "edges": "crop"}),
    ("similarity", {"measures": ["cka_linear"], "resamples": 0}),
    ("invariance", {"transformations": {"rotation": [90]}, "resamples": 3}),
    ("geometry", {"components": 1, "probes": 2}),
    ("recognition", {"resamples": 3}),
    ("agreement", {}),
]
SOUNDS: list[tuple[str, dict[str, Any]]] = [
    ("accuracy", {}),
    ("accuracy-in-noise", {"snrs": [0.0], "noise": "white"}),
    ("shift-consistency", {"maximum": 9}),
    ("invariance", {"transformations": {"gain": [-6.0]}, "resamples": 3}),
    ("similarity", {"measures": ["cka_linear"], "resamples": 0}),
]


@pytest.mark.parametrize(
    ("kind", "name", "options"), [("pictures", *each) for each in PICTURES] + [("sounds", *each) for each in SOUNDS]
)
@pytest.mark.usefixtures("root")
def test_results_are_those_of_the_originals_bit_for_bit(
    before: dict[str, tuple[Context, Context]], kind: str, name: str, options: dict[str, Any]
) -> None:
    stored, original = before[kind]
    xr.testing.assert_identical(evaluated(name, stored, options), evaluated(name, original, options))


@pytest.mark.parametrize("kind", ["pictures", "sounds"])
def test_everything_that_is_known_of_a_stimulus_comes_from_the_store(root: Path, kind: str) -> None:
    folder = root / f"study-{kind}"
    given = context(folder)
    originals = with_originals(folder, kind).stimuli
    shutil.rmtree(root / kind)
    assert len(given.stimuli) == len(originals)
    for stored, original in zip(given.stimuli, (originals.files), strict=True):
        assert (stored.name, stored.category, stored.group) == (original.name, original.category, original.group)
        assert stored.source == str(original.path)
        assert stored.right_answers("category") == {original.category}
    assert [given.stimuli[index].name for index in (-1, 0)] == [originals.files[index].name for index in (-1, 0)]
    with pytest.raises(IndexError):
        given.stimuli[len(originals)]


def test_a_signal_of_its_own_is_a_picture_or_a_sound_as_ever(root: Path) -> None:
    pictures, sounds = (context(root / f"study-{kind}") for kind in ("pictures", "sounds"))
    (small, wide), (level, _) = (list(given.models.values()) for given in (pictures, sounds))
    for stimulus in pictures.stimuli:
        assert stimulus.signal.shape == (3, 8, 8)
        torch.testing.assert_close(small.domain.fit(stimulus), stimulus.signal, rtol=0, atol=0)
        assert float(wide.domain.fit(stimulus).min()) < 0
        changed = replace(stimulus, signal=torch.zeros(3, 8, 8))  # no signal is known of what was made from it
        assert not small.domain.fit(changed).any()
    for stimulus in sounds.stimuli:
        assert stimulus.sample_rate == 8000
        torch.testing.assert_close(level.domain.fit(stimulus), stimulus.signal, rtol=0, atol=0)


def test_with_the_originals_gone_or_replaced_nothing_changes(
    before: dict[str, tuple[Context, Context]], root: Path
) -> None:
    asked = [each for each in PICTURES if "edges" not in each[1]]
    expected = [evaluated(name, before["pictures"][0], options) for name, options in asked]
    Image.new("RGB", (8, 8)).save(root / "pictures" / "cat" / "a.png")
    replaced = context(root / "study-pictures")
    for (name, options), found in zip(asked, expected, strict=True):
        xr.testing.assert_identical(evaluated(name, replaced, options), found)
    shutil.rmtree(root / "pictures")
    gone = context(root / "study-pictures")
    for (name, options), found in zip(asked, expected, strict=True):
        xr.testing.assert_identical(evaluated(name, gone, options), found)


def replaced(pictures: Path) -> None:
    Image.new("RGB", (24, 24)).save(pictures / "cat" / "b.png")


def renamed(pictures: Path) -> None:
    (pictures / "cat" / "a.png").rename(pictures / "cat" / "z.png")


def removed(pictures: Path) -> None:
    shutil.rmtree(pictures)


def damaged(pictures: Path) -> None:
    (pictures / "dog" / "a.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced, "'cat/b' was replaced: expected"),
        (renamed, "'cat/a' is not at its index: expected"),
        (removed, "which cannot be read: .* does not exist"),
        (damaged, "which cannot be read: the picture"),
    ],
)
def test_another_size_needs_the_originals(root: Path, change: Callable[[Path], None], said: str, command: Any) -> None:
    change(root / "pictures")
    options = ["--set", "maximum=2", "--set", "edges=crop"]
    told = command("evaluate", "shift-consistency", root / "study-pictures", *options)
    assert told.status == 2
    assert "reads the stimuli of" in told.error
    with pytest.raises(MetameryError, match=said):
        evaluated("shift-consistency", context(root / "study-pictures"), {"maximum": 2, "edges": "crop"})


def test_a_model_of_another_domain_gets_the_originals(root: Path) -> None:
    given = context(root / "study-pictures")
    other = ImageDomain(3, 20, 20)
    originals = with_originals(root / "study-pictures", "pictures").stimuli
    for stored, original in zip(given.stimuli, originals, strict=True):
        torch.testing.assert_close(other.fit(stored), other.fit(original), rtol=0, atol=0)
    with pytest.raises(MetameryError, match="is a picture: it has no sample rate"):
        WaveformDomain(100, 8000).fit(given.stimuli[0])
