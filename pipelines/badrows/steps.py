"""Repair one value by the steps of a recipe: bytes in, framed bytes or a typed failure out. Plain Python.

A recipe with steps reads the value first (as its header says, unless the first step says otherwise) and writes it last
(with the newest version that the jobs read, unless the last step says otherwise). It is read by its writer's own
schema, so that a version which resolves to no other can be repaired too; its fields then get the names that they will
be written under. Without steps the bytes stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, cached_property, partial
from typing import Any

from pipelines.badrows.recipe import Action, Cast, Decode, Drop, Encode, Map, Parse, Set, Step
from pipelines.badrows.registered import Registered, layout
from pipelines.contracts import avro, avro_walk, wire
from pipelines.contracts.avro import Schema
from pipelines.contracts.evaluate import MASK
from pipelines.contracts.writer import Field, LogSchema
from pipelines.errors import ContractViolation, UsageError
from pipelines.records import Violation

Record = dict[str, Any]

READ, WRITE = "read", "write"
"""What a failure calls the reading and writing that no step asked for."""

SHOWN_CHARS = 200

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class StepProblem(StrEnum):
    """Why a step could not be done; reading fails with the codes of the wire format and of decoding as well."""

    NOT_JSON = "not_json"
    NO_SUCH_FIELD = "no_such_field"
    NOT_CASTABLE = "not_castable"
    NOT_PARSABLE = "not_parsable"
    DOES_NOT_FIT_SCHEMA = "does_not_fit_schema"


@dataclass(frozen=True, slots=True)
class Failed:
    """The step that failed: position from 1 (0: reading without a step), its key, a code, and a sentence."""

    step: int
    kind: str
    code: str
    message: str


class _Stuck(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Repair:
    """All it takes to repair values; travels to Spark's executors. ``target``: registry version to write with."""

    steps: tuple[Step, ...]
    registered: Registered
    target: int
    personal: frozenset[str] = frozenset()

    def __call__(self, raw: bytes | None) -> bytes | Failed | None:
        """The repaired value, or the step that failed."""
        if not self.steps:
            return raw
        record: Record = {}
        for position, kind, do in self._work(raw):
            try:
                record = do(record)
            except _Stuck as stuck:
                return Failed(position, kind, stuck.code, self._shown(stuck.message, record))
        value: bytes = record[WRITE]
        return value

    def _work(self, raw: bytes | None) -> Iterator[tuple[int, str, Callable[[Record], Record]]]:
        """Position, key and work of everything to do, reading and writing included."""
        if not self.steps[0].reads:
            yield 0, READ, lambda _: self._as_the_header_says(raw)
        for position, step in enumerate(self.steps, 1):
            yield position, step.kind, partial(self._done, step.action, raw)
        if self.steps[-1].kind != "encode":
            yield len(self.steps) + 1, WRITE, self._written

    def _done(self, action: Action, raw: bytes | None, record: Record) -> Record:
        match action:
            case Decode():
                return self._read(raw, action)
            case Parse(kind="json"):
                return _from_json(raw)
            case Encode():
                return self._written(record)
            case Drop(field=field):
                return {name: value for name, value in record.items() if name != field}
            case Set(field=field, value=value):
                return record | {field: value}
            case Cast(field=field, to=to):
                return record | {field: _cast(_present(record, field), to)}
            case Map(field=field, values=values):
                return record | {field: _mapped(_present(record, field), values)}
            case Parse(field=str(field), kind=kind):
                return record | {field: _parsed(_present(record, field), kind)}
        raise AssertionError(action)

    def _as_the_header_says(self, raw: bytes | None) -> Record:
        found = wire.parse(raw)
        if isinstance(found, Violation):
            raise _Stuck(found.code, found.message)
        return self._decoded(self._schema(found.schema_id), found.body)

    def _read(self, raw: bytes | None, how: Decode) -> Record:
        value = raw or b""
        if len(value) < how.skip_bytes:
            problem = wire.WireProblem.SHORT_HEADER
            raise _Stuck(problem, f"{len(value)} bytes, {how.skip_bytes} of them to skip")
        body = value[how.skip_bytes :]
        if how.version is None:
            writer = self._schema(int.from_bytes(value[1 : wire.HEADER_LENGTH], "big"))
        else:
            writer = self._schema(self.registered.ids[how.version])
        if how.trailing == "drop":
            body = body[: avro_walk.walk(writer.parsed, body).end]
        return self._decoded(writer, body)

    def _schema(self, schema_id: int) -> Schema:
        if schema_id not in self.registered.texts:
            raise _Stuck(wire.WireProblem.UNKNOWN_SCHEMA_ID, f"schema id {schema_id} is not of this topic's subject")
        try:
            return layout(self.registered.texts[schema_id])
        except UsageError as error:
            problem = avro_walk.DecodeProblem.INCOMPATIBLE_SCHEMA
            raise _Stuck(problem, f"schema id {schema_id} can't be read: {error}") from None

    def _decoded(self, writer: Schema, body: bytes) -> Record:
        """What the writer wrote, under the names of the target; a field that the target lacks is left away."""
        found = avro.decode(writer, body)
        if isinstance(found, Violation):
            raise _Stuck(found.code, found.message)
        fields, sources = _fields(self._target_schema.text), self._sources(writer)
        return {f.name: _promoted(found[sources[f.name]], f) for f in fields if f.name in sources}

    def _sources(self, writer: Schema) -> Mapping[str, str]:
        """Field of the target → the writer's field that it is filled from."""
        if writer.text not in self._known_sources:
            written = {field["name"] for field in writer.parsed["fields"]}
            named = {field.name for field in _fields(self._target_schema.text)}
            renamed = {name: self.registered.relatives([name]) & (written - named) for name in named - written}
            same = {name: name for name in named & written}
            self._known_sources[writer.text] = same | {n: next(iter(r)) for n, r in renamed.items() if len(r) == 1}
        return self._known_sources[writer.text]

    @cached_property
    def _known_sources(self) -> dict[str, Mapping[str, str]]:
        return {}

    def _written(self, record: Record) -> Record:
        """Frame the record; a field that is missing and may be null is null."""
        schema = self._target_schema
        optional = {f.name: None for f in _fields(schema.text) if f.nullable and f.default is None}
        try:
            body = avro.encode(schema, optional | record)
        except ContractViolation as error:
            raise _Stuck(StepProblem.DOES_NOT_FIT_SCHEMA, "; ".join(v.message for v in error.violations)) from None
        except OverflowError as error:  # a number that no float holds
            raise _Stuck(StepProblem.DOES_NOT_FIT_SCHEMA, str(error)) from None
        return {WRITE: wire.frame(self.registered.ids[self.target], body)}

    @property
    def _target_schema(self) -> Schema:
        return layout(self.registered.texts[self.registered.ids[self.target]])

    def _shown(self, message: str, record: Record) -> str:
        """A message never shows a personal value, by whatever name its field goes."""
        for name in self._masked:
            value = record.get(name)
            for text in {str(value), repr(value).strip("\"'")} - {""} if value is not None else ():
                message = message.replace(text, MASK)
        return message[:SHOWN_CHARS]

    @cached_property
    def _masked(self) -> frozenset[str]:
        return self.registered.relatives(self.personal)


@cache
def _fields(text: str) -> tuple[Any, ...]:
    return LogSchema(text).fields


def _promoted(value: Any, field: Field) -> Any:
    """Text as bytes, or bytes as text, where the target has the other one; numbers widen by themselves."""
    if isinstance(value, str) and field.type == "bytes":
        return value.encode()
    if isinstance(value, bytes) and field.type == "string":
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value  # a step may do something about it
    return value


def _from_json(raw: bytes | None) -> Record:
    try:
        found = json.loads(raw or b"")
    except (ValueError, RecursionError) as error:
        raise _Stuck(StepProblem.NOT_JSON, f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise _Stuck(StepProblem.NOT_JSON, f"JSON, but no object: {type(found).__name__}")
    return found


def _present(record: Record, field: str) -> Any:
    if field not in record:
        raise _Stuck(StepProblem.NO_SUCH_FIELD, f"the record has no field {field}")
    return record[field]


def _cast(value: Any, to: str) -> Any:
    if value is None:
        return None
    casts: dict[str, Callable[[Any], Any]] = {"int": _to_int, "float": float, "string": _to_text, "boolean": _to_bool}
    try:
        return casts[to](value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _Stuck(StepProblem.NOT_CASTABLE, f"{type(value).__name__} {value!r} is no {to}") from None


def _to_int(value: Any) -> int:
    number = value if isinstance(value, float) else int(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _to_bool(value: Any) -> bool:
    return _BOOLEANS[_to_text(value).strip().lower()]


def _mapped(value: Any, values: Sequence[tuple[Any, Any]]) -> Any:
    """``1``, ``1.0`` and ``true`` are three values here."""
    return next((new for old, new in values if type(old) is type(value) and old == value), value)


def _parsed(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Stuck(StepProblem.NOT_PARSABLE, f"a text is needed, not {type(value).__name__} {value!r}")
    return _number(value) if kind == "number" else _unix_ms(value)


def _number(text: str) -> int | float:
    digits = text.strip()
    try:
        if _NUMBER.fullmatch(digits):
            return int(digits) if digits.lstrip("+-").isdigit() else float(digits)
    except ValueError:  # Python reads no integer of thousands of digits
        pass
    raise _Stuck(StepProblem.NOT_PARSABLE, f"{text!r} is no number")


def _unix_ms(text: str) -> int:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _Stuck(StepProblem.NOT_PARSABLE, f"{text!r} is no ISO time") from None
    in_utc = time if time.tzinfo else time.replace(tzinfo=UTC)
    return round(in_utc.timestamp() * 1000)
