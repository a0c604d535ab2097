"""Why the server refuses a request."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is refused.

    Parameters
    ----------
    status
        Status of the answer, as HTTP has them.
    reason
        A word for the page: ``token``, ``tab``, ``taken_part``, ``full``, ``rate``, ``busy``, ``answered``, ``ended``,
        ``missing``, ``body`` or ``address``.
    message
        A line for people.
    wait
        Seconds after which the same request may succeed; 0 if it will not.
    missing
        Number of the first trial that is not saved.
    """

    def __init__(self, status: int, reason: str, message: str, wait: float = 0.0, missing: int | None = None) -> None:
        super().__init__(message)
        self.status, self.reason, self.message, self.wait, self.missing = status, reason, message, wait, missing
