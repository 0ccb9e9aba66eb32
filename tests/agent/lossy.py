"""Stands between the UEM and the Sentry's push port and loses some of the pushes, having said that they arrived."""

import contextlib
import random
import threading
from collections.abc import Iterator
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sentry_runtime.tls import client_context, server_context
from tests.agent.stage import Pki, Stage


class Lossy(ThreadingHTTPServer):
    """Loses this share of the pushes; `lost` and `passed` count them, `bodies` are all of them."""

    daemon_threads = True

    def __init__(self, pki: Pki, port: int, share: float, draw: random.Random) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.socket = server_context(pki.server("uem-push")).wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self.onward = (client_context(pki.client("uem-client")), port)
        self.share, self.draw = share, draw
        self.lost = self.passed = 0
        self.bodies: list[bytes] = []

    def forward(self, path: str, body: bytes) -> int:
        """What the Sentry answers, or 204 in its name."""
        self.bodies.append(body)
        if self.draw.random() < self.share:
            self.lost += 1
            return 204
        context, port = self.onward
        with contextlib.closing(HTTPSConnection("127.0.0.1", port, context=context, timeout=10)) as peer:
            peer.request("POST", path, body=body, headers={"Content-Type": "application/json"})
            self.passed += 1
            return peer.getresponse().status


class Handler(BaseHTTPRequestHandler):
    """One connection of the UEM's."""

    protocol_version = "HTTP/1.1"
    server: Lossy

    def do_POST(self) -> None:
        """A push."""
        status = self.server.forward(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""


@contextlib.contextmanager
def between(stage: Stage, share: float, seed: int) -> Iterator[Lossy]:
    """Such a one while the context lasts."""
    made = Lossy(stage.pki, stage.push_port, share, random.Random(seed))  # noqa: S311 - which ones, not a secret
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
