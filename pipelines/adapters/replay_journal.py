"""Where a replay stands, beside the checkpoints: written before a chunk begins, removed when all is done."""

from __future__ import annotations

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.json_file import JsonFile
from pipelines.badrows.plan import Plan


class ReplayJournal:
    """One file; a lease lets only one replay write it."""

    def __init__(self, files: HadoopFiles, uri: str) -> None:
        self._file = JsonFile(files, uri)

    def read(self) -> Plan | None:
        """The replay that was not finished, if there is one."""
        found = self._file.read()
        return Plan.from_json(found) if found else None

    def write(self, plan: Plan) -> None:
        """The replay stands here."""
        self._file.write(plan.as_json())

    def remove(self) -> None:
        """The replay is over."""
        self._file.remove()
