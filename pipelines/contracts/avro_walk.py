"""Strict walk over one Avro body: finds the first byte that breaks the encoding, and the field it belongs to.

An int has at most 5 bytes, a long 10, as in the Java reader, which Spark uses; a length is never negative nor more than
what is left. Bits beyond the type in the last byte of a number are an error here; Java drops them without a word.
Nothing is allocated by a length that the body merely claims.
Source: avro.apache.org, specification 1.11, "Binary encoding".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipelines.records import Severity, Violation


class DecodeProblem(StrEnum):
    """Why a body is not exactly one record of the writer's schema; the violation's code, as in the stream."""

    TRUNCATED = "truncated_avro"
    TRAILING_BYTES = "trailing_bytes"
    INVALID_UTF8 = "invalid_utf8"
    CORRUPT = "corrupt_avro"
    INCOMPATIBLE_SCHEMA = "incompatible_schema"


MAX_DEPTH = 64
"""Nesting of values; deeper bodies are corrupt (a recursive schema could exhaust the stack)."""

MAX_PLAUSIBLE_LENGTH = 64 * 1024 * 1024
"""Bytes. A string that claims more than any message may hold was never sent whole: its length is wrong, not its end."""

_INT_BYTES, _LONG_BYTES = 5, 10
_FIXED_WIDTH = {"float": 4, "double": 8, "boolean": 1}


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``[start, end)`` of the body belong to a top-level field; of the last one, if it is broken, those read."""

    field: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Walked:
    """The top-level fields as far as the body can be read, and what stopped the walk, if anything did."""

    spans: tuple[Span, ...]
    problem: Violation | None

    @property
    def end(self) -> int:
        """Where the last field ends: bytes behind it belong to none."""
        return self.spans[-1].end if self.spans else 0


def find_problem(schema: Any, body: bytes, before: int = 0) -> Violation | None:
    """The first problem of ``body`` under a parsed fastavro ``schema``, or None when it is exactly one value.

    ``before``: bytes in front of the body. Messages count from the first of them, so that they mean the whole value.
    """
    return walk(schema, body, before).problem


def walk(schema: Any, body: bytes, before: int = 0) -> Walked:
    """Which bytes belong to which field of a parsed fastavro ``schema``, up to the first problem.

    ``before``: as in ``find_problem``. Spans count from the start of the body all the same.
    """
    steps = _Walk(body, before)
    try:
        steps.value(schema, 0)
    except _Broken as broken:
        problem = Violation(broken.code, steps.field, f"{steps.where()}{broken.message}", Severity.CRITICAL)
        at_fault = [] if steps.field is None else [Span(steps.field, steps.begin, steps.at)]
        return Walked((*steps.spans, *at_fault), problem)
    left = len(body) - steps.at
    message = f"{left} bytes are left after the record, which ends at byte {steps.at + before}"
    trailing = Violation(DecodeProblem.TRAILING_BYTES, None, message, Severity.CRITICAL)
    return Walked(tuple(steps.spans), trailing if left else None)


class _Broken(Exception):
    def __init__(self, code: DecodeProblem, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class _Walk:
    """A position in the body and the top-level field it is in."""

    def __init__(self, body: bytes, before: int) -> None:
        self.body, self.before, self.at, self.start, self.begin = body, before, 0, 0, 0
        self.spans: list[Span] = []
        self.field: str | None = None
        self.named: dict[str, Any] = {}

    def where(self) -> str:
        start = self.start + self.before
        return f"field {self.field}, byte {start}: " if self.field else f"byte {start}: "

    def value(self, schema: Any, depth: int) -> None:
        self.start = self.at
        if depth > MAX_DEPTH:
            raise _Broken(DecodeProblem.CORRUPT, f"nested deeper than {MAX_DEPTH}")
        if isinstance(schema, dict) and "name" in schema:
            self.named[schema["name"]] = schema
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(schema, list):
            self.value(schema[self.branch(len(schema))], depth + 1)
        elif isinstance(kind, (dict, list)):
            self.value(kind, depth + 1)
        elif kind in self.named:
            self.value(self.named[kind], depth + 1)
        else:
            self.typed(kind, schema, depth)

    def typed(self, kind: str, schema: Any, depth: int) -> None:
        match kind:
            case "null":
                pass
            case "int":
                self.varint(_INT_BYTES)
            case "long":
                self.varint(_LONG_BYTES)
            case "string":
                self.text()
            case "bytes":
                self.skip(self.length())
            case "fixed":
                self.skip(schema["size"])
            case "enum":
                self.branch(len(schema["symbols"]))
            case "record" | "error":
                self.record(schema, depth)
            case "array" | "map":
                self.blocks(schema, depth)
            case _:
                self.skip(_FIXED_WIDTH[kind])

    def record(self, schema: Any, depth: int) -> None:
        for field in schema["fields"]:
            if depth == 0:
                self.field, self.begin = field["name"], self.at
            self.value(field["type"], depth + 1)
            if depth == 0:
                self.spans.append(Span(field["name"], self.begin, self.at))

    def blocks(self, schema: Any, depth: int) -> None:
        while count := self.varint(_LONG_BYTES):
            if count < 0:
                count, _ = -count, self.varint(_LONG_BYTES)
            if count > len(self.body) - self.at:
                raise _Broken(DecodeProblem.CORRUPT, f"claims {count} items, more than bytes are left")
            for _ in range(count):
                if schema["type"] == "map":
                    self.text()
                self.value(schema["values" if schema["type"] == "map" else "items"], depth + 1)

    def branch(self, choices: int) -> int:
        index = self.varint(_INT_BYTES)
        if not 0 <= index < choices:
            raise _Broken(DecodeProblem.CORRUPT, f"index {index} of {choices} choices")
        return index

    def text(self) -> None:
        length = self.length()
        begin = self.at
        self.skip(length)
        try:
            self.body[begin : self.at].decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"not UTF-8 at byte {begin + error.start + self.before}: {error.reason}"
            raise _Broken(DecodeProblem.INVALID_UTF8, message) from None

    def length(self) -> int:
        length = self.varint(_LONG_BYTES)
        left = len(self.body) - self.at
        if length < 0:
            raise _Broken(DecodeProblem.CORRUPT, f"a length of {length}")
        if length > left:
            is_cut_off = length <= MAX_PLAUSIBLE_LENGTH
            code = DecodeProblem.TRUNCATED if is_cut_off else DecodeProblem.CORRUPT
            raise _Broken(code, f"claims {length} bytes, {left} are left")
        return length

    def skip(self, length: int) -> None:
        left = len(self.body) - self.at
        if length > left:
            raise _Broken(DecodeProblem.TRUNCATED, f"needs {length} bytes, {left} are left")
        self.at += length

    def varint(self, max_bytes: int) -> int:
        """A zig-zag integer of at most ``max_bytes`` bytes, within the range of its type."""
        raw = 0
        for index in range(max_bytes):
            if self.at >= len(self.body):
                raise _Broken(DecodeProblem.TRUNCATED, "the body ends inside a number")
            byte = self.body[self.at]
            self.at += 1
            raw |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                break
        else:
            raise _Broken(DecodeProblem.CORRUPT, f"a number of more than {max_bytes} bytes")
        if raw >> (32 if max_bytes == _INT_BYTES else 64):
            raise _Broken(DecodeProblem.CORRUPT, "a number outside the range of its type")
        return (raw >> 1) ^ -(raw & 1)
