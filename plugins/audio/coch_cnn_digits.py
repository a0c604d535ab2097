"""A network of five convolutions for spoken digits, which two cores train in minutes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from ...framework.domains import WaveformDomain
from ...framework.errors import unknown
from ...framework.models import Model
from ..vision.classes import check_number, class_labels
from ..vision.seeding import seeded
from .cochleagram import Cochleagram
from .mel import LogMel

SAMPLES, SAMPLE_RATE = 8_000, 8_000

FRONT_ENDS = ("cochleagram", "mel")

BLOCKS = 5


def network(front_end: str, width: int, num_classes: int) -> nn.Sequential:
    """Build the network: BatchNorm; five times convolution 3 × 3, BatchNorm, ReLU, max pool; average; linear.

    The last max pool is left out.
    """
    parts: dict[str, nn.Module] = {front_end: _front_end(front_end), "norm": nn.BatchNorm2d(1)}
    before = 1
    for block in range(1, BLOCKS + 1):
        channels = width * min(2 ** (block - 1), 8)
        parts[f"conv{block}"] = nn.Conv2d(before, channels, 3, padding=1, bias=False)
        parts[f"norm{block}"] = nn.BatchNorm2d(channels)
        parts[f"relu{block}"] = nn.ReLU()
        if block < BLOCKS:
            parts[f"pool{block}"] = nn.MaxPool2d(2)
        before = channels
    parts["average"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    parts["classify"] = nn.Linear(before, num_classes)
    return nn.Sequential(OrderedDict(parts))


def coch_cnn_digits(
    *,
    front_end: str = "cochleagram",
    width: int = 16,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Build the network with random weights, in eval mode, for 1 s of sound at 8 kHz in [−1, 1].

    Its layers are the front end, the five ReLUs and the logits.

    Parameters
    ----------
    front_end
        ``cochleagram``: 53 half-cosine filters, 100 frames a second, computed with a density of 8; or ``mel``: the
        logarithm of a mel spectrogram of as many bands and frames. The front end's path is its name.
    width
        Channels of the first convolution; the others have 2, 4, 8 and 8 times as many.
    num_classes
        Number of logits; by default that of the labels, or 10.
    labels
        The classes' names.
    seed
        Of the weights.

    Raises
    ------
    UnknownNameError
        There is no such front end.
    MetameryError
        The labels are not as many as the classes, or a number is too small.
    """
    count, names = class_labels("coch-cnn-digits", num_classes, labels, default=10)
    check_number("coch-cnn-digits", "width", width)
    if front_end not in FRONT_ENDS:
        raise unknown("front end of coch-cnn-digits:", front_end, FRONT_ENDS)
    with seeded(seed):
        module = network(front_end, width, count)
    layers = (front_end, *(f"relu{block}" for block in range(1, BLOCKS + 1)), "output")
    return Model(module.eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), layers, names)


def _front_end(name: str) -> nn.Module:
    if name == "mel":
        return LogMel(SAMPLES, SAMPLE_RATE, bands=53, low=50.0, high=3800.0, frame_rate=100)
    return Cochleagram(
        SAMPLES, SAMPLE_RATE, filters=24, low=50.0, high=3800.0, oversampling=2, envelope_rate=100, density=8
    )
