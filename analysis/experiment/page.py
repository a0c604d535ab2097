"""The page of an experiment: static files, with the texts of one language."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from ...framework.errors import MetameryError, unknown
from ...framework.limits import text_of

FORMAT = 1

DATAPIPE = "https://pipe.jspsych.org"
"""Origin of DataPipe: the one address elsewhere that a page may speak to, and only if it saves there."""

_SITE = Path(__file__).parent / "site"
_STRINGS = Path(__file__).parent / "strings"

LANGUAGES = {path.stem: path for path in sorted(_STRINGS.glob("*.toml"))}
"""Files of texts by language."""


def write_page(site: Path, page: Mapping[str, Any], language: str | Path = "en") -> None:
    """Write the static files of an experiment's page, and what it reads, ``experiment.json``.

    Parameters
    ----------
    site
        Folder that is served; what the page shows (``lists``, ``media``) is written by others.
    page
        What ``experiment.json`` contains besides its format, its language and its texts.
    language
        One of `LANGUAGES`, or a TOML file of texts, in which English ones stand for those that are missing.

    Raises
    ------
    MetameryError
        The language or a text is unknown, or the file of texts cannot be read.
    """
    texts = read_texts(language)
    site.mkdir(parents=True, exist_ok=True)
    used = {choice["icon"] for choice in page["answers"]["choices"]}
    for path in sorted(_SITE.rglob("*")):
        name = path.relative_to(_SITE).as_posix()
        if path.is_file() and name != "index.html" and (not name.startswith("icons/") or name in used):
            (site / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, site / name)
    content = {"format": FORMAT, **page, "language": texts["language"], "texts": texts}
    (site / "index.html").write_text(_index(texts, page), encoding="utf-8")
    (site / "experiment.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def read_texts(language: str | Path) -> dict[str, str]:
    """Return the texts of a language, or of a file, which English ones complete.

    Raises
    ------
    MetameryError
        The language or a text is unknown, or the file cannot be read.
    """
    english = _read(LANGUAGES["en"])
    path = LANGUAGES.get(str(language), Path(language))
    if path.suffix != ".toml":
        raise unknown("language", str(language), LANGUAGES, hint="; or the path of a TOML file of texts")
    given = _read(path)
    for name, words in given.items():
        if name not in english:
            raise unknown(f"text in '{path}'", name, english)
        if not isinstance(words, str) or not words.strip():
            raise MetameryError(f"text '{name}' in '{path}' is not a text with words")
        if sorted(_blanks(words)) != sorted(_blanks(english[name])):
            expected = ", ".join(_blanks(english[name])) or "none"
            raise MetameryError(f"text '{name}' in '{path}' has other words in braces than the English one: {expected}")
    return {**english, **given}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text_of(path, "cannot read the texts of"))
    except tomllib.TOMLDecodeError as error:
        raise MetameryError(f"cannot read the texts of '{path}': {error}") from None


def _blanks(words: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\{\w+\}", words)))


def _index(texts: Mapping[str, str], page: Mapping[str, Any]) -> str:
    values = {**texts, "title": page["title"], "policy": _policy(page["saving"]["to"])}
    template = (_SITE / "index.html").read_text(encoding="utf-8")
    raw = {"policy"}
    return re.sub(
        r"\{\{ (\w+) \}\}",
        lambda match: values[match[1]] if match[1] in raw else escape(values[match[1]]),
        template,
    )


def _policy(saving: str) -> str:
    """Return the element with the content security policy; JATOS's own script asks for more than it would allow."""
    if saving == "jatos":
        return ""
    elsewhere = f"; connect-src 'self' {DATAPIPE}" if saving == "datapipe" else ""
    return f'<meta http-equiv="Content-Security-Policy" content="default-src \'self\'{elsewhere}">'
