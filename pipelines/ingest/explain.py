"""Say precisely what is wrong with the few values that do not decode: a walk over their bytes, in Python (law 9)."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.contracts import avro, avro_walk
from pipelines.contracts.wire import HEADER_LENGTH
from pipelines.contracts.writer import SchemaSet

PROBLEM = "struct<code:string,field:string,message:string>"


def explain(schemas: SchemaSet) -> Callable[[Column, Column], Column]:
    """A function of ``value`` and ``schema_id``: struct<code, field, message>, null if nothing is found.

    Null as well for a null value and for an id that no writer has. Bytes are counted from the start of the value, its
    header included, as `sdp badrows show` does.
    """
    texts = {schema_id: writer.text for schema_id, writer in schemas.writers.items()}

    def find(value: bytes | None, schema_id: int | None) -> tuple[str, str | None, str] | None:
        if value is None or schema_id not in texts:
            return None
        schema = avro.parse_once(texts[schema_id]).parsed
        problem = avro_walk.find_problem(schema, bytes(value)[HEADER_LENGTH:], HEADER_LENGTH)
        return None if problem is None else (str(problem.code), problem.field, problem.message)

    return F.udf(find, PROBLEM)
