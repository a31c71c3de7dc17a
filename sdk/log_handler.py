"""``logging.Handler`` for services that already log their requests: such a line becomes an API6 log record.

::

    logging.getLogger("shop.access").addHandler(Api6LogHandler(capture, extras(response_time_ms="duration_ms")))
    ...
    facts = {"api_endpoint": "/orders/{id}", "http_method": "GET", "status_code": 200, "duration_ms": 12}
    access.info("done", extra=facts)

A line without endpoint, method, status and response time is about no request and is left alone. Records go the same
way as those of the middlewares: nothing waits, nothing is raised. Lines of the producer itself are never taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pipelines.records import LOG_FIELDS
from sdk import capture as c
from sdk.client_address import UNKNOWN, canonical
from sdk.handover import Record

OWN_LOGGERS = ("sdk", "pipelines", "confluent_kafka", "fastavro", "httpx")
"""Loggers, with all below them, that producing a record may write to: taking their lines could go round for ever."""

REQUIRED = ("api_endpoint", "http_method", "status_code", "response_time_ms")
"""Fields that make a line one about a request."""

NUMBERS = ("timestamp", "status_code", "response_time_ms", "payload_size")

Fields = Mapping[str, Any]
Read = Callable[[logging.LogRecord], Fields]
"""Log record → the fields of an API6 log that it has."""


def extras(**names: str) -> Read:
    """Read the fields from ``extra``; ``names``: field → the attribute that holds it, where the two differ."""
    wanted = {name: names.get(name, name) for name in LOG_FIELDS}

    def read(line: logging.LogRecord) -> Fields:
        found = line.__dict__
        return {name: found[source] for name, source in wanted.items() if source in found}

    return read


def filled(line: logging.LogRecord) -> Fields:
    """What a line says without ``extra``: when it was written, and from ERROR on what went wrong."""
    error = line.exc_info[1] if line.exc_info else None
    message = line.getMessage() if line.levelno >= logging.ERROR else None
    return {
        "timestamp": int(line.created * 1000),
        "request_id": c.new_id(),
        "client_ip": UNKNOWN,
        "user_agent": None,
        "payload_size": 0,
        "error_message": c.described(error) if error else message,
    }


class Api6LogHandler(logging.Handler):
    """Takes the lines of requests; ``read`` says what a line holds, ``fill`` what stands for the rest."""

    def __init__(
        self, capture: c.Capture, read: Read | None = None, fill: Read = filled, level: int | str = logging.NOTSET
    ) -> None:
        super().__init__(level)
        self._capture, self._read, self._fill = capture, read or extras(), fill

    def filter(self, record: logging.LogRecord) -> bool:
        """Refuse the lines that producing records writes."""
        if str(record.name).partition(".")[0] in OWN_LOGGERS or self._capture.handover.is_own_thread():
            return False
        return bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the line's record over; a line about no request is left alone."""
        try:
            found = {name: value for name, value in self._read(record).items() if value is not None}
            if not all(name in found for name in REQUIRED):
                return
            given = {**self._fill(record), **found}
            fields = {name: _bounded(given[name]) for name in LOG_FIELDS}
        except Exception as error:  # noqa: BLE001 - a line that can't be read must not fail the service
            self._capture.lose(error)
            return
        self._capture.take(fields["api_endpoint"], partial(_fitted, fields))

    def close(self) -> None:
        """Hand over what waits, for a few seconds: ``logging`` closes handlers when the process ends."""
        self._capture.handover.drain_at_end()
        super().close()


def _bounded(value: Any) -> Any:
    """A text that may wait for long: the longest one that a field may have, or so much of a longer one."""
    return value[: c.MAX_ERROR] if isinstance(value, str) else value


def _fitted(record: dict[str, Any]) -> Record:
    """The ten fields as the schema has them: whole numbers within an int, an address, texts that are not too long."""
    for name in NUMBERS:
        record[name] = round(float(record[name])) if not isinstance(record[name], int) else record[name]
    for name in ("response_time_ms", "payload_size"):
        record[name] = min(record[name], c.MAX_INT)
    record["client_ip"] = canonical(str(record["client_ip"])) or UNKNOWN
    agent, error = record["user_agent"], record["error_message"]
    record["user_agent"] = agent[: c.MAX_USER_AGENT] if agent else None
    record["error_message"] = c.fit(str(error), c.MAX_ERROR) if error else None
    return record
