"""The content hash of literal bytes (law 8)."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts.canonical import content_hash

RECORD: dict[str, Any] = {
    "timestamp": 1700000000000,
    "request_id": "r-1",
    "api_endpoint": "/é",
    "http_method": "GET",
    "status_code": 200,
    "response_time_ms": 12,
    "client_ip": "::1",
    "user_agent": None,
    "payload_size": -7,
    "error_message": "",
}
BYTES = b"1700000000000\x1fr-1\x1f/\xc3\xa9\x1fGET\x1f200\x1f12\x1f::1\x1f\x00\x1f-7\x1f"


def test_the_hash_is_the_crc_of_the_canonical_bytes() -> None:
    assert content_hash(RECORD) == zlib.crc32(BYTES)


def test_the_hash_is_pinned() -> None:
    """By `gzip -c | tail -c8 | head -c4`, which writes the same CRC-32."""
    assert content_hash(RECORD) == 1544988444


def test_order_of_keys_and_other_keys_do_not_matter() -> None:
    shuffled = dict(reversed(RECORD.items())) | {"kafka_offset": 5}
    assert content_hash(shuffled) == zlib.crc32(BYTES)


def test_null_is_not_the_empty_text() -> None:
    assert content_hash(RECORD | {"user_agent": ""}) == zlib.crc32(BYTES.replace(b"\x00", b""))
    assert content_hash(RECORD | {"user_agent": ""}) != content_hash(RECORD)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"user_agent": "a", "error_message": None}, {"user_agent": None, "error_message": "a"}),
        ({"request_id": "ab", "api_endpoint": "c"}, {"request_id": "a", "api_endpoint": "bc"}),
        ({"status_code": 20, "response_time_ms": 12}, {"status_code": 2, "response_time_ms": 12}),
    ],
)
def test_values_do_not_run_into_each_other(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert content_hash(RECORD | first) != content_hash(RECORD | second)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1))
def test_it_fits_32_bits_so_that_two_million_sum_exactly_in_a_double(text: str, number: int) -> None:
    found = content_hash(RECORD | {"request_id": text, "timestamp": number})
    assert 0 <= found < 2**32
    assert 2_000_000 * 2**32 < 2**53


def test_a_missing_field_is_an_error_not_a_null() -> None:
    with pytest.raises(KeyError):
        content_hash({k: v for k, v in RECORD.items() if k != "user_agent"})
