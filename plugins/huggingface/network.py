"""Networks of transformers and OpenCLIP as networks from signals to one row for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...framework.domains import Domain
from ...framework.outline import outline


class SignalNetwork(nn.Module):
    """A front end, a network of a library, and what is read of its result, ``(B, …) -> (B, classes or width)``.

    Parameters
    ----------
    front_end
        From signals to what the network takes: a normalisation, or a spectrogram.
    network
        Network of the library; its modules keep their paths after ``network.``.
    read
        Takes one row for each signal out of the network's result.
    head
        Further layer on these rows, such as a linear read-out.
    """

    def __init__(
        self,
        front_end: nn.Module,
        network: nn.Module,
        read: Callable[[Any], torch.Tensor],
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.front_end = front_end
        self.network = network
        self.read = read
        self.head = head

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        features = self.read(self.network(self.front_end(signals)))
        return features if self.head is None else self.head(features)


class ZeroShot(nn.Module):
    """Logits of classes by their names: how alike the embedding of a signal and those of texts are.

    Parameters
    ----------
    texts
        Embeddings of the classes' texts, ``(classes, width)``.
    scale, bias
        What the cosine similarities are multiplied by, and what is added.
    """

    texts: torch.Tensor

    def __init__(self, texts: torch.Tensor, scale: float, bias: float = 0.0) -> None:
        super().__init__()
        self.scale, self.bias = scale, bias
        self.register_buffer("texts", F.normalize(texts, dim=1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.scale * F.normalize(features, dim=1) @ self.texts.T + self.bias


class Letters:
    """How often each letter occurs, of the result of a network that transcribes speech (CTC).

    For each token, the logarithm of its probability summed over frames, ``(B, frames, tokens) -> (B, letters)``.

    Parameters
    ----------
    tokens
        Numbers of the tokens that stand for letters.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)

    def __call__(self, outputs: Any) -> torch.Tensor:
        return outputs.logits.log_softmax(dim=2)[:, :, self.tokens].logsumexp(dim=1)  # type: ignore[no-any-return]


def logits(outputs: Any) -> torch.Tensor:
    """Return the logits of a classifier."""
    return outputs.logits  # type: ignore[no-any-return]


def embedding(outputs: Any) -> torch.Tensor:
    """Return the embedding that a tower shares with texts."""
    embedded = getattr(outputs, "image_embeds", None)
    return outputs.audio_embeds if embedded is None else embedded  # type: ignore[no-any-return]


def pooled(outputs: Any) -> torch.Tensor:
    """Return the features that the network itself pools."""
    return outputs.pooler_output  # type: ignore[no-any-return]


def first_token(outputs: Any) -> torch.Tensor:
    """Return the last activation of the first token, which stands for the whole signal."""
    return outputs.last_hidden_state[:, 0]  # type: ignore[no-any-return]


def average(outputs: Any) -> torch.Tensor:
    """Return the average of the last activations over time."""
    return outputs.last_hidden_state.mean(1)  # type: ignore[no-any-return]


def block_layers(network: nn.Module, domain: Domain) -> tuple[str, ...]:
    """Return the layers of interest: a spectrogram, each block, and ``output``.

    Blocks are the elements of lists of modules that are in no other list, in the order of a forward pass; of one that
    returns several things, the first.
    """
    parts = dict(network.named_modules())
    lists = (nn.ModuleList, nn.Sequential)  # not classes derived from them, such as lists of parametrisations

    def is_block(path: str) -> bool:
        above = path.split(".")[:-1]
        inside = [".".join(above[: end + 1]) for end in range(len(above))]
        return bool(above) and [name for name in inside if type(parts[name]) in lists] == inside[-1:]

    named = {layer.name: layer.shape for layer in outline(network, domain)}
    first = ("front_end",) if len(named.get("front_end") or ()) > 1 and domain.kind == "waveform" else ()
    blocks = [path for path in named if path in parts and is_block(path)]
    tensors = [path if named[path] is not None else f"{path}[0]" for path in blocks]
    return (*first, *(name for name in tensors if named.get(name) is not None), "output")
