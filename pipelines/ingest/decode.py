"""Kafka value → ten typed fields, by the schema id that the writer put in front (laws 6 and 9).

``from_avro`` alone turns a bad value into a row of nulls and ignores left-over bytes. So the header is compared
byte by byte first, and the length that the decoded record must have is computed and held against the length it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro

from pipelines.contracts.writer import Field, LogSchema, SchemaSet

HEADER_BYTES = 5
MAGIC = 0
_PADDING_BYTES = 4096
_SIZED = {"string", "bytes"}
_VARINT_BITS = {"int": 32, "long": 64}
_FIXED_BYTES = {"float": 4, "double": 8, "boolean": 1, "enum": 1}  # an enum of at most 64 symbols
_LIMITS = [1 << (7 * length - 1) for length in range(1, 10)]
"""A zigzag varint of k bytes holds magnitudes below the k-th limit."""

_SPARK_TYPES = {"int": "int", "long": "bigint", "float": "float", "double": "double", "boolean": "boolean"}


def decode(schemas: SchemaSet) -> Callable[[DataFrame], DataFrame]:
    """Add the reader's fields, ``schema_id`` (long) and ``spare`` (int).

    In: ``value`` binary and whatever else. ``spare`` is the number of bytes left over behind the record: 0 for exactly
    one record, null for a value that does not decode. Only with 0 do the fields mean anything; ``decode_problem`` says
    what is wrong otherwise.
    """
    # A column that others use more than once gets a projection of its own: within one, Spark would compute it anew for
    # each use, and the generated code would grow past what the JVM compiles.
    written = [_when_written_by(i, _avro(F.col("value"), w)).alias(_written(i)) for i, w in schemas.writers.items()]
    measures = [_measure(i, f) for i, w in schemas.writers.items() for f in w.fields]
    spare = _per_writer(schemas, lambda i, w: _body_bytes() - _encoded_bytes(i, w)).alias("spare")
    fields = [_resolved(field, schemas).alias(field.name) for field in schemas.reader.fields]
    names = [field.name for field in schemas.reader.fields]
    schema_id = _schema_id(schemas).alias("schema_id")

    def transform(frame: DataFrame) -> DataFrame:
        decoded = frame.select("*", *written).select("*", *fields, *measures)
        return decoded.select(*frame.columns, *names, schema_id, spare)

    return transform


def _written(schema_id: int) -> str:
    return f"_written_{schema_id}"


def _header_of(schema_id: int) -> Column:
    return F.expr(f"X'{MAGIC:02X}{schema_id:08X}'")


def _when_written_by(schema_id: int, then: Column) -> Column:
    return F.when(_header() == _header_of(schema_id), then)


def _header() -> Column:
    return F.substring("value", 1, HEADER_BYTES)


def _avro(value: Column, writer: LogSchema) -> Column:
    body = F.substring(value, HEADER_BYTES + 1, 2**31 - 1)
    return from_avro(body, writer.plain, {"mode": "PERMISSIVE"})


def _per_writer(schemas: SchemaSet, make: Callable[[int, LogSchema], Column]) -> Column:
    """``make`` of the one writer whose header the value carries, null for any other value."""
    cases = [_when_written_by(i, make(i, w)) for i, w in schemas.writers.items()]
    return F.coalesce(*cases) if cases else F.lit(None)


def _body_bytes() -> Column:
    return F.octet_length("value") - HEADER_BYTES


def _encoded_bytes(schema_id: int, writer: LogSchema) -> Column:
    """Bytes that Avro needs for the decoded record; null where decoding failed."""
    sizes = [_field_bytes(schema_id, f) for f in writer.fields]
    return F.when(_is_decoded(F.col(_written(schema_id)), writer), reduce(Column.__add__, sizes))


def _is_decoded(record: Column, writer: LogSchema) -> Column:
    """``from_avro`` marks a failure by nulls everywhere, so one required field tells; without one the length does."""
    required = next((f.name for f in writer.fields if not f.nullable), None)
    return record.isNotNull() if required is None else record[required].isNotNull()


def _measure(schema_id: int, field: Field) -> Column:
    """What the size of a field follows from: bytes of a text, magnitude of a number (of -1: 0, of -2: 1). -1 for null.

    Never null itself: sums of nullable terms triple the generated code.
    """
    value = F.col(_written(schema_id))[field.name]
    if field.type in _SIZED:
        measure = F.octet_length(value)
    elif field.type in _VARINT_BITS:
        measure = value.bitwiseXOR(F.shiftright(value, _VARINT_BITS[field.type] - 1))
    else:
        measure = F.when(value.isNotNull(), 0)
    return F.coalesce(measure, F.lit(-1)).alias(_measured(schema_id, field))


def _measured(schema_id: int, field: Field) -> str:
    return f"_measure_{schema_id}_{field.name}"


def _field_bytes(schema_id: int, field: Field) -> Column:
    """Bytes of a field: those of its value, none for null, and one more where a union says which it is."""
    measure = F.col(_measured(schema_id, field))
    if field.type in _SIZED:
        size = measure + 1 + _exceeded(measure, _LIMITS[:3])
    elif field.type in _VARINT_BITS:
        size = _exceeded(measure, [0, *_LIMITS[: _VARINT_BITS[field.type] // 7]])
    else:
        size = (measure + 1) * _FIXED_BYTES[field.type]
    return size + 1 if field.nullable else size


def _exceeded(magnitude: Column, limits: Sequence[int]) -> Column:
    return reduce(Column.__add__, ((magnitude >= limit).cast("int") for limit in limits))


def _resolved(field: Field, schemas: SchemaSet) -> Column:
    """A reader's field from whichever writer wrote the record: by name or alias, with promotion and default."""
    spark_type = _SPARK_TYPES.get(field.type, "binary" if field.type == "bytes" else "string")

    def pick(schema_id: int, writer: LogSchema) -> Column:
        names = {f.name for f in writer.fields}
        source = next((n for n in (field.name, *field.aliases) if n in names), None)
        value = F.lit(field.default) if source is None else F.col(_written(schema_id))[source]
        return value.cast(spark_type)

    if len(schemas.writers) == 1:  # the usual case: null already where the only writer did not write
        return pick(*next(iter(schemas.writers.items())))
    return _per_writer(schemas, pick).cast(spark_type)


def _schema_id(schemas: SchemaSet) -> Column:
    """The id in the header: a literal for known writers, computed only for the others, null without a header."""
    has_header = (F.octet_length("value") >= HEADER_BYTES) & (F.substring("value", 1, 1) == F.expr("X'00'"))
    computed = F.conv(F.hex(F.substring("value", 2, 4)), 16, 10).cast("bigint")
    known = [_when_written_by(i, F.lit(i).cast("bigint")) for i in schemas.writers]
    return F.coalesce(*known, F.when(has_header, computed))


def decode_problem(schemas: SchemaSet) -> Column:
    """What is wrong with a value whose ``spare`` is not 0: struct<stage, code, message>."""
    size, first = F.octet_length("value"), F.hex(F.substring("value", 1, 1))
    is_known = _header().isin([_header_of(i) for i in schemas.writers]) if schemas.writers else F.lit(False)
    return (
        F.when(F.col("value").isNull(), fault("wire", "null_value", "the Kafka value is null"))
        .when(size == 0, fault("wire", "empty_value", "the Kafka value has no bytes"))
        .when(
            first.isin("7B", "5B"),
            fault("wire", "json_instead_of_avro", "the value is plain JSON; expected magic byte 00, schema id, Avro"),
        )
        .when(first != "00", fault("wire", "wrong_magic_byte", "the first byte is ", first, "; expected 00"))
        .when(size < HEADER_BYTES, fault("wire", "short_header", "the value has ", size, " of 5 header bytes"))
        .when(
            ~is_known,
            fault("wire", "unknown_schema_id", "schema id ", F.col("schema_id"), " is not of this topic's subject"),
        )
        .when(
            F.col("spare").isNotNull(),
            fault("decode", "trailing_bytes", F.col("spare"), " bytes are left over after the record"),
        )
        .when(_decodes_when_padded(schemas), fault("decode", "truncated_avro", "the bytes end before the record does"))
        .otherwise(fault("decode", "corrupt_avro", "the bytes are no record of schema ", F.col("schema_id")))
    )


def _decodes_when_padded(schemas: SchemaSet) -> Column:
    """Whether zeros behind the value make it decodable: then it was cut off, not scrambled."""
    padded = F.concat("value", F.unhex(F.lit("00" * _PADDING_BYTES)))
    return _per_writer(schemas, lambda _, w: _is_decoded(_avro(padded, w), w))


def fault(stage: str, code: str, *message: str | Column) -> Column:
    """A problem as struct<stage, code, message>; the parts of the message are joined."""
    text = F.concat(*(part.cast("string") if isinstance(part, Column) else F.lit(part) for part in message))
    return F.struct(F.lit(stage).alias("stage"), F.lit(code).alias("code"), text.alias("message"))
