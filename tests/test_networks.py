"""Networks of unusual kinds × what one does with a network: it works, or one line states why not; never a traceback."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
import pytest
import torch
from metamery.analysis import match, null_distribution, synthesise
from metamery.framework import Context, MetameryError, Plugins, Stimulus, examine
from metamery.framework.contract import probe_signals
from metamery.framework.running import frozen

ROOT = Path(__file__).parents[1]
TABLE = runpy.run_path(str(ROOT / "docs" / "networks.py"))
ROWS = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8").splitlines()

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def stimuli(count: int = 3) -> list[Stimulus]:
    drawn = torch.Generator().manual_seed(1)
    return [Stimulus(torch.rand(3, 8, 8, generator=drawn), "dark", name=f"s{i}") for i in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_table_of_networks_is_what_comes_out(name: str, tmp_path: Path) -> None:
    """Whatever is no `MetameryError` is raised here."""
    assert TABLE["row"](name, tmp_path) in ROWS


def test_every_network_is_in_the_table() -> None:
    table = [row for row in ROWS if row.startswith("| ") and not row.startswith(("| network", "| `t"))]
    assert len(table) == len(networks.NETWORKS)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (networks.normalises_by_batch, "affect each other: at layer 'relu1'.*'relu1.0' normalises by the batch"),
        (networks.trains_inside, "affect each other.*'conv1.0.norm.running_mean' changes with every pass"),
        (networks.attends_over_batch, "affect each other: at output"),
        (networks.forgets_training_flag, r"random in eval mode.*stochastic=True"),
        (networks.layer_without_batch, r"layer 'constant' has no batch dimension: shapes \(5, 64\)"),
        (networks.returns_sum, "output has no batch dimension"),
        (networks.more_labels, "returns 2 logits, and there are 3 labels"),
        (networks.background_class, "returns 3 logits, and there are 2 labels; if one is a background class"),
        (
            networks.second_name,
            "layer 'relu2' is a second name of the module 'relu1', which runs more than once.*'relu1@2'",
        ),
        (networks.returns_unnamed_mapping, "returns dict with 'out', 'aux', expected logits"),
        (networks.on_meta, "'conv1.weight' has no values"),
        (networks.lazy, "'conv1.weight' has no shape yet"),
        (networks.built_in_inference_mode, "was made in inference mode"),
        (networks.float16, "weights are float16, expected float32 or float64"),
        (networks.raises_key_error, r"KeyError: 'pixel_values' \(networks.py, line"),
        (networks.wants_mapping, r"IndexError: too many indices.*\(networks.py, line"),
    ],
)
@pytest.mark.parametrize(
    "use", [lambda m: synthesise(m, stimuli(), steps=1), lambda m: null_distribution(m, stimuli())]
)
def test_what_breaks_the_contract_is_refused_before_anything_is_computed(
    build: Callable[[], Any], said: str, use: Callable[[Any], Any]
) -> None:
    with pytest.raises(MetameryError, match=said):
        use(build())


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (networks.tokens_first, "blocks.0"),
        (networks.as_many_tokens_as_signals, "blocks.0"),
        (networks.lstm, "lstm[0]"),
        (networks.windows, "inside"),
        (networks.squeezes, "output"),
    ],
)
def test_a_layer_is_read_with_the_batch_first_whatever_the_batch(build: Callable[[], Any], layer: str) -> None:
    model, signals = build(), torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with frozen(model.module), torch.no_grad(), model.tap([layer]) as tap:
        together = tap(signals)[layer]
        alone = torch.cat([tap(signal[None])[layer] for signal in signals])
    assert len(together) == 4
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("build", [networks.tokens_first, networks.lstm, networks.windows, networks.squeezes])
def test_losses_are_those_of_each_signal_alone(build: Callable[[], Any]) -> None:
    model = build()
    layer = model.layers[0]
    made = synthesise(model, stimuli(4), [layer], steps=5, batch_size=4)
    with frozen(model.module), torch.no_grad(), model.tap([layer]) as tap:
        for index in range(4):
            wanted = tap(torch.from_numpy(made.natural.values[index : index + 1]))[layer]
            found = tap(torch.from_numpy(made.signal.values[0, index]))[layer]
            loss = float((found - wanted).norm() / wanted.norm())
            assert loss == pytest.approx(float(made.loss.values[0, index, 0, -1]), rel=1e-3)


def test_a_network_that_changes_its_input_gets_a_copy() -> None:
    with pytest.warns(UserWarning, match="changes its input in place: it is given a copy"):
        made = synthesise(networks.changes_input(), stimuli(), steps=3)
    assert float(made.natural.min()) >= 0
    assert float(made.natural.max()) <= 1
    assert float(made.signal.min()) >= 0
    assert float(made.signal.max()) <= 1


def test_results_of_a_stochastic_network_are_those_of_its_seed() -> None:
    first, again = (synthesise(networks.noisy(), stimuli(), steps=3, seed=1) for _ in range(2))
    other = synthesise(networks.noisy(), stimuli(), steps=3, seed=2)
    assert first.identical(again)
    assert not first.signal.equals(other.signal)


def test_the_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    examine(networks.noisy(), ["body.relu1"])
    synthesise(networks.noisy(), stimuli(), steps=1)
    assert torch.equal(state, torch.get_rng_state())


def test_a_class_is_a_number_where_several_have_one_name() -> None:
    plugins, model = Plugins(installed=()), networks.two_of_one_name()
    with torch.no_grad():
        model.module.fc.weight.zero_()
        model.module.fc.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))  # always the second "dark"
    context = Context({"m": model}, stimuli())
    assert float(plugins.load("evaluator", "accuracy")(context).accuracy.item()) == 1
    numbered = [Stimulus(s.signal, labels={"category": frozenset({1})}, name=s.name) for s in stimuli()]
    assert float(plugins.load("evaluator", "accuracy")(Context({"m": model}, numbered)).accuracy.item()) == 0
    assert model.class_names == ("bright", "dark (1)", "dark (2)")


@pytest.mark.parametrize("caller", [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16), torch.no_grad])
def test_a_caller_s_mode_does_not_matter(caller: Callable[[], Any]) -> None:
    model, signals = networks.plain(), stimuli()
    plain = synthesise(model, signals, steps=3), null_distribution(model, signals)
    with caller():
        inside = synthesise(model, signals, steps=3), null_distribution(model, signals)
        matched = match(model, inside[0])
    assert all(one.identical(other) for one, other in zip(plain, inside, strict=True))
    assert matched.identical(match(model, plain[0]))


def test_a_network_is_examined_again_when_it_is_made_of_something_else() -> None:
    model = networks.plain()
    assert examine(model, ["relu1"]) is examine(model, ["relu1"])
    assert len(model.module._forward_hooks) == 1
    model.module.relu1 = torch.nn.Sequential(torch.nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(MetameryError, match="affect each other"):
        examine(model, ["relu1"])
    assert not model.module._forward_hooks
    assert not model.module._forward_pre_hooks


def test_a_buffer_that_counts_is_restored() -> None:
    model = networks.counts()
    before = model.weights_sha256()
    examine(model, model.layers)
    assert model.weights_sha256() == before


def test_elements_of_an_output_are_still_layers() -> None:
    model = networks.returns_tuple()
    examine(model)
    with frozen(model.module), torch.no_grad(), model.tap(["output", "output[1]"]) as tap:
        found = tap(probe_signals(model.domain))
    torch.testing.assert_close(found["output[1]"], 2 * found["output"])


def test_notes_are_said_once() -> None:
    model = networks.returns_mapping()
    with pytest.warns(UserWarning, match="logits are taken to be 'logits'"):
        examine(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        examine(model, ["body.relu1"])
