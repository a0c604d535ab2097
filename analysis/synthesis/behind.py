"""Work beside the computation: a thread that reads what comes next, and writes what is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Behind:
    """Calls functions in one thread, one after the other, while the program goes on.

    Use it as a context manager: at its end everything has been done. An error of what was to be done is raised at the
    next call of `do` or `check`, or at the end, unless another error ends the context.

    >>> with Behind() as behind:
    ...     behind.do(print, "written")
    ...     read = behind.read(sum, [1, 2])
    ...     read.result()
    written
    3
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "behind")
        self._doing: Future[Any] | None = None

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function once what was to be done before is done: results of at most one call wait in memory."""
        if self._doing is not None:
            self._doing.result()
        self._doing = self._thread.submit(function, *arguments)

    def read(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call a function whose result is asked for later."""
        return self._thread.submit(function, *arguments)

    def check(self) -> None:
        """Raise the error of what was to be done, if it has failed by now."""
        if self._doing is not None and self._doing.done():
            self._doing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        doing, self._doing = self._doing, None
        try:
            if doing is not None and error is None:
                doing.result()
            elif doing is not None:
                wait([doing])
        finally:
            self._thread.shutdown(cancel_futures=True)
