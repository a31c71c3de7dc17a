"""``python -m pipelines.cli``: the ``sdp`` command where it isn't installed."""

from pipelines.cli import main

main()
