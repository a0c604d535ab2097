"""Does `fast` make the metamers that `feather2023` makes? Both presets on the same photographs, side by side.

For each layer of EfficientNet-Lite0, and each preset: the loss at the end, at the matched layer and as the mean
relative L2 distance at the later ones; whether the network, and EfficientNet-Lite1 and -Lite2, call the metamer what
they call the photograph; and what the pictures are like as pictures: their distance to the photograph, their standard
deviation, and how steeply their amplitude falls with spatial frequency (natural pictures: a slope of about −1).

The two studies stay in FOLDER and are resumed: ``python benchmarks/presets.py FOLDER --limit 2``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from metamery.analysis import run_study
from metamery.analysis.proof.distances import relative_l2
from metamery.framework import Model, Plugins, Stimulus, Study, Tap, models_of
from metamery.framework.progress import ProgressBar
from metamery.framework.running import channels_last, frozen
from metamery.framework.study import ModelReference, Reference
from table import Benchmark, Column, Table

GENERATOR = "efficientnet-lite0"
OTHERS = ("efficientnet-lite1", "efficientnet-lite2")
LAYERS = ("_blocks.1", "_blocks.8", "_blocks.15")
PRESETS = ("feather2023", "fast")
COLUMNS = (
    Column("updates", "", ""),
    Column("loss"),
    Column("later"),
    Column("own label", "share", ""),
    Column("others' label", "share", ""),
    Column("to photo", "", ""),
    Column("std", "", ""),
    Column("slope", "", ""),
)


@torch.no_grad()
def classes(model: Model, signals: torch.Tensor) -> torch.Tensor:
    """The class that a model gives to signals of another's domain, after rounding to 8 bits; ``(N,)``."""
    rounded = (signals * 255).round() / 255
    fitted = torch.stack([model.domain.fit(Stimulus(signal)) for signal in rounded])
    with frozen(model.module), channels_last(model.module, model.domain):
        return model.module(fitted).argmax(dim=1)


@torch.no_grad()
def later_distance(model: Model, layer: str, signals: torch.Tensor, natural: torch.Tensor) -> float:
    """Mean relative L2 distance at the network's own layers behind one."""
    order = [name for name in model.layers if name in ("output", layer) or _block(name) > _block(layer)]
    behind = [name for name in order if name != layer]
    with frozen(model.module), channels_last(model.module, model.domain), Tap(model.module, behind) as tap:
        ours, theirs = tap(signals), tap(natural)
    return float(torch.stack([relative_l2(ours[name], theirs[name]) for name in behind]).mean())


def _block(name: str) -> int:
    return int(name.rpartition(".")[2]) if name.startswith("_blocks.") else 10_000


def slope(pictures: np.ndarray) -> float:
    """Mean slope of log amplitude over log spatial frequency, from 2 cycles a picture to half of Nyquist's."""
    grey = pictures.mean(axis=1)
    size = grey.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)
    amplitude = np.abs(np.fft.fft2((grey - grey.mean(axis=(1, 2), keepdims=True)) * window))
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size, 1 / size)] * 2)).round().astype(int)
    radii = np.arange(2, size // 4)
    profile = np.stack([[a[frequency == r].mean() for r in radii] for a in amplitude])
    return float(np.mean([np.polyfit(np.log(radii), np.log(p), 1)[0] for p in profile]))


def main() -> None:
    benchmark = Benchmark(__doc__)
    benchmark.option("folder", type=Path)
    benchmark.option("--layers", default=",".join(LAYERS), help="between commas")
    benchmark.option("--limit", type=int, default=2, help="photographs")
    benchmark.option("--only", choices=PRESETS, help="make one of the two studies and compare nothing")
    arguments = benchmark.parse()
    layers = tuple(arguments.layers.split(","))
    plugins = Plugins(installed=())
    trees: dict[str, xr.DataTree] = {}
    for preset in [arguments.only] if arguments.only else PRESETS:
        study = Study(
            (ModelReference(GENERATOR, layers),),
            Reference("natural", {"limit": arguments.limit}),
            synthesis={"preset": preset},
        )
        with ProgressBar() as progress:
            store = run_study(study, arguments.folder / preset, plugins, progress=progress)
        trees[preset] = xr.open_datatree(store.path, engine="zarr", consolidated=False)
    if not arguments.only:
        benchmark.head()
        compare(benchmark.table("The presets", ["layer", "preset"], COLUMNS), plugins, trees, layers)


def compare(table: Table, plugins: Plugins, trees: dict[str, xr.DataTree], layers: tuple[str, ...]) -> None:
    generator = plugins.load("model", GENERATOR)
    others = [plugins.load("model", name) for name in OTHERS]
    for layer in layers:
        for preset, tree in trees.items():
            (model,) = models_of(tree)
            made = model.metamers.sel(layer=layer).isel(seed=0)
            signals, natural = (torch.from_numpy(data.values) for data in (made.signal, model.natural.signal))
            own = classes(generator, signals) == classes(generator, natural)
            same = torch.stack([classes(other, signals) == classes(other, natural) for other in others])
            table.row(
                layer,
                preset,
                made.sizes["step"] - 1,
                float(made.loss.isel(step=-1).mean()),
                later_distance(generator, layer, signals, natural),
                float(own.float().mean()),
                float(same.float().mean()),
                float((signals - natural).square().mean().sqrt()),
                float(signals.std()),
                slope(signals.numpy()),
            )


if __name__ == "__main__":
    main()
