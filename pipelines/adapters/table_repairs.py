"""The tables, as a repair changes them: every change may be repeated, and is made again if a job wrote meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from tenacity import retry, retry_if_exception_type

from pipelines.adapters.tables import A_FEW_TIMES, LONGER_EACH, MEANWHILE, Tables


class TableRepairs(Tables):
    """All tables of one database."""

    def replace(self, table: str, rows: DataFrame) -> None:
        """Let the table hold each row exactly once, whatever it holds at its coordinates: in one commit, so never none.

        ``rows``: one per coordinates. Each goes in twice: once to delete what is there, once to be inserted.
        """
        values = {name: f"changes.`{name}`" for name in rows.columns}
        old, new = (rows.withColumn("is_new", F.lit(is_new)) for is_new in (False, True))
        self._merge(
            table,
            old.unionByName(new),
            (),
            None,
            lambda merge: merge.whenMatchedDelete().whenNotMatchedInsert("changes.is_new", values),
            ~F.col("changes.is_new"),
        )

    @retry(retry=retry_if_exception_type(MEANWHILE), stop=A_FEW_TIMES, wait=LONGER_EACH, reraise=True)
    def set_where(
        self, table: str, changes: DataFrame, same: Column, only: Column, values: Mapping[str, Column]
    ) -> None:
        """Give rows (``held``) that match one of ``changes`` new values, as far as they fulfil ``only``."""
        target = DeltaTable.forName(self._spark, f"{self._database}.{table}").alias("held")
        merge = target.merge(changes.alias("changes"), same)
        merge.whenMatchedUpdate(condition=only, set=dict(values)).execute()
