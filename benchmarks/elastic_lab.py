"""Elasticsearch around a run: the template that the job puts, and indices that are gone afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from elasticsearch import Elasticsearch

from pipelines.settings import ROOT, Settings


def client(settings: Settings, connections: int = 2) -> Elasticsearch:
    return Elasticsearch(settings.elasticsearch.url, request_timeout=60, connections_per_node=connections)


@contextmanager
def fresh_indices(settings: Settings) -> Iterator[None]:
    """Same template for every peer; the indices and the template are removed at the end, and their merges with them."""
    prefix = settings.elasticsearch.index_prefix
    with client(settings) as es:
        mapping = json.loads((ROOT / "conf" / "elasticsearch" / "api6-logs-valid.json").read_text(encoding="utf-8"))
        shape = {
            "number_of_shards": settings.elasticsearch.shards,
            "number_of_replicas": settings.elasticsearch.replicas,
        }
        es.indices.put_index_template(
            name=prefix,
            index_patterns=[f"{prefix}-*"],
            priority=200,
            template={"settings": {"index": shape}, "mappings": mapping},
        )
        try:
            yield
        finally:
            indices = list(es.indices.get(index=f"{prefix}-*"))
            if indices:
                es.indices.delete(index=indices)
            es.indices.delete_index_template(name=prefix)


def stored(settings: Settings) -> int:
    """Documents in the indices of this run."""
    pattern = f"{settings.elasticsearch.index_prefix}-*"
    with client(settings) as es:
        es.indices.refresh(index=pattern)
        return int(es.count(index=pattern)["count"])
