"""Documents of Elasticsearch as a DataFrame, by elasticsearch-hadoop: only those that a comparison has to read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType, TimestampType

from pipelines.adapters.elastic import connector_address
from pipelines.settings import ElasticsearchSettings

ARRAYS = ("warnings",)


class ElasticDocuments:
    """One cluster. Reading raises Py4JJavaError while the cluster is away."""

    def __init__(self, spark: SparkSession, settings: ElasticsearchSettings) -> None:
        self._spark, self._settings = spark, settings

    def read(self, indices: Collection[str], query: Mapping[str, Any], schema: StructType) -> DataFrame:
        """What a query finds, in the columns of ``schema`` and ``es_index``, ``es_id``; null where a field is not."""
        if not indices:
            nowhere = F.lit(None).cast("string")
            empty = self._spark.createDataFrame([], schema)
            return empty.select("*", nowhere.alias("es_index"), nowhere.alias("es_id"))
        options = {
            **connector_address(self._settings),
            "es.query": json.dumps({"query": query}),
            "es.read.metadata": "true",
            "es.read.field.as.array.include": ",".join(ARRAYS),
            "es.field.read.empty.as.null": "false",  # an empty text is a value
            "es.scroll.size": "5000",
            "es.http.retries": "1",
            "es.http.timeout": "1m",
            "pushdown": "false",
        }
        raw = self._spark.read.format("es").options(**options).load(",".join(sorted(indices)))
        columns = [_typed(raw, f.name).cast(f.dataType).alias(f.name) for f in schema]
        address = F.col("_metadata")
        return raw.select(*columns, address["_index"].alias("es_index"), address["_id"].alias("es_id"))


def _typed(raw: DataFrame, name: str) -> Column:
    """A field; times in milliseconds, as the documents have them."""
    if name not in raw.columns:
        return F.lit(None)
    is_time = isinstance(raw.schema[name].dataType, TimestampType)
    return F.unix_millis(F.col(f"`{name}`")) if is_time else F.col(f"`{name}`")
