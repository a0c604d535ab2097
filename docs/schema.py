"""Write the tables of schema.md, between its comments, from the code; the text around them is written by hand."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from metamery.framework import schema
from metamery.framework.schema import DIMENSIONS, SIGNAL_DIMENSIONS, Variable

PAGE = Path(__file__).with_name("schema.md")
TABLE = re.compile(r"^(<!-- table: (\S+) -->\n).*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)

GROUPS: Mapping[str, tuple[Callable[..., dict[str, Variable]], ...]] = {
    "/stimuli": (schema.stimuli_variables,),
    "/models/KEY/stimuli": (schema.fitted_variables,),
    "/models/KEY/metamers": (schema.metamer_variables,),
    "/models/KEY/match": (schema.match_variables, schema.success_variables),
    "/models/KEY/null": (schema.null_variables,),
}
"""Each group, and the functions that return its variables."""


def page() -> str:
    """Return the complete page."""
    return TABLE.sub(lambda match: f"{match[1]}{table(match[2])}\n{match[3]}", PAGE.read_text(encoding="utf-8"))


def table(name: str) -> str:
    """Return the table of the dimensions, or of the variables of one group."""
    if name == "dimensions":
        rows = ["| dimension | meaning | coordinate |", "|---|---|---|"]
        for dim, meaning in DIMENSIONS.items():
            rows += [f"| `{dim}` | {meaning} | {'none' if dim in SIGNAL_DIMENSIONS else 'yes'} |"]
        return "\n".join(rows)
    rows = ["| variable | meaning [units] | dimensions | type | missing |", "|---|---|---|---|---|"]
    for variable, what in held(name).items():
        flags = ", ".join(f"{value} {flag}" for flag, value in what.flags.items())
        meaning = what.long_name + (f": {flags}" if flags else "") + (f" [{what.units}]" if what.units != "1" else "")
        rows += [f"| `{variable}` | {meaning} | {', '.join(what.dims)} | {what.dtype} | {missing(what)} |"]
    return "\n".join(rows).replace("-1", "−1")


def held(group: str) -> dict[str, Variable]:
    """Return the variables of one group, with … for the dimensions of signals, which depend on the model."""
    result: dict[str, Variable] = {}
    for variables in GROUPS[group]:
        parameters = inspect.signature(variables).parameters
        signals = [("…",)] if "signal_dims" in parameters else []
        result |= variables(*signals, **{name: True for name in parameters if name == "joint"})
    return result


def missing(variable: Variable) -> str:
    """Return the text for a missing value."""
    if variable.fill == "":
        return "empty"
    return "NaN" if variable.fill != variable.fill else str(variable.fill)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
