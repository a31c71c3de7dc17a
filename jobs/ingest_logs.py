"""Kafka to Delta tables: drains the topic into the valid and invalid tables and the ledger.

The file that spark-submit runs; ``./spark-submit.sh --help`` shows how. Options and exit codes are those of
``sdp run ingest``, and so is the code: arguments, settings, bootstrap, flow.
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    main(["run", "ingest", *sys.argv[1:]])
