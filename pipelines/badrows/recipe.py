"""Recipes: which bad rows to take and how to repair each of them, as YAML. docs/badrows.md describes every step."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from pipelines.contracts.wire import HEADER_LENGTH
from pipelines.records import RowStatus, Stage

Scalar = StrictStr | StrictBool | StrictInt | StrictFloat | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


Time = Annotated[datetime, AfterValidator(_in_utc)]


class Offsets(_Part):
    """Offsets ``[from, until)`` of one partition; all of it unless bounds are given."""

    partition: int = Field(ge=0)
    start: int = Field(0, alias="from", ge=0)
    until: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _has_room(self) -> Offsets:
        if self.until is not None and self.until <= self.start:
            raise ValueError(f"until: {self.until} is not behind from: {self.start}, so no offset is meant")
        return self


class Where(_Part):
    """Conditions on rows of ``api6_logs_invalid``; all that are given must hold.

    ``codes``: the row carries one of these critical violations. ``since``, ``until``: Kafka timestamp, until excluded.
    ``endpoint``: start of ``api_endpoint``, of rows that decode.
    """

    codes: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    since: Time | None = None
    until: Time | None = None
    partitions: tuple[Offsets, ...] = ()
    endpoint: str | None = Field(None, min_length=1)
    schema_ids: tuple[int, ...] = ()
    status: tuple[RowStatus, ...] = Field((RowStatus.OPEN,), min_length=1)

    @model_validator(mode="after")
    def _has_room(self) -> Where:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError(f"until: {self.until} is not after since: {self.since}, so no time is meant")
        return self

    @model_validator(mode="after")
    def _is_narrow(self) -> Where:
        given = (self.codes, self.stages, self.since, self.until, self.partitions, self.endpoint, self.schema_ids)
        if not any(given):
            raise ValueError(
                "give at least one of codes, stages, since, until, partitions, endpoint, schema_ids: "
                "a recipe is for rows that broke in one way"
            )
        return self


class Decode(_Part):
    """How to read a value whose header or tail is wrong.

    ``schema``: registry version that wrote it, else the id in bytes 1 to 4 says it. ``skip_bytes``: bytes before the
    Avro body. ``trailing: drop`` leaves bytes behind the record away.
    """

    version: int | None = Field(None, alias="schema", ge=1)
    skip_bytes: int = Field(HEADER_LENGTH, ge=0)
    trailing: Literal["refuse", "drop"] = "refuse"

    @model_validator(mode="after")
    def _has_an_id(self) -> Decode:
        if self.version is None and self.skip_bytes < HEADER_LENGTH:
            raise ValueError(f"give schema: with less than {HEADER_LENGTH} bytes to skip there is no schema id to read")
        return self


class Parse(_Part):
    """``json``: the whole value is a JSON object. With ``field``: its text is an ISO time (→ ms) or a number."""

    kind: Literal["json", "iso_time", "number"] = Field(alias="as")
    field: str | None = None

    @model_validator(mode="after")
    def _has_its_field(self) -> Parse:
        if (self.kind == "json") == (self.field is not None):
            raise ValueError("json is for the whole value and takes no field; iso_time and number need one")
        return self


class Set(_Part):
    """Give a field this value."""

    field: str
    value: Scalar


class Cast(_Part):
    """Bring a field to another type; null stays null."""

    field: str
    to: Literal["int", "float", "string", "boolean"]


def _pairs(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value


def _once_each(pairs: tuple[tuple[Scalar, Scalar], ...]) -> tuple[tuple[Scalar, Scalar], ...]:
    seen = set()
    for old, _ in pairs:
        if (type(old), old) in seen:
            raise ValueError(f"{old!r} is there twice")
        seen.add((type(old), old))
    return pairs


Mapped = Annotated[
    tuple[tuple[Scalar, Scalar], ...],  # no dict: it takes 1, 1.0 and true for one key
    BeforeValidator(_pairs),
    AfterValidator(_once_each),
    Field(min_length=1),
]


class Map(_Part):
    """Replace values of a field; a value that is not listed stays. A value equals only one of its own type."""

    field: str
    values: Mapped


class Drop(_Part):
    """Take a field away: the schema's default or null comes in its place."""

    field: str


class Encode(_Part):
    """Write with this registry version, the newest that the jobs read unless given."""

    version: int | None = Field(None, alias="schema", ge=1)


Action = Decode | Parse | Set | Cast | Map | Drop | Encode


class Step(_Part):
    """Exactly one thing to do."""

    decode: Decode | None = None
    parse: Parse | None = None
    set: Set | None = None
    cast: Cast | None = None
    map: Map | None = None
    drop: Drop | None = None
    encode: Encode | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Step:
        if len(self.model_fields_set) != 1 or self.action is None:
            raise ValueError(f"a step is exactly one of {', '.join(Step.model_fields)}")
        return self

    @property
    def kind(self) -> str:
        """Its key in the file."""
        return next(iter(self.model_fields_set))

    @property
    def action(self) -> Action:
        """What stands behind the key."""
        action: Action = getattr(self, self.kind)
        return action

    @property
    def reads(self) -> bool:
        """Whether it says how bytes become a record."""
        return isinstance(self.action, Decode) or (isinstance(self.action, Parse) and self.action.kind == "json")


class Recipe(_Part):
    """A name, conditions, and steps in order; without steps the untouched values are judged again."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    where: Where
    steps: tuple[Step, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change whenever the recipe does."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def target(self) -> int | None:
        """The registry version that repaired values are written with; None means the newest that the jobs read."""
        last = self.steps[-1].action if self.steps else None
        return last.version if isinstance(last, Encode) else None

    def as_json(self) -> dict[str, Any]:
        """What ``Recipe.model_validate`` makes the same recipe of."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
