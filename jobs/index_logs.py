"""Kafka to Elasticsearch: indexes valid records by day; what is refused goes to its own table.

The file that spark-submit runs; ``./spark-submit.sh --help`` shows how. Options and exit codes are those of
``sdp run index``, and so is the code: arguments, settings, bootstrap, flow.
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    main(["run", "index", *sys.argv[1:]])
