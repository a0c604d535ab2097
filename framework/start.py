"""The program's entry point, which imports the rest, so that an interrupt at any time ends it in one line."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from types import FrameType

from . import stopping


def entry() -> None:
    """Run the program as a shell command: SIGTERM and SIGHUP end it as Ctrl-C does."""
    status = stopping.STATUS
    _listen()
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # runs last, just before Python shuts down
    try:
        try:
            from .cli import main

            if isinstance(sys.stdout, io.TextIOWrapper):  # as for standard error: escape what cannot be encoded
                sys.stdout.reconfigure(errors="backslashreplace")
            status = main()
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of the output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 128 + 13
        except BaseException as error:
            if not stopping.interrupted() or isinstance(error, SystemExit):
                raise
            stopping.tell()
        signal.signal(signal.SIGINT, lambda *_: os._exit(status))  # all is done: end with the same status
    except KeyboardInterrupt:  # a second interrupt meanwhile
        status = stopping.STATUS
    sys.exit(status)


def _listen() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop)


_PROCESS = os.getpid()


def _stop(number: int, _frame: FrameType | None) -> None:
    if os.getpid() != _PROCESS and number != signal.SIGINT:  # a worker, which its parent ends
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    stopping.interrupt()
