"""Write hooks.md: every hook with its signature, its contract check and the bundled names, read from the code."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metamery.framework import Plugins, hookspecs, testing
from metamery.framework.registry import KINDS, Entry, Register

HEAD = """# Hooks

Generated from the code by `python docs/hooks.py`. How to write a plugin is in
[Writing plugins](plugins.md).
"""

CHECKS = """## The contract checks

A check is a plain function of `metamery.framework.testing`. It raises `AssertionError` with the number of the
failing requirement. Everything bundled is tested with these checks.
"""

EXAMPLES = """## Examples for testing plugins

Also from `metamery.framework.testing`.
"""

PARAMETER = re.compile(r"^(\S.*)\n((?:    .*\n?)+)", re.MULTILINE)


def page() -> str:
    """Return the complete page."""
    plugins = Plugins(installed=())
    kinds = {hook: kind for kind, hook in KINDS.items()}
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("register_")]
    parts = [HEAD, docstring(hookspecs), *register()]
    for hook in hooks:
        parts += [f"## {hook.__name__}", code(hook), docstring(hook)]
        if kind := kinds.get(hook.__name__):
            parts += [f"Checked by [`check_{kind}`](#check_{kind}). Bundled:"]
            parts += ["\n".join(bundled(entry) for entry in plugins.entries(kind))]
        else:
            parts += ["Bundled: the [commands](commands.md) of"]
            adding = {name for name, _ in plugins.hook_calls(hook.__name__)}
            parts += ["\n".join(f"- `{p.name}`: {docstring(p.module)}" for p in plugins.loaded if p.name in adding)]
    for head, prefix in ((CHECKS, "check_"), (EXAMPLES, "example_")):
        parts += [head]
        for name in testing.__all__:
            if name.startswith(prefix):
                function = getattr(testing, name)
                parts += [f"### {name}", code(function), docstring(function)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def register() -> list[str]:
    """Describe `register`, the argument of every hook but one."""
    call = Register.__call__
    signature = code(call).replace("__call__(self, ", "register(")
    _, _, section = plain(call).partition("\nParameters\n----------\n")
    parameters = [f"- `{name}`: {' '.join(text.split())}" for name, text in PARAMETER.findall(section)]
    return ["## register", docstring(Register), signature, docstring(call), "\n".join(parameters)]


def bundled(entry: Entry) -> str:
    """Describe a registered name: its plugin, required extra, summary and options."""
    needs = f", extra `{entry.facts['extra']}`" if "extra" in entry.facts else ""
    options = f" Options: `{settable}`." if (settable := options_of(entry)) else ""
    return f"- `{entry.name}` (plugin `{entry.plugin}`{needs}): {entry.summary}.{options}"


def options_of(entry: Entry) -> str:
    """Return the options of a factory, read from its source, since importing it may require packages not installed."""
    module, _, name = str(entry.target).partition(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ", ".join(ast.unparse(field.target) for field in node.body if isinstance(field, ast.AnnAssign))
        if isinstance(node, ast.FunctionDef) and node.name == name:
            node.args.args = node.args.args[entry.is_family :]  # a family's factory first takes the rest of the name
            node.args.args = [each for each in node.args.args if each.arg != "plugins"]
            only = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            kept = [(each, default) for each, default in only if each.arg != "plugins"]
            node.args.kwonlyargs, node.args.kw_defaults = [each for each, _ in kept], [default for _, default in kept]
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
            return ast.unparse(node.args).removeprefix("*, ")
    return ""


def code(function: Callable[..., Any]) -> str:
    """Return a function's signature as in its source."""
    source = textwrap.dedent(inspect.getsource(function))
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.FunctionDef)
    lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
    return "```python\n" + "\n".join(lines).removeprefix("def ").removesuffix(":") + "\n```"


def docstring(thing: object) -> str:
    """Return a docstring as Markdown, up to its first section of parameters or results."""
    return re.split(r"\n\n\w+\n-{3,}\n", plain(thing))[0]


def plain(thing: object) -> str:
    """Return a complete docstring, with code marked as in Markdown."""
    return (inspect.getdoc(thing) or "").replace("``", "`")


if __name__ == "__main__":
    Path(__file__).with_name("hooks.md").write_text(page(), encoding="utf-8")
