"""Kafka, tables and Elasticsearch against each other: counts, hashes, and every record that is not the same everywhere.

The file that spark-submit runs; ``./spark-submit.sh --help`` shows how. Options and exit codes are those of
``sdp reconcile``, and so is the code: arguments, settings, bootstrap, flow.
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    main(["reconcile", *sys.argv[1:]])
