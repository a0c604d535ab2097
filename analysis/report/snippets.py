"""The Python code that reads each number from the store.

The page contains each of these once; its script fills in ``{study}`` and the coordinates of the number's row, column
and table, and so shows for every number the code that reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_AT = "layer={layer}, stimulus={stimulus}, seed={seed}"
_MATCH = "{study}[{match}]"
_METAMERS = "metamers = {study}[{metamers}].to_dataset().sel(layer={layer})\nmetamers"

CODES: Mapping[str, str] = {
    "natural confidence": '{study}[{stimuli}]["confidence"].sel(stimulus={stimulus}).item()',
    "confidence": f'{_MATCH}["confidence"].sel({_AT}).item()',
    "own": f'{_MATCH}["match"].sel({_AT}, measured_layer={{layer}}, metric={{metric}}).item()',
    "percentile": f'{_MATCH}["percentile"].sel({_AT}).min("metric").item()',
    "verdict": f"{_MATCH}[{{variable}}].sel({_AT}).item()",
    "loss": f'{{study}}[{{metamers}}]["loss"].sel({_AT}).dropna("step")[-1].item()',
    "median": (
        f'{_MATCH}["match"].sel(layer={{layer}}, measured_layer={{measured_layer}}, metric={{metric}}).median().item()'
    ),
    "proportion": (
        f"flags = {_MATCH}[{{part}}].sel(layer={{layer}})\n(flags == 1).sum().item() / flags.isin([0, 1]).sum().item()"
    ),
    "term": (
        f"flags = {_MATCH}[{{part}}].sel(layer={{layer}}, measured_layer={{measured_layer}})\n"
        "(flags == 1).sum().item() / flags.isin([0, 1]).sum().item()"
    ),
    "unattainable": f'({_MATCH}["matches"].sel(layer={{layer}}) == 2).sum().item()',
    "maximum": '{study}[{null}]["maximum"].sel(layer={layer}, metric={metric}).item()',
    "state": f'{_METAMERS}["state"].isin([{{state}}]).sum().item()',
    "others": '{study}["recognition"]["others"].sel(site={site}).item()',
    "array": "{study}[{group}][{variable}]",
    "steps": f'{_METAMERS}["steps"].where(metamers["state"] == 1).median().item()',
    "losses": f'{_METAMERS}["loss"].isel(step=metamers["steps"]).where(metamers["state"] == 1).median().item()',
}
"""By name, as the page's ``data-code`` gives it."""


def at(**values: Any) -> str:
    """Return the values of a code's placeholders, in the form of the page's ``data-at``."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
