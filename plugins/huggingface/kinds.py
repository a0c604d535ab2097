"""The kinds of networks that are taken from Hugging Face, and how signals enter each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...framework.class_labels import check_number
from ...framework.domains import Domain, ImageDomain, WaveformDomain
from ...framework.errors import MetameryError
from ...framework.normalisation import Normalise
from .front_ends import ClapMel, KaldiBank, Standardise, WhisperLogMel, kaldi_window
from .network import average, embedding, first_token, pooled
from .texts import PROMPT

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and standard deviation of the channels, of repositories that state none."""


@dataclass(frozen=True)
class Source:
    """What a front end is made from.

    Parameters
    ----------
    what
        Name of the network, for messages.
    config
        Configuration of the network, as an object of transformers.
    preprocessor
        Settings of the preprocessor; empty if the repository has none.
    samples
        Length of the sounds that was asked for.
    """

    what: str
    config: Any
    preprocessor: Mapping[str, Any]
    samples: int | None

    def setting(self, name: str, default: Any) -> Any:
        """Return a setting of the preprocessor."""
        value = self.preprocessor.get(name)
        return default if value is None else value

    def length(self, default: int, least: int, most: int | None = None) -> int:
        """Return the length of the sounds, within bounds."""
        samples = default if self.samples is None else self.samples
        check_number(self.what, "samples", samples, least)
        if most is not None and samples > most:
            raise MetameryError(f"model '{self.what}': samples is {samples}, expected at most {most}")
        return samples


Entrance = Callable[[Source], tuple[nn.Module, Domain]]
"""Makes the front end of a network, and the domain of its signals."""


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Parameters
    ----------
    encoder
        Class of transformers without a last layer.
    entrance
        Makes its front end.
    read
        Takes the features out of the encoder's result.
    heads
        Classes with a last layer of their own; used where the repository is of one of them.
    arguments
        Arguments of the encoder besides its configuration.
    part
        Part of the configuration that describes the encoder, in repositories with a text tower, too.
    bare
        Class of the encoder without a projection, whose features are those that it pools; used as `heads` are.
    whole
        Class with the text tower.
    prompt
        Text that names a class, for its classes by name.
    within
        Prefix of the encoder's weights, where the repository holds more than that.
    """

    encoder: str
    entrance: Entrance
    read: Callable[[Any], torch.Tensor]
    heads: Sequence[str] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    bare: str = ""
    whole: str = ""
    prompt: str = PROMPT
    within: str = ""


def pictures(normalisation: tuple[Sequence[float], Sequence[float]]) -> Entrance:
    """Return what makes the front end of a network of pictures: their normalisation, from the preprocessor."""

    def entrance(source: Source) -> tuple[nn.Module, Domain]:
        if source.samples is not None:
            raise MetameryError(f"model '{source.what}': samples is {source.samples}, but it takes pictures")
        height, width = _size(source)
        full = 255 * float(source.setting("rescale_factor", 1 / 255)) if source.setting("do_rescale", True) else 255.0
        mean, std = normalisation
        if source.preprocessor:
            mean, std = source.setting("image_mean", mean), source.setting("image_std", std)
            if not source.setting("do_normalize", True):
                mean, std = (0.0,) * len(mean), (1.0,) * len(std)
        channels = getattr(source.config, "num_channels", 3)
        if channels != len(mean):
            raise MetameryError(f"{source.what} takes {channels} channels, and its normalisation has {len(mean)}")
        scaled = Normalise([each / full for each in mean], [each / full for each in std])
        return scaled, ImageDomain(channels, height, width)

    return entrance


def _size(source: Source) -> tuple[int, int]:
    """Return height and width of the pictures: of the preprocessor's crop, else of its size, else the network's own."""
    crop = source.setting("crop_size", None) if source.setting("do_center_crop", True) else None
    size = crop or source.setting("size", None) or getattr(source.config, "image_size", None) or 224
    if isinstance(size, Mapping):
        side = size.get("shortest_edge", getattr(source.config, "image_size", None))
        size = (size.get("height", side), size.get("width", side))
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def speech(source: Source) -> tuple[nn.Module, Domain]:
    """Make the front end of wav2vec 2.0 and its kin: standardised waveforms, 2 s by default."""
    rate = int(source.setting("sampling_rate", 16000))
    least = 1
    for kernel, stride in zip(source.config.conv_kernel[::-1], source.config.conv_stride[::-1], strict=True):
        least = (least - 1) * stride + kernel
    samples = source.length(2 * rate, least)
    standardised = source.setting("do_normalize", True)
    return Standardise(samples) if standardised else nn.Identity(), WaveformDomain(samples, rate)


def whisper(source: Source) -> tuple[nn.Module, Domain]:
    """Make Whisper's front end, for its whole window by default or a shorter one."""
    rate, hop = int(source.setting("sampling_rate", 16000)), int(source.setting("hop_length", 160))
    step = 2 * hop  # its second convolution leaves out every other frame
    most = source.config.max_source_positions * step
    samples = source.length(most, step, most)
    if samples % step:
        raise MetameryError(f"model '{source.what}': samples is {samples}, expected a multiple of {step}")
    size = int(source.setting("n_fft", 400))
    if samples <= size // 2:
        raise MetameryError(f"model '{source.what}': samples is {samples}, expected more than {size // 2}")
    return WhisperLogMel(samples, rate, source.config.num_mel_bins, size, hop), WaveformDomain(samples, rate)


def ast(source: Source) -> tuple[nn.Module, Domain]:
    """Make the front end of the Audio Spectrogram Transformer, for the samples that its frames cover by default."""
    rate = int(source.setting("sampling_rate", 16000))
    size, hop = kaldi_window(rate)
    frames = source.config.max_length
    samples = source.length(size + (frames - 1) * hop, size)
    mean, std = source.setting("mean", -4.2677393), source.setting("std", 4.5689974)
    if not source.setting("do_normalize", True):
        mean, std = 0.0, 0.5
    return KaldiBank(samples, frames, rate, source.config.num_mel_bins, mean, std), WaveformDomain(samples, rate)


def clap(source: Source) -> tuple[nn.Module, Domain]:
    """Make CLAP's front end, for its whole window by default."""
    rate = int(source.setting("sampling_rate", 48000))
    full = int(source.setting("max_length_s", 10) * rate)
    size, hop = int(source.setting("fft_window_size", 1024)), int(source.setting("hop_length", 480))
    samples = source.length(full, size, full)
    mel = ClapMel(
        samples,
        full,
        rate,
        source.config.num_mel_bins,
        size,
        hop,
        float(source.setting("frequency_min", 50)),
        float(source.setting("frequency_max", 14000)),
        slaney=source.setting("truncation", "fusion" if source.config.enable_fusion else "rand_trunc") != "fusion",
        repeat=source.setting("padding", "repeatpad"),
    )
    return mel, WaveformDomain(samples, rate)


def _classified(encoder: str, name: str, *more: str) -> tuple[str, ...]:
    return (f"{encoder}For{name}", *(f"{encoder}For{each}" for each in more))


def _pictures(encoder: str, read: Callable[[Any], torch.Tensor], normalisation: Any = IMAGENET, **more: Any) -> Kind:
    heads = _classified(encoder, "ImageClassification")
    return Kind(f"{encoder}Model", pictures(normalisation), read, heads, **more)


def _speech(encoder: str) -> Kind:
    return Kind(f"{encoder}Model", speech, average, _classified(encoder, "SequenceClassification", "CTC"))


_CLIP = Kind(
    "CLIPVisionModelWithProjection",
    pictures(CLIP),
    embedding,
    part="vision_config",
    bare="CLIPVisionModel",
    whole="CLIPModel",
)
_SIGLIP = Kind("SiglipVisionModel", pictures(HALF), pooled, part="vision_config", whole="SiglipModel")
_CLAP = Kind(
    "ClapAudioModelWithProjection",
    clap,
    embedding,
    part="audio_config",
    bare="ClapAudioModel",
    whole="ClapModel",
    prompt="This is a sound of {}.",
)
_UNPOOLED = {"add_pooling_layer": False}

KINDS: Mapping[str, Kind] = {
    "vit": _pictures("ViT", first_token, HALF, arguments=_UNPOOLED),
    "deit": Kind(
        "DeiTModel",
        pictures(IMAGENET),
        first_token,
        _classified("DeiT", "ImageClassification", "ImageClassificationWithTeacher"),
        _UNPOOLED,
    ),
    "swin": _pictures("Swin", pooled),
    "swinv2": _pictures("Swinv2", pooled),
    "convnext": _pictures("ConvNext", pooled),
    "convnextv2": _pictures("ConvNextV2", pooled),
    "dinov2": _pictures("Dinov2", pooled),
    "dinov2_with_registers": _pictures("Dinov2WithRegisters", pooled),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "audio-spectrogram-transformer": Kind("ASTModel", ast, pooled, _classified("AST", "AudioClassification")),
    "wav2vec2": _speech("Wav2Vec2"),
    "hubert": _speech("Hubert"),
    "wavlm": _speech("WavLM"),
    "whisper": Kind(
        "WhisperEncoder", whisper, average, _classified("Whisper", "AudioClassification"), within="encoder."
    ),
    "clap": _CLAP,
    "clap_audio_model": _CLAP,
}
"""Each kind by its name in transformers, ``model_type`` of a configuration."""
