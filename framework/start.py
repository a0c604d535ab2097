"""The program's entry, which imports the rest, so that it ends in one line whenever it is stopped."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from . import stopping


def entry() -> None:
    """Run the program as a shell command: SIGTERM and SIGHUP end it as Ctrl-C does."""
    status = stopping.STATUS
    _listen()
    try:
        try:
            from .cli import main

            status = main()
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read what was printed has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 128 + 13
        except BaseException as error:
            if not stopping.interrupted() or isinstance(error, SystemExit):
                raise
            stopping.tell()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:  # once more, while that was done
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
