"""What a stretch of work costs: wall time, CPU time and peak memory of this process and all its children."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

Cost = tuple[float, float]
"""Seconds by the clock, seconds of CPU (user and system)."""


@dataclass
class Outcome:
    """One measured run. ``steps``: name of a step → (wall s, CPU s) since the step before, summed over the batches."""

    records: int = 0
    valid: int = 0
    invalid: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    batches: int = 0
    steps: dict[str, Cost] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.wall_s

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per record."""
        return 1e6 * self.cpu_s / self.records

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """``with Meter() as meter:`` runs a clock over this process tree; children must live until the end of the block.

    ``others``: processes whose CPU counts too, with all below them, such as the servers that do a part of the work.
    """

    def __init__(self, others: Iterable[psutil.Process] = ()) -> None:
        self._others = tuple(others)
        self.wall_s = self.cpu_s = self.peak_mib = 0.0
        self.steps: dict[str, Cost] = {}
        self._start = self._last = (0.0, 0.0)

    def __enter__(self) -> Meter:
        for process in _tree():
            with suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        self._start = self._last = self._now()
        return self

    def step(self, name: str) -> None:
        """Book what was spent since the step before under ``name``."""
        now = self._now()
        wall_s, cpu_s = self.steps.get(name, (0.0, 0.0))
        self.steps[name] = wall_s + now[0] - self._last[0], cpu_s + now[1] - self._last[1]
        self._last = now

    def __exit__(self, *_: object) -> None:
        end = self._now()
        self.wall_s, self.cpu_s = end[0] - self._start[0], end[1] - self._start[1]
        self.peak_mib = sum(map(_peak_kib, _tree())) / 1024

    def outcome(self, records: int, **more: Any) -> Outcome:
        """What was measured, with the number of records it was spent on."""
        return Outcome(
            records, wall_s=self.wall_s, cpu_s=self.cpu_s, peak_mib=self.peak_mib, steps=dict(self.steps), **more
        )

    def _now(self) -> Cost:
        cpu_s = 0.0
        for process in (*_tree(), *(each for other in self._others for each in _tree(other))):
            with suppress(psutil.NoSuchProcess):
                used = process.cpu_times()
                cpu_s += used.user + used.system
        return time.perf_counter(), cpu_s


def _tree(root: psutil.Process | None = None) -> Iterator[psutil.Process]:
    """A process, this one unless given, and all below it: a server may be the child of what launched it."""
    with suppress(psutil.NoSuchProcess):
        root = root or psutil.Process()
        yield root
        yield from root.children(recursive=True)


def _peak_kib(process: psutil.Process) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0
