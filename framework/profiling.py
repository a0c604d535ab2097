"""Profile of a command: what its operations take, on the CPU and on a GPU, as a trace to look at."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from .errors import MetameryError
from .progress import Progress

if TYPE_CHECKING:
    import torch.profiler

FIRST = 20
"""Steps of a part of the work before the profile: what happens once, such as choosing algorithms, is not in it."""

PROFILED = 20
"""Steps in the profile."""


class Profile(Progress):
    """Profiles some steps of each part of the work, such as updates or batches; the last part's profile is kept.

    Parameters
    ----------
    path
        File for the trace, in the format of Chrome, which https://ui.perfetto.dev displays: ``.json`` or ``.json.gz``.

    Raises
    ------
    MetameryError
        The file's name has another ending, or its folder is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.name.endswith((".json", ".json.gz")):
            raise MetameryError(f"the profile is to be '{path}', expected a file that ends with .json or .json.gz")
        if not path.absolute().parent.is_dir():
            raise MetameryError(f"cannot write to '{path}': there is no folder '{path.parent}'")
        self._path, self._done, self._written = path, 0, False
        self._running: torch.profiler.profile | None = None

    def start(self, total: int, description: str = "") -> None:
        self._finish()
        self._done = 0

    def advance(self, steps: int = 1) -> None:
        import torch.profiler

        self._done += 1
        if self._done == FIRST:
            self._running = torch.profiler.profile(record_shapes=True, acc_events=True)
            self._running.start()
        elif self._done == FIRST + PROFILED:
            self._finish()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()
        if error is None and not self._written:
            warnings.warn(f"no profile was written: no part of the work has more than {FIRST} steps", stacklevel=2)

    def _finish(self) -> None:
        if self._running is None:
            return
        running, self._running = self._running, None
        running.stop()
        partial = self._path.with_name(f"partial.{self._path.name}")
        try:
            running.export_chrome_trace(str(partial))
            partial.replace(self._path)
            self._written = True
        except OSError as error:
            raise MetameryError(f"cannot write to '{self._path}': {error.strerror or error}") from None
