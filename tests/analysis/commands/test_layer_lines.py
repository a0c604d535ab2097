"""What `show` prints of layers: a table of a model's own, and the tree of all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from metamery.analysis.commands.layer_lines import layer_table, layer_tree
from metamery.framework import Model, WaveformDomain, examine
from torch import nn


class Transformer(nn.Module):
    """A container that is not called, a part that runs twice, tokens, and an output of several parts."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2)])
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, signals: torch.Tensor) -> dict[str, torch.Tensor]:
        tokens = signals.unflatten(1, (3, 4))
        for block in self.blocks:
            tokens = block(tokens)
        pooled = self.mix(self.mix(tokens.mean(1)))
        return {"logits": self.head(pooled), "pooled": pooled}


def lines() -> tuple[list[str], list[str]]:
    model = Model(Transformer(), WaveformDomain(12, 10), ["blocks.1", "output"])
    with pytest.warns(UserWarning, match="logits are taken to be"):
        layers = examine(model, model.layers).outline
    return [*layer_table(model, layers)], [*layer_tree(model, layers)]


def test_the_table_has_the_models_own_layers_by_their_full_names() -> None:
    table, _ = lines()
    assert [line.split()[0] for line in table if line] == ["layer", "blocks.1", "output"]
    assert "3 tokens × 4" in table[2]


def test_the_tree_is_indented_by_path_with_parents_before_their_parts() -> None:
    _, tree = lines()
    rows = tree[2:-2]
    layers = [line[: line.index("  ", len(line) - len(line.lstrip()))] for line in rows]
    assert layers == [
        "input", "blocks", "  0", "    0", "    1", "  1 *", "    0", "    1", "mix", "mix@2", "head",
        "output *", "  logits", "  pooled",
    ]  # fmt: skip
    assert tree[3].split() == ["blocks", "ModuleList"]
    widths = {line.index("Linear") for line in tree if "Linear" in line}
    assert len(widths) == 1


def test_show_prints_either(command: Any) -> None:
    table, tree = command("show", "small-cnn").out, command("show", "small-cnn", "--all").out
    assert "\nfeatures.relu1 " in table
    assert "\n  relu1 * " in tree
    assert "features.conv1" not in table + tree
    assert "  conv1 " in tree
