"""Output of `findings.py` and `aliasing.py` in `examples/replication` for studies with invented answers."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.plugins.antialias.blur import Blur

FOLDER = Path(__file__).parents[1] / "examples" / "replication"
LAYERS = ["natural", "early", "output"]
COUNT = 60


@pytest.fixture(scope="module")
def findings():
    return runpy.run_path(str(FOLDER / "findings.py"))


def study(kinds, share, kept=None, judges=("other-1",)):
    """Each network's metamers are recognised by all others in a share of the stimuli, by layer; by itself always."""
    generator = np.random.default_rng(0)
    models = [f"run:{name}-{seed}" for name in kinds for seed in (1, 2)]
    sites = [(model, layer) for model in models for layer in LAYERS]
    recognisers = [*models, *(f"run:{name}" for name in judges)]
    correct = np.ones((len(sites), len(recognisers), COUNT, 1), np.int8)
    for row, (model, layer) in enumerate(sites):
        for column, recogniser in enumerate(recognisers):
            if recogniser != model:
                right = generator.permutation(COUNT) < COUNT * share[model[4:-2], layer]
                correct[row, column, :, 0] = right
    coordinates = {
        "site": [" ".join(site) for site in sites],
        "model": ("site", [model for model, _ in sites]),
        "layer": ("site", [layer for _, layer in sites]),
        "recogniser": recognisers,
        "stimulus": [str(number) for number in range(COUNT)],
        "seed": [0],
    }
    dims = ("site", "recogniser", "stimulus", "seed")
    tree = {"/recognition": xr.Dataset({"correct": (dims, correct)}, coordinates)}
    if kept is not None:
        agrees = np.stack([correct * 0 + share for share in kept], axis=1).astype(np.int8)
        tree["/contrast"] = xr.Dataset(
            {"agrees": (("site", "transformation", *dims[1:]), agrees)},
            {**coordinates, "transformation": ["metamer", "adversarial", "noise"]},
        )
    return xr.DataTree.from_dict(tree)


def shares(**late):
    return {(name, layer): late[name] if layer == "output" else 0.9 for name in late for layer in LAYERS}


KINDS = ("standard", "random", "hann", "adversarial")


def printed(findings, tmp_path, monkeypatch, capsys, late, smooth):
    trees = {
        "study": study(KINDS, shares(**late), kept=(1, 0, 0)),
        "prior": study(["standard"], shares(standard=smooth)),
    }
    monkeypatch.setitem(findings["main"].__globals__, "open_study", lambda path: trees[Path(path).name])
    findings["main"](tmp_path)
    said = capsys.readouterr().out
    return said, {line[0]: line.rpartition(": ")[2] for line in said.splitlines() if line[:1].isdigit()}


def test_what_was_put_in_comes_out(findings, tmp_path, monkeypatch, capsys):
    late = {"standard": 0.2, "random": 0.2, "hann": 0.5, "adversarial": 0.8}
    said, verdicts = printed(findings, tmp_path, monkeypatch, capsys, late, smooth=0.4)
    assert verdicts == {**dict.fromkeys("12346", "REPLICATES"), "5": "NEEDS PEOPLE"}
    assert (tmp_path / "findings.svg").read_text(encoding="utf-8").count("<use") > 5 * len(KINDS)
    (row,) = [line for line in said.splitlines() if line.startswith("output")]
    assert row.split()[1::4] == ["0.20", "0.80", "0.20", "0.50"]


def test_what_is_not_there_does_not_show_and_the_contrary_is_called_so(findings, tmp_path, monkeypatch, capsys):
    late = {"standard": 0.5, "random": 0.5, "hann": 0.5, "adversarial": 0.1}
    _, verdicts = printed(findings, tmp_path, monkeypatch, capsys, late, smooth=0.9)
    assert verdicts["1"] == "REPLICATES"
    assert verdicts["3"] == "OPPOSITE EFFECT"
    assert verdicts["4"] == verdicts["6"] == "DOES NOT REPLICATE"


def test_a_generator_is_judged_where_it_is_right(findings):
    tree = study(["standard"], shares(standard=0.5))
    correct = tree["recognition"].correct
    correct.values[0, 0, :30] = 0  # the first network is wrong about half of the natural signals
    _, others = findings["by_stimulus"](tree)
    values = others.sel(kind="standard", layer="output").values
    assert np.isnan(values[0, :30]).all()
    assert np.isfinite(values[0, 30:]).all()
    assert np.isfinite(values[1]).all()


def test_aliasing_and_its_effect_are_those_of_each_kind(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    aliasing = runpy.run_path(str(FOLDER / "aliasing.py"))
    tree = study(("standard", "hann"), shares(standard=0.2, hann=0.5), judges=("random-1", "other-1"))
    of_study = tree["recognition"].coords
    steps = {"measured_layer": ["conv", "blur"]}
    shares_of = np.full((len(of_study["site"]), COUNT, 2), np.nan)
    shares_of[:6, :, 0], shares_of[6:, :, 1] = 0.25, 0.01
    tree["character"] = xr.DataTree(
        xr.Dataset(
            {"natural_aliasing": (("site", "stimulus", "measured_layer"), shares_of)},
            {**{name: of_study[name] for name in ("site", "model", "layer")}, **steps},
        )
    )
    monkeypatch.setitem(aliasing["main"].__globals__, "open_study", lambda _: tree)
    aliasing["main"](Path("study"))
    said = capsys.readouterr().out
    assert "standard: conv 0.250\nhann: blur 0.010\n" in said
    for judge in said.split("\nby ")[1:]:
        assert "output: 0.20 (" in judge
        assert "; Hann minus standard +0.30 (" in judge
        assert "standard 0.20, 0.20; hann 0.50, 0.50; between networks a difference of 0.00 would be" in judge


def test_the_least_difference_between_networks_is_that_of_students_t(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    between = runpy.run_path(str(FOLDER / "aliasing.py"))["between"]
    shares = [[0.2, 0.3, 0.4], [0.5, 0.6, 0.7]]  # 2.776 standard errors of √(0.02 / 3), with four degrees of freedom
    said = between(xr.DataArray(shares, {"kind": ["standard", "hann"]}, ("kind", "network")))
    assert said.endswith("hann 0.50, 0.60, 0.70; between networks a difference of 0.23 would be significant")


def test_the_network_with_hann_windows_has_them_in_place_of_strides_and_pools():
    build = runpy.run_path(str(FOLDER / "coch_cnn9.py"))["coch_cnn9"]
    plain, hann = build(seed=3), build(seed=3, hann=True)
    kept, blurred = plain.module.state_dict(), hann.module.state_dict()
    assert all(torch.equal(blurred[name], weight) for name, weight in kept.items())
    assert kept["conv3.weight"].shape == (256, 128, 2, 5)  # a quarter of the published 1024 and 512
    assert plain.layers == hann.layers
    parts = list(hann.module.modules())
    assert sum(isinstance(part, Blur) for part in parts) == 5
    strided = [part for part in parts if isinstance(part, torch.nn.Conv2d | torch.nn.MaxPool2d | torch.nn.AvgPool2d)]
    assert all(part.stride in (1, (1, 1)) for part in strided)
