"""The ``sdp`` script. Every installation has it; what its commands need comes with the extra ``jobs`` only."""

from __future__ import annotations

import sys

OURS = ("pipelines", "sdk", "stack")


def main() -> None:
    """Run ``pipelines.cli``, or say in one line what to install; exit code 2 then."""
    try:
        from pipelines import cli

        cli.main()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing in OURS:
            raise
        sys.stderr.write(
            f"sdp needs {missing}, which is not installed: a service that only produces has no use for it. "
            "For the commands, run in the folder of this repository: pip install '.[jobs]'\n"
        )
        sys.exit(2)
