"""Making a card: an ordinary study and its evaluations in a folder beside the card, which a second call resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...framework.choosing import spaced_layers
from ...framework.context import Context
from ...framework.contract import examine
from ...framework.devices import here
from ...framework.errors import MetameryError
from ...framework.folders import check_output
from ...framework.manager import Plugins, own_version, short
from ...framework.models import Model
from ...framework.progress import Progress
from ...framework.registry import absolute
from ...framework.replacing import replaced, writing_to
from ...framework.results import open_study
from ...framework.stimuli import Stimuli
from ...framework.study import ModelReference, Reference, Study, load_stimuli
from ..recognition.evaluator import shared_labels
from ..recognition.labels import Labels
from ..report import write_report
from ..studies.batches import graded
from ..studies.evaluate import evaluate
from ..studies.run_study import run_study
from . import protocol
from .contents import Card
from .page import page_of
from .results import card_of

REPORT = "report.html"
"""Name of the page that `write_report` writes into a study's folder."""

SUFFIXES = (".html", ".json", "")
"""Suffixes of the file that a card is asked for as; both its page and its JSON file are written."""


@dataclass(frozen=True)
class Plan:
    """What a card takes: its study, and the evaluators with their options.

    Parameters
    ----------
    study, evaluations
        What is made and measured.
    labels
        Categories in which the jury answers; None for each network's own classes.
    jury
        The networks of the jury by qualified name.
    are_bundled
        Whether the stimuli are the protocol's own.
    """

    study: Study
    evaluations: Mapping[str, Mapping[str, Any]]
    labels: Labels | None
    jury: Mapping[str, Model]
    are_bundled: bool


def make_card(
    model: str,
    jury: Sequence[str],
    file: str | Path,
    *,
    stimuli: Reference | None = None,
    labels: str = "",
    options: Mapping[str, Any] | None = None,
    plugins: Plugins | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Card:
    """Make the card of a network, or what is missing of one.

    Parameters
    ----------
    model
        Name of the network, ``FILE.py:FUNCTION`` or a run's folder.
    jury
        Names of other networks, which recognise its metamers.
    file
        The page, ``NAME.html``. Beside it are written the numbers, ``NAME.json``, and the study that they are from,
        ``NAME.study``, which the same call resumes.
    stimuli
        Natural signals, which are those of the null, too; by default the bundled ones.
    labels
        Categories in which the jury answers, as for the evaluator ``recognition``; by default each network's classes.
    options
        Options of the network.
    plugins
        Plugins in which names are looked up; all that are installed by default.
    device
        Device to compute on.
    progress
        Display of the progress.

    Returns
    -------
    Card
        What the JSON file holds.

    Raises
    ------
    MetameryError
        A name is unknown; the jury is empty, names a network twice or contains the network itself, or one of its
        members takes other signals or knows no right answer; or the folder holds the study of another card.
    """
    plugins, page = plugins or Plugins(), page_file(file)
    model, jury = absolute(model), [absolute(each) for each in jury]
    plugins.trust.give([model, *jury])
    folder = page.with_suffix(".study")
    asked = plan(model, jury, stimuli=stimuli, labels=labels, options=options, plugins=plugins)
    check_output(folder, "study")
    with writing_to(page.parent):
        page.parent.mkdir(parents=True, exist_ok=True)
    progress = progress or Progress()
    run_study(asked.study, folder, plugins, device, progress)
    left = unmeasured(folder, asked)
    for name in left:
        evaluate(
            name,
            folder,
            options=asked.evaluations[name],
            plugins=plugins,
            output=folder,
            seed=protocol.SEED,
            device=here(torch.device(device)),
            progress=progress,
        )
    if left or not (folder / REPORT).is_file():
        write_report(folder)
    with open_study(folder) as tree:
        card = card_of(tree, asked.labels, asked.jury, asked.are_bundled)
        text = page_of(card, tree, f"{folder.name}/{REPORT}")
    for path, content in ((page, text), (page.with_suffix(".json"), card.to_json())):
        with writing_to(page.parent), replaced(path) as partial:
            partial.write_text(content, encoding="utf-8")
    return card


def page_file(file: str | Path) -> Path:
    """Return the page that a card is asked for as: ``NAME.html``, also for ``NAME.json`` and ``NAME``.

    Raises
    ------
    MetameryError
        It has another suffix, or is a folder.
    """
    path = Path(file)
    if path.is_dir():
        raise MetameryError(f"'{file}' is a folder, expected a file such as card.html")
    if path.suffix not in SUFFIXES or not path.stem:
        raise MetameryError(f"'{file}' ends in '{path.suffix or path.name}', expected a file such as card.html")
    return path.with_suffix(".html")


def plan(
    model: str,
    jury: Sequence[str],
    *,
    stimuli: Reference | None = None,
    labels: str = "",
    options: Mapping[str, Any] | None = None,
    plugins: Plugins,
) -> Plan:
    """Load all networks, check that a card can be made, and return what it takes; see `make_card`."""
    name, members = plugins.find("model", model).qualified, [plugins.find("model", each).qualified for each in jury]
    if not members:
        raise MetameryError("a card needs a jury: networks that recognise the metamers, other than the network itself")
    if name in members:
        raise MetameryError(f"the jury contains the network itself, '{short(name)}': expected other networks")
    if again := next((each for each in members if members.count(each) > 1), None):
        raise MetameryError(f"the jury names '{short(again)}' twice, expected different networks")
    network: Model = plugins.load("model", model, **(options or {}))
    judges: dict[str, Model] = {}
    for member, given in zip(members, jury, strict=True):
        judges[member] = plugins.load("model", given)
        if judges[member].domain.kind != network.domain.kind:
            kinds = f"{judges[member].domain.kind}s, '{short(name)}' takes {network.domain.kind}s"
            raise MetameryError(f"'{short(member)}' of the jury takes {kinds}")
        if judges[member].weights_sha256() == network.weights_sha256():
            raise MetameryError(f"the jury contains the network itself: '{short(member)}' has the weights of '{name}'")
    categories = shared_labels(labels) if labels else None
    kind = network.domain.kind
    layers = spaced_layers(network, protocol.LAYERS)
    asked = protocol.study(ModelReference(model, layers, options or {}), kind, stimuli)
    signals = load_stimuli(plugins, asked.stimuli)
    _check_answers(network, name, judges, categories, signals)
    examine(network, layers)
    measured = protocol.evaluations(kind, network.domain.unit, jury, labels, len(signals))
    return Plan(asked, measured, categories, judges, stimuli is None)


def _check_answers(
    network: Model, name: str, judges: Mapping[str, Model], categories: Labels | None, stimuli: Stimuli
) -> None:
    """Raise `MetameryError` unless the network and each of its judges know a right answer to some stimulus."""
    graded(Context({short(name): network, **({} if categories else judges)}, stimuli))
    if categories is not None:
        answers = {judge: {*categories.answers(judge, model)} for judge, model in judges.items()}
        for stimulus in stimuli:
            right = categories.shown_by(stimulus)
            answers = {judge: own for judge, own in answers.items() if not right & own}
        for judge in answers:
            raise MetameryError(f"none of the stimuli shows one of '{categories.name}' that '{short(judge)}' knows")


def unmeasured(folder: Path, asked: Plan) -> list[str]:
    """Return the evaluators of a plan whose results a study lacks, or has of other options, judges or versions."""
    weights = {model.weights_sha256() for model in asked.jury.values()}
    with open_study(folder) as tree:
        attributes = {name: tree[name].attrs for name in asked.evaluations if name in tree.children}
    left = []
    for name, options in asked.evaluations.items():
        about = attributes.get(name, {})
        wanted = {
            "options": json.dumps(dict(options)),
            "seed": protocol.SEED,
            "metamery_version": own_version(),
            "torch_version": torch.__version__,
        }
        is_current = all(about.get(key) == value for key, value in wanted.items())
        if not is_current or not weights <= {*about.get("recognisers_sha256", weights)}:
            left.append(name)
    return left
