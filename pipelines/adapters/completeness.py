"""The completeness watermark: a property of the valid table, where whoever reads the table can see it."""

from __future__ import annotations

from datetime import UTC, datetime

from delta.exceptions import ConcurrentTransactionException, MetadataChangedException, ProtocolChangedException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from pipelines.records import COMPLETE_UNTIL, VALID

_CHANGED_MEANWHILE = (ConcurrentTransactionException, MetadataChangedException, ProtocolChangedException)


class Completeness:
    """Reads and sets it."""

    def __init__(self, spark: SparkSession, database: str) -> None:
        self._spark, self._table = spark, f"{database}.{VALID}"

    def until(self) -> datetime | None:
        """The hour up to which everything is proven complete; None as long as nothing is."""
        text = self._text()
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)

    def set(self, until: datetime | None) -> None:
        """Move it, also back: an hour may turn out not to be complete. Nothing is written where nothing moves."""
        text = None if until is None else f"{until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if text == self._text():
            return
        key = COMPLETE_UNTIL
        change = f"UNSET TBLPROPERTIES ('{key}')" if text is None else f"SET TBLPROPERTIES ('{key}' = '{text}')"
        self._alter(f"ALTER TABLE {self._table} {change}")

    def _text(self) -> str | None:
        rows = self._spark.sql(f"SHOW TBLPROPERTIES {self._table}").where(F.col("key") == COMPLETE_UNTIL).collect()
        return str(rows[0]["value"]) if rows else None

    @retry(
        retry=retry_if_exception_type(_CHANGED_MEANWHILE),
        stop=stop_after_attempt(8),
        wait=wait_exponential_jitter(multiplier=0.5, max=20),
        reraise=True,
    )
    def _alter(self, statement: str) -> None:
        self._spark.sql(statement)
