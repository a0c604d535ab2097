"""Decoding sound files into signals."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import soundfile
import torch

from ...framework.errors import MetameryError

ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff")
"""Endings of sound files, in small or capital letters. MP3 is not among them: where a file does not state its length,
libsndfile guesses it, and stops there without an error."""

MAX_SAMPLES = 2**29
"""Longest sound in samples, more than 3 hours at 44.1 kHz; longer ones are refused before memory is allocated."""

RATES = (100, 10_000_000)
"""The lowest and the highest sample rate in Hz that a file may have: a file that states another one is damaged."""

_LOSSY = ("VORBIS", "OPUS")
_DECLARED = re.compile(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)$", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFF0000  # programs that write to a pipe state a size from here on to mean unknown
_DAMAGED = re.compile(
    r"(Ogg ?: Junk after the last page|Ogg ?: .*end-of-stream|Calculated frame count \d+ does not match).*",
    re.IGNORECASE,
)  # in OGG, and in WAV's form for more than 4 GB


def read_sound(path: Path) -> tuple[torch.Tensor, int]:
    """Decode an entire sound file.

    Values beyond full scale in a lossy file (OGG) are clamped, as players do: its codec does not keep the peaks of
    loud sounds. A file that stores such values is refused.

    Returns
    -------
    signal : torch.Tensor
        ``(T,)`` float32 in [−1, 1].
    sample_rate : int
        Sample rate in Hz.

    Raises
    ------
    MetameryError
        The file cannot be decoded to its end, is cut off or empty, has more than one channel or more than
        `MAX_SAMPLES`, states a rate outside `RATES`, or holds values that are not finite or outside [−1, 1].
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels != 1:
                raise MetameryError(f"the sound '{path}' has {file.channels} channels, expected mono")
            if file.format == "MP3":
                raise MetameryError(f"the sound '{path}' is MP3, which may be read only in part: convert it to WAV")
            _check_complete(path, file)
            _check_header(path, file.frames, file.samplerate)
            frames, sample_rate, is_lossy = file.frames, int(file.samplerate), file.subtype.startswith(_LOSSY)
            values = file.read(dtype="float32")  # (T,)
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        raise MetameryError(f"the sound '{path}' {_reason(path, error)}") from error
    if len(values) < frames:
        raise _cut_off(path, f"its header states {frames} samples, but it has {len(values)}")
    if not frames:
        raise MetameryError(f"the sound '{path}' is empty")
    peak = float(max(values.max(), -values.min()))  # NaN if a sample is NaN
    if not np.isfinite(peak):
        odd = int(np.count_nonzero(~np.isfinite(values)))
        raise MetameryError(f"the sound '{path}' has {odd} samples that are NaN or infinite")
    if is_lossy:
        values.clip(-1, 1, out=values)
    elif peak > 1:
        raise MetameryError(f"the sound '{path}' has values up to {peak:.6g}, expected −1 to 1")
    return torch.from_numpy(values), sample_rate


def _check_complete(path: Path, file: soundfile.SoundFile) -> None:
    """Raise if libsndfile read less than the file states to hold, which only its log reports."""
    log = file.extra_info
    if (found := _DECLARED.search(log)) and int(found[1]) < _UNKNOWN_SIZE:
        raise _cut_off(path, f"its header states {found[1]} bytes of samples, but it has {found[2]}")
    if found := _DAMAGED.search(log):
        raise _cut_off(path, found[0].rstrip("."))


def _check_header(path: Path, frames: int, sample_rate: int) -> None:
    """Raise if the header states impossible values, or more samples than are read."""
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise MetameryError(
            f"the sound '{path}' states a sample rate of {sample_rate} Hz, expected {RATES[0]} to {RATES[1]}"
        )
    if frames >= 2**62:
        raise MetameryError(f"the sound '{path}' does not state its number of samples: expected a file, not a stream")
    if frames > MAX_SAMPLES:
        raise MetameryError(f"the sound '{path}' states {frames} samples, expected at most {MAX_SAMPLES}: cut it first")


def _cut_off(path: Path, why: str) -> MetameryError:
    return MetameryError(f"the sound '{path}' is cut off or damaged: {why}")


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "does not exist"
    if path.is_file() and not path.stat().st_size:
        return "is empty"
    message = getattr(error, "error_string", "") or str(error) or type(error).__name__
    return f"cannot be read: {' '.join(message.split()).removeprefix('Error : ').rstrip('.')}"
