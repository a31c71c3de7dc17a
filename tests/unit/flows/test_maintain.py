"""The order of upkeep: counted before it is removed, confirmed after it, and nothing at all in a dry run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from pipelines.errors import UsageError
from pipelines.flows.lag import Lag
from pipelines.flows.maintain_checkpoints import CleanCheckpoints
from pipelines.flows.maintain_indices import MaintainIndices
from pipelines.flows.maintain_tables import Optimize, Retire, Vacuum
from pipelines.maintenance.compaction import Partition, Policy
from pipelines.maintenance.indices import Ages, Index
from pipelines.maintenance.lag import Limits
from pipelines.maintenance.retirement import Count, Unit
from pipelines.maintenance.step import Step
from pipelines.records import ES_INVALID, INVALID, VALID

NOW = datetime(2026, 6, 30, 12, 0, tzinfo=UTC)
AGES = Ages(30, 90)


@dataclass(frozen=True)
class Merged:
    """How many files took the place of how many."""

    removed: int
    added: int


@dataclass
class FakeFiles:
    """``held``: old rows by table; ``dies``: name of the call in which the process is killed."""

    diary: list[str] = field(default_factory=list)
    small: dict[str, list[Partition]] = field(default_factory=dict)
    held: dict[str, list[Count]] = field(default_factory=dict)
    garbage: dict[str, int] = field(default_factory=dict)
    dies: str = ""

    def existing(self, tables: Sequence[str]) -> list[str]:
        return [name for name in tables if name != "missing"]

    def crowded(self, table: str, at_least: int) -> list[Partition]:
        return self.small.get(table, [])

    def compact(self, table: str, partitions: Sequence[Partition]) -> Merged:
        self.diary.append(f"compacted {table}: {len(partitions)}")
        return Merged(sum(p.files for p in partitions), len(partitions))

    def removable(self, table: str, hours: int) -> int:
        return self.garbage.get(table, 0)

    def vacuum(self, table: str, hours: int) -> None:
        self.diary.append(f"vacuumed {table}")

    def older(self, table: str, day: date, *, drop_open: bool) -> list[Count]:
        return [
            c for c in self.held.get(table, []) if c.unit.name < str(day) and (drop_open or c.unit.status != "open")
        ]

    def drop_older(self, table: str, day: date, *, drop_open: bool) -> None:
        if self.dies == "drop":
            raise KeyboardInterrupt
        gone = self.older(table, day, drop_open=drop_open)
        self.held[table] = [c for c in self.held[table] if c not in gone]
        self.diary.append(f"dropped {len(gone)} of {table}")


@dataclass
class FakeLog:
    """Entries by store."""

    diary: list[str] = field(default_factory=list)
    waiting: dict[str, list[Count]] = field(default_factory=dict)
    done: list[Count] = field(default_factory=list)
    dies: str = ""

    def begun(self, store: str) -> list[Count]:
        return list(self.waiting.get(store, []))

    def begin(self, store: str, counts: Iterable[Count]) -> None:
        counts = list(counts)
        self.forget(store, {c.unit for c in counts})
        self.waiting.setdefault(store, []).extend(counts)
        self.diary.append(f"began {sum(c.rows for c in counts)} of {store}")

    def confirm(self, store: str, units: Collection[Unit]) -> None:
        if self.dies == "confirm" and units:
            raise KeyboardInterrupt
        gone = [c for c in self.begun(store) if c.unit in units]
        self.forget(store, units)
        self.done += gone
        self.diary.extend([f"confirmed {sum(c.rows for c in gone)} of {store}"] * bool(gone))

    def forget(self, store: str, units: Collection[Unit]) -> None:
        self.waiting[store] = [c for c in self.begun(store) if c.unit not in units]


@dataclass
class FakeIndices:
    """Indices by name; each holds the documents of one partition."""

    diary: list[str] = field(default_factory=list)
    held: dict[str, Index] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    ilm: bool = False
    attached: set[str] = field(default_factory=set)
    policy: Ages | None = None

    def all(self) -> list[Index]:
        return list(self.held.values())

    def counts(self, names: Iterable[str]) -> list[Count]:
        return [Count(Unit(name), "logs", 0, self.documents[name]) for name in names]

    def block(self, name: str) -> None:
        self.diary.append(f"blocked {name}")
        self.held[name] = Index(name, self.held[name].day, True, 4)

    def unblock(self, day: date) -> str | None:
        found = [index.name for index in self.all() if index.day == day]
        self.diary.extend(f"unblocked {name}" for name in found)
        return found[0] if found else None

    def merge(self, name: str) -> None:
        self.diary.append(f"merged {name}")
        self.held[name] = Index(name, self.held[name].day, True, 1)

    def delete(self, name: str) -> None:
        self.diary.append(f"deleted {name}")
        del self.held[name]

    def has_lifecycle(self) -> bool:
        return self.ilm

    def keep_policy(self, ages: Ages) -> bool:
        changed, self.policy = self.policy != ages, ages
        return changed

    def without_policy(self) -> list[str]:
        return sorted(self.held.keys() - self.attached)

    def attach_policy(self, name: str) -> None:
        self.attached.add(name)


def indices(*ages: int, diary: list[str] | None = None) -> FakeIndices:
    found = FakeIndices(diary if diary is not None else [])
    for age in ages:
        found.held[f"i{age}"] = Index(f"i{age}", NOW.date() - timedelta(days=age), False)
        found.documents[f"i{age}"] = age
    return found


def rows(day: str, number: int, status: str | None = None) -> Count:
    return Count(Unit(day, status), "logs", 0, number)


def actions(told: Sequence[Step]) -> list[tuple[str, str]]:
    return [(step.action, step.target) for step in told]


# tables


def test_small_files_are_merged_in_parts_and_missing_tables_left_out() -> None:
    files = FakeFiles(small={VALID: [Partition(date(2026, 6, 1), n % 24, 9, 9) for n in range(30)]})
    told: list[Step] = []
    task = Optimize(files, ["missing", VALID, INVALID], Policy(2, 4, 28))
    task(NOW, told.append, dry_run=True)
    assert (files.diary, len(told)) == ([], 2)
    task(NOW, told.append)
    assert files.diary == [f"compacted {VALID}: 24", f"compacted {VALID}: 4"]
    assert [s.detail for s in told] == [
        "24 partitions: 216 small files",
        "4 partitions: 36 small files",
        "24 partitions: 216 files became 24",
        "4 partitions: 36 files became 4",
    ]


def retire(files: FakeFiles, log: FakeLog, drop_open: bool = False) -> Retire:
    log.diary = files.diary
    return Retire(files, log, 30, drop_open)


def old_rows() -> FakeFiles:
    """2026-05-31 is the first day that is kept."""
    return FakeFiles(
        held={
            VALID: [rows("2026-05-30", 5), rows("2026-05-31", 7)],
            INVALID: [rows("2026-05-30", 1, "open"), rows("2026-05-30", 2, "replayed")],
            ES_INVALID: [],
        }
    )


def test_rows_are_counted_then_removed_then_confirmed() -> None:
    files, log, told = old_rows(), FakeLog(), list[Step]()
    retire(files, log)(NOW, told.append, dry_run=True)
    assert (files.diary, actions(told)) == ([], [("retire rows", VALID), ("retire rows", INVALID)])
    retire(files, log)(NOW, told.append)
    assert files.diary == [
        *(f"began 5 of {VALID}", f"dropped 1 of {VALID}", f"confirmed 5 of {VALID}"),
        *(f"began 2 of {INVALID}", f"dropped 1 of {INVALID}", f"confirmed 2 of {INVALID}"),
    ]
    assert (files.held[VALID], files.held[INVALID]) == ([rows("2026-05-31", 7)], [rows("2026-05-30", 1, "open")])
    assert told[-1].detail == "2 rows of 1 days from 2026-05-30 to 2026-05-30"


def test_open_rows_go_only_where_a_setting_says_so() -> None:
    files, log = old_rows(), FakeLog()
    retire(files, log, drop_open=True)(NOW, lambda _: None)
    assert files.held[INVALID] == []
    assert sum(c.rows for c in log.done) == 8


@pytest.mark.parametrize("dies", ["drop", "confirm"])
def test_a_kill_anywhere_leaves_each_row_counted_once(dies: str) -> None:
    files, log = old_rows(), FakeLog()
    files.dies = log.dies = dies
    with pytest.raises(KeyboardInterrupt):
        retire(files, log)(NOW, lambda _: None)
    files.dies = log.dies = ""
    retire(files, log)(NOW, lambda _: None)
    assert sorted((c.unit.name, c.rows) for c in log.done) == [("2026-05-30", 2), ("2026-05-30", 5)]
    assert not any(log.waiting.values())


def test_a_late_row_of_a_retired_day_is_one_more() -> None:
    files, log = old_rows(), FakeLog()
    retire(files, log)(NOW, lambda _: None)
    files.held[VALID].append(rows("2026-05-30", 1))
    retire(files, log)(NOW, lambda _: None)
    assert sorted(c.rows for c in log.done) == [1, 2, 5]


def test_vacuum_refuses_what_is_not_safe_and_tells_what_it_did() -> None:
    files, told = FakeFiles(garbage={VALID: 3}), list[Step]()
    with pytest.raises(UsageError, match=r"below 168 .* add --force"):
        Vacuum(files, [VALID], 167).check(force=False)
    Vacuum(files, [VALID], 167).check(force=True)
    safe = Vacuum(files, [VALID, INVALID], 168)
    safe.check(force=False)
    safe(NOW, told.append, dry_run=True)
    assert files.diary == []
    safe(NOW, told.append)
    assert (files.diary, told[1]) == (
        [f"vacuumed {VALID}"],
        Step("delete files", VALID, "3 files and folders older than 168 hours"),
    )


# indices


def test_without_ilm_the_task_does_the_steps_and_repeats_none() -> None:
    diary: list[str] = []
    found, log, told = indices(0, 29, 30, 89, 90, diary=diary), FakeLog(diary), list[Step]()
    task = MaintainIndices(found, log, AGES)
    task(NOW, told.append, dry_run=True)
    assert diary == []
    expected = [(a, i) for i in ("i30", "i89") for a in ("make read-only", "merge")] + [("delete", "i90")]
    assert actions(told) == expected
    task(NOW, told.append)
    assert diary == [
        *("blocked i30", "merged i30", "blocked i89", "merged i89"),
        *("blocked i90", "began 90 of documents", "deleted i90", "confirmed 90 of documents"),
    ]
    assert actions(told) == expected * 2
    task(NOW, told.append)
    assert len(told) == len(expected) * 2


def test_with_ilm_a_policy_does_the_steps_and_what_it_deletes_was_counted() -> None:
    diary: list[str] = []
    found, log, told = indices(1, 30, 89, diary=diary), FakeLog(diary), list[Step]()
    found.ilm = True
    task = MaintainIndices(found, log, AGES)
    task(NOW, told.append, dry_run=True)
    assert (diary, found.attached) == ([], set())
    task(NOW, told.append)
    assert (found.policy, found.attached) == (AGES, {"i1", "i30", "i89"})
    assert diary == ["began 30 of documents", "began 89 of documents"]
    assert log.done == []
    task(NOW, told.append)
    assert len(diary) == 2, "what was counted and has not changed is left alone"
    found.documents["i30"] = 31  # a repair
    task(NOW, told.append)
    assert diary[2:] == ["began 31 of documents"]
    del found.held["i89"]  # by the policy
    task(NOW, told.append)
    assert [c.rows for c in log.done] == [89]


def test_an_index_is_opened_by_its_day() -> None:
    found, told = indices(40), list[Step]()
    task = MaintainIndices(found, FakeLog(), AGES)
    task.open(NOW.date() - timedelta(days=40), told.append)
    assert (found.diary, told[0].target) == (["unblocked i40"], "i40")
    with pytest.raises(UsageError, match="there is no index of 2026-06-30"):
        task.open(NOW.date(), told.append)


# checkpoints and ledger


@dataclass
class FakePlace:
    """Checkpoint folder, rooms and ledger in one."""

    diary: list[str] = field(default_factory=list)
    rows: int = 0

    def names(self, uri: str) -> list[str]:
        return ["ingest", "ingest.replaced-20200101T000000"]

    def touched_at(self) -> Mapping[str, datetime]:
        return {"submit.abcdef": NOW - timedelta(days=31), "submit.ABCDEF": NOW}

    def delete(self, name: str) -> None:
        self.diary.append(f"deleted {name}")

    def foldable(self, day: date) -> int:
        self.diary.append(f"asked for {day}")
        return self.rows

    def fold_ledger(self, day: date) -> None:
        self.diary.append(f"folded {day}")


def test_leftovers_go_and_the_ledger_is_rolled_up_if_there_is_something_to() -> None:
    place, told = FakePlace(rows=12), list[Step]()
    task = CleanCheckpoints(place, "/c", place, place, 30, 365)
    task(NOW, told.append, dry_run=True)
    assert (place.diary, len(told)) == (["asked for 2025-06-30"], 3)
    place.diary.clear()
    task(NOW, told.append)
    assert place.diary == [
        *("deleted /c/ingest.replaced-20200101T000000", "deleted submit.abcdef"),
        *("asked for 2025-06-30", "folded 2025-06-30"),
    ]
    place.rows = 0
    place.diary.clear()
    task(NOW, told.append)
    assert place.diary[-1] == "asked for 2025-06-30"


# lag


def test_lag_asks_only_for_what_waits() -> None:
    asked: list[dict[int, int]] = []

    def oldest(starts: Mapping[int, int]) -> dict[int, datetime | None]:
        asked.append(dict(starts))
        return dict.fromkeys(starts, NOW - timedelta(seconds=5))

    positions = {"ingest": {0: 10, 1: 3}, "index": {0: 100, 1: 50, 2: 7}}
    marks = {0: (0, 100), 1: (5, 50), 2: (7, 7)}
    ingest, index = Lag(lambda job: positions[job], lambda: marks, oldest, Limits(1, 1))(NOW)
    assert asked == [{0: 10, 1: 5}], "nothing waits for index"
    assert [(p.partition, p.position, p.records, p.gone) for p in ingest.partitions] == [
        (0, 10, 90, 0),
        (1, 3, 45, 2),
        (2, 7, 0, 0),
    ]
    assert (ingest.oldest_s, index.oldest_s, index.records) == (5, None, 0)
