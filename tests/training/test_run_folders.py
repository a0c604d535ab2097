"""A run's folder: what is replaced, what is refused, what was changed or damaged since, and who has claimed it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from metamery.framework import MetameryError, Plugins, claims, open_study
from metamery.framework.folders import RUN_FILE
from metamery.framework.progress import Progress
from metamery.framework.run import Run
from metamery.framework.stimuli import Stimulus
from metamery.framework.store import StudyStore
from metamery.framework.study import Reference
from metamery.plugins.files.folder import FolderStimuli
from metamery.training import checkpoints
from metamery.training import data as training_data
from metamery.training import driver as running_trainings
from metamery.training.driver import run_training
from metamery.training.history import write_history
from metamery.training.state import BEST, LAST
from safetensors.torch import save_file


@pytest.fixture
def data(tmp_path: Path, drawn: Any) -> Path:
    folder: Path = drawn(tmp_path / "data", [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(6)])
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def train(command: Callable[..., Any], sized: str, data: Path, folder: Path) -> Callable[..., Any]:
    def run(*more: object, output: object = folder, epochs: int = 2) -> Any:
        fixed = ("--model", sized, "--stimuli", data, "-o", output, "--epochs", epochs)
        small = ("--setting", "batch_size=4", "--setting", "learning_rate=0.01")
        return command("train", "standard", *fixed, *small, *more)

    return run


@pytest.fixture
def stopped(train: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``stopped(4)`` trains, and is interrupted in that update."""

    def run(update: int, *more: object) -> Any:
        class Stopping(Progress):
            left = update

            def start(self, total: int, description: str = "") -> None:
                self.counts = description == "training"

            def advance(self, steps: int = 1) -> None:
                Stopping.left -= steps * self.counts * (steps == 1)
                if Stopping.left == 0:
                    raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("metamery.framework.progress.ProgressBar", lambda _log, _profile: Stopping())
            return train(*more)

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


WHOLE = [BEST, LAST, "results.zarr", RUN_FILE, "updates.csv"]


# ---------------------------------------------------------------------------------------------- killed in between


def test_what_a_kill_kept_from_being_written_is_written_by_the_next_call(train: Any, folder: Path) -> None:
    assert train(epochs=1).status == 0
    history, best = open_study(folder)["history"].to_dataset().load(), (folder / BEST).read_bytes()
    for lost in (["results.zarr"], [BEST, "results.zarr"]):  # as a kill after the last checkpoint leaves it
        for name in lost:
            shutil.rmtree(folder / name) if name == "results.zarr" else (folder / name).unlink()
        said = train(epochs=1)
        assert said.status == 0, said.err
        assert open_study(folder)["history"].to_dataset().equals(history)
        assert (folder / BEST).read_bytes() == best
        assert names(folder) == WHOLE


def test_a_history_that_lags_behind_or_is_damaged_is_mended(train: Any, folder: Path) -> None:
    assert train(epochs=3).status == 0
    history = open_study(folder)["history"].to_dataset().load()
    StudyStore(folder).write("history", {"epoch": slice(2, 3)}, {"loss": [float("nan")]})
    assert train(epochs=3).status == 0
    assert open_study(folder)["history"].to_dataset().equals(history)
    for chunk in (folder / "results.zarr/history/loss/c").iterdir():
        chunk.write_bytes(b"\x00\x01")
    assert train(epochs=3).status == 0
    assert open_study(folder)["history"].to_dataset().load().equals(history)


def test_a_history_of_an_earlier_version_grows_to_its_whole_length(train: Any, stopped: Any, folder: Path) -> None:
    assert "resumes" in stopped(5).err
    state = checkpoints.load(folder / LAST)[1]
    shutil.rmtree(folder / "results.zarr")
    write_history(folder, state["history"], {"run": Run.read(folder).to_toml()})
    assert open_study(folder)["history"].sizes == {"epoch": 1}
    assert train().status == 0
    assert open_study(folder)["history"].sizes == {"epoch": 2}


# Filters of warnings are the process's, so that a thread which restores them also does so for the others.
@pytest.mark.filterwarnings("ignore:Consolidated metadata", "ignore:Object at")
def test_epochs_to_come_are_nan_and_a_reader_is_never_disturbed(train: Any, folder: Path) -> None:
    problems: list[str] = []
    seen: set[int] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if (folder / "results.zarr").exists():
                try:
                    loss = open_study(folder)["history"]["loss"]
                    seen.add(int(loss.notnull().sum()))
                    assert loss.sizes == {"epoch": 30}
                except Exception as error:
                    problems.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        assert train(epochs=30).status == 0
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not problems
    assert len(seen) > 2


def test_a_report_of_a_training_that_is_not_done(stopped: Any, command: Any, folder: Path) -> None:
    assert "resumes where this one stopped" in stopped(14, "--epochs", 6).err
    said = command("report", folder)
    assert said.status == 0, said.err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "epoch" in page
    assert "nan" not in page.lower().replace("finance", "").split("<script")[0].split("</style>")[-1]


# ------------------------------------------------------------------------------------------- what is said of a stop


@pytest.mark.parametrize(
    ("update", "more", "said"),
    [
        (1, (), "stopped: nothing was saved yet: the same command starts again from the beginning"),
        (
            3,
            (),
            "stopped: nothing was saved yet: the same command starts again from the beginning",
        ),  # in the epoch's last update
        (4, (), "stopped: the same command resumes where this one stopped"),
        (2, ("--checkpoint-every", 1), "stopped: the same command resumes where this one stopped"),
    ],
)
def test_a_stop_says_whether_anything_was_kept(
    stopped: Any, folder: Path, update: int, more: tuple[object, ...], said: str
) -> None:
    result = stopped(update, *more)
    assert result.status == 130
    assert result.err.splitlines()[-1] == said
    assert folder.exists() == ("resumes" in said)


def test_a_loss_that_is_not_finite_says_what_was_kept(train: Any, folder: Path) -> None:
    said = train("--setting", "learning_rate=1e30")
    assert said.status == 2
    assert "not finite" in said.error
    assert "nothing was saved yet" in said.error
    assert not folder.exists()


# ---------------------------------------------------------------------------------------- a first call that fails


def unreadable(data: Path, sized: str) -> tuple[object, ...]:
    (data / "cat/5.png").write_bytes(b"no picture")
    return ()


def failing_forward(data: Path, sized: str) -> tuple[object, ...]:
    file = Path(sized.rpartition(":")[0])
    text = file.read_text(encoding="utf-8")
    broken = (
        "class Broken(torch.nn.Identity):\n    def forward(self, x):\n        raise ValueError('broken')\n\n\ndef build"
    )
    file.write_text(text.replace("def build", broken).replace("torch.nn.ReLU()", "Broken()"), encoding="utf-8")
    return ()


@pytest.mark.parametrize(
    "breaks",
    [
        unreadable,
        failing_forward,
        lambda *_: ("--setting", "learning_rate=1e30"),
        lambda *_: ("--setting", "optimizer=nothing"),
        lambda *_: ("--precision", "float8"),
        lambda *_: ("--device", "cuda:99"),
        lambda *_: ("--freeze", "*"),
        lambda *_: ("--from", "nowhere"),
        lambda *_: ("--setting", "optimizer_options.momentum=-1"),
    ],
    ids=["stimuli", "network", "nan", "optimizer", "precision", "device", "frozen", "start", "option"],
)
def test_a_first_call_that_fails_leaves_nothing(
    train: Any, data: Path, sized: str, folder: Path, breaks: Callable[..., tuple[object, ...]]
) -> None:
    try:
        said = train(*breaks(data, sized))
    except ValueError:
        said = None  # a fault of the network's own code keeps its traceback
    assert said is None or (said.status == 2 and said.error)
    assert not folder.exists()


@pytest.mark.parametrize("left", ["", "seed = 3", "not [toml"])
def test_a_run_without_a_checkpoint_gives_way(train: Any, folder: Path, left: str) -> None:
    """As earlier versions left it, which wrote the run's file first."""
    folder.mkdir()
    (folder / RUN_FILE).write_text(left, encoding="utf-8")
    (folder / f".{LAST}.abcd.partial").write_bytes(b"left by an earlier version")
    assert train().status == 0
    assert names(folder) == WHOLE
    assert Run.read(folder).recipe.learning_rate == 0.01


# -------------------------------------------------------------------------------------------- what a folder is


def test_a_folder_of_something_else_is_not_trained_into(
    train: Any, command: Any, data: Path, sized: str, tmp_path: Path
) -> None:
    made = ("--stimuli", data, "--layers", "1", "--steps", 1, "--limit", 2)
    assert command("synthesise", sized, *made, "-o", tmp_path / "study").status == 0
    assert train(output=tmp_path / "first").status == 0
    measured = command("evaluate", "accuracy", tmp_path / "first", "--stimuli", data, "-o", tmp_path / "evaluated")
    assert measured.status == 0, measured.err
    (tmp_path / "file").write_text("text")
    (tmp_path / "broken/results.zarr").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place, reason in {
        "study": "holds a study",
        "study/results.zarr": "is inside a results.zarr",
        "study/results.zarr/models": "is inside a results.zarr",
        "evaluated": "holds evaluations",
        "first/results.zarr": "is inside a results.zarr",
        "broken": "cannot be read",
        "file": "is a file",
        "file/under": "is a file",
        "link": "is a link",
    }.items():
        before = sorted(map(str, tmp_path.rglob("*")))
        said = train(output=tmp_path / place)
        assert said.status == 2, place
        assert reason in said.error
        assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_weights_without_what_goes_on_are_not_overwritten(train: Any, folder: Path) -> None:
    assert train().status == 0
    (folder / LAST).unlink()
    kept = (folder / BEST).read_bytes()
    assert f"holds results.zarr, but no {LAST} to continue from" in train().error
    shutil.rmtree(folder / "results.zarr")
    assert f"holds {BEST}, but no {LAST} to continue from" in train().error
    assert (folder / BEST).read_bytes() == kept


def test_what_an_earlier_version_kept_of_a_first_epoch_gives_way(train: Any, folder: Path) -> None:
    """It wrote the best weights first; a kill then left them alone."""
    assert train(epochs=1).status == 0
    (folder / LAST).unlink()
    shutil.rmtree(folder / "results.zarr")
    assert train(epochs=1).status == 0
    assert names(folder) == WHOLE


# ----------------------------------------------------------------------------------------------- two at once


def test_a_folder_that_is_trained_into_is_refused(train: Any, folder: Path) -> None:
    assert train(epochs=1).status == 0
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    said: list[Any] = []
    with claims.work(folder):
        other = threading.Thread(target=lambda: said.append(train(epochs=1)))
        other.start()
        other.join()
    (result,) = said
    assert result.status == 2
    assert f"'{folder}' is being written to by " in result.error
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_that_goes_is_said_and_not_made_again(sized: str, data: Path, folder: Path) -> None:
    class Removing(Progress):
        steps = 0

        def advance(self, steps: int = 1) -> None:
            Removing.steps += 1
            if Removing.steps == 12 + 5:  # of the second epoch, after the signals
                folder.rename(folder.with_name("elsewhere"))

    run = Run(Reference(sized), Reference("folder", {"path": str(data)}), None, ("cat", "dog"), recipe())
    with pytest.raises(MetameryError, match="was moved or removed during the training"):
        run_training(run, folder, Plugins(), progress=Removing())
    assert not folder.exists()
    assert checkpoints.load(folder.with_name("elsewhere") / LAST)[1]["epoch"] == 1


def test_a_folder_that_another_has_taken_over_is_left_to_it(sized: str, data: Path, folder: Path) -> None:
    """As when this process stood still for so long that its claim lapsed."""

    class Losing(Progress):
        steps = 0

        def advance(self, steps: int = 1) -> None:
            Losing.steps += 1
            if Losing.steps == 12 + 5:
                (claim,) = (folder / ".claim-work").iterdir()
                claim.rename(claim.with_name(f"{claim.stem}0.json"))

    run = Run(Reference(sized), Reference("folder", {"path": str(data)}), None, ("cat", "dog"), recipe())
    with pytest.raises(MetameryError, match=r"was taken over by .*; nothing more is saved"):
        run_training(run, folder, Plugins(), progress=Losing())
    assert checkpoints.load(folder / LAST)[1]["epoch"] == 1


def recipe() -> Any:
    return Plugins().load("recipe", "standard").changed({"epochs": 3, "batch_size": 4, "learning_rate": 0.01})


# ------------------------------------------------------------------------------------------- what changed since


def add(data: Path) -> None:
    shutil.copy(data / "cat/0.png", data / "cat/9.png")


def replace(data: Path) -> None:
    shutil.copy(data / "cat/0.png", data / "dog/3.png")


def swap(data: Path) -> None:
    for one, other in (("cat/1", "x"), ("cat/2", "cat/1"), ("x", "cat/2")):
        (data / f"{one}.png").rename(data / f"{other}.png")


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "added": (add, "13 now, 12 then"),
    "removed": (lambda data: (data / "cat/5.png").unlink(), "11 now, 12 then"),
    "renamed": (lambda data: (data / "cat/5.png").rename(data / "cat/7.png"), "different names, order or classes"),
    "moved to another class": (lambda data: (data / "cat/5.png").rename(data / "dog/9.png"), "different names"),
    "replaced": (replace, "1 of 12 signals differ"),
    "swapped": (swap, "2 of 12 signals differ"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cached_bytes", [training_data.MAX_CACHED_BYTES, 0], ids=["in memory", "decoded"])
def test_stimuli_that_changed_since_are_said(
    train: Any, stopped: Any, data: Path, folder: Path, change: str, cached_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metamery.training.data.MAX_CACHED_BYTES", cached_bytes)
    assert "resumes" in stopped(5).err
    before = (folder / LAST).read_bytes()
    makes, said = CHANGES[change]
    makes(data)
    result = train()
    assert result.status == 2
    assert result.error.startswith(f"error: the training stimuli have changed since this run began: {said}")
    assert (folder / LAST).read_bytes() == before


def test_validation_stimuli_that_changed_since_are_said(
    train: Any, stopped: Any, folder: Path, tmp_path: Path, drawn: Any
) -> None:
    validation = drawn(tmp_path / "held-out", ["cat/0", "dog/0"])
    assert "resumes" in stopped(5, "--validation", validation).err
    drawn(tmp_path / "held-out", ["dog/0", "cat/0"])  # the pictures change places
    said = train("--validation", validation)
    assert "the validation stimuli have changed since this run began: 2 of 2 signals differ" in said.error


def test_a_finished_run_reads_only_some_of_its_stimuli(train: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metamery.training.fingerprints.SAMPLED", 4)
    assert train().status == 0
    read, get = [], FolderStimuli.__getitem__

    def counted(stimuli: FolderStimuli, index: int) -> Stimulus:
        read.append(index)
        return get(stimuli, index)

    monkeypatch.setattr(FolderStimuli, "__getitem__", counted)
    assert train().status == 0
    assert read == [0, 3, 7, 11]
    shutil.copy(data / "dog/0.png", data / "dog/5.png")
    assert "the training stimuli have changed since this run began: 1 of 4 signals differ" in train().error
    (data / "dog/5.png").rename(data / "dog/6.png")
    assert "different names, order or classes" in train().error


def test_a_decoder_that_rounds_otherwise_is_no_change(
    train: Any, stopped: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = running_trainings.examples
    assert "resumes" in stopped(5).err

    def rounded(*arguments: Any, **more: Any) -> Any:
        made = examples(*arguments, **more)
        made.kept.add_(0.003 * torch.randn(made.kept.shape, generator=torch.Generator().manual_seed(1)))
        return made

    monkeypatch.setattr(running_trainings, "examples", rounded)
    assert train().status == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("torch.nn.ReLU()", "torch.nn.GELU()"),
        ("torch.nn.Conv2d(3, 4, 3)", "torch.nn.Conv2d(3, 4, 3, padding=1, stride=1, dilation=2)"),
        ("torch.nn.Flatten()", "torch.nn.Sequential(torch.nn.Dropout(0.0), torch.nn.Tanh(), torch.nn.Flatten())"),
        ("torch.nn.ReLU()", "torch.nn.LeakyReLU(0.1)"),
    ],
)
def test_a_network_whose_code_changed_since_is_said(
    train: Any, stopped: Any, sized: str, folder: Path, old: str, new: str
) -> None:
    assert "resumes" in stopped(5).err
    file = Path(sized.rpartition(":")[0])
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    said = train()
    assert said.status == 2
    assert "the network's outputs are not those it had when they were saved" in said.error


def test_weights_of_another_program_are_started_from(train: Any, folder: Path, tmp_path: Path) -> None:
    assert train(epochs=1).status == 0
    weights = checkpoints.load(folder / BEST)[0]
    save_file(weights, tmp_path / "plain.safetensors")
    said = train("--from", tmp_path / "plain.safetensors", "--freeze", "0.*", output=tmp_path / "second", epochs=1)
    assert said.status == 0, said.err
    assert torch.equal(checkpoints.load(tmp_path / "second" / BEST)[0]["0.weight"], weights["0.weight"])


def test_a_network_with_a_state_of_its_own_is_trained_and_used(
    train: Any, sized: str, folder: Path, tmp_path: Path
) -> None:
    file = Path(sized.rpartition(":")[0])
    counting = """
class Counting(torch.nn.Identity):
    calls = 0

    def forward(self, x):
        self.calls += self.training
        return x * (1 + self.calls)

    def get_extra_state(self):
        return {"calls": torch.tensor(self.calls)}

    def set_extra_state(self, state):
        self.calls = int(state["calls"])
"""
    text = file.read_text(encoding="utf-8").replace("torch.nn.ReLU()", "Counting()")
    file.write_text(text.replace("def build", f"{counting}\n\ndef build"), encoding="utf-8")
    assert train("--setting", "ema=0.5").status == 0
    best = checkpoints.load(folder / BEST)[1]["epoch"]
    assert Plugins().load("model", str(folder)).module[1].calls == 3 * best
    assert Plugins().load("model", str(folder), weights="last").module[1].calls == 6
    assert train("--from", folder, output=tmp_path / "second", epochs=1).status == 0
    assert Plugins().load("model", str(tmp_path / "second")).module[1].calls == 3 * best + 3


# ------------------------------------------------------------------------------------------------ what is damaged


def header(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the state in a checkpoint's header, and give it the digest of an earlier version: none."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    table = json.loads(content[8 : 8 + length])
    state = json.loads(table["__metadata__"]["state"])
    state.pop("digest")
    state["format"] = 1
    change(state)
    table["__metadata__"]["state"] = json.dumps(state)
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)


def become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "cut by one byte": lambda file: os.truncate(file, file.stat().st_size - 1),
    "empty": lambda file: os.truncate(file, 0),
    "one bit": flip,
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "text": lambda file: file.write_text("no checkpoint"),
    "a folder": become_folder,
    "unreadable header": lambda file: file.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
    "newer": lambda file: header(file, lambda state: state.update(format=99)),
    "no counts": lambda file: header(file, lambda state: state.pop("epoch")),
    "another epoch": lambda file: header(file, lambda state: state.update(epoch=2)),
    "an epoch too many": lambda file: header(file, lambda state: state.update(epoch=9)),
    "text for a number": lambda file: header(file, lambda state: state.update(batch="1")),
    "a batch too many": lambda file: header(file, lambda state: state.update(batch=3)),
    "a history of nothing": lambda file: header(file, lambda state: state.update(history=[{}])),
    "a history that is none": lambda file: header(file, lambda state: state.update(history="x")),
    "no sums": lambda file: header(file, lambda state: state.pop("sums")),
    "no optimizer": lambda file: header(file, lambda state: state.pop("optimizer")),
    "data of no form": lambda file: header(file, lambda state: state.update(data=[1])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_costs_one_line(train: Any, stopped: Any, folder: Path, damage: str) -> None:
    assert "resumes" in stopped(5).err
    DAMAGES[damage](folder / LAST)
    said = train()
    assert said.status == 2
    assert str(folder / LAST) in said.error
    if (folder / LAST).is_file():
        assert "RecursionError" not in said.error


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "missing"])
def test_damaged_best_weights_are_those_of_the_last_checkpoint(train: Any, folder: Path, damage: str) -> None:
    assert train(epochs=1).status == 0
    kept = (folder / BEST).read_bytes()
    if damage == "missing":
        (folder / BEST).unlink()
    else:
        DAMAGES[damage](folder / BEST)
    assert train(epochs=1).status == 0
    assert (folder / BEST).read_bytes() == kept


@pytest.mark.parametrize("damage", ["truncated", "one bit", "a folder", "missing"])
def test_damaged_best_weights_of_an_earlier_epoch_are_said(train: Any, folder: Path, damage: str) -> None:
    assert train(epochs=2).status == 0
    header(folder / LAST, lambda state: state["history"][0].update(accuracy=1.5))  # the first is the best
    if damage == "missing":
        (folder / BEST).unlink()
    else:
        DAMAGES[damage](folder / BEST)
    said = train(epochs=2)
    assert said.status == 2
    assert f"'{folder / BEST}' should hold the weights of epoch 1, the best: " in said.error


def test_a_checkpoint_of_an_earlier_version_is_gone_on_with(train: Any, stopped: Any, folder: Path) -> None:
    assert "resumes" in stopped(5).err

    def older(state: dict[str, Any]) -> None:
        del state["format"], state["data"], state["others"]
        state["best"] = state["history"][0]["accuracy"]

    tensors, _ = checkpoints.load(folder / LAST)
    header(folder / LAST, older)
    assert {name.partition("/")[0] for name in tensors} >= {"weights", "optimizer"}
    said = train()
    assert said.status == 0, said.err


RUN_FILES: dict[str, Callable[[str], str | bytes]] = {
    "empty": lambda text: "",
    "no TOML": lambda text: text + "\n[[[",
    "latin": lambda text: text.encode() + b"# \xe9\n",
    "text for a seed": lambda text: text.replace("seed = 0", 'seed = "0"'),
    "text for classes": lambda text: text.replace("classes = [", 'classes = "cat"\nother = ['),
    "numbers for classes": lambda text: text.replace('"cat"', "1"),
    "text for a recipe": lambda text: text.split("[recipe]")[0].replace("seed = 0", 'seed = 0\nrecipe = "standard"'),
    "no recipe": lambda text: text.split("[recipe]")[0],
    "no model": lambda text: text.replace("[model]", "[mdel]"),
    "a number for a model": lambda text: "model = 3\n" + text.replace("[model]", "[mdel]"),
    "another entry": lambda text: text.replace("epochs", "epohcs"),
    "a negative number": lambda text: text.replace("batch_size = 4", "batch_size = -4"),
    "a number to start from": lambda text: "start = 3\n" + text,
    "a number to freeze": lambda text: "freeze = [3]\n" + text,
    "deep": lambda text: text + "\nx = " + "[" * 5000 + "]" * 5000,
    "huge": lambda text: text + "\n# " + "x" * 20_000_000,
}


@pytest.mark.parametrize("damage", RUN_FILES)
def test_a_damaged_run_file_costs_one_line(trained: Path, damage: str) -> None:
    text = (trained / RUN_FILE).read_text(encoding="utf-8")
    damaged = RUN_FILES[damage](text)
    (trained / RUN_FILE).write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    with pytest.raises(MetameryError, match="no run in"):
        Run.read(trained)


@pytest.fixture
def trained(sized: str, folder: Path) -> Path:
    """A run's file alone."""
    folder.mkdir()
    run = Run(Reference(sized), Reference("folder", {"path": "data"}), None, ("cat", "dog"), recipe())
    (folder / RUN_FILE).write_text(run.to_toml(), encoding="utf-8")
    return folder
