"""Every night at 23:30: are Kafka, tables and indices the same? Who must know, and is it repaired? docs/airflow.md"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, Context, CronDataIntervalTimetable, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from api6_alerts import CHANNELS, alert
from api6_calls import compared_run, given, is_proven, next_tasks, reconcile_options, run_id, summary, told_as
from api6_jobs import DEFAULTS, STARTS, TIMEZONE, SubmitJob

PARAMS = {
    "window_from": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="From",
        description="Start of the window; without both fields it is the run's interval.",
    ),
    "window_until": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Until",
        description="End of the window, not included; now if there is only From. Minutes are cut off both.",
    ),
    "sample": Param(
        1000,
        type="integer",
        minimum=0,
        maximum=100_000,
        title="Sample",
        description="Records compared field by field on all sides.",
    ),
    "deep": Param(
        "on Sundays",
        enum=["on Sundays", "always", "never"],
        title="Deep",
        description="Read every row and document, not only the sums of their hashes.",
    ),
    "repair": Param(False, type="boolean", title="Repair", description="Repair what is found, then compare again."),
    "delete_extras": Param(
        False,
        type="boolean",
        title="Delete extras",
        description="With Repair: remove documents that should not be there.",
    ),
}


def window(context: Context) -> list[str]:
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    zoned = end.astimezone(ZoneInfo(TIMEZONE)) if end else None
    run = context["dag_run"]
    return reconcile_options(context["params"], run_id(run.run_id, run.clear_number or 0), start, zoned)


def repair_options(context: Context) -> list[str]:
    extras = given({"--delete-extras": context["params"]["delete_extras"]})
    return [compared_run(context["ti"].xcom_pull(task_ids="reconcile")), "--json", *extras]


with DAG(
    "api6_reconciliation",
    schedule=CronDataIntervalTimetable("30 23 * * *", timezone=TIMEZONE),
    start_date=STARTS,
    catchup=False,
    default_args=DEFAULTS,
    params=PARAMS,
    doc_md=__doc__,
    tags=["api6"],
) as dag:
    reconcile = SubmitJob(task_id="reconcile", job="reconcile", options=window, judged_later=True)
    repair = SubmitJob(task_id="repair", job="repair", options=repair_options)

    @task.branch
    def verdict(found: dict[str, Any], params: dict[str, Any]) -> list[str]:
        return next_tasks(found, params["repair"])

    @task
    def ok(found: dict[str, Any]) -> str:
        return summary(found)

    @task
    def tell(channel: str, what: str, found: dict[str, Any]) -> None:
        context = get_current_context()
        alert(channel, told_as(found, what), summary(found), context, context["task"].log)

    @task(trigger_rule="none_failed", retries=0, on_failure_callback=[])  # who must know has been told
    def proven(found: dict[str, Any], ti: Any) -> str:
        """Red unless the window is clean, or was made so."""
        repaired = bool(ti.xcom_pull(task_ids="repair"))
        if not is_proven(found, repaired=repaired):
            raise AirflowFailException(summary(found) + (", repaired, and still not proven" if repaired else ""))
        return summary(found) + (", repaired" if repaired else "")

    result = reconcile.output
    alarms = [
        tell.override(task_id=what).partial(what=what, found=result).expand(channel=list(CHANNELS))
        for what in ("investigate", "escalate")
    ]
    verdict(result) >> [ok(result), *alarms, repair] >> proven(result)
