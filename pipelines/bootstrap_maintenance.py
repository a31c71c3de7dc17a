"""Settings → wired maintenance and lag check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from pyspark.sql import SparkSession

from pipelines import bootstrap
from pipelines.adapters.daily_indices import DailyIndices
from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.kafka import KafkaAdmin
from pipelines.adapters.ledger import Ledger
from pipelines.adapters.retirements import Retirements
from pipelines.adapters.submit_rooms import SubmitRooms
from pipelines.adapters.table_files import TableFiles
from pipelines.adapters.tables import COLUMNS, OF_JOBS, OF_MAINTENANCE, Tables
from pipelines.adapters.trouble import named
from pipelines.adapters.waiting import WaitingRecords
from pipelines.flows.lag import Lag
from pipelines.flows.maintain_checkpoints import CleanCheckpoints
from pipelines.flows.maintain_indices import MaintainIndices
from pipelines.flows.maintain_tables import Optimize, Retire, Vacuum
from pipelines.flows.replay_chunk import JOB as REPLAY
from pipelines.maintenance.compaction import Policy
from pipelines.maintenance.indices import Ages
from pipelines.maintenance.lag import Limits
from pipelines.maintenance.step import Told
from pipelines.settings import ROOT, Settings

MIB = 1 << 20


@dataclass(frozen=True)
class Maintenance:
    """The tasks, each once at a time. All raise AlreadyRunning, and Unavailable where a server is away."""

    settings: Settings
    spark: SparkSession

    def optimize(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:
        """Merge small files."""
        own = self.settings.maintenance
        policy = Policy(own.settle_hours, own.min_small_files, own.max_partitions)
        with self._alone(dry_run, "maintain-optimize"):
            Optimize(self._files, tuple(COLUMNS), policy)(now, told, dry_run=dry_run)

    def vacuum(self, now: datetime, told: Told, *, dry_run: bool = False, force: bool = False) -> None:
        """Retire old rows, then delete files that nobody needs. Raises UsageError for a retention that is not safe."""
        own = self.settings.maintenance
        vacuum = Vacuum(self._files, tuple(COLUMNS), own.vacuum_hours)
        vacuum.check(force=force)
        retire = Retire(self._files, self._log, own.table_days, own.drop_open)
        with self._alone(dry_run, "maintain-vacuum", REPLAY):  # a replay changes the rows that are counted here
            retire(now, told, dry_run=dry_run)
            vacuum(now, told, dry_run=dry_run)

    def indices(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:
        """Take the daily indices through their life."""
        with self._alone(dry_run, "maintain-indices"):
            self._indices(now, told, dry_run=dry_run)

    def open_index(self, day: date, told: Told) -> None:
        """Let the index of a day be written to. Raises UsageError if there is none."""
        self._indices.open(day, told)

    def checkpoints(self, now: datetime, told: Told, *, dry_run: bool = False) -> None:
        """Delete leftovers and roll up the oldest rows of the ledger."""
        own, files = self.settings.maintenance, HadoopFiles(self.spark)
        rooms, place = SubmitRooms(ROOT / "build"), self.settings.checkpoints_uri
        clean = CleanCheckpoints(files, place, rooms, self._files, own.leftover_days, own.ledger_days)
        with self._alone(dry_run, "maintain-checkpoints"):
            clean(now, told, dry_run=dry_run)

    @contextmanager
    def _alone(self, dry_run: bool, *names: str) -> Iterator[None]:
        """A dry run changes nothing, so it need not be alone."""
        with ExitStack() as held:
            for name in () if dry_run else names:
                held.enter_context(bootstrap.lease_of(name, self.settings, HadoopFiles(self.spark)).held())
            with named(self.settings.warehouse_uri):
                yield

    @property
    def _tables(self) -> Tables:
        return Tables(self.spark, self.settings.metastore.database, self.settings.warehouse_uri)

    @property
    def _files(self) -> TableFiles:
        small = self.settings.maintenance.small_file_mb * MIB
        return TableFiles(self.spark, self._tables, self.settings.metastore.database, small)

    @property
    def _log(self) -> Retirements:
        names: Callable[[], Sequence[str]] = DailyIndices(self.settings.elasticsearch).names
        return Retirements(self.spark, self._tables, self.settings.metastore.database, names)

    @property
    def _indices(self) -> MaintainIndices:
        own = self.settings.maintenance
        ages = Ages(own.hot_days, own.delete_days)
        return MaintainIndices(DailyIndices(self.settings.elasticsearch), self._log, ages)


def maintenance(settings: Settings, spark: SparkSession | None = None) -> Maintenance:
    """Wire the maintenance tasks. Raises MetastoreUnavailable."""
    spark = spark or bootstrap.spark_session(settings, "sdp-maintain")
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing((*OF_JOBS, *OF_MAINTENANCE))
    return Maintenance(settings, spark)


def lag(settings: Settings, spark: SparkSession | None = None) -> Lag:
    """Wire the lag check. It reads a few rows of the ledger."""
    spark = spark or bootstrap.brief_session(settings, "sdp-lag")
    tables = Tables(spark, settings.metastore.database, settings.warehouse_uri)
    tables.create_missing()
    ledger, topic = Ledger(spark, tables, settings.metastore.database), settings.kafka.topic
    return Lag(
        positions=lambda job: ledger.positions(job, topic),
        watermarks=partial(KafkaAdmin(settings.kafka).watermarks, topic),
        oldest=partial(WaitingRecords(settings.kafka).oldest, topic),
        limits=Limits(settings.lag.max_records, settings.lag.max_age_s),
    )
