"""Natural signals and their metamers side by side: pictures, or sounds as spectrograms or waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from ...framework.checks import one_of
from ...framework.domains import ImageDomain, WaveformDomain
from ...framework.errors import MetameryError, unknown
from ...framework.model_results import ModelResults, models_of
from ..report.sounds import RANGE, spectrogram
from ..studies.in_memory import Results, opened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_OTHER = "#c2410c"  # the label of a metamer that the model classifies differently


def gallery(
    metamers: Results,
    *,
    model: str = "",
    layers: Sequence[str] | None = None,
    stimuli: Sequence[str] | int = 6,
    seed: int = 0,
    sounds: str = "spectrogram",
) -> Figure:
    """Draw natural signals and their metamers: a row for each stimulus, a column for each layer.

    Each signal has its label by the model, in red where a metamer's is not that of its natural signal.

    Parameters
    ----------
    metamers
        What `synthesise` returned, an open study, or a study's folder.
    model
        Name of the model; needed where there are several.
    layers
        Layers to show; all by default.
    stimuli
        Names of the stimuli, or the number of those to show, the first ones.
    seed
        Seed whose metamers are shown.
    sounds
        ``spectrogram``, 60 dB deep, or ``waveform``.

    Returns
    -------
    matplotlib.figure.Figure
        Of sounds, with time in s and frequency in kHz on the outer axes.

    Raises
    ------
    MetameryError
        A model, a layer, a stimulus or a seed is unknown.

    Examples
    --------
    >>> from metamery.analysis import plot, synthesise
    >>> from metamery.framework.testing import example_model, example_stimuli
    >>> metamers = synthesise(example_model(), example_stimuli(), ["1", "2"], steps=5)
    >>> figure = plot.gallery(metamers, stimuli=2)
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['natural', '1', '2']
    """
    one_of("sounds", sounds, ("spectrogram", "waveform"))
    with opened(metamers) as tree:
        results = _select_model(models_of(tree), model)
        columns = _known("layer", list(layers or results.layers), results.layers)
        rows = results.stimuli[:stimuli] if isinstance(stimuli, int) else _known("stimulus", stimuli, results.stimuli)
        if seed not in results.seeds:
            raise unknown("seed", str(seed), map(str, results.seeds))
        return _drawn(results, rows, columns, results.seeds.index(seed), sounds)


def _select_model(models: Sequence[ModelResults], name: str) -> ModelResults:
    names = [results.name for results in models]
    if not models:
        raise MetameryError("there are no metamers, expected a study or what synthesise returns")
    if name and name not in names:
        raise unknown("model", name, names)
    if not name and len(models) > 1:
        raise MetameryError(f"there are several models: expected model='{names[0]}', for example")
    return models[names.index(name) if name else 0]


def _known(what: str, requested: Sequence[str], names: Sequence[str]) -> list[str]:
    for name in requested:
        if name not in names:
            raise unknown(what, name, names)
    return list(requested)


def _drawn(results: ModelResults, rows: Sequence[str], columns: Sequence[str], seed: int, sounds: str) -> Figure:
    from matplotlib import pyplot

    is_sound = isinstance(results.domain, WaveformDomain)
    width, height = (1.75, 1.3) if is_sound else (1.35, 1.6)
    size = 0.9 + width * (len(columns) + 1), 0.5 + height * len(rows)
    figure, grid = pyplot.subplots(
        len(rows), len(columns) + 1, figsize=size, squeeze=False, layout="constrained", sharex=is_sound, sharey=is_sound
    )
    numbers = [results.stimuli.index(name) for name in rows]
    natural = results.natural["signal"].transpose("stimulus", *results.domain.dims).isel(stimulus=numbers).values
    predicted = results.natural["predicted"].values
    for row, number in enumerate(numbers):
        _signal(grid[row, 0], natural[row], results, sounds)
        _caption(grid[row, 0], results.label(int(predicted[number])), is_sound)
        grid[row, 0].set_ylabel(shorten(rows[row], 18, placeholder="…"), fontsize=9)
    answers, agrees = results.answers("predicted", -1), results.answers("agrees", -1)
    for column, layer in enumerate(columns, 1):
        at = results.layers.index(layer)
        chosen = replace(results, metamers=results.metamers.isel(stimulus=numbers)).signals(layer)
        for row, number in enumerate(numbers):
            _signal(grid[row, column], chosen[row, seed], results, sounds)
            _caption(
                grid[row, column],
                results.label(int(answers[at, number, seed])),
                is_sound,
                agrees[at, number, seed] == 0,
            )
    for column, title in enumerate(("natural", *columns)):
        grid[0, column].set_title(shorten(title, 20, placeholder="…"), fontsize=10)
    if is_sound:
        unit = "frequency [kHz]" if sounds == "spectrogram" else "amplitude [full scale]"
        figure.supxlabel("time [s]", fontsize=9)
        figure.supylabel(unit, fontsize=9)
    return figure


def _signal(ax: Axes, signal: NDArray[np.float32], results: ModelResults, sounds: str) -> None:
    """Draw one signal, or a dash where it is missing."""
    domain = results.domain
    if isinstance(domain, ImageDomain):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    ax.tick_params(labelsize=7, length=2)
    if not np.isfinite(signal).all():
        ax.text(0.5, 0.5, "–", transform=ax.transAxes, ha="center", va="center", color="0.5")
    elif isinstance(domain, ImageDomain):
        picture = np.clip((signal - domain.low) / (domain.high - domain.low), 0, 1).transpose(1, 2, 0)
        ax.imshow(picture[..., 0] if domain.channels == 1 else picture, cmap="gray", vmin=0, vmax=1)
    elif sounds == "spectrogram":
        extent = (0, domain.samples / domain.sample_rate, 0, domain.sample_rate / 2000)
        levels = spectrogram(signal, domain.sample_rate)
        ax.imshow(levels, cmap="magma", vmin=-RANGE, vmax=0, origin="lower", aspect="auto", extent=extent)
    else:
        ax.plot(np.arange(domain.samples) / domain.sample_rate, signal / domain.full_scale, lw=0.5, color="0.2")


def _caption(ax: Axes, text: str, is_sound: bool, is_other: bool = False) -> None:
    """Write the model's label in small letters: below a picture, in the corner of a sound."""
    if not text:
        return
    caption, colour = shorten(text.split(",", maxsplit=1)[0], 22, placeholder="…"), _OTHER if is_other else "0.3"
    if is_sound:
        box = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        ax.text(0.97, 0.95, caption, transform=ax.transAxes, ha="right", va="top", fontsize=7, color=colour, bbox=box)
    else:
        ax.set_xlabel(caption, fontsize=8, color=colour, labelpad=2)
