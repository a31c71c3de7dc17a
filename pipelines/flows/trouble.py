"""Trouble that may pass: told from wrong data and mistakes of ours, and given a name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, StreamingQueryException
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from pipelines.errors import SdpError, SinkUnavailable, innermost_cause

T = TypeVar("T")

LONGEST_PAUSE_S = 60.0

TROUBLE = (SdpError, StreamingQueryException, Py4JJavaError, AnalysisException)
"""What may pass is among these."""

_METASTORE_AWAY = ("MetaException", "HiveException", "TTransportException", "TException")
"""Spark reports a metastore that is away as if the query were wrong."""


def may_pass(error: BaseException) -> bool:
    """Whether a retry may help: trouble of infrastructure does, wrong data and our own mistakes do not."""
    if isinstance(error, SdpError):
        return error.retriable
    if isinstance(error, AnalysisException):
        return any(sign in str(error) for sign in _METASTORE_AWAY)
    return isinstance(error, StreamingQueryException | Py4JJavaError)


def named(error: BaseException, where: str) -> SdpError:
    """The error as one of ours; ``where``: what the work was about."""
    if isinstance(error, SdpError):
        return error
    return SinkUnavailable("a server that the job needs", where, innermost_cause(error))


@dataclass
class Patience:
    """Tries a call again, with growing pauses, while trouble may pass: for ``retry_for_s`` or until ``stop`` is set.

    ``where``: what the work is about. Raises the trouble as one of our errors.
    """

    where: str
    retry_for_s: float
    on_retry: Callable[[BaseException | None, float], None] = lambda *_: None
    stop: threading.Event = field(default_factory=threading.Event)
    _last_error: BaseException | None = field(default=None, init=False)
    _failing_since: float | None = field(default=None, init=False)

    def __call__(self, call: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(may_pass),
            stop=self._gives_up,
            wait=wait_exponential_jitter(multiplier=1.0, max=LONGEST_PAUSE_S),
            sleep=self._pause,
            before_sleep=self._note_retry,
            reraise=True,
        )
        try:
            result = retrying(call)
        except TROUBLE as error:
            if not may_pass(error) or (trouble := named(error, self.where)) is error:
                raise
            raise trouble from error
        self._failing_since = None
        return result

    def _gives_up(self, _: RetryCallState) -> bool:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        return self.stop.is_set() or now - self._failing_since > self.retry_for_s

    def _note_retry(self, state: RetryCallState) -> None:
        self._last_error = state.outcome.exception() if state.outcome else None
        self.on_retry(self._last_error, state.next_action.sleep if state.next_action else 0.0)

    def _pause(self, seconds: float) -> None:
        """Wait for the next try. A stop ends the wait, and there is no next try: it might take minutes to fail."""
        if self.stop.wait(seconds) and self._last_error is not None:
            raise self._last_error
