"""The completeness watermark: up to which hour everything is proven complete.

The file that spark-submit runs; ``./spark-submit.sh --help`` shows how. Options and exit codes are those of
``sdp complete``, and so is the code: arguments, settings, bootstrap, flow.
"""

from __future__ import annotations

import sys

from pipelines.cli import main

if __name__ == "__main__":
    main(["complete", *sys.argv[1:]])
