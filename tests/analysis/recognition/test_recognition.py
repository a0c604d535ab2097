"""Recognition, against networks whose answers are known."""

import numpy as np
import pytest
import torch
import xarray as xr
from metamery.analysis.recognition.recognise import ask, shown, summary
from metamery.framework import ImageDomain, MetameryError, Model, Stimulus, WaveformDomain
from metamery.framework.model_results import ModelResults
from metamery.framework.schema import check_dataset
from torch import nn

DOMAIN = ImageDomain(3, 4, 4)
NAMES = ("red", "green", "blue")
LAYERS = ["early", "late"]
COUNT = 30


class Brightest(nn.Module):
    """Says which channel is the brightest; `deaf` adds so much to the first."""

    def __init__(self, deaf=0.0):
        super().__init__()
        self.register_buffer("deaf", torch.tensor([deaf, 0.0, 0.0]))

    def forward(self, signals):
        return signals.mean(dim=(2, 3)) + self.deaf


def net(deaf=0.0, size=4, labels=NAMES):
    return Model(Brightest(deaf), ImageDomain(3, size, size), ["output"], labels)


def of_colour(channel, generator, count=()):
    picture = generator.uniform(0, 0.2, (*count, 3, 4, 4)).astype(np.float32)
    picture[..., channel, :, :] += 0.6
    return picture


def made(share_late=0.5, seeds=2, name="a"):
    """Metamers that show their stimulus at the first layer; at the second a share of them shows the next colour."""
    generator = np.random.default_rng(0)
    colours = np.arange(COUNT) % 3
    natural = np.stack([of_colour(colour, generator) for colour in colours])
    late = np.where(np.arange(COUNT) < COUNT * share_late, colours, (colours + 1) % 3)
    signal = np.stack([[of_colour(c, generator, (seeds,)) for c in layer] for layer in (colours, late)])
    state = np.ones((2, COUNT, seeds), np.int8)
    dims = ("layer", "stimulus", "seed")
    metamers = xr.Dataset(
        {"signal": ((*dims, "channel", "y", "x"), signal), "state": (dims, state)},
        {"layer": LAYERS, "seed": range(seeds)},
    )
    shows = [NAMES[colour] for colour in colours]
    stimuli = [Stimulus(torch.from_numpy(natural[i]), shows[i], name=str(i)) for i in range(COUNT)]
    signals = xr.Dataset({"signal": (("stimulus", "channel", "y", "x"), natural)})
    return ModelResults(name, {"model": name, **DOMAIN.attributes()}, signals, metamers, None), stimuli


def numbers(seed=0):
    return np.random.default_rng(seed)


def test_proportions_are_those_of_the_pictures():
    generated, stimuli = made(0.5)
    found = ask({"a": net(), "b": net(), "deaf": net(9.0)}, [generated], stimuli, batch_size=7)
    result = summary(found, numbers())
    check_dataset(found.merge(result))
    assert found.site.values.tolist() == ["a natural", "a early", "a late"]
    assert result.recognised.sel(site="a early").values.tolist() == [1, 1, pytest.approx(1 / 3)]
    assert result.recognised.sel(site="a late").values.tolist()[:2] == [0.5, 0.5]
    late = result.sel(site="a late")
    assert late.own.item() == 0.5
    deaf = late.recognised.sel(recogniser="deaf").item()
    assert late.others.item() == pytest.approx((0.5 + deaf) / 2)
    assert late.idiosyncrasy.item() == pytest.approx(0.5 - late.others.item())
    assert late.recognised_low.sel(recogniser="a").item() == pytest.approx(0.5 - 1.96 * np.sqrt(0.25 / COUNT), abs=0.05)


def test_only_judges_count_as_others():
    generated, stimuli = made(0.5)
    found = ask({"a": net(), "b": net(), "deaf": net(9.0)}, [generated], stimuli)
    late = summary(found, numbers(), judges=["deaf"]).sel(site="a late")
    assert late.others.item() == late.recognised.sel(recogniser="deaf").item()
    assert late.own.item() == 0.5


def test_intervals_of_differences_are_paired():
    generated, stimuli = made(0.5)
    result = summary(ask({"a": net(), "b": net()}, [generated], stimuli), numbers())
    late = result.sel(site="a late")
    assert late.others_low.item() < 0.5 < late.others_high.item()
    assert (late.idiosyncrasy.item(), late.idiosyncrasy_low.item(), late.idiosyncrasy_high.item()) == (0, 0, 0)


def test_given_right_leaves_out_what_the_generator_gets_wrong():
    generated, stimuli = made(0.5, name="deaf")
    result = summary(ask({"deaf": net(9.0), "b": net()}, [generated], stimuli), numbers())
    natural = result.sel(site="deaf natural")
    assert natural.own.item() == pytest.approx(1 / 3)
    assert natural.own_given_right.item() == 1
    late = result.sel(site="deaf late")
    reds = [place for place in range(COUNT) if place % 3 == 0]
    assert late.others_given_right.item() == pytest.approx(np.mean([place < COUNT / 2 for place in reds]))


def test_how_many_stimuli_count_is_said_and_a_single_one_has_no_interval():
    generated, stimuli = made(0.5)
    found = ask({"a": net(), "b": net()}, [generated], stimuli)
    result = summary(found, numbers())
    assert result.counted.values.tolist() == [COUNT] * 3
    assert result.own_low.notnull().all()
    found["correct"][:, :, 1:] = -1
    found["correct"][:, 1, 1:3] = 1
    result = summary(found, numbers())
    assert result.counted.values.tolist() == [3] * 3
    assert result.counted_given_right.values.tolist() == [1] * 3
    assert result.own.notnull().all()
    assert result.own_low.isnull().all()
    assert result.recognised_low.isnull().values.tolist() == [[True, False]] * 3
    assert result.others_low.notnull().all()
    assert result.idiosyncrasy_low.isnull().all()
    assert result.others_given_right_high.isnull().all()


def test_a_generator_that_is_not_asked_has_no_idiosyncrasy():
    generated, stimuli = made()
    result = summary(ask({"b": net()}, [generated], stimuli), numbers())
    assert result.others.sel(site="a early").item() == 1
    assert np.isnan(result.own).all()
    assert np.isnan(result.idiosyncrasy).all()
    assert np.isnan(result.recognised_given_right).all()


def test_what_is_missing_or_not_known_does_not_count():
    generated, stimuli = made(1.0)
    generated.metamers.state[1, :10] = 2
    generated.metamers.signal[1, 3] = np.nan
    nameless = [Stimulus(s.signal, "" if i >= 20 else s.category, name=s.name) for i, s in enumerate(stimuli)]
    found = ask({"a": net(), "two": net(labels=("red", "green", "x"))}, [generated], nameless)
    late = found.correct.sel(site="a late", recogniser="a").isel(seed=0).values
    assert late.tolist() == [-1] * 10 + [1] * 10 + [-1] * 10
    own_words = found.correct.sel(site="a early", recogniser="two").isel(seed=0).values
    assert (own_words[2:20:3] == -1).all()  # it has no word for blue
    assert (own_words[0:20:3] == 1).all()


def test_results_hang_neither_on_batches_nor_on_further_recognisers():
    generated, stimuli = made()
    alone = ask({"a": net()}, [generated], stimuli, batch_size=1)
    among = ask({"b": net(9.0), "a": net()}, [generated], stimuli, batch_size=11)
    assert alone.correct.sel(recogniser="a").identical(among.correct.sel(recogniser="a"))
    one, two = summary(alone, numbers(4)), summary(among, numbers(4))
    assert one.recognised_low.sel(recogniser="a").identical(two.recognised_low.sel(recogniser="a"))


def test_signals_are_rounded_and_brought_into_the_others_domain():
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    own = ImageDomain(3, 8, 8, low=-1.0)
    same, there = shown(pictures, own, own)
    assert there.all()
    assert torch.equal(same, own.quantise(pictures))
    other, _ = shown(pictures, own, ImageDomain(3, 8, 8, high=255.0))
    torch.testing.assert_close(other, other.round(), atol=1e-4, rtol=0)
    torch.testing.assert_close(other, (same + 1) / 2 * 255, atol=1e-3, rtol=0)
    small, _ = shown(pictures, own, ImageDomain(3, 4, 4))
    assert small.shape == (2, 3, 4, 4)


def test_sounds_get_the_others_level_and_silence_cannot():
    sound = torch.sin(torch.arange(800) * 0.3)[None] * 0.01
    own, other = WaveformDomain(800, 8000, rms=None), WaveformDomain(1600, 16000, rms=0.1)
    fitted, there = shown(torch.cat([sound, torch.zeros(1, 800)]), own, other)
    assert there.tolist() == [True, False]
    assert float(fitted[0].square().mean().sqrt()) == pytest.approx(0.1, rel=1e-3)
    assert not fitted[1].any()


def test_pictures_cannot_be_shown_to_what_hears():
    generated, stimuli = made()
    hears = Model(nn.Linear(100, 3), WaveformDomain(100, 8000), ["output"], NAMES)
    with pytest.raises(MetameryError, match="a model of waveforms cannot recognise images"):
        ask({"hears": hears}, [generated], stimuli)


def test_sounds_of_a_wide_domain_are_shown_as_fractions_of_their_full_scale():
    wide, usual = WaveformDomain(400, 8000, -4.0, 4.0, rms=None), WaveformDomain(400, 16000, rms=None)
    wave = 3 * torch.sin(torch.arange(400) * 0.2)[None]
    fitted, there = shown(wave, wide, usual)
    assert there.all()
    assert float(fitted.abs().max()) == pytest.approx(0.75, abs=0.03)  # the ends ring
    again, _ = shown(wave, wide, WaveformDomain(400, 8000, -8.0, 8.0, rms=None))
    torch.testing.assert_close(again, wide.quantise(wave) - wide.quantise(wave).mean(), atol=1e-5, rtol=0)
