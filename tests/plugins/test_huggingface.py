"""Networks of transformers: tiny ones made from configurations, saved and loaded by path; nothing is downloaded."""

import json

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
