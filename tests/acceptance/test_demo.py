"""`sdp demo` as a newcomer runs it: twice, and once more after everything was removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, TopicPartition
from elasticsearch import Elasticsearch

from pipelines.settings import Settings, load
from stack import lifecycle
from tests.commands import FREE_PORTS, sdp, stack_processes

COUNT = 5_000
SMALL = ["stack.elasticsearch_heap=512m", "spark.master=local[2]", "spark.driver_memory=1g", *FREE_PORTS]
ADDS_UP = "It adds up: every offset is a valid or an invalid row, and every valid row is a document."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, dist_folder: Path) -> Iterator[Settings]:
    """A home where nothing has ever run; emptied at the end."""
    settings = load("local", dist=str(dist_folder), home=str(tmp_path_factory.mktemp("demo")))
    try:
        yield settings
    finally:
        lifecycle.down(settings, purge=True)


class Shown(NamedTuple):
    """What a demo printed: the sums of its table, and what its own records had to become."""

    sums: list[int]
    valid: int
    invalid: int


def demo(home: Settings) -> Shown:
    """Run it to a good end."""
    answer = sdp(home, "demo", "--count", f"{COUNT}", overrides=SMALL, timeout_s=900)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    said = " ".join(answer.stdout.split())
    assert ADDS_UP in said
    sent, valid, invalid = numbers(said, "This run sent N records, of which N had to become valid and N invalid")
    assert sent == valid + invalid == COUNT
    [last_row] = [line for line in answer.stdout.splitlines() if re.match(r"\W*all\b", line)]
    return Shown([int(n.replace(",", "")) for n in re.findall(r"[\d,]+", last_row)], valid, invalid)


def numbers(text: str, pattern: str) -> list[int]:
    """The numbers that stand for each N."""
    found = re.search(pattern.replace("N", r"([\d,]+)"), text)
    assert found is not None, text
    return [int(group.replace(",", "")) for group in found.groups()]


def sums(valid: int, invalid: int) -> list[int]:
    """Offsets, valid rows, invalid rows, gaps, lost, documents, refused."""
    return [valid + invalid, valid, invalid, 0, 0, valid, invalid]


def held_by_servers(home: Settings) -> tuple[int, int]:
    """Offsets in Kafka and documents in Elasticsearch, without asking `sdp`."""
    address = lifecycle.endpoints(home)
    consumer = Consumer({"bootstrap.servers": address["kafka"], "group.id": "test"})
    marks = [consumer.get_watermark_offsets(TopicPartition("api6-logs", p), timeout=30) for p in range(12)]
    consumer.close()
    with Elasticsearch(address["elasticsearch"]) as client:
        documents = client.count(index="api6-logs-valid-*")["count"]
    return sum(end - start for start, end in marks), int(documents)


def test_the_second_demo_adds_its_records_to_those_of_the_first(home: Settings) -> None:
    first = demo(home)
    assert first.sums == sums(first.valid, first.invalid)
    assert held_by_servers(home) == (COUNT, first.valid)

    second = demo(home)
    assert second.sums == sums(first.valid + second.valid, first.invalid + second.invalid)
    assert held_by_servers(home) == (2 * COUNT, first.valid + second.valid)


def test_after_a_purge_the_demo_starts_afresh(home: Settings) -> None:
    purged = sdp(home, "stack", "down", "--purge", "--yes")
    assert purged.returncode == 0, purged.stderr
    assert stack_processes(home) == []

    shown = demo(home)
    assert shown.sums == sums(shown.valid, shown.invalid)
    assert held_by_servers(home) == (COUNT, shown.valid)
