"""Statistics of CIFAR-10's pictures."""

from __future__ import annotations

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Mean and standard deviation of the channels of the 50,000 training pictures, in [0, 1]."""
