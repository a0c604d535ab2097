"""Networks of Hugging Face's transformers and of OpenCLIP. Hooks only: what they name is imported on first use."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register

_HERE = "metamery.plugins.huggingface"


@hookimpl
def register_models(register: Register) -> None:
    register(
        "hf/",
        f"{_HERE}.models:hf_model",
        summary="networks of transformers, hf/OWNER/NAME from the hub or hf/./FOLDER; no code of a repository runs",
        extra="huggingface",
    )
    register(
        "open_clip/",
        f"{_HERE}.open_clip_models:open_clip_model",
        summary="image towers of OpenCLIP, open_clip/NAME/TAG; with labels, classes by their texts (zero-shot)",
        names=f"{_HERE}.open_clip_models:open_clip_model_names",
        extra="open-clip",
    )
