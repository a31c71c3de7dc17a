"""The Delta tables of database ``sdp``: definitions, idempotent appends, counts by coordinates."""

from __future__ import annotations

import json

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.utils import AnalysisException

from pipelines.errors import MetastoreUnavailable
from pipelines.ingest.coordinates import behind, inside
from pipelines.records import ES_INVALID, INVALID, LEDGER, VALID, Batch

_COORDINATES = "kafka_topic STRING, kafka_partition INT, kafka_offset BIGINT, kafka_timestamp TIMESTAMP"
_VIOLATIONS = "ARRAY<STRUCT<code: STRING, field: STRING, message: STRING, severity: STRING, rule_fingerprint: STRING>>"
_INVALID_COLUMNS = f"""{_COORDINATES}, raw BINARY, key BINARY, headers ARRAY<STRUCT<key: STRING, value: BINARY>>,
    schema_id BIGINT, request_id STRING, error_type STRING, error_message STRING, violations {_VIOLATIONS},
    rule_set_fingerprint STRING, failed_at TIMESTAMP, batch_id BIGINT, status STRING, attempt INT"""
COLUMNS = {
    VALID: f"""timestamp BIGINT, request_id STRING, api_endpoint STRING, http_method STRING, status_code INT,
    response_time_ms INT, client_ip STRING, user_agent STRING, payload_size INT, error_message STRING,
    event_time TIMESTAMP, warnings {_VIOLATIONS}, {_COORDINATES}, schema_id BIGINT, content_hash BIGINT,
    batch_id BIGINT, ingested_at TIMESTAMP, date DATE, hour INT""",
    INVALID: f"{_INVALID_COLUMNS}, date DATE, hour INT",
    ES_INVALID: f"""{_INVALID_COLUMNS}, es_index STRING, es_status INT, es_error_type STRING, es_reason STRING,
    date DATE""",
    LEDGER: """query STRING, query_id STRING, batch_id BIGINT, topic STRING, partition INT, from_offset BIGINT,
    until_offset BIGINT, valid BIGINT, invalid BIGINT, gaps BIGINT, lost BIGINT, rule_set_fingerprint STRING,
    committed_at TIMESTAMP, date DATE""",
}
_PARTITIONED_BY = {VALID: "date, hour", INVALID: "date, hour", ES_INVALID: "date", LEDGER: "date"}
_FILTERED = {
    VALID: "kafka_partition,kafka_offset,batch_id,event_time,status_code",
    INVALID: "kafka_partition,kafka_offset,batch_id,error_type",
    ES_INVALID: "kafka_partition,kafka_offset,batch_id",
    LEDGER: "query,batch_id,partition,until_offset",
}
"""Columns with min/max statistics: those that queries filter on. Statistics on all fields cost 5 to 20 % of a write."""


class Tables:
    """All tables of one database."""

    def __init__(self, spark: SparkSession, database: str, warehouse: str) -> None:
        self._spark, self._database, self._warehouse = spark, database, warehouse

    def create_missing(self) -> None:
        """Create the database and every table that is not there. Raises MetastoreUnavailable."""
        try:
            self._spark.sql(
                f"CREATE DATABASE IF NOT EXISTS {self._database} LOCATION '{self._warehouse}/{self._database}.db'"
            )
            for table, columns in COLUMNS.items():
                self._spark.sql(
                    f"CREATE TABLE IF NOT EXISTS {self._database}.{table} ({columns}) USING delta "
                    f"PARTITIONED BY ({_PARTITIONED_BY[table]}) "
                    f"TBLPROPERTIES ('delta.dataSkippingStatsColumns' = '{_FILTERED[table]}')"
                )
        except AnalysisException as error:
            if "MetaException" in str(error) or "Hive" in str(error):
                uri = self._spark.conf.get("spark.hadoop.hive.metastore.uris", "?")
                raise MetastoreUnavailable("Hive metastore", str(uri), str(error).splitlines()[0]) from error
            raise

    def read(self, table: str) -> DataFrame:
        """The table as it is now."""
        return self._spark.table(f"{self._database}.{table}")

    def append(self, table: str, frame: DataFrame, batch: Batch) -> None:
        """Write once per (query, table, batch): Delta skips the second try (law 3)."""
        narrow = frame.coalesce(self._spark.sparkContext.defaultParallelism)
        writer = narrow.write.format("delta").mode("append").option("userMetadata", _metadata(batch))
        writer = writer.option("txnAppId", f"{batch.query_id}:{table}").option("txnVersion", str(batch.batch_id))
        writer.saveAsTable(f"{self._database}.{table}")

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


def _metadata(batch: Batch) -> str:
    return json.dumps({"query": batch.query, "query_id": batch.query_id, "batch_id": batch.batch_id}, sort_keys=True)
