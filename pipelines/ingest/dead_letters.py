"""Values that no schema can read → messages of the dead letter topic, in the words of Kafka Connect.

Header names and the value of ``stage`` are those that Kafka Connect writes (KIP-298), so that its tools read them.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts.avro_walk import DecodeProblem
from pipelines.records import Stage

PREFIX = "__connect.errors."
CONNECT_STAGE = "VALUE_CONVERTER"


def dead_letters(invalid: DataFrame) -> DataFrame:
    """Messages (``key``, ``value``, ``headers``) for the rows of ``Routed.invalid`` that could not be decoded.

    Value, key and headers are those of the record; behind its own headers come its coordinates and the problem.
    """
    first = F.element_at("violations", 1)
    is_misfit = first["code"] == DecodeProblem.INCOMPATIBLE_SCHEMA.value
    is_unreadable = F.col("error_type").isin(Stage.WIRE.value, Stage.DECODE.value) | is_misfit
    added = {
        "topic": F.col("kafka_topic"),
        "partition": F.col("kafka_partition"),
        "offset": F.col("kafka_offset"),
        "stage": F.lit(CONNECT_STAGE),
        "exception.class.name": F.concat_ws(".", F.lit("sdp"), "error_type", first["code"]),
        "exception.message": F.col("error_message"),
    }
    ours = F.array(*(_header(name, text) for name, text in added.items()))
    theirs = F.coalesce("headers", F.array().cast("array<struct<key:string,value:binary>>"))
    chosen = invalid.where(is_unreadable)
    return chosen.select("key", F.col("raw").alias("value"), F.concat(theirs, ours).alias("headers"))


def _header(name: str, text: Column) -> Column:
    return F.struct(F.lit(f"{PREFIX}{name}").alias("key"), text.cast("string").cast("binary").alias("value"))
