import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from metamery.analysis.report import render, write_report
from metamery.analysis.report.curves import curve, draw
from metamery.analysis.report.stored import stored_models
from metamery.framework import MetameryError, open_study
from metamery.framework.domains import Domain, ImageDomain, WaveformDomain
from metamery.framework.schema import (
    STATES,
    fitted_variables,
    match_variables,
    metamer_variables,
    model_key,
    stimuli_variables,
)
from metamery.framework.store import Group, StudyStore

LAYERS = ["conv1", "blocks[0].relu", "output"]
SEEDS = [0, 1]
STIMULI = ["chelsea", "coffee", "rocket"]
STEPS = 7
REASON = "the loss is not finite after update 3"
IMAGE = ImageDomain(3, 8, 10)
SOUND = WaveformDomain(400, 8000)
FAILED = (2, 1, 0)  # layer, stimulus, seed
MISSING = (2, 2, 1)


def make_study(folder: Path, domains: dict[str, Domain], stimuli: list[str] = STIMULI, finished: bool = False) -> Path:
    """Make a small study; unless finished, one metamer of each model has failed and one is missing."""
    generator = np.random.default_rng(0)
    groups = {"stimuli": Group(stimuli_variables(), {"stimulus": stimuli})}
    for name, domain in domains.items():
        path = f"models/{model_key(name)}"
        sizes = dict(zip(domain.dims, domain.shape, strict=True))
        each = {"layer": LAYERS, "stimulus": stimuli, "seed": SEEDS}
        attributes = {
            "model": name,
            "labels": ["tabby, tabby cat", "espresso", "missile"],
            "label_space": "imagenet",
            "domain": str(domain),
            "domain_kind": domain.kind,
            "low": domain.low,
            "high": domain.high,
            "weights_sha256": "0123456789abcdef" * 4,
            "options": "{}",
        } | ({"sample_rate": domain.sample_rate} if isinstance(domain, WaveformDomain) else {})
        settings = {"preset": "fast", "distance": "inversion", "steps": STEPS - 1, "prior": None}
        groups |= {
            path: Group(attributes=attributes),
            f"{path}/stimuli": Group(fitted_variables(domain.dims), {"stimulus": stimuli}, sizes, {"stimulus": 2}),
            f"{path}/metamers": Group(
                metamer_variables(domain.dims),
                {**each, "step": list(range(STEPS))},
                sizes,
                {"layer": 1, "stimulus": 2},
                {"settings": json.dumps(settings)},
            ),
            f"{path}/match": Group(match_variables(), each),
        }
    root = {
        "metamery_version": "0.1.0",
        "torch_version": "2.12.0",
        "plugins": ["vision (metamery 0.1.0)"],
        "device": "cpu",
        "threads": 2,
        "study": "seed = 0\n",
        "created": "2026-03-12T14:05:00+00:00",
    }
    store = StudyStore.create(folder, groups, root)
    count = len(stimuli)
    text = {"category": "cat", "source": "https://example.org/cat", "licence": "CC0 1.0"}
    store.write("stimuli", {}, {name: np.array([value] * count, dtype=object) for name, value in text.items()})
    for name, domain in domains.items():
        path = f"models/{model_key(name)}"

        def signals(*shape: int, domain: Domain = domain) -> np.ndarray:
            return generator.uniform(domain.low, domain.high, (*shape, *domain.shape)).astype(np.float32)

        predicted = np.arange(count) % 3
        store.write(
            f"{path}/stimuli",
            {},
            {
                "signal": signals(count),
                "predicted": predicted,
                "confidence": np.full(count, 0.9),
                "correct": np.ones(count),
            },
        )
        shape = (len(LAYERS), count, len(SEEDS))
        state = np.full(shape, STATES["done"])
        reason = np.full(shape, "", dtype=object)
        if not finished:
            state[FAILED], reason[FAILED], state[MISSING] = STATES["failed"], REASON, STATES["missing"]
        done = state == STATES["done"]
        signal = np.where(done.reshape(*shape, *[1] * len(domain.shape)), signals(*shape), np.nan)
        loss = np.where(done[..., None], 0.5 ** np.arange(STEPS), np.nan)
        store.write(
            f"{path}/metamers",
            {},
            {
                "signal": signal,
                "loss": loss,
                "steps": np.where(done, STEPS - 1, -1),
                "reason": reason,
                "state": state,
                "modified_relu": [0, 1, 0],
            },
        )
        answer = np.where(done, predicted[:, None], -1)
        answer[1, 0, 0] = 1
        store.write(
            f"{path}/match",
            {},
            {
                "predicted": answer,
                "confidence": np.where(done, 0.41, np.nan),
                "agrees": np.where(done, answer == predicted[:, None], -1),
            },
        )
    return folder


class Page(HTMLParser):
    """What a page holds: its elements in order, and its text without style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._skipping = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._skipping = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._skipping = False

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study", {"vision:net": IMAGE, "audio:net": SOUND})


@pytest.fixture
def page(study: Path) -> Page:
    return Page(write_report(study).read_text(encoding="utf-8"))


def test_the_report_lies_in_the_study_and_nothing_else_is_left(study: Path) -> None:
    before = {path.name for path in study.iterdir()}
    report = write_report(study)
    assert report == study / "report.html"
    assert {path.name for path in study.iterdir()} - before == {"report.html"}


def test_the_same_study_gives_the_same_bytes(study: Path) -> None:
    first = write_report(study).read_bytes()
    assert write_report(study).read_bytes() == first


def test_no_element_loads_anything_from_outside(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "poster", "action", "xlink:href"):
            if value := attributes.get(name):
                assert value.startswith(("data:", "#")) or tag == "a", (tag, name, value[:60])


def test_every_id_is_there_once(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_picture_says_what_it_is(page: Page) -> None:
    alts = [attributes.get("alt") for attributes in page.of("img")]
    natural, metamers = len(STIMULI), len(LAYERS) * len(STIMULI) * len(SEEDS) - 2
    assert len(alts) == 2 * (natural + metamers)
    assert all(alts)
    assert "metamer of chelsea at layer conv1; the network says tabby (0.41)" in alts
    assert "natural signal coffee; the network says espresso (0.90)" in alts


def test_every_stimulus_layer_and_fact_is_there(page: Page) -> None:
    for word in [*STIMULI, *LAYERS, "vision:net", "audio:net", "fast", "12 March 2026, 14:05 UTC", "CC0 1.0"]:
        assert word in page.text
    for word in ["seed = 0", "2.12.0", "vision (metamery 0.1.0)", "0123456789abcdef" * 4, "inversion"]:
        assert word in page.text
    assert {"href": "https://example.org/cat", "rel": "noreferrer"} in page.of("a")


def test_failed_and_missing_metamers_are_shown_as_such(page: Page) -> None:
    assert page.text.count(REASON) == 2
    assert page.text.count("not made yet") == 2 + 1  # and the notice in the head
    assert "32 of 36 made, 2 failed" in page.text
    assert "This study is not finished" in page.text


def test_a_finished_study_has_no_notice(tmp_path: Path) -> None:
    folder = make_study(tmp_path, {"vision:net": IMAGE}, finished=True)
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "18 of 18 made" in text
    assert "not finished" not in text
    assert "not made yet" not in text


def test_the_figures_of_each_layer(page: Page) -> None:
    assert "conv1 no 6/6 0 6 0.0156 (0.0156 to 0.0156) 6/6" in page.text
    assert "blocks[0].relu yes 6/6 0 6 0.0156 (0.0156 to 0.0156) 5/6" in page.text
    assert "output no 4/6 1 6 0.0156 (0.0156 to 0.0156) 4/4" in page.text


def test_agreement_is_told_by_a_sign_with_a_name(page: Page) -> None:
    names = [span.get("aria-label") for span in page.of("span") if span.get("role") == "img"]
    assert names.count("differs from the natural label") == 2
    assert names.count("agrees with the natural label") == 2 * 15


def test_sounds_can_be_played(page: Page) -> None:
    players = page.of("audio")
    assert len(players) == 19
    assert all((player["src"] or "").startswith("data:audio/wav;base64,") for player in players)
    assert all(player["aria-label"] for player in players)


def test_names_are_escaped(tmp_path: Path) -> None:
    hostile = ["<script>alert(1)</script>", '" onerror="alert(2)', "</td>&amp;"]
    page = Page(write_report(make_study(tmp_path, {"vision:<b>net": IMAGE}, hostile)).read_text(encoding="utf-8"))
    assert len(page.of("script")) == 1
    assert not page.of("b")
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert all(name in page.text for name in hostile)


def test_a_long_gallery_says_what_it_leaves_out(study: Path) -> None:
    with open_study(study) as tree:
        page = Page(render(tree, count=2))
    assert page.text.count("The first 2 of 3 stimuli are shown") == 2
    assert len(page.of("img")) == 2 * (2 + 2 * len(LAYERS) * len(SEEDS) - 1)


def test_a_study_without_match_and_labels_is_shown(tmp_path: Path) -> None:
    folder = make_study(tmp_path, {"vision:net": IMAGE})
    shutil.rmtree(folder / "results.zarr" / "models" / "vision+net" / "match")
    with open_study(folder) as tree:
        model = stored_models(tree)[0]
        assert model.label(2) == "missile"
        assert model.label(7) == "class 7"
        assert model.label(-1) == ""
        text = Page(render(tree)).text
    assert "no label" in text
    assert "nan" not in text.split()


def test_a_study_without_models_is_refused(tmp_path: Path) -> None:
    StudyStore.create(tmp_path, {"stimuli": Group(stimuli_variables(), {"stimulus": STIMULI})}, {})
    with pytest.raises(MetameryError, match="hold no model"):
        write_report(tmp_path)


def test_a_loss_goes_on_after_an_early_stop(study: Path) -> None:
    store = StudyStore.reopen(study)
    store.write(
        "models/vision+net/metamers",
        {"layer": slice(0, 1), "stimulus": slice(0, 1), "seed": slice(0, 1), "step": slice(3, STEPS)},
        {"loss": np.full((1, 1, 1, STEPS - 3), math.nan)},
    )
    with open_study(study) as tree:
        [losses] = [model.losses(0) for model in stored_models(tree) if model.name == "vision:net"]
    assert losses[0, 0].tolist() == [1.0, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]


def test_a_curve_is_the_median_with_its_range_at_few_points() -> None:
    updates = np.arange(2001.0)
    losses = np.stack([updates, 3 * updates, 5 * updates]).astype(np.float32)
    reduced = curve(updates, losses)
    assert reduced is not None
    assert len(reduced.updates) == 500
    assert reduced.updates[[0, -1]].tolist() == [0, 2000]
    np.testing.assert_array_equal(reduced.median, 3 * reduced.updates)
    np.testing.assert_array_equal(reduced.lowest, reduced.updates)
    np.testing.assert_array_equal(reduced.highest, 5 * reduced.updates)


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([[1.0, 0.5]], id="linear"),
        pytest.param([[1.0, 1e-6]], id="logarithmic"),
        pytest.param([[1.0, 0.04]], id="a decade or so"),
        pytest.param([[0.0, 0.0]], id="nothing to lower"),
        pytest.param([[2.0, math.inf]], id="infinite"),
    ],
)
def test_curves_take_the_colours_of_the_page(losses: list[list[float]]) -> None:
    drawing, nothing = draw([curve(np.arange(2.0), np.array(losses, dtype=np.float32)), None], "salt")
    assert drawing.startswith("<svg")
    assert "currentColor" in drawing
    assert "var(--accent)" in drawing
    assert "#0" not in drawing.replace("#00", "")
    assert "<text" in drawing
    assert nothing == ""


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1400])
def test_in_a_browser(browser, study: Path, width: int, scheme: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        address = write_report(study).as_uri()
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")

        first = page.locator("#gallery-vision\\+net img[alt^='metamer of chelsea at layer conv1']").first
        button = first.locator("xpath=..")
        button.focus()
        page.keyboard.press("Enter")
        viewer = page.locator("#viewer")
        viewer.wait_for(state="visible")
        assert viewer.locator("img").count() == 2
        assert "metamer at conv1, seed 0" in viewer.inner_text()
        page.keyboard.press("ArrowRight")
        assert "metamer at blocks[0].relu, seed 0" in viewer.inner_text()
        page.keyboard.press("Escape")
        viewer.wait_for(state="hidden")
        page.wait_for_function("document.activeElement.classList.contains('enlarge')")

        page.locator("#gallery-audio\\+net .seed").first.wait_for(state="visible")
        page.locator("input[name='seed-vision+net'][value='1']").check(force=True)
        assert first.is_hidden()
        assert page.locator("#gallery-vision\\+net .seed[data-seed='1']").first.is_visible()
        assert page.locator("#gallery-audio\\+net .seed[data-seed='0']").first.is_visible()

        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [address]
    finally:
        context.close()
