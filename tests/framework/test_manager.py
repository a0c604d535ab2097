"""Plugins: a broken one causes one line and never stops the program; an installed one never changes a number."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from metamery.analysis import synthesise
from metamery.framework import (
    MetameryError,
    MissingExtraError,
    Plugins,
    Recipe,
    UnknownNameError,
    hookimpl,
    hookspecs,
    manager,
)
from metamery.framework.registry import KINDS
from metamery.framework.stimuli import Stimulus
from metamery.framework.testing import example_model

TESTS = Path(__file__).parents[1]


def names(plugins: Plugins) -> list[str]:
    return [plugin.name for plugin in plugins.loaded]


def test_the_bundled_plugins_load_without_a_problem() -> None:
    plugins = Plugins()
    assert plugins.problems == []
    assert [plugin.module.__name__ for plugin in plugins.loaded] == list(manager.BUNDLED)
    assert {plugin.distribution for plugin in plugins.loaded} == {"metamery"}


def test_the_bundled_plugins_are_the_folders_of_plugins() -> None:
    root = TESTS.parent
    folders = {f"metamery.plugins.{init.parent.name}" for init in (root / "plugins").glob("*/__init__.py")}
    commands = {
        f"metamery.{folder}.commands"
        for folder in ("analysis", "training")
        if (root / folder / "commands.py").exists() or (root / folder / "commands").is_dir()
    }
    assert set(manager.BUNDLED) == folders | commands


def test_every_hook_has_a_bundled_plugin_and_a_test() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("register_")]
    general = ("test_manager.py", "test_registry.py")  # these name all of them, whatever they do
    source = "".join(file.read_text(encoding="utf-8") for file in TESTS.rglob("test_*.py") if file.name not in general)
    plugins = Plugins()
    assert len(hooks) == 9
    for hook in hooks:
        assert list(plugins.hook_calls(hook)), f"no bundled plugin implements {hook}"
        kind = {implemented: kind for kind, implemented in KINDS.items()}.get(hook, "")
        assert hook in source or f'"{kind}"' in source, f"no test mentions {hook}"


def test_every_hook_is_described() -> None:
    assert all(getattr(hookspecs, name).__doc__ for name in vars(hookspecs) if name.startswith("register_"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_bundled_name_can_be_imported(kind: str) -> None:
    entries = Plugins().entries(kind)
    assert entries
    for entry in entries:
        try:
            assert callable(entry.factory())
        except MissingExtraError:  # of an extra that is not installed here
            assert "extra" in entry.facts
        assert entry.summary
        assert not entry.summary.endswith(".")


def test_two_objects_share_nothing(fake_plugin: Any, distances_of: Any) -> None:
    extra = fake_plugin("mine", register_distances=distances_of("mine"))
    assert Plugins([extra]).load("distance", "mine")(1.0) == 2.0
    with pytest.raises(UnknownNameError):
        Plugins().find("distance", "mine")
    assert Plugins([extra]).problems == []


# Installed plugins


def test_installed_plugins_load_in_the_order_of_their_names(install: Any, fake_plugin: Any, distances_of: Any) -> None:
    install(
        zeta=fake_plugin("z", register_distances=distances_of("from-z")),
        alpha=fake_plugin("a", register_distances=distances_of("from-a")),
    )
    plugins = Plugins()
    assert names(plugins)[-2:] == ["alpha", "zeta"]
    assert plugins.find("distance", "from-z").qualified == "zeta:from-z"
    assert plugins.problems == []


@pytest.mark.parametrize(
    ("chosen", "loaded"),
    [("", []), ("alpha", ["alpha"]), (" zeta , alpha ,", ["alpha", "zeta"]), (None, ["alpha", "zeta"])],
)
def test_the_environment_chooses_installed_plugins(
    install: Any, fake_plugin: Any, monkeypatch: pytest.MonkeyPatch, chosen: str | None, loaded: list[str]
) -> None:
    install(zeta=fake_plugin("z"), alpha=fake_plugin("a"))
    if chosen is not None:
        monkeypatch.setenv("METAMERY_PLUGINS", chosen)
    assert names(Plugins())[len(manager.BUNDLED) :] == loaded
    assert names(Plugins(installed=["zeta"]))[len(manager.BUNDLED) :] == ["zeta"]


def test_a_plugin_that_is_chosen_but_not_installed_is_an_error(
    install: Any, fake_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(alpha=fake_plugin("a"))
    monkeypatch.setenv("METAMERY_PLUGINS", "alfa")
    with pytest.raises(UnknownNameError, match="unknown plugin 'alfa'; did you mean 'alpha'"):
        Plugins()


def broken_hooks() -> dict[str, tuple[Callable[[], ModuleType], str]]:
    def misspelt() -> ModuleType:
        module = ModuleType("misspelt")
        module.register_model = hookimpl(lambda register: None)  # type: ignore[attr-defined]
        return module

    def wrong_argument() -> ModuleType:
        module = ModuleType("wrong_argument")

        @hookimpl
        def register_models(registry: Any) -> None: ...

        module.register_models = register_models  # type: ignore[attr-defined]
        return module

    def wrapper(**how: bool) -> ModuleType:
        module = ModuleType("wrapper")

        @hookimpl(**how)
        def register_models(register: Any) -> Any:
            yield

        module.register_models = register_models  # type: ignore[attr-defined]
        return module

    def raises() -> ModuleType:
        module = ModuleType("raises")

        @hookimpl
        def register_models(register: Any) -> None:
            register("half-way", example_model)
            raise ZeroDivisionError("on\nthe way")

        module.register_models = register_models  # type: ignore[attr-defined]
        return module

    def bad_name() -> ModuleType:
        module = ModuleType("bad_name")
        module.register_models = hookimpl(lambda register: register("a b", "a:b"))  # type: ignore[attr-defined]
        return module

    return {
        "misspelt": (misspelt, "register_model"),
        "wrong argument": (wrong_argument, "registry"),
        "wrapper": (lambda: wrapper(wrapper=True), "'register_models' is a hook wrapper"),
        "old wrapper": (lambda: wrapper(hookwrapper=True), "'register_models' is a hook wrapper"),
        "raises": (raises, "ZeroDivisionError: on the way"),
        "bad name": (bad_name, "'a b' is not of the form"),
    }


@pytest.mark.parametrize("case", broken_hooks())
def test_a_broken_plugin_costs_one_line_and_nothing_else(
    install: Any, fake_plugin: Any, distances_of: Any, command: Any, case: str
) -> None:
    make, reason = broken_hooks()[case]
    install(broken=make(), sound=fake_plugin("sound", register_distances=distances_of("sound")))
    plugins = Plugins()
    assert names(plugins)[len(manager.BUNDLED) :] == ["sound"]
    (problem,) = plugins.problems
    assert problem.plugin == "broken"
    assert reason in str(problem)
    assert "\n" not in str(problem)
    assert not any(entry.plugin == "broken" for kind in KINDS for entry in plugins.entries(kind))
    assert plugins.load("distance", "sound")(1.0) == 2.0
    with pytest.raises(UnknownNameError, match="plugin 'broken' is left out"):
        plugins.find("model", "half-way")

    said = command("list", "distances")
    assert said.status == 0
    assert "sound" in said.out
    assert said.err.splitlines() == [f"warning: {problem}"]
    assert str(problem) in command("plugins").out


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "ModuleNotFoundError: No module named 'installed_from_a_file'"),
        ("def f(:", "SyntaxError"),
        ("import no_such_dependency", "No module named 'no_such_dependency'"),
        ("raise ValueError('at import')", "ValueError: at import"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_plugin_that_cannot_be_imported_costs_one_line(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, reason: str
) -> None:
    if source is not None:
        (tmp_path / "installed_from_a_file.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    install(broken="installed_from_a_file")
    plugins = Plugins()
    assert names(plugins) == [path.removesuffix(".commands").rpartition(".")[2] for path in manager.BUNDLED]
    assert [reason in str(problem) for problem in plugins.problems] == [True]


def test_a_plugin_of_a_name_that_is_taken_is_left_out(install: Any, fake_plugin: Any, distances_of: Any) -> None:
    install(vision=fake_plugin("v", register_distances=distances_of("other")))
    plugins = Plugins()
    assert "the name 'vision' is taken" in str(plugins.problems[0])
    assert plugins.find("stimuli", "natural").qualified == "vision:natural"
    with pytest.raises(UnknownNameError, match="the name 'vision' is taken"):
        plugins.find("distance", "other")


def test_names_of_two_plugins_collide_loudly(fake_plugin: Any, distances_of: Any) -> None:
    plugins = Plugins([fake_plugin("mine", register_distances=distances_of("cosine"))])
    assert plugins.problems == []
    with pytest.raises(MetameryError, match=r"'mine:cosine' or 'synthesis:cosine'|'synthesis:cosine' or 'mine:cosine'"):
        plugins.load("distance", "cosine")
    assert plugins.load("distance", "mine:cosine")(1.0) == 2.0
    ones = torch.ones(1, 3)
    assert plugins.load("distance", "synthesis:cosine")(ones, ones).shape == (1,)


# Commands


def test_a_plugin_adds_a_command(install: Any, fake_plugin: Any, command: Any) -> None:
    def register_commands(app: Any) -> None:
        @app.command()
        def greet(name: str) -> None:
            print(f"hello {name}")

    install(polite=fake_plugin("polite", register_commands=register_commands))
    assert command("greet", "you").out == "hello you\n"
    assert command("greet", "you").status == 0


@pytest.mark.parametrize("taken", ["show", "list"])
def test_a_command_of_a_name_that_is_taken_leaves_its_plugin_out(
    install: Any, fake_plugin: Any, distances_of: Any, command: Any, taken: str
) -> None:
    def register_commands(app: Any) -> None:
        app.command("mine")(lambda: print("mine"))
        app.command(taken)(lambda: print("stolen"))

    hooks = {"register_commands": register_commands, "register_distances": distances_of("stray")}
    install(thief=fake_plugin("thief", **hooks))
    said = command("list", "distances")
    assert said.status == 0
    assert said.err == f"warning: plugin 'thief' is left out: its command '{taken}' already exists\n"
    assert "stray" not in said.out
    assert "cosine" in said.out
    assert command("mine").status == 2


def test_a_command_group_of_a_name_that_is_taken_leaves_its_plugin_out(
    install: Any, fake_plugin: Any, command: Any
) -> None:
    import typer

    def register_commands(app: Any) -> None:
        app.add_typer(typer.Typer(), name="report")

    install(thief=fake_plugin("thief", register_commands=register_commands))
    assert "its command 'report' already exists" in command("plugins").err


# What factories return


@pytest.mark.parametrize(
    ("kind", "wrong", "expected"),
    [
        ("model", torch.nn.Linear(1, 1), "returned Linear, expected Model"),
        ("stimuli", iter([]), "expected a sequence of Stimulus"),
        ("recipe", {"epochs": 3}, "returned dict, expected Recipe"),
        ("distance", 3, "returned int, expected a callable"),
        ("evaluator", None, "returned NoneType, expected a callable"),
        ("optimizer", "adam", "expected a callable"),
        ("loss", 1.0, "expected a callable"),
        ("perturbation", [], "expected a callable"),
    ],
)
def test_a_factory_that_returns_another_type_is_named(fake_plugin: Any, kind: str, wrong: Any, expected: str) -> None:
    def hook(register: Any) -> None:
        register("odd", lambda: wrong)

    plugins = Plugins([fake_plugin("mine", **{KINDS[kind]: hook})])
    with pytest.raises(
        MetameryError, match=f"{kind} 'mine:odd' returned .*{expected.rsplit('returned ', maxsplit=1)[-1]}"
    ) as caught:
        plugins.load(kind, "odd")
    assert "Traceback" not in str(caught.value)


def test_factories_of_the_right_type_pass(fake_plugin: Any) -> None:
    def register_models(register: Any) -> None:
        register("small", example_model)

    def register_recipes(register: Any) -> None:
        register("short", lambda: Recipe(epochs=1))

    plugins = Plugins([fake_plugin("mine", register_models=register_models, register_recipes=register_recipes)])
    assert plugins.load("model", "small", seed=1).labels == ("a", "b", "c", "d")
    assert plugins.load("recipe", "short").epochs == 1


def test_an_unknown_kind_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown kind 'modle'; did you mean 'model'"):
        Plugins().entries("modle")


def test_an_installed_plugin_never_changes_a_number(
    fake_plugin: Any, distances_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register_optimizers(register: Any) -> None:
        register("adam", lambda lr: torch.manual_seed(3))  # the same name as a bundled one

    extra = fake_plugin("loud", register_distances=distances_of("relative-l2"), register_optimizers=register_optimizers)
    stimuli = [Stimulus(torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0)), name="noise")]

    def made(plugins: Plugins) -> Any:
        make = plugins.find("optimizer", "synthesis:adam").entry.factory()
        distance = plugins.load("distance", "relative_l2")
        return synthesise(example_model(), stimuli, ["1"], steps=5, distance=distance, optimizer=make(lr=0.02))

    assert made(Plugins()).identical(made(Plugins([extra])))


def test_a_broken_plugin_does_not_stop_the_real_program(tmp_path: Path) -> None:
    (tmp_path / "sad_plugin.py").write_text("import no_such_dependency\n")
    info = tmp_path / "sad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metamery]\nsad = sad_plugin\n")
    program = [str(Path(sys.executable).with_name("metamery")), "list", "models"]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == (
        "warning: plugin 'sad' is left out: ModuleNotFoundError: No module named 'no_such_dependency'\n"
    )
    assert "efficientnet-lite0" in done.stdout
