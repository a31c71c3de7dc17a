"""Faults of every kind, and findings that name them by hand: what a repair is tested with."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from delta.tables import DeltaTable
from elasticsearch import Elasticsearch
from pyspark.sql import functions as F

from pipelines import bootstrap_repair
from pipelines.adapters.tables import COLUMNS, OF_RECONCILIATION, Tables
from pipelines.flows.repair_report import Pace, Report
from pipelines.records import FINDINGS, REPAIRS, RUNS, VALID
from tests.world import World

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Mending:
    """A world, what is wrong in it, and what was found."""

    world: World
    found: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.world.settings
        self.client = Elasticsearch(settings.elasticsearch.url)
        self.prefix = settings.elasticsearch.index_prefix
        self.database = settings.metastore.database

    # faults

    def delete_rows(self, places: Iterable[tuple[int, int]], table: str = VALID) -> None:
        self._delta(table).delete(_at(places))

    def alter_rows(self, places: Iterable[tuple[int, int]], **values: Any) -> None:
        self._delta(VALID).update(_at(places), {name: F.lit(value) for name, value in values.items()})

    def alter_one_row(self, place: tuple[int, int], **values: Any) -> None:
        """Alter one copy of a row that is there several times."""
        rows = self.world.table(VALID).where(_at([place])).localCheckpoint()
        altered = rows.limit(1).withColumns({name: F.lit(value).cast("bigint") for name, value in values.items()})
        self.delete_rows([place])
        kept = rows.limit(rows.count() - 1).unionByName(altered)
        kept.write.format("delta").mode("append").saveAsTable(f"{self.database}.{VALID}")

    def delete_from_kafka(self, until: dict[int, int]) -> None:
        """What retention does: partition → first offset that is left."""
        admin = AdminClient({"bootstrap.servers": self.world.settings.kafka.bootstrap})
        topic = self.world.settings.kafka.topic
        gone = admin.delete_records([TopicPartition(topic, p, offset) for p, offset in until.items()])
        for future in gone.values():
            future.result(30)

    def double_rows(self, places: Iterable[tuple[int, int]]) -> None:
        again = self.world.table(VALID).where(_at(places)).localCheckpoint()
        again.write.format("delta").mode("append").saveAsTable(f"{self.database}.{VALID}")

    def delete_document(self, document: dict[str, Any]) -> None:
        self.client.delete(index=document["_index"], id=document["request_id"], refresh=True)

    def alter_document(self, document: dict[str, Any], **values: Any) -> None:
        self.client.update(index=document["_index"], id=document["request_id"], doc=values, refresh=True)

    def put_document(self, index: str, id_: str, document: dict[str, Any], **values: Any) -> None:
        source = {name: value for name, value in (document | values).items() if name != "_index"}
        self.client.index(index=index, id=id_, document=source, refresh=True)

    # findings

    def find(self, kind: str, side: str, place: tuple[int, int], request_id: str | None = None, **more: Any) -> None:
        hour = more.pop("hour", NOW.replace(minute=0, second=0))
        self.found.append({"kind": kind, "side": side, "place": place, "request_id": request_id, "hour": hour, **more})

    def save(self, run_id: str = "run-1") -> None:
        """Write a run that is done, and its findings."""
        Tables(self.world.spark, self.database, self.world.settings.warehouse_uri).create_missing(OF_RECONCILIATION)
        topic = self.world.settings.kafka.topic
        run = {"run_id": run_id, "topic": topic, "started_at": NOW, "state": "done", "date": NOW.date()}
        self._append(RUNS, [run])
        same = {"run_id": run_id, "last_run_id": run_id, "kafka_topic": topic, "first_seen": NOW, "last_seen": NOW}
        same |= {"state": "open", "date": NOW.date()}
        rows = [{**same, "kafka_partition": f["place"][0], "kafka_offset": f["place"][1], **f} for f in self.found]
        self._append(FINDINGS, rows)

    def repair(self, asked: str = "latest", **how: Any) -> Report:
        """Repair in this process. ``still``: ids of documents that the second reconciliation finds again."""
        still = how.pop("still", ())

        run_id = f"again-{uuid.uuid4().hex}"

        def again(since: datetime, until: datetime, deep: bool) -> str:
            assert not deep
            assert until - since >= timedelta(hours=1)
            is_wrong = F.col("es_id").isin(list(still)) & (F.col("state") == "open")
            self._delta(FINDINGS).update(is_wrong, {"last_run_id": F.lit(run_id)})
            return run_id

        flow = bootstrap_repair.repair(self.world.settings, self.world.spark, again=again)
        pace = Pace(rate=0, chunk=how.pop("chunk", 1_000))
        if how.pop("dry_run", False):
            return flow.forecast(asked, pace, **how)
        return flow.run(asked, "tester", pace, **how)

    def states(self) -> list[tuple[str, str, str]]:
        rows = self.world.table(FINDINGS).select("kind", "side", "state").collect()
        return sorted((r["kind"], r["side"], r["state"]) for r in rows)

    def open(self) -> set[tuple[str, str, int, int]]:
        columns = ("kind", "side", "kafka_partition", "kafka_offset")
        return {tuple(r) for r in self.world.table(FINDINGS).where("state = 'open'").select(*columns).collect()}

    def audit(self) -> list[dict[str, Any]]:
        order = ("at", "kafka_partition", "kafka_offset", "action")
        return [r.asDict() for r in self.world.table(REPAIRS).orderBy(*order).collect()]

    def _append(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        schema = self.world.spark.createDataFrame([], COLUMNS[table]).schema
        values = [tuple(row.get(name) for name in schema.names) for row in rows]
        frame = self.world.spark.createDataFrame(values, schema).coalesce(1)
        frame.write.format("delta").mode("append").saveAsTable(f"{self.database}.{table}")

    def _delta(self, table: str) -> DeltaTable:
        return DeltaTable.forName(self.world.spark, f"{self.database}.{table}")


def _at(places: Iterable[tuple[int, int]]) -> Any:
    pairs = ", ".join(f"struct({p}, {o}L)" for p, o in places)
    return F.expr(f"struct(kafka_partition, kafka_offset) IN ({pairs})")


def deeds(report: Report) -> dict[tuple[str, str, str, str, str], int]:
    """(kind, side, action, source, outcome) → changes."""
    return {(d.kind, d.side, d.action, d.source, d.outcome): n for d, n in report.deeds.items()}
