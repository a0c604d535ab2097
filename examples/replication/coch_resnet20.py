"""ResNet-20 (He et al. 2015, arXiv:1512.03385, §4.2) on a cochleagram of 1 s of sound at 8 kHz."""

from __future__ import annotations

from collections import OrderedDict

import torch
from metamery.framework import Model, WaveformDomain
from metamery.plugins.audio.cochleagram import Cochleagram
from metamery.plugins.vision.cifar_resnets import ResNet
from torch import nn

SAMPLES, SAMPLE_RATE = 8_000, 8_000


def coch_resnet20(num_classes: int = 10, seed: int = 0) -> Model:
    """Nine blocks in three stages, behind the cochleagram of `coch-cnn-digits`; the first convolution has stride 2."""
    front_end = Cochleagram(
        SAMPLES, SAMPLE_RATE, filters=24, low=50.0, high=3800.0, oversampling=2, envelope_rate=100, density=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet([16, 32, 64], 3, num_classes)
        network.conv = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
    module = nn.Sequential(OrderedDict(cochleagram=front_end, norm=nn.BatchNorm2d(1), network=network))
    layers = ["cochleagram", "network.relu", *(f"network.stages.{stage}" for stage in range(1, 4)), "output"]
    return Model(module.eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), layers)
