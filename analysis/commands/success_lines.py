"""What a command says of the metamers that it made: how many succeed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...framework.remote import Folder

if TYPE_CHECKING:
    import xarray as xr

FEW_PAIRS = 1000
"""Number of pairs of natural signals below which a null is said to be of few."""


def success_lines(folder: Folder) -> Iterator[str]:
    """Yield lines with the proportion of metamers that succeed at each layer, with 95 % Wilson intervals."""
    from ...framework.model_results import models_of
    from ...framework.results import open_study
    from ..proof.success import success_by_layer
    from ..report.numbers import number

    with open_study(folder) as tree:
        for results in models_of(tree):
            yield ""
            if results.null is None or results.match is None:
                yield f"{results.name}: no null, which requires two different signals; see --null-stimuli"
                continue
            null = results.null.attrs
            few = ": few, see --null-stimuli" if null["pairs"] < FEW_PAIRS else ""
            pairs = "1 pair" if null["pairs"] == 1 else f"{number(null['pairs'])} pairs"
            yield f"{results.name}, against {pairs} of {number(null['signals'])} natural signals{few}"
            counts = success_by_layer(results.match)
            width = max(24, *(len(str(layer)) for layer in counts["layer"].values))
            yield f"{'layer':<{width}} {'success':<22} {'same label':<22} {'match':<22} 8-bit or 16-bit"
            for layer in counts["layer"].values:
                here = counts.sel(layer=layer)
                parts = [_share(here, part) for part in ("success", "agrees", "matches", "quantised_success")]
                yield f"{layer:<{width}} " + " ".join(f"{part:<22}" for part in parts).rstrip()
    yield ""


def _share(counts: xr.Dataset, part: str) -> str:
    """Format a proportion of `success_by_layer`."""
    from ..report.numbers import interval

    counted = int(counts[f"{part}_counted"])
    if not counted:
        return "unattainable" if int(counts["unattainable"]) and part != "agrees" else "–"
    ends = interval(*(float(counts[f"{part}_{end}"]) for end in ("low", "high")))
    return f"{round(counted * float(counts[part]))}/{counted} {ends}"
