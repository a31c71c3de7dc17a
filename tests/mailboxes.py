"""A Slack and a mail server of this process, which keep what they are sent."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string


@dataclass
class Mailboxes:
    """``connections``: what Airflow must be told to reach them."""

    slack: list[str] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    connections: dict[str, str] = field(default_factory=dict)


@contextmanager
def listening() -> Iterator[Mailboxes]:
    """Both servers while the block runs."""
    found = Mailboxes()

    class Slack(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.slack.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while word := self.rfile.readline().split(b" ")[0].strip().upper():
                if word == b"DATA":
                    self.say("354 go on")
                    found.mails.append(_text(iter(self.rfile.readline, b".\r\n")))
                self.say("221 bye" if word == b"QUIT" else "250 fine")

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with _serving(Slack) as slack, _serving(Mail) as mail:
        to = {"from_email": "sdp@example.com", "to": "ops@example.com", "disable_ssl": True, "disable_tls": True}
        found.connections = {
            "AIRFLOW_CONN_SDP_SLACK": json.dumps(
                {"conn_type": "slackwebhook", "host": f"http://localhost:{slack}", "password": "T0/B0/token"}
            ),
            "AIRFLOW_CONN_SDP_EMAIL": json.dumps(
                {"conn_type": "smtp", "host": "localhost", "port": mail, "extra": json.dumps(to)}
            ),
        }
        yield found


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("localhost", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def _text(lines: Iterator[bytes]) -> str:
    mail = message_from_string(b"".join(lines).decode())
    parts = [str(part.get_payload(decode=True)) for part in mail.walk() if not part.is_multipart()]
    return f"{mail['Subject']} to {mail['To']}: " + "".join(parts)
