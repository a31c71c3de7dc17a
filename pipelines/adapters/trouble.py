"""Trouble that Spark has with storage and metastore, under a name of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException

from pipelines.adapters.tables import MEANWHILE
from pipelines.errors import SinkUnavailable, innermost_cause


@contextmanager
def named(place: str) -> Iterator[None]:
    """Within the block it is SinkUnavailable, so that whoever called knows that a retry may help."""
    try:
        yield
    except MEANWHILE as error:
        reason = f"others write to the same table all the time: {innermost_cause(error)}"
        raise SinkUnavailable("the warehouse", place, reason) from error
    except (Py4JJavaError, AnalysisException) as error:
        raise SinkUnavailable("the warehouse or the metastore", place, innermost_cause(error)) from error
