"""Work beside the computation: a thread that reads what comes next, and writes what is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self, TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Behind:
    """Calls functions in one thread, one after the other, while the program goes on.

    Use it as a context manager: at its end everything has been done. An error of what was to be done is raised at the
    next call of `do` or `check`, or at the end, unless another error ends the context.

    >>> with Behind() as behind:
    ...     behind.do(print, "written")
    ...     list(behind.ahead(abs, [-1, 2]))
    written
    [1, 2]
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "behind")
        self._doing: Future[Any] | None = None

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function once what was to be done before is done: results of at most one call wait in memory."""
        if self._doing is not None:
            self._doing.result()
        self._doing = self._thread.submit(function, *arguments)

    def ahead(self, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        """Call a function of each item, and yield what it returns, the next of which is worked out meanwhile."""
        calls = (self._thread.submit(function, item) for item in items)
        call = next(calls, None)
        while call is not None:
            following = next(calls, None)
            yield call.result()
            call = following

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
