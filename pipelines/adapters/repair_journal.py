"""Where a repair stands, beside the checkpoints: written before a chunk begins, removed when all is proven."""

from __future__ import annotations

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.json_file import JsonFile
from pipelines.reconcile.repair_state import RepairState


class RepairJournal:
    """One file; a lease lets only one repair write it."""

    def __init__(self, files: HadoopFiles, uri: str) -> None:
        self._file = JsonFile(files, uri)

    def read(self) -> RepairState | None:
        """The repair that was not finished, if there is one."""
        found = self._file.read()
        return RepairState.from_json(found) if found else None

    def write(self, state: RepairState) -> None:
        """The repair stands here."""
        self._file.write(state.as_json())

    def remove(self) -> None:
        """The repair is over."""
        self._file.remove()
