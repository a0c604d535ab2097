"""PyTorch's global switches, kept as they are while code of a plugin or of the user is imported or called.

A switch that a plugin sets, such as the precision of products of matrices, would change the results of everything
else. Nothing here imports PyTorch: where it is not imported yet, there is no switch to keep.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

_CUDNN = ("enabled", "benchmark", "deterministic")
_REDUCED = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
"""Operations that can compute in less than float32. The older switches, such as ``cudnn.allow_tf32``, set these."""


@contextmanager
def kept(owner: str, *, generator: bool) -> Iterator[None]:
    """Restore the switches that are changed inside, with a warning that names them and their `owner`.

    Parameters
    ----------
    owner
        Whose code it is, such as ``plugin 'mine'``.
    generator
        Whether the state of the global random generator is restored, too. A factory may draw from it.
    """
    is_imported = "torch" in sys.modules
    before = _values() if is_imported else {}
    seed = _generator() if is_imported and generator else None
    try:
        yield
    finally:
        if "torch" in sys.modules:
            _restore(owner, before if is_imported else _defaults(), seed)


def _restore(owner: str, before: Mapping[str, Any], seed: tuple[int, Any] | None) -> None:
    import torch

    now = _values()
    changed = [name for name, value in before.items() if now[name] != value]
    for name in changed:
        _set(name, before[name])
    told = [f"{name} = {now[name]}" for name in changed]
    if seed is not None:
        if torch.initial_seed() != seed[0]:
            told.append(f"manual_seed = {torch.initial_seed()}")
        torch.set_rng_state(seed[1])
    if told:
        warnings.warn(
            f"{owner} sets PyTorch's {', '.join(told)}; this is undone: it would change results", stacklevel=4
        )


def _generator() -> tuple[int, Any]:
    import torch

    return torch.initial_seed(), torch.get_rng_state()


def _values() -> dict[str, Any]:
    import torch

    return {
        "default_dtype": torch.get_default_dtype(),
        "default_device": str(torch.get_default_device()),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "grad_enabled": torch.is_grad_enabled(),
        "num_threads": torch.get_num_threads(),
        "mkldnn.enabled": torch.backends.mkldnn.enabled,
        **{f"cudnn.{name}": getattr(torch.backends.cudnn, name) for name in _CUDNN},
        **{f"{operation}.fp32_precision": _within(operation).fp32_precision for operation in _REDUCED},
    }


def _within(path: str) -> Any:
    """Return a part of `torch.backends`."""
    import torch

    return attrgetter(path)(torch.backends)


def _set(name: str, value: Any) -> None:
    import torch

    if "." in name:
        backend, _, switch = name.rpartition(".")
        setattr(_within(backend), switch, value)
    elif name == "deterministic_algorithms":
        torch.use_deterministic_algorithms(value)
    elif name == "default_device":
        torch.set_default_device(None if value == "cpu" else value)
    else:
        getattr(torch, f"set_{name}")(value)


def _defaults() -> dict[str, Any]:
    """The values after PyTorch's import; the number of threads depends on the machine."""
    import torch

    return {
        "default_dtype": torch.float32,
        "default_device": "cpu",
        "deterministic_algorithms": False,
        "grad_enabled": True,
        "mkldnn.enabled": True,
        "cudnn.enabled": True,
        "cudnn.benchmark": False,
        "cudnn.deterministic": False,
        **{f"{operation}.fp32_precision": "none" for operation in _REDUCED},
        **{f"cudnn.{operation}.fp32_precision": "tf32" for operation in ("conv", "rnn")},
    }
