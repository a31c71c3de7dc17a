"""Documents that are not as they should be: found by coordinates, written over, removed.

A document's version follows from its coordinates, and the cluster takes no lower one. Whoever changed or deleted it by
hand has left a higher one, for a deleted document during ``index.gc_deletes``. So such a document is deleted first and
its index told to forget deletions at once; then the right one comes back with the version that it had.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pipelines.adapters.elastic import Elastic
from pipelines.ingest.documents import ID
from pipelines.reconcile.repair_documents import StoredDocument
from pipelines.reconcile.repair_plan import Place
from pipelines.records import CONFLICT, Batch

FORGETTING = "1ms"
"""Value of ``index.gc_deletes`` that is ours: nobody else would set it."""

FORGOTTEN_AFTER_S = 30.0
_PLACES_A_QUERY, _MOST_HITS, _ACTIONS_A_BULK = 1_000, 10_000, 1_000
_PLACE = ["kafka_partition", "kafka_offset"]

T = TypeVar("T")
Address = tuple[str, str]
"""Index and id."""


class DocumentRepairs(Elastic):
    """One cluster as a repair sees it. Every call raises SinkUnavailable when the cluster does not answer."""

    def index_of(self, day: str) -> str:
        """The index of a day (yyyy.MM.dd)."""
        return f"{self._settings.index_prefix}-{day}"

    def at(self, topic: str, places: Sequence[Place]) -> list[StoredDocument]:
        """Every document with one of the coordinates, in whatever index and under whatever id."""
        self._call(lambda: self._client.indices.refresh(index=self._pattern))
        found: list[StoredDocument] = []
        for partition, of_partition in itertools.groupby(sorted(places), lambda p: p.partition):
            for some in _parts(list(of_partition), _PLACES_A_QUERY):
                offsets = [place.offset for place in some]
                terms = [{"kafka_topic": topic}, {"kafka_partition": partition}]
                found += self._search([*({"term": t} for t in terms), {"terms": {"kafka_offset": offsets}}])
        return found

    def overwrite(self, docs: DataFrame, batch: Batch) -> dict[Place, str]:
        """Write documents over whatever stands there of the same record; why one was refused."""
        refused = self._write(docs, batch)
        conflicts = {place: at for place, (status, at, _) in refused.items() if status == CONFLICT}
        reasons = {place: reason for place, (status, _, reason) in refused.items() if status != CONFLICT}
        others = self._cleared(conflicts)
        mine = {place: at for place, at in conflicts.items() if place not in others}
        if mine:
            with self._forgetting({index for index, _ in mine.values()}) as indices:
                reasons |= self._again(docs, batch, list(mine), indices)
        self.forget(batch)
        return reasons | others

    def remove(self, doomed: Sequence[tuple[str, str, Place]]) -> dict[Address, str | None]:
        """Delete documents by index and id, if they are of that record; why one was not. None: it is gone."""
        held = self._get([(index, id_) for index, id_, _ in doomed])
        found: dict[Address, str | None] = {}
        actions: list[dict[str, Any]] = []
        for index, id_, place in doomed:
            document = held.get((index, id_))
            if document is not None and _place(document["_source"]) != place:
                found[index, id_] = "another record has its id by now"
            elif document is not None:
                actions.append({"delete": _unchanged(document)})
        return found | self._bulk(actions)

    def tidy(self) -> None:
        """Let indices that a repair was killed at keep deletions in mind again."""
        key = "index.gc_deletes"
        held = self._call(lambda: self._client.indices.get_settings(index=self._pattern, name=key, flat_settings=True))
        ours = [index for index, found in held.items() if found["settings"].get(key) == FORGETTING]
        self._set_gc_deletes(ours, None)

    @property
    def _pattern(self) -> str:
        return f"{self._settings.index_prefix}-*"

    def _search(self, conditions: Sequence[Mapping[str, Any]]) -> Iterator[StoredDocument]:
        query = {"bool": {"filter": list(conditions)}}
        hits = self._call(lambda: self._client.search(index=self._pattern, size=_MOST_HITS, query=query))["hits"][
            "hits"
        ]
        return (StoredDocument(hit["_index"], hit["_id"], _place(hit["_source"]), hit["_source"]) for hit in hits)

    def _write(self, docs: DataFrame, batch: Batch) -> dict[Place, tuple[int, Address, str]]:
        """Write them; place → status, address and reason of those that the cluster refused."""
        self.write(docs, batch)
        rejects = self.rejects(batch)
        if rejects is None:
            return {}
        told = ("es_index", "es_status", "es_reason")
        rows = docs.select(*_PLACE, F.col(ID).alias("id")).join(rejects, _PLACE).select(*_PLACE, "id", *told).collect()
        return {
            Place(r["kafka_partition"], r["kafka_offset"]): (r["es_status"], (r["es_index"], r["id"]), r["es_reason"])
            for r in rows
        }

    def _cleared(self, conflicts: Mapping[Place, Address]) -> dict[Place, str]:
        """Delete what stands in the way and is of the same record; what is of another one, is named."""
        if not conflicts:
            return {}
        held = self._get(list(conflicts.values()))
        others = {
            place: f"request_id belongs to the record {_shown(_place(held[at]['_source']))}, which came first"
            for place, at in conflicts.items()
            if at in held and _place(held[at]["_source"]) != place
        }
        ways = [held[at] for place, at in conflicts.items() if at in held and place not in others]
        self._bulk([{"delete": _unchanged(document)} for document in ways])
        return others

    def _again(
        self, docs: DataFrame, batch: Batch, places: Sequence[Place], indices: Sequence[str]
    ) -> dict[Place, str]:
        """Write these until their deletion is forgotten."""
        rows = [(p.partition, p.offset) for p in places]
        at = docs.sparkSession.createDataFrame(rows, "kafka_partition INT, kafka_offset BIGINT")
        some = docs.join(F.broadcast(at), _PLACE, "left_semi")

        def one_try() -> dict[Place, tuple[int, Address, str]]:
            self._call(lambda: self._client.indices.refresh(index=list(indices)))
            return self._write(some, batch)

        retrying = Retrying(
            retry=retry_if_result(lambda refused: any(status == CONFLICT for status, _, _ in refused.values())),
            stop=stop_after_delay(FORGOTTEN_AFTER_S),
            wait=wait_fixed(0.5),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else {},
        )
        return {place: reason for place, (_, _, reason) in retrying(one_try).items()}

    @contextmanager
    def _forgetting(self, indices: set[str]) -> Iterator[Sequence[str]]:
        self._set_gc_deletes(sorted(indices), FORGETTING)
        try:
            yield sorted(indices)
        finally:
            self._set_gc_deletes(sorted(indices), None)

    def _set_gc_deletes(self, indices: Sequence[str], value: str | None) -> None:
        if indices:
            settings = {"index.gc_deletes": value}
            self._call(lambda: self._client.indices.put_settings(index=list(indices), settings=settings))

    def _get(self, addresses: Sequence[Address]) -> dict[Address, Any]:
        """Documents as they are this moment, whether or not a search would show them."""
        found: dict[Address, Any] = {}
        for some in _parts(addresses, _ACTIONS_A_BULK):
            wanted = [{"_index": index, "_id": id_} for index, id_ in some]
            answer = self._call(lambda wanted=wanted: self._client.mget(docs=wanted))
            found |= {(d["_index"], d["_id"]): d for d in answer["docs"] if d.get("found")}
        return found

    def _bulk(self, actions: Sequence[dict[str, Any]]) -> dict[Address, str | None]:
        """Address → why the deletion was refused, None where it was done."""
        found: dict[Address, str | None] = {}
        for some in _parts(actions, _ACTIONS_A_BULK):
            answer = self._call(lambda some=some: self._client.bulk(operations=list(some)))
            for item in (item["delete"] for item in answer["items"]):
                is_done = item["status"] in (200, 404)
                found[item["_index"], item["_id"]] = None if is_done else item["error"]["reason"]
        return found


def _parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _unchanged(document: Mapping[str, Any]) -> dict[str, Any]:
    """The address of a document as long as nobody writes to it."""
    same = {"if_seq_no": document["_seq_no"], "if_primary_term": document["_primary_term"]}
    return {"_index": document["_index"], "_id": document["_id"], **same}


def _place(source: Mapping[str, Any]) -> Place:
    return Place(int(source.get("kafka_partition", -1)), int(source.get("kafka_offset", -1)))


def _shown(place: Place) -> str:
    return f"{place.partition}@{place.offset}"
