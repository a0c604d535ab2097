"""`Trust`: which Python files of the user may be run.

A name ``FILE.py:FUNCTION`` runs that file. One that the user gives, on the command line or in Python, is run; one that
is only read in the file of a study or of a run is run if the user says so.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import MetameryError
from .remote import Folder

_STARTS = re.compile(r"(?:^|[\s\"'=\[,/:])(?=[^\s])")


class Trust:
    """What the user has said about Python files.

    Parameters
    ----------
    everything
        Whether the files that studies and runs name are run, too; by default if ``METAMERY_TRUST`` is ``1``.
    """

    def __init__(self, everything: bool | None = None) -> None:
        self.everything = os.environ.get("METAMERY_TRUST") == "1" if everything is None else everything
        self._given: set[str] = set()
        self._said: set[str] = set()
        self._source: Folder | None = None

    def give(self, arguments: Iterable[str]) -> None:
        """Note the files that arguments of the command line name, as they are or within a family or an option."""
        for argument in arguments:
            for end in re.finditer(r"\.py(?=:[A-Za-z_])", argument):
                for start in _STARTS.finditer(argument[: end.end()]):
                    self._given.add(os.path.realpath(os.path.expanduser(argument[start.end() : end.end()])))
                self._given.add(os.path.realpath(os.path.expanduser(argument[: end.end()])))

    @contextmanager
    def named_in(self, source: Folder | None) -> Iterator[None]:
        """Look names up that were read from a file; None changes nothing."""
        before = self._source
        self._source = source or before
        try:
            yield
        finally:
            self._source = before

    def check(self, path: Path) -> None:
        """Raise `MetameryError` if a file must not be run; say on standard error which is run for a study or a run."""
        real = os.path.realpath(path)
        if self._source is None or real in self._given:
            return
        if not self.everything:
            raise MetameryError(
                f"'{self._source}' names the Python file '{path}', which would be run: "
                "if you trust it, add --trust (in Python: Plugins(trust=True))"
            )
        if real not in self._said:
            self._said.add(real)
            print(f"running '{path}', which '{self._source}' names", file=sys.stderr)
