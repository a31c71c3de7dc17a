"""Data quality: checks one day's rows with Great Expectations and writes its pages.

The file that spark-submit runs. Options and exit codes are those of ``sdp quality``, and so is the code: arguments,
settings, bootstrap, flow.
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    main(["quality", *sys.argv[1:]])
