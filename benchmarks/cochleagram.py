"""What does a cochleagram cost? metamery's beside whole matrices and beside torchaudio's mel spectrogram.

On noise of 2 s at 20 kHz (40,000 samples), in one run:

cochleagram            `Cochleagram()`, the definition of Feather et al. (2023), 211 × 390;
cochleagram, density   the same, with envelopes sampled as densely as their bands ask for;
whole matrices         the definition as one writes it down: a 211 × 20,001 matrix times the spectrum, an inverse FFT
                       of 40,000 points of each product, `abs`, a strided convolution, a power;
mel spectrogram        `torchaudio.transforms.MelSpectrogram` with 128 bands and as many frames a second: another and a
                       much cheaper thing, for scale.

Times are for one signal: medians over rounds in which all take turns. "Backward" is the gradient of the signals.
Memory is the peak above what the process held before, for the whole batch, each in a process of its own (Linux with
glibc only). The difference is the largest of the compressed values to those of whole matrices.

    python benchmarks/cochleagram.py --threads 1
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torchaudio
from memory import forget_peak, peak
from metamery.plugins.audio.cochleagram import Cochleagram
from metamery.plugins.audio.envelopes import low_pass
from metamery.plugins.audio.erb import half_cosine_bands
from table import Benchmark, Column
from torch import nn

SAMPLES, SAMPLE_RATE = 40_000, 20_000


class WholeMatrices(nn.Module):
    """The definition, without a thought for time and memory."""

    def __init__(self) -> None:
        super().__init__()
        bands = half_cosine_bands(SAMPLES, SAMPLE_RATE, 50, 50.0, 10_000.0, 4)
        responses = torch.zeros(len(bands.centres), SAMPLES // 2 + 1)
        for row, first, width, response in zip(responses, bands.first, bands.widths, bands.responses, strict=True):
            row[first : first + width] = response[:width]
        self.register_buffer("responses", responses)
        self.register_buffer("taps", low_pass(100).float()[None, None])

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        inside = torch.fft.ifft(torch.fft.rfft(signals)[:, None] * self.responses, n=SAMPLES)
        envelopes = nn.functional.conv1d(inside.abs().flatten(0, 1)[:, None], self.taps, stride=100)
        return (envelopes.unflatten(0, (len(signals), -1))[:, :, 0].clamp(min=0) + 1e-8)[:, None] ** 0.3


BUILD: dict[str, Callable[[], nn.Module]] = {
    "cochleagram": Cochleagram,
    "cochleagram, density 16": partial(Cochleagram, density=16),
    "cochleagram, density 8": partial(Cochleagram, density=8),
    "whole matrices": WholeMatrices,
    "mel spectrogram": partial(
        torchaudio.transforms.MelSpectrogram, SAMPLE_RATE, n_fft=1024, hop_length=100, n_mels=128
    ),
}


def noise(batch: int) -> torch.Tensor:
    return 0.1 * torch.randn(batch, SAMPLES, generator=torch.Generator().manual_seed(0))


def forward(front_end: nn.Module, signals: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return front_end(signals)


def forward_and_backward(front_end: nn.Module, signals: torch.Tensor) -> torch.Tensor:
    leaf = signals.clone().requires_grad_()
    return torch.autograd.grad(front_end(leaf).sum(), leaf)[0]


WORK = {"forward": forward, "backward": forward_and_backward}
COLUMNS = (
    Column("forward", "ms"),
    Column("with backward", "ms"),
    Column("whole matrices / this", "×", "higher", peer="whole matrices"),
    Column("forward", "MB"),
    Column("with backward", "MB"),
    Column("difference"),
)


def times(rounds: int, batch: int) -> dict[tuple[str, str], float]:
    """Milliseconds for one signal, by front end and work."""
    signals, taken = noise(batch), {}
    built = {name: build() for name, build in BUILD.items()}
    for turn in range(rounds + 1):  # the first one warms up
        for name, front_end in built.items():
            for kind, work in WORK.items():
                began = time.perf_counter()
                work(front_end, signals)
                if turn:
                    taken.setdefault((name, kind), []).append((time.perf_counter() - began) / batch * 1e3)
    return {key: median(values) for key, values in taken.items()}


def taken_memory(name: str, kind: str, batch: int, threads: int) -> float | None:
    """Megabytes, in a process of its own; None where the system does not say."""
    if sys.platform != "linux":
        return None
    command = [sys.executable, __file__, "--peak", name, kind, "--batch", str(batch), "--threads", str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak(name: str, kind: str, batch: int) -> float:
    front_end, signals = BUILD[name](), noise(batch)
    WORK[kind](front_end, signals[:1])  # libraries load their parts on first use
    before = forget_peak()
    WORK[kind](front_end, signals)
    return peak() - before


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--rounds", type=int, default=9)
    benchmark.option("--batch", type=int, default=4)
    benchmark.option("--peak", nargs=2, help="front end and work, of which the memory alone is measured")
    arguments = benchmark.parse()
    if arguments.peak:
        print(own_peak(*arguments.peak, arguments.batch))
        return
    benchmark.head("torchaudio")
    table = benchmark.table(f"One sound of 2 s, in batches of {arguments.batch}", ["front end"], COLUMNS)
    taken = times(arguments.rounds, arguments.batch)
    signals = noise(1)
    reference, threads = forward(WholeMatrices(), signals), torch.get_num_threads()
    for name, build in BUILD.items():
        found = forward(build(), signals)
        memory = [taken_memory(name, kind, arguments.batch, threads) for kind in WORK]
        shorter = taken["whole matrices", "backward"] / taken[name, "backward"] if "coch" in name else None
        difference = (found - reference).abs().max().item() if found.shape == reference.shape else None
        table.row(name, *(taken[name, kind] for kind in WORK), shorter, *memory, difference)


if __name__ == "__main__":
    main()
