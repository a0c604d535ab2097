"""Limits of what one address may send: the size of a body, and the rate of requests."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from .refusals import RefusedError

MAX_BODY = 16 * 1024
"""Number of bytes of a request's body."""

BODY_SECONDS = 10.0
"""Seconds within which a body must have come."""

MAX_ADDRESSES = 10_000
"""Number of addresses that are remembered; the longest unseen are forgotten first."""


class Rate:
    """A token bucket for each address.

    Parameters
    ----------
    burst
        Number of requests that may come at once.
    per_second
        Number of requests that may come in the long run.
    clock
        Time in seconds.

    Examples
    --------
    >>> rate = Rate(burst=2, per_second=0.5, clock=lambda: 0.0)
    >>> [rate.wait("203.0.113.7") for _ in range(3)]
    [0.0, 0.0, 2.0]
    """

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.burst, self.per_second, self._clock = burst, per_second, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens and time, the longest unseen address first

    def wait(self, address: str) -> float:
        """Take a token, and return 0; or return the number of seconds until there is one."""
        now, network = self._clock(), _network(address)
        tokens, before = self._buckets.pop(network, (self.burst, now))
        tokens = min(self.burst, tokens + (now - before) * self.per_second)
        taken = tokens >= 1
        self._buckets[network] = (tokens - taken, now)
        if len(self._buckets) > MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if taken else (1 - tokens) / self.per_second

    def check(self, address: str) -> None:
        """Take a token, or raise `RefusedError`."""
        if wait := self.wait(address):
            raise RefusedError(429, "rate", "too many requests from this address: wait a while", wait=wait)


async def read_body(request: Request) -> bytes:
    """Read a request's body, up to `MAX_BODY` bytes and `BODY_SECONDS`."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY:
                    raise RefusedError(413, "body", f"the body is larger than {MAX_BODY} bytes")
    except (TimeoutError, ClientDisconnect):
        raise RefusedError(400, "body", "the body is incomplete") from None
    return bytes(body)


def _network(address: str) -> str:
    """Return the address, or of an IPv6 one the /64 network, which one household or laboratory has."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:  # a name, such as a test client's
        return address
    return address if known.version == 4 else str(ipaddress.ip_network((known, 64), strict=False))
