"""Results of joint layers: how many of their metamers match at each term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...framework.joint import is_joint, terms_of
from .layers import Proportion

if TYPE_CHECKING:
    from ...framework.model_results import ModelResults


@dataclass(frozen=True)
class TermSummary:
    """One term of a joint layer, over all stimuli and seeds."""

    joint: str
    layer: str
    weight: float
    matches: Proportion
    quantised: Proportion


def term_summaries(model: ModelResults) -> list[TermSummary]:
    """Summarise the terms of all joint layers; empty where there is none, or no null."""
    if model.match is None or model.null is None or "term_matches" not in model.match:
        return []
    from ..proof.success import success_by_term

    table = success_by_term(model.match)

    def share(name: str, joint: str, layer: str) -> Proportion:
        here = table.sel(layer=joint, measured_layer=layer)
        ends = (float(here[f"{name}{end}"]) for end in ("", "_low", "_high"))
        return Proportion(int(here[f"{name}_counted"]), *ends)

    return [
        TermSummary(
            joint,
            term.layer,
            term.weight,
            share("term_matches", joint, term.layer),
            share("quantised_term_matches", joint, term.layer),
        )
        for joint in model.layers
        if is_joint(joint)
        for term in terms_of(joint)
    ]
