"""The rules of a batch's first try, kept beside the checkpoint, so that a replay classifies alike (law 7)."""

from __future__ import annotations

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.json_file import JsonFile
from pipelines.contracts.rules import RuleSet
from pipelines.records import Batch


class PinnedRules:
    """One small file per job: only the newest batch can ever be replayed."""

    def __init__(self, files: HadoopFiles, uri: str) -> None:
        self._file = JsonFile(files, uri)

    def of(self, batch: Batch, current: RuleSet) -> RuleSet:
        """The rules that this batch was first tried with; ``current`` is pinned if this is the first try."""
        key = f"{batch.query_id}/{batch.batch_id}"
        pinned = self._file.read()
        if pinned.get("batch") == key:
            return RuleSet.model_validate(pinned["rules"])
        self._file.write({"batch": key, "rules": current.model_dump(mode="json")})
        return current
