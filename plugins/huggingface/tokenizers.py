"""Classes by the texts that name them, for networks of transformers with a text tower (zero-shot)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoTokenizer

from ...framework.errors import MetameryError
from .network import ZeroShot
from .repositories import Repository

FILES = ("tokenizer.json", "vocab.json", "spiece.model")
"""Files of tokenizers."""


def zero_shot(whole: Any, repository: Repository, texts: Sequence[str]) -> ZeroShot:
    """Make the last layer that compares the embedding of a signal with those of texts.

    Parameters
    ----------
    whole
        Network of transformers with a text tower.
    repository
        Repository of its tokenizer.
    texts
        A text for each class.

    Raises
    ------
    MetameryError
        The repository has no tokenizer.
    """
    if not any(repository.find(name) for name in FILES):  # without any, transformers makes one that knows no words
        raise MetameryError(f"{repository} has no tokenizer, for labels by text: expected {' or '.join(FILES)}")
    source = repository.name if repository.folder is None else str(repository.folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=repository.revision, trust_remote_code=False)
    except Exception as error:  # whatever its many classes raise for a file that is missing or damaged
        reason = " ".join(str(error).split())[:150]
        raise MetameryError(f"{repository} has no tokenizer that can be read, for labels by text ({reason})") from None
    siglip = hasattr(whole, "logit_bias")  # trained on texts of full length, without a mask
    longest = whole.config.text_config.max_position_embeddings if siglip else None
    tokens = tokenizer(
        list(texts),
        padding="max_length" if siglip else True,
        max_length=longest,
        truncation=siglip,
        return_tensors="pt",
    )
    if siglip:
        tokens.pop("attention_mask", None)
    whole.eval()
    with torch.no_grad():
        embedded = whole.get_text_features(**tokens).pooler_output
        scale = float((whole.logit_scale_a if hasattr(whole, "logit_scale_a") else whole.logit_scale).exp())
        return ZeroShot(embedded, scale, float(whole.logit_bias) if siglip else 0.0)
