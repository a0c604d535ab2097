"""ResNet-20 (He et al. 2015, arXiv:1512.03385, §4.2) on the cochleagram of `coch-cnn-digits`, of 1 s at 8 kHz."""

from __future__ import annotations

from collections import OrderedDict

from metamery.framework import Model, WaveformDomain
from metamery.framework.seeding import seeded
from metamery.plugins.audio.coch_cnn_digits import SAMPLE_RATE, SAMPLES, digits_front_end
from metamery.plugins.vision.cifar_resnets import ResNet
from torch import nn


def coch_resnet20(num_classes: int = 10, seed: int = 0) -> Model:
    """Build nine blocks in three stages; the first convolution has stride 2."""
    with seeded(seed):
        network = ResNet([16, 32, 64], 3, num_classes)
        network.conv = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
    parts = OrderedDict(cochleagram=digits_front_end("cochleagram"), norm=nn.BatchNorm2d(1), network=network)
    layers = ["cochleagram", "network.relu", *(f"network.stages.{stage}" for stage in range(1, 4)), "output"]
    return Model(nn.Sequential(parts).eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), layers)
