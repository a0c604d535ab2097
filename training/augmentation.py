"""Augmentations of single signals, by the names and the arguments that recipes give them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from typing import Any

import torch

from ..framework.checks import shown, wrong
from ..framework.domains import ImageDomain, WaveformDomain
from ..framework.errors import MetameryError, unknown
from ..framework.models import Model
from ..framework.resampling import resampled_length
from ..framework.running import float32_by_default
from ..framework.signals import picture, sample_rate, waveform
from ..framework.stimuli import Stimulus
from .data import Augmentation
from .mixing import MIXTURES

SIZING = ("CenterCrop", "RandomCrop", "RandomResizedCrop", "Resize")
"""Transforms that make pictures of the model's size: they see the picture as it was read, not yet scaled."""

TRANSFORMS = (
    *SIZING, "AugMix", "AutoAugment", "ColorJitter", "ElasticTransform", "GaussianBlur", "GaussianNoise", "RandAugment",
    "RandomAdjustSharpness", "RandomAffine", "RandomAutocontrast", "RandomChannelPermutation", "RandomEqualize",
    "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomPerspective",
    "RandomPhotometricDistort", "RandomPosterize", "RandomRotation", "RandomSolarize", "RandomVerticalFlip",
    "TrivialAugmentWide",
)  # fmt: skip
"""Classes of `torchvision.transforms.v2` that change a picture and not its label."""

_EIGHT_BIT = (
    *SIZING, "flip", "crop", "AutoAugment", "ColorJitter", "GaussianBlur", "RandAugment", "RandomAdjustSharpness",
    "RandomAffine", "RandomAutocontrast", "RandomChannelPermutation", "RandomEqualize", "RandomGrayscale",
    "RandomHorizontalFlip", "RandomInvert", "RandomPerspective", "RandomPosterize", "RandomRotation",
    "RandomVerticalFlip", "TrivialAugmentWide",
)  # fmt: skip
"""Transforms whose arguments mean the same for numbers of 8 bits as for those in [0, 1]."""

_IDLE = ("ColorJitter",)  # does nothing without arguments

_MAX_DRAWS = 20  # stretches of a sound that are drawn before one is known to be mostly silent


def known_augmentations() -> set[str]:
    """Return the names that are of augmentations, those of transforms that are refused among them."""
    from torchvision.transforms import v2

    return {"flip", "crop", *MIXTURES, *(name for name in dir(v2) if isinstance(getattr(v2, name), type))}


def augmentation(named: Sequence[tuple[str, dict[str, Any]]], model: Model) -> Augmentation | None:
    """Build augmentations by name and arguments, to be applied in order; those of batches are left to `mixing`.

    ``flip``: left and right are exchanged with a probability of one half. ``crop``: a random crop of a picture after
    padding by an eighth on each side, reflected; a random stretch of a sound, in place of its middle. `TRANSFORMS`:
    classes of `torchvision.transforms.v2` with their arguments; those of `SIZING` get the model's ``size``. What comes
    before the last of these is applied to the picture as it was read, the rest to the picture at the model's size.

    Raises
    ------
    UnknownNameError
        A name or an argument is unknown.
    MetameryError
        An argument is missing or wrong, a transform fails or makes pictures of another size, or the model takes sounds.
    """
    single = [(name, given) for name, given in named if name not in MIXTURES]
    if not single:
        return None
    if isinstance(model.domain, WaveformDomain):
        return _of_sounds(single, model.domain)
    last = max((index for index, (name, _) in enumerate(single) if name in SIZING), default=-1) + 1
    with torch.device("cpu"), float32_by_default():
        transforms = [_transform(name, given, model.domain) for name, given in single]
    built = Augmentation(
        _original(transforms[:last], single[:last], model.domain) if last else None,
        _fitted(transforms[last:], single[last:], model.domain) if transforms[last:] else None,
    )
    _try(built, model.domain)
    return built


def _transform(name: str, given: dict[str, Any], domain: ImageDomain) -> Any:
    from torchvision.transforms import v2

    known = ("flip", "crop", *MIXTURES, *(each for each in TRANSFORMS if hasattr(v2, each)))
    if name not in known:
        hint = "" if not hasattr(v2, name) else "; other transforms change more than the picture, or nothing"
        raise unknown("augmentation", name, known, hint)
    if name in ("flip", "crop"):
        if given:
            raise unknown(f"argument of augmentation '{name}':", next(iter(given)), ())
        eighth = (domain.width // 8, domain.height // 8)
        crop = v2.RandomCrop((domain.height, domain.width), padding=eighth, padding_mode="reflect")
        return v2.RandomHorizontalFlip() if name == "flip" else crop
    return _made(getattr(v2, name), {"size": [domain.height, domain.width], **given} if name in SIZING else given)


def _made(kind: Any, given: dict[str, Any]) -> Any:
    """Make a transform of torchvision."""
    parameters, name = inspect.signature(kind).parameters, kind.__name__
    if strange := next((key for key in given if key not in parameters), ""):
        raise unknown(f"argument of augmentation '{name}':", strange, parameters)
    needed = [key for key, own in parameters.items() if own.default is own.empty and key not in given]
    if needed or (name in _IDLE and not given):
        example = f'{{ name = "{name}", {(needed or list(parameters))[0]} = … }}'
        lack = f"needs {' and '.join(needed)}" if needed else "does nothing without arguments"
        raise MetameryError(f"augmentation '{name}' {lack}: expected {example}; it takes {', '.join(parameters)}")
    if name == "RandomResizedCrop" and "scale" in given:
        _check_scale(given["scale"])
    values = {key: _value(name, key, value, parameters[key].default) for key, value in given.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torchvision warns of bounds in the wrong order
            return kind(**values)
    except (TypeError, ValueError, RuntimeError, Warning) as error:
        written = ", ".join(f"{key} = {shown(value)}" for key, value in given.items())
        raise MetameryError(f"augmentation '{name}' with {written}: {' '.join(str(error).split())}") from error


def _check_scale(scale: Any) -> None:
    """Raise `MetameryError` for parts of a picture of which there are none: torchvision crops its middle then."""
    try:
        low, high = scale
        is_right = 0 < low <= high <= 1
    except (TypeError, ValueError):
        is_right = False
    if not is_right:
        raise wrong("scale of augmentation 'RandomResizedCrop'", scale, "two parts of a picture, 0 < a ≤ b ≤ 1")


def _value(name: str, key: str, value: Any, default: Any) -> Any:
    """Return an argument; text stands for a member of an enumeration, such as ``bicubic``."""
    if not (isinstance(default, Enum) and isinstance(value, str)):
        return value
    try:
        return type(default)(value)
    except ValueError:
        raise unknown(f"{key} of augmentation '{name}':", value, [str(each.value) for each in type(default)]) from None


def _applied(
    transforms: Sequence[Any], named: Sequence[tuple[str, Any]], domain: ImageDomain
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function of pictures, in [0, 1] or 8 bits, that checks what comes out."""
    names = [name for name, _ in named]
    wide = [name not in _EIGHT_BIT or bool(given.get("fill")) for name, given in named]

    def apply(signal: torch.Tensor) -> torch.Tensor:
        changed = signal
        try:
            with _defaults():
                for transform, is_wide in zip(transforms, wide, strict=True):
                    if is_wide and changed.dtype == torch.uint8:
                        changed = changed.float() / 255
                    changed = transform(changed)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise MetameryError(f"augment = {names} fails on pictures of {_size(signal)}: {reason}") from error
        if changed.shape != domain.shape:
            expected = f"the model takes {_size(domain)}"
            raise MetameryError(f"augment = {names} makes pictures of {_size(changed)}, and {expected}")
        return changed if changed.dtype == torch.uint8 else changed.clamp(0, 1)

    return apply


@contextmanager
def _defaults() -> Iterator[None]:
    """Make what transforms draw float32 and on the CPU; a context of PyTorch is entered only where it has an effect."""
    if torch.get_default_dtype() == torch.float32 and torch.get_default_device().type == "cpu":
        yield
        return
    with torch.device("cpu"), float32_by_default():
        yield


def _size(of: Any) -> str:
    return " × ".join(map(str, of.shape))


def _original(
    transforms: Sequence[Any], named: Sequence[tuple[str, Any]], domain: ImageDomain
) -> Callable[[Stimulus], Stimulus]:
    apply = _applied(transforms, named, domain)

    def augment(stimulus: Stimulus) -> Stimulus:
        values = stimulus.signal
        if values.dtype != torch.uint8 or len(values) not in (1, domain.channels):
            values = picture(stimulus, domain.channels)
        return replace(stimulus, signal=apply(values.expand(domain.channels, -1, -1)))

    return augment


def _fitted(
    transforms: Sequence[Any], named: Sequence[tuple[str, Any]], domain: ImageDomain
) -> Callable[[torch.Tensor], torch.Tensor]:
    apply, (low, high) = _applied(transforms, named, domain), (domain.low, domain.high)

    def augment(signal: torch.Tensor) -> torch.Tensor:
        if signal.dtype != torch.uint8 and (low, high) != (0, 1):
            signal = (signal - low) / (high - low)
        changed = apply(signal)
        is_scaled = changed.dtype == torch.uint8 or (low, high) == (0, 1)
        return changed if is_scaled else (low + (high - low) * changed).clamp(low, high)

    return augment


def _try(built: Augmentation, domain: ImageDomain) -> None:
    """Augment a grey picture that is larger than the model's, so that a wrong argument is found at once."""
    grey = torch.full((domain.channels, domain.height * 3 // 2, domain.width * 3 // 2), 0.5, device="cpu")
    with torch.random.fork_rng(devices=[]):
        built(Stimulus(grey), domain)


def _of_sounds(named: Sequence[tuple[str, dict[str, Any]]], domain: WaveformDomain) -> Augmentation:
    for name, given in named:
        if name != "crop":
            raise MetameryError(
                f"augmentation '{name}' is for pictures, and the model takes sounds: expected crop, mixup, or a "
                "perturbation such as audio:background"
            )
        if given:
            raise unknown("argument of augmentation 'crop':", next(iter(given)), ())
    return Augmentation(lambda stimulus: _stretch(stimulus, domain), None)


def _stretch(stimulus: Stimulus, domain: WaveformDomain) -> Stimulus:
    """Cut a random stretch that is as long as the domain's signals; a silent one is drawn again."""
    rate = sample_rate(stimulus, domain.sample_rate)
    sound = waveform(stimulus, domain.full_scale, level_is_set=domain.rms is not None)
    length = resampled_length(domain.samples, domain.sample_rate, rate)
    for _ in range(_MAX_DRAWS):
        first = int(torch.randint(max(len(sound) - length, 0) + 1, (), device="cpu"))
        stretch = sound[first : first + length]
        if bool((stretch != stretch[0]).any()):
            break
    return replace(stimulus, signal=stretch)
