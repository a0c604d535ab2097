import base64
import io
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from metamery.analysis.report import render, write_report
from metamery.analysis.report.charts import Chart, linear
from metamery.analysis.report.curves import curve, drawn_updates, loss_charts
from metamery.analysis.report.evaluations import evaluations
from metamery.analysis.report.matrix import shade
from metamery.analysis.statistics.proportions import proportion
from metamery.framework import open_study
from metamery.framework.domains import ImageDomain, WaveformDomain
from metamery.framework.model_results import models_of
from metamery.framework.schema import match_variables, null_variables, site_coordinates, success_variables
from metamery.framework.store import StudyStore
from PIL import Image
from studies import IMAGE, LAYERS, MEASURED, METRICS, REASON, SEEDS, SOUND, STEPS, STIMULI, add_evaluations, make_study


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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_study(tmp_path_factory.mktemp("report") / "study", {"vision:net": IMAGE, "audio:net": SOUND})
    add_evaluations(folder)
    write_report(folder)
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A study of its own for each test, without a report."""
    return Path(shutil.copytree(made, tmp_path / "study", ignore=shutil.ignore_patterns("report.html")))


@pytest.fixture(scope="module")
def page(made: Path) -> Page:
    return Page((made / "report.html").read_text(encoding="utf-8"))


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
    loss = "6 0.0156 (0.0156 to 0.0156)"
    assert f"conv1 6/6 (0.610 to 1) 6/6 (0.610 to 1) 6/6 (0.610 to 1) 6/6 (0.610 to 1) 0 6/6 0 {loss} no" in page.text
    shares = "4/6 (0.300 to 0.903) 5/6 (0.436 to 0.970) 5/6 (0.436 to 0.970) 3/6 (0.188 to 0.812)"
    assert f"blocks[0].relu {shares} 0 6/6 0 {loss} yes" in page.text
    assert f"output – – 4/4 (0.510 to 1) – 4 4/6 1 {loss} no" in page.text


def test_success_is_marked(page: Page) -> None:
    words = [span.get("class") for span in page.of("span")]
    keys = 2  # of the marks, one per model
    assert words.count("verdict succeeds") == keys + 2 * 10
    assert words.count("verdict fails") == 2 * keys + 2 * 2
    assert words.count("verdict open") == keys + 2 * 4
    assert words.count("lost") == 2
    assert "● succeeds not in 8 bits" in page.text
    assert "≠ espresso 0.41 ◐ other label" in page.text
    assert "○ does not match r 0.400 ρ 0.390 4.4 dB" in page.text
    assert "◌ unattainable" in page.text
    assert "success 4/6 (0.300 to 0.903)" in page.text
    assert "output median loss 0.0156 same label 4/4 success unattainable" in page.text
    against = [span["title"] for span in page.of("span") if span.get("class") == "judged"]
    assert (
        "r 0.400 (the null’s maximum is 0.610); ρ 0.390 (the null’s maximum is 0.560); "
        "SNR 4.4 dB (the null’s maximum is 1.8 dB)"
    ) in against


def test_a_perfect_match_is_infinite(page: Page) -> None:
    assert page.text.count("r 1 ρ 1 ∞ dB") == 2
    assert "coffee conv1 1 espresso 0.0156 1 1 ∞ 0 100 succeeds succeeds" in page.text
    assert any("arrows" in (path.get("class") or "") and "metamers" in path["class"] for path in page.of("path"))


def test_the_null_says_what_it_is(page: Page) -> None:
    assert "Here these are the study's own: 6 signals, 3 pairs." in page.text
    assert "Few pairs: the best of 3 is a low bar" in page.text
    assert "Left out of the null as near-duplicates: coffee-2: nearly the same as coffee." in page.text
    assert "conv1 0.600 coffee and rocket 0.550 coffee and rocket 1.8 coffee and rocket" in page.text


def test_many_pairs_are_not_said_to_be_few(tmp_path: Path) -> None:
    folder = make_study(tmp_path, {"vision:net": IMAGE}, pairs=1000)
    text = Page(write_report(folder).read_text(encoding="utf-8")).text
    assert "2,000 signals, 1,000 pairs." in text
    assert "Few pairs" not in text


def test_a_study_without_null_says_so(tmp_path: Path) -> None:
    page = Page(write_report(make_study(tmp_path, {"vision:net": IMAGE}, null=False)).read_text(encoding="utf-8"))
    assert "No null: there is nothing to hold these matches against" in page.text
    assert "succeeds" not in page.text
    assert "unattainable:" not in page.text
    assert "blocks[0].relu – – 5/6 (0.436 to 0.970) – 0" in page.text
    assert "r 0.9" in page.text
    assert sum(svg.get("class") == "chart" for svg in page.of("svg")) == 3 + len(LAYERS)


@pytest.mark.filterwarnings("ignore:.* is damaged")
@pytest.mark.parametrize("lost", ["signal", "match", "everything"])
def test_a_study_that_has_hardly_begun_is_shown(tmp_path: Path, lost: str) -> None:
    folder = make_study(tmp_path, {"vision:net": IMAGE})
    store = StudyStore.reopen(folder)
    shape = (len(LAYERS), len(STIMULI), len(SEEDS))
    if lost in ("match", "everything"):
        for name, variable in (match_variables() | success_variables()).items():
            store.write("models/vision+net/match", {}, {name: variable.fill})
    if lost in ("signal", "everything"):
        empty = {"signal": np.nan, "loss": np.nan, "state": np.zeros(shape), "steps": -1}
        store.write("models/vision+net/metamers", {}, empty)
    if lost == "everything":
        for name, variable in null_variables().items():
            store.write("models/vision+net/null", {}, {name: variable.fill})
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert not {"nan", "NaN", "inf", "None"} & {*page.text.split()}
    assert "No metamer is made yet" in page.text  # one without its match has to be made again
    assert ("No null" in page.text) is (lost == "everything")


def test_the_matrix_holds_the_median_match(page: Page, made: Path) -> None:
    with open_study(made) as tree:
        match = tree["models/vision+net/match"]["match"].load()
    shown = match.sel(metric="snr_db_2023").median(["stimulus", "seed"])
    for layer in LAYERS:
        row = [f"{float(shown.sel(layer=layer, measured_layer=measured)):.1f}" for measured in MEASURED]
        assert " ".join([layer, *row]) in page.text
    assert len([table for table in page.of("table") if "matrix" in (table.get("class") or "")]) >= 2 * len(METRICS)


def test_a_colour_goes_with_its_number() -> None:
    assert shade(-0.2, 0.0, 1.0) == 0
    assert shade(math.inf, 0.0, 30.0) == 100
    assert shade(0.1, 1.0, 0.0) == 90
    assert shade(3.0, 2.0, 2.0) == 50
    assert shade(math.nan, 0.0, 1.0) is None


def test_evaluations_of_any_kind_are_shown(page: Page) -> None:
    for words in [
        "What <others> say elsewhere Asked twice & again.",
        "proportion of metamers recognised agreement , unitless",
        "from agreement_low to agreement_high",
        "recognition/vision+net",
        "correct , unitless; mean over stimulus and seed",
        "angle angle , degrees",
        "accuracy under attack robust , percent",
        "class given classes , unitless 18 values over layer × stimulus × seed, not printed here",
        "It also holds text: words .",
        "alone 0.250",
    ]:
        assert words in page.text, words
    assert "agreement_low , unitless" not in page.text
    assert not page.of("two")


def test_evaluations_leave_out_what_is_missing(made: Path) -> None:
    with open_study(made) as tree:
        by_path = {item.path: item for item in evaluations(tree)}
        correct = tree["recognition/vision+net"]["correct"].values
    assert sorted(by_path) == ["elsewhere", "models/vision+net/geometry", "odd", "recognition/vision+net"]
    [shown] = by_path["recognition/vision+net"].results
    assert shown.table is not None
    known = correct[0][correct[0] >= 0]
    assert known.size == correct[0].size - 1
    assert shown.table.rows[0][2][0].text == f"{known.mean():#.3g}"
    model = {name: cells for name, _, cells in by_path["elsewhere"].results[0].table.rows}["b:<two>"]
    assert model[2].text == "–"


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
        model = models_of(tree)[0]
        assert model.label(2) == "missile"
        assert model.label(7) == "class 7"
        assert model.label(-1) == ""
        text = Page(render(tree)).text
    assert "no label" in text
    assert "No match was measured" in text
    assert "nan" not in text.split()


def test_evaluations_without_a_study_are_shown(tmp_path: Path) -> None:
    StudyStore.create(tmp_path, {}, {"metamery_version": "0.1"})
    variables = proportion("accuracy", ["model", "epsilon"], [[9, 5], [8, 1]], 10, "accuracy under attack")
    dataset = xr.Dataset(variables, {"model": ["one", "two"], "epsilon": [0.0, 0.1]})
    dataset.attrs = {"warnings": ["one: gradients < masked"], "stimuli": "photos", "options": "{}", "seed": 3}
    StudyStore.reopen(tmp_path).add("robustness", dataset)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<h1>Evaluations</h1>" in page
    assert "one: gradients &lt; masked" in page
    assert "<dd>photos</dd>" in page
    assert "<dt>options</dt>" not in page
    assert ">two</th>" in page or ">two</span>" in page
    assert "Stimuli</h2>" not in page


def test_a_run_s_history_is_shown(tmp_path: Path) -> None:
    StudyStore.create(tmp_path, {}, {"run": "seed = 0", "metamery_version": "0.1"})
    loss = ("epoch", [2.0, 1.0], {"long_name": "loss of the recipe", "units": "nat"})
    StudyStore.reopen(tmp_path).add("history", xr.Dataset({"loss": loss}, {"epoch": [1, 2]}))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<h1>A training run</h1>" in page
    assert "loss of the recipe" in page
    assert '<pre tabindex="0" aria-label="run.toml">seed = 0</pre>' in page


def test_a_loss_goes_on_after_an_early_stop(study: Path) -> None:
    store = StudyStore.reopen(study)
    store.write(
        "models/vision+net/metamers",
        {"layer": slice(0, 1), "stimulus": slice(0, 1), "seed": slice(0, 1), "step": slice(3, STEPS)},
        {"loss": np.full((1, 1, 1, STEPS - 3), math.nan)},
    )
    with open_study(study) as tree:
        [losses] = [model.losses(0) for model in models_of(tree) if model.name == "vision:net"]
    assert losses[0, 0].tolist() == [1.0, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]


def test_a_curve_is_the_median_with_its_range_at_few_points() -> None:
    updates = np.arange(2001.0)
    losses = np.stack([updates, 3 * updates, 5 * updates]).astype(np.float32)
    drawn = drawn_updates(len(updates))
    reduced = curve(updates[drawn], losses[:, drawn])
    assert reduced is not None
    assert len(reduced.updates) == 250
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
def test_curves_are_drawn(losses: list[list[float]]) -> None:
    drawing, nothing = loss_charts([curve(np.arange(2.0), np.array(losses, dtype=np.float32)), None], ["<a>", "b"])
    assert drawing.startswith("<svg")
    assert "loss against updates at layer &lt;a&gt;" in drawing
    assert "nan" not in drawing
    assert "#" not in drawing
    assert "<text" in drawing
    assert nothing == ""


def test_a_chart_puts_values_in_their_places() -> None:
    chart = Chart(linear("size (m)", 0, 10), linear("weight (kg)", -1, 1), 100, 50)
    chart.line([0, 5, 10], [-1, math.nan, 1], "one")
    chart.line([0, 5, 10], [-1, 0, 1], "two")
    chart.points([2.5, 5.0], [0.5, math.inf], "three")
    chart.area([0, 10], [-2, -2], [0, 0], "four")
    drawing = str(chart.svg('a "chart" & more'))
    assert '<path class="one" d="M0 50M100 0"/>' in drawing
    assert '<path class="two" d="M0 50L50 25L100 0"/>' in drawing
    assert '<path class="three dots" d="M25 12.5h0"/>' in drawing
    assert '<path class="three arrows" d="M46.5 6l3.5 -6l3.5 6z"/>' in drawing
    assert '<path class="four" d="M0 50L100 50L100 25L0 25z"/>' in drawing
    assert "size (m)</text>" in drawing
    assert "weight (kg)</text>" in drawing
    assert 'aria-label="a &#34;chart&#34; &amp; more"' in drawing


@pytest.mark.slow
def test_sixteen_pictures_at_eight_layers_stay_under_ten_megabytes(tmp_path: Path) -> None:
    layers = [f"features.{index}" for index in range(8)]
    stimuli = [f"photograph {index}" for index in range(16)]
    domain = ImageDomain(3, 224, 224)
    folder = make_study(tmp_path, {"vision:net": domain}, stimuli, True, pairs=10**6, layers=layers, seeds=[0])
    report = write_report(folder)
    page = Page(report.read_text(encoding="utf-8"))
    assert len(page.of("img")) == 16 * 9
    assert report.stat().st_size < 10_000_000  # of noise, which JPEG compresses least


def test_sounds_that_the_page_has_no_room_for_are_left_out(tmp_path: Path) -> None:
    domain = WaveformDomain(160_000, 20_000)
    report = write_report(make_study(tmp_path, {"audio:net": domain}, finished=True))
    text = Page(report.read_text(encoding="utf-8")).text
    assert "The first 2 of 3 stimuli are shown" in text
    assert report.stat().st_size < 10_000_000


@pytest.mark.parametrize(("models", "shown"), [(1, 4), (6, 2)])
def test_many_models_share_the_room_for_sounds(tmp_path: Path, models: int, shown: int) -> None:
    domain = WaveformDomain(80_000, 20_000)
    stimuli = [f"clip {index}" for index in range(5)]
    made = make_study(tmp_path, {f"audio:net{index}": domain for index in range(models)}, stimuli, finished=True)
    report = write_report(made)
    assert f"The first {shown} of 5 stimuli are shown" in Page(report.read_text(encoding="utf-8")).text
    assert report.stat().st_size < 30_000_000


def test_an_interval_is_seen_at_a_single_layer_and_its_numbers_are_printed() -> None:
    share = {"long_name": "share", "units": "1"}
    values = {"share": 0.5, "share_low": 0.4, "share_high": 0.7}
    single = {name: (("model", "layer"), [[value]], share) for name, value in values.items()}
    dataset = xr.Dataset(single, {"model": ["m"], "layer": ["conv"]})
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    (result,) = found.results
    assert result.has_interval
    assert 'class="bar s1"' in result.drawings.charts[0][1]
    assert result.table is not None
    assert result.table.rows[0][2][0].range == "(0.400 to 0.700)"


def test_an_interval_that_is_missing_everywhere_is_not_in_the_legend() -> None:
    share = {"long_name": "share", "units": "1"}
    values = {"share": [0.5, 0.6], "share_low": [np.nan, np.nan], "share_high": [np.nan, np.nan]}
    dataset = xr.Dataset({name: ("layer", each, share) for name, each in values.items()}, {"layer": ["conv", "fc"]})
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    (result,) = found.results
    assert result.drawings.charts
    assert not result.has_interval


def test_ends_over_other_dimensions_are_shown_as_variables_of_their_own() -> None:
    share = {"long_name": "share", "units": "1"}
    dataset = xr.Dataset(
        {
            "share": (("model", "layer"), [[0.5]], share),
            "share_low": ("model", [0.4], share),
            "share_high": ("model", [0.7], share),
        },
        {"model": ["m"], "layer": ["conv"]},
    )
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    assert [result.name for result in found.results] == ["share", "share_high", "share_low"]
    assert not any(result.has_interval for result in found.results)


def test_signals_of_evaluators_are_shown_as_pictures_and_sounds() -> None:
    about = {"long_name": "made up", "units": "1"}
    values = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 2, 3, 8, 8)).astype(np.float32)
    values[1, 1] = np.nan
    dims = ("site", "stimulus", "channel", "y", "x")
    pictures = xr.Dataset(
        {"distortion": (dims, values, {**about, "display": "scaled"}), "natural": (dims, values + 0.5, about)},
        {"site": ["net 1", "net 2"], "stimulus": ["a", "b"]},
        {"low": 0.0, "high": 1.0},
    )
    time = np.sin(np.arange(800) * 0.4)[None].astype(np.float32)
    heard = xr.Dataset(
        {"distortion": (("component", "time"), time, {**about, "display": "scaled"})},
        {"component": [1]},
        {"low": -1.0, "high": 1.0, "sample_rate": 8000},
    )
    seen, sounds = evaluations(xr.DataTree.from_dict({"/seen": pictures, "/sounds": heard}))
    assert [shown.name for shown in seen.signals] == ["distortion", "natural"]
    assert not seen.results
    scaled, natural = seen.signals
    assert [caption for caption, _ in scaled.pictures] == ["net 1, a", "net 1, b", "net 2, a"]
    assert scaled.count == 4
    decoded = pixels(scaled.pictures[0][1].image)
    largest = np.abs(values[0, 0]).max()
    np.testing.assert_allclose(decoded, 255 * (0.5 + 0.5 * values[0, 0] / largest).transpose(1, 2, 0), atol=0.6)
    decoded = pixels(natural.pictures[0][1].image)
    np.testing.assert_allclose(decoded, 255 * (0.5 + values[0, 0]).transpose(1, 2, 0), atol=0.6)
    (caption, sound) = sounds.signals[0].pictures[0]
    assert caption == "component 1"
    played = np.frombuffer(base64.b64decode(sound.sound.partition(",")[2]), np.int16)[22:] / 32767
    assert 20 * np.log10(np.sqrt(np.mean(played**2))) == pytest.approx(-26, abs=0.1)


def test_signals_of_unknown_range_are_only_named() -> None:
    array = (("time",), np.zeros(50, np.float32), {"long_name": "made up", "units": "1"})
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": xr.Dataset({"wave": array})}))
    assert not found.signals
    assert "not all of which have a coordinate" in found.results[0].unread


def pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))), dtype=np.float64)


def test_curves_over_strength_say_what_each_level_is() -> None:
    values = np.concatenate([np.linspace(1, 0, 12), np.full(6, np.nan)]).reshape(3, 3, 2)
    dataset = xr.Dataset(
        {"invariance": (("transformation", "strength", "site"), values, {"long_name": "invariance", "units": "1"})},
        {
            "transformation": ["gain", "noise", "shift"],
            "strength": [0, 1, 2],
            "site": ["net 1", "net 2"],
            "value": (("transformation", "strength"), [[0, 3, 6], [np.inf, 20, 10], [0, 1, 2]]),
            "unit": ("transformation", ["dB", "dB SNR", "px"]),
        },
    )
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    gain, noise = found.results  # and nothing of what is not measured
    assert [name for name, _ in noise.table.columns] == ["∞", "20", "10"]
    assert [name for _, name in gain.drawings.legend] == ["net 1", "net 2"]
    assert "strength (dB SNR)" in noise.drawings.charts[0][1]


def test_an_evaluator_says_what_to_read_first() -> None:
    about = {"long_name": "gain", "units": "1"}
    variables = {name: ("model", [0.1, 0.2], about) for name in ("counted", "gain", "noise", "gain_low", "gain_high")}
    declared = {"reading_order": ["noise", "gain"], "read_first": "Less is better."}
    dataset = xr.Dataset(variables, {"model": ["b", "a"]}, declared)
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    assert [result.name for result in found.results] == ["noise", "gain"]
    assert [result.name for result in found.others] == ["counted"]
    text = Page(render(xr.DataTree.from_dict({"/mine": dataset}))).text
    assert "Read this first. Less is better." in text
    assert text.index("noise") < text.index("1 more figure: counted")


def test_the_contents_lead_to_every_part(page: Page) -> None:
    targets = {str(link["href"])[1:] for link in page.of("a") if str(link["href"]).startswith("#")}
    assert targets <= {attributes.get("id") for _, attributes in page.elements}
    groups = ("elsewhere", "odd", "recognition/vision+net", "models/vision+net/geometry")
    assert {f"evaluation-{group}" for group in groups} <= targets
    assert {"model-vision+net", "null-audio+net", "metamers-vision+net", "asked", "stimuli"} <= targets


def test_every_part_can_be_folded_and_leads_back_to_the_contents(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    summaries = [index for index, tag in enumerate(tags) if tag == "summary"]
    parts = [page.elements[index + 1][1]["id"] for index in summaries if tags[index + 1] in ("h2", "h3")]
    assert {"null-vision+net", "losses-audio+net", "evaluation-elsewhere", "asked", "stimuli"} < {*parts}
    backs = [link for link in page.of("a") if link.get("class") == "back"]
    headed = 2 + 1  # the models and the evaluations
    assert len(backs) == len(parts) + headed
    assert {link["href"] for link in backs} == {"#contents"}
    assert any(attributes.get("id") == "contents" for attributes in page.of("nav"))


def test_a_page_with_one_part_has_no_contents() -> None:
    about = {"long_name": "gain", "units": "1"}
    page = Page(render(xr.DataTree.from_dict({"/mine": xr.Dataset({"gain": ((), 0.5, about)})})))
    assert not page.of("nav")
    assert not [link for link in page.of("a") if link.get("class") == "back"]
    (part,) = [each for each in page.of("details") if each.get("class") == "folds"]  # what was asked
    assert "open" in part


def test_models_are_in_the_order_of_the_study(study: Path) -> None:
    with open_study(study) as tree:
        assert [results.name for results in models_of(tree)] == ["audio:net", "vision:net"]
        tree.attrs["names"] = ["vision:net", "audio:net", "synthesis:adam"]
        assert [results.name for results in models_of(tree)] == ["vision:net", "audio:net"]
        text = Page(render(tree)).text
    assert text.index("vision:net") < text.index("audio:net")


def of_sites(models: list[str], layers: list[str], **others: list[str]) -> tuple[list[int], dict[str, object]]:
    """Sizes and coordinates of sites and of other dimensions, which come first."""
    sites = site_coordinates([(model, layer) for model in models for layer in layers])
    return [*map(len, others.values()), len(models) * len(layers)], {**others, **sites}


SHARE = {"long_name": "share", "units": "1"}


def test_transformations_are_small_multiples_with_a_line_for_each_model() -> None:
    changes = [f"change {number}" for number in range(8)]
    sizes, coordinates = of_sites(["a", "b"], ["conv", "output"], transformation=changes)
    values = np.random.default_rng(0).uniform(0.2, 0.8, sizes)
    dims = ("transformation", "site")
    ends = {f"profile_{end}": (dims, values + by, SHARE) for end, by in (("low", -0.1), ("high", 0.1))}
    dataset = xr.Dataset({"profile": (dims, values, SHARE), **ends}, coordinates)
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    (result,) = found.results
    assert [title for title, _ in result.drawings.charts] == changes
    assert result.drawings.are_small
    assert [name for _, name in result.drawings.legend] == ["a", "b"]
    assert result.has_interval
    for _, drawing in result.drawings.charts:
        assert drawing.count('<path class="series s1"') == drawing.count('<path class="series s2"') == 1
        assert drawing.count('class="range') == 2
        assert "profile (unitless)" in drawing
    assert result.table is not None
    assert [name for name, _ in result.table.columns] == changes


def test_curves_of_many_layers_have_a_chart_for_each_layer() -> None:
    coordinates = {
        **site_coordinates([("a", "conv"), ("a", "pool"), ("a", "output"), ("b", "conv"), ("b", "output")]),
        "strength": [0, 1, 2],
        "value": ("strength", [0.0, 10.0, 20.0]),
        "unit": "degrees",
    }
    values = np.linspace(0.1, 0.9, 15).reshape(3, 5)
    values[:, 1] = np.nan
    about = {**SHARE, "missing": "a pool has none"}
    dataset = xr.Dataset({"kept": (("strength", "site"), values, about)}, coordinates)
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    (result,) = found.results
    charts = dict(result.drawings.charts)
    assert [*charts] == ["conv", "output"]
    assert all("strength (degrees)" in drawing and "series s2" in drawing for drawing in charts.values())
    assert result.missing == "There is no value for pool: a pool has none."
    assert result.table is not None
    assert len(result.table.rows) == 5


@pytest.mark.parametrize("reason", ["nobody was asked", ""])
def test_where_there_is_no_value_a_sentence_takes_the_place_of_axes_and_table(reason: str) -> None:
    sizes, coordinates = of_sites(["a", "b"], ["conv", "output"])
    about = {**SHARE, **({"missing": reason} if reason else {})}
    dataset = xr.Dataset({"others": ("site", np.full(sizes, np.nan), about)}, coordinates)
    page = Page(render(xr.DataTree.from_dict({"/mine": dataset})))
    assert f"There is no value: {reason or 'all are missing'}." in page.text
    assert not [svg for svg in page.of("svg") if svg.get("class") == "chart"]
    assert not page.of("table")


@pytest.mark.parametrize("layers", [(["1", "2"], ["1", "2"]), (["1", "2"], ["3", "4"])])
def test_a_model_without_values_has_no_axes(layers: tuple[list[str], list[str]]) -> None:
    sites = site_coordinates([(model, layer) for model, own in zip("ab", layers, strict=True) for layer in own])
    values = [[0.5, 0.25], [0.5, 0.5], [np.nan, np.nan], [np.nan, np.nan]]
    dataset = xr.Dataset(
        {
            "recognised": (("site", "recogniser"), values, SHARE),
            "own": ("site", [0.5, 0.5, np.nan, np.nan], {**SHARE, "missing": "b has no classes"}),
        },
        {**sites, "recogniser": ["x", "y"]},
    )
    (found,) = evaluations(xr.DataTree.from_dict({"/mine": dataset}))
    own, recognised = found.results
    assert [title for title, _ in recognised.drawings.charts] == ["a"]
    assert recognised.missing == "There is no value for b: all are missing."
    assert len(own.drawings.charts) == 1
    assert "s2" not in own.drawings.charts[0][1]
    assert own.missing == "There is no value for b: b has no classes."


@pytest.mark.filterwarnings("ignore:.* is damaged")
def test_nothing_measured_and_no_null_gives_no_axes_of_match(tmp_path: Path) -> None:
    folder = make_study(tmp_path, {"vision:net": IMAGE}, null=False)
    store = StudyStore.reopen(folder)
    for name, variable in (match_variables() | success_variables()).items():
        store.write("models/vision+net/match", {}, {name: variable.fill})
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "No match is measured yet." in page.text
    assert not [svg for svg in page.of("svg") if svg.get("class") == "chart"]
    assert not [table for table in page.of("table") if "matrix" in (table.get("class") or "")]
