"""A disk that fails: calls of the operating system that end with EIO while the fault lasts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def failing(call: str, on: Callable[[int], bool] = lambda _: True) -> Iterator[None]:
    """``call``: a function of ``os``. ``on``: of the number of a call, from 1, whether it fails."""
    real, count = getattr(os, call), 0

    def fake(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if on(count):
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments)

    setattr(os, call, fake)
    try:
        yield
    finally:
        setattr(os, call, real)
