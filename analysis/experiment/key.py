"""The key of an experiment: what each of its files shows. It stays outside the folder that is served."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...framework.errors import MetameryError
from ...framework.replacing import replaced

KEY_FILE = "key.json"
FORMAT = 1

NATURAL = "natural"
"""Name, in place of a layer, of the natural signals."""

ROLES = ("main", "catch", "practice", "headphones", "level")

PERSON_IDENTIFIERS = ("PROLIFIC_PID", "workerId", "participant")
"""Names of identifiers that tell people apart, as Prolific, MTurk and a laboratory's own links pass them on."""

PSEUDONYM_DIGITS = 16
"""Number of digits of a pseudonym that tables show."""


@dataclass(frozen=True)
class Item:
    """One file of an experiment.

    Parameters
    ----------
    role
        Part of the experiment that the file belongs to, one of `ROLES`.
    answer
        Right answer; empty where there is none.
    stimulus, model, layer, seed
        The condition that is intended: a metamer of this stimulus, or for the layer ``natural`` the stimulus itself.
        Empty, and a seed of −1, where they do not apply.
    shown
        What the file holds: ``metamer``, ``natural``, ``icon``, ``tone`` or ``noise``.
    reason
        Why the natural signal is shown instead of a metamer, or that a metamer is shown although it is not successful;
        else empty.
    alternatives
        Answers that are offered, in the order of the key's choices; empty for all of them.
    """

    role: str
    answer: str = ""
    stimulus: str = ""
    model: str = ""
    layer: str = ""
    seed: int = -1
    shown: str = ""
    reason: str = ""
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """What an experiment's files show, and which of them each participant gets.

    Parameters
    ----------
    experiment
        UUID of the experiment, derived from its content.
    title
        Its name, as participants read it.
    kind
        ``picture`` or ``sound``.
    secret
        Key of all hashes, in hexadecimal: names of files, and participants' identifiers.
    choices
        Answers that participants choose from.
    items
        The files, by the name that they have without its ending.
    lists
        For each list the blocks of its main part, each the names of its items in order.
    models
        Names of the models, in the study's order, with their layers.
    """

    experiment: str
    title: str
    kind: str
    secret: str
    choices: tuple[str, ...]
    items: Mapping[str, Item]
    lists: tuple[tuple[tuple[str, ...], ...], ...]
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def trials(self, number: int) -> list[str]:
        """Return the items of a list's main part, in order."""
        return [item for block in self.lists[number] for item in block]

    def offered(self, item: str) -> tuple[str, ...]:
        """Return the answers that are offered on an item."""
        return self.items[item].alternatives or self.choices

    @property
    def chance(self) -> float:
        """Proportion of right answers by guessing: mean over the main part's items of one over the answers offered.

        NaN without answers.
        """
        offered = [len(self.offered(name)) for name, item in self.items.items() if item.role == "main"]
        offered = offered or [len(self.choices)]
        return sum(1 / count for count in offered) / len(offered) if all(offered) else math.nan

    def alternatives(self, number: int) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return what the page reads of the trials of a list that do not offer all answers; empty without any."""
        offered = {item: own for item in self.trials(number) if (own := self.items[item].alternatives)}
        return {"alternatives": offered} if offered else {}

    def pseudonym(self, identifier: str) -> str:
        """Return what stands for an identifier of a recruiting service: HMAC-SHA256, in hexadecimal."""
        return hmac.digest(bytes.fromhex(self.secret), f"identifier: {identifier}".encode(), "sha256").hex()

    def participant(self, identifiers: Mapping[str, str]) -> str:
        """Return the pseudonym of the person whom identifiers name; empty if none of `PERSON_IDENTIFIERS` is there."""
        person = next((identifiers[name] for name in PERSON_IDENTIFIERS if identifiers.get(name)), "")
        return self.pseudonym(person)[:PSEUDONYM_DIGITS] if person else ""

    def write(self, folder: Path) -> None:
        with replaced(folder / KEY_FILE) as path:
            path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Key:
        """Read the key of an experiment's folder.

        Raises
        ------
        MetameryError
            There is no experiment, its key is damaged, or a newer version wrote it.
        """
        path = folder / KEY_FILE
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            if table.pop("format") > FORMAT:
                raise MetameryError(f"'{path}' was written by a newer version of metamery")
            return cls(**_typed(table))
        except FileNotFoundError:
            raise MetameryError(f"'{folder}' is not an experiment: it has no {KEY_FILE}") from None
        except OSError as error:
            raise MetameryError(f"cannot read '{path}': {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MetameryError(f"'{path}' is damaged: build the experiment again") from None


def _typed(table: dict[str, Any]) -> dict[str, Any]:
    return {
        **table,
        "choices": tuple(table["choices"]),
        "items": {
            name: Item(**item | {"alternatives": tuple(item.get("alternatives", ()))})
            for name, item in table["items"].items()
        },
        "lists": tuple(tuple(tuple(block) for block in blocks) for blocks in table["lists"]),
        "models": {name: tuple(layers) for name, layers in table["models"].items()},
    }
