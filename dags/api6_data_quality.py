"""Every night: yesterday's partitions against the expectations; reasons are in the message of a failure.

Its schedule is in UTC whatever the time zone of the others: the days are UTC's, and in a zone whose clock changes a run
of the night is before the end of the day in one half of the year and after it in the other, so that days would be
left out or come twice.
"""

from __future__ import annotations

from airflow.sdk import DAG, Context, CronDataIntervalTimetable, Param

from api6_calls import given, yesterday
from api6_jobs import DEFAULTS, STARTS, SubmitJob


def day(context: Context) -> list[str]:
    until = context.get("data_interval_end") or context["dag_run"].run_after
    params = context["params"]
    return [*given({"--day": params["day"] or yesterday(until), "--docs": params["docs"]}), "--json"]


with DAG(
    "api6_data_quality",
    schedule=CronDataIntervalTimetable("30 1 * * *", timezone="UTC"),
    start_date=STARTS,
    catchup=False,
    default_args=DEFAULTS,
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="UTC; by default the day before the run.",
        ),
        "docs": Param(
            "", type="string", title="Data Docs", description="Folder for the pages; empty for the job's default."
        ),
    },
    doc_md=__doc__,
    tags=["api6"],
) as dag:
    SubmitJob(task_id="quality", job="quality", options=day)
