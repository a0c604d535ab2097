"""Inputs for the random values: tiny networks, pictures, sounds and tables, a study, a run, evaluations."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
from PIL import Image

NETWORKS = """
import torch
from metamery.framework import ImageDomain, Model, WaveformDomain


def picture(seed: int = 0, width: int = 2, scale: float = 1.0, named: bool = True) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 2)
        )
    return Model(network.eval(), ImageDomain(3, 8, 8), ["0", "1", "output"], ["cat", "dog"] if named else None)


def sound() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Unflatten(1, (1, -1)), torch.nn.Conv1d(1, 2, 9, 4), torch.nn.ReLU(), torch.nn.Flatten(),
            torch.nn.Linear(2 * 198, 2),
        )
    return Model(network.eval(), WaveformDomain(800, 8000), ["1", "2", "output"], ["cat", "dog"])
"""

STUDY = {
    "seed": 0,
    "null_signals": 3,
    "stimuli": {"name": "folder", "path": "pictures", "limit": 2, "skip_unreadable": False, "group": ""},
    "null_stimuli": {"name": "folder", "path": "pictures"},
    "models": [{"name": "networks.py:picture", "layers": ["1"], "options": {"seed": 0, "scale": 1.0}}],
    "synthesis": {
        "preset": "fast", "steps": 1, "seeds": 1, "batch_size": 2, "distance": "relative_l2", "optimizer": "adam",
        "step_size": 0.01, "schedule": "cosine", "tolerance": 0.0, "stop": "steps", "modified_relu": True,
        "total_variation": 0.0, "bounds": 0.0, "noise": 0.05, "precision": "float32", "compiled": False,
        "distance_options": {}, "optimizer_options": {"beta1": 0.9, "beta2": 0.9, "weight_decay": 0.0},
    },
}  # fmt: skip

RECIPE = {
    "loss": "cross_entropy", "optimizer": "sgd", "perturbation": "pgd_linf", "layer": "", "epochs": 1, "batch_size": 2,
    "learning_rate": 0.1, "schedule": "steps", "decay_every": 1, "decay_factor": 10.0, "warmup": 0.0,
    "epsilon_warmup": 0.0, "replays": 0, "replay_epsilon": 0.03, "check": "", "check_drop": 0.0, "awp": 0.0,
    "accumulate": 1, "keep": "best",
    "clip_norm": 0.0, "ema": 0.0, "augment": ["flip"], "loss_options": {"label_smoothing": 0.1},
    "optimizer_options": {"momentum": 0.9, "weight_decay": 0.0, "nesterov": False},
    "perturbation_options": {"epsilon": 0.03, "steps": 1, "restarts": 1, "random_start": True}, "check_options": {},
    "augment_options": {},
}  # fmt: skip


def make(folder: Path) -> None:
    """Make all inputs in a folder."""
    drawn = np.random.default_rng(0)
    for category in ("cat", "dog"):
        for name in ("a", "b"):
            file = folder / "pictures" / category / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
            sound = folder / "sounds" / category / f"{name}.wav"
            sound.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(sound), "wb") as written:
                written.setparams((1, 2, 8000, 800, "NONE", ""))
                written.writeframes((drawn.normal(size=800) * 3000).astype("<i2").tobytes())
    (folder / "networks.py").write_text(NETWORKS, encoding="utf-8")
    _tables(folder)


def _tables(folder: Path) -> None:
    drawn = np.random.default_rng(0)
    people = ["modality,experiment,model,participant,stage,stage_index,human,network"]
    others = ["modality,generating_model,evaluating_model,stage,proportion_correct"]
    for model in ("one", "two"):
        for index, stage in enumerate(("natural", "early", "late")):
            for participant in range(4):
                human, network = np.round(np.clip(drawn.uniform(0.2, 1, 2) - 0.2 * index, 0, 1), 2)
                people.append(f"vision,1,{model},{participant},{stage},{index},{human},{network}")
            others += [
                f"vision,{model},{other},{stage},{round(math.exp(-index) * drawn.uniform(), 3)}"
                for other in ("one", "two", "three", "four", "five")
            ]
    (folder / "people.csv").write_text("\n".join(people) + "\n", encoding="utf-8")
    (folder / "recognition.csv").write_text("\n".join(others) + "\n", encoding="utf-8")


COMMANDS = (
    ["synthesise", "networks.py:picture", "--stimuli", "pictures", "-o", "study", "--steps", "2", "--layers", "1,output"],  # noqa: E501
    ["synthesise", "networks.py:sound", "--stimuli", "sounds", "-o", "sound-study", "--steps", "1", "--layers", "1"],
    ["evaluate", "agreement", "study"],
    ["evaluate", "character", "study"],
    ["evaluate", "accuracy", "networks.py:picture", "--stimuli", "pictures", "-o", "evaluations"],
    ["statistics", "people.csv", "--models", "one,two", "--recognition", "recognition.csv", "--shuffles", "5",
     "-o", "statistics"],
    ["compare", "study", "sound-study", "-o", "comparison"],
    ["train", "recipe.toml", "--model", "networks.py:picture", "--stimuli", "pictures", "-o", "run"],
)  # fmt: skip
"""What is made once, with the program itself, from the inputs."""
