"""Classes by the texts that name them (zero-shot)."""

from __future__ import annotations

from collections.abc import Sequence

from ...framework.errors import MetameryError

PROMPT = "a photo of a {}."
"""Text for a class of pictures (Radford et al. 2021)."""


def texts_of(what: str, labels: Sequence[str], prompt: str) -> list[str]:
    """Return the text of each label.

    >>> texts_of("clip", ["cat", "dog"], "a photo of a {}.")
    ['a photo of a cat.', 'a photo of a dog.']

    Raises
    ------
    MetameryError
        There is no ``{}`` in the prompt, or there are fewer than two labels.
    """
    if "{}" not in prompt:
        raise MetameryError(f"model '{what}': prompt is '{prompt}', expected text with {{}} where the label belongs")
    if len(labels) < 2:
        raise MetameryError(f"model '{what}': {len(labels)} labels, expected two or more to choose from")
    return [prompt.replace("{}", label) for label in labels]
