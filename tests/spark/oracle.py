"""What must become of a value, written by hand: nothing here is computed by the code that it is held against.

Rules are those of conf/rules/api6-logs.yaml, the schema is version 1. Every record has reached Kafka at ``KAFKA_MS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KAFKA_MS = 1_700_000_000_000
"""2023-11-14 22:13:20 UTC."""

SCHEMA_ID = 1

RECORD: dict[str, Any] = {
    "timestamp": KAFKA_MS,
    "request_id": "r-1",
    "api_endpoint": "/a",
    "http_method": "GET",
    "status_code": 200,
    "response_time_ms": 12,
    "client_ip": "10.0.0.1",
    "user_agent": None,
    "payload_size": 7,
    "error_message": "é",
}
"""A valid record: what the cases change."""

BODY = {
    "timestamp": "80 A0 AB FE F9 62",  # ........... bytes 0 to 5: 1,700,000,000,000, doubled, 7 bits a byte, low first
    "request_id": "06 72 2D 31",  # ................ bytes 6 to 9: 3 bytes, "r-1"
    "api_endpoint": "04 2F 61",  # ................. bytes 10 to 12: 2 bytes, "/a"
    "http_method": "06 47 45 54",  # ............... bytes 13 to 16: 3 bytes, "GET"
    "status_code": "90 03",  # ..................... bytes 17 and 18: 200, doubled
    "response_time_ms": "18",  # ................... byte 19: 12, doubled
    "client_ip": "10 31 30 2E 30 2E 30 2E 31",  # .. bytes 20 to 28: 8 bytes, "10.0.0.1"
    "user_agent": "00",  # ......................... byte 29: branch 0, null
    "payload_size": "0E",  # ....................... byte 30: 7, doubled
    "error_message": "02 04 C3 A9",  # ............. bytes 31 to 34: branch 1, 2 bytes, "é"
}
"""The same record in Avro, field by field."""

SAME = "the same"

Expected = tuple[str, str | None, str]
"""Code, field and severity of a violation."""


def critical(code: str, name: str | None) -> Expected:
    return code, name, "critical"


def warning(code: str, name: str) -> Expected:
    return code, name, "warning"


@dataclass(frozen=True)
class RuleCase:
    """A record that fits the schema. ``unshowable``: no table can hold its timestamp, which the stream says first."""

    name: str
    changes: Mapping[str, Any]
    is_valid: bool
    violations: tuple[Expected, ...] = ()
    unshowable: bool = False
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class WireCase:
    """A value without a readable header, in hex; None is Kafka's null."""

    name: str
    value: str | None
    code: str


@dataclass(frozen=True)
class AvroCase:
    """A body with some fields replaced. ``cut``: nothing comes behind that field; ``rest``: bytes behind the record.

    ``code``, ``at``, ``byte``: the precise problem, its field and where the value begins; code None: no problem at all.
    ``stream``: what the Spark path says instead and at which ``stage`` (None: it takes the record), and ``why``.
    ``rules``: violations that it finds beside.
    """

    name: str
    code: str | None
    at: str | None
    byte: int | None
    replaced: Mapping[str, str] = field(default_factory=dict)
    cut: str | None = None
    rest: str = ""
    stream: str | None = SAME
    stage: str = "decode"
    why: str = ""
    rules: tuple[Expected, ...] = ()

    @property
    def body(self) -> bytes:
        fields = BODY | dict(self.replaced)
        kept = list(fields)[: list(fields).index(self.cut) + 1] if self.cut else list(fields)
        return bytes.fromhex("".join(fields[name] for name in kept) + self.rest)


ID, PATH, METHOD, STATUS, TIME, IP, AGENT, SIZE, ERROR, AT = (
    "request_id",
    "api_endpoint",
    "http_method",
    "status_code",
    "response_time_ms",
    "client_ip",
    "user_agent",
    "payload_size",
    "error_message",
    "timestamp",
)
BLANK_ID = critical("request_id_blank", ID)
LONG_ID = critical("request_id_length", ID)
CONTROL_ID = critical("request_id_control", ID)
BAD_STATUS = critical("status_code_range", STATUS)
BAD_METHOD = critical("http_method_known", METHOD)
NO_SLASH = critical("api_endpoint_slash", PATH)
PATH_LENGTH = critical("api_endpoint_length", PATH)
BAD_TIME = critical("response_time_negative", TIME)
BAD_SIZE = critical("payload_size_negative", SIZE)
BAD_IP = critical("client_ip_valid", IP)
OUT_OF_WINDOW = critical("timestamp_window", AT)
ODD_AGENT = warning("user_agent_length", AGENT)
ODD_ERROR = warning("error_message_length", ERROR)

FOX = "\N{FOX FACE}"
"""One character of four bytes."""

RULE_CASES = (
    RuleCase("nothing is wrong", {}, True),
    # request_id: required, at most 128 characters, no control characters
    RuleCase("request_id is empty", {ID: ""}, False, (BLANK_ID,), messages=("request_id must not be blank (found )",)),
    RuleCase("request_id is a space", {ID: " "}, False, (BLANK_ID,)),
    RuleCase("request_id is a tab", {ID: "\t"}, False, (BLANK_ID, CONTROL_ID)),
    RuleCase("request_id is all ASCII white space", {ID: " \t\n\x0b\x0c\r"}, False, (BLANK_ID, CONTROL_ID)),
    RuleCase("request_id is a no-break space", {ID: "\u00a0"}, True),
    RuleCase("request_id is an ideographic space", {ID: "\u3000"}, True),
    RuleCase("request_id is a zero-width space", {ID: "\u200b"}, True),
    RuleCase("request_id begins and ends with a space", {ID: " a "}, True),
    RuleCase("request_id has 128 characters", {ID: "x" * 128}, True),
    RuleCase("request_id has 129 characters", {ID: "x" * 129}, False, (LONG_ID,)),
    RuleCase("request_id has 128 characters of four bytes", {ID: FOX * 128}, True),
    RuleCase("request_id has 129 characters of two bytes", {ID: "é" * 129}, False, (LONG_ID,)),
    RuleCase("request_id is 129 spaces", {ID: " " * 129}, False, (BLANK_ID, LONG_ID)),
    RuleCase("request_id holds NUL", {ID: "a\x00b"}, False, (CONTROL_ID,)),
    RuleCase("request_id holds the last control character", {ID: "a\x1f"}, False, (CONTROL_ID,)),
    RuleCase("request_id ends with a newline", {ID: "abc\n"}, False, (CONTROL_ID,)),
    RuleCase("request_id holds DEL", {ID: "a\x7f"}, True),
    RuleCase("request_id holds a C1 control character", {ID: "a\x85"}, True),
    # status_code: 100 to 599
    RuleCase("status_code 99", {STATUS: 99}, False, (BAD_STATUS,)),
    RuleCase("status_code 100", {STATUS: 100}, True),
    RuleCase("status_code 599", {STATUS: 599}, True),
    RuleCase(
        "status_code 600",
        {STATUS: 600},
        False,
        (BAD_STATUS,),
        messages=("status_code must be within 100 and 599 (found 600)",),
    ),
    RuleCase("status_code 0", {STATUS: 0}, False, (BAD_STATUS,)),
    RuleCase("status_code negative", {STATUS: -200}, False, (BAD_STATUS,)),
    RuleCase("status_code the largest int", {STATUS: 2_147_483_647}, False, (BAD_STATUS,)),
    RuleCase("status_code the smallest int", {STATUS: -2_147_483_648}, False, (BAD_STATUS,)),
    # http_method: nine names in capitals
    RuleCase("http_method POST", {METHOD: "POST"}, True),
    RuleCase("http_method PUT", {METHOD: "PUT"}, True),
    RuleCase("http_method PATCH", {METHOD: "PATCH"}, True),
    RuleCase("http_method DELETE", {METHOD: "DELETE"}, True),
    RuleCase("http_method HEAD", {METHOD: "HEAD"}, True),
    RuleCase("http_method OPTIONS", {METHOD: "OPTIONS"}, True),
    RuleCase("http_method TRACE", {METHOD: "TRACE"}, True),
    RuleCase("http_method CONNECT", {METHOD: "CONNECT"}, True),
    RuleCase("http_method in small letters", {METHOD: "get"}, False, (BAD_METHOD,)),
    RuleCase("http_method with a space behind", {METHOD: "GET "}, False, (BAD_METHOD,)),
    RuleCase("http_method empty", {METHOD: ""}, False, (BAD_METHOD,)),
    RuleCase("http_method with a Cyrillic letter", {METHOD: "G\u0415T"}, False, (BAD_METHOD,)),
    RuleCase("http_method in full width", {METHOD: "\uff27\uff25\uff34"}, False, (BAD_METHOD,)),
    # api_endpoint: begins with /, 1 to 2048 characters
    RuleCase("api_endpoint is only the slash", {PATH: "/"}, True),
    RuleCase("api_endpoint empty", {PATH: ""}, False, (NO_SLASH, PATH_LENGTH)),
    RuleCase("api_endpoint without slash", {PATH: "a/b"}, False, (NO_SLASH,)),
    RuleCase("api_endpoint with a space before the slash", {PATH: " /a"}, False, (NO_SLASH,)),
    RuleCase("api_endpoint whose second line begins with a slash", {PATH: "a\n/b"}, False, (NO_SLASH,)),
    RuleCase("api_endpoint with a full-width slash", {PATH: "\uff0fa"}, False, (NO_SLASH,)),
    RuleCase("api_endpoint of 2048 characters", {PATH: "/" + "x" * 2_047}, True),
    RuleCase("api_endpoint of 2049 characters", {PATH: "/" + "x" * 2_048}, False, (PATH_LENGTH,)),
    RuleCase("api_endpoint of 2048 characters, four bytes each", {PATH: "/" + FOX * 2_047}, True),
    RuleCase("api_endpoint too long and without slash", {PATH: "é" * 2_049}, False, (NO_SLASH, PATH_LENGTH)),
    # response_time_ms and payload_size: not negative
    RuleCase("response_time_ms 0", {TIME: 0}, True),
    RuleCase("response_time_ms -1", {TIME: -1}, False, (BAD_TIME,)),
    RuleCase("response_time_ms the largest int", {TIME: 2_147_483_647}, True),
    RuleCase("payload_size 0", {SIZE: 0}, True),
    RuleCase("payload_size -1", {SIZE: -1}, False, (BAD_SIZE,)),
    RuleCase("payload_size the smallest int", {SIZE: -2_147_483_648}, False, (BAD_SIZE,)),
    # client_ip: IPv4 or IPv6 without a zone; personal, so its value is masked
    RuleCase("client_ip 0.0.0.0", {IP: "0.0.0.0"}, True),
    RuleCase("client_ip 255.255.255.255", {IP: "255.255.255.255"}, True),
    RuleCase(
        "client_ip 256.0.0.1",
        {IP: "256.0.0.1"},
        False,
        (BAD_IP,),
        messages=("client_ip must be an IPv4 or IPv6 address (found ***)",),
    ),
    RuleCase("client_ip with a leading zero", {IP: "01.2.3.4"}, False, (BAD_IP,)),
    RuleCase("client_ip of three numbers", {IP: "1.2.3"}, False, (BAD_IP,)),
    RuleCase("client_ip of five numbers", {IP: "1.2.3.4.5"}, False, (BAD_IP,)),
    RuleCase("client_ip with a newline", {IP: "1.2.3.4\n"}, False, (BAD_IP,)),
    RuleCase("client_ip with a port", {IP: "10.0.0.1:8080"}, False, (BAD_IP,)),
    RuleCase("client_ip with Arabic digits", {IP: "\u0661.2.3.4"}, False, (BAD_IP,)),
    RuleCase("client_ip empty", {IP: ""}, False, (BAD_IP,)),
    RuleCase("client_ip a name", {IP: "localhost"}, False, (BAD_IP,)),
    RuleCase("client_ip ::", {IP: "::"}, True),
    RuleCase("client_ip ::1", {IP: "::1"}, True),
    RuleCase("client_ip of eight groups", {IP: "2001:0db8:0000:0000:0000:8a2e:0370:7334"}, True),
    RuleCase("client_ip shortened in the middle", {IP: "2001:DB8::8a2e:370:7334"}, True),
    RuleCase("client_ip that ends in ::", {IP: "1:2:3:4:5:6:7::"}, True),
    RuleCase("client_ip that begins with ::", {IP: "::2:3:4:5:6:7:8"}, True),
    RuleCase("client_ip with IPv4 inside", {IP: "::ffff:192.0.2.128"}, True),
    RuleCase("client_ip of six groups and IPv4", {IP: "64:ff9b:0:0:0:0:192.0.2.33"}, True),
    RuleCase("client_ip with a wrong IPv4 inside", {IP: "::ffff:192.0.2.256"}, False, (BAD_IP,)),
    RuleCase("client_ip shortened twice", {IP: "1::2::3"}, False, (BAD_IP,)),
    RuleCase("client_ip of three colons", {IP: ":::"}, False, (BAD_IP,)),
    RuleCase("client_ip of one colon", {IP: ":1"}, False, (BAD_IP,)),
    RuleCase("client_ip of seven groups", {IP: "1:2:3:4:5:6:7"}, False, (BAD_IP,)),
    RuleCase("client_ip of nine groups", {IP: "1:2:3:4:5:6:7:8:9"}, False, (BAD_IP,)),
    RuleCase("client_ip of eight groups and ::", {IP: "1:2:3:4::5:6:7:8"}, False, (BAD_IP,)),
    RuleCase("client_ip with a group of five digits", {IP: "12345::"}, False, (BAD_IP,)),
    RuleCase("client_ip with a letter behind f", {IP: "::g"}, False, (BAD_IP,)),
    RuleCase("client_ip with a zone", {IP: "fe80::1%eth0"}, False, (BAD_IP,)),
    RuleCase("client_ip in brackets", {IP: "[::1]"}, False, (BAD_IP,)),
    # timestamp: 7 days before to 1 hour after Kafka's
    RuleCase("timestamp 7 days before", {AT: 1_699_395_200_000}, True),
    RuleCase("timestamp 7 days and a millisecond before", {AT: 1_699_395_199_999}, False, (OUT_OF_WINDOW,)),
    RuleCase("timestamp an hour after", {AT: 1_700_003_600_000}, True),
    RuleCase("timestamp an hour and a millisecond after", {AT: 1_700_003_600_001}, False, (OUT_OF_WINDOW,)),
    RuleCase("timestamp in seconds", {AT: 1_700_000_000}, False, (OUT_OF_WINDOW,)),
    RuleCase("timestamp 0", {AT: 0}, False, (OUT_OF_WINDOW,)),
    RuleCase("timestamp the end of 9999", {AT: 253_402_300_799_999}, False, (OUT_OF_WINDOW,)),
    RuleCase("timestamp in the year 10000", {AT: 253_402_300_800_000}, False, (OUT_OF_WINDOW,), unshowable=True),
    RuleCase("timestamp the begin of the year 1", {AT: -62_135_596_800_000}, False, (OUT_OF_WINDOW,)),
    RuleCase("timestamp before the year 1", {AT: -62_135_596_800_001}, False, (OUT_OF_WINDOW,), unshowable=True),
    RuleCase("timestamp the largest long", {AT: 2**63 - 1}, False, (OUT_OF_WINDOW,), unshowable=True),
    RuleCase("timestamp the smallest long", {AT: -(2**63)}, False, (OUT_OF_WINDOW,), unshowable=True),
    # user_agent and error_message: odd lengths are warnings, null is fine
    RuleCase("user_agent and error_message null", {AGENT: None, ERROR: None}, True),
    RuleCase("user_agent empty", {AGENT: ""}, True, (ODD_AGENT,)),
    RuleCase("user_agent a space", {AGENT: " "}, True),
    RuleCase("user_agent of 1024 characters, four bytes each", {AGENT: FOX * 1_024}, True),
    RuleCase(
        "user_agent of 1025 characters",
        {AGENT: "x" * 1_025},
        True,
        (ODD_AGENT,),
        messages=("user_agent should be null or have 1 to 1024 characters (found ***)",),
    ),
    RuleCase("error_message empty", {ERROR: ""}, True, (ODD_ERROR,)),
    RuleCase("error_message of 8192 characters", {ERROR: "é" * 8_192}, True),
    RuleCase(
        "error_message of 8193 characters",
        {ERROR: "é" * 8_193},
        True,
        (ODD_ERROR,),
        messages=("error_message should be null or have 1 to 8192 characters (found " + "é" * 80 + ")",),
    ),
    # several at once
    RuleCase("both warnings", {AGENT: "", ERROR: ""}, True, (ODD_AGENT, ODD_ERROR)),
    RuleCase("a warning beside something critical", {STATUS: 42, AGENT: ""}, False, (BAD_STATUS, ODD_AGENT)),
    RuleCase("two critical ones", {STATUS: 0, METHOD: "x"}, False, (BAD_STATUS, BAD_METHOD)),
    RuleCase(
        "everything",
        {
            AT: 2**62,
            ID: "\t" * 129,
            PATH: "x" * 2_049,
            METHOD: "",
            STATUS: 1_000,
            TIME: -1,
            IP: "?",
            AGENT: "",
            SIZE: -7,
            ERROR: "",
        },
        False,
        (
            BLANK_ID,
            LONG_ID,
            CONTROL_ID,
            BAD_STATUS,
            BAD_METHOD,
            NO_SLASH,
            PATH_LENGTH,
            BAD_TIME,
            BAD_SIZE,
            BAD_IP,
            OUT_OF_WINDOW,
            ODD_AGENT,
            ODD_ERROR,
        ),
        unshowable=True,
    ),
)

WIRE_CASES = (
    WireCase("null", None, "null_value"),
    WireCase("no bytes", "", "empty_value"),
    WireCase("a JSON object", "7B 22 61 22 3A 31 7D", "json_instead_of_avro"),
    WireCase("a JSON array", "5B 5D", "json_instead_of_avro"),
    WireCase("one brace", "7B", "json_instead_of_avro"),
    WireCase("JSON behind a space", "20 7B 7D", "wrong_magic_byte"),
    WireCase("a JSON text", "22 61 22", "wrong_magic_byte"),
    WireCase("magic byte 1", "01 00 00 00 01 00", "wrong_magic_byte"),
    WireCase("magic byte 255", "FF 00 00 00 01", "wrong_magic_byte"),
    WireCase("one wrong byte", "01", "wrong_magic_byte"),
    WireCase("the magic byte alone", "00", "short_header"),
    WireCase("a header of four bytes", "00 00 00 00", "short_header"),
    WireCase("schema id 0", "00 00 00 00 00 00", "unknown_schema_id"),
    WireCase("the next schema id", "00 00 00 00 02 00", "unknown_schema_id"),
    WireCase("schema id with its bytes the other way round", "00 01 00 00 00 00", "unknown_schema_id"),
    WireCase("schema id 2,147,483,648", "00 80 00 00 00 00", "unknown_schema_id"),
    WireCase("schema id 4,294,967,295", "00 FF FF FF FF", "unknown_schema_id"),
    WireCase("JSON behind the magic byte", "00 7B 22 61 22 3A 31 7D", "unknown_schema_id"),
)

CUT, LEFT, CORRUPT, UTF8 = "truncated_avro", "trailing_bytes", "corrupt_avro", "invalid_utf8"

AVRO_CASES = (
    AvroCase("the record as it is", None, None, None),
    # truncated: at each kind of field, and before it
    AvroCase("nothing behind the header", CUT, AT, 0, {AT: ""}, cut=AT),
    AvroCase("cut within a long", CUT, AT, 0, {AT: "80 A0 AB"}, cut=AT),
    AvroCase("cut behind a long", CUT, ID, 6, cut=AT),
    AvroCase("cut behind the length of a text", CUT, ID, 6, {ID: "06"}, cut=ID),
    AvroCase("cut within a length of two bytes", CUT, ID, 6, {ID: "80"}, cut=ID),
    AvroCase("cut within a text", CUT, PATH, 10, {PATH: "04 2F"}, cut=PATH),
    AvroCase("cut within an int", CUT, STATUS, 17, {STATUS: "90"}, cut=STATUS),
    AvroCase("cut before an int", CUT, TIME, 19, cut=STATUS),
    AvroCase("cut within an address", CUT, IP, 20, {IP: "10 31 30 2E"}, cut=IP),
    AvroCase("cut before the branch of a union", CUT, AGENT, 29, cut=IP),
    AvroCase("cut behind the branch of a union", CUT, AGENT, 30, {AGENT: "02"}, cut=AGENT),
    AvroCase("cut within the text of a union", CUT, AGENT, 30, {AGENT: "02 06 61 62"}, cut=AGENT),
    AvroCase("cut before the last number", CUT, SIZE, 30, cut=AGENT),
    AvroCase("cut before the last field", CUT, ERROR, 31, cut=SIZE),
    AvroCase("cut within the last character", CUT, ERROR, 32, {ERROR: "02 04 C3"}),
    AvroCase("a text claims 100 bytes, more than there are", CUT, ID, 6, {ID: "C8 01 72 2D 31"}),
    AvroCase(
        "a text claims 100,000 bytes",
        CUT,
        ID,
        6,
        {ID: "C0 9A 0C 72 2D 31"},
    ),
    # bytes behind the record
    AvroCase("one byte too many", LEFT, None, None, rest="00"),
    AvroCase("sixteen bytes too many", LEFT, None, None, rest="FF " * 16),
    AvroCase("the record twice", LEFT, None, None, rest="".join(BODY.values())),
    AvroCase("a text is longer than its length says", CORRUPT, STATUS, 17, {METHOD: "06 47 45 54 FF FF FF FF FF"}),
    # texts that are not UTF-8
    AvroCase("a byte that follows nothing", UTF8, ID, 6, {ID: "02 A9"}),
    AvroCase("a character without its second byte", UTF8, ID, 6, {ID: "04 C3 28"}),
    AvroCase("half a surrogate pair", UTF8, PATH, 10, {PATH: "08 2F ED A0 80"}),
    AvroCase("Latin-1", UTF8, METHOD, 13, {METHOD: "06 47 C9 54"}),
    AvroCase("a slash in two bytes", UTF8, AGENT, 30, {AGENT: "02 04 C0 AF"}),
    AvroCase("a character beyond Unicode", UTF8, ERROR, 32, {ERROR: "02 08 F4 90 80 80"}),
    AvroCase("UTF-16", UTF8, ERROR, 32, {ERROR: "02 08 FF FE 61 00"}),
    AvroCase("not UTF-8, and a number out of range", UTF8, IP, 20, {STATUS: "B0 09", IP: "02 FF"}, rules=(BAD_STATUS,)),
    # lengths
    AvroCase("length -1", CORRUPT, ID, 6, {ID: "01 72 2D 31"}),
    AvroCase("the smallest long as length", CORRUPT, ID, 6, {ID: "FF FF FF FF FF FF FF FF FF 01"}),
    AvroCase("a length of 2,147,483,600", CORRUPT, PATH, 10, {PATH: "A0 FF FF FF 0F 2F 61"}),
    AvroCase("the largest long as length", CORRUPT, ERROR, 32, {ERROR: "02 FE FF FF FF FF FF FF FF FF 01"}),
    # numbers
    AvroCase("an int of six bytes", CORRUPT, STATUS, 17, {STATUS: "90 83 80 80 80 00"}),
    AvroCase("a long of eleven bytes", CORRUPT, AT, 0, {AT: "80 A0 AB FE F9 E2 80 80 80 80 00"}),
    AvroCase(
        "an int of three bytes where two would do",
        None,
        None,
        None,
        {STATUS: "90 83 00"},
        stream=LEFT,
        why="the stream knows the length that a record must have, not where a byte too many lies",
    ),
    AvroCase(
        "an int whose fifth byte has bits beyond 32",
        CORRUPT,
        SIZE,
        30,
        {SIZE: "80 80 80 80 78"},
        stream=None,
        why="Java's reader drops them without a word and reads 1,073,741,824",
    ),
    AvroCase(
        "a long whose tenth byte has bits beyond 64",
        CORRUPT,
        AT,
        0,
        {AT: "FF FF FF FF FF FF FF FF FF 7F"},
        stream="timestamp_unrepresentable",
        stage="schema",
        why="Java's reader drops them without a word and reads the smallest long",
        rules=(OUT_OF_WINDOW,),
    ),
    # unions
    AvroCase("branch 2 of a union of two", CORRUPT, AGENT, 29, {AGENT: "04"}),
    AvroCase("branch -1", CORRUPT, AGENT, 29, {AGENT: "01"}),
    AvroCase("branch 2,147,483,647", CORRUPT, ERROR, 31, {ERROR: "FE FF FF FF 0F"}),
    AvroCase("a union without its branch", CORRUPT, ERROR, 31, {ERROR: "04 C3 A9"}),
)
