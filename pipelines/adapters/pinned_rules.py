"""The rules of a batch's first try, kept beside the checkpoint, so that a replay classifies alike (law 7)."""

from __future__ import annotations

import json

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.contracts.rules import RuleSet
from pipelines.records import Batch


class PinnedRules:
    """One small file per job: only the newest batch can ever be replayed."""

    def __init__(self, files: HadoopFiles, uri: str) -> None:
        self._files, self._uri = files, uri

    def of(self, batch: Batch, current: RuleSet) -> RuleSet:
        """The rules that this batch was first tried with; ``current`` is pinned if this is the first try."""
        key = f"{batch.query_id}/{batch.batch_id}"
        pinned = self._read()
        if pinned.get("batch") == key:
            return RuleSet.model_validate(pinned["rules"])
        text = json.dumps({"batch": key, "rules": current.model_dump(mode="json")})
        self._files.write_text(f"{self._uri}.new", text, overwrite=True)
        self._files.delete(self._uri)
        self._files.move(f"{self._uri}.new", self._uri)
        return current

    def _read(self) -> dict[str, object]:
        """What is pinned; a kill between delete and move leaves only the new file, which is whole by then."""
        for uri in (self._uri, f"{self._uri}.new"):
            if self._files.exists(uri):
                try:
                    return dict(json.loads(self._files.read_text(uri)))
                except ValueError:
                    continue  # half-written: nothing of that batch was written yet
        return {}
