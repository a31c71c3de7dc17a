"""A job of spark-submit.sh as a task: its exit code says what becomes of the task, and it ends with the task."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import BaseOperator, Context, Variable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from api6_alerts import alert_of_failure
from api6_calls import Ending, WrongForm, answer, command, ending, figures, reasons

TIMEZONE = os.environ.get("SDP_TIMEZONE", "UTC")
STARTS = datetime(2025, 1, 1, tzinfo=ZoneInfo(TIMEZONE))
"""Backfills reach back to here; no DAG catches up by itself."""

DEFAULTS: dict[str, Any] = {
    "retries": int(os.environ.get("SDP_RETRIES", "5")),
    "retry_delay": timedelta(seconds=float(os.environ.get("SDP_RETRY_DELAY_S", "120"))),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(hours=1),
    "execution_timeout": timedelta(hours=6),
    "max_active_tis_per_dag": 1,  # whatever runs at once, a backfill's days too: one Spark job of a kind
    "on_failure_callback": alert_of_failure,
}

STOP_S = 90
"""How long a job that was told to stop may take before the task ends without it."""
KEPT_LINES = 20_000

Options = Callable[[Context], Sequence[str]]


class Job:
    """One call of spark-submit.sh, in a process group of its own: a kill of the task must not cut off its batch."""

    def __init__(self, job: str, options: Sequence[str], log: Any) -> None:
        self.command = command(job, options, lambda name, otherwise: str(Variable.get(name, default=otherwise)))
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._stopped = False
        self._log = log
        log.info(shlex.join(self.command))
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace", process_group=0
        )

    def result(self) -> tuple[int, str]:
        """Exit code and standard output, which is logged line by line; standard error is in the task's log by itself.

        Raises AirflowException if the job did not come to its own end.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
            self._log.info(line.rstrip("\n"))
        code = self._process.wait()
        if self._stopped:
            raise AirflowException(f"stopped before its end (exit code {code}); another try does it anew")
        return code, "".join(self._said)

    def stop(self) -> None:
        """Tell it to finish its batch and end; waits for that."""
        if self._process.poll() is None:
            self._stopped = True
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._log.warning("%s was told to stop and goes on", shlex.join(self.command))


class SubmitJob(BaseOperator):
    """Run a job of spark-submit.sh; its options, exit code and figures of its answer are the XCom.

    ``options``: makes the job's options of the context. ``judged_later``: wrong data (exit code 1) are a result for the
    tasks behind this one, not a failure. Only infrastructure that is away is tried again.
    """

    def __init__(self, *, job: str, options: Options = lambda _: (), judged_later: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job, self.options, self.judged_later = job, options, judged_later
        self._running: Job | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        try:
            options = list(self.options(context))
        except WrongForm as error:
            raise AirflowFailException(str(error)) from error
        self._running = Job(self.job, options, self.log)
        code, said = self._running.result()
        match ending(code):
            case Ending.FINE:
                pass
            case Ending.DATA_WRONG if self.judged_later:
                pass
            case Ending.AWAY:
                raise AirflowException(f"{self.job} ended with {code}, another try may help: {reasons(said)}")
            case other:
                raise AirflowFailException(f"{self.job} ended with {code} ({other.value}): {reasons(said)}")
        return {"exit_code": code, "options": options, **figures(answer(said))}

    def on_kill(self) -> None:
        if self._running:
            self._running.stop()
