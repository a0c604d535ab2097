"""The report in Chromium: what its scripts do, by keyboard and by mouse."""

import math
import shutil
from pathlib import Path

import pytest
import xarray as xr
from metamery.analysis.report import write_report
from metamery.framework import open_study
from studies import IMAGE, LAYERS, METRICS, SOUND, STIMULI, add_evaluations, make_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_study(tmp_path_factory.mktemp("report") / "study", {"vision:net": IMAGE, "audio:net": SOUND})
    add_evaluations(folder)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, made: Path):
    """The report in a browser, which must say nothing; every section that can be folded is unfolded."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((made / "report.html").as_uri())
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    yield page
    context.close()
    assert said == []


@pytest.mark.slow
def test_the_table_is_sorted_by_the_keyboard(opened) -> None:
    table = opened.locator("#table-vision\\+net")

    def column(place: int) -> list[str]:
        return table.locator(f"tbody tr > :nth-child({place})").all_inner_texts()

    button = table.get_by_role("button", name="SNR, dB")
    before = column(8)
    button.focus()
    opened.keyboard.press("Enter")
    rising = column(8)
    assert sorted(before) == sorted(rising)
    assert rising[-1] == "∞"
    assert rising[:-1] == sorted(rising[:-1], key=float)
    assert float(rising[0]) == 4.4
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
    opened.keyboard.press(" ")
    assert column(8) == rising[::-1]
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "descending"

    table.get_by_role("button", name="layer").press("Enter")
    assert list(dict.fromkeys(column(2))) == LAYERS
    table.get_by_role("button", name="stimulus").press("Enter")
    assert list(dict.fromkeys(column(1))) == sorted(STIMULI)
    table.get_by_role("button", name="success").first.press("Enter")
    verdicts = list(dict.fromkeys(column(11)))
    assert verdicts == ["succeeds", "other label", "does not match", "unattainable"]


@pytest.mark.slow
def test_the_measure_is_switched_by_the_keyboard(opened) -> None:
    tables = opened.locator("#matrices-vision\\+net table")
    visible = [True, *[False] * (len(METRICS) - 1)]
    assert [table.is_visible() for table in tables.all()] == visible
    opened.locator("input[name='metric-vision+net'][value='pearson']").focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowRight")
    assert [table.is_visible() for table in tables.all()] == [False, False, True, False, False]
    assert opened.locator("#matrices-audio\\+net table").first.is_visible()


@pytest.mark.slow
def test_numbers_are_reached_by_the_keyboard(opened) -> None:
    bar = opened.locator("#place")
    table = opened.locator("#matrices-vision\\+net table").first
    assert table.locator("td[tabindex='0']").count() == 1
    table.locator("td[tabindex='0']").focus()
    for key in ["ArrowRight", "ArrowDown", "ArrowRight", "Enter"]:
        opened.keyboard.press(key)
    bar.wait_for(state="visible")
    code = bar.locator("pre").inner_text()
    assert 'sel(layer="blocks[0].relu", measured_layer="blocks[1]", metric="pearson")' in code
    assert opened.evaluate("document.activeElement.id") == "place-copy"
    opened.keyboard.press("Escape")
    bar.wait_for(state="hidden")
    assert opened.evaluate("document.activeElement.cellIndex") == 3
    gallery = opened.locator("#gallery-vision\\+net")
    assert gallery.locator(".place[tabindex='0']").count() == 1
    gallery.locator(".place[tabindex='0']").focus()
    for key in ["ArrowRight", "ArrowRight", "ArrowDown", " "]:  # the first metamer's r, and below
        opened.keyboard.press(key)
    code = bar.locator("pre").inner_text()
    assert 'layer="conv1", stimulus="coffee", seed=0, measured_layer="conv1", metric="pearson"' in code


@pytest.mark.slow
def test_the_code_of_every_number_gives_it(opened) -> None:
    found = opened.evaluate("""() => {
      const result = [];
      for (const table of document.querySelectorAll("table.places, table.gallery")) {
        const items = [...table.querySelectorAll("td[tabindex], .place")];
        const step = Math.max(1, Math.floor(items.length / 24));
        items.filter((_, index) => index % step === 0).forEach((item) => {
          item.dispatchEvent(new MouseEvent("click", { bubbles: true }));
          result.push([item.innerText, document.querySelector("#place pre").textContent]);
        });
      }
      return result;
    }""")
    assert len(found) > 300
    for kind in ["maximum", "confidence", "loss", "percentile", "quantised_success", "matches", "agreement", "correct"]:
        assert any(f'["{kind}"]' in code for _, code in found), kind
    with open_study(Path(found[0][1].split('open_study("')[1].split('")')[0])) as tree:
        for text, code in found:
            assert code.startswith("from metamery.framework import open_study\n\n")
            assert given_by(code, tree) == approximately(text), (text, code)


def given_by(code: str, tree: xr.DataTree) -> float:
    """Run what the page shows, with the study opened once for all."""
    *lines, last = code.splitlines()[2:]
    names = {"open_study": lambda _: tree}
    exec("\n".join(lines), names)
    return float(eval(last, names))


def approximately(text: str) -> object:
    """The number that a cell of the page stands for, as precisely as it is printed."""
    words = {"succeeds": 1, "unattainable": 2, "other label": 0, "does not match": 0, "∞": math.inf}
    shown = text.partition("\n")[0].partition(" (")[0].strip()
    if shown in words:
        return words[shown]
    if "/" in shown:
        part, whole = map(float, shown.split("/"))
        return pytest.approx(part / whole if "\n" in text else part)
    value = float(shown.replace("−", "-"))
    decimals = len(shown.partition(".")[2])
    return pytest.approx(value, abs=1.01 * 10.0**-decimals if value > 90 else 0.51 * 10.0**-decimals)


@pytest.mark.slow
def test_one_code_as_it_stands_gives_its_number(opened) -> None:
    opened.locator("#table-vision\\+net tbody tr").nth(9).locator("td").nth(5).click()
    code = opened.locator("#place pre").inner_text()
    names: dict[str, object] = {}
    *lines, last = code.splitlines()
    exec("\n".join(lines), names)
    assert eval(last, names) == pytest.approx(0.39)
    assert "Where 0.390 comes from" in opened.locator("#place").inner_text()
    opened.locator("#place-close").click()
    assert opened.locator("#place").is_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1400])
def test_in_a_browser(browser, made: Path, width: int, scheme: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        address = (made / "report.html").as_uri()
        page.goto(address)
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")

        page.locator(".contents a[href='#evaluation-elsewhere']").click()
        assert -1 < page.locator("#evaluation-elsewhere").bounding_box()["y"] < 900

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


@pytest.mark.slow
def test_a_narrow_page_is_folded_and_links_unfold_it(browser, made: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    try:
        page = context.new_page()
        address = (made / "report.html").as_uri()
        page.goto(address)
        assert page.locator("#gallery-vision\\+net").is_visible()
        losses = page.locator("#losses-vision\\+net")
        chart = losses.locator("xpath=ancestor::details//*[name()='svg'][@role='img']").first
        assert losses.is_visible()
        assert not chart.is_visible()
        page.locator(".contents a[href='#losses-vision+net']").click()
        assert chart.is_visible()
        assert losses.evaluate("(heading) => Math.abs(heading.getBoundingClientRect().top)") < 100
        losses.locator("xpath=ancestor::*[@class='part']/a").click()
        page.wait_for_function("Math.abs(document.getElementById('contents').getBoundingClientRect().top) < 844")
        page.goto("about:blank")
        page.goto(f"{address}#evaluation-elsewhere")
        assert page.locator("[data-at*='\"elsewhere\"'] svg").first.is_visible()
        assert not page.locator("[data-at*='\"odd\"'] svg").first.is_visible()
    finally:
        context.close()


@pytest.mark.slow
def test_row_labels_are_shown_whole(browser, tmp_path: Path) -> None:
    sites = ["a-network-with-a-long-name features.block_12.expand.convolution_of_the_whole", "short conv"]
    similar = xr.DataArray(
        [[1.0, 0.2], [0.2, 1.0]],
        [("site", sites), ("other_site", sites)],
        attrs={"long_name": "likeness", "units": "1"},
    )
    context = browser.new_context(viewport={"width": 390, "height": 844})
    try:
        page = context.new_page()
        page.goto(write_report({"alike": xr.Dataset({"alike": similar})}, tmp_path / "page.html").as_uri())
        label = page.locator("table.matrix tbody th").first
        assert label.inner_text() == sites[0]
        assert label.evaluate(
            "(cell) => [cell.scrollWidth <= cell.clientWidth, cell.clientWidth < 0.6 * innerWidth]"
        ) == [
            True,
            True,
        ]
    finally:
        context.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_without_metamers_fit(browser, tmp_path: Path, width: int) -> None:
    terms = ["recogniser", "layer", "recogniser:layer"]
    tested = {"long_name": "made up", "units": "1"}
    values = {name: ("term", [1.0, 2.5, 9.0], tested) for name in ("F", "df_effect", "df_error", "p", "p_GG")}
    about = {"people": "people.csv", "title": "People against each network"}
    observers = xr.Dataset(values, {"term": terms}, about)
    context = browser.new_context(viewport={"width": width, "height": 844})
    try:
        page = context.new_page()
        page.goto(write_report({"observers": observers}, tmp_path / "page.html").as_uri())
        assert page.locator("h1").inner_text() == "Recognition by people: people.csv"
        assert page.locator("table.figures tbody tr").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") == width
    finally:
        context.close()
