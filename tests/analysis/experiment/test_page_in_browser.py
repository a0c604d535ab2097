"""An experiment in Chromium: from consent to completion, and what may go wrong on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from experiment_pages import SECONDS, TRIALS, Participant, chromium, free_port, make_experiment, served, start_process
from metamery.analysis.experiment import page as experiment_page
from metamery.analysis.experiment.key import Key
from metamery.analysis.experiment.records import PARTS, Record, read_lines

try:
    import axe_playwright_python.base as AXE
except ImportError:
    AXE = None

pytestmark = pytest.mark.slow
pytest.importorskip("starlette")

ONLY_MAIN = {"parts": ["main"]}
TIMEOUT_MS = 20_000
OTHER_TAB = re.compile("open in another tab")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@contextmanager
def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page whose scripts must not fail."""
    context = browser.new_context(**options)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert failures == []


def saved(folder: Path) -> list[Record]:
    """The records of the only session, in the order in which they came."""
    from metamery.analysis.experiment.server.sessions import read

    (session,) = read(folder)
    return list(session.records)


def answers(records: list[Record]) -> dict[tuple[str, int], str]:
    assert len({(record.part, record.number) for record in records}) == len(records)
    return {(record.part, record.number): record.answer for record in records}


def sees(page: Any, words: str | re.Pattern[str]) -> None:
    page.get_by_text(words).first.wait_for()


# A whole session of each kind, once, and what is asked of it.


@dataclass
class Seen:
    folder: Path
    key: Key
    participant: Participant
    address: str
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    screens: int = 0


@pytest.fixture(scope="module", params=["picture", "sound"])
def seen(request: pytest.FixtureRequest, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A session by the keyboard alone, for which every screen is looked at by axe-core."""
    axe = AXE.AXE_FILE_PATH.read_text(encoding="utf-8") if AXE else ""
    folder = tmp_path_factory.mktemp(request.param)
    key = make_experiment(folder, request.param)
    context = browser.new_context(viewport={"width": 1024, "height": 600})
    context.set_default_timeout(TIMEOUT_MS)
    with served(folder) as address:
        page = context.new_page()
        seen = Seen(folder, key, Participant(page, keyboard=True, look=lambda: look_at(page, seen, axe)), address)
        page.on("console", lambda message: seen.console.append(message.text))
        page.on("pageerror", lambda error: seen.console.append(str(error)))
        page.on("request", lambda sent: seen.requests.append(sent.url))
        page.goto(address + "/?PROLIFIC_PID=5f0c&STUDY_ID=s1&SESSION_ID=v1")
        whole_session(seen.participant, request.param)
        page.get_by_text("C0DE", exact=True).wait_for()
        seen.participant.look()
        assert page.get_by_role("link").get_attribute("href") == "https://example.org/done?cc=C0DE"
        context.close()
    return seen


def look_at(page: Any, seen: Seen, axe: str) -> None:
    if not axe:
        return
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then((results) => results.violations)")
    seen.screens += 1
    for violation in found:
        nodes = seen.violations.setdefault(violation["id"], [violation["impact"]])
        nodes += [node["html"] for node in violation["nodes"]]


def whole_session(participant: Participant, kind: str) -> None:
    answer = participant.type if kind == "sound" else participant.choose
    participant.begin()
    if kind == "sound":
        participant.set_the_level()
        participant.check_headphones()
    participant.practise(answer)
    for block in range(2):
        participant.do_block(answer, range(3 * block, 3 * block + 3))
    participant.fill_survey()
    participant.finish()


def test_the_records_are_the_answers_in_order(seen: Seen) -> None:
    records = saved(seen.folder)
    assert answers(records) == seen.participant.answers
    parts = [part for part in PARTS if any(record.part == part for record in records)]
    assert [(r.part, r.number) for r in records] == sorted(
        ((r.part, r.number) for r in records), key=lambda each: (parts.index(each[0]), each[1])
    )
    assert [r.item for r in records if r.part == "main"] == seen.key.trials(0)
    assert len(seen.key.trials(0)) == TRIALS


def test_the_times_are_plausible(seen: Seen) -> None:
    records = saved(seen.folder)
    assert [r.at_ms for r in records] == sorted(r.at_ms for r in records)
    assert not any(r.hidden for r in records)
    longer = []
    for trial in [r for r in records if r.part in ("practice", "main", "headphones")]:
        assert 0 < trial.rt_ms < TIMEOUT_MS
        slow = (trial.part, trial.number) == ("practice", 0)
        asked_for = 1000 * SECONDS if seen.key.kind == "sound" else 120 if slow else 100
        longer.append(trial.shown_ms - asked_for)
    assert min(longer) > -60
    assert median(longer) < 60  # a busy machine tells a page late of the end of a sound now and then
    assert all(r.shown_ms == -1 for r in records if r.part in ("consent", "instructions", "survey", "debriefing"))


def test_all_requests_are_local_and_the_console_is_empty(seen: Seen) -> None:
    assert seen.console == []
    assert [url for url in seen.requests if not url.startswith(seen.address + "/")] == []


@pytest.mark.skipif(not AXE, reason="axe-playwright-python is not installed")
def test_axe_finds_nothing_on_any_screen(seen: Seen) -> None:
    assert seen.screens >= 11
    assert seen.violations == {}


def test_what_is_served_does_not_tell_the_answers(seen: Seen) -> None:
    names = [json.dumps(item.stimulus) for item in seen.key.items.values() if item.role == "main"]
    read = [path for path in (seen.folder / "site").rglob("*") if path.suffix in (".json", ".html")]
    for path in read:
        assert not [name for name in names if name in path.read_text(encoding="utf-8")], path


# Interruptions.


def begin_main(page: Any, answered: int) -> Participant:
    """Answer some trials of an experiment that is its main part alone, in blocks of three."""
    participant = Participant(page)
    participant.press("Start")
    go_on(participant, 0, answered)
    return participant


def go_on(participant: Participant, first: int, last: int) -> None:
    for number in range(first, last):
        if number % 3 == 0:
            participant.press("Continue")
        participant.choose("main", number, number % 6)


def test_a_reload_goes_on_at_the_first_unanswered_trial(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, address) as page:
        participant = begin_main(page, 4)
        page.reload()
        sees(page, "Welcome back")
        participant.press("Continue")
        go_on(participant, 4, 6)
        page.get_by_text("C0DE", exact=True).wait_for()
        page.reload()
        page.get_by_text("C0DE", exact=True).wait_for()
    assert answers(saved(tmp_path)) == participant.answers
    assert len(participant.answers) == TRIALS


@pytest.mark.parametrize("locks", [True, False], ids=["web-locks", "lease-of-the-server"])
def test_a_second_tab_waits_until_the_first_is_closed(browser: Any, tmp_path: Path, locks: bool) -> None:
    make_experiment(tmp_path, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, address) as first:
        context = first.context
        if not locks:
            context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
            first.reload()
        participant = begin_main(first, 1)
        second = context.new_page()
        second.goto(address)
        sees(second, OTHER_TAB)
        assert second.get_by_role("button").count() == 0
        go_on(participant, 1, 2)
        first.goto("about:blank")
        participant.page = second
        sees(second, "Welcome back")
        participant.press("Continue")
        go_on(participant, 2, 6)
        second.get_by_text("C0DE", exact=True).wait_for()
    assert answers(saved(tmp_path)) == participant.answers


def test_a_killed_server_loses_nothing(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path, **ONLY_MAIN)
    port = free_port()
    process = start_process(tmp_path, port)
    try:
        with opened(browser, f"http://127.0.0.1:{port}") as page:
            participant = begin_main(page, 4)
            page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.includes('/unsaved/'))")
            process.kill()
            process.wait()
            assert answers(saved(tmp_path)) == participant.answers
            go_on(participant, 4, 5)
            sees(page, re.compile("not saved yet"))
            process = start_process(tmp_path, port)
            go_on(participant, 5, 6)
            page.get_by_text("C0DE", exact=True).wait_for()
    finally:
        process.kill()
        process.wait()
    assert answers(saved(tmp_path)) == participant.answers
    assert len(participant.answers) == TRIALS


def test_a_cut_network_loses_nothing_and_gives_no_code(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, address) as page:
        participant = begin_main(page, 4)
        page.context.set_offline(True)
        go_on(participant, 4, 6)
        sees(page, re.compile("still to be saved|No connection"))
        page.wait_for_timeout(1500)
        assert page.get_by_text("C0DE").count() == 0
        assert len(saved(tmp_path)) in (4, 5)
        page.context.set_offline(False)
        page.get_by_text("C0DE", exact=True).wait_for()
    assert answers(saved(tmp_path)) == participant.answers
    assert [record.number for record in saved(tmp_path)] == list(range(TRIALS))


def test_a_reload_without_network_sends_what_was_answered(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, address) as page:
        participant = begin_main(page, 1)
        page.route("**/records/**", lambda route: route.abort())
        go_on(participant, 1, 3)
        page.unroute("**/records/**")
        page.reload()
        participant.press("Continue")
        go_on(participant, 3, 6)
        page.get_by_text("C0DE", exact=True).wait_for()
    assert answers(saved(tmp_path)) == participant.answers


def test_files_that_do_not_load_are_tried_again(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, "about:blank") as page:
        page.route("**/media/mask0.png", lambda route: route.abort())
        page.goto(address)
        participant = Participant(page)
        participant.press("Start")
        sees(page, "Some files did not load")
        page.unroute("**/media/mask0.png")
        participant.press("Try again")
        go_on(participant, 0, 1)


# Ends before the time.


@pytest.mark.parametrize(
    ("kind", "end", "words"),
    [
        ("picture", "consent", "You did not agree"),
        ("picture", "practice", "too hard"),
        ("sound", "headphones", "your headphones"),
    ],
)
def test_a_visit_ends_politely(browser: Any, tmp_path: Path, kind: str, end: str, words: str) -> None:
    from metamery.analysis.experiment.server.sessions import read

    make_experiment(tmp_path, kind, parts=["consent", "headphones", "practice", "main"])
    with served(tmp_path) as address, opened(browser, address) as page:
        participant = Participant(page)
        if end == "consent":
            participant.press("I do not agree")
        else:
            participant.press("I agree")
        if end == "headphones":
            participant.press("Start")
            participant.choose("headphones", 0, 2)
            participant.choose("headphones", 1, 2)
        if end == "practice":
            participant.practise(participant.choose, (0, 1, 5, 5))
        sees(page, re.compile(words))
        assert page.get_by_text("C0DE").count() == 0
        page.reload()
        sees(page, re.compile(words))
    assert [session.end for session in read(tmp_path)] == [end]


def test_lists_that_are_full_are_said(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path, **ONLY_MAIN)
    body = {"error": "all lists are full", "reason": "full"}
    with served(tmp_path) as address, opened(browser, "about:blank") as page:
        page.route("**/api/sessions", lambda route: route.fulfill(status=410, json=body))
        page.goto(address)
        sees(page, re.compile("All places in this experiment are taken"))


def test_opened_as_a_file_the_page_says_how_to_serve_it(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path)
    with opened(browser, (tmp_path / "site" / "index.html").as_uri()) as page:
        assert "metamery experiment serve" in page.locator("main").inner_text()


# Answers.


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1024, 600), (390, 844)])
def test_sixteen_answers_fit_without_scrolling(browser: Any, tmp_path: Path, width: int, height: int) -> None:
    icons = sorted((Path(experiment_page.__file__).parent / "site" / "icons").glob("*.svg"))[:16]
    choices = [{"name": icon.stem, "label": icon.stem, "icon": f"icons/{icon.name}"} for icon in icons]
    make_experiment(tmp_path, answers={"form": "grid", "choices": choices}, **ONLY_MAIN)
    viewport = {"width": width, "height": height}
    with served(tmp_path) as address, opened(browser, address, viewport=viewport, has_touch=True) as page:
        participant = begin_main(page, 0)
        participant.press("Continue")
        page.locator(".choices").wait_for()
        assert page.evaluate("document.documentElement.scrollHeight") <= height
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [button.bounding_box() for button in page.locator(".choice").all()]
        assert len(boxes) == 16
        assert all(box["width"] >= 44 and box["height"] >= 44 for box in boxes)
        page.locator(".choice").first.tap()
        page.locator("canvas").wait_for()


def test_a_trial_offers_its_own_alternatives(browser: Any, tmp_path: Path) -> None:
    alternatives = {0: ("airplane", "cat"), 2: ("bird", "dog", "oven")}
    make_experiment(tmp_path, alternatives=alternatives, **ONLY_MAIN)
    labels = [["aeroplane", "cat"], ["aeroplane", "polar bear", "bird", "cat", "dog", "oven"], ["bird", "dog", "oven"]]
    with served(tmp_path) as address, opened(browser, address) as page:
        Participant(page).press("Start")
        Participant(page).press("Continue")
        for offered in labels:
            page.locator(".choices").wait_for()
            assert page.locator(".choice").all_inner_texts() == offered
            for key in ("ArrowRight", "ArrowRight", "Enter"):  # the second answer, by keys
                page.keyboard.press(key)
            page.locator(".choices").wait_for(state="detached")
        sees(page, "Continue")
    assert answers(saved(tmp_path)) == {("main", 0): "cat", ("main", 1): "bear", ("main", 2): "dog"}


def test_typed_words_are_those_of_the_trial(browser: Any, tmp_path: Path) -> None:
    choices = [{"name": name, "label": name, "icon": None} for name in ("airplane", "bear", "bird")]
    typed = {"form": "typed", "choices": choices}
    make_experiment(tmp_path, alternatives={0: ("airplane", "bird")}, answers=typed, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, address) as page:
        Participant(page).press("Start")
        Participant(page).press("Continue")
        page.get_by_role("combobox").fill("b")
        assert page.get_by_role("option").all_inner_texts() == ["bird"]
        page.get_by_role("combobox").fill("bear")
        assert page.get_by_role("button", name="Send").is_disabled()


def test_only_words_of_the_list_can_be_sent(browser: Any, tmp_path: Path) -> None:
    choices = [{"name": name, "label": name, "icon": None} for name in ("airplane", "bear", "bird")]
    make_experiment(tmp_path, answers={"form": "typed", "choices": choices}, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, address) as page:
        participant = begin_main(page, 0)
        participant.press("Continue")
        field, send = page.get_by_role("combobox"), page.get_by_role("button", name="Send")
        field.fill("b")
        assert page.get_by_role("option").all_inner_texts() == ["bear", "bird"]
        assert send.is_disabled()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowUp")
        marked = field.get_attribute("aria-activedescendant")
        assert page.locator(f"#{marked}").inner_text() == "bird"
        page.keyboard.press("Escape")
        assert field.get_attribute("aria-expanded") == "false"
        field.fill("zebra")
        sees(page, re.compile("No word of the list"))
        assert send.is_disabled()
        field.fill("be")
        page.get_by_role("option", name="bear").click()
        assert field.input_value() == "bear"
        send.click()
        page.locator("canvas").wait_for()
    assert answers(saved(tmp_path)) == {("main", 0): "bear"}


# Other ways of saving: without the server's interface.


def lines_of(text: str) -> dict[tuple[str, int], str]:
    (session,) = read_lines(text)
    assert session.end == "completed"
    assert session.identifiers == {"participant": "p7"}
    assert session.browser["protocol"] == "http"
    return answers(list(session.records))


def complete(page: Any) -> Participant:
    participant = begin_main(page, 0)
    go_on(participant, 0, 6)
    return participant


def test_answers_are_downloaded(browser: Any, tmp_path: Path) -> None:
    completion = {"code": "XYZ", "redirect": ""}
    key = make_experiment(tmp_path, saving={"to": "download"}, completion=completion, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, f"{address}/?participant=p7&list=1") as page:
        participant = complete(page)
        assert page.get_by_role("button", name="Continue").is_disabled()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download my answers").click()
        text = Path(download.value.path()).read_text(encoding="utf-8")
        participant.press("Continue")
        page.get_by_text("XYZ", exact=True).wait_for()
    assert lines_of(text) == participant.answers
    (session,) = read_lines(text)
    assert session.list_ == 1
    assert [record.item for record in session.records] == key.trials(1)


def test_datapipe_is_asked_until_it_has_the_data(browser: Any, tmp_path: Path) -> None:
    completion = {"code": "XYZ", "redirect": ""}
    saving = {"to": "datapipe", "experiment_id": "abc"}
    make_experiment(tmp_path, saving=saving, completion=completion, **ONLY_MAIN)
    asked: list[dict[str, Any]] = []

    def pipe(route: Any) -> None:
        if route.request.url.endswith("/condition/"):
            return route.fulfill(status=200, json={"condition": 3}, headers={"Access-Control-Allow-Origin": "*"})
        asked.append(route.request.post_data_json)
        status = 201 if len(asked) > 1 else 500
        return route.fulfill(status=status, json={"error": "X"}, headers={"Access-Control-Allow-Origin": "*"})

    with served(tmp_path) as address, opened(browser, "about:blank") as page:
        without_header(page)
        page.route("https://pipe.jspsych.org/**", pipe)
        page.goto(f"{address}/?participant=p7")
        participant = complete(page)
        page.get_by_text("XYZ", exact=True).wait_for()
    assert [each["experimentID"] for each in asked] == ["abc", "abc"]
    assert asked[0] == asked[1]
    assert asked[1]["filename"].endswith(".jsonl")
    assert lines_of(asked[1]["data"]) == participant.answers
    (session,) = read_lines(asked[1]["data"])
    assert session.list_ == 1  # condition 3 of two lists


def test_without_datapipe_the_answers_are_offered_as_a_file(browser: Any, tmp_path: Path) -> None:
    saving = {"to": "datapipe", "experiment_id": "abc"}
    make_experiment(tmp_path, saving=saving, completion={"code": "XYZ", "redirect": ""}, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, "about:blank") as page:
        without_header(page)
        page.route("https://pipe.jspsych.org/**", lambda route: route.abort())
        page.clock.install()
        page.goto(f"{address}/?participant=p7")
        participant = complete(page)
        for _ in range(5):
            page.wait_for_timeout(100)
            page.clock.fast_forward(20_000)
        sees(page, "Your answers are not saved yet")
        assert page.get_by_text("XYZ").count() == 0
        with page.expect_download() as download:
            page.get_by_role("link", name="Download my answers").click()
        text = Path(download.value.path()).read_text(encoding="utf-8")
    assert lines_of(text) == participant.answers


def without_header(page: Any) -> None:
    """A host that names no content security policy, as a static one does: that of the page's own element holds."""

    def answer(route: Any) -> None:
        response = route.fetch()
        names = {"content-security-policy", "cross-origin-embedder-policy"}
        route.fulfill(response=response, headers={k: v for k, v in response.headers.items() if k not in names})

    page.route("**/", answer)
    page.route("**/?*", answer)


JATOS = """
const batch = { next: 4 };
window.lines = [];
window.jatos = {
  studyRunId: 7, urlQueryParameters: { participant: "p7" },
  batchSession: { get: () => batch.next, set: async (name, value) => { batch.next = value; } },
  onLoad: (ready) => setTimeout(ready, 10),
  appendResultData: async (text) => {
    if (window.refused-- > 0) throw new Error("no network");
    window.lines.push(text);
  },
  endStudyWithoutRedirect: async (successful, message) => { window.end = [successful, message]; },
};
window.refused = 1;
"""


def test_jatos_gets_the_lines_block_by_block(browser: Any, tmp_path: Path) -> None:
    make_experiment(tmp_path, saving={"to": "jatos"}, completion={"code": "XYZ", "redirect": ""}, **ONLY_MAIN)
    (tmp_path / "site" / "jatos.js").write_text(JATOS)
    with served(tmp_path) as address, opened(browser, address) as page:
        participant = begin_main(page, 3)
        sees(page, re.compile("not saved yet"))  # the first block was refused, and comes with the second
        go_on(participant, 3, 6)
        page.get_by_text("XYZ", exact=True).wait_for()
        lines, end = page.evaluate("[lines, end]")
    assert end == [True, "completed"]
    assert len(lines) == 2
    assert lines_of("".join(lines)) == participant.answers
    (session,) = read_lines("".join(lines))
    assert session.list_ == 0


# Times on the screen.


def test_pictures_are_shown_for_the_time_asked_for(browser: Any, tmp_path: Path) -> None:
    timing = {"fixation": 100, "signal": 300, "mask": 100, "practice": [0, 0, 0], "slow_practice": 0}
    make_experiment(tmp_path, trials=12, timing=timing, **ONLY_MAIN)
    with served(tmp_path) as address, opened(browser, "about:blank") as page:
        page.add_init_script(DRAWINGS)
        page.goto(address)
        participant = begin_main(page, 0)
        for number in range(12):
            if number % 6 == 0:
                participant.press("Continue")
            participant.choose("main", number, 0)
        page.get_by_text("C0DE", exact=True).wait_for()
        drawn = page.evaluate("drawings")
    told = [record.shown_ms for record in saved(tmp_path)]
    frame = 1000 / 60
    measured = [mask - picture for picture, mask in zip(drawn[::2], drawn[1::2], strict=True)]
    assert told == pytest.approx(measured, abs=0.1)
    within = [abs(shown - 300) < frame for shown in told]
    assert sum(within) >= 10, told  # a busy machine may lose a frame
    assert min(told) > 300 - frame


# The picture and the mask are drawn once each in a trial; notes the frames.
DRAWINGS = """
window.drawings = [];
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (...given) {
  window.drawings.push(document.timeline.currentTime);
  return draw.apply(this, given);
};
"""
