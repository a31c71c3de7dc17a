"""Ctrl-C, known even where somebody else handles the signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MOST_SIGNALS = 65_536


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Gives what tells whether SIGINT came since the block began, whatever its handler made of it.

    A handler of ours would be replaced as soon as a Spark session starts; the interpreter's own note of signals is not.
    Outside the main thread nothing is noted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield lambda: signal.SIGINT in _read(reader)
        finally:
            signal.set_wakeup_fd(before)
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def not_noted() -> Iterator[None]:
    """For a block that takes signals as a wish to stop: they are no interrupt of what is around it."""
    before = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)


def is_behind(error: BaseException) -> bool:
    """Whether a Ctrl-C came first, and the error from cleaning up after it."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        if isinstance(now, KeyboardInterrupt):
            return True
        seen.add(id(now))
        now = now.__cause__ or now.__context__
    return False


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, _MOST_SIGNALS)
    except BlockingIOError:
        return b""
