"""What all who may know a record say of it, and the findings that follow. One record at a time, without Spark.

Only records that are not simply the same everywhere come here; the others were told apart in Spark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.contracts.evaluate import MASK
from pipelines.reconcile.compare import OF_KAFKA
from pipelines.reconcile.model import FindingState, Kind, Side
from pipelines.records import RowStatus

HOUR_MS = 3_600_000

NO_ROW = "Kafka has it, and it is valid; neither valid nor invalid holds it"
DUPLICATE = "Kafka has it, and it is a duplicate: its request_id is that of"
NO_ROW_REPLAYED = "a replay brought it back, and the row is gone"
NOBODY_KNOWS = "the ledger counts it, neither valid nor invalid holds it, and Kafka has dropped it"
NO_DOCUMENT = "the job has confirmed it, and no index holds it"
LATE = "the index job has not come so far, for longer than reconcile.grace_minutes"
NO_RECORD = "no valid record has these coordinates"
AGAIN = "the same record once more"
ELSEWHERE = "its timestamp belongs into another index"
OTHER_VALUE = "it is not what Kafka has"
OTHER_THAN_ROW = "it is not what the table holds; Kafka has dropped the record, or has it as it was before a replay"
OTHER_TIME = "it does not fit the timestamp of the row"
OTHER_HASH = "the ten fields give another hash"


@dataclass(frozen=True)
class Bounds:
    """Up to where each job must have stored everything (partition → offset).

    ``waits_since_ms``: a row that was stored before that has waited too long for its document.
    """

    ingest: Mapping[int, int]
    index: Mapping[int, int]
    waits_since_ms: int


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that is wrong, as a row of findings has it."""

    kind: Kind
    side: Side
    reason: str | None
    field: str | None = None
    expected: str | None = None
    found: str | None = None
    es_index: str | None = None
    es_id: str | None = None
    state: FindingState = FindingState.OPEN


@dataclass(frozen=True)
class Record:
    """One record and its witnesses, each None where it is silent.

    ``rows``: how many the valid table has; ``row``: one of them, as the document it should have. ``documents``: those
    that are held to be it. ``truth``: the same as Kafka has it, if that is valid. ``refused``: why it is invalid, if
    Kafka has it so; ``first``: whose ``request_id`` it has, if it is a duplicate. ``is_gone``: Kafka has dropped it.
    ``is_beyond``: Kafka has no such coordinates yet. ``is_hole``: the ledger counts it, and neither table of ``ingest``
    has it. ``logs_invalid``, ``es_invalid``: status and reason of a row of these tables; ``logs_rows``: how many the
    former has. ``others``: why the document of its id is rightly that of another record.
    """

    partition: int
    offset: int
    rows: int = 0
    row: Mapping[str, Any] | None = None
    documents: Sequence[Mapping[str, Any]] = ()
    truth: Mapping[str, Any] | None = None
    refused: str | None = None
    first: str | None = None
    is_gone: bool = False
    is_beyond: bool = False
    is_hole: bool = False
    logs_invalid: tuple[str, str | None] | None = None
    logs_rows: int = 0
    es_invalid: tuple[str, str | None] | None = None
    others: str | None = None
    personal: frozenset[str] = field(default=frozenset())

    @property
    def known(self) -> Mapping[str, Any] | None:
        """The record as it should be. Of one that a replay changed, Kafka has what it was before."""
        return self.row if self.logs_invalid or self.truth is None else self.truth

    def findings(self, bounds: Bounds) -> Iterator[Said]:
        """Everything that is wrong with it."""
        yield from self._of_table(bounds)
        if self.known is not None and not (self.row is None and (self.is_refused or self.is_duplicate)):
            yield from self._of_documents(self.known, bounds)
            yield from self._of_content(self.known)

    @property
    def is_replayed(self) -> bool:
        return self.logs_invalid is not None and self.logs_invalid[0] == RowStatus.REPLAYED

    @property
    def is_refused(self) -> bool:
        return self.logs_invalid is not None and not self.is_replayed

    @property
    def is_duplicate(self) -> bool:
        return self.first is not None and not self.is_replayed

    def _of_table(self, bounds: Bounds) -> Iterator[Said]:
        """Is there one row, or a reason why not?"""
        if self.rows > 1:
            yield Said(Kind.DOUBLED, Side.TABLE, f"{self.rows} rows of it")
        if self.logs_rows > 1:
            yield Said(Kind.DOUBLED, Side.INVALID, f"{self.logs_rows} rows of it")
        if self.row is not None:
            return
        if self.logs_invalid is not None and self.is_refused:
            if self.documents:
                yield _explained(Side.TABLE, self.logs_invalid[1])
        elif not self.is_beyond and self.offset >= bounds.ingest.get(self.partition, 0):
            return
        elif self.is_replayed:
            yield Said(Kind.MISSING, Side.TABLE, NO_ROW_REPLAYED)
        elif self.truth is not None and self.is_duplicate:
            yield Said(Kind.MISSING, Side.INVALID, f"{DUPLICATE} {self.first}")
        elif self.truth is not None:
            yield Said(Kind.MISSING, Side.TABLE, NO_ROW)
        elif self.is_hole and self.is_gone:
            yield Said(Kind.MISSING, Side.TABLE, NOBODY_KNOWS)
        else:
            if self.is_hole and self.refused is not None:
                yield Said(Kind.MISSING, Side.INVALID, f"Kafka has it, and it is invalid: {self.refused}")
            yield from (_of(Kind.EXTRA, NO_RECORD, d) for d in self.documents)

    def _of_documents(self, known: Mapping[str, Any], bounds: Bounds) -> Iterator[Said]:
        """Is there one document, under its id and in its index?"""
        own = [d for d in self.documents if d["es_id"] == known["request_id"]]
        is_there = any(d["es_index"] == known["es_index"] for d in own)
        if not own:
            yield from self._without_document(known, bounds)
        for d in self.documents:
            if d["es_id"] != known["request_id"]:
                yield _of(Kind.DOUBLED, AGAIN, d)
            elif d["es_index"] != known["es_index"]:
                yield _of(Kind.DOUBLED, AGAIN, d) if is_there else _of(Kind.MISPLACED, ELSEWHERE, d)

    def _without_document(self, known: Mapping[str, Any], bounds: Bounds) -> Iterator[Said]:
        address = {"es_index": known["es_index"], "es_id": known["request_id"]}
        if self.es_invalid is not None and self.es_invalid[0] != RowStatus.REPLAYED:
            yield _explained(Side.ELASTICSEARCH, self.es_invalid[1])
        elif self.others is not None:
            yield _explained(Side.ELASTICSEARCH, self.others)
        elif self.offset < bounds.index.get(self.partition, 0):
            yield Said(Kind.MISSING, Side.ELASTICSEARCH, NO_DOCUMENT, **address)
        elif self.row is not None and self.row["ingested_ms"] < bounds.waits_since_ms:
            yield Said(Kind.MISSING, Side.ELASTICSEARCH, LATE, **address)

    def _of_content(self, known: Mapping[str, Any]) -> Iterator[Said]:
        """Row against Kafka, row against its own hash, document against Kafka or else the row."""
        if self.row is not None:
            is_other = False
            for name in OF_KAFKA if known is self.truth else ():
                if self.row[name] != known[name]:
                    is_other = is_other or name == "content_hash"
                    yield self._differs(Side.TABLE, name, known[name], self.row[name], OTHER_VALUE)
            for derived in self.row["misdated"] or ():
                yield self._differs(Side.TABLE, derived["field"], derived["expected"], derived["found"], OTHER_TIME)
            computed = self.row["computed_hash"]
            if computed != self.row["content_hash"] and not is_other:
                yield self._differs(Side.TABLE, "content_hash", computed, self.row["content_hash"], OTHER_HASH)
        document = self._best(known)
        if document is None:
            return
        reason = OTHER_VALUE if known is self.truth else OTHER_THAN_ROW
        address = {"es_index": document["es_index"], "es_id": document["es_id"]}
        for name, found in document.items():
            expected = known if name in OF_KAFKA else self.row
            if name not in address and expected is not None and found != expected[name]:
                yield self._differs(Side.ELASTICSEARCH, name, expected[name], found, reason, address)

    def _best(self, known: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The document whose content counts: the one in its index, if there is one."""
        own = [d for d in self.documents if d["es_id"] == known["request_id"]]
        return next((d for d in own if d["es_index"] == known["es_index"]), own[0] if own else None)

    def _differs(
        self, side: Side, name: str, expected: Any, found: Any, reason: str, address: Mapping[str, str] | None = None
    ) -> Said:
        shown = [MASK if name in self.personal and v is not None else _text(v) for v in (expected, found)]
        index, document_id = (address["es_index"], address["es_id"]) if address else (None, None)
        return Said(Kind.DIFFERS, side, reason, name, shown[0], shown[1], index, document_id)


def _of(kind: Kind, reason: str, document: Mapping[str, Any]) -> Said:
    return Said(kind, Side.ELASTICSEARCH, reason, es_index=document["es_index"], es_id=document["es_id"])


def _explained(side: Side, reason: str | None) -> Said:
    return Said(Kind.ACCOUNTED_AS_INVALID, side, reason, state=FindingState.EXPLAINED)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
