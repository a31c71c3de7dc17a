"""Structured logs: one JSON object per line on standard error, with batch id and coordinates, never a payload."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from pipelines.errors import SHOWN_CHARS, innermost_cause
from pipelines.records import Batch

WARN_SHARE = 0.02
"""Above this share of invalid rows somebody should look (spec/1: schema validation failures > 2 %)."""


def configure(*, pretty: bool = False, stream: TextIO | None = None) -> None:
    """Set up logging once per process, to standard error or ``stream``; ``pretty`` is for a person to read.

    Colours go to terminals only.
    """
    stream = stream or sys.stderr
    renderer: Any = structlog.processors.JSONRenderer()
    if pretty:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def without_py4j() -> None:
    """Keep the tracebacks of Spark's bridge out of what a person reads.

    It logs what Ctrl-C interrupts, on the root logger, and each exception of a batch; both reach us as exceptions.
    """
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_is_not_py4j)


def _is_not_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in Path(record.pathname).parts


def stop_requested(job: str, by: str) -> None:
    """Somebody asked the job to stop: ``by`` is a signal's name, or the file of `sdp stop`."""
    structlog.get_logger().info("stop_requested", job=job, by=by)


class BatchLog:
    """Logs each step of a batch with the seconds since the step before."""

    def __init__(self, job: str) -> None:
        self._log = structlog.get_logger().bind(job=job)
        self._before = time.monotonic()

    def step(self, step: str, batch: Batch) -> None:
        """One line per step; the first one carries the offsets."""
        now = time.monotonic()
        facts: dict[str, Any] = {"batch_id": batch.batch_id, "query_id": batch.query_id}
        if step == "started":
            facts["offsets"] = [str(r) for r in batch.ranges]
            facts["records"] = sum(map(len, batch.ranges))
        else:
            facts["seconds"] = round(now - self._before, 3)
        self._before = now
        self._log.info(f"batch_{step}", **facts)

    def refused(self, batch: Batch, reasons: Mapping[str, int]) -> None:
        """How many rows of the batch were refused and why; a warning above WARN_SHARE."""
        records, refused = sum(map(len, batch.ranges)), sum(reasons.values())
        share = refused / records if records else 0.0
        tell = self._log.warning if share > WARN_SHARE else self._log.info
        by_reason = dict(sorted(reasons.items(), key=lambda r: (-r[1], r[0])))
        facts = {"batch_id": batch.batch_id, "refused": refused, "share": round(share, 6), "reasons": by_reason}
        tell("batch_refused", records=records, **facts)

    def push_failed(self, gateway: str, error: Exception) -> None:
        """The Pushgateway did not take the metrics of this run; nothing else is wrong."""
        self._log.warning("push_failed", gateway=gateway, error=str(error)[:SHOWN_CHARS] or type(error).__name__)

    def rules_swapped(self, before: str, after: str) -> None:
        """The next batch is judged by another rule set: fingerprints."""
        self._log.info("rules_swapped", before=before, after=after)

    def rules_refused(self, error: Exception, kept: str) -> None:
        """The rule file changed and can't be used: ``file:line: reason``; the set ``kept`` stays."""
        self._log.error("rules_refused", error=str(error), kept=kept)

    def retry(self, error: BaseException | None, pause_s: float) -> None:
        """A try failed; the next one follows."""
        reason = type(error).__name__ if error is None or not str(error) else innermost_cause(error)
        self._log.warning("retry", error=reason, pause_s=round(pause_s, 1))
