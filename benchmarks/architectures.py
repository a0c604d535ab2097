"""Which architectures of torchvision and timm work? Random weights, inputs as small as they allow.

For each network: `check_model` (finite logits, default layers, the same activation whether the pass stops there or
not, gradients), and `examine` at all of its default layers. The result of each is added to a file of JSON lines, and a
network that is there already is left out, so the run can be interrupted; ``--table`` prints the file as Markdown,
which docs/networks.md holds: ``python benchmarks/architectures.py RESULTS.jsonl``. Each network has a process of its
own, so that its memory is returned: the largest take 20 GB. All of them take hours; ``--networks`` tries some.
"""

from __future__ import annotations

import json
import multiprocessing
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torchvision
from metamery.framework import ImageDomain, MetameryError, Model, Plugins, examine
from metamery.framework.outline import default_layers
from metamery.framework.testing import check_model
from table import Benchmark, Column

SIDES = (64, 96, 128)
"""Sides of pictures that are tried first, in pixels."""

LIMIT_SECONDS = 600
"""Seconds that one network may take."""

TIMM = (Path(__file__).parent / "architectures.txt").read_text(encoding="utf-8").split()
"""For nearly each of timm's modules, one of its smallest networks, and a few more."""


COLUMNS = (Column("time", "s"), Column("outcome"))


def names() -> Iterator[str]:
    yield from (f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models))
    yield from (f"timm/{name}" for name in TIMM)


def sized(model: Model, side: int) -> Model:
    """Return a model of smaller pictures, with the layers that it has for these."""
    domain = ImageDomain(3, side, side)
    return replace(model, domain=domain, layers=default_layers(model.module, domain))


def outcome(name: str) -> dict[str, Any]:
    """Try one network, at the smallest side at which it runs."""
    model = Plugins(installed=()).load("model", name, weights="none")
    weights = sum(weight.numel() for weight in model.module.parameters())
    return {"weights": weights, **tried(model)}


def tried(model: Model) -> dict[str, Any]:
    """Return the smallest side at which a network works, and what was found there; or the problem at its own side."""
    own = model.domain.shape[-1]
    for side in (*(side for side in SIDES if side < own), own):
        try:
            small = model if side == own else sized(model, side)
            contract = examine(small, small.layers)
            check_model(small)
        except Exception as error:  # a network may raise anything at a size that is not its own
            if side == own:
                kind = "" if isinstance(error, MetameryError | AssertionError) else f"{type(error).__name__}: "
                return {"side": side, "layers": len(model.layers), "problem": f"{kind}{error}".splitlines()[0][:300]}
        else:
            relus = sum(contract.relus[layer] for layer in small.layers)
            return {"side": side, "layers": len(small.layers), "relus": relus, "notes": list(contract.notes)}
    raise AssertionError


def _give_way() -> None:
    """Be the process that Linux ends first where memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def table(lines: list[dict[str, Any]]) -> Iterator[str]:
    yield "| network | weights | side tried | default layers | of these ReLUs | outcome |"
    yield "|---|---|---|---|---|---|"
    for line in lines:
        if "side" not in line:
            yield f"| `{line['name']}` | | | | | {line['problem']} |"
            continue
        result = line.get("problem") or "; ".join(["works", *line["notes"]])
        yield (
            f"| `{line['name']}` | {line['weights'] / 1e6:.1f} M | {line['side']} | {line['layers']} | "
            f"{line.get('relus', '')} | {result} |"
        )


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("results", type=Path, nargs="?", help="file that is added to; nothing is kept by default")
    benchmark.option("--table", action="store_true")
    benchmark.option("--networks", nargs="+", help="all by default")
    arguments = benchmark.parse()
    results = arguments.results
    known = results.read_text(encoding="utf-8").splitlines() if results and results.exists() else []
    lines = {line["name"]: line for line in map(json.loads, known)}
    if arguments.table:
        print(*table([lines[name] for name in names() if name in lines]), sep="\n")
        return
    warnings.simplefilter("ignore")
    benchmark.head("torchvision")
    tried_ones = benchmark.table("Architectures", ["network"], COLUMNS)
    asked = {*(arguments.networks or names())} - lines.keys()
    for name in sorted(asked, key=lambda name: name.partition("/")[2]):
        began = time.perf_counter()
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), _give_way) as pool:
            try:
                found = pool.submit(outcome, name).result(LIMIT_SECONDS)
            except TimeoutError:
                found = {"problem": f"was not ready after {LIMIT_SECONDS // 60} minutes on one core"}
                for process in multiprocessing.active_children():
                    process.kill()
            except BrokenProcessPool:
                found = {"problem": "its process was killed: is there too little memory?"}
            except Exception as error:
                found = {"problem": f"is not built: {type(error).__name__}: {error}".splitlines()[0][:300]}
        line = {"name": name, **found, "seconds": round(time.perf_counter() - began, 1)}
        tried_ones.row(name, line["seconds"], found.get("problem", "works"))
        if results:
            with results.open("a", encoding="utf-8") as file:
                print(json.dumps(line), file=file, flush=True)


if __name__ == "__main__":
    main()
