"""The program itself: its own commands, its exit status, and its messages about mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from metamery.framework import MetameryError, Plugins, cli, hookspecs, stopping
from metamery.framework.registry import KINDS


def test_help_lists_every_command(command: Any) -> None:
    said = command("--help")
    assert said.status == 0
    assert said.err == ""
    for name in (
        "list",
        "plugins",
        "new-plugin",
        "demo",
        "show",
        "synthesise",
        "run",
        "evaluate",
        "report",
        "export",
        "train",
    ):
        assert f"\n  {name} " in said.out


def test_without_arguments_it_helps(command: Any) -> None:
    assert command() == command("--help")


@pytest.mark.parametrize(
    "name",
    ["list", "plugins", "new-plugin", "demo", "show", "synthesise", "run", "evaluate", "report", "export", "train"],
)
def test_every_command_explains_itself_and_its_options(command: Any, name: str) -> None:
    said = command(name, "--help")
    assert said.status == 0
    assert f"Usage: metamery {name}" in said.out
    takes_options = {"demo", "synthesise", "run", "evaluate", "train"}
    for option in ("--device", "--dry-run"):
        assert (option in said.out) == (name in takes_options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shwo", "x"], "No such command 'shwo'. Did you mean 'show'?"),
        (["zzz"], "No such command 'zzz'; see metamery --help"),
        (["list", "modles"], "unknown kind 'modles'; did you mean 'model'?"),
        (["list", "--member"], "No such option: --member (Possible options: --members)"),
        (["show"], "Missing argument 'NAME'; see metamery show --help"),
        (["plugins", "extra"], "unexpected extra argument"),
    ],
)
def test_a_slip_costs_one_line_and_status_2(command: Any, arguments: list[str], said: str) -> None:
    result = command(*arguments)
    assert result.status == 2
    assert said.lower() in result.error.lower()
    assert len(result.err.splitlines()) == 1
    assert result.out == ""


def test_list_shows_every_name_with_its_plugin(command: Any) -> None:
    everything = command("list").out
    for kind, hook in KINDS.items():
        assert f"{kind}:" in everything
        own = command("list", kind).out
        assert own == command("list", hook.removeprefix("register_")).out
        for entry in Plugins().entries(kind):
            (line,) = [line for line in own.splitlines() if line.split()[0] == entry.name]
            assert entry.summary in line
            assert line.endswith(f"[{entry.plugin}, {entry.licence}]" if entry.licence else f"[{entry.plugin}]")
            assert line in everything


def test_a_stated_licence_is_listed_and_shown(command: Any) -> None:
    assert "weights for spoken digits, no download  [audio, CC-BY-SA-4.0]\n" in command("list", "models").out
    assert "\nlicence: CC-BY-SA-4.0\n" in command("show", "coch-cnn-digits").out
    assert "licence" not in command("show", "small-cnn").out


def test_list_can_show_the_members_of_families(command: Any) -> None:
    assert "torchvision/resnet50" not in command("list", "models").out
    assert "\n    torchvision/resnet50\n" in command("list", "models", "--members").out


def test_a_family_whose_names_cannot_be_listed_costs_a_warning(
    command: Any, fake_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register_models(register: Any) -> None:
        register("aaa/", "os:path", names="os.path:no_such_function")

    monkeypatch.setattr(cli, "Plugins", lambda: Plugins([fake_plugin("broken", register_models=register_models)]))
    said = command("list", "models", "--members")
    assert said.status == 0
    assert said.err.startswith("warning: cannot list the names of model 'broken:aaa/': ")
    assert "torchvision/resnet50" in said.out


def test_plugins_lists_what_is_loaded(command: Any) -> None:
    said = command("plugins")
    assert said.status == 0
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert set(lines) >= {"analysis", "evaluators", "robustness", "synthesis", "vision"}
    count = sum(entry.plugin == "synthesis" for kind in KINDS for entry in Plugins().entries(kind))
    assert lines["synthesis"].endswith(f", {count} names")
    assert lines["analysis"].endswith(" commands")


def with_command(fake_plugin: Any, action: Any) -> Any:
    def register_commands(app: Any) -> None:
        app.command("act")(action)

    return fake_plugin("acting", register_commands=register_commands)


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch, fake_plugin: Any) -> Any:
    """``acting(function)`` adds the command ``act``, which calls it."""

    def make(action: Any) -> None:
        monkeypatch.setattr(cli, "Plugins", lambda: Plugins([with_command(fake_plugin, action)]))

    return make


def test_a_persons_error_is_one_line(acting: Any, command: Any) -> None:
    def action() -> None:
        raise MetameryError("this\n   is   wrong")

    acting(action)
    said = command("act")
    assert (said.status, said.err, said.out) == (2, "error: this is wrong\n", "")


def test_a_programs_error_keeps_its_traceback(acting: Any, command: Any) -> None:
    def action() -> None:
        raise ZeroDivisionError

    acting(action)
    with pytest.raises(ZeroDivisionError):
        command("act")


def test_a_warning_is_one_line(acting: Any, command: Any) -> None:
    import warnings

    def action() -> None:
        warnings.warn("left\nout", stacklevel=1)
        warnings.warn("old name", FutureWarning, stacklevel=1)

    acting(action)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        first, second = command("act").err.splitlines()
    assert first == "warning: left out"
    assert second.startswith("warning: old name (FutureWarning, ")


def test_stopping_says_how_to_go_on(acting: Any, command: Any) -> None:
    def action() -> None:
        raise KeyboardInterrupt

    acting(action)
    stopping.say("what an interrupted notebook left")
    said = command("act")
    assert said.status == 130
    assert said.err == "stopped: the same command starts again from the beginning\n"

    def resumable() -> None:
        with stopping.when_stopped():
            action()

    acting(resumable)
    assert command("act").err == "stopped: the same command resumes where this one stopped\n"


def test_a_commands_own_status_is_the_programs(acting: Any, command: Any) -> None:
    import typer

    def action() -> None:
        raise typer.Exit(3)

    acting(action)
    assert command("act").status == 3


def test_an_unknown_name_quotes_the_plugin_that_is_left_out(
    monkeypatch: pytest.MonkeyPatch, fake_plugin: Any, command: Any
) -> None:
    broken = fake_plugin("vission", register_models=lambda register: 1 / 0)
    monkeypatch.setattr(cli, "Plugins", lambda: Plugins([broken]))
    said = command("show", "mine")
    assert said.status == 2
    assert said.err.splitlines()[0].startswith("warning: plugin 'vission' is left out: ZeroDivisionError")
    assert "unknown name 'mine'" in said.error
    assert "plugin 'vission' is left out: ZeroDivisionError" in said.error


def test_two_programs_share_nothing(fake_plugin: Any) -> None:
    plugins = Plugins([with_command(fake_plugin, lambda: None)])
    assert "act" in [command.name for command in cli.make_app(plugins).registered_commands]
    assert "act" not in [command.name for command in cli.make_app(Plugins()).registered_commands]


def test_the_hook_for_commands_is_used_by_a_bundled_plugin() -> None:
    assert hookspecs.register_commands.__doc__
    assert [name for name, _ in Plugins().hook_calls("register_commands")] == ["analysis", "training"]


def test_the_installed_program_exits_with_the_status() -> None:
    program = Path(sys.executable).with_name("metamery")
    good = subprocess.run([program, "list", "distances"], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run([program, "list", "nothing"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: unknown kind 'nothing'")
    assert bad.stdout == ""
