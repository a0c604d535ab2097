"""All benchmarks, one after the other: a file with every figure, and a page that also shows those of earlier runs.

Each benchmark is a process of its own. One that fails, or takes more than ten times as long as stated here, is named,
and the rest goes on; the exit status is 1 then. One that needs what is not there (a GPU, another package, a folder of
pictures) is skipped, with the reason on the page.

    python benchmarks/suite.py                                       small: about a quarter of an hour on two slow cores
    python benchmarks/suite.py --size full --pictures CIFAR10_TEST   about sixteen hours
    python benchmarks/suite.py --only synthesis null                 some of them

Results are written to ``benchmarks/results/``, ``TIME.json`` and ``index.html``. They hold no path and no name of the
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from page import write_page
from table import SKIPPED, machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SIZES = ("small", "full")
PACKAGES = (
    "metamery",
    "torch",
    "torchvision",
    "torchaudio",
    "numpy",
    "scipy",
    "xarray",
    "zarr",
    "plenoptic",
    "torchattacks",
)
PATIENCE, LEAST_SECONDS = 10, 600
"""A benchmark is stopped after `PATIENCE` times its stated seconds, but at the earliest after `LEAST_SECONDS`."""

_PATH = re.compile(r"(?<![\w:/])(?:~|\.{1,2})?(?:/[\w.@+-]+)+/(?=[\w.@+-])")


@dataclass(frozen=True)
class Entry:
    """A benchmark of the suite, with its options and about its seconds at each size.

    Parameters
    ----------
    script
        File without its suffix.
    small, full
        Options, and seconds on two slow cores; None where it is not run at a size. ``PICTURES`` stands for the folder
        of pictures, ``FOLDER`` for one for what is made meanwhile.
    """

    script: str
    small: tuple[str, int] | None
    full: tuple[str, int]


DIGITS = "coch-cnn-digits --others coch-cnn-digits-adversarial --stimuli spoken-digits"
WORDS = "coch-cnn-digits coch-cnn-digits-hann --others coch-cnn-digits-adversarial --stimuli spoken-digits"
SUITE = (
    Entry("synthesis", ("--layers _blocks.8 --rounds 2 --updates 40 --batch 4 --updates-of-a 0", 40), ("", 2400)),
    Entry("peers", ("--updates 0 --layers _blocks.8 --rounds 1", 60), ("", 7200)),
    Entry("adversarial_training", ("--rounds 3 --batch-size 16", 40), ("", 900)),
    Entry("robust_accuracy", ("--stimuli PICTURES --limit 4", 120), ("--stimuli PICTURES --limit 50", 1800)),
    Entry("input", ("--size 32 --rounds 1", 60), ("", 400)),
    Entry("null", ("--signals 400 --layers _blocks.1 _blocks.8 output", 60), ("", 900)),
    Entry("growth", ("--stimuli 8 32 128 --layers 1 4 16 --sides 32 64 128 --steps 5", 60), ("", 400)),
    Entry("many_stimuli", ("--stimuli 20 60", 60), ("--stimuli 200 2000", 1800)),
    Entry("many_stimuli", ("--files 2000", 10), ("--files 100000", 60)),
    Entry("store", ("--stimuli 128 --rounds 3", 20), ("", 120)),
    Entry("object_store", ("--words 8 --steps 2", 40), ("", 300)),
    Entry("planned_memory", ("--networks small-cnn --batch-sizes 4 16 --stimuli 16 --steps 2", 30), ("", 600)),
    Entry("similarity", ("--signals 200 --channels 12 --size 48", 30), ("", 90)),
    Entry("cochleagram", ("--rounds 3", 60), ("", 120)),
    Entry("workers", ("--rounds 1 --steps 30", 60), ("", 400)),
    Entry("experiment_server", ("--participants 20 --lists 6 --trials 5 --pause 0.05", 10), ("--trials 20", 90)),
    Entry("experiment_timing", ("--trials 4", 20), ("", 150)),
    Entry("batch_size", ("--layers _blocks.1 --limit 2 --steps 10", 20), ("", 900)),
    Entry("normalisation", ("PICTURES --per-class 2 --sizes 0", 20), ("PICTURES --per-class 60", 300)),
    Entry("architectures", ("--networks torchvision/squeezenet1_1 timm/test_vit", 15), ("", 14400)),
    Entry("presets", None, ("FOLDER", 14400)),
    Entry("descent", ("--layers _blocks.1 --updates 30", 30), ("", 7200)),
    Entry(
        "equal_loss",
        (f"{DIGITS} --layers relu3 --limit 4 --published-steps 80 --fast-steps 40", 30),
        (f"{DIGITS} --layers relu1 relu3 output", 3600),
    ),
    Entry("screening", (f"{DIGITS} --layers relu3 --limit 8 --null-signals 40 --steps 60", 30), (DIGITS, 3600)),
    Entry(
        "precision",
        ("efficientnet-lite0 --layers _blocks.8 --limit 2 --null-signals 8 --steps 5", 30),
        ("efficientnet-lite0 --layers _blocks.1 _blocks.8 _blocks.15", 5400),
    ),
    Entry(
        "ensemble",
        (f"{WORDS} --limit 3 --layers 1 --steps 10 --null-signals 10", 20),
        (f"{WORDS} --limit 20 --steps 100 --null-signals 40", 400),
    ),
    Entry("training_on_gpu", ("--side 64 --batch 64 --updates 8", 60), ("", 150)),
    Entry("gpu", ("--networks efficientnet-lite0 --batches 1 8 64", 60), ("", 300)),
)


def run_suite(
    entries: Sequence[Entry], results: Path, size: str = "small", pictures: Path | None = None, scripts: Path = HERE
) -> dict[str, Any]:
    """Run benchmarks, and write the file after each of them and the page at the end.

    Parameters
    ----------
    entries
        The benchmarks.
    results
        Folder of the files and of the page.
    size
        One of `SIZES`.
    pictures
        Folder of pictures, ``CLASS/FILE``.
    scripts
        Folder of the benchmarks.
    """
    made = datetime.now(UTC)
    suite = {"made": made.isoformat(timespec="seconds"), "size": size, "commit": commit(), "hardware": machine()}
    suite |= {"versions": versions(), "benchmarks": []}
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{made:%Y-%m-%dT%H%M%SZ}.json"
    for number, entry in enumerate(entries):
        left = sum(seconds for _, seconds in filter(None, (getattr(other, size) for other in entries[number:])))
        print(f"[{number + 1}/{len(entries)}] {entry.script:<22}", end="", flush=True)
        began = time.perf_counter()
        found = run_one(entry, size, pictures, scripts)
        found["seconds"] = round(time.perf_counter() - began, 1)
        suite["benchmarks"].append(found)
        file.write_text(json.dumps(suite, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        left -= (getattr(entry, size) or ("", 0))[1]
        why = f": {found['reason']}" if "reason" in found else ""
        print(f"{found['outcome']}{why}; {found['seconds']:.0f} s, about {left / 60:.0f} min left", flush=True)
    write_page(results)
    return suite


def run_one(entry: Entry, size: str, pictures: Path | None, scripts: Path) -> dict[str, Any]:
    """Run a benchmark, and return its outcome with all figures and notes that it kept."""
    asked = getattr(entry, size)
    found: dict[str, Any] = {"benchmark": entry.script, "options": asked[0] if asked else ""}
    found |= {"question": question(scripts / f"{entry.script}.py")}
    if reason := _missing(entry, size, pictures):
        return {**found, "outcome": "skipped", "reason": reason, "figures": [], "notes": []}
    options, seconds = asked
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = {"PICTURES": str(pictures and pictures.resolve()), "FOLDER": str(folder / "made")}
        command = [str(scripts / f"{entry.script}.py"), *(places.get(word, word) for word in shlex.split(options))]
        records, errors = folder / "records.jsonl", folder / "errors.txt"
        status = _run(
            [sys.executable, *command, "--json", str(records)], folder, max(PATIENCE * seconds, LEAST_SECONDS)
        )
        lines = records.read_text(encoding="utf-8").splitlines() if records.exists() else []
        said = [line for line in errors.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    kept = [json.loads(line) for line in lines]
    found |= {"outcome": {0: "done", SKIPPED: "skipped"}.get(status, "failed")}
    if status == -signal.SIGALRM:
        found["reason"] = "took too long and was stopped"
    elif status:
        found["reason"] = without_paths(said[-1] if said else f"ended with status {status}")
    found["figures"] = [record for record in kept if "note" not in record]
    return found | {"notes": [without_paths(record["note"]) for record in kept if "note" in record]}


def _missing(entry: Entry, size: str, pictures: Path | None) -> str:
    """Return what a benchmark needs and does not have here."""
    asked = getattr(entry, size)
    if asked is None:
        return f"takes hours, and is run at the size {SIZES[1]} alone"
    if "PICTURES" in asked[0] and pictures is None:
        return "needs a folder of pictures, CLASS/FILE (--pictures)"
    return ""


def _run(command: list[str], folder: Path, seconds: float) -> int:
    """Return the exit status of a process, which is ended with its children when its time is over; −SIGALRM then."""
    with (folder / "printed.txt").open("w") as out, (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=errors, start_new_session=True)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -signal.SIGALRM
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def question(script: Path) -> str:
    """Return the first line of a script's docstring."""
    return script.read_text(encoding="utf-8").partition("\n")[0].strip('"').replace("`", "")


def without_paths(text: str) -> str:
    """Leave of each path its last part.

    >>> without_paths("cannot read '/home/someone/pictures/one.png'")
    "cannot read 'one.png'"
    """
    return _PATH.sub("", text)


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the commit that is checked out; empty outside of a repository."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default=SIZES[0])
    parser.add_argument(
        "--pictures", type=Path, help="folder of pictures, CLASS/FILE, such as the test set of CIFAR-10"
    )
    parser.add_argument(
        "--only", nargs="+", choices=sorted({entry.script for entry in SUITE}), help="of the benchmarks"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    if given.pictures and not given.pictures.is_dir():
        parser.error(f"--pictures: '{given.pictures}' is not a folder")
    entries = [entry for entry in SUITE if not given.only or entry.script in given.only]
    try:
        suite = run_suite(entries, given.results, given.size, given.pictures)
    except KeyboardInterrupt:
        print("\nstopped; the figures of those that ended are kept")
        sys.exit(128 + signal.SIGINT)
    failed = [found["benchmark"] for found in suite["benchmarks"] if found["outcome"] == "failed"]
    print(f"{given.results / 'index.html'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
