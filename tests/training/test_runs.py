"""Runs from the command line: trained, resumed, refused; and used as models."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
import torch
from metamery.framework import MetameryError, Plugins, Recipe, examine, open_study
from metamery.framework.folders import RUN_FILE
from metamery.framework.run import Run
from metamery.framework.schema import check_dataset
from metamery.framework.study import Reference, load_stimuli
from metamery.framework.testing import check_model
from metamery.training.checkpoints import load
from metamery.training.driver import TrainingStimuli, run_training
from metamery.training.estimate import Estimate, estimate
from metamery.training.hardware import Hardware
from metamery.training.loop import BEST, LAST
from metamery.training.runs import trained
from metamery.training.tools import load_tools
from safetensors.torch import save_file


@pytest.fixture
def data(tmp_path: Path, drawn: Any) -> Path:
    for split, count in (("train", 6), ("test", 3)):
        drawn(tmp_path / "data" / split, [f"{kind}/{number}" for kind in ("cat", "dog") for number in range(count)])
    return tmp_path / "data"


@pytest.fixture
def train(command: Callable[..., Any], sized: str, data: Path, tmp_path: Path) -> Callable[..., Any]:
    """``train("--epochs", 3)`` trains a run in ``tmp_path / "run"``."""

    def run(*more: object, recipe: str = "standard", stimuli: object = data, output: object = tmp_path / "run") -> Any:
        fixed = ("--model", sized, "--stimuli", stimuli, "-o", output, "--setting", "batch_size=4")
        return command("train", recipe, *fixed, "--epochs", 2, *more)

    return run


def test_a_run_says_what_was_asked_and_what_came_of_it(train: Any, tmp_path: Path) -> None:
    said = train()
    assert said.status == 0, said.err
    assert said.out.endswith(f"model: {tmp_path / 'run'}\n")
    run = Run.read(tmp_path / "run")
    assert run.classes == ("cat", "dog")
    assert run.recipe == Plugins().load("recipe", "standard").changed({"epochs": 2, "batch_size": 4})
    assert run.validation == Reference("files:folder", {"path": str(tmp_path / "data" / "test")})
    tree = open_study(tmp_path / "run")
    history = tree["history"].to_dataset()
    check_dataset(history)
    assert history["epoch"].values.tolist() == [1, 2]
    assert set(history) >= {"loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds"}
    assert Run.read(tmp_path / "run").to_toml() == tree.attrs["run"]


def test_a_run_is_a_model(train: Any, command: Any, data: Path, tmp_path: Path) -> None:
    assert train().status == 0
    model = Plugins().load("model", str(tmp_path / "run"))
    check_model(model)
    assert model.labels == ("cat", "dog")
    tensors, _ = load(tmp_path / "run" / BEST)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in model.module.state_dict().items())
    last = Plugins().load("model", str(tmp_path / "run"), weights="last")
    assert torch.equal(load(tmp_path / "run" / LAST)[0]["weights/0.weight"], last.module[0].weight)
    made = ("--stimuli", data / "test", "--layers", "1", "--steps", 3, "-o", tmp_path / "study")
    assert command("synthesise", tmp_path / "run", *made).status == 0
    (group,) = open_study(tmp_path / "study")["models"].children.values()
    assert group.attrs["model"] == "run:run"
    assert set(np.unique(group["stimuli/correct"])) <= {0, 1}
    assert command("evaluate", "agreement", tmp_path / "study").status == 0


@pytest.mark.parametrize("recipe", ["adversarial-l2", "fast", "free", "trades"])
def test_every_way_of_adversarial_training_trains(train: Any, tmp_path: Path, recipe: str) -> None:
    said = train(recipe=recipe)
    assert said.status == 0, said.err
    history = open_study(tmp_path / "run")["history"]
    assert ((history["checked_accuracy"] >= 0) & (history["checked_accuracy"] <= 1)).all()
    assert np.isfinite(history["loss"]).all()
    check_model(Plugins().load("model", str(tmp_path / "run")))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("replays=2", "replays move the signals by themselves: expected no perturbation, not 'pgd_linf'"),
        ("check=", "check_drop needs check, the perturbation under which the network is evaluated"),
        ("check=pgd_lnf", "unknown perturbation 'pgd_lnf'; did you mean 'pgd_linf'?"),
        ("check_options.epsilom=1", "did you mean 'epsilon'?"),
    ],
)
def test_settings_that_do_not_go_together_are_named(train: Any, tmp_path: Path, setting: str, said: str) -> None:
    result = train("--setting", setting, "--setting", "check_drop=0.2", recipe="adversarial-linf")
    assert result.status == 2
    assert said in result.error
    assert not (tmp_path / "run").exists()


def test_the_same_command_goes_on_and_another_is_refused(train: Any, tmp_path: Path) -> None:
    assert train().status == 0
    kept = (tmp_path / "run" / LAST).read_bytes()
    assert train().status == 0
    assert (tmp_path / "run" / LAST).read_bytes() == kept
    said = train("--setting", "learning_rate=0.2", "--seed", 1)
    assert said.status == 2
    assert "holds another run: recipe.learning_rate (0.2, stored 0.1); seed (1, stored 0)" in said.error
    assert "--from" not in said.error
    longer = train("--epochs", 3)
    assert f"to keep both; with --from {tmp_path / 'run'} it starts from these weights" in longer.error
    dry = train("--dry-run")
    assert dry.out.endswith(
        f"'{tmp_path / 'run'}' holds this run, which is finished: the command would train nothing\n"
    )
    (tmp_path / "run" / LAST).write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert all("is damaged" in said.error for said in (train("--dry-run"), train()))


def test_a_recipe_may_be_a_file(train: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('perturbation = "random_linf"\nperturbation_options = { epsilon = 0.1 }\n')
    assert train(recipe=str(tmp_path / "mine.toml")).status == 0
    assert Run.read(tmp_path / "run").recipe.perturbation_options == {"epsilon": 0.1}
    (tmp_path / "mine.toml").write_text("perturbations = 3")
    assert "did you mean 'perturbation'" in train(recipe=str(tmp_path / "mine.toml"), output=tmp_path / "x").error


@pytest.mark.parametrize("recipe", ["adversarial-linf", "adversarial-l2", "random-linf", "random-l2"])
def test_bundled_recipes_train(train: Any, tmp_path: Path, recipe: str) -> None:
    assert train("--setting", "epsilon_warmup=1", recipe=recipe).status == 0
    assert "epsilon" in Run.read(tmp_path / "run").recipe.perturbation_options


@pytest.mark.parametrize("frozen", ["0.*", "0"])
def test_training_starts_from_other_weights_and_keeps_what_is_frozen(train: Any, tmp_path: Path, frozen: str) -> None:
    assert train().status == 0
    said = train("--from", tmp_path / "run", "--freeze", frozen, output=tmp_path / "second")
    assert said.status == 0, said.err
    before, after = load(tmp_path / "run" / BEST)[0], load(tmp_path / "second" / BEST)[0]
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["3.weight"], after["3.weight"])


def test_a_limit_takes_some_of_every_class(train: Any, tmp_path: Path) -> None:
    assert train("--limit", 4).status == 0
    assert Run.read(tmp_path / "run").stimuli.options["limit"] == 4
    assert set(Run.read(tmp_path / "run").classes) == {"cat", "dog"}


def test_plain_safetensors_are_weights_to_start_from(train: Any, tmp_path: Path, sized: str) -> None:
    weights = Plugins().load("model", sized, num_classes=2, labels=["cat", "dog"], seed=5).module.state_dict()
    save_file({f"module.{name}": tensor for name, tensor in weights.items()}, tmp_path / "plain.safetensors")
    said = train("--from", tmp_path / "plain.safetensors", "--setting", "learning_rate=0")
    assert said.status == 0, said.err
    assert torch.equal(load(tmp_path / "run" / BEST)[0]["0.weight"], weights["0.weight"])


def test_weights_for_other_classes_leave_out_the_last_layer(train: Any, tmp_path: Path, sized: str) -> None:
    weights = Plugins().load("model", sized, seed=5).module.state_dict()
    save_file(weights, tmp_path / "three.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        said = train("--from", tmp_path / "three.safetensors", "--setting", "learning_rate=0")
    assert said.status == 0
    assert "warning: the last layer '3' starts from its own weights: those in the file have other shapes" in said.err
    assert torch.equal(load(tmp_path / "run" / BEST)[0]["0.weight"], weights["0.weight"])
    save_file({**weights, "0.weight": torch.zeros(4, 3, 5, 5)}, tmp_path / "other.safetensors")
    said = train("--from", tmp_path / "other.safetensors", output=tmp_path / "second")
    assert "holds the weights of another network: 3 of another shape (0.weight is (4, 3, 5, 5), expected " in said.error
    save_file({f"{name}.0": tensor for name, tensor in weights.items()}, tmp_path / "third.safetensors")
    said = train("--from", tmp_path / "third.safetensors", output=tmp_path / "third")
    assert said.error == (
        f"error: '{tmp_path / 'third.safetensors'}' holds the weights of another network: "
        "4 tensors (0.weight, 0.bias, 3.weight, …) missing; 4 tensors (0.bias.0, 0.weight.0, 3.bias.0, …) unexpected"
    )


@pytest.mark.parametrize("prefix", ["", "model.", "body.encoder."])
def test_a_checkpoint_of_others_is_something_to_start_from(train: Any, tmp_path: Path, sized: str, prefix: str) -> None:
    weights = Plugins().load("model", sized, num_classes=2, labels=["cat", "dog"], seed=5).module.state_dict()
    named = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    torch.save({"epoch": 3, "state_dict": named}, tmp_path / "theirs.ckpt")
    said = train("--from", tmp_path / "theirs.ckpt", "--setting", "learning_rate=0")
    assert said.status == 0, said.err
    assert torch.equal(load(tmp_path / "run" / BEST)[0]["0.weight"], weights["0.weight"])


def test_a_run_becomes_a_network_for_other_classes(train: Any, tmp_path: Path, data: Path, drawn: Any) -> None:
    assert train().status == 0
    with pytest.warns(UserWarning, match="the last layer '3' starts from its own weights"):
        model = Plugins().load("model", str(tmp_path / "run"), num_classes=5)
    check_model(model)
    assert (model.labels, examine(model).classes) == (None, 5)
    assert torch.equal(load(tmp_path / "run" / BEST)[0]["0.weight"], model.module[0].weight)
    drawn(data / "train", ["owl/0", "owl/1"])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        said = train("--model", tmp_path / "run", "--validation", "", output=tmp_path / "second")
    assert said.status == 0, said.err
    assert Plugins().load("model", str(tmp_path / "second")).labels == ("cat", "dog", "owl")


def test_augmentations_are_named(train: Any, tmp_path: Path) -> None:
    crop = "{name = 'RandomResizedCrop', scale = [0.35, 1.0]}"
    given = f"augment=[{crop}, 'flip', 'crop', 'RandomErasing', 'mixup', 'cutmix']"
    assert train("--setting", given, "--setting", "optimizer=adam").status == 0
    stored = Run.read(tmp_path / "run").recipe.augment
    assert stored[0] == {"name": "RandomResizedCrop", "scale": [0.35, 1.0]}
    assert stored[1:] == ("flip", "crop", "RandomErasing", "mixup", "cutmix")


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(train: Any, tmp_path: Path) -> None:
    said = train("--dry-run")
    assert said.status == 0
    assert '[recipe]\nloss = "robustness:cross_entropy"' in said.out
    assert re.search(
        r"\n6 updates, at least \d+ s; at least [\d.]+ kB of memory besides PyTorch, and [\d.]+ kB on disk", said.out
    )
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_whether_data_or_network_binds(train: Any, tmp_path: Path) -> None:
    said = train("--dry-run")
    takes = r"\n[\d.e-]+ s an epoch: the network takes [\d.e+]+ signals a second, and "
    assert re.search(f"{takes}all signals are in memory, so that the network binds\n", said.out)
    said = train("--dry-run", "--setting", "augment=['RandomResizedCrop']")
    assert re.search(rf"{takes}[\d.e+]+ a second are read, so that the (data|network) binds\n", said.out)
    slow = Estimate(1, 1.0, 1, 1, 1.0, trained=100.0, read=99.0)
    assert (slow.binds, replace(slow, read=101.0).binds) == ("data", "network")


def test_the_weights_that_a_recipe_keeps_are_those_that_are_used(train: Any, tmp_path: Path) -> None:
    plugins = Plugins()
    assert train("--setting", "keep=all", output=tmp_path / "all").status == 0
    files = sorted(path.name for path in (tmp_path / "all").glob("epoch-*"))
    assert files == ["epoch-1.safetensors", "epoch-2.safetensors"]
    stored = [load(tmp_path / "all" / name) for name in files]
    best = load(tmp_path / "all" / BEST)[1]["epoch"]
    model = trained(tmp_path / "all", plugins=plugins, weights=f"epoch-{best}")
    used = trained(tmp_path / "all", plugins=plugins)
    assert model.weights_sha256() == used.weights_sha256()
    with pytest.raises(MetameryError, match="unknown weights of a run: 'epoch-3'; did you mean 'epoch-"):
        trained(tmp_path / "all", plugins=plugins, weights="epoch-3")
    (tmp_path / "all" / files[-1]).unlink()  # a kill between the last checkpoint and this file
    assert train("--setting", "keep=all", output=tmp_path / "all").status == 0
    again = load(tmp_path / "all" / files[-1])
    assert again[1] == stored[-1][1]
    assert all(torch.equal(again[0][name], tensor) for name, tensor in stored[-1][0].items())
    assert train("--setting", "keep=last", output=tmp_path / "last").status == 0
    tensors, facts = load(tmp_path / "last" / BEST)
    assert facts["epoch"] == 2
    assert all(torch.equal(tensors[name], tensor) for name, tensor in stored[-1][0].items())


def test_the_disk_that_a_dry_run_states_is_that_of_the_run(train: Any, tmp_path: Path) -> None:
    run = Run.read(tmp_path / "run") if train().status == 0 else None
    assert run is not None
    stimuli = TrainingStimuli.load(Plugins(), run.stimuli, run.validation)
    planned = estimate(run, tmp_path / "run", Plugins(), Hardware(), stimuli)
    weights = sum((tmp_path / "run" / name).stat().st_size for name in (LAST, BEST))
    assert planned.disk_bytes == pytest.approx(weights, rel=0.05)
    assert planned.updates == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--setting", "keep=worst"], "unknown recipe entry keep 'worst'. Known: best, last, all"),
        (["--setting", "epoch=3"], "unknown recipe entry 'epoch'; did you mean 'epochs'"),
        (["--setting", "perturbation_options.epsilon=-1", "--setting", "perturbation='random_linf'"], "epsilon"),
        (["--setting", "augment=['flipp']"], "unknown augmentation 'flipp'; did you mean 'flip'"),
        (["--setting", "augment=['ColorJitter']"], "augmentation 'ColorJitter' does nothing without arguments"),
        (["--setting", "augment=[{name='RandomCrop', pad=4}]"], "'RandomCrop': 'pad'; did you mean 'padding'"),
        (["--setting", "augment=[{hue=4}]"], "an augmentation is {'hue': 4}, expected a name or a table such as"),
        (
            ["--setting", "augment=['ElasticTransform']"],
            "augment = ['ElasticTransform'] fails on pictures of 3 × 8 × 8",
        ),
        (
            ["--freeze", "weights.*"],
            "unknown layer or weights to freeze: 'weights.*'; did you mean '3.weight'? Known: 0",
        ),
        (["--precision", "float8"], "unknown precision 'float8'; did you mean"),
        (["--device", "cuda"], "device 'cuda' is not available"),
        (["--from", "nowhere"], "'nowhere' does not exist, expected a run's folder or a file of weights"),
        (["--setting", "epsilon_warmup=1"], "epsilon_warmup needs perturbation_options.epsilon"),
        (["--setting", "optimizer_options.momentun=0.5"], "unknown option of optimizer 'sgd': 'momentun'"),
        (["--devices", "2", "--device", "cuda:9"], "device 'cuda:9' is not available"),
        (["--stimuli", "spoken-digits"], "expected a picture (channels, height, width)"),
    ],
)
def test_a_slip_is_named_and_nothing_is_written(train: Any, tmp_path: Path, arguments: list[str], said: str) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    for more in ([], ["--dry-run"]):
        result = train(*arguments, *more)
        assert result.status == 2
        assert said in result.error
        assert not (tmp_path / "run").exists()


def test_a_recipe_that_does_not_exist_is_named(train: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    assert train(recipe=str(file)).error == f"error: no recipe in '{file}': No such file or directory"


def test_splits_with_other_classes_are_refused(train: Any, data: Path, tmp_path: Path, drawn: Any) -> None:
    drawn(data / "test", ["owl/0"])
    assert "unknown category of the validation stimuli: 'owl'. Known: cat, dog" in train().error
    assert not (tmp_path / "run").exists()


def test_a_class_without_validation_stimuli_is_named(train: Any, data: Path) -> None:
    rmtree(data / "test" / "cat")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        said = train()
    assert said.status == 0
    assert "warning: the validation stimuli have none of cat: the accuracy measured on them is that of" in said.err


def test_a_corrupt_picture_is_named(train: Any, data: Path) -> None:
    (data / "train" / "cat" / "0.png").write_bytes(b"no picture")
    assert "0.png' cannot be read" in train().error


def test_more_classes_than_outputs_are_refused(command: Any, tiny: str, data: Path, tmp_path: Path) -> None:
    said = command("train", "standard", "--model", tiny, "--stimuli", data, "-o", tmp_path / "run")
    assert "has 3 outputs, and there are 2 classes" in said.error


def test_a_run_names_the_plugin_that_it_was_made_with(
    command: Any, data: Path, tmp_path: Path, sized: str, fake_plugin: Any
) -> None:
    def register_models(register: Any) -> None:
        register("zebra-net", lambda: Plugins().load("model", sized, num_classes=2, labels=["cat", "dog"]))

    plugins = Plugins([fake_plugin("zebra", register_models=register_models)])
    recipe = Recipe(loss="cross_entropy", optimizer="sgd", epochs=1, batch_size=4, learning_rate=0.01)
    folder = {"path": str(data / "train")}
    run = Run(Reference("zebra-net"), Reference("folder", folder), None, ("cat", "dog"), recipe)
    run_training(run, tmp_path / "run", plugins)
    stored = Run.read(tmp_path / "run")
    assert (stored.model.name, stored.stimuli.name) == ("zebra:zebra-net", "files:folder")
    assert (stored.recipe.loss, stored.recipe.optimizer) == ("robustness:cross_entropy", "synthesis:sgd")
    plugins.load("model", str(tmp_path / "run"))
    run_training(run, tmp_path / "run", plugins)
    again = ("train", "standard", "--model", "zebra:zebra-net", "--stimuli", data / "train", "-o", tmp_path / "run")
    for arguments in (["show", tmp_path / "run"], again):
        said = command(*arguments)
        assert f"'{tmp_path / 'run'}' needs plugin zebra ( ), which is not installed or not loaded" in said.error


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    (tmp_path / RUN_FILE).write_text("seed = 3")
    with pytest.raises(MetameryError, match=f"no run in '{tmp_path}'"):
        Plugins().load("model", str(tmp_path))


def test_the_perturbation_grows_with_epsilon() -> None:
    recipe = Recipe(perturbation="random_linf", perturbation_options={"epsilon": 0.2}, epsilon_warmup=1)
    made = load_tools(recipe, Plugins())
    assert made.perturbation is not None
    model = Plugins().load("model", "small-cnn")
    signals, labels = torch.full((2, 3, 32, 32), 0.5), torch.zeros(2, dtype=torch.long)
    for share in (0.25, 1.0):
        changed = made.perturbation(share)(model, signals, labels, torch.Generator().manual_seed(0))
        assert float((changed - signals).abs().max()) == pytest.approx(0.2 * share, rel=1e-5)


def test_a_notebook_trains_without_the_command_line(sized: str, data: Path, tmp_path: Path) -> None:
    stimuli = Reference("folder", {"path": str(data / "train")})
    run = Run(Reference(sized), stimuli, None, ("cat", "dog"), Recipe(epochs=1, batch_size=4))
    history = run_training(run, tmp_path / "run", Plugins())
    assert set(history[0]) == {"loss", "accuracy", "learning_rate", "seconds"}


def test_an_antialiased_network_is_trained_and_stays_one(train: Any, command: Any, data: Path, tmp_path: Path) -> None:
    fixed = ("--stimuli", data, "--epochs", 1, "--setting", "batch_size=4", "-o", tmp_path / "run")
    said = command("train", "standard", "--model", "small-cnn", "--antialias", "hann", *fixed)
    assert said.status == 0, said.err
    run = Run.read(tmp_path / "run")
    assert run.model.name == "antialias:antialias/hann/small-cnn"
    shown = command("show", tmp_path / "run").out
    assert "note: features.pool1: MaxPool2d 2×2 /2 → MaxPool2d 2×2 /1 → hann /2\n" in shown
    assert Plugins().load("model", str(tmp_path / "run")).labels == ("cat", "dog")


def test_a_network_of_ones_own_is_antialiased_by_its_file(command: Any, sized: str, data: Path, tmp_path: Path) -> None:
    made = ("--stimuli", data / "test", "--layers", "1", "--steps", 2, "-o", tmp_path / "study")
    said = command("synthesise", sized, "--antialias", "blur3", *made)
    assert said.status == 0, said.err
    (group,) = open_study(tmp_path / "study")["models"].children.values()
    assert group.attrs["model"] == f"antialias:antialias/blur3/{sized}"
    assert "Known: blur3, blur5, hann" in (command("show", sized, "--antialias", "blur4").error)


@pytest.mark.skipif(sys.platform == "win32", reason="the shell's ulimit stands for a full disk")
def test_a_full_disk_costs_one_line_and_the_same_command_goes_on(
    command: Callable[..., Any], sized: str, data: Path, tmp_path: Path
) -> None:
    program = "import sys; from metamery.framework.cli import main; sys.exit(main(sys.argv[1:]))"
    settings = ["--setting", "batch_size=4", "--setting", "learning_rate=0.01", "--epochs", "2"]
    told = ["train", "standard", "--model", sized, "--stimuli", str(data), *settings, "-o", str(tmp_path / "run")]
    full = subprocess.run(
        ["bash", "-c", 'ulimit -f 2; exec "$@"', "bash", sys.executable, "-c", program, *told],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert full.stderr.splitlines()[-1].startswith(f"error: cannot write to '{tmp_path / 'run'}")
    assert not list((tmp_path / "run").rglob("*.partial"))
    again = command(*told)
    assert again.status == 0, again.err
    assert len(open_study(tmp_path / "run")["history"].epoch) == 2


def test_the_command_loads_its_stimuli_once(train: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def counted(plugins: Plugins, use: Reference) -> Any:
        loaded.append(use)
        return load_stimuli(plugins, use)

    monkeypatch.setattr("metamery.training.driver.load_stimuli", counted)
    assert train().status == 0
    assert [use.options["path"] for use in loaded] == [str(data / "train"), str(data / "test")]


def test_a_network_that_asks_for_the_version_of_its_weights(train: Any, tmp_path: Path) -> None:
    settings = ["--set", "weights=none", "--setting", "batch_size=2", "--setting", "learning_rate=0"]
    said = train("--model", "torchvision/mnasnet0_5", *settings)
    assert said.status == 0, said.err
    check = Plugins().load("model", str(tmp_path / "run"))
    assert check.labels == ("cat", "dog")
    again = train("--model", "torchvision/mnasnet0_5", *settings, "--from", tmp_path / "run", output=tmp_path / "x")
    assert again.status == 0, again.err
