"""One installed package whose plugins are faulty in every way: each has its own clear message, and the rest works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said
from metamery.framework import open_study

HOOK = "from metamery.framework import hookimpl\n@hookimpl\n"

MODULES = {
    "import": "import no_such_dependency\n",
    "misspelt": f"{HOOK}def register_model(register):\n    register('lost', 'crowd_parts:network')\n",
    "wrapper": (
        "from metamery.framework import hookimpl\n"
        "@hookimpl(wrapper=True)\n"
        "def register_distances(register):\n    return (yield)\n"
    ),
    "thief": f"{HOOK}def register_commands(app):\n    app.command('export')(lambda: print('stolen'))\n",
    "twin-a": (
        f"{HOOK}def register_distances(register):\n"
        "    register('cosine', 'crowd_parts:constant')\n"
        "    register('shared', 'crowd_parts:city_block')\n"
    ),
    "twin-b": f"{HOOK}def register_distances(register):\n    register('shared', 'crowd_parts:constant')\n",
    "wrong": (
        f"{HOOK}def register_models(register):\n"
        "    register('bare', 'crowd_parts:bare_module')\n"
        "    register('nowhere', 'crowd_parts:no_such_function')\n"
    ),
    "sound": (
        f"{HOOK}def register_models(register):\n    register('sound-net', 'crowd_parts:network')\n"
        "@hookimpl\ndef register_commands(app):\n    app.command('greet')(lambda: print('hello'))\n"
    ),
}

PARTS = """
import torch
from metamery.framework import testing


def network():
    return testing.example_model()


def bare_module():
    return torch.nn.Linear(1, 1)


def city_block():
    return lambda activations, targets: (activations - targets).abs().flatten(1).mean(dim=1)


def constant():
    raise RuntimeError("nobody asked for this one")
"""

LEFT_OUT = {
    "import": "ModuleNotFoundError: No module named 'no_such_dependency'",
    "misspelt": "unknown hook 'register_model'; did you mean 'register_models'? Known: register_models, ",
    "thief": "its command 'export' already exists",
    "wrapper": "'register_distances' is a hook wrapper; metamery does not accept any",
}

Run = Callable[..., Said]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package is installed."""
    place = tmp_path_factory.mktemp("installed")
    (place / "crowd_parts.py").write_text(PARTS)
    points = ["[metamery]"]
    for name, source in MODULES.items():
        module = f"crowd_{name.replace('-', '_')}"
        (place / f"{module}.py").write_text(source)
        points.append(f"{name} = {module}")
    info = place / "crowd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crowd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")
    return place


@pytest.fixture
def run(installed: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("list", "models")`` is the program where the package is installed."""
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setenv("METAMERY_PLUGINS", ",".join(MODULES))
    return command


def errors(said: Said) -> list[str]:
    """What is on standard error besides the warnings of what is left out."""
    assert "Traceback" not in said.err
    return [line for line in said.err.splitlines() if not line.startswith("warning: plugin ")]


def test_each_bad_plugin_is_one_line_that_says_why(run: Run) -> None:
    done = run("plugins")
    assert done.status == 0
    warnings = dict(line.split("' is left out: ", 1) for line in done.err.splitlines())
    assert warnings.keys() == {f"warning: plugin '{name}" for name in LEFT_OUT}
    for name, reason in LEFT_OUT.items():
        assert warnings[f"warning: plugin '{name}"].startswith(reason)
        assert f"plugin '{name}' is left out: {reason}" in done.out
    loaded = {line.split()[0] for line in done.out.splitlines() if "crowd 1.0" in line}
    assert loaded == MODULES.keys() - LEFT_OUT.keys()


def test_what_is_left_out_registers_nothing(run: Run) -> None:
    listed = run("list", "models").out
    assert "lost" not in listed
    assert "sound-net" in listed
    done = run("show", "lost")
    assert done.status == 2
    (error,) = errors(done)
    assert error.startswith("error: unknown model 'lost'")
    assert "plugin 'misspelt' is left out: unknown hook 'register_model'" in error


def test_a_stolen_command_stays_whose_it_was(run: Run) -> None:
    done = run("export", "--help")
    assert done.status == 0
    assert "Usage: metamery export [OPTIONS] {STUDY}" in done.out
    assert run("greet").out == "hello\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "bare"], "error: model 'wrong:bare' returned Linear, expected Model(module, domain, layers)"),
        (
            ["show", "nowhere"],
            "error: model 'wrong:nowhere' cannot be imported: module 'crowd_parts' has no attribute 'no_such_function'",
        ),
    ],
)
def test_a_factory_that_does_not_keep_its_contract_is_named(run: Run, arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert errors(done) == [said]


@pytest.mark.parametrize(
    ("distance", "owners"), [("cosine", ("synthesis", "twin-a")), ("shared", ("twin-a", "twin-b"))]
)
def test_a_name_of_two_plugins_is_refused_and_both_are_named(
    run: Run, pictures: Path, tmp_path: Path, distance: str, owners: tuple[str, str]
) -> None:
    settings = ["--steps", "2", "--layers", "1", "--output", str(tmp_path / "study"), "--setting"]
    study = ["synthesise", "sound-net", "--stimuli", f"{pictures}/", *settings]
    done = run(*study, f"distance={distance}")
    assert done.status == 2
    first, second = (f"'{owner}:{distance}'" for owner in owners)
    assert errors(done) == [f"error: distance '{distance}' is registered by several plugins: write {first} or {second}"]
    assert not (tmp_path / "study" / "results.zarr").exists()

    chosen = "synthesis:cosine" if distance == "cosine" else "twin-a:shared"
    done = run(*study, f"distance={chosen}")
    assert done.status == 0, done.err
    results = open_study(tmp_path / "study")
    assert {"sound:sound-net", chosen} <= set(results.attrs["names"])
    assert (results["models/sound+sound-net/metamers/state"] == 1).all()
