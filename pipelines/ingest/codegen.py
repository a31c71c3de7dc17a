"""What keeps the code that Spark generates small enough to be compiled, and the same from batch to batch.

The JVM compiles no method of more than 8,000 bytes. The sizes behind the figures of this room were read off Spark's
own ``codegen`` explanation of the jobs' plans.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_MORE_PARTITIONS_THAN_ANY = 1_000_000


def border(frame: DataFrame) -> DataFrame:
    """Generated code ends here and starts anew, at the price of one copy of each row.

    Partitions stay as they are, for there are never so many.
    """
    return frame.coalesce(_MORE_PARTITIONS_THAN_ANY)


def constant(value: object) -> Column:
    """``value`` on every row, without a trace of it in the generated code.

    A plain literal is compiled into the code, so every batch would compile and warm up its own.
    """
    return F.array(F.lit(value))[F.pmod("kafka_partition", F.lit(1))]
