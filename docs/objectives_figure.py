"""Draw the two figures of objectives.md: of two photographs, and of two words, what each objective makes of them.

    python docs/objectives_figure.py

What succeeded is printed. It takes about seven minutes on one thread of a slow processor.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from metamery.analysis import as_study, evaluate, join_models, judge, null_distribution, synthesise
from metamery.framework import Plugins, Stimuli, Stimulus
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
STEPS = 200

COLUMNS, WIDTH, GAP, TITLE, DPI = 2, 240, 13, 30, 100
"""Columns of kinds, and in pixels: a signal's width, the gap between two, a title's height, an inch."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Networks:
    """The networks of a figure and their layers.

    Parameters
    ----------
    one, layer, early
        Network of the metamers, a deep layer of it, and a shallow one.
    other, other_layer
        Network that has a metamer together with `one`, and signals that are controversial between both.
    third
        Network from which principal distortions tell `one` apart, both at `layer`.
    search
        Options of the search for principal distortions.
    size
        Root mean square of the principal distortion that is shown, as a fraction of the signals' range.
    """

    one: str
    layer: str
    early: str
    other: str
    other_layer: str
    third: str
    search: Mapping[str, Any]
    size: float


PICTURES = Networks(
    one="efficientnet-lite0",
    layer="_blocks.10",
    early="_blocks.2",
    other="efficientnet-lite1",
    other_layer="_blocks.14",
    third="antialias/blur3/efficientnet-lite0",
    search={"starts": 1, "steps": 20, "probes": 8},
    size=0.15,
)
SOUNDS = Networks(
    one="coch-cnn-digits",
    layer="relu5",
    early="relu1",
    other="coch-cnn-digits-hann",
    other_layer="relu5",
    third="coch-cnn-digits-hann",
    search={"starts": 1, "steps": 60},
    size=0.05,
)


def signals_of(networks: Networks, stimuli: Sequence[Stimulus], unrelated: Stimuli) -> dict[str, Array]:
    """Make the signals of every kind, each ``(stimulus, …)`` in the domain of the network that it was made for.

    Parameters
    ----------
    stimuli
        Of different categories, and classified correctly by both networks, so that they can be controversial.
    unrelated
        Natural signals, between which a match is one of chance.
    """
    plugins = Plugins(installed=())
    one, other, third = (plugins.load("model", name) for name in (networks.one, networks.other, networks.third))
    layer, other_layer, summed = networks.layer, networks.other_layer, f"{networks.early} + {networks.layer}"
    null = null_distribution(one, unrelated, [layer])
    other_null = null_distribution(other, unrelated, [other_layer])

    alone = synthesise(one, stimuli, [layer], steps=STEPS, seeds=2)
    of_sum = synthesise(one, stimuli, [summed], steps=STEPS)
    both = join_models({"one": one, "other": other})
    together = synthesise(both, stimuli, [f"one.{layer} + other.{other_layer}"], steps=STEPS)
    pair = evaluate("diversity", as_study(alone, null), models=one, k=2, steps=STEPS)

    answers = synthesise(other, stimuli, [other_layer], steps=1)  # only those to natural signals are needed
    rivals = as_study({"one": alone, "other": answers}, {"one": null, "other": other_null})
    controversial = evaluate("controversial", rivals, models={"one": one, "other": other}, steps=STEPS)

    options = {"layers": [layer], "limit": len(stimuli), **networks.search}
    distortions = evaluate("principal-distortions", {"one": one, "third": third}, stimuli, options=options)
    natural = alone["natural"].values
    norm = networks.size * (one.domain.high - one.domain.low) * np.sqrt(natural[0].size)
    distortion = norm * distortions["principal_distortion"].sel(distortion="first").values

    print(f"{networks.one}: succeeded, by stimulus and seed or variant")
    print("  metamers", judge(alone, null)["quantised_success"].values[0].tolist())
    print("  maximally different", pair["success"].values[0].tolist())
    print("  controversial", controversial["success"].values.tolist())
    print("  positions of principal distortions", distortions["position_at"].values.round(1).tolist())
    return {
        "natural": natural,
        f"metamer of {layer}": alone["signal"].values[0, :, 0],
        f"metamer of {summed}": of_sum["signal"].values[0, :, 0],
        f"metamers of {layer}, maximally different: one": pair["signal"].values[0, :, 0],
        "and the other": pair["signal"].values[0, :, 1],
        "metamer of both networks": together["signal"].values[0, :, 0],
        f"controversial: this to {networks.one}, the other to {networks.other}": controversial["signal"].values[0],
        f"controversial: this to {networks.other}, the other to {networks.one}": controversial["signal"].values[1],
        "natural + principal distortion": natural + distortion,
        "natural − principal distortion": natural - distortion,
    }


def draw(images: Mapping[str, Array], file: Path, height: int, **options: Any) -> None:
    """Write a JPEG of images ``(2, y, x)`` or ``(2, y, x, 3)`` of every kind, as `imshow` draws them with options."""
    rows = -(-len(images) // COLUMNS)
    sides = np.array([COLUMNS * (2 * WIDTH + GAP) + (COLUMNS - 1) * 2 * GAP, rows * (TITLE + height)])
    figure = plt.figure(figsize=sides / DPI, dpi=DPI)
    for index, (title, two) in enumerate(images.items()):
        column, row = divmod(index, rows)
        left, top = column * (2 * WIDTH + 3 * GAP), sides[1] - row * (TITLE + height)
        figure.text(left / sides[0], (top - TITLE / 2) / sides[1], title, fontsize=9.5, va="center")
        for number, image in enumerate(two):
            corner = left + number * (WIDTH + GAP), top - TITLE - height
            ax = figure.add_axes((*(corner / sides), *((WIDTH, height) / sides)))
            ax.set_axis_off()
            ax.imshow(image, aspect="auto", **options)
    figure.savefig(file, pil_kwargs={"quality": 42, "optimize": True})
    plt.close(figure)


def cochleagrams(signals: Mapping[str, Array]) -> dict[str, Array]:
    """Return what the digits' networks hear of sounds ``(n, T)``: ``(n, filter, frame)`` each."""
    front_end = Plugins(installed=()).load("model", SOUNDS.one).module.get_submodule("cochleagram")
    with torch.inference_mode():
        return {kind: front_end(torch.from_numpy(some)).squeeze(1).numpy() for kind, some in signals.items()}


def main() -> None:
    torch.set_num_threads(1)
    begun, plugins = time.perf_counter(), Plugins(installed=())
    photographs, words = (plugins.load("stimuli", name) for name in ("natural", "spoken-digits"))

    pictures = signals_of(PICTURES, [photographs[1], photographs[4]], photographs)
    shown = {kind: np.clip(some, 0, 1).transpose(0, 2, 3, 1) for kind, some in pictures.items()}
    draw(shown, FOLDER / "objectives-pictures.jpg", WIDTH)

    heard = cochleagrams(signals_of(SOUNDS, [words[3], words[7]], words))
    loudest = max(float(some.max()) for some in heard.values())
    draw(heard, FOLDER / "objectives-sounds.jpg", 110, cmap="magma", origin="lower", vmin=0, vmax=loudest)
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
