"""CochCNN9 (Kell et al. 2018) with a quarter of its channels, on a cochleagram of 105 bands of 1 s at 8 kHz.

It subsamples by strides of 3 and 2 and by max pools, 48-fold in all; with Hann windows in their place it is the network
with reduced aliasing of Feather et al. (2019).
"""

from __future__ import annotations

from metamery.framework import Model, WaveformDomain
from metamery.framework.seeding import seeded
from metamery.plugins.antialias.surgery import antialiased
from metamery.plugins.audio.coch_cnn_digits import SAMPLE_RATE, SAMPLES
from metamery.plugins.audio.cochcnn9 import LAYERS, network
from metamery.plugins.audio.cochleagram import Cochleagram


def coch_cnn9(num_classes: int = 10, seed: int = 0, hann: bool = False) -> Model:
    """Build the network, with `hann` after Feather et al. (2019)."""
    front_end = Cochleagram(
        SAMPLES, SAMPLE_RATE, filters=50, low=50.0, high=3800.0, oversampling=2, envelope_rate=200, density=8
    )
    with seeded(seed):
        module = network(front_end, num_classes, pools=not hann, width=0.25)
    model = Model(module.eval(), WaveformDomain(SAMPLES, SAMPLE_RATE), LAYERS)
    return antialiased(model, "hann")[0] if hann else model
