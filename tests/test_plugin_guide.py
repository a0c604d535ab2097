"""The plugin guide quotes the example plugin word for word, and names all that it should.

Its steps are followed in tests/framework/test_fresh_environment.py.
"""

import re
from pathlib import Path

import pluggy
import pytest
from metamery.framework import pytest_plugin
from metamery.framework.new_plugin import template

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "tests" / "example_plugin"
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^```\w+ from=(tests/\S+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
FAILURES = re.findall(r"^\| `(.+?)`.*? \| ", GUIDE.partition("| message |")[2], re.MULTILINE)


@pytest.mark.parametrize(("path", "text"), QUOTED, ids=[path.rpartition("/")[2] for path, _ in QUOTED])
def test_a_quoted_block_is_what_the_file_says(path, text):
    assert f"\n{text}" in "\n" + (ROOT / path).read_text(encoding="utf-8")


def test_every_file_is_quoted():
    files = {path.relative_to(ROOT).as_posix() for path in EXAMPLE.glob("src/*/*.py") if path.name != "__init__.py"}
    files |= {f"tests/example_plugin/{name}" for name in ("pyproject.toml", "tests/test_plugin.py")}
    assert {path for path, _ in QUOTED} == files


def test_the_files_are_those_that_new_plugin_writes():
    listed = re.search(r"^```text from=files\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)[1]
    assert listed.replace("zebra", "example").splitlines() == sorted(template())


def test_every_fixture_is_named():
    source = Path(pytest_plugin.__file__).read_text(encoding="utf-8")
    fixtures = re.findall(r"^@pytest\.fixture\ndef (\w+)", source, re.MULTILINE)
    assert len(fixtures) == 4
    for name in fixtures:
        assert f"`{name}`" in GUIDE


@pytest.mark.parametrize("message", FAILURES)
def test_every_message_is_one_that_the_program_has(message):
    sources = [*(ROOT / "framework").glob("*.py"), *Path(pluggy.__file__).parent.glob("*.py")]
    code = re.sub(r'"\n\s+f?"', "", "".join(path.read_text(encoding="utf-8") for path in sources))
    pieces = [piece.strip(" '{}") for piece in message.removeprefix("unknown ").split("…")]
    for piece in filter(None, pieces):
        assert piece.removesuffix(": ModuleNotFoundError:").removesuffix("N:") in code


def test_the_failures_are_found_in_the_page():
    assert len(FAILURES) >= 12
