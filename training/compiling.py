"""A network whose passes in a training are compiled by `torch.compile`, checked against the network as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from ..framework.errors import MetameryError
from ..framework.models import Model
from ..framework.recipes import Recipe
from .weight_perturbation import unchanged_buffers

RTOL = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Largest difference between the logits of a compiled pass and of the network's own, and between their gradients with
respect to the weights, relative to the length of either, by the precision of the passes."""


def compile_network(model: Model, recipe: Recipe, signals: int, fabric: Fabric) -> nn.Module:
    """Compile a network's passes forward and back, and compare them with its own.

    Parameters
    ----------
    model
        The network, in training mode; it is moved to the device.
    recipe
        The recipe of the training.
    signals
        Number of signals of a pass.
    fabric
        Device and precision.

    Returns
    -------
    torch.nn.Module
        The compiled network; its weights are the network's own.

    Raises
    ------
    MetameryError
        It cannot be compiled, or does not compute the same then.
    """
    if recipe.layer:
        raise MetameryError(
            f"the perturbation of layer '{recipe.layer}' works inside the network, which is compiled as a whole: "
            "expected compiled = false"
        )
    fabric.to_device(model.module)
    domain = model.domain
    generator = torch.Generator().manual_seed(0)
    given = torch.rand(signals, *domain.shape, generator=generator, device=generator.device)
    given = (domain.low + (domain.high - domain.low) * given).to(fabric.device)
    expected = _pass(model.module, model.module, given, fabric)
    try:
        options: Any = {"deterministic": True, "fallback_random": True}  # draws as the network itself does
        network: Any = torch.compile(model.module, fullgraph=True, dynamic=False, options=options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own, which a caller may have made errors
            found = _pass(network, model.module, given, fabric)
    except Exception as error:  # from the network or the compiler, or there is no compiler
        reason = str(getattr(error, "inner_exception", error)).strip().splitlines() or [type(error).__name__]
        raise MetameryError(f"the network cannot be compiled ({reason[0]}): expected compiled = false") from None
    for what, one, other in zip(("logits", "gradients"), expected, found, strict=True):
        if not float((one - other).norm()) <= RTOL[_precision(fabric)] * float(one.norm()):
            raise MetameryError(f"compiled, the network gives other {what}: expected compiled = false")
    compiled: nn.Module = network
    return compiled


def _pass(
    network: Callable[[torch.Tensor], torch.Tensor], module: nn.Module, signals: torch.Tensor, fabric: Fabric
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits, and the gradients of a fixed function of them; random layers draw the same each time."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with unchanged_buffers(module), torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        with fabric.autocast():
            logits = network(signals)
        pulled = torch.linspace(-1, 1, logits.numel(), device=logits.device).view_as(logits)
        gradients = torch.autograd.grad((logits.float() * pulled).sum(), weights, allow_unused=True)
    taken = [gradient.flatten() for gradient in gradients if gradient is not None]
    return logits.detach().float(), torch.cat(taken).float()


def _precision(fabric: Fabric) -> torch.dtype:
    with fabric.autocast():
        device = fabric.device.type
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
