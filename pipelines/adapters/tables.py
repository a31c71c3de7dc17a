"""The Delta tables of database ``sdp``: definitions, idempotent appends, counts by coordinates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import reduce

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    MetadataChangedException,
    ProtocolChangedException,
)
from delta.tables import DeltaMergeBuilder, DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.utils import AnalysisException
from tenacity import retry, retry_if_exception, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from pipelines.contracts.writer import Field
from pipelines.errors import MetastoreUnavailable, UsageError
from pipelines.ingest.coordinates import behind, inside
from pipelines.ingest.route import COLUMN_TYPES
from pipelines.records import (
    AUDIT,
    COORDINATES,
    ES_INVALID,
    FINDINGS,
    INVALID,
    LEDGER,
    REPAIRS,
    RETIREMENTS,
    RULE_SETS,
    RUNS,
    VALID,
    Batch,
)

_COORDINATES = "kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT, kafka_timestamp TIMESTAMP"
_VIOLATIONS = "ARRAY<STRUCT<code: STRING, field: STRING, message: STRING, severity: STRING, rule_fingerprint: STRING>>"
_INVALID_COLUMNS = f"""{_COORDINATES}, raw BINARY, key BINARY, headers ARRAY<STRUCT<key: STRING, value: BINARY>>,
    schema_id BIGINT, request_id STRING, error_type STRING, error_message STRING, violations {_VIOLATIONS},
    rule_set_fingerprint STRING, failed_at TIMESTAMP, batch_id BIGINT, status STRING, attempt INT"""
COLUMNS = {
    VALID: f"""timestamp BIGINT, request_id STRING, api_endpoint STRING, http_method STRING, status_code BIGINT,
    response_time_ms BIGINT, client_ip STRING, user_agent STRING, payload_size BIGINT, error_message STRING,
    event_time TIMESTAMP, warnings {_VIOLATIONS}, {_COORDINATES}, schema_id BIGINT, content_hash BIGINT,
    batch_id BIGINT, ingested_at TIMESTAMP, date DATE, hour INT""",
    INVALID: f"{_INVALID_COLUMNS}, date DATE, hour INT",
    ES_INVALID: f"""{_INVALID_COLUMNS}, es_index STRING, es_status INT, es_error_type STRING, es_reason STRING,
    date DATE""",
    LEDGER: """query STRING, query_id STRING, batch_id BIGINT, topic STRING, partition INT, from_offset BIGINT,
    until_offset BIGINT, valid BIGINT, invalid BIGINT, gaps BIGINT, lost BIGINT, rule_set_fingerprint STRING,
    committed_at TIMESTAMP, hours ARRAY<STRUCT<hour: TIMESTAMP, valid: BIGINT, content_hash: BIGINT>>,
    date DATE""",
    RULE_SETS: """fingerprint STRING, subject STRING, rules ARRAY<STRUCT<id: STRING, field: STRING, severity: STRING,
    owner: STRING, message: STRING, fingerprint: STRING, definition: STRING>>, definition STRING, first_query STRING,
    first_batch_id BIGINT, first_used_at TIMESTAMP""",
    AUDIT: """kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT, at TIMESTAMP, who STRING, replay_id STRING,
    chunk INT, recipe STRING, recipe_fingerprint STRING, rule_set_fingerprint STRING, outcome STRING,
    codes ARRAY<STRING>, attempt INT, message STRING, date DATE""",
    RUNS: """run_id STRING, topic STRING, started_at TIMESTAMP, finished_at TIMESTAMP, window_from TIMESTAMP,
    window_until TIMESTAMP, state STRING, verdict STRING, records BIGINT, discrepant BIGINT, lost BIGINT, share DOUBLE,
    deep BOOLEAN, sampled INT, seed BIGINT, complete_until TIMESTAMP, hours ARRAY<STRUCT<hour: TIMESTAMP,
    ledger_ingest: BIGINT, table: BIGINT, ledger_index: BIGINT, documents: BIGINT, invalid: BIGINT,
    discrepant: BIGINT>>, offsets ARRAY<STRUCT<job: STRING, partition: INT, earliest: BIGINT, latest: BIGINT,
    first: BIGINT, until: BIGINT, covered: BIGINT, uncovered: BIGINT, doubled: BIGINT, lost: BIGINT>>,
    kinds ARRAY<STRUCT<kind: STRING, side: STRING, findings: BIGINT>>, notes ARRAY<STRING>, failure STRING,
    settled_until TIMESTAMP, seconds MAP<STRING, DOUBLE>, date DATE""",
    FINDINGS: """run_id STRING, last_run_id STRING, kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT,
    request_id STRING, kind STRING, side STRING, hour TIMESTAMP, first_seen TIMESTAMP, last_seen TIMESTAMP,
    field STRING, expected STRING, found STRING, es_index STRING, es_id STRING, reason STRING, state STRING,
    closed_at TIMESTAMP, closed_by STRING, run_ids ARRAY<STRING>, date DATE""",
    REPAIRS: """repair_id STRING, run_id STRING, at TIMESTAMP, who STRING, kafka_topic STRING, kafka_partition INT,
    kafka_offset BIGINT, request_id STRING, kind STRING, side STRING, action STRING, source STRING, outcome STRING,
    es_index STRING, es_id STRING, message STRING, date DATE""",
    RETIREMENTS: """store STRING, unit STRING, status STRING, topic STRING, partition INT, rows BIGINT, state STRING,
    at TIMESTAMP""",
}
_GROWN = {
    LEDGER: ("hours", "ARRAY<STRUCT<hour: TIMESTAMP, valid: BIGINT, content_hash: BIGINT>>"),
    FINDINGS: ("run_ids", "ARRAY<STRING>"),
}
"""Columns that tables of an earlier version lack; null in the rows that were there."""
OF_RECONCILIATION = (FINDINGS, REPAIRS, RUNS)
OF_MAINTENANCE = (RETIREMENTS,)
OF_JOBS = tuple(table for table in COLUMNS if table not in (*OF_RECONCILIATION, *OF_MAINTENANCE))
"""What the jobs need before their first batch."""
_PARTITIONED_BY = {
    VALID: "date, hour",
    INVALID: "date, hour",
    ES_INVALID: "date",
    LEDGER: "date",
    AUDIT: "date",
    RUNS: "date",
    FINDINGS: "date",
    REPAIRS: "date",
}
_FILTERED = {
    VALID: "kafka_partition,kafka_offset,kafka_timestamp,batch_id,event_time,status_code",
    INVALID: "kafka_partition,kafka_offset,batch_id,error_type",
    ES_INVALID: "kafka_partition,kafka_offset,batch_id",
    LEDGER: "query,batch_id,partition,until_offset",
    RULE_SETS: "fingerprint",
    AUDIT: "kafka_partition,kafka_offset,replay_id",
    RUNS: "run_id,started_at,window_from,window_until",
    FINDINGS: "run_id,last_run_id,kafka_partition,kafka_offset,state",
    REPAIRS: "repair_id,run_id,kafka_partition,kafka_offset",
    RETIREMENTS: "store,unit",
}
"""Columns with min/max statistics: those that queries filter on. Statistics on all fields cost 5 to 20 % of a write."""


_CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
)
"""Somebody else wrote to the table since we read it: the same statement may succeed now."""

_REDEFINED = (MetadataChangedException, ProtocolChangedException)
"""Somebody else changed a column or a property of the table; Delta then refuses every commit that began before."""

MEANWHILE = (*_CONFLICTS, *_REDEFINED)

A_FEW_TIMES, LONGER_EACH = stop_after_attempt(8), wait_exponential_jitter(multiplier=0.5, max=20)

on_conflict = retry(retry=retry_if_exception_type(MEANWHILE), stop=A_FEW_TIMES, wait=LONGER_EACH, reraise=True)
"""Decorates a statement that is tried again where a job has written to the table meanwhile."""

_MADE_BY_ANOTHER = ("already exists", "AlreadyExists", "ALREADY_EXISTS", "NON_EMPTY_LOCATION")
"""What is said where another job has made a table, or is half-way."""


def _may_be_there_now(error: BaseException) -> bool:
    """Whether another job makes the table, or has made it, in the same moment."""
    made = isinstance(error, AnalysisException) and any(sign in str(error) for sign in _MADE_BY_ANOTHER)
    return made or isinstance(error, (*_REDEFINED, *_CONFLICTS))


class Tables:
    """All tables of one database."""

    def __init__(self, spark: SparkSession, database: str, warehouse: str) -> None:
        self._spark, self._database, self._warehouse = spark, database, warehouse
        self._evolved: dict[str, Sequence[Field]] = {}

    def create_missing(self, tables: Iterable[str] = OF_JOBS) -> None:
        """Create the database and those of ``tables`` that are not there, whoever else does so too.

        Raises MetastoreUnavailable.
        """
        try:
            self._spark.sql(
                f"CREATE DATABASE IF NOT EXISTS {self._database} LOCATION '{self._warehouse}/{self._database}.db'"
            )
            for table in tables:
                self._create(table)
        except AnalysisException as error:
            if "MetaException" in str(error) or "Hive" in str(error):
                uri = self._spark.conf.get("spark.hadoop.hive.metastore.uris", "?")
                raise MetastoreUnavailable("Hive metastore", str(uri), str(error).splitlines()[0]) from error
            raise

    @retry(retry=retry_if_exception(_may_be_there_now), stop=A_FEW_TIMES, wait=LONGER_EACH, reraise=True)
    def _create(self, table: str) -> None:
        partitioned = f"PARTITIONED BY ({_PARTITIONED_BY[table]}) " if table in _PARTITIONED_BY else ""
        self._spark.sql(
            f"CREATE TABLE IF NOT EXISTS {self._database}.{table} ({COLUMNS[table]}) USING delta {partitioned}"
            f"TBLPROPERTIES ('delta.dataSkippingStatsColumns' = '{_FILTERED[table]}')"
        )
        self.grow(table)

    @retry(retry=retry_if_exception(_may_be_there_now), stop=A_FEW_TIMES, wait=LONGER_EACH, reraise=True)
    def grow(self, table: str) -> None:
        """Add the column that a table of an earlier version lacks: metadata only, null in the rows that are there."""
        if table in _GROWN and _GROWN[table][0] not in self.read(table).columns:
            self._spark.sql(f"ALTER TABLE {self._database}.{table} ADD COLUMNS ({' '.join(_GROWN[table])})")

    def exists(self, table: str) -> bool:
        """Whether the table is there."""
        return bool(self._spark.catalog.tableExists(f"{self._database}.{table}"))

    def evolve(self, table: str, fields: Sequence[Field]) -> None:
        """Add the columns that ``fields`` has more: metadata only, no row is rewritten.

        What was found in order once is not looked at again. Raises UsageError for a table with an ``int`` column, as
        early versions of the platform made them, that a field no longer fits in.
        """
        if self._evolved.get(table) == fields:
            return
        name = f"{self._database}.{table}"
        have = {column.name: column.dataType.simpleString() for column in self.read(table).schema}
        for field in fields:
            if field.type == "long" and have.get(field.name) == "int":
                raise UsageError(
                    f"column {field.name} of {name} is int, and its field is long by now: write the table anew with "
                    f"that column as bigint, or take back the version in which the field is long"
                )
        added = ", ".join(f"`{f.name}` {COLUMN_TYPES[f.type]}" for f in fields if f.name not in have)
        if added:
            self._spark.sql(f"ALTER TABLE {name} ADD COLUMNS ({added})")
        self._evolved[table] = tuple(fields)

    def read(self, table: str) -> DataFrame:
        """The table as it is now."""
        return self._spark.table(f"{self._database}.{table}")

    def append(self, table: str, frame: DataFrame, batch: Batch) -> None:
        """Write once per (query, table, batch): Delta skips the second try (law 3)."""
        self._append(table, frame, f"{batch.query_id}:{table}", batch.batch_id, batch)

    def append_once(self, table: str, frame: DataFrame, key: str, batch: Batch) -> None:
        """Write once per ``key``, whoever tries: any job, any batch. Raises ConcurrentTransactionException.

        It means that somebody else wrote the same key at the same moment.
        """
        self._append(table, frame, key, 0, batch)

    @retry(retry=retry_if_exception_type(_REDEFINED), stop=A_FEW_TIMES, wait=LONGER_EACH, reraise=True)
    def _append(self, table: str, frame: DataFrame, app_id: str, version: int, batch: Batch) -> None:
        """Append once per application id and version; again if a property or column of the table changed meanwhile."""
        narrow = frame.coalesce(self._spark.sparkContext.defaultParallelism)
        writer = narrow.write.format("delta").mode("append").option("userMetadata", _metadata(batch))
        writer = writer.option("txnAppId", app_id).option("txnVersion", str(version))
        writer.saveAsTable(f"{self._database}.{table}")

    def insert_missing(self, table: str, rows: DataFrame) -> None:
        """Insert the rows whose coordinates are not in the table, however often this is tried."""
        self._merge(table, rows, (), None, lambda merge: merge.whenNotMatchedInsertAll().withSchemaEvolution())

    def update(self, table: str, changes: DataFrame, columns: Sequence[str], batch: Batch) -> None:
        """Give the rows with the coordinates and ``date`` of ``changes`` the values of ``columns``, once per batch."""
        values = {name: f"changes.`{name}`" for name in columns}
        self._merge(table, changes, ("date",), batch, lambda merge: merge.whenMatchedUpdate(set=values))

    def committed(self, table: str, batch: Batch) -> int:
        """Rows of the batch that the table holds: from the newest commit if it is this batch's, else counted."""
        newest = DeltaTable.forName(self._spark, f"{self._database}.{table}").history(1).first()
        if newest is not None and newest["userMetadata"] == _metadata(batch):
            return int(newest["operationMetrics"]["numOutputRows"])
        return self.read(table).where(inside(batch.ranges)).count()

    def holds(self, table: str, topic: str) -> bool:
        """Whether there is any row of the topic."""
        return not self.read(table).where(F.col("kafka_topic") == topic).isEmpty()

    def delete_from(self, table: str, starts: dict[int, int], topic: str) -> None:
        """Delete all rows of ``topic`` at or behind the offset that ``starts`` gives for their partition."""
        DeltaTable.forName(self._spark, f"{self._database}.{table}").delete(behind(starts, topic))

    @on_conflict
    def _merge(
        self,
        table: str,
        changes: DataFrame,
        keys: Sequence[str],
        batch: Batch | None,
        how: Callable[[DeltaMergeBuilder], DeltaMergeBuilder],
        only: Column | None = None,
    ) -> None:
        """Merge on coordinates, once per batch if one is given; again if the table changed meanwhile."""
        same = [F.col(f"held.{name}") == F.col(f"changes.{name}") for name in (*COORDINATES, *keys)]
        condition = reduce(Column.__and__, same if only is None else [*same, only]) & _near(changes, keys)
        target = DeltaTable.forName(self._spark, f"{self._database}.{table}").alias("held")
        merge = how(target.merge(changes.alias("changes"), condition))
        with self._transaction(f"{batch.query_id}:{table}", batch.batch_id) if batch else nullcontext():
            merge.execute()

    @contextmanager
    def _transaction(self, app_id: str, version: int) -> Iterator[None]:
        """What ``txnAppId`` and ``txnVersion`` are to an append, for statements that have no options."""
        conf = {
            "spark.databricks.delta.write.txnAppId": app_id,
            "spark.databricks.delta.write.txnVersion": str(version),
        }
        for key, value in conf.items():
            self._spark.conf.set(key, value)
        try:
            yield
        finally:
            for key in conf:
                self._spark.conf.unset(key)


def _near(changes: DataFrame, keys: Sequence[str]) -> Column:
    """The range of the changes in words that Delta can skip files by."""
    names = ("kafka_partition", "kafka_offset", *keys)
    ends = changes.agg(*(f(name).alias(f"{f.__name__}_{name}") for name in names for f in (F.min, F.max))).collect()[0]
    bounds = [F.col(f"held.{name}").between(ends[f"min_{name}"], ends[f"max_{name}"]) for name in names]
    return reduce(Column.__and__, bounds)


def _metadata(batch: Batch) -> str:
    return json.dumps({"query": batch.query, "query_id": batch.query_id, "batch_id": batch.batch_id}, sort_keys=True)
