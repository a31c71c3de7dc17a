"""What one try of a replay made of each row: outcome, codes and message, in the words of the audit trail."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.badrows.plan import Plan
from pipelines.badrows.rows import critical
from pipelines.records import CONFLICT, COORDINATES, DUPLICATE, Outcome, RowStatus, Stage

PLACE = ("kafka_partition", "kafka_offset")
IN = (Outcome.REPLAYED.value, Outcome.RESTORED.value)
"""The row is in the valid table and in Elasticsearch."""

UNCHANGED = "is valid already: its document is written anew from the table, and no step changes it"

ES_COLUMNS = ("es_index", "es_status", "es_error_type", "es_reason")


def verdicts(rows: DataFrame, valid: DataFrame, invalid: DataFrame, rejects: DataFrame | None) -> DataFrame:
    """One row per repaired row: coordinates, date, raw, value, status, attempt, is_held, outcome, codes, message, and
    why Elasticsearch refused it (es_index, es_status, es_error_type, es_reason).

    ``rows``: those of ``rows.repaired``, and those that the valid table holds already (``is_held``). ``valid``,
    ``invalid``: the halves they were routed into, held ones among the valid. ``rejects``: documents that Elasticsearch
    refused; None means none, or that nothing was sent.
    """
    halves = _found_valid(valid).unionByName(_found_invalid(invalid))
    judged = rows.join(halves, list(COORDINATES), "left")
    judged = judged.join(rejects, list(PLACE), "left") if rejects is not None else _never_refused(judged)
    is_refused = F.col("es_error_type").isNotNull()
    of_cluster = F.when(F.col("es_status") == CONFLICT, DUPLICATE).otherwise(
        F.concat(F.lit("elasticsearch_"), "es_error_type")
    )
    has_failed = F.col("failed").isNotNull()
    is_restored = (F.col("outcome") == Outcome.REPLAYED.value) & (F.col("status") == RowStatus.REPLAYED.value)
    is_restored &= F.col("is_held")
    return judged.select(
        *COORDINATES,
        "date",
        "raw",
        "value",
        "status",
        "attempt",
        "is_held",
        _first(
            (has_failed, Outcome.FAILED_STEP),
            (is_refused, Outcome.REJECTED),
            (is_restored, Outcome.RESTORED),
            otherwise="outcome",
        ),
        F.when(has_failed, F.array("failed.code"))
        .when(is_refused, F.array(of_cluster))
        .otherwise(F.col("codes"))
        .alias("codes"),
        F.when(has_failed, _step())
        .when(is_refused, F.col("es_reason"))
        .when(is_restored, F.lit(UNCHANGED))
        .otherwise(F.col("message"))
        .alias("message"),
        *ES_COLUMNS,
    )


def settled(found: DataFrame, plan: Plan) -> DataFrame:
    """Verdicts with the state that each row has from now on (``status``, ``attempt``); no state is ever lowered.

    ``stays``: the row is valid, or was called so, and this try did not bring its document back: what
    ``api6_es_invalid`` says of it is left alone.
    """
    is_in = F.col("outcome").isin(*IN)
    was_in = F.col("is_held") | (F.col("status") == RowStatus.REPLAYED.value)
    is_given_up = F.lit(plan.mark_unrecoverable) & ~is_in & ~was_in
    message = F.concat_ws(": ", "outcome", "message")
    status = F.when(is_in | was_in, RowStatus.REPLAYED.value).when(is_given_up, RowStatus.UNRECOVERABLE.value)
    return found.withColumns(
        {
            "stays": was_in & ~is_in,
            "status": status.otherwise(F.col("status")),
            "attempt": F.col("attempt") + 1,
            "message": F.when(is_given_up, message).otherwise(F.col("message")),
            "outcome": F.when(is_given_up, Outcome.UNRECOVERABLE.value).otherwise(F.col("outcome")),
        }
    )


def audited(settled_rows: DataFrame, plan: Plan, at: datetime) -> DataFrame:
    """Rows of ``badrow_audit``."""
    return settled_rows.select(
        *COORDINATES,
        F.lit(at).alias("at"),
        F.lit(plan.who).alias("who"),
        F.lit(plan.replay_id).alias("replay_id"),
        F.lit(plan.chunk).alias("chunk"),
        F.lit(plan.recipe.name).alias("recipe"),
        F.lit(plan.recipe.fingerprint).alias("recipe_fingerprint"),
        F.lit(plan.rules.fingerprint).alias("rule_set_fingerprint"),
        "outcome",
        "codes",
        "attempt",
        "message",
        F.lit(at.date()).alias("date"),
    )


def _found_valid(valid: DataFrame) -> DataFrame:
    none = F.array().cast("array<string>")
    return valid.select(
        *COORDINATES,
        F.lit(Outcome.REPLAYED.value).alias("outcome"),
        none.alias("codes"),
        F.lit(None).cast("string").alias("message"),
    )


def _found_invalid(invalid: DataFrame) -> DataFrame:
    is_duplicate = F.col("error_type") == Stage.DUPLICATE.value
    return invalid.select(
        *COORDINATES,
        F.when(is_duplicate, Outcome.DUPLICATE.value).otherwise(Outcome.STILL_INVALID.value).alias("outcome"),
        F.transform(critical(), lambda v: v["code"]).alias("codes"),
        F.col("error_message").alias("message"),
    )


def _never_refused(rows: DataFrame) -> DataFrame:
    types = dict.fromkeys(ES_COLUMNS, "string") | {"es_status": "int"}
    return rows.select("*", *(F.lit(None).cast(types[name]).alias(name) for name in ES_COLUMNS))


def _first(*cases: tuple[Column, Outcome], otherwise: str) -> Column:
    found = F.col(otherwise)
    for condition, outcome in reversed(cases):
        found = F.when(condition, outcome.value).otherwise(found)
    return found.alias("outcome")


def _step() -> Column:
    parts = ("step ", F.col("failed.step").cast("string"), " (", F.col("failed.kind"), "): ", F.col("failed.message"))
    return F.concat(*(F.lit(p) if isinstance(p, str) else p for p in parts))
