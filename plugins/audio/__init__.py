"""Bundled audio networks, sounds, perturbations and recipes. Hooks only: what they name is imported on first use."""

from __future__ import annotations

from ...framework.hookspecs import hookimpl
from ...framework.registry import Register

_HERE = "metamery.plugins.audio"


@hookimpl
def register_models(register: Register) -> None:
    register(
        "cochcnn9",
        f"{_HERE}.cochcnn9:cochcnn9",
        summary="CochCNN9 on a cochleagram of 2 s at 20 kHz (Feather et al. 2023), to be trained",
    )
    register(
        "cochcnn9-hann",
        f"{_HERE}.cochcnn9:cochcnn9_hann",
        summary="CochCNN9 with Hann windows in place of strides and pools (Feather et al. 2019), to be trained",
    )
    register(
        "cochresnet50",
        f"{_HERE}.cochresnet50:cochresnet50",
        summary="ResNet50 on a cochleagram of 2 s at 20 kHz (Feather et al. 2023), to be trained",
    )
    register(
        "cochresnet50-hann",
        f"{_HERE}.cochresnet50:cochresnet50_hann",
        summary="ResNet50 on a cochleagram with Hann windows in place of strides and max pool, to be trained",
    )
    register(
        "coch-cnn-digits",
        f"{_HERE}.coch_cnn_digits:coch_cnn_digits",
        summary="five convolutions on a cochleagram of 1 s at 8 kHz; weights for spoken digits, no download",
        licence="CC-BY-SA-4.0",
    )
    register(
        "coch-cnn-digits-adversarial",
        f"{_HERE}.coch_cnn_digits:coch_cnn_digits_adversarial",
        summary="coch-cnn-digits with weights trained on adversarial cochleagrams (PGD)",
        licence="CC-BY-SA-4.0",
    )
    register(
        "coch-cnn-digits-hann",
        f"{_HERE}.coch_cnn_digits:coch_cnn_digits_hann",
        summary="coch-cnn-digits with Hann windows in place of its max pools; weights for spoken digits",
        licence="CC-BY-SA-4.0",
    )
    for name, size in (("crepe", "22.2"), ("crepe-tiny", "0.49")):
        register(
            name,
            f"{_HERE}.crepe:{name.replace('-', '_')}",
            summary=f"CREPE, for the pitch of 64 ms of sound; {size} million weights from a package, no download",
            licence="MIT",
            extra="crepe",
        )
    register(
        "torchaudio/",
        f"{_HERE}.torchaudio_models:torchaudio_model",
        summary="torchaudio's speech networks by name; weights are downloaded, or random with weights=none",
        names=f"{_HERE}.torchaudio_models:torchaudio_model_names",
    )


@hookimpl
def register_stimuli(register: Register) -> None:
    register(
        "spoken-digits",
        f"{_HERE}.spoken_digits:spoken_digits",
        summary="the ten digits in two voices, speech synthesised by metamery; no download",
        licence="CC0-1.0",
    )
    register(
        "torchaudio/",
        f"{_HERE}.torchaudio_data:torchaudio_data",
        summary="torchaudio's labelled data sets by name, downloaded into root",
        names=f"{_HERE}.torchaudio_data:torchaudio_data_names",
    )


@hookimpl
def register_perturbations(register: Register) -> None:
    module = f"{_HERE}.perturbations"
    register("background", f"{module}:background", "background noise, at a signal-to-noise ratio drawn for each sound")
    register("gain", f"{module}:gain", "each sound made louder or softer by a random number of dB")


@hookimpl
def register_evaluators(register: Register) -> None:
    register(
        "accuracy-in-noise",
        f"{_HERE}.accuracy_in_noise:accuracy_in_noise",
        "accuracy of models on sounds in noise, by signal-to-noise ratio",
    )


@hookimpl
def register_recipes(register: Register) -> None:
    module = f"{_HERE}.recipes"
    register("sound-in-noise", f"{module}:sound_in_noise", "on sounds in noise at −10 to 10 dB")
    for norm, size in (("l2", "L2 1"), ("linf", "Linf 0.002")):
        register(
            f"adversarial-waveform-{norm}",
            f"{module}:adversarial_waveform_{norm}",
            f"on adversarial waveforms (PGD, {size}), in noise (Feather et al. 2023)",
        )
        register(
            f"random-waveform-{norm}",
            f"{module}:random_waveform_{norm}",
            f"on waveforms with random perturbations of {size}: the control of adversarial-waveform-{norm}",
        )
    register(
        "adversarial-cochleagram-l2",
        f"{module}:adversarial_cochleagram_l2",
        "on adversarial cochleagrams (PGD, L2 1), in noise (Feather et al. 2023)",
    )
    register(
        "random-cochleagram-l2",
        f"{module}:random_cochleagram_l2",
        "on cochleagrams with random perturbations of L2 1: the control of adversarial-cochleagram-l2",
    )
    register("word-standard", f"{module}:word_standard", "sound-in-noise with the batches and rate of CochResNet50")
    for kind in ("waveform-l2", "waveform-linf", "cochleagram-l2"):
        for training in ("adversarial", "random"):
            register(
                f"word-{training}-{kind}",
                f"{module}:word_{training}_{kind.replace('-', '_')}",
                f"{training}-{kind} with the batches and rate of CochResNet50 (Feather et al. 2023)",
            )
