"""Faults in a plugin's code or a user's file: one line says whose, the traceback begins there; nobody ends Python."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import Plugins, switches

PLUGIN = """
import sys
import torch
from metamery.framework import hookimpl, testing

@hookimpl
def register_models(register):
    register("broken-net", "faulty_plugin:net")
    register("leaving", "faulty_plugin:leaving")

@hookimpl
def register_distances(register):
    register("late", "faulty_plugin:late")
    register("gone", "faulty_plugin:gone")
    register("odd", "faulty_plugin_odd:odd")

def net():
    raise RuntimeError("no\\nweights")

def leaving():
    sys.exit()

def late():
    return lambda activations, targets: activations.no_such_method()

def gone():
    return lambda activations, targets: sys.exit(0)
"""


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Any) -> Iterator[None]:
    (tmp_path / "faulty_plugin.py").write_text(PLUGIN)
    (tmp_path / "faulty_plugin_odd.py").write_text("raise ValueError('odd')\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(faulty="faulty_plugin")
    yield
    for name in ("faulty_plugin", "faulty_plugin_odd"):
        sys.modules.pop(name, None)


def asked(tiny: str, pictures: Path, output: Path, distance: str) -> list[object]:
    return ["synthesise", tiny, "--stimuli", pictures, "--steps", 2, "--setting", f"distance={distance}", "-o", output]


def test_a_fault_in_a_factory(command: Any, faulty: None) -> None:
    said = command("show", "broken-net")
    assert said.status == 1
    lines = said.err.splitlines()
    assert lines[0] == "fault in plugin 'faulty' (model 'broken-net'): RuntimeError: no"
    assert lines[2] == "Traceback (most recent call last):"
    assert "faulty_plugin.py" in lines[3]
    assert "typer" not in said.err


def test_a_fault_in_a_call(command: Any, faulty: None, tiny: str, pictures: Path, tmp_path: Path) -> None:
    said = command(*asked(tiny, pictures, tmp_path / "study", "late"))
    assert said.status == 1
    assert "fault in plugin 'faulty' (distance 'late'): AttributeError: " in said.err


def test_a_fault_on_import(command: Any, faulty: None, tiny: str, pictures: Path, tmp_path: Path) -> None:
    said = command(*asked(tiny, pictures, tmp_path / "study", "odd"))
    assert said.status == 1
    assert "faulty_plugin_odd.py" in said.err.splitlines()[3]


def test_a_fault_in_a_user_s_file(command: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def build():\n    return 1 / 0\n")
    said = command("show", f"{tmp_path / 'net.py'}:build")
    assert said.status == 1
    assert said.err.splitlines()[0] == (
        f"fault in '{tmp_path / 'net.py'}' (model 'build'): ZeroDivisionError: division by zero"
    )


def test_nobody_ends_python(command: Any, faulty: None, tiny: str, pictures: Path, tmp_path: Path) -> None:
    said = command("show", "leaving")
    assert (said.status, said.error.partition(" ends Python by itself")[0]) == (2, "error: model 'leaving'")
    (tmp_path / "net.py").write_text("raise SystemExit(0)\n")
    said = command("show", f"{tmp_path / 'net.py'}:build")
    assert said.status == 2
    assert f"'{tmp_path / 'net.py'}' cannot be run: SystemExit: 0" in said.error
    said = command(*asked(tiny, pictures, tmp_path / "study", "gone"))
    assert said.status == 2
    assert "plugin 'faulty' (distance 'gone')" in said.error


SWITCHES = """
import torch
torch.set_float32_matmul_precision("high")
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)
torch.set_num_threads(torch.get_num_threads() + 1)
torch.backends.mkldnn.enabled = False
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.conv.fp32_precision = "ieee"
torch.manual_seed(3)

def build():
    torch.set_grad_enabled(False)
    return lambda activations, targets: activations
"""


def test_switches_that_a_file_sets_are_restored(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(SWITCHES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before, state = switches._values(), torch.get_rng_state()
        with pytest.warns(UserWarning, match="sets PyTorch's") as caught:
            Plugins(installed=()).load("distance", f"{tmp_path / 'loud.py'}:build")
        assert switches._values() == before
        assert torch.equal(torch.get_rng_state(), state)
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2
    assert all("loud.py" in line for line in told)
    unchanged = {"cudnn.enabled", "cudnn.deterministic"}
    unchanged |= {f"{operation}.fp32_precision" for operation in ("cudnn.rnn", "mkldnn.conv", "mkldnn.rnn")}
    for name in before.keys() - unchanged:
        assert f"{name} = " in told[0]
    assert "manual_seed = 3; this is undone" in told[0]
    assert "sets PyTorch's grad_enabled = False; this is undone" in told[1]


def test_switches_that_a_plugin_sets_are_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Any
) -> None:
    (tmp_path / "loud_plugin.py").write_text(SWITCHES)
    monkeypatch.syspath_prepend(tmp_path)
    install(loud="loud_plugin")
    before = switches._values()
    with pytest.warns(UserWarning, match=r"plugin 'loud' sets PyTorch's .*cuda\.matmul\.fp32_precision = tf32"):
        Plugins()
    assert switches._values() == before
    sys.modules.pop("loud_plugin", None)


def test_nothing_is_said_of_a_file_that_sets_nothing(tiny: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Plugins(installed=()).load("model", tiny)


def test_the_defaults_are_pytorch_s() -> None:
    script = (
        "from metamery.framework import switches\n"
        "import torch\n"
        "values = switches._values()\n"
        "assert {name: values[name] for name in switches._defaults()} == switches._defaults(), values"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
