"""``sdp.rule_sets``: the text behind every fingerprint that a row carries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from delta.exceptions import ConcurrentTransactionException
from pyspark.sql import Column, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.tables import COLUMNS, Tables
from pipelines.contracts.rules import KnownSet, RuleSet
from pipelines.records import LEDGER, RULE_SETS, Batch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RuleSets:
    """One row per set, whatever the number of jobs, replays and kills."""

    def __init__(self, spark: SparkSession, tables: Tables) -> None:
        self._spark, self._tables = spark, tables
        self._kept: set[tuple[str, str]] = set()

    def keep(self, rules: RuleSet, batch: Batch) -> None:
        """Write the set unless it is there. To be called before the batch writes rows with its fingerprint.

        Costs nothing for a set that this process has kept before.
        """
        key = (rules.subject, rules.fingerprint)
        if key in self._kept:
            return
        row = self._spark.createDataFrame([_row(rules, batch)], COLUMNS[RULE_SETS]).coalesce(1)
        try:
            self._tables.append_once(RULE_SETS, row, f"rule_set:{rules.subject}:{rules.fingerprint}", batch)
        except ConcurrentTransactionException:  # the other job began to use it at the same moment
            if self._tables.read(RULE_SETS).where(_is(*key)).isEmpty():
                raise
        self._kept.add(key)

    def all(self) -> list[KnownSet]:
        """Every set, in the order of first use."""
        columns = ("definition", "first_query", "first_batch_id", F.unix_millis("first_used_at").alias("first_used_ms"))
        rows = self._tables.read(RULE_SETS).orderBy("first_used_at", "fingerprint").select(*columns).collect()
        return [_known(row) for row in rows]

    def by_fingerprint(self) -> dict[str, RuleSet]:
        """Every set by what rows and ledger call it."""
        return {known.rules.fingerprint: known.rules for known in self.all()}

    def newest(self, topic: str) -> RuleSet | None:
        """The set that judged the newest batch of the topic in the ledger; None before the first one."""
        confirmed = self._tables.read(LEDGER).where(F.col("topic") == topic)
        used = confirmed.agg(F.max_by("rule_set_fingerprint", "committed_at").alias("fingerprint"))
        row = self._tables.read(RULE_SETS).join(used, "fingerprint").select("definition").first()
        return None if row is None else RuleSet.model_validate_json(row["definition"])


def _is(subject: str, fingerprint: str) -> Column:
    return (F.col("subject") == subject) & (F.col("fingerprint") == fingerprint)


def _row(rules: RuleSet, batch: Batch) -> tuple[object, ...]:
    each = [
        (rule.id, rule.field, rule.severity.value, rule.owner, rule.message, rule.fingerprint, rule.definition)
        for rule in rules.rules
    ]
    first_use = (batch.query, batch.batch_id, datetime.now(UTC))
    return (rules.fingerprint, rules.subject, each, rules.definition, *first_use)


def _known(row: Row) -> KnownSet:
    rules = RuleSet.model_validate_json(row["definition"])
    at = _EPOCH + timedelta(milliseconds=row["first_used_ms"])
    return KnownSet(rules, row["first_query"], row["first_batch_id"], at)
