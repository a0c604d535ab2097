"""A small experiment on disk, as `build` makes it: two lists of four trials and a catch trial each."""

from __future__ import annotations

import json
from pathlib import Path

from metamery.analysis.experiment.key import Item, Key

CHOICES = ("cat", "dog", "bird")


def small_key(lists: int = 2) -> Key:
    names = [f"{number:020x}" for number in range(4 * lists)]
    items = {
        name: Item("main", CHOICES[number % 3], f"photo{number}", "net", "layer1", 0, "metamer")
        for number, name in enumerate(names)
    }
    items["c" * 20] = Item("catch", "dog", shown="icon")
    items["a" * 20] = Item("practice", "cat", "photo", "", "natural", shown="natural")
    items["b" * 20] = Item("headphones", "2", shown="tone")
    trials = tuple((tuple(names[4 * n : 4 * n + 2]), ("c" * 20, *names[4 * n + 2 : 4 * n + 4])) for n in range(lists))
    return Key("3f0c5d4e-0000-5000-8000-000000000000", "Pets", "picture", "5e" * 32, CHOICES, items, trials)


def write_experiment(folder: Path, lists: int = 2) -> Key:
    """Write the key, the settings that the server reads, and a page."""
    key = small_key(lists)
    site = folder / "site"
    (site / "media").mkdir(parents=True)
    (site / "lists").mkdir()
    key.write(folder)
    (folder / "experiment.toml").write_text('[completion]\ncode = "C0DE"\nredirect = "https://example.org/done"\n')
    (site / "index.html").write_text("<!doctype html><title>Pets</title>")
    for number, blocks in enumerate(key.lists):
        (site / "lists" / f"{number}.json").write_text(json.dumps({"list": number, "blocks": blocks}))
    for item in key.items:
        (site / "media" / f"{item}.png").write_bytes(b"\x89PNG")
    return key
