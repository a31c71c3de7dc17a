"""The hand-written encoder equals fastavro."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import avro
from pipelines.traffic.encoding import LogRecord, log_bytes

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
int32 = st.integers(-(2**31), 2**31 - 1)
records = st.fixed_dictionaries(
    {
        "timestamp": st.integers(-(2**63), 2**63 - 1),
        "request_id": text,
        "api_endpoint": text,
        "http_method": text,
        "status_code": int32,
        "response_time_ms": int32,
        "client_ip": text,
        "user_agent": st.none() | text,
        "payload_size": int32,
        "error_message": st.none() | text,
    }
)


@given(records)
def test_same_bytes_as_fastavro(record: dict[str, object]) -> None:
    assert log_bytes(cast(LogRecord, record)) == avro.encode(avro.load("api6-logs-value", 1), record)


def test_overwritten_fields_stay_in_place() -> None:
    record = LogRecord(
        timestamp=1,
        request_id="",
        api_endpoint="",
        http_method="",
        status_code=2,
        response_time_ms=3,
        client_ip="",
        user_agent=None,
        payload_size=4,
        error_message=None,
    )
    assert log_bytes(record, {"client_ip": b"raw"}) == b"\x02\x00\x00\x00\x04\x06raw\x00\x08\x00"
