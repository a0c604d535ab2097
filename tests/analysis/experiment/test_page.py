"""The files of an experiment's page: what is written, its texts in all languages, and what it may load."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from experiment_pages import make_experiment
from metamery.analysis.experiment import page as experiment_page
from metamery.analysis.experiment.page import LANGUAGES, read_texts, write_page
from metamery.framework import MetameryError

SITE = Path(experiment_page.__file__).parent / "site"
SOURCES = [path for path in SITE.rglob("*") if path.suffix in (".js", ".html") and "vendor" not in path.parts]


def strings(language: str) -> dict[str, str]:
    return tomllib.loads(LANGUAGES[language].read_text(encoding="utf-8"))


def test_all_languages_have_the_same_texts_with_the_same_blanks() -> None:
    assert set(LANGUAGES) == {"de", "en"}
    english = strings("en")
    for language in LANGUAGES:
        given = strings(language)
        assert list(given) == list(english)
        for name, words in given.items():
            assert set(re.findall(r"\{\w+\}", words)) == set(re.findall(r"\{\w+\}", english[name])), name


def test_the_page_uses_every_text_and_no_other() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    known = set(strings("en"))
    used = {name for name in known if re.search(rf'"{name}"|\{{\{{ {name} \}}\}}', code)}
    assert known - used == set()
    asked = set(re.findall(r'\b(?:text|paragraphs)\("(\w+)"', code)) | set(re.findall(r"\{\{ (\w+) \}\}", code))
    assert asked - known == {"title", "policy"}


def test_nothing_is_loaded_from_elsewhere_or_written_as_markup() -> None:
    for path in [path for path in SITE.rglob("*") if path.suffix in (".js", ".html", ".css", ".svg")]:
        code = path.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[\w./-]+", code)) - {"http://www.w3.org/2000/svg"}
        if path.name == "datapipe.js":
            assert addresses == {"https://pipe.jspsych.org/api/"}
        elif "vendor" not in path.parts:
            assert addresses == set(), path
            assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\seval\(", code), path
        assert "sourceMappingURL" not in code


def test_vendored_scripts_carry_their_version_and_licence() -> None:
    scripts = list((SITE / "vendor").glob("*.js"))
    assert scripts
    for script in scripts:
        assert re.fullmatch(r"\w+-\d+\.\d+\.\d+\.min\.js", script.name)
        licence = script.with_name(script.name.replace(".min.js", ".LICENSE.txt")).read_text(encoding="utf-8")
        assert "Permission is hereby granted, free of charge" in licence
        assert script.name in (SITE / "index.html").read_text(encoding="utf-8")


def test_a_page_is_complete(tmp_path: Path) -> None:
    make_experiment(tmp_path, language="de")
    site = tmp_path / "site"
    written = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    static = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*") if path.is_file()}
    assert {name for name in static if not name.startswith("icons/")} <= written
    content = json.loads((site / "experiment.json").read_text(encoding="utf-8"))
    assert (content["format"], content["language"]) == (1, "de")
    assert content["texts"]["agree"] == "Ich willige ein"
    index = (site / "index.html").read_text(encoding="utf-8")
    assert '<html lang="de">' in index
    assert "<title>Pets &amp; &lt;more&gt;</title>" in index
    assert "{{" not in index


def test_icons_that_are_used_are_written(tmp_path: Path) -> None:
    icons = [path.name for path in sorted((SITE / "icons").glob("*.svg"))][:2]
    choices = [{"name": name, "label": name, "icon": f"icons/{name}"} for name in icons]
    make_experiment(tmp_path, answers={"form": "grid", "choices": choices})
    assert sorted(path.name for path in (tmp_path / "site" / "icons").iterdir()) == icons


@pytest.mark.parametrize(
    ("saving", "expected"),
    [
        ({"to": "server"}, "content=\"default-src 'self'\""),
        ({"to": "datapipe", "experiment_id": "x"}, "default-src 'self'; connect-src 'self' https://pipe.jspsych.org"),
    ],
)
def test_the_page_names_its_content_security_policy(tmp_path: Path, saving: dict[str, str], expected: str) -> None:
    make_experiment(tmp_path, saving=saving)
    assert expected in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_own_texts_are_completed_by_english_ones(tmp_path: Path) -> None:
    own = tmp_path / "fr.toml"
    own.write_text('language = "fr"\nagree = "J\'accepte"\n', encoding="utf-8")
    texts = read_texts(own)
    assert (texts["language"], texts["agree"], texts["disagree"]) == ("fr", "J'accepte", "I do not agree")
    assert read_texts(str(own)) == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('agre = "Yes"', "'agree'"),
        ('block_of = "Block {number}"', r"'block_of' .* \{block\}, \{blocks\}"),
        ("agree = 3", "'agree' .* is not a text"),
        ("agree =", "cannot read the texts"),
    ],
)
def test_wrong_texts_are_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(content, encoding="utf-8")
    with pytest.raises(MetameryError, match=message) as error:
        read_texts(own)
    assert "\n" not in str(error.value)


def test_an_unknown_language_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(MetameryError, match="did you mean 'de'"):
        write_page(tmp_path, {}, "dee")
    with pytest.raises(MetameryError, match=r"missing\.toml"):
        write_page(tmp_path, {}, tmp_path / "missing.toml")
