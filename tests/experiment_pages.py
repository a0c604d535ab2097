"""Small experiments with a page, served, and a participant in Chromium who goes through them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile
from metamery.analysis.experiment.key import Item, Key
from metamery.analysis.experiment.page import write_page
from PIL import Image, ImageDraw

CHOICES = ("airplane", "bear", "bird", "cat", "dog", "oven")
LABELS = {"airplane": "aeroplane", "bear": "polar bear"}
EXPERIMENT = "3f0c5d4e-0000-5000-8000-00000000000{}"
CONSENT = ["We ask you to take part.", "You may <b>stop</b> at any time."]
SURVEY = [
    {"name": "age", "label": "How old are you?", "form": "number", "choices": [], "required": True},
    {"name": "hand", "label": "Which hand?", "form": "choice", "choices": ["left", "right"], "required": False},
    {"name": "comment", "label": "Anything else?", "form": "text", "choices": [], "required": False},
]
TRIALS = 6
RATE, SECONDS = 48_000, 0.12


def make_experiment(
    folder: Path,
    kind: str = "picture",
    trials: int = TRIALS,
    lists: int = 2,
    language: str = "en",
    alternatives: Mapping[int, tuple[str, ...]] | None = None,
    **changes: Any,
) -> Key:
    """Write an experiment of two blocks, as `build` does; `changes` are entries of its ``experiment.json``.

    `alternatives` are the answers to some trials of the first list, by number; all are offered on the others.
    """
    (folder / "site" / "media").mkdir(parents=True)
    main = {
        f"{number:020x}": Item(
            "main",
            CHOICES[number % len(CHOICES)],
            f"s{number}",
            "net",
            "conv",
            0,
            "metamer",
            alternatives=(alternatives or {}).get(number, ()),
        )
        for number in range(trials)
    }
    practice = {
        f"{number:019x}p": Item("practice", CHOICES[number], f"p{number}", shown="natural") for number in range(4)
    }
    items = main | practice
    if kind == "sound":
        items |= {f"{number:019x}f": Item("headphones", str(1 + number % 3), shown="tone") for number in range(4)}
        items |= {"e" * 20: Item("level", shown="noise")}
    for number, name in enumerate(items):
        _write_media(folder / "site" / "media" / name, kind, number, len(items))
    names = list(main)
    blocks = (tuple(names[: trials // 2]), tuple(names[trials // 2 :]))
    orders = tuple(blocks if number % 2 == 0 else blocks[::-1] for number in range(lists))
    key = Key(EXPERIMENT.format(int(kind == "sound")), "Pets & <more>", kind, "5e" * 32, CHOICES, items, orders)
    key.write(folder)
    (folder / "site" / "lists").mkdir()
    for number, order in enumerate(orders):
        content = {"list": number, "blocks": order} | key.alternatives(number)
        (folder / "site" / "lists" / f"{number}.json").write_text(json.dumps(content))
    write_page(folder / "site", _page(key, folder / "site") | changes, language)
    return key


def _page(key: Key, site: Path) -> dict[str, Any]:
    asked = {
        role: [name for name, item in key.items.items() if item.role == role] for role in ("practice", "headphones")
    }
    answered = {role: [{"item": n, "answer": key.items[n].answer} for n in names] for role, names in asked.items()}
    parts = ["consent", "instructions", "level", "headphones", "practice", "main", "survey", "debriefing"]
    is_sound = key.kind == "sound"
    masks = [] if is_sound else ["media/mask0.png"]
    if masks:
        noise = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
        Image.fromarray(noise).save(site / masks[0])
    tests = [
        {"test": test, "needed": 1, "trials": answered["headphones"][start : start + 2]}
        for test, start in (("antiphase", 0), ("huggins", 2))
    ]
    return {
        "experiment": key.experiment,
        "title": key.title,
        "kind": key.kind,
        "consent": CONSENT,
        "parts": parts if is_sound else [part for part in parts if part not in ("level", "headphones")],
        "answers": {
            "form": "typed" if is_sound else "grid",
            "choices": [{"name": name, "label": LABELS.get(name, name), "icon": None} for name in key.choices],
        },
        "timing": {"fixation": 50, "signal": 100, "mask": 50, "practice": [80, 120, 80], "slow_practice": 1},
        "media": "wav" if is_sound else "png",
        "masks": masks,
        "practice": {"feedback": answered["practice"][:2], "free": answered["practice"][2:], "needed": 1},
        "headphones": tests if is_sound else [],
        "level": {"item": "e" * 20} if is_sound else None,
        "survey": SURVEY,
        "lists": len(key.lists),
        "saving": {"to": "server"},
        "completion": None,
    }


def _write_media(path: Path, kind: str, number: int, count: int) -> None:
    if kind == "picture":
        picture = Image.new("RGB", (96, 96), (255 * number // count, 80, 160))
        ImageDraw.Draw(picture).ellipse((20, 20, 76, 76), fill=(240, 255 * number // count, 40))
        picture.save(path.with_suffix(".png"))
    else:
        time_ = np.arange(int(SECONDS * RATE)) / RATE
        soundfile.write(path.with_suffix(".wav"), 0.1 * np.sin(2 * np.pi * (200 + 20 * number) * time_), RATE)


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve an experiment from a thread; yields its address."""
    uvicorn = pytest.importorskip("uvicorn")
    from metamery.analysis.experiment.server.app import Completion, make_app
    from metamery.analysis.experiment.server.sessions import Sessions

    app = make_app(folder / "site", Sessions(folder), Completion("C0DE", "https://example.org/done?cc=C0DE"))
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _wait_for(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def start_process(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Serve an experiment from another process, which can be killed."""
    pytest.importorskip("uvicorn")
    code = (
        "import sys, uvicorn; from pathlib import Path\n"
        "from metamery.analysis.experiment.server.app import Completion, make_app\n"
        "from metamery.analysis.experiment.server.sessions import Sessions\n"
        "folder = Path(sys.argv[1])\n"
        "app = make_app(folder / 'site', Sessions(folder), Completion('C0DE'))\n"
        "uvicorn.run(app, host='127.0.0.1', port=int(sys.argv[2]), log_level='error')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), str(port)])
    _wait_for(f"http://127.0.0.1:{port}")
    return process


def _wait_for(address: str) -> None:
    for _ in range(400):
        try:
            urlopen(address + "/index.html").close()
            return
        except (URLError, ConnectionError):
            time.sleep(0.05)
    raise AssertionError(f"nothing answers at {address}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (path := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Participant:
    """Someone who takes part, by mouse or by keyboard alone; `look` is called on every screen before it is answered."""

    def __init__(self, page: Any, keyboard: bool = False, look: Callable[[], object] = lambda: None) -> None:
        self.page, self.keyboard, self.look = page, keyboard, look
        self.answers: dict[tuple[str, int], str] = {}

    def press(self, name: str) -> None:
        button = self.page.get_by_role("button", name=name, exact=True)
        button.wait_for()
        self.look()
        if not self.keyboard:
            return button.click()
        for _ in range(20):
            if button.evaluate("(node) => node === document.activeElement"):
                return self.page.keyboard.press("Enter")
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach the button '{name}'")

    def choose(self, part: str, number: int, choice: int) -> None:
        """Take the answer at an index of the grid."""
        self.page.locator(".choices").wait_for()
        if number == 0:
            self.look()
        button = self.page.locator(".choice").nth(choice)
        self.answers[part, number] = CHOICES[choice] if part != "headphones" else str(choice + 1)
        if not self.keyboard:
            return button.click()
        columns = 3  # of six choices, and of three intervals
        steps = ["ArrowRight"] + ["ArrowDown"] * (choice // columns) + ["ArrowRight"] * (choice % columns)
        for key in [*steps, "Enter"]:
            self.page.keyboard.press(key)
        return None

    def type(self, part: str, number: int, choice: int) -> None:
        """Type the beginning of a word, take it from the list, and send it."""
        self.page.locator("#word").wait_for()
        name = CHOICES[choice]
        label = LABELS.get(name, name)
        self.page.keyboard.type(label[:3].upper())
        if number == 0:
            self.look()
        if label.lower() != label[:3].lower():
            self.page.keyboard.press("ArrowDown")
            self.page.keyboard.press("Enter")
        self.page.keyboard.press("Enter")
        self.answers[part, number] = name
        self.page.locator("#word").wait_for(state="detached")

    def begin(self) -> None:
        self.press("I agree")
        self.answers["consent", 0] = "agree"
        self.press("Start")
        self.answers["instructions", 0] = "read"

    def set_the_level(self) -> None:
        self.press("Play the noise")
        self.press("It is comfortable")
        self.answers["level", 0] = "comfortable"

    def check_headphones(self, choices: Sequence[int] = (0, 1, 2, 0)) -> None:
        for number, choice in enumerate(choices):
            if number % 2 == 0:
                self.press("Start")
            self.choose("headphones", number, choice)

    def practise(self, answer: Callable[[str, int, int], None], choices: Sequence[int] = (0, 1, 2, 3)) -> None:
        for number, choice in enumerate(choices):
            if number % 2 == 0:
                self.press("Start")
            answer("practice", number, choice)

    def do_block(self, answer: Callable[[str, int, int], None], numbers: Iterable[int]) -> None:
        self.press("Continue")
        for number in numbers:
            answer("main", number, (5 * number + 1) % len(CHOICES))

    def fill_survey(self) -> None:
        if self.keyboard:
            self.page.get_by_label("How old are you?").wait_for()
            self.page.keyboard.press("Tab")
            self.page.keyboard.type("33")
            for _ in range(2):
                self.page.keyboard.press("Tab")
            self.page.keyboard.type("<img src=x onerror=alert(1)>")
        else:
            self.page.get_by_label("How old are you?").fill("33")
            self.page.get_by_label("Anything else?").fill("<img src=x onerror=alert(1)>")
        self.answers |= {("survey", 0): "33", ("survey", 1): "", ("survey", 2): "<img src=x onerror=alert(1)>"}
        self.press("Continue")

    def finish(self) -> None:
        self.press("Finish")
        self.answers["debriefing", 0] = "read"
