"""Values that people, programs and damaged files may come with, and random changes of tables and texts."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2, 3, 7, -2, 20, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**12, 10**30, -(10**30),
    0.0, -0.0, 0.5, 1.0, 1.5, 0.999, -0.1, 1e-300, 1e-8, 1e8, 1e300, float("nan"), float("inf"), float("-inf"), True,
    False,
)  # fmt: skip

TEXTS = (
    "", " ", "a", "output", "0", "1", "é", "名", "a b", "a/b", "a:b", ":", "/", ".", "x.py:f", "nan", "inf", "none",
    "None", "true", "1e5", "0x10", "1_000", "-", "--", "=", "a=b", "[", "]", "{", "}", "[]", "{}", "[1, 2]", '["a"]',
    '["0", "0"]', "[nan]", "[-1]", "{a = 1}", '"x"', "'", '"', "\\", "\t", "a\nb", "%s", "%", "{0}", "\u2028",
    "\ufeff", "*", "linf", "l2", "float16", "cosine", "natural", "2020-01-01", "12:00:00", "x" * 300, "x" * 5000,
    "9" * 5000, "[" * 2000, "file:///x", "http://x", "~", "~nobody/x", "C:\\x", "reflect", "zero", "category",
    "relative_l2", "sgd",
)  # fmt: skip

NESTED: tuple[Any, ...] = (
    [], {}, [1, 2], ["a"], ["0", "0"], [[1], [2]], {"a": 1}, {"name": "x"}, [True], [float("nan")], {"": ""}, [{}],
    {"a": {}},
)  # fmt: skip

BYTES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b",", b";", b"\xf0\x9f", b"NaN", b"1e999", b"-1",
    b"{}", b"[",
)  # fmt: skip


def number(random: Random) -> Any:
    if random.random() < 0.7:
        return random.choice(NUMBERS)
    wide = random.gauss(0, 1) * 10 ** random.randint(-9, 9)
    return random.choice((random.randint(-5, 12), random.uniform(-2, 2), wide))


def any_value(random: Random) -> Any:
    """Any value that TOML or JSON can hold."""
    kind = random.random()
    if kind < 0.55:
        return number(random)
    return random.choice(TEXTS) if kind < 0.85 else copy.deepcopy(random.choice(NESTED))


def as_text(value: Any) -> str:
    """A value as a command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, list) else str(value)


def argument(random: Random) -> str:
    """Text as a shell can give it."""
    return as_text(any_value(random)).replace("\0", "")


def changed(random: Random, table: Any, value: Any = any_value) -> Any:
    """A table, or a tree of tables and lists, with an entry set otherwise, taken out, or added."""
    table = copy.deepcopy(table)
    places = list(_places(table))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holder, key = random.choice(places)
        what = random.random()
        if what < 0.8:
            holder[key] = value(random)
        elif what < 0.9 and isinstance(holder, dict):
            holder.pop(key, None)
        elif isinstance(holder, dict):
            holder[random.choice((*TEXTS[1:12], f"{key}s"))] = value(random)
        else:
            holder.append(value(random))
    return table


def _places(tree: Any) -> Any:
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], dict | list) and tree[key]:
            yield from _places(tree[key])


def damaged(random: Random, content: bytes) -> bytes:
    """Bytes with a few put in, changed, or cut off."""
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(content) + 1)
        what = random.random()
        if what < 0.4:
            content = content[:at] + random.choice(BYTES) + content[at:]
        elif what < 0.7:
            content = content[:at] + bytes([random.randrange(256)]) + content[at + 1 :]
        elif what < 0.9:
            content = content[:at] + content[at + random.randint(1, 20) :]
        else:
            content = content[:at]
    return content
