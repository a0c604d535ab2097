"""Several processes as one: the same data and network in all, and batch normalisation over the signals of all."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..framework.errors import MetameryError


def agree(what: str, seen: str, expected: str, fabric: Fabric) -> None:
    """Compare what the processes see; where it differs, all of them end, as otherwise they would wait for each other.

    Raises
    ------
    MetameryError
        A process sees something else than the first: `what` it is, and what is `expected`.
    """
    if fabric.world_size == 1:
        return
    mark = hashlib.sha256(seen.encode()).digest()
    differs = torch.zeros(fabric.world_size, dtype=torch.int32, device=fabric.device)
    differs[fabric.global_rank] = mark != fabric.broadcast(mark)
    torch.distributed.all_reduce(differs)
    if len(others := differs.nonzero().flatten()):
        raise MetameryError(f"process {int(others[0])} has {what} than process 0: expected {expected}")


def share_buffers(module: nn.Module, fabric: Fabric) -> None:
    """Give all processes the first one's buffers, such as running means, which are those that are saved."""
    if fabric.world_size > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)


def synchronise_batch_norm(module: nn.Module, device: str) -> None:
    """Make the batch normalisations of a network take mean and variance over all processes, in place.

    On CUDA they become `torch.nn.SyncBatchNorm`, which runs nowhere else, on other devices `SyncBatchNormOnCpu`. Names
    of weights and buffers stay.

    Raises
    ------
    MetameryError
        There is none, or one is of a class that computes something else besides.
    """
    found = [(name, part) for name, part in module.named_modules() if isinstance(part, _BatchNorm)]
    if not found:
        raise MetameryError("the network has no batch normalisation: expected sync_batch_norm = false")
    for name, part in found:
        if type(part) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm):
            raise MetameryError(
                f"'{name}' cannot be synchronised: it is a {type(part).__name__}, expected torch's own batch "
                "normalisation, or sync_batch_norm = false"
            )
        if device == "cuda":
            parent, _, own = name.rpartition(".")
            synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(part)  # type: ignore[no-untyped-call]
            setattr(module.get_submodule(parent), own, synchronised)
        else:
            part.__class__ = SyncBatchNormOnCpu


class SyncBatchNormOnCpu(_BatchNorm):
    """What `torch.nn.SyncBatchNorm` does, by elementary operations."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Take activations of any number of dimensions."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise activations ``(B, C, …)`` by the mean and the variance of each channel in all processes."""
        if not self.training:
            return super().forward(input)
        values = input if input.dtype == torch.float64 else input.float()
        axes = [0, *range(2, input.dim())]
        channels = (1, -1, *[1] * (input.dim() - 2))
        own = values.new_tensor([input.numel() / input.size(1)])
        sums = _summed(torch.cat([values.sum(axes), own]))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = values - mean.view(channels)
        variance = _summed(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._follow(mean.detach(), (variance * count / (count - 1).clamp_min(1)).detach())
        normal = centred * torch.rsqrt(variance + self.eps).view(channels)
        if self.affine:
            normal = normal * self.weight.view(channels) + self.bias.view(channels)
        result: torch.Tensor = normal.to(input.dtype)
        return result

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Move the running statistics."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(new.to(running.dtype), share)


def _summed(values: torch.Tensor) -> torch.Tensor:
    """Sum over all processes; the gradient is summed, too."""
    total: torch.Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _summed(gradient.contiguous())
