"""Wait in a DAG of yours until the logs are proven complete: docs/airflow.md shows one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow.sdk import BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from api6_calls import Ending, ending, hour_after, is_complete, reasons
from api6_jobs import Job


class CompletenessSensor(BaseSensorOperator):
    """Wait until the completeness watermark has reached ``until``, up to the end of its hour.

    ``until``: ISO time with zone, or a template that gives one. Between two looks no worker is taken. While a server is
    away it goes on waiting, until its ``timeout``.
    """

    template_fields: Sequence[str] = ("until",)

    def __init__(self, *, until: str, mode: str = "reschedule", poke_interval: float = 600, **kwargs: Any) -> None:
        super().__init__(mode=mode, poke_interval=poke_interval, **kwargs)
        self.until = until
        self._running: Job | None = None

    def poke(self, context: Context) -> bool:  # noqa: ARG002 Airflow gives it
        hour = hour_after(datetime.fromisoformat(self.until))
        self._running = Job("complete", ["--until", hour, "--json"], self.log)
        code, said = self._running.result()
        answer = is_complete(code)
        if answer is None:
            raise AirflowFailException(f"complete ended with {code}: {reasons(said)}")
        if ending(code) is Ending.AWAY:
            self.log.warning("complete ended with %s, which says nothing; waiting goes on", code)
        return answer

    def on_kill(self) -> None:
        if self._running:
            self._running.stop()
