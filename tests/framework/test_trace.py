"""The trace of hook calls (`METAMERY_TRACE_PLUGINS`): one line for each, on standard error."""

from __future__ import annotations

from typing import Any

import pytest
from metamery.framework import Plugins, cli
from metamery.framework.registry import KINDS


@pytest.fixture
def extra(fake_plugin: Any, distances_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound plugin, one that fails half-way, and one whose command is taken."""

    def register_models(register: Any) -> None:
        register("half-way", "a:b")
        raise ZeroDivisionError

    def register_commands(app: Any) -> None:
        app.command("fresh")(lambda: None)
        app.command("show")(lambda: None)

    modules = [
        fake_plugin("mine", register_distances=distances_of("one", "two"), register_losses=lambda: None),
        fake_plugin("half", register_models=register_models),
        fake_plugin("thief", register_commands=register_commands),
    ]
    monkeypatch.setattr(cli, "Plugins", lambda: Plugins(modules))


@pytest.mark.parametrize("switch", ["1", "yes"])
def test_every_call_is_one_line(extra: None, command: Any, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    monkeypatch.setenv("METAMERY_TRACE_PLUGINS", switch)
    said = command("list", "distances")
    assert said.status == 0
    assert "trace" not in said.out
    lines = [line for line in said.err.splitlines() if line.startswith("trace: ")]
    calls = [line.split()[1:3] for line in lines]
    assert len(calls) == len(set(map(tuple, calls)))
    own = [line for line in lines if line.split()[1] in ("mine", "half", "thief")]
    assert own == [
        "trace: mine register_losses: nothing",
        "trace: mine register_distances: one, two",
        "trace: half register_models: half-way (raises ZeroDivisionError)",
        "trace: thief register_commands: fresh, show",
    ]
    assert "trace: synthesis register_distances: relative_l2, cosine, correlation" in lines
    assert any(line.startswith("trace: analysis register_commands: demo, show, ") for line in lines)


def test_every_bundled_hook_is_traced(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("METAMERY_TRACE_PLUGINS", "1")
    plugins = Plugins()
    calls = sorted(line.split()[1:3] for line in capsys.readouterr().err.splitlines())
    assert calls == sorted([owner, f"{hook}:"] for hook in KINDS.values() for owner, _ in plugins.hook_calls(hook))


@pytest.mark.parametrize("switch", [None, "", "0"])
def test_without_it_nothing_is_said(extra: None, command: Any, monkeypatch: Any, switch: str | None) -> None:
    monkeypatch.delenv("METAMERY_TRACE_PLUGINS", raising=False)
    if switch is not None:
        monkeypatch.setenv("METAMERY_TRACE_PLUGINS", switch)
    assert "trace" not in command("plugins").err
