"""Serving an experiment: one process for its folder, until it is stopped."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from ....framework import claims
from ....framework.errors import MetameryError
from ....framework.stopping import when_stopped
from ..key import Key
from ..resolving import read_settings
from ..settings import ExperimentSettings
from .app import Completion, make_app
from .sessions import Sessions

MAX_CONNECTIONS = 16_384

BACKLOG = 2048

KEEP_ALIVE_SECONDS = 30
"""Seconds for which an idle connection stays open: several heartbeats of a page."""


def serve(folder: Path, host: str, port: int, proxy: str, idle_minutes: float, say: Callable[[str], None]) -> None:
    """Serve an experiment until the program is interrupted.

    Parameters
    ----------
    folder
        Folder of the experiment.
    host, port
        Address to listen at; port 0 for any that is free.
    proxy
        Addresses or networks, separated by commas, of proxies whose ``X-Forwarded-For`` is trusted.
    idle_minutes
        Minutes without a word from a participant after which their place is free again.
    say
        Called with each line for the user.

    Raises
    ------
    MetameryError
        There is no experiment, it saves elsewhere, another process serves it, or the address cannot be used.
    """
    key = Key.read(folder)
    settings = read_settings(folder)
    _check(folder, settings)
    _check_proxy(proxy)
    with claims.work(folder), _listening(host, port) as listening:
        sessions = Sessions(folder, settings.allocation.participants or None, 60 * idle_minutes)
        completion = Completion(settings.completion.code or None, settings.completion.redirect or None)
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(folder / "site", sessions, completion),
                log_level="warning",
                access_log=False,  # addresses hold participants' identifiers
                proxy_headers=bool(proxy),
                forwarded_allow_ips=proxy,
                server_header=False,
                ws="none",
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=5,
            )
        )
        for line in _lines(key.title, host, listening.getsockname()[1], proxy):
            say(line)
        _allow_connections()
        with when_stopped("every answer is saved; the same command serves the experiment again"):
            server.run([listening])


def _check(folder: Path, settings: ExperimentSettings) -> None:
    if settings.saving.to != "server":
        raise MetameryError(
            f"'{folder}' saves to {settings.saving.to}, expected saving.to = 'server'; any web server can serve it"
        )
    if not (folder / "site" / "index.html").is_file():
        raise MetameryError(f"'{folder}' has no site/index.html: build the experiment again")


def _check_proxy(proxy: str) -> None:
    for each in filter(None, proxy.split(",")):
        try:
            ipaddress.ip_network(each.strip(), strict=False)
        except ValueError:
            raise MetameryError(f"--proxy is '{each}', expected an address or a network, such as 127.0.0.1") from None


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MetameryError(
            f"cannot listen at {host}, port {port}: {reason}; choose another --host or --port"
        ) from None


def _lines(title: str, host: str, port: int, proxy: str) -> list[str]:
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    lines = [f"'{title}' is at {address}", "Ctrl-C stops it; what participants have answered is saved"]
    if not _is_of_this_machine(host):
        lines.append("others reach it without encryption: put a proxy with TLS before it, as docs/experiments.md shows")
    elif not proxy:
        lines.append("it is reached from this machine alone; others come by a proxy with TLS: docs/experiments.md")
    return lines


def _is_of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _allow_connections() -> None:
    """Raise the limit of open files: browsers keep several connections each."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, MAX_CONNECTIONS)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
