"""Which bad rows somebody means: read from ``api6_logs_invalid``, by what stands in its columns and in the value."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.badrows.recipe import Where
from pipelines.badrows.rows import meant
from pipelines.contracts.writer import SchemaSet
from pipelines.ingest.decode import decode
from pipelines.records import COORDINATES


def select(rows: DataFrame, where: Where, schemas: SchemaSet) -> DataFrame:
    """Rows of the invalid table that fulfil the conditions."""
    found = rows.where(meant(where))
    if where.endpoint is None:
        return found
    here = endpoints(found, schemas).where(F.col("endpoint").startswith(where.endpoint))
    return found.join(here.select(*COORDINATES), list(COORDINATES), "left_semi")


def endpoints(rows: DataFrame, schemas: SchemaSet) -> DataFrame:
    """Coordinates, ``kafka_timestamp`` and ``endpoint`` of invalid rows; null where the value does not decode.

    Decoded by what decodes everything else, since the table has no such column.
    """
    values = rows.select(*COORDINATES, "kafka_timestamp", F.col("raw").alias("value")).transform(decode(schemas))
    endpoint = F.when(F.col("spare") == 0, F.col("api_endpoint")).alias("endpoint")
    return values.select(*COORDINATES, "kafka_timestamp", endpoint)
