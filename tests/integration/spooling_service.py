"""A service that sends a log with every turn and writes down what was accepted, until somebody kills it.

``python -m tests.integration.spooling_service JOURNAL COUNT KEY=VALUE…``: JOURNAL gets a line with the ``request_id``
after each ``send`` that returned, ``full NAME`` where one raised the error NAME, and ``done`` after COUNT of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines import settings
from pipelines.errors import SdpError
from sdk.producer import Api6LogProducer
from tests.unit.sdk.test_encoding import GOOD


def main(journal: str, count: str, *overrides: str) -> None:
    producer = Api6LogProducer(settings.load(overrides=overrides))
    with Path(journal).open("a", buffering=1, encoding="utf-8") as file:
        for n in range(int(count)):
            request_id = f"r-{n}"
            try:
                producer.send(GOOD | {"request_id": request_id, "user_agent": "x" * 500})
            except SdpError as error:
                file.write(f"full {type(error).__name__}\n")
            else:
                file.write(f"{request_id}\n")
        file.write("done\n")
    sys.stdin.read()  # until the test ends it


if __name__ == "__main__":
    main(*sys.argv[1:])
