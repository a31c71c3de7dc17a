"""What Spark's checkpoint of a query says: its id, and the offsets of each batch, written before the batch runs."""

from __future__ import annotations

import json

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.records import OffsetRange


class Checkpoint:
    """One query's checkpoint folder. Layout: Spark 3.5, ``OffsetSeqLog`` and ``KafkaSourceInitialOffsetWriter``."""

    def __init__(self, files: HadoopFiles, uri: str) -> None:
        self._files, self.uri = files, uri

    def query_id(self) -> str | None:
        """The id that survives restarts, or None before the first start and after a loss."""
        path = f"{self.uri}/metadata"
        return str(json.loads(self._files.read_text(path))["id"]) if self._files.exists(path) else None

    def topics(self) -> set[str]:
        """What the newest batch reads, done or not; empty before the first batch."""
        newest = max(self._batches("offsets"), default=None)
        return set() if newest is None else set(json.loads(self._planned(newest)))

    def next_offsets(self, topic: str) -> dict[int, int]:
        """Partition → first offset that no committed batch has read; empty before the first batch."""
        last = max(self._batches("commits"), default=None)
        if last is not None:
            return self._offsets(last, topic)
        return self._initial(topic) if self._files.exists(f"{self.uri}/sources/0/0") else {}

    def planned_offsets(self, topic: str) -> dict[int, int]:
        """Partition → where the newest batch ends, done or not; empty before the first batch."""
        newest = max(self._batches("offsets"), default=None)
        return {} if newest is None else self._offsets(newest, topic)

    def ranges(self, batch_id: int, topic: str) -> list[OffsetRange]:
        """The offsets of one batch. A partition that is new in it starts at 0, as Spark starts it."""
        until = self._offsets(batch_id, topic)
        start = self._initial(topic) if batch_id == 0 else self._offsets(batch_id - 1, topic)
        return [OffsetRange(topic, p, start.get(p, 0), until[p]) for p in sorted(until)]

    def set_aside(self, label: str) -> str:
        """Rename the folder so that the next start is a new query; returns the new place."""
        target = f"{self.uri}.{label}"
        if self._files.exists(self.uri):
            self._files.move(self.uri, target)
        return target

    def _batches(self, log: str) -> list[int]:
        return [int(name) for name in self._files.names(f"{self.uri}/{log}") if name.isdigit()]

    def _offsets(self, batch_id: int, topic: str) -> dict[int, int]:
        return _by_partition(self._planned(batch_id), topic)

    def _planned(self, batch_id: int) -> str:
        return self._files.read_text(f"{self.uri}/offsets/{batch_id}").splitlines()[2]

    def _initial(self, topic: str) -> dict[int, int]:
        text = self._files.read_text(f"{self.uri}/sources/0/0")
        return _by_partition(text[text.index("{") :], topic)


def _by_partition(text: str, topic: str) -> dict[int, int]:
    return {int(p): int(o) for p, o in json.loads(text).get(topic, {}).items()}
