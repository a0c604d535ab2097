"""The web application: an experiment's page and files, and the sessions that the page opens and saves."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import anyio
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import bodies
from .limits import Rate, read_body
from .refusals import RefusedError
from .sessions import Sessions

BUSY_WAIT = 2.0
"""Seconds after which a page tries again if the disk is full or the database locked."""

THREADS = 64
"""Number of changes that wait for the disk at once."""

MEDIA_SECONDS = 24 * 3600
"""Seconds for which browsers keep pictures and sounds."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Isolated pages have a finer clock: 5 µs in place of 100 µs.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer."""

_LOG = logging.getLogger("uvicorn.error")
_Result = TypeVar("_Result")
_Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Completion:
    """What a participant is told at the end: a code, and the address that the page goes on to."""

    code: str | None = None
    redirect: str | None = None


@dataclass(frozen=True)
class Rates:
    """Limits for each address, wide enough for a laboratory whose computers share one."""

    opened: Rate = field(default_factory=lambda: Rate(burst=100, per_second=0.2))
    requests: Rate = field(default_factory=lambda: Rate(burst=1000, per_second=50))


def make_app(
    site: Path, sessions: Sessions, completion: Completion | None = None, rates: Rates | None = None
) -> Starlette:
    """Return the application of an experiment, which closes the sessions when it is shut down.

    Parameters
    ----------
    site
        Folder that is served.
    sessions
        Its sessions.
    completion
        What participants are told when they have completed it.
    rates
        Limits for each address.
    """
    api = _Api(sessions, completion or Completion(), rates or Rates())

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        sessions.close()

    return Starlette(
        routes=[
            Mount("/api", routes=api.routes()),
            Mount("/", StaticFiles(directory=site, html=True)),
        ],
        middleware=[Middleware(_Headers)],
        exception_handlers={RefusedError: _refused, sqlite3.Error: _busy, HTTPException: _http_error},
        lifespan=lifespan,
    )


class _Api:
    """The part of the application that pages talk to."""

    def __init__(self, sessions: Sessions, completion: Completion, rates: Rates) -> None:
        self._sessions, self._completion, self._rates = sessions, completion, rates
        self._threads = anyio.CapacityLimiter(THREADS)

    def routes(self) -> list[Route]:
        one = "/sessions/{session}"
        return [
            Route("/sessions", self._limited(self._open), methods=["POST"]),
            Route(one + "/records/{part}/{number}", self._limited(self._save), methods=["PUT"]),
            Route(one + "/tab", self._limited(self._hold), methods=["POST"]),
            Route(one + "/release", self._limited(self._release), methods=["POST"]),
            Route(one + "/end", self._limited(self._end), methods=["POST"]),
        ]

    def _limited(self, endpoint: _Endpoint) -> _Endpoint:
        @wraps(endpoint)
        async def limited(request: Request) -> Response:
            self._rates.requests.check(_address(request))
            return await endpoint(request)

        return limited

    async def _changed(self, change: Callable[..., _Result], *given: Any) -> _Result:
        """Make a change in a thread of its own kind, so that files are served while it waits for the disk."""
        return await anyio.to_thread.run_sync(partial(change, *given), limiter=self._threads)

    async def _open(self, request: Request) -> Response:
        given = bodies.opening(bodies.parsed(await read_body(request)))
        if not given.session:
            self._rates.opened.check(_address(request))
        opened = await self._changed(self._sessions.open, given)
        body = asdict(opened)
        return JSONResponse(body, 201 if body.pop("is_new") else 200)

    async def _save(self, request: Request) -> Response:
        given = bodies.parsed(await read_body(request))
        part, number = request.path_params["part"], bodies.number(request.path_params["number"])
        is_new = await self._changed(self._sessions.save, *_credentials(request), given, part, number)
        return JSONResponse({}, 201 if is_new else 200)

    async def _hold(self, request: Request) -> Response:
        await self._changed(self._sessions.hold, *_credentials(request))
        return Response(status_code=204)

    async def _release(self, request: Request) -> Response:
        token, tab = bodies.credentials(bodies.parsed(await read_body(request)))
        await self._changed(self._sessions.release, request.path_params["session"], token, tab)
        return Response(status_code=204)

    async def _end(self, request: Request) -> Response:
        how = bodies.end(bodies.parsed(await read_body(request)))
        await self._changed(self._sessions.end, *_credentials(request), how)
        return JSONResponse(asdict(self._completion if how == "completed" else Completion()))


class _Headers:
    """Middleware that adds `HEADERS`, and says how long an answer may be kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Cache-Control"] = _kept(scope["path"], message["status"])
            await send(message)

        await self._app(scope, receive, with_headers)


def _kept(path: str, status: int) -> str:
    if path.startswith("/api/"):
        return "no-store"
    return f"max-age={MEDIA_SECONDS}" if path.startswith("/media/") and status < 400 else "no-cache"


def _credentials(request: Request) -> tuple[str, str, str]:
    """Return the session, the token and the tab of a request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    tab = request.headers.get("x-tab", "")
    if scheme.lower() != "bearer" or not token:
        raise RefusedError(403, "token", "the header 'Authorization: Bearer TOKEN' is missing")
    if not 0 < len(tab) <= bodies.MAX_NAME:
        raise RefusedError(422, "body", f"the header 'X-Tab' is not a text of at most {bodies.MAX_NAME} characters")
    return request.path_params["session"], token.strip(), tab


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    body: dict[str, str | int] = {"error": error.message, "reason": error.reason}
    if error.missing is not None:
        body |= {"missing": error.missing}
    return JSONResponse(body, error.status, {"Retry-After": str(math.ceil(error.wait))} if error.wait else None)


async def _busy(request: Request, error: Exception) -> Response:
    _LOG.warning("nothing can be saved now: %s", error)
    return await _refused(request, RefusedError(503, "busy", "nothing can be saved now: try again", wait=BUSY_WAIT))


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"error": error.detail, "reason": "address"}
    return JSONResponse(body, error.status_code, error.headers)
