"""Check a log against its schema and the rules, and encode it: fast for good records, precise for bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import fastavro

from pipelines.contracts import avro, wire
from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.rules import RuleSet
from pipelines.contracts.writer import Field, LogSchema
from pipelines.errors import ContractViolation
from pipelines.records import Severity, Violation
from sdk.plain_writer import NOT_PLAIN, plain_writer
from sdk.schemas import Registered

Record = Mapping[str, Any]

_REMEMBERED = 32
"""Evaluators for records in which some fields do not fit: to make one takes a hundred times as long as to use it."""


class LogEncoder:
    """Turns records of one schema into framed values.

    ``rules``: what critical violations are; None checks the schema only. ``columns``: column that the rules speak of →
    field of the schema, None for a field that the schema no longer has; those of one name may be left out. A record may
    name its fields either way, so that a service that knows the ten of version 1 outlives a schema that renames one.
    """

    def __init__(
        self, registered: Registered, rules: RuleSet | None, columns: Mapping[str, str | None] | None = None
    ) -> None:
        self._schema = registered.schema
        self._header = wire.frame(registered.schema_id, b"")
        self._rules = rules
        self._renamed = {column: name for column, name in (columns or {}).items() if name != column}
        self._judge = evaluator(rules) if rules is not None else None
        self._remembered = lru_cache(_REMEMBERED)(_evaluator_without)
        self._fields = {f.name: f for f in LogSchema(registered.schema.text).fields}
        has_default = {f["name"] for f in json.loads(registered.schema.text)["fields"] if "default" in f}
        self._defaults = {name: _default(f) for name, f in self._fields.items() if name in has_default}
        self._write = plain_writer(tuple(self._fields.values()), self._header)
        self._former = {column: name for column, name in self._renamed.items() if column not in self._fields}

    def encode(self, record: Record, now_ms: int) -> bytes:
        """The framed value. ``now_ms``: the record's Kafka timestamp, which rules may look at.

        Raises ContractViolation with every field that does not fit and every critical rule that is broken.
        """
        if self._former:
            record = self._in_todays_names(record)
        try:
            value = self._write(record)
        except NOT_PLAIN:
            return self._encode_odd(record, now_ms)
        if self._judge is not None:  # afterwards: a rule can't judge what is of another type
            found = self._judge(self._as_columns(record), now_ms)
            if found:
                _refuse(_critical(found))
        return value

    def value(self, record: Record, column: str) -> Any:
        """What a record that was encoded has for a column, whichever name it gave."""
        return record[column] if column in record else record[self._renamed[column] or column]

    def _in_todays_names(self, record: Record) -> Record:
        """The record with fields of former names under those of the schema, without what the schema no longer has."""
        found = {name: value for name, value in record.items() if name not in self._former}
        for column, name in self._former.items():
            if column in record and name is not None:
                found[column if name in record else name] = record[column]
        return found

    def _encode_odd(self, record: Record, now_ms: int) -> bytes:
        """The same for a record that does not look as usual: every reason against it, or a value after all."""
        full = {**self._defaults, **record}
        wrong = [v for name in self._fields for v in self._misfit(name, record)]
        wrong += [_mismatch(name, "is no field of the schema") for name in record if name not in self._fields]
        _refuse([*wrong, *self._judged(full, {v.field for v in wrong}, now_ms)])
        return self._header + avro.encode(self._schema, full)

    def _misfit(self, name: str, record: Record) -> list[Violation]:
        """What one field has against its value, without showing it: it may be personal."""
        field = self._fields[name]
        if name not in record:
            return [] if name in self._defaults else [_mismatch(name, "is missing")]
        schema = {"type": "enum", "name": "e", "symbols": list(field.symbols)} if field.type == "enum" else field.type
        branches = ["null", schema] if field.nullable else schema
        single = {"type": "record", "name": "r", "fields": [{"name": name, "type": branches}]}
        try:
            avro.encode(avro.Schema("", fastavro.parse_schema(single)), {name: record[name]})
        except ContractViolation:
            found = "null" if record[name] is None else f"a value of type {type(record[name]).__name__}"
            return [_mismatch(name, f"must be a valid {field.type}, found {found}")]
        return []

    def _judged(self, record: Record, misfits: set[str | None], now_ms: int) -> list[Violation]:
        """Critical violations of the rules that need none of the fields that do not fit."""
        if self._rules is None:
            return []
        unfit = {column for column, name in self._renamed.items() if name in misfits} | misfits
        judge = self._remembered(self._rules, frozenset(unfit))
        return _critical(judge(self._as_columns(record), now_ms))

    def _as_columns(self, record: Record) -> Record:
        """The record in the names that rules use, as the stream reads it."""
        if not self._renamed:
            return record
        renamed = {column: None if name is None else record.get(name) for column, name in self._renamed.items()}
        return {**record, **renamed}


def _evaluator_without(rules: RuleSet, unfit: frozenset[str | None]) -> Callable[[Record, int], list[Violation]]:
    judged = tuple(rule for rule in rules.rules if not unfit.intersection(rule.fields))
    return evaluator(rules.model_copy(update={"rules": judged}))


def _default(field: Field) -> Any:
    return field.default.encode("latin-1") if field.type == "bytes" and field.default is not None else field.default


def _critical(violations: list[Violation]) -> list[Violation]:
    return [v for v in violations if v.severity is Severity.CRITICAL]


def _refuse(violations: list[Violation]) -> None:
    if violations:
        raise ContractViolation(violations)


def _mismatch(field: str, what: str) -> Violation:
    return Violation(avro.SCHEMA_MISMATCH, field, f"{field} {what}", Severity.CRITICAL)
