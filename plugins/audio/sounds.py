"""Decoding sound files into signals."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import soundfile
import torch

from ...framework.errors import MetameryError

ENDINGS = (".wav", ".flac", ".ogg")
"""Names of sound files end in one of these, in small or capital letters."""

_LOSSY = ("VORBIS", "OPUS", "MPEG")
_DECLARED = re.compile(r"^data : (\d+) \(should be (\d+)\)$", re.MULTILINE)
_UNKNOWN_SIZE = 0x7FFF0000  # from here on, programs that write to a pipe mean that they do not know
_DAMAGED = re.compile(
    r"(Ogg ?: Junk after the last page|Ogg ?: .*end-of-stream|Calculated frame count \d+ does not match).*",
    re.IGNORECASE,
)  # of OGG and of WAV in its form for more than 4 GB


def read_sound(path: Path) -> tuple[torch.Tensor, int]:
    """Decode a whole sound file.

    What a lossy file (OGG) decodes to beyond full scale is clamped, as players do: its codec does not keep the peaks
    of what was loud. A file that stores such values is refused.

    Returns
    -------
    signal : torch.Tensor
        ``(T,)`` float32 in [−1, 1].
    sample_rate : int
        In Hz.

    Raises
    ------
    MetameryError
        The file cannot be decoded to its end, is cut off or empty, has more than one channel, or holds values that
        are not finite or outside [−1, 1].
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels != 1:
                raise MetameryError(f"the sound '{path}' has {file.channels} channels, expected mono")
            _check_whole(path, file)
            frames, sample_rate, is_lossy = file.frames, int(file.samplerate), file.subtype.startswith(_LOSSY)
            values = file.read(dtype="float32")  # (T,)
    except (OSError, RuntimeError, ValueError) as error:
        raise MetameryError(f"the sound '{path}' {_reason(path, error)}") from error
    if len(values) < frames:
        raise _cut_off(path, f"its header says {frames} samples, and there are {len(values)}")
    if not frames:
        raise MetameryError(f"the sound '{path}' is empty")
    if odd := int(np.count_nonzero(~np.isfinite(values))):
        raise MetameryError(f"the sound '{path}' has {odd} samples that are NaN or infinite")
    if is_lossy:
        values = values.clip(-1, 1)
    if (peak := float(np.abs(values).max())) > 1:
        raise MetameryError(f"the sound '{path}' has values up to {peak:.6g}, expected −1 to 1")
    return torch.from_numpy(values), sample_rate


def _check_whole(path: Path, file: soundfile.SoundFile) -> None:
    """Raise where libsndfile made do with less than the file says it holds; only its log tells."""
    log = file.extra_info
    if (found := _DECLARED.search(log)) and int(found[1]) < _UNKNOWN_SIZE:
        raise _cut_off(path, f"its header says {found[1]} bytes of samples, and there are {found[2]}")
    if found := _DAMAGED.search(log):
        raise _cut_off(path, found[0].rstrip("."))


def _cut_off(path: Path, why: str) -> MetameryError:
    return MetameryError(f"the sound '{path}' is cut off or damaged: {why}")


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "does not exist"
    if path.is_file() and not path.stat().st_size:
        return "is empty"
    said = getattr(error, "error_string", "") or str(error) or type(error).__name__
    return f"cannot be read: {' '.join(said.split()).removeprefix('Error : ').rstrip('.')}"
