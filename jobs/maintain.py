"""Upkeep: merges files, retires old rows and indices, removes leftovers.

The file that spark-submit runs; ``./spark-submit.sh --help`` shows how. Options and exit codes are those of
``sdp maintain``, and so is the code: arguments, settings, bootstrap, flow.
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    main(["maintain", *sys.argv[1:]])
