"""An executable in the place of spark-submit.sh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StandIn:
    """Notes its calls, and does what a job's file in its folder says."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "submit"

    @classmethod
    def make(cls, folder: Path) -> StandIn:
        folder.mkdir()
        made = cls(folder)
        made.path.write_text(
            f'#!/bin/bash\nset -u\ncd {folder}\necho "$*" >>calls\n[[ ! -e $2 ]] || . ./"$2"\n', encoding="utf-8"
        )
        made.path.chmod(0o755)
        return made

    def does(self, job: str, lines: str) -> None:
        beside = self.folder / f".{job}"
        beside.write_text(lines, encoding="utf-8")
        beside.replace(self.folder / job)

    def calls(self, job: str, word: str = "") -> list[str]:
        """Calls of a job that have this word, oldest first."""
        file = self.folder / "calls"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line for line in lines if line.split()[1] == job and word in [*line.split(), ""]]
