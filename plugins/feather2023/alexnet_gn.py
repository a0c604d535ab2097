"""AlexNet with GroupNorm, of the instance-prototype contrastive learning of Konkle & Alvarez (2022)."""

from __future__ import annotations

import torch
from torch import nn


class AlexNetGN(nn.Module):
    """Pictures ``(B, 3, 224, 224)`` to the embedding ``(B, num_classes)``, which is not scaled to unit length.

    Modules have the names of the network in the repository open_ipcl.
    """

    def __init__(self, num_classes: int = 128) -> None:
        super().__init__()
        self.conv_block_1 = _block(3, 96, 11, stride=4, pools=True)  # (B, 96, 27, 27)
        self.conv_block_2 = _block(96, 256, 5, pools=True)  # (B, 256, 13, 13)
        self.conv_block_3 = _block(256, 384, 3)
        self.conv_block_4 = _block(384, 384, 3)
        self.conv_block_5 = _block(384, 256, 3, pools=True)  # (B, 256, 6, 6)
        self.ave_pool = nn.AdaptiveAvgPool2d((6, 6))
        self.fc6 = nn.Sequential(nn.Linear(256 * 6 * 6, 4096), nn.BatchNorm1d(4096), nn.ReLU())
        self.fc7 = nn.Sequential(nn.Linear(4096, 4096), nn.BatchNorm1d(4096), nn.ReLU())
        self.fc8 = nn.Sequential(nn.Linear(4096, num_classes))

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        inside = self.conv_block_3(self.conv_block_2(self.conv_block_1(signals)))
        pooled = self.ave_pool(self.conv_block_5(self.conv_block_4(inside)))
        embedding: torch.Tensor = self.fc8(self.fc7(self.fc6(pooled.flatten(1))))
        return embedding


def _block(before: int, channels: int, kernel: int, stride: int = 1, pools: bool = False) -> nn.Sequential:
    padding = 2 if kernel == 11 else kernel // 2
    block = nn.Sequential(
        nn.Conv2d(before, channels, kernel, stride, padding, bias=False), nn.GroupNorm(32, channels), nn.ReLU()
    )
    return block.append(nn.MaxPool2d(3, 2)) if pools else block
