"""The named defects that traffic may carry, and what must become of a record that has one."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Self


class Outcome(Enum):
    """What must become of a record: decided here by definition, never by running validation code."""

    VALID = "valid"
    WARNING = "valid, with a warning"
    INVALID = "invalid"
    DUPLICATE = "invalid, as a duplicate"


class Defect(StrEnum):
    """A defect; ``outcome`` says where its record must end, ``meaning`` what is done to it."""

    outcome: Outcome
    meaning: str

    def __new__(cls, name: str, outcome: Outcome, meaning: str) -> Self:
        member = str.__new__(cls, name)
        member._value_, member.outcome, member.meaning = name, outcome, meaning
        return member

    # The value is not in the wire format.
    NULL_VALUE = "null_value", Outcome.INVALID, "the Kafka value is null, a tombstone"
    EMPTY_VALUE = "empty_value", Outcome.INVALID, "the value has no bytes"
    WRONG_MAGIC_BYTE = "wrong_magic_byte", Outcome.INVALID, "the first byte is not 0, and not that of JSON either"
    SHORT_HEADER = "short_header", Outcome.INVALID, "1 to 4 bytes of the 5-byte header"
    UNKNOWN_SCHEMA_ID = "unknown_schema_id", Outcome.INVALID, "an id of 1,000,000 or more that no registry gave out"
    JSON_INSTEAD_OF_AVRO = "json_instead_of_avro", Outcome.INVALID, "the record as plain JSON without a header"

    # The body is not exactly one record.
    TRUNCATED_AVRO = "truncated_avro", Outcome.INVALID, "the body ends at least one byte early"
    TRAILING_BYTES = "trailing_bytes", Outcome.INVALID, "1 to 16 bytes more after a whole record"
    HUGE_LENGTH_PREFIX = (
        "huge_length_prefix",
        Outcome.INVALID,
        "a string that claims 2,147,483,600 bytes: a memory bomb",
    )
    INVALID_UTF8 = "invalid_utf8", Outcome.INVALID, "a string with bytes that are not UTF-8"

    # One business rule broken, all others kept.
    STATUS_CODE_RANGE = "status_code_range", Outcome.INVALID, "status_code outside 100 to 599"
    HTTP_METHOD_UNKNOWN = (
        "http_method_unknown",
        Outcome.INVALID,
        "an http_method that does not exist, or in small letters",
    )
    PATH_WITHOUT_SLASH = "path_without_slash", Outcome.INVALID, "api_endpoint does not start with /"
    PATH_TOO_LONG = "path_too_long", Outcome.INVALID, "api_endpoint of 2,049 to 4,096 characters"
    RESPONSE_TIME_NEGATIVE = "response_time_negative", Outcome.INVALID, "response_time_ms below 0"
    PAYLOAD_SIZE_NEGATIVE = "payload_size_negative", Outcome.INVALID, "payload_size below 0"
    CLIENT_IP_INVALID = "client_ip_invalid", Outcome.INVALID, "client_ip is no address, or one with a port"
    REQUEST_ID_BLANK = "request_id_blank", Outcome.INVALID, "request_id empty or white space; the Kafka key is not"
    TIMESTAMP_TOO_OLD = "timestamp_too_old", Outcome.INVALID, "7 days and an hour to 60 days before the Kafka timestamp"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future", Outcome.INVALID, "2 hours to 60 days after the Kafka timestamp"
    FAR_FUTURE = "far_future", Outcome.INVALID, "timestamp in the year 9999, or beyond any calendar (up to 2⁶³ - 1)"
    SEVERAL_RULES = "several_rules", Outcome.INVALID, "three to six of these rules broken at once"

    # A second record with a request_id that was there a moment ago: same key, same partition, same hour.
    DUPLICATE_SAME_CONTENT = "duplicate_same_content", Outcome.DUPLICATE, "sent again, byte for byte"
    DUPLICATE_DIFFERENT_CONTENT = "duplicate_different_content", Outcome.DUPLICATE, "same request_id, another outcome"

    # Optional fields that are odd: the row stays valid.
    USER_AGENT_TOO_LONG = "user_agent_too_long", Outcome.WARNING, "user_agent of 1,025 to 4,096 characters"
    USER_AGENT_EMPTY = "user_agent_empty", Outcome.WARNING, "user_agent is the empty string instead of null"
    ERROR_MESSAGE_TOO_LONG = "error_message_too_long", Outcome.WARNING, "error_message of 8,193 to 20,000 characters"
    ERROR_MESSAGE_EMPTY = "error_message_empty", Outcome.WARNING, "error_message is the empty string instead of null"
    HUGE_VALUE = "huge_value", Outcome.WARNING, "an error_message of 1 MB"

    # Late, but within the window of 7 days.
    LATE_HOURS = "late_hours", Outcome.VALID, "event time 1 to 23 hours before the Kafka timestamp"
    LATE_DAYS = "late_days", Outcome.VALID, "event time 1 to 6 days before the Kafka timestamp"
