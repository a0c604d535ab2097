"""Networks that blur before they subsample: any network by surgery (`antialiased`), and LowpassAlexNet."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register


@hookimpl
def register_models(register: Register) -> None:
    register(
        "antialias/",
        "metamery.plugins.antialias.family:antialiased_by_name",
        summary="any network with a blur before it subsamples: antialias/blur3/MODEL, blur5 or hann",
    )
    register(
        "lowpass-alexnet",
        "metamery.plugins.antialias.lowpass_alexnet:lowpass_alexnet",
        summary="AlexNet with Hann windows in place of strides and max pools (Feather et al. 2023), to be trained",
    )
