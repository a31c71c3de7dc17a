"""Every night, one after the other: optimize and vacuum the tables, move and delete old indices, clean checkpoints."""

from __future__ import annotations

from functools import partial

from airflow.sdk import DAG, Context, CronTriggerTimetable, Param

from api6_calls import given
from api6_jobs import DEFAULTS, STARTS, TIMEZONE, SubmitJob

STEPS = ("optimize", "vacuum", "indices", "checkpoints")


def options(step: str, context: Context) -> list[str]:
    return [step, "--json", *given({"--dry-run": context["params"]["dry_run"]})]


with DAG(
    "api6_maintenance",
    schedule=CronTriggerTimetable("0 3 * * *", timezone=TIMEZONE),
    start_date=STARTS,
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # one after the other, and the failure of one keeps no other from its turn
    default_args=DEFAULTS,
    params={"dry_run": Param(False, type="boolean", title="Dry run", description="Only say what would be done.")},
    doc_md=__doc__,
    tags=["api6"],
) as dag:
    for place, step in enumerate(STEPS):
        SubmitJob(task_id=step, job="maintain", options=partial(options, step), priority_weight=len(STEPS) - place)
