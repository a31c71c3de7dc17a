"""Hive metastore over thrift, from the jars of the pyspark wheel; it owns its Derby database."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from stack import dist, java, thrift
from stack.process import Launch
from stack.server import NotReady, Server, classpath

_LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class Metastore(Server):
    name = "metastore"
    dist_set = "metastore"
    port_keys = ("metastore",)

    @property
    def address(self) -> str:
        return f"thrift://localhost:{self.ports[0]}"

    def prepare(self) -> Sequence[Launch]:
        home = self.site.data(self.name)
        if not self.site.processes.alive(self.name):
            _remove_half_made(home / "derby")
        conf = home / "conf"
        conf.mkdir(parents=True, exist_ok=True)
        (conf / "hive-site.xml").write_text(hadoop_xml(self._properties(home)), encoding="utf-8")
        (conf / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        command: list[str | Path] = [
            java.executable(),
            "-Xmx512m",
            *java.START_FAST,
            f"-Dderby.system.home={home}",
            f"-Dlog4j2.configurationFile={(conf / 'log4j2.properties').as_uri()}",
            "-cp",
            classpath(conf, dist.folder(self.site.settings, self.dist_set) / "*", pyspark_jars() / "*"),
            "org.apache.hadoop.hive.metastore.HiveMetaStore",
            "-p",
            str(self.ports[0]),
        ]
        return [Launch(self.name, command, folder=home)]

    def check(self) -> None:
        try:
            thrift.get_all_databases("localhost", self.ports[0])
        except (OSError, thrift.ThriftError) as error:
            raise NotReady(f"{self.address}: {error}") from None

    def _properties(self, home: Path) -> dict[str, str]:
        return {
            "javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={home / 'derby'};create=true",
            "javax.jdo.option.ConnectionDriverName": "org.apache.derby.jdbc.EmbeddedDriver",
            "datanucleus.schema.autoCreateAll": "true",
            "hive.metastore.schema.verification": "false",
            "hive.metastore.warehouse.dir": self.site.settings.warehouse_uri,
        }


def _remove_half_made(database: Path) -> None:
    """Derby writes this file last. A start that was cut off before it leaves a folder that every later one dies of."""
    if database.is_dir() and not (database / "service.properties").exists():
        shutil.rmtree(database)


def pyspark_jars() -> Path:
    """The jar folder of the installed pyspark wheel, found without importing it."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pyspark is not installed in this environment: run `make install`")
    return Path(spec.submodule_search_locations[0]) / "jars"


def hadoop_xml(properties: Mapping[str, str]) -> str:
    """A Hadoop-style configuration file."""
    rows = "".join(
        f"  <property><name>{escape(name)}</name><value>{escape(value)}</value></property>\n"
        for name, value in properties.items()
    )
    return f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n'
