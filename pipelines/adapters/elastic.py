"""Elasticsearch: index template, bulk writes by elasticsearch-hadoop, and what the cluster refused.

The connector hands every document that fails for good to its ``es`` error handler, which stores it in an index of its
own: one per batch, made when the first one comes. What is in there is a record with a reason (400, 409) or a sign that
the cluster is in trouble.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.elastic_client import ElasticClient
from pipelines.contracts.writer import Field
from pipelines.errors import IndexReadOnly, SinkUnavailable
from pipelines.ingest.documents import DAY, HIDDEN, ID, VERSION
from pipelines.records import Batch
from pipelines.settings import ROOT, ElasticsearchSettings

_DATA_ERRORS = {
    "version_conflict_engine_exception": 409,
    "mapper_parsing_exception": 400,
    "document_parsing_exception": 400,
    "strict_dynamic_mapping_exception": 400,
    "illegal_argument_exception": 400,
}
"""Error types that say something about the document; all others say something about the cluster (law 4)."""

_TYPES = {
    "int": "long",
    "long": "long",
    "float": "double",
    "double": "double",
    "boolean": "boolean",
    "bytes": "binary",
    "string": "keyword",
    "enum": "keyword",
}
"""Avro type of an added field → type in the mapping, which can never change: numbers are as wide as they may grow."""

_WRITE_BLOCK = "FORBIDDEN/8/"
"""What Elasticsearch says of ``index.blocks.write``, which nobody sets but people and maintenance."""

_REJECTS = "sdp-rejects"
_STORED = {"type": "keyword", "index": False, "doc_values": False}
_REJECTS_MAPPING = {
    "dynamic": False,
    "properties": {
        "error": {"properties": {"code": {"type": "keyword"}, "message": _STORED}},
        "event": {"properties": {"raw": _STORED}},
    },
}


class Elastic:
    """One cluster as the index job sees it. Every call raises SinkUnavailable when the cluster does not answer."""

    def __init__(self, spark: SparkSession, settings: ElasticsearchSettings) -> None:
        self._spark, self._settings = spark, settings
        self._connection = ElasticClient(settings)
        self._client = self._connection.raw

    def prepare(self, fields: Sequence[Field] = ()) -> None:
        """Put the index templates for the fields of the schemas; existing indices get what was added.

        A number of the ten that became wider is so in new indices only: a document that an older one can't take is
        rejected.
        """
        mapping = json.loads((ROOT / "conf" / "elasticsearch" / "api6-logs-valid.json").read_text(encoding="utf-8"))
        known = mapping["properties"]
        added = {f.name: {"type": _TYPES[f.type]} for f in fields if f.name not in known}
        grown = {f.name: {"type": "long"} for f in fields if f.type == "long" and f.name in known}
        mapping["properties"] = known | added | grown
        replicas = self._replicas()
        self._put_template(self._settings.index_prefix, self._settings.shards, replicas, mapping)
        self._put_template(
            _REJECTS, 1, replicas, _REJECTS_MAPPING, priority=201
        )  # patterns overlap, priorities may not
        if added:
            self._extend(added)

    def write(self, docs: DataFrame, batch: Batch) -> None:
        """Send documents in bulks from every Spark task; refused ones are kept for ``rejects``."""
        self.forget(batch)
        resource = f"{self._settings.index_prefix}-{{{DAY}}}"
        try:
            docs.write.format("es").options(**self._connector(batch)).mode("append").save(resource)
        except Py4JJavaError as error:
            raise SinkUnavailable("Elasticsearch", self._settings.url, _reason(str(error.java_exception))) from error

    def _put_template(
        self, name: str, shards: int, replicas: int, mapping: Mapping[str, Any], priority: int = 200
    ) -> None:
        index = {"number_of_shards": shards, "number_of_replicas": replicas}
        self._call(
            lambda: self._client.indices.put_index_template(
                name=name,
                index_patterns=[f"{name}-*"],
                priority=priority,
                template={"settings": {"index": index}, "mappings": mapping},
            )
        )

    def _extend(self, added: Mapping[str, Any]) -> None:
        """Add to existing indices the fields that they lack; one that they have may be of another type, and stays."""
        pattern = f"{self._settings.index_prefix}-*"
        types = "*.mappings.properties.*.type"
        held = self._call(lambda: self._client.indices.get_mapping(index=pattern, filter_path=types))
        for index, found in held.items():
            lacking = {name: kind for name, kind in added.items() if name not in found["mappings"]["properties"]}
            if lacking:
                self._call(lambda i=index, p=lacking: self._client.indices.put_mapping(index=i, properties=p))

    def _replicas(self) -> int:
        """As many copies as wanted, but no more than there are other nodes to hold them."""
        nodes = int(self._call(lambda: self._client.cluster.health())["number_of_data_nodes"])
        return min(self._settings.replicas, nodes - 1)

    def rejects(self, batch: Batch) -> DataFrame | None:
        """What ``write`` could not place: kafka_partition, kafka_offset, es_index, es_status, es_error_type, es_reason.

        None when everything is in. Raises SinkUnavailable if the reason is the cluster's, not the document's.
        """
        index = _rejects(batch)
        refreshed = self._call(lambda: self._client.indices.refresh(index=index, ignore_unavailable=True))
        if refreshed["_shards"]["failed"]:  # a copy that missed it would answer from before
            raise SinkUnavailable("Elasticsearch", self._settings.url, f"{index} was refreshed on some copies only")
        if not self._call(lambda: self._client.count(index=index, ignore_unavailable=True))["count"]:
            return None
        found = self._read_rejects(index)
        is_foreign = F.col("es_status").isNull() | F.col("kafka_partition").isNull() | F.col("kafka_offset").isNull()
        foreign = found.where(is_foreign).select("es_error_type", "es_reason").first()
        if foreign is not None:
            said = f"{foreign[0]}: {foreign[1]}"
            raise (IndexReadOnly if _WRITE_BLOCK in said else SinkUnavailable)(
                "Elasticsearch", self._settings.url, said
            )
        return found

    def forget(self, batch: Batch) -> None:
        """Drop the rejects of a batch once they are stored, and what a kill left of earlier ones."""
        names = self._call(
            lambda: self._client.cat.indices(index=f"{_REJECTS}-{batch.query_id}-*", format="json", h="index")
        )
        for row in names:
            self._call(lambda name=row["index"]: self._client.indices.delete(index=name, ignore_unavailable=True))

    def per_partition(self, topic: str) -> dict[int, int]:
        """Kafka partition → documents, over all daily indices, after a refresh."""
        pattern = f"{self._settings.index_prefix}-*"
        self._call(lambda: self._client.indices.refresh(index=pattern))
        query = {"term": {"kafka_topic": topic}}
        by = {"by": {"terms": {"field": "kafka_partition", "size": 4096}}}
        found = self._call(lambda: self._client.search(index=pattern, size=0, query=query, aggregations=by))
        buckets = found.get("aggregations", {"by": {"buckets": []}})["by"]["buckets"]
        return {int(b["key"]): int(b["doc_count"]) for b in buckets}

    def _read_rejects(self, index: str) -> DataFrame:
        """The error handler stores the bulk lines it sent: the action, then the document."""
        raw = self._spark.read.format("es").options(**connector_address(self._settings)).load(index)
        error = F.col("error.code")
        sent = F.split("event.raw", "\n")
        status = F.create_map(*(F.lit(x) for pair in _DATA_ERRORS.items() for x in pair))[error]
        return raw.select(
            F.get_json_object(sent[1], "$.kafka_partition").cast("int").alias("kafka_partition"),
            F.get_json_object(sent[1], "$.kafka_offset").cast("bigint").alias("kafka_offset"),
            F.get_json_object(sent[0], "$.index._index").alias("es_index"),
            status.alias("es_status"),
            error.alias("es_error_type"),
            F.col("error.message").alias("es_reason"),
        ).dropDuplicates(["kafka_partition", "kafka_offset"])

    def _connector(self, batch: Batch) -> dict[str, str]:
        handler = "es.write.rest.error.handler.es"
        return {
            **connector_address(self._settings),
            "es.mapping.id": ID,
            "es.mapping.version": VERSION,
            "es.mapping.version.type": "external_gte",
            "es.mapping.exclude": f"{HIDDEN}*",
            "es.batch.size.entries": str(self._settings.batch_entries),
            "es.batch.size.bytes": self._settings.batch_bytes,
            "es.batch.write.refresh": "false",
            "es.batch.write.retry.count": "5",
            "es.batch.write.retry.wait": "2s",
            "es.http.retries": "1",
            "es.http.timeout": "1m",
            "es.spark.dataframe.write.null": "false",
            "es.write.rest.error.handlers": "es",
            f"{handler}.client.resource": _rejects(batch),
        }

    def _call(self, request: Any) -> Any:
        return self._connection.call(request)


def connector_address(settings: ElasticsearchSettings) -> dict[str, str]:
    """Where elasticsearch-hadoop finds the cluster, and who it is there."""
    url = urlsplit(settings.url)
    port = str(url.port or (443 if url.scheme == "https" else 9200))
    address = {"es.nodes": url.hostname or "localhost", "es.port": port}
    address["es.nodes.wan.only"] = str(settings.wan_only).lower()
    if url.scheme == "https":
        address["es.net.ssl"] = "true"
    if settings.username and settings.password:
        address["es.net.http.auth.user"] = settings.username
        address["es.net.http.auth.pass"] = settings.password.get_secret_value()
    return address


def _rejects(batch: Batch) -> str:
    return f"{_REJECTS}-{batch.query_id}-{batch.batch_id}"


def _reason(said: str) -> str:
    """What the connector says, without Spark's preamble; it appends the documents it sent, which no log may show."""
    own = [line.strip() for line in said.split("\n") if not line.startswith("{")]
    lines = [line for line in own if "EsHadoop" in line or "Caused by" in line]
    return (lines[-1] if lines else own[0]).rpartition("org.elasticsearch.hadoop.")[2][:300]
