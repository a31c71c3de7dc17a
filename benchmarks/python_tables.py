"""Peer of ``ingest``: a plain Python loop, one process, from Kafka into both Delta tables.

Tuned: messages in calls of 10,000, columns built in chunks, one commit per table as the job makes, snappy as Spark's
default, statistics for the same columns only, request ids of touched hours loaded once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from benchmarks.meter import Meter, Outcome
from benchmarks.python_loop import Drain, Judge, Judged
from pipelines.adapters.tables import _FILTERED as FILTERED
from pipelines.records import DUPLICATE, INVALID, LOG_FIELDS, VALID, Severity, Stage, Violation
from pipelines.settings import Settings

CHUNK = 50_000
"""Rows per Arrow chunk: Python objects of at most so many rows are alive at a time."""

_VIOLATION = pa.struct([(n, pa.string()) for n in ("code", "field", "message", "severity", "rule_fingerprint")])
_TIME = pa.timestamp("us", tz="UTC")
_LOG_TYPES = dict.fromkeys(("timestamp", "status_code", "response_time_ms", "payload_size"), pa.int64())
_COORDINATES = [("kafka_topic", pa.string()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]
_VALID = pa.schema(
    [
        *((n, _LOG_TYPES.get(n, pa.string())) for n in LOG_FIELDS),
        *(("event_time", _TIME), ("warnings", pa.list_(_VIOLATION)), *_COORDINATES, ("kafka_timestamp", _TIME)),
        *(("schema_id", pa.int64()), ("content_hash", pa.int64()), ("batch_id", pa.int64()), ("ingested_at", _TIME)),
        *(("date", pa.date32()), ("hour", pa.int32())),
    ]
)
_HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
_INVALID = pa.schema(
    [
        *(*_COORDINATES, ("kafka_timestamp", _TIME), ("raw", pa.binary()), ("key", pa.binary()), ("headers", _HEADERS)),
        *(("schema_id", pa.int64()), ("request_id", pa.string()), ("error_type", pa.string())),
        *(("error_message", pa.string()), ("violations", pa.list_(_VIOLATION)), ("rule_set_fingerprint", pa.string())),
        *(("failed_at", _TIME), ("batch_id", pa.int64()), ("status", pa.string()), ("attempt", pa.int32())),
        *(("date", pa.date32()), ("hour", pa.int32())),
    ]
)
_WIRE_CODES = {
    "null_value",
    "empty_value",
    "json_instead_of_avro",
    "wrong_magic_byte",
    "short_header",
    "unknown_schema_id",
}


def run(settings: Settings) -> Outcome:
    """Drain the topic into fresh tables."""
    place = Path(settings.warehouse_uri)
    tables = {VALID: _create(place, VALID, _VALID), INVALID: _create(place, INVALID, _INVALID)}
    meter = Meter()
    with meter:
        loop = _Loop(settings, tables[VALID])
        drain = Drain(settings)
        for messages in drain:
            loop.take(messages)
        meter.step("judged")
        write_deltalake(tables[INVALID], pa.Table.from_batches(loop.invalid, _INVALID), mode="append")
        meter.step("invalid_written")
        write_deltalake(tables[VALID], pa.Table.from_batches(loop.valid_chunks(), _VALID), mode="append")
        meter.step("valid_written")
        drain.commit()
        meter.step("done")
    valid, invalid = (_held(place / name) for name in (VALID, INVALID))
    return meter.outcome(valid + invalid, valid=valid, invalid=invalid, batches=1)


class _Loop:
    """Collects judged messages as Arrow chunks. The first record with a request id wins."""

    def __init__(self, settings: Settings, table: DeltaTable) -> None:
        self.invalid: list[pa.RecordBatch] = []
        self._valid: list[pa.RecordBatch] = []
        self._judge, self._table = Judge(settings), table
        self._rows: list[Judged] = []
        self._seen: set[str] = set()
        self._hours: set[int] = set()
        self._at = datetime.now(UTC)
        self._fingerprint = self._judge.rules.fingerprint

    def take(self, messages: Iterable[Any]) -> None:
        good, bad = self._rows, []
        judge, seen, hours = self._judge, self._seen, self._hours
        for message in messages:
            row = judge(message)
            if not row.is_valid:
                bad.append((row, False))
                continue
            assert row.record is not None
            hour = row.record["timestamp"] // 3_600_000
            if hour not in hours:
                hours.add(hour)
                seen.update(self._stored_ids(hour))
            request_id = row.record["request_id"]
            if request_id in seen:
                bad.append((row, True))
            else:
                seen.add(request_id)
                good.append(row)
        if bad:
            self.invalid.append(self._invalid_chunk(bad))
        if len(good) >= CHUNK:
            self._flush()

    def valid_chunks(self) -> list[pa.RecordBatch]:
        self._flush()
        return self._valid

    def _flush(self) -> None:
        if self._rows:
            self._valid.append(self._valid_chunk(self._rows))
            self._rows.clear()

    def _stored_ids(self, hour: int) -> list[str]:
        day = date.fromordinal(date(1970, 1, 1).toordinal() + hour // 24)
        touched = [("date", "=", day.isoformat()), ("hour", "=", str(hour % 24))]
        if not self._table.file_uris(touched):
            return []
        found: list[str] = self._table.to_pyarrow_table(touched, ["request_id"])["request_id"].to_pylist()
        return found

    def _valid_chunk(self, rows: list[Judged]) -> pa.RecordBatch:
        number = len(rows)
        records = [row.record for row in rows if row.record is not None]
        columns = [pa.array([r[n] for r in records], _LOG_TYPES.get(n, pa.string())) for n in LOG_FIELDS]
        event_time = columns[0].cast(pa.timestamp("ms")).cast(_TIME)
        columns += [event_time, pa.array([_plain(row.violations) for row in rows], pa.list_(_VIOLATION))]
        columns += [*_coordinates(rows), pa.array([row.schema_id for row in rows], pa.int64())]
        columns += [pa.array([row.hash for row in rows], pa.int64()), pa.repeat(pa.scalar(0, pa.int64()), number)]
        columns += [pa.repeat(pa.scalar(self._at, _TIME), number), event_time.cast(pa.date32()), _hour(event_time)]
        return pa.RecordBatch.from_arrays(columns, schema=_VALID)

    def _invalid_chunk(self, bad: list[tuple[Judged, bool]]) -> pa.RecordBatch:
        rows = [row for row, _ in bad]
        number = len(rows)
        coordinates = _coordinates(rows)
        reasons = [_reasons(row, again) for row, again in bad]
        columns = [*coordinates, pa.array([row.message.value() for row in rows], pa.binary())]
        columns += [pa.array([row.message.key() for row in rows], pa.binary())]
        columns += [pa.array([_headers(row) for row in rows], _HEADERS)]
        columns += [pa.array([row.schema_id for row in rows], pa.int64())]
        columns += [pa.array([row.record and row.record["request_id"] for row in rows], pa.string())]
        columns += [pa.array([_stage(*pair) for pair in bad], pa.string())]
        columns += [pa.array(["; ".join(v.message for v in found) for found in reasons], pa.string())]
        columns += [pa.array([_plain(found) for found in reasons], pa.list_(_VIOLATION))]
        columns += [pa.repeat(pa.scalar(self._fingerprint), number), pa.repeat(pa.scalar(self._at, _TIME), number)]
        columns += [pa.repeat(pa.scalar(0, pa.int64()), number), pa.repeat(pa.scalar("open"), number)]
        columns += [pa.repeat(pa.scalar(0, pa.int32()), number)]
        columns += [coordinates[3].cast(pa.date32()), _hour(coordinates[3])]
        return pa.RecordBatch.from_arrays(columns, schema=_INVALID)


def _coordinates(rows: list[Judged]) -> list[pa.Array]:
    messages = [row.message for row in rows]
    return [
        pa.array([m.topic() for m in messages], pa.string()),
        pa.array([m.partition() for m in messages], pa.int32()),
        pa.array([m.offset() for m in messages], pa.int64()),
        pa.array([m.timestamp()[1] for m in messages], pa.timestamp("ms")).cast(_TIME),
    ]


def _hour(time: pa.Array) -> pa.Array:
    return pc.hour(time).cast(pa.int32())


def _headers(row: Judged) -> list[dict[str, Any]] | None:
    headers: Any = row.message.headers() or []
    return [{"key": key, "value": value} for key, value in headers] or None


def _reasons(row: Judged, again: bool) -> list[Violation]:
    if not again:
        return row.violations
    return [*row.violations, Violation(DUPLICATE, "request_id", "request_id was stored before", Severity.CRITICAL)]


def _stage(row: Judged, again: bool) -> str:
    if row.record is not None:
        return (Stage.DUPLICATE if again else Stage.RULE).value
    return (Stage.WIRE if row.violations[0].code in _WIRE_CODES else Stage.DECODE).value


def _plain(found: list[Violation]) -> list[dict[str, str | None]]:
    if not found:
        return []
    return [
        {"code": v.code, "field": v.field, "message": v.message, "severity": v.severity.value}
        | {"rule_fingerprint": v.rule_fingerprint}
        for v in found
    ]


def _create(place: Path, name: str, schema: pa.Schema) -> DeltaTable:
    configuration = {"delta.dataSkippingStatsColumns": FILTERED[name]}
    return DeltaTable.create(place / name, schema, partition_by=["date", "hour"], configuration=configuration)


def _held(path: Path) -> int:
    return int(DeltaTable(path).to_pyarrow_dataset().count_rows())
