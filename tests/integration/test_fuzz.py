"""Thousands of damaged values through Kafka and both jobs: each offset ends in one place, and none in the wrong one."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

import fastavro
import pytest
from pyspark.sql import functions as F

from pipelines.contracts import avro
from pipelines.records import INVALID, VALID
from tests.world import VERSION, World, fields, record

SEED = 20_260
UNTOUCHED, MUTATED, NOISE = 600, 3_000, 600
VOLUME = 200_000

Coordinates = tuple[int, int]


def flip_bits(rng: Random, value: bytes) -> bytes:
    damaged = bytearray(value)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(rng: Random, value: bytes) -> bytes:
    start = rng.randrange(len(value))
    return value[:start] + value[start + rng.randrange(1, 9) :] if rng.random() < 0.5 else value[:start]


def insert(rng: Random, value: bytes) -> bytes:
    at = rng.randrange(len(value) + 1)
    return value[:at] + rng.randbytes(rng.randrange(1, 9)) + value[at:]


def overwrite(rng: Random, value: bytes) -> bytes:
    """Bytes at which decoders stumble: long varints, negative or huge lengths, broken UTF-8, zeros."""
    at = rng.randrange(5, len(value))
    nasty = rng.choice(
        (
            b"\xff" * 10 + b"\x01",
            b"\x80" * 9 + b"\x00",
            b"\x01",
            b"\xfe\xff\xff\xff\x0f",
            b"\xed\xa0\x80",
            b"\xc0\xaf",
            b"\0",
        )
    )
    return value[:at] + nasty + value[at + len(nasty) :]


def other_header(rng: Random, value: bytes) -> bytes:
    schema_id = rng.choice((0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)))
    magic = rng.choice((0, 0, 0, 1, 0x7B, 0x80, 0xFF))
    return struct.pack(">BI", magic, schema_id) + value[5:]


MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (flip_bits, cut, insert, overwrite, other_header)


def some_record(rng: Random) -> dict[str, Any]:
    """A valid record whose texts have characters of one to four bytes."""
    return record(
        request_id=str(UUID(int=rng.getrandbits(128))),
        user_agent=rng.choice((None, "curl/8.5", "Zürich 東京 🦊")),
        error_message=rng.choice((None, "timeout", "größer ☂\n\tat x")),
        payload_size=rng.choice((0, 63, 64, 8_192, 2**31 - 1)),
    )


def decoded(value: bytes | None, schema_id: int) -> dict[str, Any] | None:
    """The record that a value holds, or None: by struct and fastavro alone, and only if every byte is consumed."""
    if value is None or len(value) < 5 or struct.unpack(">BI", value[:5]) != (0, schema_id):
        return None
    body = io.BytesIO(value[5:])
    try:
        found: Any = fastavro.schemaless_reader(body, avro.load("api6-logs-value", VERSION).parsed, None)
    except Exception:  # noqa: BLE001 fastavro documents no errors, and any of them means the same
        return None
    return found if body.tell() == len(value) - 5 else None


@pytest.fixture
def sent(world: World) -> dict[Coordinates, tuple[bool, bytes | None]]:
    """Coordinates → whether the value is an untouched record, and the value."""
    rng = Random(SEED)
    values: list[tuple[bool, bytes | None]] = [(True, world.encode(some_record(rng))) for _ in range(UNTOUCHED)]
    values += [(False, rng.choice(MUTATIONS)(rng, world.encode(some_record(rng)))) for _ in range(MUTATED)]
    values += [(False, rng.randbytes(rng.randrange(200))) for _ in range(NOISE // 2)]
    header = struct.pack(">BI", 0, world.schema_id)
    values += [(False, header + rng.randbytes(rng.randrange(200))) for _ in range(NOISE // 2)]
    values += [(False, None)]
    rng.shuffle(values)
    world.send(value for _, value in values)
    return {(n % 12, n // 12): value for n, value in enumerate(values)}


def test_every_value_ends_in_exactly_one_place(
    world: World, sent: dict[Coordinates, tuple[bool, bytes | None]]
) -> None:
    oracle = {at: decoded(value, world.schema_id) for at, (_, value) in sent.items()}
    world.run("ingest")
    world.run("index")
    valid, invalid, refused = world.valid(), world.invalid(), world.es_invalid()
    documents = world.documents()
    indexed = {(d["kafka_partition"], d["kafka_offset"]): d for d in documents.values()}

    assert len(indexed) == len(documents)
    assert valid.keys() | invalid.keys() == sent.keys() == indexed.keys() | refused.keys()
    assert not valid.keys() & invalid.keys()
    assert not indexed.keys() & refused.keys()
    for rows in (invalid, refused):
        assert {at: row["raw"] for at, row in rows.items()} == {at: sent[at][1] for at in rows}

    assert [sent[at] for at in valid if oracle[at] is None] == []
    assert [sent[at] for at in invalid if sent[at][0]] == []
    assert {at: fields(row) for at, row in valid.items()} == {at: oracle[at] for at in valid}
    assert {at: fields(d) for at, d in indexed.items()} == {at: oracle[at] for at in indexed}
    assert indexed.keys() == valid.keys()


def test_two_hundred_thousand_values_lose_and_stop_nothing(world: World) -> None:
    rng = Random(SEED + 1)
    originals = [world.encode(some_record(rng)) for _ in range(2_000)]
    values: list[bytes | None] = [rng.choice(MUTATIONS)(rng, rng.choice(originals)) for _ in range(VOLUME * 9 // 10)]
    values += [rng.randbytes(rng.randrange(120)) for _ in range(VOLUME - len(values))]
    world.send(values, **{"queue.buffering.max.messages": 2 * VOLUME})
    at = {(n % 12, n // 12): value for n, value in enumerate(values)}
    readable = {where for where, value in at.items() if decoded(value, world.schema_id) is not None}
    world.run("ingest")

    place = ("kafka_partition", "kafka_offset")
    valid = {tuple(row) for row in world.table(VALID).select(*place).collect()}
    raw = world.table(INVALID).select(*place, F.crc32("raw").alias("crc")).collect()
    invalid = {(row[0], row[1]): row["crc"] for row in raw}
    assert (len(valid) + len(raw), len(invalid)) == (len(values), len(raw))
    assert valid <= readable
    assert valid | invalid.keys() == at.keys()
    assert invalid == {where: zlib.crc32(at[where] or b"") for where in invalid}
    assert sum(row[1] - row[0] for rows in world.ledger("ingest").values() for row in rows) == len(values)
