"""The null distribution of a network: its pairs, its extremes, what is left out, what is cached and used again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from metamery.analysis import null_distribution
from metamery.analysis.proof.measures import MEASURES
from metamery.analysis.proof.null import NULL_METRICS, TooFewSignalsError, cache_folder
from metamery.analysis.proof.pairs import RowFile
from metamery.framework import ImageDomain, MetameryError, Model, Stimulus, owners
from metamery.framework.progress import Progress
from metamery.framework.schema import check_dataset
from metamery.framework.testing import example_model

LAYERS = ("1", "output")


@pytest.fixture
def stimuli() -> list[Stimulus]:
    generator = torch.Generator().manual_seed(0)
    return [Stimulus(torch.rand(3, 12, 12, generator=generator), name=f"s{index}") for index in range(7)]


def slowly(model: Model, stimuli: Sequence[Stimulus], layer: str, metric: str) -> dict[tuple[str, str], float]:
    """One ordered pair after the other, each with passes of its own."""
    found = {}
    for natural, other in permutations(stimuli, 2):
        with torch.no_grad():
            parts = [
                model.module(s.signal[None]) if layer == "output" else model.module[:2](s.signal[None])
                for s in (natural, other)
            ]
        found[natural.name, other.name] = float(MEASURES[metric](parts[1], parts[0]))
    return found


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("metric", NULL_METRICS)
def test_the_null_is_that_of_the_slow_way(stimuli: list[Stimulus], layer: str, metric: str) -> None:
    model = example_model()
    null = null_distribution(model, stimuli, LAYERS).sel(layer=layer, metric=metric)
    pairs = slowly(model, stimuli, layer, metric)
    values = sorted(
        pairs.values() if metric == "snr_db" else [pairs[one.name, two.name] for one, two in combinations(stimuli, 2)]
    )
    best = max(pairs, key=lambda pair: pairs[pair])
    assert float(null["maximum"]) == pytest.approx(pairs[best], abs=1e-5)
    assert pairs[str(null["first"].values), str(null["second"].values)] == pytest.approx(pairs[best], abs=1e-6)
    wanted = np.quantile(values, null["quantile"].values, method="nearest")
    assert null["quantiles"].values == pytest.approx(wanted, abs=1e-4)
    edges = [*null["bin_low"].values.tolist(), float(null["bin_high"][-1])]
    assert int(null["histogram"].sum()) == len(values)
    below, above = (np.histogram(np.add(values, shift), edges)[0].cumsum() for shift in (1e-4, -1e-4))
    assert (below <= null["histogram"].values.cumsum()).all()
    assert (null["histogram"].values.cumsum() <= above).all()
    assert null.attrs["pairs"] == 21
    assert null.attrs["signals"] == 7


def test_the_null_passes_the_schema_and_does_not_depend_on_batches(stimuli: list[Stimulus]) -> None:
    null, small = (null_distribution(example_model(), stimuli, LAYERS, batch_size=size) for size in (32, 2))
    check_dataset(null)
    xr.testing.assert_allclose(null, small, rtol=1e-4, atol=1e-5)


def test_more_signals_than_wanted_are_drawn_by_the_seed(stimuli: list[Stimulus]) -> None:
    model = example_model()
    first, again, other = (null_distribution(model, stimuli, ["1"], signals=4, seed=seed) for seed in (0, 0, 1))
    assert first.attrs["pairs"] == 6
    xr.testing.assert_identical(first, again)
    assert first.attrs["signals_sha256"] != other.attrs["signals_sha256"]


def test_near_duplicates_are_left_out_and_named(stimuli: list[Stimulus]) -> None:
    model = example_model()
    twin = Stimulus(0.9 * stimuli[2].signal + 0.02, name="twin")
    null = null_distribution(model, [*stimuli, twin], LAYERS)
    assert null.attrs["left_out"] == ["twin: nearly the same as s2"]
    assert null.attrs["signals"] == 7
    without = null_distribution(model, stimuli, LAYERS)
    xr.testing.assert_allclose(null, without, rtol=1e-4, atol=1e-5)


def test_one_signal_makes_no_pair(stimuli: list[Stimulus]) -> None:
    copies = [stimuli[0], replace(stimuli[0], name="copy")]
    for given in (stimuli[:1], copies):
        with pytest.raises(TooFewSignalsError, match="two unlike signals"):
            null_distribution(example_model(), given)


def test_an_activation_that_is_not_finite_is_named(stimuli: list[Stimulus]) -> None:
    class Log(torch.nn.Module):
        def forward(self, signals: torch.Tensor) -> torch.Tensor:
            return signals.log()

    network = torch.nn.Sequential(Log(), torch.nn.Flatten(), torch.nn.Linear(432, 2)).eval()
    stimuli[3].signal[0, 0, 0] = 0
    with pytest.raises(MetameryError, match="signal 's3' has activations at '0'"):
        null_distribution(Model(network, ImageDomain(3, 12, 12), ["0"]), stimuli, ["0"])


def test_nothing_is_left_on_the_disk(stimuli: list[Stimulus], tmp_path: Path) -> None:
    null_distribution(example_model(), stimuli, scratch=tmp_path)
    assert not list(tmp_path.iterdir())


class Described(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def describe(self, description: str) -> None:
        self.said.append(description)


def computed(
    model: Model, stimuli: Sequence[Stimulus], layers: Sequence[str], cache: Path
) -> tuple[xr.Dataset, list[str]]:
    """The null, and the layers that were not found in the cache."""
    progress = Described()
    null = null_distribution(model, stimuli, layers, cache=cache, progress=progress)
    return null, [said.rpartition(" ")[2] for said in progress.said if "pairs at" in said]


def test_a_second_study_uses_what_is_kept(stimuli: list[Stimulus], tmp_path: Path) -> None:
    first, layers = computed(example_model(), stimuli, ["1"], tmp_path)
    assert layers == ["1"]
    second, layers = computed(example_model(), stimuli, ["1", "output"], tmp_path)
    assert layers == ["output"]
    xr.testing.assert_identical(second.sel(layer=["1"]), first)
    third, layers = computed(example_model(), stimuli, ["output", "1"], tmp_path)
    assert not layers
    xr.testing.assert_identical(third.sel(layer=["1", "output"]), second)


def test_other_signals_or_weights_do_not_find_it(stimuli: list[Stimulus], tmp_path: Path) -> None:
    computed(example_model(), stimuli, ["1"], tmp_path)
    assert computed(example_model(1), stimuli, ["1"], tmp_path)[1] == ["1"]
    assert computed(example_model(), stimuli[:-1], ["1"], tmp_path)[1] == ["1"]


def test_other_code_with_the_same_weights_is_found_out(stimuli: list[Stimulus], tmp_path: Path) -> None:
    class Halved(torch.nn.ReLU):
        def forward(self, signals: torch.Tensor) -> torch.Tensor:
            return super().forward(signals) / 2

        def __repr__(self) -> str:
            return "ReLU()"

    computed(example_model(), stimuli, ["1"], tmp_path)
    model = example_model()
    model.module[1] = Halved()
    assert computed(model, stimuli, ["1"], tmp_path)[1] == ["1"]


def _metadata(kept: Path) -> None:
    (kept / "maximum" / "zarr.json").write_text("{", encoding="utf-8")


def _lost(array: str) -> Callable[[Path], None]:
    def lose(kept: Path) -> None:
        (chunk,) = (path for path in (kept / array / "c").rglob("*") if path.is_file())
        chunk.unlink()

    return lose


def _cut(kept: Path) -> None:
    (chunk,) = (path for path in (kept / "quantiles" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])


def _flipped(kept: Path) -> None:
    (chunk,) = (path for path in (kept / "maximum" / "c").rglob("*") if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)


def _other_values(kept: Path) -> None:
    zarr.open_group(kept, mode="r+", use_consolidated=False)["maximum"][0, 1] = 0.5


def _other_attribute(kept: Path) -> None:
    zarr.open_group(kept, mode="r+", use_consolidated=False).attrs["pairs"] = 7


def _no_digest(kept: Path) -> None:
    del zarr.open_group(kept, mode="r+", use_consolidated=False).attrs["digest"]


def _array_gone(kept: Path) -> None:
    shutil.rmtree(kept / "histogram")


DAMAGES = {
    "metadata": _metadata,
    "maximum lost": _lost("maximum"),
    "histogram lost": _lost("histogram"),
    "pair lost": _lost("first"),
    "cut": _cut,
    "flipped": _flipped,
    "other values": _other_values,
    "other attribute": _other_attribute,
    "no digest": _no_digest,
    "array gone": _array_gone,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_made_anew(stimuli: list[Stimulus], tmp_path: Path, damage: str) -> None:
    first, _ = computed(example_model(), stimuli, ["1"], tmp_path)
    (kept,) = tmp_path.glob("*.zarr")
    DAMAGES[damage](kept)
    second, layers = computed(example_model(), stimuli, ["1"], tmp_path)
    assert layers == ["1"]
    xr.testing.assert_identical(second, first)
    assert computed(example_model(), stimuli, ["1"], tmp_path)[1] == []


def test_a_cache_that_cannot_be_written_to_costs_a_warning(stimuli: list[Stimulus], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="not kept for other studies: cannot write to"):
        null = null_distribution(example_model(), stimuli, ["1"], cache=tmp_path / "file")
    xr.testing.assert_identical(null, null_distribution(example_model(), stimuli, ["1"]))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").symlink_to("/dev/full")
    with pytest.raises(MetameryError, match="No space left on device"):
        RowFile(tmp_path / "rows").append(np.zeros((1, 10), dtype=np.float32))


def test_what_a_killed_process_left_in_the_cache_is_removed_where_nothing_is_written(
    stimuli: list[Stimulus], tmp_path: Path
) -> None:
    null_distribution(example_model(), stimuli, ["1"], cache=tmp_path)
    kept = {path.name for path in tmp_path.iterdir()}
    script = f"from metamery.framework.owners import Path, owned; print(owned(Path({str(tmp_path)!r}), '.null.'))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    dead = Path(said.stdout.strip())
    own = owners.owned(tmp_path, ".null.")
    for folder in (dead, own):
        (folder / "new").mkdir(parents=True)
    null_distribution(example_model(), stimuli, ["1"], cache=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept | {own.name}


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METAMERY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "nulls"
    monkeypatch.setenv("METAMERY_CACHE", "")
    assert cache_folder() is None
    monkeypatch.delenv("METAMERY_CACHE")
    assert (folder := cache_folder()) is not None
    assert folder.name == "nulls"
