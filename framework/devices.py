"""Devices by name."""

from __future__ import annotations

import torch

from .errors import MetameryError


def resolve_device(name: str) -> torch.device:
    """Return the device that a name asks for; ``auto`` takes an accelerator where there is one.

    Raises
    ------
    MetameryError
        The name is no device, or there is none of that kind here.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise MetameryError(f"no device '{name}' here; expected auto, cpu, cuda, cuda:N or mps ({reason})") from None
    return device
