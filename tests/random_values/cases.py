"""One random case: files as a person may have them, and a command as they may give it."""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import material
import tomli_w
import typer
from metamery.analysis.synthesis.settings import Settings
from metamery.framework.cli import make_app
from metamery.framework.manager import Plugins
from metamery.framework.recipes import Recipe
from values import any_value, argument, as_text, changed, damaged, number

Command = list[str]

HEAVY = ("demo", "new-plugin")
OWN = {"model": "networks.py:picture", "sound": "networks.py:sound"}
LIGHT_MODELS = ("small-cnn", "cifar-resnet20", "antialias/blur3/small-cnn", "coch-cnn-digits", "crepe-tiny")
LIGHT_STIMULI = ("folder", "natural", "spoken-digits")
FEW_PROCESSES = (-1, 0, 1, 10**12, 10**30, 0.5, "a", "")


KINDS = {
    "command": 6, "study": 4, "settings": 3, "recipe": 4, "evaluator": 4, "factory": 4, "store": 5, "table": 3,
    "run": 2, "bytes": 2,
}  # fmt: skip
"""Each kind of case, and how often it comes."""

AGAIN = [
    "synthesise",
    "networks.py:picture",
    "--stimuli",
    "pictures",
    "-o",
    "study",
    "--steps",
    "2",
    "--layers",
    "1,output",
]
ONE = ["synthesise", "networks.py:picture", "--stimuli", "pictures", "-o", "out", "--steps", "1", "--layers", "1"]

COMPUTED = ("study", "sound-study", "evaluations", "statistics", "comparison", "run")


class Cases:
    """Draws cases; every option, entry and attribute is enumerated from the program itself."""

    def __init__(self) -> None:
        self.plugins = Plugins(installed=[])
        self.commands = typer.main.get_command(make_app(self.plugins)).commands  # type: ignore[attr-defined]

    def draw(self, kind: str, random: Random) -> Command:
        """Prepare the folder that one is in, and return the command to try."""
        made: Command = getattr(self, kind)(random)
        return made

    def command(self, random: Random) -> Command:
        """Random values for the options and arguments of any command."""
        name = random.choice([name for name in self.commands if name not in HEAVY] * 3 + list(HEAVY))
        given, parameters = _base(name), list(self.commands[name].params)
        options = [each for each in parameters if each.param_type_name == "option" and "--help" not in each.opts]
        for _ in range(random.choice((1, 1, 2, 3))):
            if options and random.random() < 0.8:
                option = random.choice(options)
                flag = max(option.opts, key=len)
                if option.is_flag:
                    given.append(flag)
                elif flag in ("--devices", "--workers"):
                    given += [flag, as_text(random.choice(FEW_PROCESSES))]
                else:
                    given += [flag, argument(random) if flag != "--output" else _place(random)]
            elif len(given) > 1 and not given[1].startswith("-"):
                given[1] = argument(random)
            else:
                given.append(argument(random))
        return given

    def study(self, random: Random) -> Command:
        """A study file with entries that are random."""
        table = changed(random, material.STUDY)
        _write_toml(Path("study.toml"), table)
        return ["run", "study.toml", "-o", "out", *(["--dry-run"] if random.random() < 0.2 else [])]

    def settings(self, random: Random) -> Command:
        """Any setting of a synthesis."""
        names = [field.name for field in fields(Settings)] + ["optimizer_options.beta2", "nonsense"]
        given = list(ONE)
        for _ in range(random.choice((1, 1, 2))):
            given += ["--setting", f"{random.choice(names)}={argument(random)}"]
        return given

    def recipe(self, random: Random) -> Command:
        """Any entry of a recipe, in its file or on the command line, and any option of what it names."""
        table: dict[str, Any] = dict(material.RECIPE)
        kind = random.choice(("loss", "optimizer", "perturbation", "check", "entry", "entry"))
        if kind == "entry":
            table = changed(random, table)
        else:
            listed = "perturbation" if kind == "check" else kind
            name, options = self._options(random, listed)
            table |= {kind: name, f"{kind}_options": options}
        _write_toml(Path("recipe.toml"), table)
        sound = table.get("perturbation") in ("gain", "background") or table.get("check") in ("gain", "background")
        if sound:
            table["augment"] = []
            _write_toml(Path("recipe.toml"), table)
        what = ["--model", OWN["sound" if sound else "model"], "--stimuli", "sounds" if sound else "pictures"]
        given = ["train", "recipe.toml", *what, "-o", "out"]
        if random.random() < 0.3:
            names = [field.name for field in fields(Recipe)]
            names += ["loss_options.label_smoothing", "perturbation_options.steps"]
            given += ["--setting", f"{random.choice(names)}={argument(random)}"]
        return given

    def evaluator(self, random: Random) -> Command:
        """Any option of any evaluator, of a study or of models."""
        name, options = self._options(random, "evaluator")
        sound = name == "accuracy-in-noise"
        if random.random() < 0.5 and not sound:
            what = ["study"]
        else:
            what = [OWN["sound" if sound else "model"], "--stimuli", "sounds" if sound else "pictures", "-o", "out"]
        return ["evaluate", name, *what, *_pairs(options)]

    def factory(self, random: Random) -> Command:
        """Any option of models, stimuli, distances and optimizers."""
        kind = random.choice(("model", "stimuli", "distance", "optimizer"))
        if kind == "model":
            name, options = self._options(random, "model", LIGHT_MODELS)
            return ["show", name, *_pairs(options)]
        table: dict[str, Any] = json.loads(json.dumps(material.STUDY))
        if kind == "stimuli":
            name, options = self._options(random, "stimuli", LIGHT_STIMULI)
            table["stimuli"] = {"path": "pictures"} if name == "folder" and "path" not in options else {}
            table["stimuli"] |= options | {"name": name}
            if name != "folder":
                table["stimuli"].setdefault("limit", 1)
        else:
            name, options = self._options(random, kind)
            table["synthesis"] |= {kind: name, f"{kind}_options": options}
        _write_toml(Path("study.toml"), table)
        return ["run", "study.toml", "-o", "out"]

    def store(self, random: Random) -> Command:
        """Stored attributes and arrays that someone changed."""
        which = random.choice(("study", "study", *COMPUTED))
        results = Path(which) / "results.zarr"
        files = sorted(file for file in results.rglob("*") if file.is_file())
        for _ in range(random.choice((1, 1, 2))):
            described = [file for file in files if file.name == "zarr.json"]
            file = random.choice(described if random.random() < 0.7 else files)
            if file.name == "zarr.json" and random.random() < 0.9:
                node = changed(random, json.loads(file.read_text(encoding="utf-8")), _stored)
                file.write_text(json.dumps(node), encoding="utf-8")
            elif random.random() < 0.7:
                file.write_bytes(damaged(random, file.read_bytes()))
            else:
                file.unlink(missing_ok=True)
        if which == "run":
            return random.choice((["report", "run"], ["show", "run"]))
        if which != "study":
            return random.choice((["report", which], ["compare", which, "-o", "out"], ["export", which, "-o", "out"]))
        evaluators = [entry.name for entry in self.plugins.entries("evaluator")]
        commands: list[Command] = [
            ["report", "study"],
            ["export", "study", "-o", "out"],
            ["compare", "study", "sound-study", "-o", "out"],
            ["evaluate", random.choice(evaluators), "study"],
            ["evaluate", "agreement", "study", "--remove"],
            AGAIN,
        ]
        return random.choice(commands)

    def table(self, random: Random) -> Command:
        """Tables of people that were edited, in another program or by hand."""
        for name in random.sample(("people.csv", "recognition.csv"), random.choice((1, 1, 2))):
            rows = [line.split(",") for line in Path(name).read_text(encoding="utf-8").splitlines()]
            for _ in range(random.choice((1, 1, 2, 4))):
                row = random.choice(rows)
                if not row:
                    continue
                what = random.random()
                if what < 0.6:
                    row[random.randrange(len(row))] = argument(random)
                elif what < 0.75:
                    row.pop()
                elif what < 0.85:
                    row.append(argument(random))
                else:
                    rows.insert(random.randrange(len(rows)), list(random.choice(rows)))
            separator, encoding = random.choice(",,;\t|"), random.choice(("utf-8", "utf-8-sig", "utf-16", "latin-1"))
            text = random.choice(("\n", "\r\n", "\r")).join(separator.join(row) for row in rows)
            Path(name).write_bytes(text.encode(encoding, errors="replace"))
        names = random.choice(("one,two", "one", "one,three", "", "one,,two", argument(random)))
        given = ["statistics", "people.csv", f"--models={names}", "--shuffles", "5", "-o", "out"]
        return given + (["--recognition", "recognition.csv"] if random.random() < 0.6 else [])

    def run(self, random: Random) -> Command:
        """A run's file and weights that were edited."""
        if random.random() < 0.7:
            import tomllib

            file = Path("run/run.toml")
            _write_toml(file, changed(random, tomllib.loads(file.read_text(encoding="utf-8"))))
        else:
            file = random.choice(sorted(each for each in Path("run").iterdir() if each.is_file()))
            file.write_bytes(damaged(random, file.read_bytes()))
        train = ["train", "recipe.toml", "--model", OWN["model"], "--stimuli", "pictures", "-o", "run"]
        return random.choice(
            (["show", "run"], ["report", "run"], ["evaluate", "accuracy", "run", "-o", "out"], train,
             ["synthesise", "run", "--stimuli", "pictures", "-o", "out", "--steps", "1"])
        )  # fmt: skip

    def bytes(self, random: Random) -> Command:
        """Files of settings that are damaged."""
        name = random.choice(("study.toml", "recipe.toml", "people.csv", "networks.py"))
        file = Path(name)
        file.write_bytes(damaged(random, file.read_bytes()))
        if name == "study.toml":
            return ["run", "study.toml", "-o", "out"]
        if name == "people.csv":
            return ["statistics", "people.csv", "--shuffles", "5", "-o", "out"]
        if name == "networks.py":
            file.write_bytes(damaged(random, b"number = 1\n"))
            return ["show", "networks.py:number"]
        return ["train", "recipe.toml", "--model", OWN["model"], "--stimuli", "pictures", "-o", "out"]

    def _options(self, random: Random, kind: str, among: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
        """A name, and random values for some of its factory's options."""
        name = random.choice(among or [entry.name for entry in self.plugins.entries(kind) if "/" not in entry.name])
        try:
            parameters = inspect.signature(self.plugins.find(kind, name).entry.factory()).parameters
        except Exception:
            parameters = {}  # type: ignore[assignment]
        if name.startswith("antialias/"):
            parameters = inspect.signature(self.plugins.find(kind, "small-cnn").entry.factory()).parameters
        known = [each for each in parameters if each not in ("plugins", "name", "download", "lr", "root")]
        chosen = random.sample(known, min(len(known), random.choice((1, 1, 2))))
        options = {option: self._value(random, parameters[option]) for option in chosen}
        return name, options if random.random() < 0.95 else options | {"nonsense": 1}

    def _value(self, random: Random, parameter: inspect.Parameter) -> Any:
        """Mostly of the option's own type, or near its default."""
        written, default = str(parameter.annotation), parameter.default
        what = random.random()
        if what < 0.25:
            return any_value(random)
        if what < 0.4 and default is not None and default is not parameter.empty:
            return list(default) if isinstance(default, tuple) else default
        if "Sequence" in written or "Mapping" in written:
            each = number if "float" in written or "int" in written else argument
            return [each(random) for _ in range(random.randint(0, 3))]
        return number(random) if "int" in written or "float" in written else any_value(random)


def _base(name: str) -> Command:
    """A command that works, to be changed."""
    return list(
        {
            "list": ["list", "models"],
            "plugins": ["plugins"],
            "new-plugin": ["new-plugin", "some", "-o", "out"],
            "demo": ["demo", "--dry-run", "--device", "nowhere"],
            "show": ["show", OWN["model"]],
            "synthesise": ONE,
            "run": ["run", "study.toml", "-o", "out"],
            "evaluate": ["evaluate", "agreement", "study"],
            "compare": ["compare", "study", "sound-study", "-o", "out"],
            "statistics": ["statistics", "people.csv", "--shuffles", "5", "-o", "out"],
            "report": ["report", "study"],
            "export": ["export", "study", "-o", "out"],
            "train": ["train", "recipe.toml", "--model", OWN["model"], "--stimuli", "pictures", "-o", "out"],
        }.get(name, [name])
    )


def _place(random: Random) -> str:
    """Where results may go: nothing that leads out of the folder."""
    text = argument(random)
    return "out" if "/" in text or "~" in text or text.startswith(".") or "\\" in text else text


def _stored(random: Random) -> Any:
    shapes_and_types = ([2**40], [10**9, 10**9], [0], "float64", "int8", "string", "bytes")
    return random.choice(shapes_and_types) if random.random() < 0.2 else any_value(random)


def _pairs(options: dict[str, Any]) -> Command:
    return [text for name, value in options.items() for text in ("--set", f"{name}={as_text(value)}")]


def _write_toml(file: Path, table: Any) -> None:
    try:
        text = tomli_w.dumps(table)
    except (TypeError, ValueError):
        text = "nonsense"
    file.write_text(text, encoding="utf-8", errors="replace")


def fresh(original: Path, folder: Path, kind: str) -> None:
    """Put what a case starts from into a folder, anew; most kinds need nothing that was computed."""
    shutil.rmtree(folder, ignore_errors=True)
    computed = kind in ("command", "evaluator", "store", "run")
    shutil.copytree(original, folder, ignore=None if computed else _results)


def _results(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in COMPUTED]
