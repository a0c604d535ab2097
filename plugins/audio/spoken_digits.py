"""Spoken digits: speech synthesised by metamery, not recordings.

The words are synthesised by `speech_synthesis` whenever they are read: there are no files, and this module is their
source. They are in the public domain (CC0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from ...framework.stimuli import Stimulus, check_limit
from .speech_synthesis import SAMPLE_RATE, VOICES, Voice, speak

SOURCE = "synthesised speech, not a recording: metamery's formant synthesiser"

WORDS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "zero": (("z", 0.09), ("ɪ", 0.10), ("r", 0.07), ("o", 0.12), ("ʊ", 0.12)),
    "one": (("w", 0.08), ("ʌ", 0.14), ("n", 0.14)),
    "two": (("t", 0.02), ("tʰ", 0.06), ("u", 0.24)),
    "three": (("θ", 0.10), ("r", 0.08), ("i", 0.22)),
    "four": (("f", 0.11), ("ɔ", 0.16), ("ɚ", 0.13)),
    "five": (("f", 0.11), ("a", 0.12), ("ɛ", 0.07), ("ɪ", 0.08), ("v", 0.09)),
    "six": (("s", 0.12), ("ɪ", 0.10), ("k-", 0.07), ("k", 0.025), ("s", 0.15)),
    "seven": (("s", 0.12), ("ɛ", 0.10), ("v", 0.06), ("ə", 0.07), ("n", 0.12)),
    "eight": (("e", 0.11), ("i", 0.11), ("t-", 0.07), ("t", 0.02), ("tʰ", 0.05)),
    "nine": (("n", 0.09), ("a", 0.12), ("ɛ", 0.07), ("ɪ", 0.08), ("n", 0.13)),
}
"""Phonemes of each word, with their durations in s."""


@dataclass(frozen=True)
class SpokenDigits:
    """Words as stimuli, each synthesised when it is read: ``(T,)`` in [−1, 1] at 8 kHz."""

    words: tuple[tuple[str, Voice], ...]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int, /) -> Stimulus:
        word, voice = self.words[index]
        name = f"{word}_{voice.name}"
        return Stimulus(
            torch.from_numpy(speak(name, WORDS[word], voice)),
            word,
            name=name,
            source=SOURCE,
            licence="CC0-1.0",
            group=voice.name,
            sample_rate=SAMPLE_RATE,
        )

    def __iter__(self) -> Iterator[Stimulus]:
        return (self[index] for index in range(len(self)))


def spoken_digits(*, limit: int | None = None) -> SpokenDigits:
    """Return the ten digits in two voices, or the first `limit` of the twenty.

    The voices alternate, and the first ten stimuli are the ten words.

    Raises
    ------
    MetameryError
        `limit` is not a whole number above 0.
    """
    check_limit(limit)
    words = [(word, VOICES[(number + turn) % 2]) for turn in range(2) for number, word in enumerate(WORDS)]
    return SpokenDigits(tuple(words[:limit]))
