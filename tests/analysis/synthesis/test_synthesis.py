"""`synthesise`, and a real network: EfficientNet-Lite0 with its ImageNet weights."""

import numpy as np
import pytest
import torch
from metamery.analysis import synthesise
from metamery.analysis.proof.distances import cosine, relative_l2
from metamery.analysis.synthesis.driver import partition, starting_noise
from metamery.framework import ImageDomain, MetameryError, Plugins, Stimulus, Tap, WaveformDomain, testing
from metamery.framework.errors import MissingExtraError
from metamery.framework.outline import outline
from metamery.framework.running import frozen
from metamery.framework.schema import check_dataset


@pytest.fixture(scope="module")
def lite():
    try:
        return Plugins(installed=()).load("model", "efficientnet-lite0")
    except MissingExtraError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def photographs():
    try:
        return list(Plugins(installed=()).load("stimuli", "natural", limit=8))
    except MissingExtraError as missing:
        pytest.skip(str(missing))


def test_a_dataset_says_everything():
    model = testing.example_model()
    pictures = [Stimulus(signal, name=f"picture {i}") for i, signal in enumerate(testing.example_signals(model, 3))]
    made = synthesise(model, pictures, ["1", "output"], steps=30, seeds=2, batch_size=2)
    check_dataset(made)
    assert dict(made.sizes) == {
        "layer": 2, "stimulus": 3, "seed": 2, "step": 31, "channel": 3, "y": 12, "x": 12,
        "measured_layer": 3, "metric": 4,
    }  # fmt: skip
    assert (made.state == 1).all()
    assert (made.loss.isel(step=-1) < made.loss.isel(step=0)).all()
    assert made.modified_relu.values.tolist() == [1, 0]
    again = synthesise(model, pictures, ["1", "output"], steps=30, seeds=2, batch_size=2)
    assert made.identical(again)
    for index in range(3):
        signals = torch.from_numpy(made.signal.sel(layer="1").isel(stimulus=index).values)
        with torch.no_grad(), frozen(model.module), Tap(model.module, ["1"]) as tap:
            ours, theirs = tap(signals)["1"], tap(pictures[index].signal[None])["1"]
        final = made.loss.sel(layer="1").isel(stimulus=index, step=-1).values
        np.testing.assert_allclose(relative_l2(ours, theirs.expand_as(ours)), final, rtol=1e-4)


def test_ones_own_distance_and_optimizer_are_taken_as_objects():
    model = testing.example_model()
    pictures = [Stimulus(signal, name="one") for signal in testing.example_signals(model, 1)]

    def halved(activations, targets):
        return relative_l2(activations, targets) / 2

    plain = synthesise(model, pictures, ["1"], steps=3)
    own = synthesise(model, pictures, ["1"], steps=3, distance=halved)
    np.testing.assert_allclose(own.loss.values[..., 0] * 2, plain.loss.values[..., 0], rtol=1e-6)
    moved = synthesise(model, pictures, ["1"], steps=50, optimizer=torch.optim.NAdam)
    assert (moved.loss.isel(step=-1) < moved.loss.isel(step=0)).all()


def test_a_distance_and_an_optimizer_are_also_taken_by_name():
    model = testing.example_model()
    pictures = [Stimulus(signal, name="one") for signal in testing.example_signals(model, 1)]
    named = synthesise(model, pictures, ["1"], steps=3, distance="cosine")
    np.testing.assert_array_equal(named.loss, synthesise(model, pictures, ["1"], steps=3, distance=cosine).loss)
    with pytest.raises(MetameryError, match="unknown distance 'relativ_l2'; did you mean 'relative_l2'"):
        synthesise(model, pictures, ["1"], steps=3, distance="relativ_l2")
    with pytest.raises(MetameryError, match="unknown optimizer 'adm'; did you mean 'adam'"):
        synthesise(model, pictures, ["1"], steps=3, optimizer="adm")


def test_a_network_in_double_precision_gets_such_signals_and_one_in_half_is_refused():
    model = testing.example_model()
    pictures = [Stimulus(signal, name="one") for signal in testing.example_signals(model, 1)]
    model.module.double()
    made = synthesise(model, pictures, ["1"], steps=20)
    assert (made.state == 1).all()
    model.module.half()
    with pytest.raises(MetameryError, match="weights are float16, expected float32 or float64"):
        synthesise(model, pictures, ["1"], steps=20)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layers": ["3x"]}, "unknown layer '3x'"),
        ({"layers": ["1", "1"]}, "layer '1' is named twice"),
        ({"preset": "slow"}, "unknown preset 'slow'"),
        ({"distance": None, "optimizer": None, "step": 3}, "unknown synthesis setting 'step'; did you mean 'steps'?"),
    ],
)
def test_a_slip_is_named(given, said):
    model = testing.example_model()
    with pytest.raises(MetameryError) as error:
        synthesise(model, [Stimulus(testing.example_signals(model, 1)[0], name="one")], **given)
    assert str(error.value).startswith(said)


def test_work_is_divided_by_the_study_alone():
    blocks = partition(layers=2, stimuli=5, seeds=3, batch_size=2)
    assert [block[0].stimuli for block in blocks] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert all(len(block) == 6 and len({batch.stimuli.start for batch in block}) == 1 for block in blocks)


def test_starting_noise_is_the_published_one_and_hangs_on_the_name():
    image, sound = ImageDomain(3, 64, 64), WaveformDomain(20_000, 20_000)
    drawn = starting_noise(image, None, 0, 0, "a")
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.002)
    assert float(drawn.std()) == pytest.approx(0.05, rel=0.03)
    assert float(starting_noise(sound, None, 0, 0, "a").std()) == pytest.approx(1e-7, rel=0.03)
    assert torch.equal(drawn, starting_noise(image, None, 0, 0, "a"))
    for other in ((1, 0, "a"), (0, 1, "a"), (0, 0, "b")):
        assert not torch.equal(drawn, starting_noise(image, None, *other))


# EfficientNet-Lite0


@pytest.mark.slow
def test_stopping_at_a_layer_gives_what_passing_gives(lite, photographs):
    signals = torch.stack([lite.domain.fit(stimulus) for stimulus in photographs[:2]])[..., 64:160, 64:160]
    names = [layer.name for layer in outline(lite.module, lite.domain) if layer.shape is not None]
    assert len(names) > 150
    with torch.no_grad(), frozen(lite.module):
        with Tap(lite.module, names, stop=False) as tap:
            passing = {name: activation.clone() for name, activation in tap(signals).items()}
        for name in names:
            with Tap(lite.module, [name]) as tap:
                assert torch.equal(tap(signals)[name], passing[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["_blocks.8"])
def test_the_first_update_of_a_batch_is_that_of_each_alone(lite, photographs, layer):
    together, alone = (synthesise(lite, photographs[:4], [layer], "feather2023", steps=1, batch_size=b) for b in (4, 1))
    np.testing.assert_allclose(together.loss.values[..., 0], alone.loss.values[..., 0], rtol=1e-5)
    for ours, theirs in zip(together.signal.values[0], alone.signal.values[0], strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


@pytest.mark.slow
def test_eight_stimuli_end_with_the_same_losses_however_they_are_batched(lite, photographs):
    together, alone = (
        synthesise(lite, photographs, ["_blocks.1"], steps=16, batch_size=size).loss.values[0, :, 0, -1]
        for size in (4, 1)
    )
    assert len(together) == 8
    np.testing.assert_allclose(together, alone, rtol=0.02)
    np.testing.assert_allclose(np.quantile(together, [0.1, 0.5, 0.9]), np.quantile(alone, [0.1, 0.5, 0.9]), rtol=0.005)
