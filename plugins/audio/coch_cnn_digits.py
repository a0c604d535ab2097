"""A network of five convolutions for spoken digits, trained in minutes on two cores."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from ...framework.class_labels import check_number, class_labels
from ...framework.domains import WaveformDomain
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.weights import make_network, names_file
from ..antialias.surgery import antialiased
from .cochleagram import Cochleagram
from .mel import LogMel

SAMPLES, SAMPLE_RATE = 8_000, 8_000

FRONT_ENDS = ("cochleagram", "mel")

WEIGHTS = ("digits", "none")

BLOCKS, WIDTH = 5, 16

DIGITS = ("eight", "five", "four", "nine", "one", "seven", "six", "three", "two", "zero")
"""The classes of the weights that come with metamery; `examples/digits` trains them."""


def network(front_end: str, width: int, num_classes: int, *, pools: bool = True) -> nn.Sequential:
    """Build the network: BatchNorm; five times convolution 3 × 3, BatchNorm, ReLU, max pool; average; linear.

    There is no max pool after the last ReLU. Without `pools` each max pool is replaced by taking every other sample.
    """
    parts: dict[str, nn.Module] = {front_end: digits_front_end(front_end), "norm": nn.BatchNorm2d(1)}
    before = 1
    for block in range(1, BLOCKS + 1):
        channels = width * min(2 ** (block - 1), 8)
        parts[f"conv{block}"] = nn.Conv2d(before, channels, 3, padding=1, bias=False)
        parts[f"norm{block}"] = nn.BatchNorm2d(channels)
        parts[f"relu{block}"] = nn.ReLU()
        if block < BLOCKS:
            parts[f"pool{block}"] = nn.MaxPool2d(2) if pools else nn.AvgPool2d(1, 2)
        before = channels
    parts["average"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    parts["classify"] = nn.Linear(before, num_classes)
    return nn.Sequential(OrderedDict(parts))


def coch_cnn_digits(
    *,
    weights: str = "",
    entry: str | None = None,
    front_end: str = "cochleagram",
    width: int = WIDTH,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Build the network in eval mode, for 1 s of sound at 8 kHz in [−1, 1].

    Its layers are the front end, the five ReLUs and the logits.

    Parameters
    ----------
    weights
        ``digits``: trained on spoken digits, in English (Free Spoken Digit Dataset), with a random last layer for
        another number of classes; ``none``: random; or a file of weights in any format of
        `metamery.framework.read_weights`. By default ``digits``, or with other options ``none``, of which a note tells.
    entry
        Where in a file the weights are, such as ``model_ema``.
    front_end
        ``cochleagram``: 53 half-cosine filters, 100 frames a second, computed with a density of 8; or ``mel``: the
        logarithm of a mel spectrogram with the same number of bands and frames. The name is also the path of its
        module.
    width
        Number of channels of the first convolution; the others have 2, 4, 8 and 8 times as many.
    num_classes
        Number of logits; by default that of the labels, or 10.
    labels
        Names of the classes.
    seed
        Seed of the random weights.

    Raises
    ------
    UnknownNameError
        `front_end` or `weights` is unknown.
    MetameryError
        The number of labels differs from that of the classes, a number is too small, or the weights are for another
        network.
    """
    return _build("coch-cnn-digits", "standard", weights, entry, front_end, width, num_classes, labels, seed)


def coch_cnn_digits_adversarial() -> Model:
    """Build the network with weights trained on adversarial cochleagrams of spoken digits (PGD in L2)."""
    return _build("coch-cnn-digits-adversarial", "adversarial", "digits", None, "cochleagram", WIDTH, None, None, 0)


def coch_cnn_digits_hann(
    *,
    weights: str = "",
    entry: str | None = None,
    front_end: str = "cochleagram",
    width: int = WIDTH,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Build the network with Hann windows of 8 samples in place of its max pools; options as in `coch_cnn_digits`."""
    return _build("coch-cnn-digits-hann", "hann", weights, entry, front_end, width, num_classes, labels, seed)


def _build(
    name: str,
    trained: str,
    weights: str,
    entry: str | None,
    front_end: str,
    width: int,
    num_classes: int | None,
    labels: Sequence[str] | None,
    seed: int,
) -> Model:
    count, _ = class_labels(name, num_classes, labels, default=len(DIGITS))
    check_number(name, "width", width)
    if front_end not in FRONT_ENDS:
        raise unknown(f"front end of {name}:", front_end, FRONT_ENDS)
    from_file = names_file(name, weights or "none", WEIGHTS, entry)
    as_trained = (front_end, width) == (FRONT_ENDS[0], WIDTH)
    if weights == "digits" and not as_trained:
        raise MetameryError(f"the weights of {name} are for width {WIDTH} and a cochleagram")
    notes: list[str] = []
    if not weights and not (as_trained and num_classes is None and labels is None):
        weights = "none"
        if labels is None:  # with names of classes it is built to be trained
            keep = "; weights=digits keeps those of all layers but the last" if as_trained else ""
            notes.append(f"the weights are random, since the trained network has other options{keep}")
    loaded, names = make_network(
        lambda count: network(front_end, width, count, pools=trained != "hann"), len(DIGITS), what=name,
        weights=weights if from_file else "none", entry=entry, num_classes=num_classes, labels=labels, seed=seed,
        normalises=False,
    )  # fmt: skip
    layers = (front_end, *(f"relu{block}" for block in range(1, BLOCKS + 1)), "output")
    model = Model(loaded.network.eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), layers, names)
    notes += loaded.notes
    if trained == "hann":
        model, replaced = antialiased(model, "hann")
        notes += map(str, replaced)
    if weights in ("", "digits"):
        own = load_file(Path(__file__).parent / "weights" / f"{trained}.safetensors")
        if count != len(DIGITS):
            fresh = model.module.state_dict()
            own |= {key: value for key, value in fresh.items() if key.startswith("classify.")}
        model.module.load_state_dict(own)
        model = replace(model, labels=names or (DIGITS if count == len(DIGITS) else None))
    return replace(model, notes=tuple(notes))


def digits_front_end(name: str) -> nn.Module:
    """Build one of `FRONT_ENDS`: ``(B, 8000)`` to ``(B, 1, 53, frames)``."""
    if name == "mel":
        return LogMel(SAMPLES, SAMPLE_RATE, bands=53, low=50.0, high=3800.0, frame_rate=100)
    return Cochleagram(
        SAMPLES, SAMPLE_RATE, filters=24, low=50.0, high=3800.0, oversampling=2, envelope_rate=100, density=8
    )
