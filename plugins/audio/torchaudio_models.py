"""torchaudio's pretrained speech networks (wav2vec 2.0, HuBERT, WavLM, XLS-R), by torchaudio's own names."""

from __future__ import annotations

from collections.abc import Sequence
from pickle import UnpicklingError

import torch
import torchaudio
from torch import nn
from torch.nn import functional as F
from torchaudio.models import Wav2Vec2Model, wav2vec2_model, wavlm_model
from torchaudio.pipelines import Wav2Vec2ASRBundle, Wav2Vec2Bundle

from ...framework.class_labels import check_number, class_labels
from ...framework.domains import WaveformDomain
from ...framework.errors import MetameryError, unknown
from ...framework.models import Model
from ...framework.seeding import seeded
from ...framework.weight_files import read_weights
from ...framework.weights import load_network, names_file

WEIGHTS = ("DEFAULT", "none")

_FACTORIES = {"Wav2Vec2": wav2vec2_model, "WavLM": wavlm_model}

_SILENT = ("-", "|")
"""Tokens that stand for no sound: the blank, and the end of a word. They are the first tokens."""


class SpeechNetwork(nn.Module):
    """A torchaudio network that returns one row for each sound, ``(B, T) -> (B, classes)``.

    Its modules keep their paths, and so its weights their names.

    Parameters
    ----------
    network
        Network whose `feature_extractor` and `encoder` give hidden states ``(B, frames, width)``; its `aux`, if any,
        maps them to logits of tokens.
    standardise
        Whether each sound is first scaled to a mean of 0 and a variance of 1. torchaudio does so over a whole batch,
        which is the same for a batch of one.
    silent
        Number of tokens that stand for no sound; they are the first ones.
    classify
        Layer used instead of tokens: from the time average of the hidden states ``(B, width)`` to logits.
    """

    def __init__(self, network: Wav2Vec2Model, standardise: bool, silent: int, classify: nn.Linear | None) -> None:
        super().__init__()
        self.feature_extractor = network.feature_extractor
        self.encoder = network.encoder
        self.aux = network.aux if classify is None else None
        self.classify = classify
        self.standardise = standardise
        self.silent = silent

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        if self.standardise:
            signals = F.layer_norm(signals, signals.shape[1:])
        features, _ = self.feature_extractor(signals, None)
        hidden: torch.Tensor = self.encoder(features)  # (B, frames, width)
        if self.aux is not None:
            tokens: torch.Tensor = self.aux(hidden).log_softmax(dim=2)
            return tokens[:, :, self.silent :].logsumexp(dim=1)
        average = hidden.mean(dim=1)
        return average if self.classify is None else self.classify(average)


def torchaudio_model_names() -> list[str]:
    """Return the names of all speech networks among torchaudio's pipelines."""
    return [name for name in torchaudio.pipelines.__all__ if isinstance(_pipeline(name), Wav2Vec2Bundle)]


def torchaudio_model(
    name: str,
    *,
    weights: str = "DEFAULT",
    entry: str | None = None,
    samples: int | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Model:
    """Build a network, in eval mode, for sounds ``(B, samples)`` in [−1, 1] at 16 kHz.

    Its layers are the convolutions ``feature_extractor.conv_layers.N[0]`` ``(B, channels, frames)``, the transformer's
    ``encoder.transformer.layers.N[0]`` ``(B, frames, width)``, ``aux``, the logits of tokens ``(B, frames, tokens)``,
    where the network transcribes speech, and ``output``. None ends in a ReLU, so the modified ReLU does not apply.

    What it returns for each sound depends on the network:

    - one that transcribes speech (``…_ASR_…``, ``MMS_FA``): for each letter, the logarithm of its probability summed
      over frames. A letter takes about one frame, by the way such networks are trained (CTC, Graves et al. 2006), so
      this measures how often each occurs; the softmax is its share of all letters. The labels are the letters.
    - any other: the time average of the last hidden states. These are not classes, and there are no labels.
    - any, with `num_classes` or `labels`: logits of a new, random linear layer on that average, to be trained.

    Parameters
    ----------
    name
        Name as in torchaudio, such as ``WAV2VEC2_BASE``.
    weights
        ``DEFAULT``, or ``none`` for random ones. They are downloaded once, to torch's cache, and read as tensors only:
        a file that holds anything else is refused. The licence is CC BY-NC 4.0 for ``VOXPOPULI_…`` and ``MMS_FA``, MIT
        for all others. Or a file of weights, in any format of `metamery.framework.read_weights`, with torchaudio's
        names or those of a network that metamery trained.
    entry
        Where in a file the weights are, such as ``model_ema``.
    samples
        Length of the sounds in samples; by default 2 s.
    num_classes
        Number of logits of a new last layer; by default that of the labels, if given, or of such a layer in the file.
    labels
        Names of the classes.
    seed
        Seed of random weights, including those of a new last layer.

    Raises
    ------
    UnknownNameError
        The network or its weights are unknown.
    MetameryError
        The weights cannot be downloaded, the file is not one of this network's weights, the sounds are too short for a
        single frame, the number of labels differs from that of the classes, or `num_classes` is below 1.
    """
    if name not in (names := torchaudio_model_names()):
        spelt = name.upper().replace("-", "_")
        raise unknown("torchaudio network", name, names, f"; its spelling is {spelt}" if spelt in names else "")
    full = f"torchaudio/{name}"
    from_file = names_file(full, weights, WEIGHTS, entry)
    bundle = _pipeline(name)
    config = bundle._params
    if samples is None:
        samples = 2 * int(bundle.sample_rate)
    check_number(full, "samples", samples, least=_shortest(config["extractor_conv_layer_config"]))
    count, answers = 0, None
    if num_classes is not None or labels is not None:
        count, answers = class_labels(full, num_classes, labels, default=0)
    state = _download(full, bundle) if weights == "DEFAULT" else None
    usual = count or (_classified(weights, entry) if from_file else 0)
    tokens = bundle.get_labels()[: config["aux_num_out"]] if isinstance(bundle, Wav2Vec2ASRBundle) and not usual else ()
    silent = sum(token in _SILENT for token in tokens)

    def build(classes: int) -> SpeechNetwork:
        network = _FACTORIES[bundle._model_type](**config)
        if state is not None:
            _load(full, network, state)
        classify = nn.Linear(config["encoder_embed_dim"], classes) if usual else None
        return SpeechNetwork(network, bundle._normalize_waveform, silent, classify)

    module: nn.Module
    notes: tuple[str, ...] = ()
    with seeded(seed):
        if from_file:
            loaded = load_network(build, usual, weights, entry, what=full, num_classes=count or None)
            module, notes = loaded.network, loaded.notes
        else:
            module = build(count)
    assert isinstance(module, SpeechNetwork)
    if tokens:
        answers = tokens[silent:]
    domain = WaveformDomain(samples, int(bundle.sample_rate))
    encoder = module.classify is None and module.aux is None
    return Model(module.eval(), domain, _layers(module), answers, notes=notes, encoder=encoder)


def _classified(path: str, entry: str | None) -> int:
    """Return the number of classes of the last layer that a network trained by metamery has in a file; 0 without."""
    tensors = read_weights(path, entry).tensors
    return next((len(tensor) for name, tensor in tensors.items() if name.endswith("classify.weight")), 0)


def _pipeline(name: str) -> Wav2Vec2Bundle:
    return getattr(torchaudio.pipelines, name)


def _shortest(convolutions: Sequence[tuple[int, int, int]]) -> int:
    """Return the number of samples of one frame, for convolutions of (channels, kernel, stride)."""
    samples = 1
    for _, kernel, stride in reversed(convolutions):
        samples = (samples - 1) * stride + kernel
    return samples


def _layers(module: SpeechNetwork) -> tuple[str, ...]:
    convolutions = (f"feature_extractor.conv_layers.{at}[0]" for at in range(len(module.feature_extractor.conv_layers)))
    blocks = (f"encoder.transformer.layers.{at}[0]" for at in range(len(module.encoder.transformer.layers)))
    return (*convolutions, *blocks, *(("aux",) if module.aux is not None else ()), "output")


def _download(full: str, bundle: Wav2Vec2Bundle) -> dict[str, torch.Tensor]:
    """Fetch the file into torch's cache and read it; `Wav2Vec2Bundle.get_model` would unpickle any content."""
    try:
        state: dict[str, torch.Tensor] = bundle._get_state_dict({"map_location": "cpu", "weights_only": True})
        return state
    except OSError as error:
        raise MetameryError(
            f"the weights of {full} could not be downloaded ({error}); weights=none gives a random network"
        ) from error
    except (RuntimeError, UnpicklingError, KeyError) as error:  # not a file of torch, or something other than tensors
        raise _damaged(full, error) from error


def _load(full: str, network: nn.Module, state: dict[str, torch.Tensor]) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise _damaged(full, error) from error


def _damaged(full: str, error: Exception) -> MetameryError:
    return MetameryError(f"the file of weights of {full} is damaged: {str(error).splitlines()[0]}")
