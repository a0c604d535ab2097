"""Making an experiment from a study: a folder to be served, and its key, which is not."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import secrets
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...framework.claims import work
from ...framework.errors import MetameryError
from ...framework.folders import EXPERIMENT_FILE, check_input, check_output
from ...framework.limits import check_disk
from ...framework.model_results import models_of
from ...framework.owners import abandoned, clear, scratch
from ...framework.progress import Progress
from ...framework.remote import on_disk
from ...framework.replacing import writing_to
from ...framework.results import open_study
from ..studies.damage import check_natural, damages, without_lost
from ..studies.evaluate import study_context
from . import drawings
from .allocation import allocate, in_blocks, number_of_lists
from .conditions import shown
from .headphones import TESTS
from .jatos import write_jzip
from .key import KEY_FILE, NATURAL, Item, Key
from .media import Wanted, pictures, sound_files, sounds
from .page import write_page
from .plan import KINDS, Extra, Plan, make_plan
from .records import PARTS
from .resolving import resolve
from .returning import verdicts
from .settings import PLACEHOLDER, ExperimentSettings
from .sounds import SoundFiles
from .summary import most_bytes, summary

if TYPE_CHECKING:
    from ...framework.manager import Plugins
    from .summary import Summary

NAMESPACE = uuid.UUID("f0e0ae5b-1c57-5f5b-9a6f-4b1a8f0c9b35")
"""Namespace of the experiments' UUIDs."""

NAME_DIGITS = 20
"""Number of hexadecimal digits of a file's name."""

STAGED, SITE, SESSIONS, DATA, OLD = ".experiment.", "site", "sessions.sqlite", "data", "old"


def build(
    study: Path,
    out: Path,
    plugins: Plugins,
    *,
    preset: str = "",
    file: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    consent: Path | None = None,
    dry_run: bool = False,
    device: torch.device = torch.device("cpu"),
    progress: Progress | None = None,
) -> Summary:
    """Make an experiment from a study.

    The folder is replaced at once when all files are written. It is the same again for the same study, settings and
    secret, which an earlier experiment in the folder passes on.

    Parameters
    ----------
    study, out
        Folders of the study and of the experiment.
    plugins
        Plugins in which models, and stimuli for practice, are looked up.
    preset, file, changes, consent
        See `resolve`.
    dry_run
        Whether to describe the experiment only.
    device
        Device on which sounds are measured again.
    progress
        Display of the progress.

    Raises
    ------
    MetameryError
        There is no study, the settings do not fit it, the text of the consent is missing, or the folder holds other
        things, or answers of participants.
    """
    study = on_disk(check_input(study, ("study", "damaged"), "a study's folder"))
    check_output(out, "experiment", others=False)
    check_unused(out)
    lost = damages(study)
    check_natural(study, lost)
    tree = without_lost(study, open_study(study), lost)
    models = models_of(tree)
    if not models:
        raise MetameryError(f"'{study}' has no metamers to show")
    settings = resolve(KINDS[models[0].domain.kind], preset, file, changes, consent)
    plan = make_plan(tree, models, settings, plugins)
    if dry_run:
        items = shown(plan.conditions, plan.right, settings.conditions, alternatives=plan.alternatives)
        contents = _contents(plan, items, "00")
        return summary(plan, items, contents.wanted, contents.lists, plan.remarks)
    check_consent(settings)
    progress = progress or Progress()
    files, heard, remarks = None, None, list(plan.remarks)
    if plan.kind == "sound":
        files, limiting = sound_files(plan)
        if limiting:
            level = 20 * math.log10(files.rms)
            remarks.append(f"the level of all sounds is {level:.1f} dBFS, so that '{limiting}' is not clipped")
        if settings.sounds.check:
            context = study_context(study, plugins, device, torch.Generator(device), progress)
            progress.start(len(plan.conditions), "measuring sounds as their files hold them")
            heard = verdicts(context, plan.conditions, plan.right, files, settings.conditions.seed, progress)
    items = shown(plan.conditions, plan.right, settings.conditions, heard, plan.alternatives)
    with writing_to(out), work(out), scratch(out, STAGED) as staging:
        check_unused(out)
        contents = _contents(plan, items, _secret(out))
        check_disk("the experiment", most_bytes(plan, contents.wanted), out)
        _write(plan, contents, files, staging, progress)
        _exchange(staging, out)
        for earlier in out.glob("*.jzip"):
            earlier.unlink()
        if settings.saving.to == "jatos":
            remarks += write_jzip(out, Key.read(out))[1]
        clear(out, STAGED)
    return summary(plan, items, contents.wanted, contents.lists, remarks)


def check_unused(folder: Path) -> None:
    """Raise `MetameryError` if an experiment holds answers of participants, which belong to its files as they are."""
    path = folder / SESSIONS
    count = 0
    if path.is_file():
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
                (count,) = database.execute("SELECT count(*) FROM sessions").fetchone()
        except sqlite3.Error as error:
            raise MetameryError(f"'{path}' cannot be read: {error}") from None
    if count or (folder / DATA).is_dir():
        held = "sessions" if count else "data"
        raise MetameryError(f"'{folder}' holds {held} of participants and is not changed: choose another folder")


def check_consent(settings: ExperimentSettings) -> None:
    """Raise `MetameryError` if participants would be asked to consent to nothing, or to a preset's placeholder."""
    given = settings.consent.text
    if settings.has("consent") and (not "".join(given).strip() or any(PLACEHOLDER in each for each in given)):
        raise MetameryError(
            "the text that participants consent to is missing: give yours by --consent FILE, or leave it out of parts"
        )


@dataclass(frozen=True)
class Contents:
    """The files of an experiment, and the lists of trials, by names of files."""

    secret: str
    wanted: Wanted
    lists: Sequence[Sequence[Sequence[str]]]
    practice: Sequence[str]

    @property
    def items(self) -> dict[str, Item]:
        """What each file shows, in the order of the files' names, which tells nothing."""
        wanted = self.wanted
        found = {name: item for files in wanted.main for name, item in files.values()}
        found |= {name: extra.item for name, extra in wanted.extras.items()}
        found |= {
            name: Item("headphones", answer, shown="tone" if test == "antiphase" else "noise")
            for name, (test, _, answer) in wanted.headphones.items()
        }
        if wanted.level:
            found[wanted.level] = Item("level", shown="noise")
        return dict(sorted(found.items()))


def _contents(plan: Plan, items: Sequence[Mapping[str, Item | None]], secret: str) -> Contents:
    """Name the files, and allocate them to lists; what is in no list needs no file."""
    settings, chosen = plan.settings, plan.settings.allocation
    names = [
        {stimulus: _opaque(secret, "main", item.model, item.layer, stimulus) for stimulus, item in each.items() if item}
        for each in items
    ]
    extras: dict[str, Extra] = {}
    named: dict[str, list[str]] = {"practice": [], "catch": []}
    for extra in (*plan.practice, *plan.catch):
        name = _opaque(secret, extra.item.role, extra.item.stimulus, extra.item.answer)
        extras[name] = extra
        named[extra.item.role].append(name)
    number = number_of_lists(chosen.rule, len(plan.conditions), chosen.lists)
    lists = []
    for index, assigned in enumerate(allocate(chosen.rule, plan.right, len(plan.conditions), number, settings.seed)):
        trials = [
            names[condition][stimulus] for stimulus, condition in assigned.items() if stimulus in names[condition]
        ]
        lists.append(in_blocks(trials, named["catch"], chosen.blocks, settings.seed, index))
    used = {name for blocks in lists for block in blocks for name in block}
    main = [
        {stimulus: (name, item) for stimulus, name in own.items() if name in used and (item := each[stimulus])}
        for own, each in zip(names, items, strict=True)
    ]
    headphones = {
        _opaque(secret, "headphones", test, str(trial)): (
            test,
            trial,
            TESTS[test](trial, settings.seed, settings.sounds.rate)[1],
        )
        for test in (settings.headphones.tests if settings.has("headphones") else ())
        for trial in range(settings.headphones.trials)
    }
    level = _opaque(secret, "level") if settings.has("level") else ""
    masks = [f"mask{index}" for index in range(settings.masks.files)] if plan.kind == "picture" else []
    return Contents(secret, Wanted(main, extras, headphones, level, masks), lists, named["practice"])


def _opaque(secret: str, *what: str) -> str:
    """Return a name that tells nothing without the secret."""
    return hmac.digest(bytes.fromhex(secret), "\0".join(what).encode(), "sha256").hex()[:NAME_DIGITS]


def _secret(out: Path) -> str:
    """Return the secret of the experiment in a folder, also of one whose replacement was killed, or a new one."""
    for folder in (out, *(each / OLD for each in abandoned(out, STAGED))):
        if (folder / KEY_FILE).is_file():
            return Key.read(folder).secret
    return secrets.token_hex(32)


def _write(plan: Plan, contents: Contents, files: SoundFiles | None, folder: Path, progress: Progress) -> None:
    """Write the settings, the key and the site to a folder."""
    settings, site = plan.settings, folder / SITE
    (site / "media").mkdir(parents=True)
    (site / "lists").mkdir()
    made = pictures(plan, contents.wanted) if files is None else sounds(plan, contents.wanted, files)
    suffix = "png" if files is None else files.format
    progress.start(len(contents.wanted), "writing files")
    sums = {}
    for name, content in made:
        (site / "media" / f"{name}.{suffix}").write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
        progress.advance()
    now = time.time()
    for path in (site / "media").iterdir():
        os.utime(path, (now, now))  # servers tell it, and files are written condition by condition
    page = _page(plan, contents, suffix)
    key = Key(
        experiment="",
        title=settings.title,
        kind=plan.kind,
        secret=contents.secret,
        choices=plan.choices,
        items=contents.items,
        lists=tuple(tuple(tuple(block) for block in blocks) for blocks in contents.lists),
        models={
            model.name: tuple(
                each.layer for each in plan.conditions if each.model == model.name and each.layer != NATURAL
            )
            for model in plan.models
        },
    )
    everything = json.dumps([sums, page, asdict(key)], sort_keys=True)
    experiment = str(uuid.uuid5(NAMESPACE, hashlib.sha256(everything.encode()).hexdigest()))
    for number, blocks in enumerate(contents.lists):
        listed = {"list": number, "blocks": blocks} | key.alternatives(number)
        (site / "lists" / f"{number}.json").write_text(json.dumps(listed), encoding="utf-8")
    write_page(site, {"format": 1, "experiment": experiment, **page}, settings.language)
    (folder / EXPERIMENT_FILE).write_text(settings.to_toml(), encoding="utf-8")
    replace(key, experiment=experiment).write(folder)


def _page(plan: Plan, contents: Contents, suffix: str) -> dict[str, Any]:
    """Return what the page reads, without the experiment's identifier and the texts."""
    settings, wanted = plan.settings, contents.wanted
    practised = [{"item": name, "answer": wanted.extras[name].item.answer} for name in contents.practice]
    checks = [
        {
            "test": test,
            "needed": settings.headphones.needed,
            "trials": [
                {"item": name, "answer": answer} for name, (own, _, answer) in wanted.headphones.items() if own == test
            ],
        }
        for test in (settings.headphones.tests if settings.has("headphones") else ())
    ]
    parts = {
        "practice": bool(practised),
        "headphones": bool(checks),
        "survey": bool(settings.survey),
    }
    saving = {"to": settings.saving.to}
    if settings.saving.experiment_id:
        saving["experiment_id"] = settings.saving.experiment_id
    return {
        "title": settings.title,
        "kind": plan.kind,
        "consent": list(settings.consent.text),
        "parts": [part for part in PARTS if settings.has(part) and parts.get(part, True)],
        "answers": {"form": settings.answers.form, "choices": [_choice(name, settings) for name in plan.choices]},
        "timing": asdict(settings.timing),
        "media": suffix,
        "masks": [f"media/{name}.{suffix}" for name in wanted.masks],
        "practice": {
            "feedback": practised[: settings.practice.feedback],
            "free": practised[settings.practice.feedback :],
            "needed": settings.practice.needed,
        },
        "headphones": checks,
        "level": {"item": wanted.level} if wanted.level else None,
        "survey": [asdict(question) for question in settings.survey],
        "lists": len(contents.lists),
        "saving": saving,
        "completion": None if settings.saving.to == "server" else asdict(settings.completion),
    }


def _choice(name: str, settings: ExperimentSettings) -> dict[str, str | None]:
    has_icon = settings.answers.icons and settings.answers.form == "grid" and name in drawings.ICONS
    return {
        "name": name,
        "label": settings.answers.labels.get(name, name),
        "icon": f"icons/{name}.svg" if has_icon else None,
    }


def _exchange(fresh: Path, out: Path) -> None:
    """Move a finished experiment into place.

    Without its key a folder is not an experiment: the earlier key goes first, so that it can be found again if this is
    interrupted, and the new one comes last.
    """
    old = fresh / OLD
    old.mkdir()
    for name in (KEY_FILE, EXPERIMENT_FILE, SITE):
        if (out / name).exists():
            os.rename(out / name, old / name)
    for name in (SITE, EXPERIMENT_FILE, KEY_FILE):
        os.rename(fresh / name, out / name)
