"""The example plugin, and the package that the guide walks through, in a fresh environment, through the shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from metamery.framework import open_study

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "example_plugin"
GUIDE = ROOT / "docs" / "plugins.md"
STEP = re.compile(r"^```(?:\w+) (file|add|in|from)=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# The shell of a reader of the guide, where nothing can be downloaded, and tests that passed are not run again.
READER = """
set -e
pip() { python -m pip "$@" --quiet --no-deps --no-build-isolation --no-index; }
pytest() { python -m pytest -p no:cacheprovider $NEW_TESTS "$@"; }
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Environment:
    """A fresh environment, and a folder to work in."""

    folder: Path
    work: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *command: str | Path, plugins: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment; `plugins` chooses the installed ones, by default all."""
        settings = {name: value for name, value in os.environ.items() if not name.startswith("METAMERY_")}
        settings |= {"OMP_NUM_THREADS": "1"} | ({} if plugins is None else {"METAMERY_PLUGINS": plugins})
        program, *arguments = command
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=self.work,
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )

    def metamery(self, *arguments: str | Path, plugins: str | None = "example") -> str:
        """What the command prints where it succeeds without a warning; it loads the example plugin alone."""
        done = self.run("metamery", *arguments, plugins=plugins)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning: " not in done.stderr
        return done.stdout


def pip(*arguments: str | Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def copied(source: Path, target: Path) -> Path:
    leave = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
    return Path(shutil.copytree(source, target, ignore=leave))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of metamery and of the example plugin, by distribution."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("pip is not installed here, as in environments that uv makes")
    base = tmp_path_factory.mktemp("wheels")
    sources = [copied(ROOT, base / "metamery"), copied(PLUGIN, base / "example")]
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", base, *sources)
    return {file.name.partition("-")[0]: file for file in base.glob("*.whl")}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """metamery and the example plugin."""
    return fresh(tmp_path_factory.mktemp("fresh"), [*wheels.values()])


def fresh(base: Path, wheels: Sequence[Path]) -> Environment:
    """Install wheels in an environment of their own; what they need is borrowed from the environment of the tests."""
    made = Environment(base / "env", base / "work")
    made.work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made.folder], check=True)
    pip("--python", made.python, "install", "--no-deps", "--no-index", *wheels)
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lines = [f"import site; site.addsitedir({place!r})\n" for place in sorted(places)]
    (site_packages,) = made.folder.glob("lib/*/site-packages")
    (site_packages / "borrowed.pth").write_text("".join(lines), encoding="utf-8")
    return made


def test_metamery_and_the_plugin_are_those_of_the_environment(environment: Environment) -> None:
    code = "import metamery.framework as m, metamery_example as e; print(m.__file__, e.__file__, sep='\\n')"
    places = environment.run("python", "-c", code).stdout.splitlines()
    assert [Path(place).is_relative_to(environment.folder) for place in places] == [True, True]


def test_the_plugin_is_listed_with_its_names(environment: Environment) -> None:
    assert "\nexample              metamery-example 0.1.0, 9 names, 1 command\n" in "\n" + environment.metamery(
        "plugins"
    )
    listed = environment.metamery("list")
    for name in ("example-net", "example-focal", "example-relative-lp", "example-signal-rms"):
        (line,) = [line for line in listed.splitlines() if line.split()[0] == name]
        assert line.endswith("[example]")
    assert "example-net" not in environment.metamery("list", plugins="")


def test_its_model_is_shown(environment: Environment) -> None:
    shown = environment.metamery("show", "example-net", "--set", "width=4")
    assert shown.startswith("example:example-net: image, 3 × 32 × 32")
    assert "4 × 14 × 14" in shown
    layers = [line.split()[0] for line in shown.splitlines() if line.startswith(("conv", "relu", "output"))]
    assert layers == ["relu1", "relu2", "output"]


def test_its_command_is_listed(environment: Environment) -> None:
    assert "\n  example-status " in environment.metamery("--help")


@dataclass(frozen=True)
class Followed:
    """What a reader of the guide gets: all that was said, and the study."""

    said: str
    study: Path


@pytest.fixture(scope="module")
def followed(environment: Environment) -> Followed:
    """Follow the guide step by step: every command, every file and every addition."""
    pytest.importorskip("skimage", reason="the guide's photographs are not installed")
    package = environment.work / "metamery-zebra"
    environment.metamery("new-plugin", "zebra", plugins="")
    said = new_tests = ""
    for what, where, text in STEP.findall(GUIDE.read_text(encoding="utf-8")):
        if what == "in":
            said += shell(environment, environment.work / where, text, new_tests)
        elif what == "file":
            (environment.work / where).write_text(text, encoding="utf-8")
            new_tests = f"tests/{Path(where).name}" if Path(where).parent.name == "tests" else new_tests
        elif what == "add":
            add(package / "src" / "metamery_zebra" / "plugin.py", where, text)
        elif where == "trace":
            assert text in said
    return Followed(said, package / "study")


@pytest.mark.timeout(900)
def test_a_reader_of_the_guide_gets_what_it_says(environment: Environment, followed: Followed) -> None:
    assert f"rootdir: {environment.work / 'metamery-zebra'}\n" in followed.said
    for line in (" 14 passed", " 4 passed", " 1 passed", "\nzebra:zebra/16: image, ", "\n    zebra/32\n"):
        assert line in followed.said
    assert {"zebra-signal-rms", "spread"} <= set(open_study(followed.study).children)
    assert "spread of metamers" in (followed.study / "report.html").read_text(encoding="utf-8")


def test_the_command_that_it_adds_runs(followed: Followed) -> None:
    lines = followed.said.splitlines()
    first = lines.index("zebra:zebra-net")
    assert [line.split() for line in lines[first + 1 : first + 4]] == [
        [layer, "0", "missing,", "3", "done,", "0", "failed"] for layer in ("relu1", "relu2", "output")
    ]


def test_the_evaluator_that_it_adds_is_in_the_results_and_on_the_page(followed: Followed) -> None:
    found = open_study(followed.study)["zebra-signal-rms"]
    assert found["rms"].dims == ("site",)
    assert found["layer"].values.tolist() == ["relu1", "relu2", "output"]
    assert (found["rms"] > 0).all()
    for wanted in ("zebra-signal-rms", "RMS difference between metamers and natural signals"):
        assert wanted in (followed.study / "report.html").read_text(encoding="utf-8")


def test_results_say_which_plugin_was_used(followed: Followed) -> None:
    results = open_study(followed.study)
    assert {"zebra:zebra-net", "zebra:zebra-relative-lp"} <= set(results.attrs["names"])
    assert "zebra (metamery-zebra 0.1.0)" in results.attrs["plugins"]
    assert results["models/zebra+zebra-net"].attrs["model"] == "zebra:zebra-net"


def shell(reader: Environment, folder: Path, text: str, new_tests: str) -> str:
    """Run lines as a shell does, and return all that is said; of the tests only `new_tests`, if there are any."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("METAMERY_")}
    settings |= {"PATH": f"{reader.python.parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    settings["NEW_TESTS"] = new_tests
    done = subprocess.run(
        ["bash", "-c", READER + text],
        cwd=folder,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "warning: " not in done.stdout
    return done.stdout


def add(module: Path, hook: str, lines: str) -> None:
    """Add lines at the end of a hook of a plugin's module."""
    source = module.read_text(encoding="utf-8")
    changed = re.sub(rf"(^def {hook}\(.+?\n)(?=\n\n)", rf"\g<0>{lines}", source, flags=re.MULTILINE | re.DOTALL)
    assert changed != source
    module.write_text(changed, encoding="utf-8")
