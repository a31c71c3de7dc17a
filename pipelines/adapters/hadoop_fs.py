"""Small files on whatever file system a job's checkpoint lives on, through Hadoop's API (file, HDFS, S3, …)."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from pipelines.errors import SinkUnavailable


class HadoopFiles:
    """Read, write, list and move small text files by URI."""

    def __init__(self, spark: SparkSession) -> None:
        jvm: Any = spark.sparkContext._jvm
        self._jvm = jvm
        self._conf = spark.sparkContext._jsc.hadoopConfiguration()

    def exists(self, uri: str) -> bool:
        """Whether there is a file or folder."""
        return bool(self._fs(uri).exists(self._path(uri)))

    def read_text(self, uri: str) -> str:
        """A whole file as UTF-8."""
        stream = self._fs(uri).open(self._path(uri))
        try:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()

    def write_text(self, uri: str, text: str, *, overwrite: bool) -> bool:
        """Write a whole file; False if it exists and ``overwrite`` is off."""
        fs, path = self._fs(uri), self._path(uri)
        fs.mkdirs(path.getParent())
        if not overwrite and fs.exists(path):
            return False
        try:
            stream = fs.create(path, overwrite)
        except Py4JJavaError as error:  # somebody else was quicker by a moment
            if not overwrite and "AlreadyExists" in error.java_exception.getClass().getName():
                return False
            raise
        try:
            stream.write(bytearray(text.encode("utf-8")))
        finally:
            stream.close()
        return True

    def delete(self, uri: str) -> None:
        """Remove a file or a whole folder; nothing happens if it is not there."""
        self._fs(uri).delete(self._path(uri), True)

    def move(self, source: str, target: str) -> None:
        """Rename a file or folder on one file system. Raises SinkUnavailable if that was not done."""
        if not self._fs(source).rename(self._path(source), self._path(target)):
            raise SinkUnavailable("the file system", source, f"it can't be renamed to {target}")

    def names(self, uri: str) -> list[str]:
        """Names in a folder; empty if it is not there."""
        fs, path = self._fs(uri), self._path(uri)
        return [status.getPath().getName() for status in fs.listStatus(path)] if fs.exists(path) else []

    def _path(self, uri: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(uri)

    def _fs(self, uri: str) -> Any:
        return self._path(uri).getFileSystem(self._conf)
