"""Adapter for the attacks of torchattacks: gives them the input they expect, and restores the state that they change.

torchattacks 3.5.1 takes images in [0, 1] only (it clamps anything else silently), switches every module to eval
and then to train mode, leaves the model in eval mode if it raises, draws from the global generators, and seeds some
attacks with 0 or with the clock.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torchattacks
from torch import nn

from ...analysis.attacks.balls import check_epsilon, check_signals, class_indices
from ...framework.checks import number
from ...framework.errors import MetameryError, unknown
from ...framework.protocols import Perturbable, Perturbation
from ...framework.running import frozen

_LENGTHS = {"alpha", "eps", "max_epsilon", "noise_sd"}
_LENGTHS_OF = {"EADEN": {"beta"}, "EADL1": {"beta"}, "GN": {"std"}, "JSMA": {"theta"}, "SPSA": {"delta", "lr"}}
_SHORT = {"epsilon": ("eps", "max_epsilon"), "step_size": ("alpha",)}
_OURS = ("self", "model", "seed", "verbose")
_MAX_TARGETS = 9


def torchattack_names() -> list[str]:
    """Return the names of all attacks; torchattacks' wrappers of other attacks are left out."""
    return sorted(set(torchattacks.__all__) - set(torchattacks.__wrapper__))


def torchattack(name: str, **options: Any) -> Perturbation:
    """Build an attack of torchattacks.

    Images keep their shape, and waveforms ``(B, T)`` are passed as pictures ``(B, 1, 1, T)``, with which attacks that
    work in two dimensions fail; the range is mapped to [0, 1]. The generator seeds all of the attack's randomness.

    Parameters
    ----------
    name
        Name as in torchattacks, such as ``PGD``.
    **options
        Options as in torchattacks, except that lengths (``eps``, ``alpha``, ``max_epsilon``, ``noise_sd``; ``std`` of
        GN, ``delta`` and ``lr`` of SPSA, ``theta`` of JSMA, ``beta`` of EADEN and EADL1) are in the signals' units.
        Defaults are torchattacks', as fractions of the range. ``epsilon`` and ``step_size`` are aliases of ``eps`` (or
        ``max_epsilon``) and ``alpha``; ``seed`` and ``verbose`` cannot be set. Where an attack takes ``n_classes``, the
        default is the model's number of classes, at most 10, so that 9 targets are tried as in the authors' program.
        AutoAttack also takes ``steps``, of APGD, targeted APGD and FAB: 100 by default, the authors' setting;
        torchattacks' own is 10.

    Raises
    ------
    UnknownNameError
        The attack or an option is unknown.
    MetameryError
        A length is negative; or, when it is run, the signals or `epsilon` are out of the model's range, or the attack
        fails.
    """
    if name not in (names := torchattack_names()):
        raise unknown("attack of torchattacks", name, names)
    kind = getattr(torchattacks, name)
    defaults = _defaults(kind)
    settings = _renamed(name, options, defaults)
    lengths = _LENGTHS | _LENGTHS_OF.get(name, set())
    for option, value in settings.items():
        if option in lengths:
            number(option, value, 0)
    norm = str(settings.get("norm", defaults.get("norm", "L2" if name.endswith("L2") else "Linf"))).lower()

    def perturb(
        model: Perturbable, signals: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        domain = model.domain
        check_signals(signals, domain)
        labels = class_indices(labels, signals)
        for option in ("eps", "max_epsilon"):
            if option in settings:
                check_epsilon(settings[option], norm, signals, domain)
                if settings[option] == 0:
                    return signals.detach().clone()
        span = domain.high - domain.low
        scaled = {option: value / span if option in lengths else value for option, value in settings.items()}
        with torch.inference_mode(False), torch.enable_grad():
            given = signals.detach().clone()
            adapted = _ImageNetwork(model.module, given, domain.low, span)
            images = adapted.images(given)
            with frozen(adapted), _seeded(generator) as seed, warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torchattacks\.")
                try:
                    attack = _build(kind, adapted, images, defaults, scaled, seed)
                    attacked = attack(images, labels.detach().clone())
                except Exception as error:
                    raise MetameryError(
                        f"torchattacks/{name} failed on signals {tuple(signals.shape)}: {type(error).__name__}: {error}"
                    ) from error
            # The difference is mapped back, so that unchanged samples stay bit-identical.
            moved = given + (attacked.detach() - images).reshape(given.shape).to(given) * span
        if not bool(moved.isfinite().all()):
            raise MetameryError(f"torchattacks/{name} returned values that are not finite")
        result: torch.Tensor = moved.clamp_(domain.low, domain.high)
        return result

    return perturb


class _ImageNetwork(nn.Module):
    """The network as torchattacks expects it: from images in [0, 1] to logits, its first parameter on the device."""

    def __init__(self, module: nn.Module, signals: torch.Tensor, low: float, span: float) -> None:
        super().__init__()
        self.on_device = nn.Parameter(signals.new_empty(0), requires_grad=False)
        self.module = module
        self.shape = signals.shape[1:]
        self.low, self.span = low, span

    def images(self, signals: torch.Tensor) -> torch.Tensor:
        scaled = (signals - self.low) / self.span
        return scaled.clamp(0, 1) if signals.ndim == 4 else scaled.clamp(0, 1).reshape(len(signals), 1, 1, -1)

    def forward(self, images: torch.Tensor) -> Any:
        return self.module(images.reshape(len(images), *self.shape) * self.span + self.low)


def _build(
    kind: type,
    adapted: _ImageNetwork,
    images: torch.Tensor,
    defaults: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
) -> Any:
    settings = dict(settings)
    steps = settings.pop("steps", 100) if kind is torchattacks.AutoAttack else None
    if "seed" in defaults:
        settings["seed"] = seed
    if "n_classes" in defaults and "n_classes" not in settings:
        with torch.no_grad():
            classes = adapted(images[:1]).shape[1]
        settings["n_classes"] = min(classes, _MAX_TARGETS + 1)
    attack = kind(adapted, **settings)
    if steps is not None:
        for part in attack._autoattack.attacks:
            if hasattr(part, "steps"):
                part.steps = steps
    return attack


def _defaults(kind: type) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    return {name: parameter.default for name, parameter in parameters.items() if name not in ("self", "model")}


def _renamed(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options under torchattacks' names."""
    known = [option for option in defaults if option not in _OURS]
    if name == "AutoAttack":
        known.append("steps")
    aliases = {short: long for short, longs in _SHORT.items() for long in longs if long in known}
    settings: dict[str, Any] = {}
    for option, value in options.items():
        if option not in known and option not in aliases:
            raise unknown(f"option of perturbation 'torchattacks/{name}':", option, [*known, *aliases])
        long = aliases.get(option, option)
        if long in settings:
            raise MetameryError(f"perturbation 'torchattacks/{name}' is given '{long}' twice, under two names")
        settings[long] = value
    return settings


@contextmanager
def _seeded(generator: torch.Generator) -> Iterator[int]:
    """Seed the global generators from this one, and restore them afterwards."""
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            np.random.seed(seed)
            yield seed
    finally:
        np.random.set_state(state)
