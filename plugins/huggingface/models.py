"""Networks of Hugging Face's transformers, by the names of their repositories or from folders."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.whisper import modeling_whisper
from transformers.utils import logging

from ...framework.class_labels import class_labels
from ...framework.domains import Domain, blank_signal
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.seeding import seeded
from ...framework.weights import load_network, names_file
from ..vision.imagenet import IMAGENET_1K, imagenet_labels
from .front_ends import WhisperLogMel
from .kinds import KINDS, Kind, Source
from .network import Letters, SignalNetwork, block_layers, logits, pooled
from .repositories import Repository
from .texts import texts_of
from .tokenizers import zero_shot

SHOWN = 3
"""Number of names that a message gives."""

_LEFT_OUT = ("model_type", "dtype", "torch_dtype")
"""Entries of a configuration that are not its settings here: weights are always float32."""

_RANDOM_IN_TRAINING = {"apply_spec_augment": False, "layerdrop": 0.0}
"""What is left out of a training: masks and skipped layers, whose draws would not come from the run's seed."""


def hf_model(
    name: str,
    *,
    weights: str = "DEFAULT",
    entry: str | None = None,
    revision: str | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    prompt: str | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> Model:
    """Build a network, in eval mode, for pictures in [0, 1] or sounds in [−1, 1], with its preprocessing inside.

    No code of a repository runs: its configuration and its preprocessor's settings are read as JSON, its weights as
    tensors. Files of the hub are kept in its cache, and with ``HF_HUB_OFFLINE=1`` only what is there is read.

    What it returns for each signal depends on the repository:

    - a classifier: logits, with the labels of its configuration. One that transcribes speech (CTC): for each letter,
      the logarithm of its probability summed over frames, as for the networks ``torchaudio/``.
    - an encoder: features ``(B, width)``: the embedding that CLIP and its kin share with texts, what the network pools
      itself, the first token of ViT and DeiT, or the average over time of wav2vec 2.0 and Whisper. These are not
      classes, and there are no labels.
    - CLIP, SigLIP or CLAP, with `labels`: logits by the similarity to the text of each label (zero-shot).
    - any, with `num_classes`, or with `labels` of another number: logits of a new, random linear layer on the features,
      to be trained.

    Its layers are the blocks, ``network.….N``, mostly ``(B, tokens, width)``, after the spectrogram ``front_end``.

    Parameters
    ----------
    name
        ``OWNER/NAME``, or the path of a folder that ``save_pretrained`` wrote, which begins with ``/`` or ``./``.
    weights
        ``DEFAULT``, or ``none`` for random ones with the repository's configuration. Or a file of weights, in any
        format of `metamery.framework.read_weights`.
    entry
        Where in a file the weights are, such as ``model_ema``.
    revision
        Branch, tag or commit on the hub.
    num_classes
        Number of logits; by default that of the repository.
    labels
        Names of the classes.
    prompt
        Text for a class, in which ``{}`` stands for its label; by default ``a photo of a {}.``, or for sounds
        ``This is a sound of {}.``
    samples
        Length of sounds in samples; by default 2 s for networks on waveforms, the whole window of others. A Whisper
        with a shorter window has its first positions only. It differs from one that is given the sound followed by
        silence up to 30 s, as in its training: no frame attends to silence, and the average is over the sound alone.
    seed
        Seed of random weights, including those of a new last layer.

    Raises
    ------
    UnknownNameError
        The repository's kind of network is not one of `KINDS`.
    MetameryError
        The repository does not exist, cannot be read or downloaded, or comes with code of its own; its weights do not
        fit; or an option does not fit the network.
    """
    repository = Repository(name, revision)
    kind = _kind(repository)
    from_file = names_file(str(repository), weights, ["DEFAULT", "none"], entry)
    with _quietly():
        build = _Build(repository, kind, _config(repository), weights, from_file, entry, seed)
        source = Source(str(repository), build.own_config, repository.preprocessor or {}, samples)
        front_end, domain = _checked(repository, kind.entrance, source)
        network = _network(build, front_end, domain, num_classes, labels, prompt)
    network.module.eval()
    layers = _checked(repository, block_layers, network.module, domain)
    notes = _notes(repository, build, source)
    return Model(network.module, domain, layers, network.labels, network.space, notes, encoder=network.encoder)


@dataclass(frozen=True)
class _Answering:
    """A network with the labels of its logits, and their label space."""

    module: SignalNetwork
    labels: Sequence[str] | None = None
    space: str = "category"
    encoder: bool = False


@dataclass(frozen=True)
class _Build:
    """How networks of a repository are built: by their class in transformers, with the weights that were asked for."""

    repository: Repository
    kind: Kind
    config: Any
    weights: str
    from_file: bool
    entry: str | None
    seed: int
    notes: list[str] = field(default_factory=list)

    @property
    def own_config(self) -> Any:
        """The configuration of the encoder itself."""
        has_part = self.kind.part and hasattr(self.config, self.kind.part)
        return getattr(self.config, self.kind.part) if has_part else self.config

    def __call__(self, name: str, classes: int | None = None) -> tuple[nn.Module, int | None]:
        """Build a network by the name of its class, with its number of logits."""
        config = self.config if name == self.kind.whole else self.own_config
        random = partial(_random, self, name, config)
        count = config.num_labels if classes is None else classes
        if self.from_file:
            what, rename = str(self.repository), partial(self._renamed, name)
            usual = config.num_labels
            loaded = load_network(
                random, usual, self.weights, self.entry, what=what, num_classes=classes, rename=rename
            )
            self.notes.extend(loaded.notes)
            return loaded.network, loaded.classes
        if self.weights == "none":
            return random(count), count
        return self.filled(name, self._tensors(name)), count

    def filled(self, name: str, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
        """Build a network with given weights, whose names may be those of older versions of transformers."""
        network, lacking, _ = self._converted(name, tensors)
        if lacking:
            names = ", ".join(lacking[:SHOWN]) + (", …" if len(lacking) > SHOWN else "")
            raise MetameryError(
                f"the weights of {self.repository} do not fit its configuration: {len(lacking)} tensors of {name} are "
                f"missing or of another shape ({names})"
            )
        return network

    def _renamed(
        self, name: str, tensors: Mapping[str, torch.Tensor], _network: nn.Module
    ) -> Mapping[str, torch.Tensor]:
        """Give the tensors of a file the names of this version of transformers, as far as it knows theirs."""
        network, lacking, unexpected = self._converted(name, tensors)
        found = {each: tensor for each, tensor in network.state_dict().items() if each not in lacking}
        if not found.keys() & dict(network.named_parameters()).keys():
            return tensors
        return {**found, **{each: tensors[each] for each in (*lacking, *unexpected) if each in tensors}}

    def _converted(self, name: str, tensors: Mapping[str, torch.Tensor]) -> tuple[nn.Module, list[str], list[str]]:
        """Build a network from weights; return what it lacks, or has in another shape, and what it does not have."""
        config = self.config if name == self.kind.whole else self.own_config
        arguments = self.kind.arguments if name == self.kind.encoder else {}
        with seeded(self.seed):
            network, info = _checked(
                self.repository,
                _class(name).from_pretrained,
                None,
                config=copy.deepcopy(config),
                state_dict=dict(tensors),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **arguments,
            )
        lacking = [*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])]
        return network, sorted(lacking), sorted(info["unexpected_keys"])

    def _tensors(self, name: str) -> Mapping[str, torch.Tensor]:
        tensors = self.repository.weights().tensors
        if name != self.kind.encoder or not self.kind.within:
            return tensors
        inner = {each.removeprefix("model."): tensor for each, tensor in tensors.items()}
        own = {each: tensor for each, tensor in inner.items() if each.startswith(self.kind.within)}
        return {each.removeprefix(self.kind.within): tensor for each, tensor in (own or inner).items()}


def _network(
    build: _Build,
    front_end: nn.Module,
    domain: Domain,
    num_classes: int | None,
    labels: Sequence[str] | None,
    prompt: str | None,
) -> _Answering:
    """Build the network with the last layer that the repository has, or that the options ask for."""
    kind, what = build.kind, str(build.repository)
    own = next((name for name in build.repository.config.get("architectures") or () if name in _own(kind)), "")
    by_text = labels is not None and num_classes is None and bool(kind.whole) and build.config is not build.own_config
    if prompt is not None and not by_text:
        raise MetameryError(f"model '{what}': prompt names classes by text, which needs labels and a text tower")
    if by_text:
        texts = texts_of(what, class_labels(what, None, labels, 0)[1] or (), kind.prompt if prompt is None else prompt)
        whole, _ = build(kind.whole)
        head = zero_shot(whole, build.repository, texts)
        tower = build.filled(kind.encoder, whole.state_dict())
        return _Answering(SignalNetwork(front_end, tower, kind.read, head), labels)
    asked, names = (
        (None, None) if num_classes is None and labels is None else class_labels(what, num_classes, labels, 0)
    )
    letters = _letters(build.repository) if own.endswith("CTC") and asked is None else None
    if letters:
        network, _ = build(own)
        return _Answering(SignalNetwork(front_end, network, Letters([*letters.values()])), [*letters])
    usual = build.own_config.num_labels
    if own in kind.heads and not own.endswith("CTC") and (asked in (None, usual) or build.from_file):
        network, classes = build(own, asked)
        module = SignalNetwork(front_end, _shortened(network, front_end), logits)
        if classes is None:  # a file without a last layer
            return _Answering(module, encoder=True)
        return _Answering(module, names) if names or classes != usual else _labelled(build, module)
    is_bare = bool(own) and own == kind.bare
    network, _ = build(own if is_bare else kind.encoder)
    read = pooled if is_bare else kind.read
    module = SignalNetwork(front_end, _shortened(network, front_end), read)
    if asked is not None:
        with seeded(build.seed), torch.no_grad():
            module.head = nn.Linear(module.eval()(blank_signal(domain)).shape[1], asked)
    return _Answering(module, names, encoder=asked is None)


def _own(kind: Kind) -> tuple[str, ...]:
    return (*kind.heads, kind.bare) if kind.bare else tuple(kind.heads)


def _kind(repository: Repository) -> Kind:
    """Return the kind of network of a repository."""
    if "auto_map" in repository.config:
        raise MetameryError(
            f"{repository} comes with Python code of its own, which is never run; a file.py:build of yours may run it"
        )
    name = str(repository.config.get("model_type", ""))
    if name not in KINDS:
        raise unknown(f"kind of network in {repository}:", name, KINDS)
    return KINDS[name]


def _config(repository: Repository) -> Any:
    given = {name: value for name, value in repository.config.items() if name not in _LEFT_OUT}
    config = _checked(repository, transformers.AutoConfig.for_model, repository.config["model_type"], **given)
    for name, value in _RANDOM_IN_TRAINING.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def _random(build: _Build, name: str, config: Any, classes: int) -> nn.Module:
    config = copy.deepcopy(config)
    if classes != config.num_labels:
        config.num_labels = classes
    arguments = build.kind.arguments if name == build.kind.encoder else {}
    with seeded(build.seed):
        network: nn.Module = _checked(build.repository, _class(name), config, **arguments)
    return network


def _class(name: str) -> Any:
    return getattr(modeling_whisper if name == "WhisperEncoder" else transformers, name)


def _checked(repository: Repository, make: Any, *arguments: Any, **named: Any) -> Any:
    """Call something of the library with the repository's settings, which it checks while it builds from them."""
    try:
        return make(*arguments, **named)
    except MetameryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise MetameryError(
            f"{repository}: no network can be built from its settings ({type(error).__name__}: {reason})"
        ) from error


def _shortened(network: Any, front_end: nn.Module) -> Any:
    """Cut the positions of a Whisper to the number of its frames; return any other network as it is."""
    if not isinstance(front_end, WhisperLogMel):
        return network
    for part in network.modules():
        if isinstance(part, modeling_whisper.WhisperEncoder):
            count = front_end.samples // front_end.hop // (part.conv1.stride[0] * part.conv2.stride[0])
            if count < part.max_source_positions:
                weight = part.embed_positions.weight.detach()[:count].clone()
                part.embed_positions = nn.Embedding(count, weight.shape[1], _weight=weight).requires_grad_(False)
                part.max_source_positions = part.config.max_source_positions = count
    return network


def _letters(repository: Repository) -> dict[str, int]:
    """Return the numbers of the tokens that are letters, those of sound; empty if the repository does not list them."""
    tokens = repository.json("vocab.json") or {}
    if not all(isinstance(number, int) for number in tokens.values()):
        return {}
    heard = {each: number for each, number in tokens.items() if each.strip(" |") and each[0] not in "<["}
    return dict(sorted(heard.items(), key=lambda pair: pair[1]))


def _labelled(build: _Build, module: SignalNetwork) -> _Answering:
    """Return a classifier with the labels of its configuration, in torchvision's words if they are ImageNet's."""
    given = build.own_config.id2label
    labels = [str(given[number]) for number in sorted(given)]
    if all(label == f"LABEL_{number}" for number, label in enumerate(labels)):
        return _Answering(module)
    usual = imagenet_labels()
    same = [label.split(",")[0].lower() == name.lower() for label, name in zip(labels, usual, strict=False)]
    if len(labels) == len(usual) and sum(same) > 0.8 * len(usual):
        return _Answering(module, usual, IMAGENET_1K)
    return _Answering(module, labels)


def _notes(repository: Repository, build: _Build, source: Source) -> list[str]:
    notes = [*build.notes, *([f"{repository} at commit {repository.commit}"] if repository.commit else [])]
    if not source.preprocessor:
        notes.append(f"{repository} has no settings of a preprocessor: those usual for its kind are used")
    return notes


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from printing progress and reports: what matters is an error or a note here."""
    settings: Any = logging  # without types
    verbosity, bars = settings.get_verbosity(), settings.is_progress_bar_enabled()
    settings.set_verbosity_error()
    settings.disable_progress_bar()
    try:
        yield
    finally:
        settings.set_verbosity(verbosity)
        if bars:
            settings.enable_progress_bar()
