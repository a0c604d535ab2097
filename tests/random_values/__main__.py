"""Try random values on the program, in one process: ``python tests/random_values --count 10000 --seed 1``.

Every case must end with status 0, or with status 2 and one line ``error: …``; a traceback, another status, more lines,
too much time or too much memory is a failure, printed as a line of JSON with the number that ``--only`` repeats it by.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import os
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import material
import tomli_w
from ends import wrong

SECONDS = 240
"""Time that a single case may take, on a machine that does other things as well."""

MEMORY = 6 * 2**30
"""Address space that the process may take beyond what it has at the start."""


class TooSlowError(BaseException):
    """A case that does not end."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="Repeat one case, and show all that it says.")
    parser.add_argument("--progress", action="store_true", help="Say how far it is, on standard error.")
    parser.add_argument("--kind", help="Cases of this kind alone.")
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    os.environ |= {"METAMERY_PLUGINS": "", "METAMERY_TRUST": "1", "METAMERY_CACHE": "", "HOME": "/nonexistent"}
    import torch
    from cases import KINDS, Cases, fresh

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        original, folder = Path(place, "original"), Path(place, "work", "here")
        prepare(original)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        cases, counts, failures = Cases(), Counter[str](), 0
        numbers = range(given.first, given.count) if given.only is None else [given.only]
        for index in numbers:
            random = Random(f"{given.seed}-{index}")
            (kind,) = [given.kind] if given.kind else random.choices(list(KINDS), list(KINDS.values()))
            fresh(original, folder, kind)
            os.chdir(folder)
            command = cases.draw(kind, random)
            began = time.perf_counter()
            status, said, err = attempt(command)
            counts[f"{kind}: {status}"] += 1
            if given.only is not None:
                print(kind, shlex.join(command), status, said, err, sep="\n")
            if why := wrong(status, err):
                failures += 1
                found = {
                    "case": index,
                    "seed": given.seed,
                    "kind": kind,
                    "command": shlex.join(command)[:400],
                    "why": why,
                }
                print(json.dumps(found | {"seconds": round(time.perf_counter() - began, 1)}), flush=True)
            os.chdir(place)
            if sys.stderr.isatty() or given.progress:
                print(f"\r{index + 1}, {failures} failures", end="", file=sys.stderr, flush=True)
    print(json.dumps({"cases": len(numbers), "failures": failures, "ends": dict(sorted(counts.items()))}))
    return int(failures > 0)


def prepare(folder: Path) -> None:
    """Make the inputs, and with the program what is made of them."""
    material.make(folder)
    os.chdir(folder)
    Path("recipe.toml").write_text(tomli_w.dumps(material.RECIPE), encoding="utf-8")
    Path("study.toml").write_text(tomli_w.dumps(material.STUDY), encoding="utf-8")
    for command in material.COMMANDS:
        status, out, err = attempt(command)
        if status != 0:
            raise SystemExit(f"{shlex.join(command)}: {status}\n{out}\n{err}")


def attempt(command: list[str]) -> tuple[Any, str, str]:
    """Run the program; its status, or what it was ended by, and what it said."""
    from metamery.framework.cli import main as program

    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            status: Any = program(command)
    except BaseException as error:
        frames = "".join(traceback.format_exception(error)).strip().splitlines()
        where = [line.strip() for line in frames if "metamery" in line or "/framework/" in line or "File" in line]
        status, said = type(error).__name__, f"{type(error).__name__}: {str(error)[:300]} at {where[-6:]}"
        err.write(said)
        if "--only" in sys.argv:
            err.write("\n".join(frames))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    return status, out.getvalue(), err.getvalue()


def _too_slow(*_: Any) -> None:
    raise TooSlowError


if __name__ == "__main__":
    sys.exit(main())
