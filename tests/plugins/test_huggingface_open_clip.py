"""OpenCLIP's image towers, on a tiny architecture; nothing is downloaded."""

import logging

import pytest
import torch
from metamery.framework import MetameryError, Plugins, testing
from metamery.framework.errors import UnknownNameError

open_clip = pytest.importorskip("open_clip", reason="open_clip_torch is not installed (metamery[open-clip])")

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIGS", {**factory._MODEL_CONFIGS, "tiny": TINY})
    return lambda name, **options: Plugins(installed=()).load("model", name, **options)


def test_the_embedding(load):
    model, same, other = (load("open_clip/tiny", weights="none", seed=seed) for seed in (1, 1, 2))
    testing.check_model(model)
    assert model.layers == ("network.transformer.resblocks.0", "network.transformer.resblocks.1", "output")
    assert model.domain.shape == (3, 32, 32)
    assert model.encoder
    assert model.weights_sha256() == same.weights_sha256() != other.weights_sha256()
    assert model.module.front_end.mean[0].item() == pytest.approx(0.48145466)
    assert logging.root.manager.disable == logging.NOTSET


def test_classes_by_their_texts_are_those_of_the_library(load, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = open_clip.create_model("tiny", load_weights=False).eval()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "clip.pt")
    model = load("open_clip/tiny", weights=str(tmp_path / "clip.pt"), labels=["cat", "dog", "owl"])
    assert model.labels == ("cat", "dog", "owl")
    testing.check_model(model)
    assert "entry 'state_dict'" in model.notes[0]
    signals = torch.rand(2, 3, 32, 32)
    tokens = open_clip.get_tokenizer("tiny")([f"a photo of a {label}." for label in model.labels])
    with torch.no_grad():
        images, texts, scale = network(model.module.front_end(signals), tokens)[:3]
        torch.testing.assert_close(model(signals), scale * images @ texts.T, rtol=1e-4, atol=1e-4)


def test_a_read_out_to_be_trained(load):
    model = load("open_clip/tiny", weights="none", num_classes=4, labels=["a", "b", "c", "d"])
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 4)
    assert model.labels == ("a", "b", "c", "d")


def test_names_and_options_are_checked(load, monkeypatch):
    with pytest.raises(UnknownNameError, match="unknown OpenCLIP network 'ViT-B-33'; did you mean 'ViT-B-32'"):
        load("open_clip/ViT-B-33/openai")
    with pytest.raises(
        UnknownNameError, match="unknown weights of open_clip/ViT-B-32: 'openia'; did you mean 'openai'"
    ):
        load("open_clip/ViT-B-32/openia")
    with pytest.raises(
        MetameryError, match=r"ViT-B-32 names no weights: expected .*/TAG, such as .*/openai; weights=none"
    ):
        load("open_clip/ViT-B-32")
    with pytest.raises(MetameryError, match="prompt names classes by text, which needs labels"):
        load("open_clip/tiny", weights="none", prompt="a {}")
    with pytest.raises(MetameryError, match="1 labels, expected two or more"):
        load("open_clip/tiny", weights="none", labels=["cat"])
    assert (
        "open_clip/ViT-B-32/openai" in Plugins(installed=()).find("model", "open_clip/ViT-B-32/openai").entry.members()
    )

    def fail(*_arguments, **_options):
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "create_model", fail)
    with pytest.raises(
        MetameryError, match=r"ViT-B-32/openai cannot be built or downloaded \(no network\); weights=none"
    ):
        load("open_clip/ViT-B-32/openai")
