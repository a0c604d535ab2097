"""OpenCLIP's image towers, by OpenCLIP's own names of architectures and of their weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import open_clip
import torch
from torch import nn

from ...framework.class_labels import class_labels
from ...framework.domains import ImageDomain, blank_signal
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.normalisation import Normalise
from ...framework.seeding import seeded
from ...framework.weights import load_network, names_file
from .network import SignalNetwork, ZeroShot, block_layers
from .texts import PROMPT, texts_of


def open_clip_model_names() -> list[str]:
    """Return the names of all published weights, each after that of its architecture."""
    return [f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()]


def open_clip_model(
    name: str,
    *,
    weights: str = "DEFAULT",
    entry: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    prompt: str | None = None,
    seed: int = 0,
) -> Model:
    """Build an image tower, in eval mode, for pictures in [0, 1]: the embedding that it shares with texts.

    With `labels` it returns logits by the similarity to the text of each label (zero-shot); with `num_classes`, those
    of a new, random linear layer on the embedding, to be trained. Otherwise there are no classes and no labels.

    Its layers are the blocks, such as ``network.transformer.resblocks.N`` ``(B, tokens, width)``.

    Parameters
    ----------
    name
        ``NAME/TAG`` as in OpenCLIP, such as ``ViT-B-32/laion2b_s34b_b79k``; without random weights or a file of weights
        the tag is needed.
    weights
        ``DEFAULT`` for those of the tag, ``none`` for random ones, or a file of weights, in any format of
        `metamery.framework.read_weights`. They are downloaded once, to the cache of the hub, and read as tensors only.
    entry
        Where in a file the weights are, such as ``state_dict``.
    num_classes
        Number of logits of a new last layer.
    labels
        Names of the classes.
    prompt
        Text for a class, in which ``{}`` stands for its label; by default ``a photo of a {}.``
    seed
        Seed of random weights, including those of a new last layer.

    Raises
    ------
    UnknownNameError
        The architecture or the tag is unknown.
    MetameryError
        The weights cannot be downloaded, the file is not one of this network's weights, or the labels do not fit.
    """
    architecture, _, tag = name.partition("/")
    what = f"open_clip/{name}"
    if architecture not in open_clip.list_models():
        raise unknown("OpenCLIP network", architecture, open_clip.list_models())
    from_file = names_file(what, weights, ["DEFAULT", "none"], entry)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not tag and weights == "DEFAULT":
        example = f", such as {what}/{tags[0]}" if tags else ""
        raise MetameryError(f"{what} names no weights: expected {what}/TAG{example}; weights=none makes random ones")
    if tag and tag not in tags:
        raise unknown(f"weights of open_clip/{architecture}:", tag, tags)
    by_text = labels is not None and num_classes is None
    if prompt is not None and not by_text:
        raise MetameryError(f"model '{what}': prompt names classes by text, which needs labels")
    notes: tuple[str, ...] = ()
    with _quietly(), seeded(seed):
        if from_file:
            loaded = load_network(lambda _classes: _created(what, architecture), 0, weights, entry, what=what)
            whole, notes = loaded.network, loaded.notes
        else:
            whole = _created(what, architecture, tag if weights == "DEFAULT" else None)
        whole.eval()
        tower: Any = whole.visual
        size = tower.image_size if isinstance(tower.image_size, tuple) else (tower.image_size,) * 2
        domain = ImageDomain(3, *size)
        mean, std = (tower.preprocess_cfg[part] for part in ("mean", "std"))
        module = SignalNetwork(Normalise(mean, std), tower, _embedding)
        names = None
        if by_text:
            names = class_labels(what, None, labels, 0)[1] or ()
            module.head = _zero_shot(
                what, whole, architecture, texts_of(what, names, PROMPT if prompt is None else prompt)
            )
        elif num_classes is not None:
            count, names = class_labels(what, num_classes, labels, 0)
            with torch.no_grad():
                module.head = nn.Linear(module(blank_signal(domain)).shape[1], count)
    module.eval()
    return Model(module, domain, block_layers(module, domain), names, notes=notes, encoder=module.head is None)


def _embedding(output: Any) -> torch.Tensor:
    """Return the embedding, which some towers return together with their tokens."""
    embedded: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return embedded


def _created(what: str, architecture: str, tag: str | None = None) -> Any:
    try:
        return open_clip.create_model(
            architecture, pretrained=tag, load_weights=tag is not None, require_pretrained=tag is not None
        )
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MetameryError(
            f"{what} cannot be built or downloaded ({reason}); weights=none makes random ones"
        ) from error


def _zero_shot(what: str, whole: Any, architecture: str, texts: Sequence[str]) -> ZeroShot:
    try:
        tokens = open_clip.get_tokenizer(architecture)(list(texts))
    except (OSError, ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MetameryError(f"{what} has no tokenizer that can be read, for labels by text ({reason})") from error
    with torch.no_grad():
        bias = getattr(whole, "logit_bias", None)
        embedded = whole.encode_text(tokens)
        return ZeroShot(embedded, float(whole.logit_scale.exp()), 0.0 if bias is None else float(bias))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep OpenCLIP from logging which weights it did not load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
