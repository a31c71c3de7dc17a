"""Find the Java that runs the servers and Spark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from pipelines.errors import UsageError

VERSION = 17
"""Spark 3.5 and Elasticsearch 8.6 run on it, and none of the servers here needs a newer one."""

START_FAST = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")
"""For a JVM with little to do: it takes a third less CPU to start, and none of the throughput it gives up is missed."""

SYSTEM_JAVAS = Path("/usr/lib/jvm")


@cache
def executable() -> Path:
    """``java`` 17 of ``JAVA_HOME``, else of ``PATH``, else of the system's Java folder.

    Raises UsageError with the way out when there is none.
    """
    found = candidate()
    if found is None:
        raise UsageError(f"no Java found: install Java {VERSION} (`make install` does it) or set JAVA_HOME")
    version = major(found)
    if version != VERSION:
        raise UsageError(f"{found} is Java {version or 'of unknown version'}; point JAVA_HOME at a Java {VERSION}")
    return found


def candidate() -> Path | None:
    """The ``java`` that would be used, with links resolved; of a wrong version only if there is no right one."""
    home = os.environ.get("JAVA_HOME")
    if home:
        found = shutil.which("java", path=f"{home}/bin")
        return Path(found).resolve() if found else None
    on_path = shutil.which("java")
    installed = sorted(SYSTEM_JAVAS.glob(f"*{VERSION}*/bin/java"))
    candidates = [Path(java).resolve() for java in (on_path, *installed) if java]
    return next((java for java in candidates if major(java) == VERSION), candidates[0] if candidates else None)


def home() -> Path:
    """What ``JAVA_HOME`` must be for the servers that insist on it."""
    return executable().parents[1]


def major(java: Path) -> int | None:
    """The feature release of one ``java`` executable; None if it doesn't say."""
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    match = re.search(r'version "(\d+)', answer.stderr)
    return int(match.group(1)) if match else None
