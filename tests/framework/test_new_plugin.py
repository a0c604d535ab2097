"""`metamery new-plugin`: the example plugin under another name, written completely or not at all."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from metamery.framework import MetameryError, Plugins, new_plugin
from metamery.framework.owners import Owner

EXAMPLE = Path(__file__).parents[1] / "example_plugin"


def written(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_template_is_the_example_plugin() -> None:
    files = new_plugin.template()
    assert files == {name: (EXAMPLE / name).read_text(encoding="utf-8") for name in files}
    assert {"pyproject.toml", "README.md", "src/metamery_example/plugin.py", "tests/test_plugin.py"} <= set(files)
    others = {path.name for path in EXAMPLE.iterdir() if not path.name.startswith(".")} - {"build", "__pycache__"}
    assert others == {"pyproject.toml", "README.md", "src", "tests"}


def test_a_plugin_called_example_would_be_the_template_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_plugin, "taken_names", dict)  # it may be installed here
    new_plugin.write_plugin("example", tmp_path / "copy")
    assert written(tmp_path / "copy") == new_plugin.template()


def test_another_name_stands_wherever_the_example_s_stood(here: Path, command: Any) -> None:
    said = command("new-plugin", "my-lab2")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("plugin 'my-lab2' is in metamery-my-lab2; next:\n  cd metamery-my-lab2\n")
    files = written(here / "metamery-my-lab2")
    assert len(files) == len(new_plugin.template())
    assert "src/metamery_my_lab2/plugin.py" in files
    fixtures = re.compile(r"example_(model|signals|stimuli|study|context)")  # metamery's own, for every plugin
    for name, text in files.items():
        assert "example" not in fixtures.sub("", name + text), name
        if name.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "metamery-my-lab2"
    assert project["entry-points"]["metamery"] == {"my-lab2": "metamery_my_lab2.plugin"}
    targets = re.findall(r'"(metamery_my_lab2\.\w+):(\w+)"', files["src/metamery_my_lab2/plugin.py"])
    assert len(targets) == 10
    for module, attribute in targets:
        assert f"\ndef {attribute}(" in files[f"src/{module.replace('.', '/')}.py"]


@pytest.mark.parametrize("kind", new_plugin.SAMPLES)
def test_a_kind_alone(here: Path, command: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("new-plugin", f"only-{kind}", "--with", kind, "-o", kind).status == 0
    files = written(here / kind)
    package = f"src/metamery_only_{kind}"
    names = {"__init__", "plugin", new_plugin.SAMPLES[kind]}
    assert {path for path in files if path.startswith("src")} == {f"{package}/{name}.py" for name in names}
    hooks = ast.parse(files[f"{package}/plugin.py"])
    functions = [node.name for node in hooks.body if isinstance(node, ast.FunctionDef)]
    assert functions == [f"register_{new_plugin.SAMPLES[kind]}"]
    rows = [line for line in files["README.md"].splitlines() if line.startswith("| ")]
    assert [row.split()[1] for row in rows] == ["name", kind]
    tests = [line for line in files["tests/test_plugin.py"].splitlines() if line.startswith("def ")]
    assert all(line.startswith(("def test_the_plugin_is_loaded(", f"def test_the_{kind}")) for line in tests)
    assert len(tests) >= 2
    for path in (f"{package}/plugin.py", "tests/test_plugin.py"):
        tree = ast.parse(files[path])
        imported = {
            each.asname or each.name
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for each in node.names
        }
        assert imported - {"annotations"} == imported & {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
        }
    monkeypatch.syspath_prepend(here / kind / "src")
    plugin = importlib.import_module(f"metamery_only_{kind}.plugin")
    assert Plugins([plugin], installed=()).problems == []


def test_several_kinds_and_a_slip(here: Path, command: Any) -> None:
    assert command("new-plugin", "two", "--with", "loss, recipe").status == 0
    assert {"src/metamery_two/losses.py", "src/metamery_two/recipes.py"} <= written(here / "metamery-two").keys()
    said = command("new-plugin", "three", "--with", "loss,recipy")
    assert said.status == 2
    assert said.error.startswith("error: unknown kind 'recipy'; did you mean 'recipe'? Known: model, stimuli, ")
    assert not (here / "metamery-three").exists()


def test_a_name_may_hold_the_example_s(tmp_path: Path) -> None:
    new_plugin.write_plugin("my-example", tmp_path / "it")
    plugin = (tmp_path / "it" / "src" / "metamery_my_example" / "plugin.py").read_text(encoding="utf-8")
    assert '"metamery_my_example.models:small_network"' in plugin
    assert '"my-example-net"' in plugin


def test_the_folder_may_be_named_and_may_be_there_if_it_is_empty(here: Path, command: Any) -> None:
    (here / "empty").mkdir()
    for place in ("empty", "some/where/new"):
        assert command("new-plugin", "mine", "-o", place).status == 0
        assert len(written(here / place)) == len(new_plugin.template())
    assert sorted(path.name for path in here.iterdir()) == ["empty", "some"]


@pytest.mark.parametrize("name", ["", "My", "my_lab", "my lab", "-my", "my-", "my--lab", "2my", "../my", "über", "a/b"])
def test_a_malformed_name_is_refused(here: Path, command: Any, name: str) -> None:
    said = command("new-plugin", "-o", "there", "--", name)
    assert said.status == 2
    assert said.error == (
        f"error: plugin name '{name}': expected lower-case letters and digits, with hyphens between, such as 'my-lab'"
    )
    assert list(here.iterdir()) == []


def test_a_bundled_plugin_s_name_is_refused(here: Path, command: Any) -> None:
    said = command("new-plugin", "vision")
    assert said.status == 2
    assert said.error == "error: plugin name 'vision' is taken by a plugin of metamery: choose another"
    assert list(here.iterdir()) == []


def test_an_installed_plugin_s_name_is_refused_even_where_it_is_not_loaded(
    here: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = here / "there" / "lab_things-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metamery]\nlab = no_such_module\n")
    monkeypatch.syspath_prepend(here / "there")
    said = command("new-plugin", "lab")  # the tests load no installed plugins
    assert said.error == "error: plugin name 'lab' is taken by a plugin of lab-things: choose another"
    assert not (here / "metamery-lab").exists()


def test_what_is_there_is_left_alone(here: Path, command: Any) -> None:
    (here / "full").mkdir()
    (here / "full" / "notes.txt").write_text("mine")
    (here / "file").write_text("mine")
    for place, what in {"full": "holds other files", "file": "is a file, expected a folder"}.items():
        said = command("new-plugin", "my", "--output", place)
        assert said.status == 2
        assert said.error == f"error: '{place}' {what}; choose another folder"
    assert written(here) == {"full/notes.txt": "mine", "file": "mine"}


def test_a_place_that_cannot_be_written_to_is_named(here: Path, command: Any) -> None:
    (here / "file").write_text("mine")
    said = command("new-plugin", "my", "--output", "file/below")
    assert said.status == 2
    assert "cannot write to 'file/below'" in said.error


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text = Path.write_text

    def full_disk(self: Path, text: str, **how: Any) -> int:
        if self.name == "test_plugin.py":
            raise OSError(28, "No space left on device")
        return write_text(self, text, **how)

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(MetameryError, match=r"cannot write to '.*/my': No space left on device"):
        new_plugin.write_plugin("my", tmp_path / "my")
    assert list(tmp_path.iterdir()) == []


def test_of_two_at_once_the_second_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_plugin, "ensured", lambda parent: nullcontext(write_first(parent / "my")))

    def write_first(folder: Path) -> None:
        folder.mkdir()
        (folder / "theirs.txt").write_text("theirs")

    with pytest.raises(MetameryError, match=r"my' holds other files; choose another folder"):
        new_plugin.write_plugin("my", tmp_path / "my")
    assert written(tmp_path) == {"my/theirs.txt": "theirs"}


def test_what_a_killed_process_left_goes_even_if_its_plugin_is_complete(tmp_path: Path) -> None:
    (tmp_path / f".my.new.{replace(Owner.this(), start='0').name()}").mkdir()
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "README.md").write_text("complete")
    with pytest.raises(MetameryError, match="choose another folder"):
        new_plugin.write_plugin("my", tmp_path / "my")
    assert [path.name for path in tmp_path.iterdir()] == ["my"]
