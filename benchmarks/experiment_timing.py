"""How long are pictures on the screen, and when does a sound start, in an experiment's page?

Chromium without a window goes through an experiment with pictures and one with sounds. Printed are the distributions of
what the page records, of the same measured from outside (the times of the frames that Chromium's compositor hands out,
which the page does not see), and of the sound's first sample on the audio clock against the time it was scheduled for:
``python benchmarks/experiment_timing.py``.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from metamery.analysis.experiment.server.sessions import read
from table import Benchmark, Column, Table, skip

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from experiment_pages import SECONDS, Participant, chromium, make_experiment, served

SIGNAL_MS = 300
FRAME_MS = 16.7
PERCENTILES = (0, 5, 50, 95, 100)
COLUMNS = (
    Column("asked for", "ms", ""),
    *(Column(title, "ms", "") for title in ("min", "5 %", "median", "95 %", "max")),
    Column("within a frame of 60 Hz", "share", "higher"),
)
DURATIONS = {"fixation": SIGNAL_MS, "signal": SIGNAL_MS, "mask": SIGNAL_MS, "practice": [0, 0, 0], "slow_practice": 0}

# Listens to what is played, on the audio thread: the time of the first sample that is not silent.
LISTENER = """
registerProcessor("listener", class extends AudioWorkletProcessor {
  process([[samples]]) {
    const first = samples ? samples.findIndex((sample) => sample !== 0) : -1;
    if (first < 0 || this.heard) return true;
    this.heard = true;
    this.port.postMessage((currentFrame + first) / sampleRate);
    return true;
  }
});
"""

WATCH_SOUNDS = """
window.starts = [];
const Context = AudioContext;
window.AudioContext = class extends Context {
  constructor(...given) {
    super(...given);
    this.audioWorklet.addModule("listener.js");
  }
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (at) {
  const listener = new AudioWorkletNode(this.context, "listener");
  listener.port.onmessage = ({ data }) => window.starts.push({ at, first: data });
  this.connect(listener).connect(this.context.destination);
  return start.call(this, at);
};
"""


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--trials", type=int, default=50)
    trials = benchmark.parse().trials
    if not find_spec("playwright") or not shutil.which("chromium"):
        skip("needs playwright and Debian's chromium")
    benchmark.head("playwright")
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        benchmark.note(f"Chromium {browser.version}, without a window")
        table = benchmark.table(f"Times of {trials} trials", ["what"], COLUMNS)
        told, seen = pictures(browser, Path(folder) / "pictures", trials)
        show(table, "picture, as the page records it", told, SIGNAL_MS)
        show(table, "picture, by the compositor's frames", seen, SIGNAL_MS)
        sounds(table, browser, Path(folder) / "sounds", trials)


def pictures(browser: Any, folder: Path, trials: int) -> tuple[list[float], list[float]]:
    """Return for each trial how long the picture was shown, as the page tells it and as the compositor does."""
    make_experiment(folder, trials=trials, parts=["main"], timing=DURATIONS)
    frames: list[float] = []
    seen: list[float] = []
    with served(folder) as address:
        page = browser.new_context(viewport={"width": 640, "height": 480}).new_page()
        devtools = page.context.new_cdp_session(page)

        def keep(frame: dict[str, Any]) -> None:
            frames.append(1000 * frame["metadata"]["timestamp"])
            devtools.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

        devtools.on("Page.screencastFrame", keep)
        page.goto(address)
        participant = Participant(page)
        participant.press("Start")
        small = {"format": "jpeg", "quality": 1, "maxWidth": 64, "maxHeight": 48}
        for number in range(trials):
            if number % (trials // 2) == 0 and number // (trials // 2) < 2:
                participant.press("Continue")
            page.locator("canvas").wait_for()
            frames.clear()
            devtools.send("Page.startScreencast", small)
            page.locator(".choices").wait_for()
            page.wait_for_timeout(100)
            devtools.send("Page.stopScreencast")
            seen.append(_second_last_interval(frames))
            participant.choose("main", number, number % 6)
        page.get_by_text("C0DE", exact=True).wait_for()
        page.context.close()
    return [record.shown_ms for record in read(folder)[0].records if record.part == "main"], seen


def _second_last_interval(frames: list[float]) -> float:
    """The changes of the screen end with the picture, the mask and the answers."""
    changes = [frame for index, frame in enumerate(frames) if index == 0 or frame - frames[index - 1] > 100]
    return changes[-2] - changes[-3] if len(changes) >= 3 else float("nan")


def sounds(table: Table, browser: Any, folder: Path, trials: int) -> None:
    make_experiment(folder, "sound", trials=trials, parts=["main"])
    (folder / "site" / "listener.js").write_text(LISTENER)
    with served(folder) as address:
        page = browser.new_context().new_page()
        page.add_init_script(WATCH_SOUNDS)
        page.goto(address)
        participant = Participant(page)
        participant.press("Start")
        for number in range(trials):
            if number % (trials // 2) == 0 and number // (trials // 2) < 2:
                participant.press("Continue")
            participant.type("main", number, number % 6)
        page.get_by_text("C0DE", exact=True).wait_for()
        starts = page.evaluate("starts")
        page.context.close()
    told = [record.shown_ms for record in read(folder)[0].records if record.part == "main"]
    show(table, "sound, as the page records it", told, 1000 * SECONDS)
    show(table, "first sample after the scheduled start", [1000 * (each["first"] - each["at"]) for each in starts], 0)


def show(table: Table, what: str, values: list[float], expected: float) -> None:
    known = np.array(values)[~np.isnan(values)]
    within = np.mean(np.abs(known - expected) <= FRAME_MS)
    table.row(what, expected, *np.percentile(known, PERCENTILES), within)


if __name__ == "__main__":
    main()
