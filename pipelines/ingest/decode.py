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

from pipelines.contracts.avro import DecodeProblem, encoded_size
from pipelines.contracts.wire import HEADER_LENGTH, MAGIC, WireProblem
from pipelines.contracts.writer import Field, SchemaSet, Writer
from pipelines.ingest.codegen import border
from pipelines.records import Stage

_HEADER = f"substring(value, 1, {HEADER_LENGTH})"
_IS_JSON = "the value is plain JSON; expected magic byte 00, schema id, Avro"
_SIZED = {"string", "bytes"}
_VARINT = {"int", "long"}
_MOST_WRITERS = 5
"""More of them and their sizes would not fit into one piece of generated code: 5,200 bytes, and 440 for each."""
_FIXED_BYTES = {"float": 4, "double": 8, "boolean": 1, "enum": 1}  # MAX_SYMBOLS keeps an enum at one
_LIMITS = [1 << (7 * length - 1) for length in range(1, 10)]
"""A zigzag varint of k bytes holds magnitudes below the k-th limit."""


def decode(schemas: SchemaSet) -> Callable[[DataFrame], DataFrame]:
    """Add the reader's fields, ``schema_id`` (long) and ``spare`` (int).

    In: ``value`` binary and whatever else. ``spare`` is the number of bytes left over behind the record: 0 for exactly
    one record, null for a value that does not decode. Only with 0 do the fields mean anything; ``decode_problem`` says
    what is wrong otherwise.
    """
    # A column that others use more than once gets a projection of its own: within one, Spark would compute it anew for
    # each use, and the generated code would grow past what the JVM compiles.
    body = F.substring("value", HEADER_LENGTH + 1, 2**31 - 1).alias("_body")
    writer = _position(schemas).alias("_writer")
    written = _written(schemas).alias("_written")
    fields = [F.col("_written")[f.name].alias(f.name) for f in schemas.reader.fields]
    kinds = [(f, _kinds(f, schemas)) for f in schemas.reader.fields]
    measures = [_measure(f, kind) for f, each in kinds for kind in each]
    encoded = reduce(Column.__add__, (_field_bytes(f, each, schemas) for f, each in kinds))
    encoded = encoded + _of_writer([_fixed_part(w, kinds) for w in schemas.writers.values()], "int")
    spare = F.when(_is_decoded(schemas), F.octet_length("value") - HEADER_LENGTH - encoded).alias("spare")
    names = [field.name for field in schemas.reader.fields]
    schema_id = _schema_id(schemas).alias("schema_id")

    def transform(frame: DataFrame) -> DataFrame:
        read = frame.select("*", writer, body).select("*", written)
        read = border(read) if len(schemas.writers) > _MOST_WRITERS else read
        return read.select("*", *fields, *measures).select(*frame.columns, *names, schema_id, spare)

    return transform


def _header_of(schema_id: int) -> str:
    return f"X'{MAGIC:02X}{schema_id:08X}'"


def _position(schemas: SchemaSet) -> Column:
    """Which of the writers wrote the value, counted from 1; 0 for none of them, null without a value."""
    headers = ", ".join(map(_header_of, schemas.writers))
    return F.expr(f"cast(array_position(cast(array({headers}) as array<binary>), {_HEADER}) as int)")


def _of_writer(values: Sequence[int], spark_type: str) -> Column:
    """The value of the one that wrote the record; null for none. A list takes less code than a case for each."""
    return F.get(F.array(*map(F.lit, values)).cast(f"array<{spark_type}>"), F.col("_writer") - 1)


def _written(schemas: SchemaSet) -> Column:
    found = F.when(F.lit(False), _avro(Writer(schemas.reader.text, {}), schemas))  # has a type without any writer
    for position, writer in enumerate(schemas.writers.values(), start=1):
        found = found.when(F.col("_writer") == position, _avro(writer, schemas))
    return found


def _avro(writer: Writer, schemas: SchemaSet) -> Column:
    return from_avro(F.col("_body"), writer.text, {"mode": "PERMISSIVE", "avroSchema": schemas.reader.text})


def _is_decoded(schemas: SchemaSet) -> Column:
    """``from_avro`` marks a failure by nulls everywhere, so one required field tells; without one the length does."""
    required = next((f.name for f in schemas.reader.fields if not f.nullable), None)
    written = F.col("_written")
    return written.isNotNull() if required is None else written[required].isNotNull()


def _kinds(field: Field, schemas: SchemaSet) -> tuple[str, ...]:
    """How versions write the column: one kind for all of them, unless a number became wider."""
    types = {w.fields[field.name].type for w in schemas.writers.values() if field.name in w.fields} or {field.type}
    return tuple(sorted({_kind(t) for t in types}))


def _kind(avro_type: str) -> str:
    return "sized" if avro_type in _SIZED else "varint" if avro_type in _VARINT else avro_type


def _measure(field: Field, kind: str) -> Column:
    """What the size of a field follows from: bytes of a text, magnitude of a number (of -1: 0, of -2: 1). -1 for null.

    Never null itself: sums of nullable terms triple the generated code.
    """
    value = F.col("_written")[field.name]
    if kind == "sized":
        measure = F.octet_length(value)
    elif kind == "varint":
        measure = value.bitwiseXOR(F.shiftright(value, 31 if field.type == "int" else 63))
    else:
        measure = F.when(value.isNotNull(), 0)
    return F.coalesce(measure, F.lit(-1)).alias(_measured(field.name, kind))


def _measured(name: str, kind: str) -> str:
    return f"_measure_{name}_{kind}"


def _field_bytes(field: Field, kinds: Sequence[str], schemas: SchemaSet) -> Column:
    """Bytes of a field's value, none for null; by writer where they differ in kind."""
    if len(kinds) == 1:
        return _value_bytes(field, kinds[0])
    size = F.lit(0)
    for kind in kinds:
        written = (w.fields.get(field.name) for w in schemas.writers.values())
        writes_so = [int(f is not None and _kind(f.type) == kind) for f in written]
        size = size + _of_writer(writes_so, "int") * _value_bytes(field, kind)
    return size


def _value_bytes(field: Field, kind: str) -> Column:
    measure = F.col(_measured(field.name, kind))
    if kind == "sized":
        return measure + 1 + _exceeded(measure, _LIMITS[:3])
    if kind == "varint":
        return _exceeded(measure, [0, *_LIMITS[: 4 if field.type == "int" else 9]])
    return (measure + 1) * _FIXED_BYTES[kind]


def _exceeded(magnitude: Column, limits: Sequence[int]) -> Column:
    return reduce(Column.__add__, ((magnitude >= limit).cast("int") for limit in limits))


def _fixed_part(writer: Writer, kinds: Sequence[tuple[Field, Sequence[str]]]) -> int:
    """Bytes that every record of a writer has or lacks: one per union; a default that stands for an absent field."""
    unions = sum(field.nullable for field in writer.fields.values())
    absent = (f for f, each in kinds if f.name not in writer.fields and len(each) == 1)
    return unions - sum(encoded_size(f.type, f.default) for f in absent if f.default is not None)


def _schema_id(schemas: SchemaSet) -> Column:
    """The id in the header: looked up for known writers, computed only for the others, null without a header."""
    has_header = (F.octet_length("value") >= HEADER_LENGTH) & (F.substring("value", 1, 1) == F.expr("X'00'"))
    computed = F.when(has_header, F.conv(F.hex(F.substring("value", 2, 4)), 16, 10).cast("bigint"))
    return F.coalesce(_of_writer(list(schemas.writers), "bigint"), computed)


def decode_problem(schemas: SchemaSet) -> Column:
    """What is wrong with a value whose ``spare`` is not 0: struct<stage, code, field, message>.

    In: ``value``, ``schema_id``, ``spare`` and ``explained`` (see ``explain``).
    """
    size, first = F.octet_length("value"), F.hex(F.substring("value", 1, 1))
    found = (
        F.when(F.col("value").isNull(), _wire(WireProblem.NULL_VALUE, "the Kafka value is null"))
        .when(size == 0, _wire(WireProblem.EMPTY_VALUE, "the Kafka value has no bytes"))
        .when(first.isin("7B", "5B"), _wire(WireProblem.JSON_INSTEAD_OF_AVRO, _IS_JSON))
        .when(first != "00", _wire(WireProblem.WRONG_MAGIC_BYTE, "the first byte is ", first, "; expected 00"))
        .when(size < HEADER_LENGTH, _wire(WireProblem.SHORT_HEADER, "the value has ", size, " of 5 header bytes"))
    )
    for schema_id, reason in schemas.refused.items():
        message = f"schema id {schema_id} does not fit the tables: {reason}"
        misfit = fault(Stage.SCHEMA, DecodeProblem.INCOMPATIBLE_SCHEMA, None, message)
        found = found.when(F.col("schema_id") == schema_id, misfit)
    unknown = _wire(WireProblem.UNKNOWN_SCHEMA_ID, "schema id ", F.col("schema_id"), " is not of this topic's subject")
    return found.when(~_is_known(schemas), unknown).otherwise(precisely())


def precisely() -> Column:
    """The problem that ``explain`` found: struct<stage, code, field, message>.

    It finds nothing wrong with a number in more bytes than it needs: then only the length tells.
    """
    explained, is_too_long = F.col("explained"), F.col("spare") > 0
    too_long = F.concat(F.col("spare").cast("string"), F.lit(" bytes more than the record needs"))
    no_record = F.concat(F.lit("the bytes are no record of schema id "), "schema_id")
    by_length = F.when(is_too_long, DecodeProblem.TRAILING_BYTES.value).otherwise(DecodeProblem.CORRUPT.value)
    return F.struct(
        F.lit(Stage.DECODE.value).alias("stage"),
        F.coalesce(explained["code"], by_length).alias("code"),
        explained["field"].alias("field"),
        F.coalesce(explained["message"], F.when(is_too_long, too_long), no_record).alias("message"),
    )


def _wire(code: str, *message: str | Column) -> Column:
    return fault(Stage.WIRE, code, None, *message)


def _is_known(schemas: SchemaSet) -> Column:
    return F.coalesce(F.col("schema_id").isin(list(schemas.writers)), F.lit(False)) if schemas.writers else F.lit(False)


def fault(stage: str, code: str, field: str | None, *message: str | Column) -> Column:
    """A problem as struct<stage, code, field, message>; the parts of the message are joined."""
    text = F.concat(*(part.cast("string") if isinstance(part, Column) else F.lit(part) for part in message))
    named = F.lit(field).cast("string").alias("field")
    return F.struct(F.lit(str(stage)).alias("stage"), F.lit(str(code)).alias("code"), named, text.alias("message"))
