"""One small JSON file that is replaced as a whole: a kill leaves the old content or the new one, never a mixture."""

from __future__ import annotations

import json
from typing import Any

from pipelines.adapters.hadoop_fs import HadoopFiles


class JsonFile:
    """A JSON object at a URI."""

    def __init__(self, files: HadoopFiles, uri: str) -> None:
        self._files, self._uri = files, uri

    def read(self) -> dict[str, Any]:
        """What is there, nothing if there is no file; a kill between delete and move leaves the new one, whole."""
        for uri in (self._uri, f"{self._uri}.new"):
            if self._files.exists(uri):
                try:
                    return dict(json.loads(self._files.read_text(uri)))
                except ValueError:
                    continue  # half-written: nothing was done yet that would need it
        return {}

    def write(self, content: dict[str, Any]) -> None:
        """Replace it."""
        self._files.write_text(f"{self._uri}.new", json.dumps(content), overwrite=True)
        self._files.delete(self._uri)
        self._files.move(f"{self._uri}.new", self._uri)

    def remove(self) -> None:
        """Take it away; nothing happens if it is not there."""
        self._files.delete(f"{self._uri}.new")
        self._files.delete(self._uri)
