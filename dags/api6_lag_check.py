"""Every hour: are both jobs keeping up with the topic?"""

from __future__ import annotations

from airflow.sdk import DAG, Context, CronTriggerTimetable, Param

from api6_calls import given
from api6_jobs import DEFAULTS, STARTS, TIMEZONE, SubmitJob

LIMIT = {"type": ["null", "integer"], "minimum": 0}


def limits(context: Context) -> list[str]:
    params = context["params"]
    return [*given({"--max-records": params["max_records"], "--max-age-s": params["max_age_s"]}), "--json"]


with DAG(
    "api6_lag_check",
    schedule=CronTriggerTimetable("5 * * * *", timezone=TIMEZONE),
    start_date=STARTS,
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULTS, "retries": 2},  # the next check comes in an hour
    params={
        "max_records": Param(
            None, **LIMIT, title="Most records", description="Behind; by default what the settings say."
        ),
        "max_age_s": Param(
            None, **LIMIT, title="Most seconds", description="Behind; by default what the settings say."
        ),
    },
    doc_md=__doc__,
    tags=["api6"],
) as dag:
    SubmitJob(task_id="lag", job="lag", options=limits)
