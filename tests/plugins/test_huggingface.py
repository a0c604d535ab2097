"""Networks of transformers: tiny ones made from configurations, saved and loaded by path; nothing is downloaded."""

import json
import re

import pytest
import torch
from metamery.analysis import synthesise
from metamery.framework import MetameryError, Plugins, Stimulus, testing
from metamery.framework.errors import UnknownNameError

transformers = pytest.importorskip("transformers", reason="transformers is not installed (metamery[huggingface])")

BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PATCHES = {**BLOCKS, "image_size": 32, "patch_size": 8}
WAVES = {
    **BLOCKS, "conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "vocab_size": 6,
}  # fmt: skip
SWIN = {
    "image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4,
}  # fmt: skip
CONVNEXT = {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1], "image_size": 32}
WHISPER = {
    "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_layers": 1,
    "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 50, "max_source_positions": 50,
    "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0,
}  # fmt: skip
AST = {**BLOCKS, "max_length": 64, "num_mel_bins": 32}
CLAP_AUDIO = {
    "num_mel_bins": 16, "spec_size": 64, "patch_size": 4, "patch_stride": [4, 4], "patch_embeds_hidden_size": 8,
    "depths": [1, 1], "num_attention_heads": [2, 2], "hidden_size": 16, "projection_dim": 8, "window_size": 4,
}  # fmt: skip
TEXT = {
    **BLOCKS, "vocab_size": 20, "max_position_embeddings": 16, "projection_dim": 8, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
CLIP = {"vision_config": {**PATCHES, "projection_dim": 8}, "text_config": TEXT, "projection_dim": 8}
CLAP = {
    "audio_config": CLAP_AUDIO, "text_config": {**TEXT, "max_position_embeddings": 34}, "projection_dim": 8,
}  # fmt: skip
CLAP_SOUNDS = {"sampling_rate": 8000, "max_length_s": 1, "hop_length": 64, "fft_window_size": 128,
               "frequency_max": 4000, "feature_size": 16}  # fmt: skip
SQUARE = {"size": {"height": 32, "width": 32}}

CLASSES = {"num_labels": 3, "id2label": {0: "cat", 1: "dog", 2: "owl"}, "label2id": {"cat": 0, "dog": 1, "owl": 2}}

FAMILIES = {
    "vit": ("ViTForImageClassification", "ViTConfig", {**PATCHES, **CLASSES}, SQUARE),
    "vit encoder": ("ViTModel", "ViTConfig", PATCHES, SQUARE),
    "deit": ("DeiTForImageClassificationWithTeacher", "DeiTConfig", {**PATCHES, **CLASSES}, {"crop_size": 32}),
    "swin": ("SwinForImageClassification", "SwinConfig", {**SWIN, **CLASSES}, SQUARE),
    "swin v2": ("Swinv2ForImageClassification", "Swinv2Config", {**SWIN, **CLASSES}, SQUARE),
    "convnext": (
        "ConvNextForImageClassification", "ConvNextConfig", {**CONVNEXT, **CLASSES}, {"size": {"shortest_edge": 32}},
    ),
    "convnext v2": ("ConvNextV2Model", "ConvNextV2Config", CONVNEXT, {"size": {"shortest_edge": 32}}),
    "dinov2": ("Dinov2Model", "Dinov2Config", PATCHES, {"crop_size": {"height": 24, "width": 24}}),
    "dinov2 with registers": ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", PATCHES, SQUARE),
    "clip": ("CLIPModel", "CLIPConfig", CLIP, {"crop_size": {"height": 32, "width": 32}}),
    "clip tower": ("CLIPVisionModel", "CLIPVisionConfig", PATCHES, {"crop_size": 32}),
    "siglip": ("SiglipModel", "SiglipConfig", CLIP, SQUARE),
    "ast": ("ASTForAudioClassification", "ASTConfig", {**AST, **CLASSES}, {"sampling_rate": 16000}),
    "wav2vec2": ("Wav2Vec2Model", "Wav2Vec2Config", WAVES, {}),
    "wav2vec2 classes": ("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", {**WAVES, **CLASSES}, {}),
    "hubert": ("HubertForCTC", "HubertConfig", WAVES, {}),
    "wavlm": ("WavLMModel", "WavLMConfig", WAVES, {}),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", WHISPER, {}),
    "whisper classes": ("WhisperForAudioClassification", "WhisperConfig", {**WHISPER, **CLASSES}, {}),
    "clap": ("ClapModel", "ClapConfig", CLAP, CLAP_SOUNDS),
}  # fmt: skip
SAMPLES = {"wav2vec2": 1600, "wav2vec2 classes": 1600, "hubert": 1600, "wavlm": 1600}
LETTERS = {"<pad>": 0, "<s>": 1, "|": 2, "A": 3, "B": 4, "<unk>": 5}


def saved(folder, family, **changes):
    """Save a network of random weights as a repository, with the settings of its preprocessor; return its name."""
    network, config, settings, preprocessor = FAMILIES[family]
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = getattr(transformers, network)(getattr(transformers, config)(**{**settings, **changes}))
        built.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_resize": True, **preprocessor}))
    if network.endswith("CTC"):
        (folder / "vocab.json").write_text(json.dumps(LETTERS))
    return f"hf/{folder}", built.eval()


def load(name, **options):
    return Plugins(installed=()).load("model", name, **options)


def stimulus(model):
    signal = testing.example_signals(model, 1)[0]
    rate = getattr(model.domain, "sample_rate", None)
    return Stimulus(signal, name="one", sample_rate=rate)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_its_contract_and_has_metamers_at_every_layer(tmp_path, family):
    name, _ = saved(tmp_path, family)
    model = load(name, **({"samples": SAMPLES[family]} if family in SAMPLES else {}))
    testing.check_model(model)
    assert len(model.layers) >= 3
    loss = synthesise(model, [stimulus(model)], steps=4, seed=1)["loss"]
    assert bool(loss.notnull().all())
    blocks = loss.isel(layer=slice(-1))  # the output of random weights hardly depends on the signal
    assert bool((blocks.isel(step=-1) < blocks.isel(step=1)).all())


def test_logits_are_those_of_the_library(tmp_path):
    name, network = saved(tmp_path, "vit")
    model = load(name)
    signals = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(signals), network((signals - 0.5) / 0.5).logits)
    assert model.labels == ("cat", "dog", "owl")
    assert model.layers == ("network.vit.layers.0", "network.vit.layers.1", "output")


@pytest.mark.parametrize("family", ["clip", "siglip", "whisper", "wav2vec2", "hubert"])
def test_features_are_those_of_the_library(tmp_path, family):
    name, network = saved(tmp_path, family)
    model = load(name, **({"samples": 1600} if family in SAMPLES else {}))
    signals = testing.example_signals(model, 2)
    inside = model.module.front_end(signals)
    with torch.no_grad():
        if family in ("clip", "siglip"):
            expected = network.get_image_features(inside).pooler_output
        elif family == "whisper":
            expected = network.model.encoder(inside).last_hidden_state.mean(1)
        elif family == "wav2vec2":
            expected = network(inside).last_hidden_state.mean(1)
        else:
            expected = network(inside).logits.softmax(2)[:, :, [3, 4]].sum(1).log()
        torch.testing.assert_close(model(signals), expected)
    assert model.labels == (("A", "B") if family == "hubert" else None)


@pytest.mark.parametrize(
    ("settings", "size", "value"),
    [
        ({"crop_size": 24, "size": {"shortest_edge": 28}}, (24, 24), 0.0),
        ({"crop_size": 24, "do_center_crop": False, "size": {"height": 20, "width": 28}}, (20, 28), 0.0),
        ({"size": 32, "do_normalize": False}, (32, 32), 0.5),
        ({"size": 32, "image_mean": [0.25] * 3, "image_std": [0.5] * 3}, (32, 32), 0.5),
        ({"size": 32, "do_rescale": False, "image_mean": [0.0] * 3, "image_std": [255.0] * 3}, (32, 32), 0.5),
        ({"size": {"shortest_edge": 24}, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3}, (24, 24), 0.0),
    ],
)
def test_size_and_normalisation_are_those_of_the_preprocessor(tmp_path, settings, size, value):
    name, _ = saved(tmp_path, "dinov2")
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**half, **settings}))
    model = load(name)
    assert model.domain.shape == (3, *size)
    torch.testing.assert_close(model.module.front_end(torch.full((1, 3, 2, 2), 0.5)), torch.full((1, 3, 2, 2), value))


def test_a_repository_without_a_preprocessor_has_the_usual_settings_and_a_note(tmp_path):
    name, _ = saved(tmp_path, "clip")
    (tmp_path / "preprocessor_config.json").unlink()
    model = load(name)
    assert model.domain.shape == (3, 32, 32)
    assert model.module.front_end.mean[0].item() == pytest.approx(0.48145466)
    assert "has no settings of a preprocessor" in model.notes[0]
    whole = {"image_processor": {"crop_size": 32, "image_mean": [0.1] * 3, "image_std": [1.0] * 3}}
    (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    assert load(name, weights="none").module.front_end.mean[0].item() == pytest.approx(0.1)


def test_imagenet_labels_are_in_the_words_of_the_label_space(tmp_path):
    from metamery.plugins.vision.imagenet import imagenet_labels

    words = {number: f"{label}, other words" for number, label in enumerate(imagenet_labels())}
    name, _ = saved(tmp_path, "vit", num_labels=1000, id2label=words, label2id={})
    model = load(name)
    assert model.labels == imagenet_labels()
    assert model.label_space == "imagenet-1k"


def test_options_of_classes(tmp_path):
    name, _ = saved(tmp_path, "vit")
    assert load(name, labels=["a", "b", "c"]).labels == ("a", "b", "c")
    five, same, other = (load(name, num_classes=5, seed=seed) for seed in (1, 1, 2))
    assert five(torch.rand(1, 3, 32, 32)).shape == (1, 5)
    assert five.weights_sha256() == same.weights_sha256() != other.weights_sha256()
    assert load(name, labels=["a", "b"]).labels == ("a", "b")
    with pytest.raises(MetameryError, match="2 labels for 3 classes"):
        load(name, labels=["a", "b"], num_classes=3)
    with pytest.raises(MetameryError, match="prompt names classes by text, which needs labels and a text tower"):
        load(name, prompt="a {}")
    with pytest.raises(MetameryError, match="samples is 3, but it takes pictures"):
        load(name, samples=3)


def test_random_weights(tmp_path):
    name, _ = saved(tmp_path, "convnext")
    (tmp_path / "model.safetensors").unlink()
    before = torch.random.get_rng_state()
    first, same, other = (load(name, weights="none", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.weights_sha256() == same.weights_sha256() != other.weights_sha256()
    with pytest.raises(MetameryError, match=r"has no weights: expected model.safetensors or .*weights=none"):
        load(name)


def test_weights_in_other_files_of_a_repository(tmp_path):
    name, network = saved(tmp_path, "vit")
    expected = load(name).weights_sha256()
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    assert (tmp_path / "model.safetensors.index.json").exists()
    assert load(name).weights_sha256() == expected
    for path in tmp_path.glob("model*"):
        path.unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    assert load(name).weights_sha256() == expected


def test_weights_of_16_bits_are_widened(tmp_path):
    name, network = saved(tmp_path, "vit")
    network.half().save_pretrained(tmp_path)
    model = load(name)
    assert {weight.dtype for weight in model.module.parameters()} == {torch.float32}
    assert torch.equal(model.module.network.classifier.weight, network.classifier.weight.float())
    assert {weight.dtype for weight in load(name, weights="none").module.parameters()} == {torch.float32}


def test_training_draws_only_from_torch(tmp_path):
    name, _ = saved(tmp_path, "wav2vec2", mask_time_prob=0.5, layerdrop=0.9)
    network = load(name, samples=1600, num_classes=2).module.train()
    signals = 0.1 * torch.randn(2, 1600)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = network(signals)
        torch.manual_seed(0)
        assert torch.equal(network(signals), first)
    assert network.network.config.layerdrop == 0


def test_nothing_in_a_repository_runs(tmp_path):
    name, network = saved(tmp_path, "vit")
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    (tmp_path / "model.safetensors").unlink()
    torch.save({**network.state_dict(), "evil": Evil()}, tmp_path / "pytorch_model.bin")
    load(name)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "modeling_mine.py").write_text(f"open({str(ran)!r}, 'w')")
    auto_map = {"auto_map": {"AutoModel": "modeling_mine.Mine", "AutoConfig": "modeling_mine.Config"}}
    (tmp_path / "config.json").write_text(json.dumps({**config, **auto_map}))
    with pytest.raises(MetameryError, match=r"comes with Python code of its own, which is never run; a file.py:build"):
        load(name)
    assert not ran.exists()


def test_a_file_of_weights(tmp_path):
    name, _ = saved(tmp_path / "a", "vit")
    _, other = saved(tmp_path / "b", "vit", num_labels=4, id2label=None, label2id=None)
    state = {f"module.{key}": value + 1 for key, value in other.state_dict().items()}
    torch.save({"model": state}, tmp_path / "mine.pt")
    model = load(name, weights=str(tmp_path / "mine.pt"))
    assert torch.equal(model.module.network.classifier.bias, state["module.classifier.bias"])
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 4)
    assert model.labels is None
    assert "tensors of 'mine.pt', entry 'model'" in model.notes[0]
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(MetameryError, match=r"other.pt' holds weights of another network than hf/"):
        load(name, weights=str(tmp_path / "other.pt"))
    with pytest.raises(UnknownNameError, match=r"unknown weights of hf/.*'best'"):
        load(name, weights="best")


def test_a_file_with_the_names_that_repositories_have(tmp_path):
    from safetensors.torch import load_file, save_file

    name, _ = saved(tmp_path / "a", "vit encoder")
    expected = load(name).weights_sha256()
    state = load_file(tmp_path / "a" / "model.safetensors")
    assert any(key.startswith("encoder.layer.0.") for key in state)
    (tmp_path / "a" / "model.safetensors").rename(tmp_path / "mine.safetensors")
    with pytest.warns(UserWarning, match=r"also holds 2 tensors \(pooler.dense.bias, pooler.dense.weight\)"):
        assert load(name, weights=str(tmp_path / "mine.safetensors")).weights_sha256() == expected
    del state["layernorm.weight"]
    save_file(state, tmp_path / "a" / "model.safetensors")
    with pytest.raises(MetameryError, match=r"do not fit .*: 1 tensors of ViTModel are missing .*layernorm.weight"):
        load(name)


def edited(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json, which says what network it is"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json is a list, expected a table"),
        (
            lambda folder: edited(folder, model_type="vit_mine"),
            "unknown kind of network in .* 'vit_mine'; did you mean",
        ),
        (lambda folder: edited(folder, hidden_size="many"), "no network can be built from its settings"),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"size": 24}'),
            r"size \(24\*24\) doesn't match model",
        ),
        (lambda folder: edited(folder, intermediate_size=8), "of ViTForImageClassification are missing or of another"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"<html>"), "it is a web page"),
    ],
)
def test_repositories_that_cannot_be_used_are_one_line(tmp_path, spoil, message):
    name, _ = saved(tmp_path, "vit")
    spoil(tmp_path)
    with pytest.raises(MetameryError, match=message) as raised:
        load(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf/./nowhere", "hf/./nowhere: there is no such folder"),
        ("hf/one/two/three", "'one/two/three' is not a repository's name: expected hf/OWNER/NAME"),
        ("hf/owner/name", "hf/owner/name is not in the cache of the hub, and HF_HUB_OFFLINE forbids a download"),
    ],
)
def test_repositories_that_are_not_there(monkeypatch, tmp_path, name, message):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MetameryError, match=re.escape(message)):
        load(name)


def test_the_cache_of_the_hub_is_used(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--owner--name"
    snapshot = cached / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    folder, _ = saved(snapshot, "vit")
    model = load("hf/owner/name")
    assert model.weights_sha256() == load(folder).weights_sha256()
    assert [*model.notes] == [f"hf/owner/name at commit {commit}"]
    with pytest.raises(MetameryError, match="hf/owner/name is not in the cache of the hub"):
        load("hf/owner/name", revision="v2")
    with pytest.raises(MetameryError, match="revision is 'v2', which a folder does not have"):
        load(folder, revision="v2")


def test_a_shorter_window_of_whisper_has_the_first_positions(tmp_path):
    name, network = saved(tmp_path, "whisper")
    model = load(name, samples=3200)
    assert model.domain.shape == (3200,)
    testing.check_model(model)
    positions = network.model.encoder.embed_positions.weight
    assert torch.equal(model.module.network.embed_positions.weight, positions[:10])
    for samples, message in ((3201, "a multiple of 320"), (32000, "at most 16000"), (0, "at least 320")):
        with pytest.raises(MetameryError, match=message):
            load(name, samples=samples)


def with_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<start>", "<end>", "a", "photo", "of", "cat", "dog", "This", "is", "sound", ".", "<unk>"]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return fast


@pytest.mark.parametrize("family", ["clip", "siglip", "clap"])
def test_classes_by_their_texts(tmp_path, family):
    name, network = saved(tmp_path, family)
    with pytest.raises(MetameryError, match=r"has no tokenizer, for labels by text: expected tokenizer.json or"):
        load(name, labels=["cat", "dog"])
    tokenizer = with_tokenizer(tmp_path)
    model = load(name, labels=["cat", "dog"])
    assert model.labels == ("cat", "dog")
    testing.check_model(model)
    signals = testing.example_signals(model, 2)
    prompt = "This is a sound of {}." if family == "clap" else "a photo of a {}."
    padding = {"padding": "max_length", "max_length": 16} if family == "siglip" else {"padding": True}
    tokens = tokenizer([prompt.format(label) for label in model.labels], return_tensors="pt", **padding)
    inside = model.module.front_end(signals)
    with torch.no_grad():
        if family == "clap":
            expected = network(input_ids=tokens.input_ids, input_features=inside).logits_per_audio
        else:
            expected = network(input_ids=tokens.input_ids, pixel_values=inside).logits_per_image
        torch.testing.assert_close(model(signals), expected, rtol=1e-4, atol=1e-4)
    other = load(name, labels=["cat", "dog"], prompt="dog {}")
    assert not torch.equal(other.module.head.texts, model.module.head.texts)
    with pytest.raises(MetameryError, match=r"prompt is 'a cat', expected text with \{\} where the label belongs"):
        load(name, labels=["cat", "dog"], prompt="a cat")
    with pytest.raises(MetameryError, match="1 labels, expected two or more"):
        load(name, labels=["cat"])
