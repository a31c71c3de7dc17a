"""How far both jobs are behind Kafka; exit code 1 if that is too far.

The file that spark-submit runs; ``./spark-submit.sh --help`` shows how. Options and exit codes are those of
``sdp lag``, and so is the code: arguments, settings, bootstrap, flow.
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    main(["lag", *sys.argv[1:]])
