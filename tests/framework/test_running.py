"""Frozen, and with the channels last: the same network, and everything restored afterwards."""

import subprocess
import sys

import pytest
import torch
import torchvision
from metamery.framework import ImageDomain
from metamery.framework.running import channels_last, frozen
from torch import nn

DOMAIN = ImageDomain(3, 32, 32)


def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def strides(network):
    return [weight.stride() for weight in network.parameters()]


def test_frozen_gives_every_flag_back_also_when_the_work_fails():
    network = resnet().train()
    network.layer1.eval()
    network.fc.weight.requires_grad_(False)
    flags = [m.training for m in network.modules()], [p.requires_grad for p in network.parameters()]

    def work():
        with frozen(network):
            assert not any(p.requires_grad for p in network.parameters())
            assert not any(m.training for m in network.modules())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert flags == ([m.training for m in network.modules()], [p.requires_grad for p in network.parameters()])


def test_channels_last_changes_the_layout_alone_and_gives_it_back():
    network = resnet()
    before, addresses = strides(network), [weight.data_ptr() for weight in network.parameters()]
    weights = {name: weight.clone() for name, weight in network.state_dict().items()}
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    usual = network(x)
    with channels_last(network, DOMAIN):
        assert network.conv1.weight.is_contiguous(memory_format=torch.channels_last)
        assert network.layer1(network.conv1(x)).is_contiguous(memory_format=torch.channels_last)
        assert all(torch.equal(weight, weights[name]) for name, weight in network.state_dict().items())
        torch.testing.assert_close(network(x), usual, rtol=1e-4, atol=1e-4)
    assert strides(network) == before
    assert [weight.data_ptr() for weight in network.parameters()] == addresses
    assert torch.equal(network(x), usual)


def test_what_is_learnt_with_the_channels_last_stays():
    network = resnet()
    address = network.conv1.weight.data_ptr()
    with channels_last(network, DOMAIN), torch.no_grad():
        network.conv1.weight.add_(1)
        learnt = network.conv1.weight.clone()
    assert torch.equal(network.conv1.weight, learnt)
    assert network.conv1.weight.data_ptr() == address
    assert network.conv1.weight.is_contiguous()


def test_a_network_that_needs_the_usual_layout_keeps_it():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)
            self.linear = nn.Linear(4 * 30 * 30, 2)

        def forward(self, x):
            return self.linear(self.convolution(x).view(len(x), -1))

    network = Viewing()
    before = strides(network)
    with channels_last(network, DOMAIN):
        assert strides(network) == before
        network(torch.rand(2, 3, 32, 32))


def test_the_layout_comes_back_when_the_work_fails():
    network = resnet()
    before = strides(network)
    with pytest.raises(ZeroDivisionError), channels_last(network, DOMAIN):
        raise ZeroDivisionError
    assert strides(network) == before


def test_double_precision_is_left_alone():
    network = resnet().double()
    before = strides(network)
    with channels_last(network, DOMAIN):
        assert strides(network) == before


KEEPING = """
import os
from pathlib import Path
import torch
from metamery.framework.running import keeping_memory

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

before = resident()
with keeping_memory():
    with keeping_memory():
        pass
    large = torch.ones(64 * 2**20)  # 256 MiB
    del large
    assert resident() > before + 200, (before, resident())
assert resident() < before + 50, (before, resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_memory_is_kept_within_and_given_back_afterwards():
    command = [sys.executable, "-c", KEEPING]  # in a fresh heap
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
