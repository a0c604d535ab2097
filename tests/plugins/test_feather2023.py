"""The networks of Feather et al. (2023): containers as their files are, of random weights, give the plain networks.

No warning is raised: each tensor of a container is used, or known not to be a weight.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill
import pytest
import torch
from metamery.framework import MetameryError, Model, Plugins
from metamery.plugins.antialias.lowpass_alexnet import LowpassAlexNet
from metamery.plugins.audio import cochcnn9, cochresnet50
from metamery.plugins.audio.cochleagram import Cochleagram
from metamery.plugins.feather2023.family import SOUND_NETWORKS, releases
from torch import nn
from torch.nn import functional as F
from torchvision import models

NORMALISED = {"new_mean": torch.full((3, 1, 1), 0.4), "new_std": torch.full((3, 1, 1), 0.25)}


@pytest.fixture(scope="module")
def load() -> Callable[..., Model]:
    plugins = Plugins(installed=())
    return lambda name, **options: plugins.load("model", f"feather2023/{name}", **options)


def with_prefix(prefix: str, tensors: Any) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def robust_file(path: Path, state: Any, normalised: Any = NORMALISED, *, old: bool = False, inside: str = "") -> str:
    """Write what the library robustness writes: the network, the attacker's copy, both with their normalisation."""
    normaliser, attackers = ("normalizer.", "normalize.") if old else ("preproc.normalize.",) * 2
    content = {
        **with_prefix(f"module.{normaliser}", normalised),
        **with_prefix(f"module.model.{inside}", state),
        **with_prefix(f"module.attacker.{attackers}", normalised),
        **with_prefix(f"module.attacker.model.{inside}", state),
    }
    schedule = lambda epoch: 0.1 ** (epoch // 50)  # noqa: E731
    torch.save({"model": content, "epoch": 119, "schedule": schedule}, path, pickle_module=dill)
    return str(path)


def pictures(side: int = 224) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def noise() -> torch.Tensor:
    return 0.1 * torch.randn(1, 40_000, generator=torch.Generator().manual_seed(0))


def test_every_network_has_a_file_and_the_papers_layers() -> None:
    assert len(releases()) == 44
    assert len({release.file for release in releases().values()}) == 44
    assert {release.architecture.network for release in releases().values()} >= {"cochcnn9", "lowpass-alexnet"}
    for name in ("kell2018", "cochresnet50"):
        known = (cochcnn9 if name == "kell2018" else cochresnet50).LAYERS
        assert tuple(releases()[name].architecture.layers.values()) == known


def test_the_documents_table_is_complete() -> None:
    page = (Path(__file__).parents[2] / "docs" / "from-model-metamers-pytorch.md").read_text(encoding="utf-8")
    for name, release in releases().items():
        assert f"| `{name}` | `{release.architecture.network}` | `{release.file}` |" in page
        for paper, own in release.architecture.layers.items():
            assert (f"`{paper}`" if paper == own else f"`{paper}` → `{own}`") in page


@pytest.mark.parametrize(
    "network", sorted({each.architecture.network for each in releases().values()} - {*SOUND_NETWORKS})
)
def test_the_papers_layers_are_parts_of_the_network(network: str) -> None:
    if network.startswith("timm/"):
        pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    from metamery.plugins.feather2023.family import _builder

    with torch.device("meta"):
        built = _builder(network, network)(10)
    parts = {name for name, _ in built.named_modules()} | {"output"}
    layers = next(each for each in releases().values() if each.architecture.network == network).architecture.layers
    assert {*layers.values()} <= parts


@pytest.mark.parametrize("old", [True, False], ids=["robustness", "model_metamers_pytorch"])
def test_a_robust_resnet50(load: Callable[..., Model], tmp_path: Path, old: bool) -> None:
    network = models.resnet50().eval()
    model = load("resnet50_l2_3_robust", weights=robust_file(tmp_path / "w.pt", network.state_dict(), old=old))
    with torch.no_grad():
        assert torch.equal(model(pictures()), network((pictures() - 0.4) / 0.25))
    assert model.layers == ("relu", "layer1", "layer2", "layer3", "layer4", "avgpool", "output")
    assert model.label_space == "imagenet-1k"
    assert model.notes == ("weights: 320 tensors of 'w.pt', entry 'model'",)


@pytest.mark.slow
def test_an_alexnet_trained_on_stylized_imagenet(load: Callable[..., Model], tmp_path: Path) -> None:
    network = models.alexnet().eval()
    state = {name.replace("features.", "features.module."): each for name, each in network.state_dict().items()}
    torch.save({"state_dict": state, "arch": "alexnet"}, tmp_path / "w.pth.tar")
    model = load("texture_shape_alexnet_trained_on_SIN", weights=str(tmp_path / "w.pth.tar"))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        normalised = (pictures() - mean[:, None, None]) / std[:, None, None]
        assert torch.allclose(model(pictures()), network(normalised), atol=1e-6)


@pytest.mark.slow
def test_the_lowpass_alexnet(load: Callable[..., Model], tmp_path: Path) -> None:
    network = LowpassAlexNet().eval()
    state = {name.replace("features.0.", "features.0.0."): each for name, each in network.state_dict().items()}
    state |= {f"features.{part}.hann_window2d": torch.ones(1, 1, 7, 7) for part in ("0.2", "2", "5", "12")}
    model = load("alexnet_reduced_aliasing_early_checkpoint", weights=robust_file(tmp_path / "w.pt", state))
    with torch.no_grad():
        assert torch.equal(model(pictures()), network((pictures() - 0.4) / 0.25))


@pytest.mark.slow
@pytest.mark.parametrize("inside", ["1.", ""], ids=["cochleagram in the network", "cochleagram before it"])
@pytest.mark.parametrize("name", ["kell2018_l2_1_robust_waveform", "cochresnet50_l2_1_robust_cochleagram"])
def test_a_network_of_sounds(load: Callable[..., Model], tmp_path: Path, name: str, inside: str) -> None:
    network = (
        cochcnn9.network(Cochleagram(), 794)
        if name.startswith("kell")
        else cochresnet50.CochResNet50(Cochleagram(), 794)
    ).eval()
    state = dict(network.state_dict())
    normalised = {"new_mean": torch.zeros(1, 1, 1), "new_std": torch.ones(1, 1, 1)}
    file = robust_file(tmp_path / "w.pt", state, normalised, inside=inside)
    content = torch.load(file, pickle_module=dill, weights_only=False)
    front_end = "module.model.0." if inside else "module.preproc.audio_preproc."
    content["model"][f"{front_end}full_rep.rep.coch_filters"] = torch.ones(2, 3)
    torch.save(content, file, pickle_module=dill)
    model = load(name, weights=file)
    with torch.no_grad():
        assert torch.equal(model(noise()), network(noise()))
    assert model.labels is None


@pytest.mark.slow
def test_the_supervised_alexnet_gn_and_the_contrastive_one(load: Callable[..., Model], tmp_path: Path) -> None:
    for name, width, space in (
        ("ref01_primary_model", 128, "category"),
        ("ref12_supervised_ipcl_aug", 1000, "imagenet-1k"),
    ):
        torch.manual_seed(0)
        convolution = lambda *sizes: nn.Conv2d(*sizes, bias=False)  # noqa: E731
        block = lambda conv, channels: [conv, nn.GroupNorm(32, channels), nn.ReLU()]  # noqa: E731
        pool = nn.MaxPool2d(3, 2)
        network = nn.Sequential(OrderedDict(
            conv_block_1=nn.Sequential(*block(convolution(3, 96, 11, 4, 2), 96), pool),
            conv_block_2=nn.Sequential(*block(convolution(96, 256, 5, 1, 2), 256), pool),
            conv_block_3=nn.Sequential(*block(convolution(256, 384, 3, 1, 1), 384)),
            conv_block_4=nn.Sequential(*block(convolution(384, 384, 3, 1, 1), 384)),
            conv_block_5=nn.Sequential(*block(convolution(384, 256, 3, 1, 1), 256), pool),
            flat=nn.Flatten(),
            fc6=nn.Sequential(nn.Linear(9216, 4096), nn.BatchNorm1d(4096), nn.ReLU()),
            fc7=nn.Sequential(nn.Linear(4096, 4096), nn.BatchNorm1d(4096), nn.ReLU()),
            fc8=nn.Sequential(nn.Linear(4096, width)),
        )).eval()  # fmt: skip
        torch.save({"state_dict": with_prefix("module.", network.state_dict())}, tmp_path / "w.pth.tar")
        model = load(f"konkle_alexnetgn_ipcl_{name}", weights=str(tmp_path / "w.pth.tar"))
        with torch.no_grad():
            assert torch.equal(model(pictures()), network(model.module.normalise(pictures())))
        assert model.label_space == space


class Clip(nn.Module):
    """The vision transformer of CLIP as OpenAI's code has it, with its names."""

    def __init__(self, width: int = 768, blocks: int = 12, out: int = 512) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 32, 32, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(50, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(self.block(width) for _ in range(blocks))
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, out) / width**0.5)

    def block(self, width: int) -> nn.Module:
        block = nn.Module()
        block.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        block.ln_1, block.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        fully = OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=nn.Identity(), c_proj=nn.Linear(4 * width, width))
        block.mlp = nn.Sequential(fully)
        return block

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        tokens = self.conv1(signals).flatten(2).mT
        tokens = torch.cat([self.class_embedding.expand(len(tokens), 1, -1), tokens], 1) + self.positional_embedding
        tokens = self.ln_pre(tokens)
        for block in self.transformer.resblocks:
            inside = block.ln_1(tokens)
            tokens = tokens + block.attn(inside, inside, inside, need_weights=False)[0]
            inside = block.mlp.c_fc(block.ln_2(tokens))
            tokens = tokens + block.mlp.c_proj(inside * torch.sigmoid(1.702 * inside))
        return self.ln_post(tokens[:, 0]) @ self.proj


@pytest.mark.slow
def test_the_visual_tower_of_clip(load: Callable[..., Model], tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed (metamery[timm])")
    torch.manual_seed(0)
    network = Clip().eval()
    text = {"transformer.resblocks.0.ln_1.weight": torch.ones(512), "logit_scale": torch.tensor(4.6)}
    torch.save({**with_prefix("visual.", network.state_dict()), **text}, tmp_path / "w.pt")
    model = load("CLIP_ViT-B_32", weights=str(tmp_path / "w.pt"))
    with torch.no_grad():
        found, expected = model(pictures()), network(model.module.normalise(pictures()))
    assert F.cosine_similarity(found, expected).item() > 1 - 1e-6
    assert torch.allclose(found, expected, atol=1e-4 * expected.abs().max().item())
    assert model.labels is None
    assert model.module.normalise.mean.flatten().tolist() == pytest.approx([0.48145466, 0.4578275, 0.40821073])


def test_without_a_file_it_says_which(load: Callable[..., Model]) -> None:
    with pytest.raises(MetameryError, match=r"weights=FILE: 'kell2018_wsn_word.pt' of pytorch_metamers_audio_model_"):
        load("kell2018")
    with pytest.raises(MetameryError, match=r"'cochresnet5'; did you mean 'cochresnet50'"):
        load("cochresnet5")
