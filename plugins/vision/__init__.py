"""Bundled vision networks and pictures. Hooks only: what they name is imported on first use."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register

_HERE = "metamery.plugins.vision"


@hookimpl
def register_models(register: Register) -> None:
    for size, pixels in enumerate((224, 240, 260)):
        register(
            f"efficientnet-lite{size}",
            f"{_HERE}.efficientnet:efficientnet_lite{size}",
            summary=f"EfficientNet-Lite{size}, {pixels} px, ImageNet-1k; weights from a package, no download",
            licence="Apache-2.0",
            extra="demo",
        )
    register(
        "small-cnn",
        f"{_HERE}.small_cnn:small_cnn",
        summary="four convolutions for 32 × 32 pictures, to be trained in minutes on two cores",
    )
    for depth, weights in ((20, 0.27), (32, 0.46), (56, 0.85)):
        register(
            f"cifar-resnet{depth}",
            f"{_HERE}.cifar_resnets:cifar_resnet{depth}",
            summary=f"ResNet-{depth} for 32 × 32 pictures (He et al. 2015), {weights} million weights, to be trained",
        )
    register(
        "preact-resnet18",
        f"{_HERE}.cifar_resnets:preact_resnet18",
        summary="PreActResNet-18 for 32 × 32 pictures (He et al. 2016), 11.17 million weights, to be trained",
    )
    register(
        "torchvision/",
        f"{_HERE}.torchvision_models:torchvision_model",
        summary="torchvision's classification networks by name; weights are downloaded, or random with weights=none",
        names=f"{_HERE}.torchvision_models:torchvision_model_names",
    )
    register(
        "timm/",
        f"{_HERE}.timm_models:timm_model",
        summary="timm's networks by name; weights are downloaded, or random with weights=none",
        names=f"{_HERE}.timm_models:timm_model_names",
        extra="timm",
    )


@hookimpl
def register_stimuli(register: Register) -> None:
    register(
        "natural",
        f"{_HERE}.natural:natural",
        summary="scikit-image's photographs, with their correct ImageNet labels; no download",
        extra="demo",
    )
    register(
        "torchvision/",
        f"{_HERE}.torchvision_data:torchvision_data",
        summary="torchvision's labelled data sets by name, downloaded into root",
        names=f"{_HERE}.torchvision_data:torchvision_data_names",
    )
