"""Metadata services as the clouds document them, on loopback, and what they were asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from appliance.first_boot.metadata import Service

TOKEN = "AQAEAHjq-token=="
GOAL_STATE = """<?xml version="1.0" encoding="utf-8"?>
<GoalState xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <Version>2015-04-05</Version>
  <Incarnation>1</Incarnation>
  <Machine><ExpectedState>Started</ExpectedState></Machine>
  <Container>
    <ContainerId>6fe86e8a-0fd4-4dd4-bd39-ba1f4e3ef8cc</ContainerId>
    <RoleInstanceList><RoleInstance>
      <InstanceId>a3c8-4f17._gw1</InstanceId><State>Started</State>
    </RoleInstance></RoleInstanceList>
  </Container>
</GoalState>
"""


class Cloud:
    """What it answers, and what it was asked: method, path, body."""

    def __init__(self) -> None:
        self.user_data: bytes | None = None
        self.tokens = True
        self.asked: list[tuple[str, str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    cloud: ClassVar[Cloud]

    def log_message(self, *_arguments: object) -> None:
        """Tests look at `asked`."""

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.cloud.asked.append((self.command, self.path, body))
        status, content = self._answer()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self) -> tuple[int, bytes]:
        raise NotImplementedError

    do_GET = do_PUT = do_POST = _do  # noqa: N815 - http.server's names


class Ec2(_Handler):
    """IMDSv2: without a token nothing is told (EC2 User Guide)."""

    def _answer(self) -> tuple[int, bytes]:
        if self.command == "PUT" and self.path == "/latest/api/token":
            seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if not (seconds.isdigit() and 1 <= int(seconds) <= 21_600):
                return 400, b"Bad Request"
            return (200, TOKEN.encode()) if self.cloud.tokens else (403, b"Forbidden")
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return 401, b"Unauthorized"
        if self.path == "/latest/user-data" and self.cloud.user_data is not None:
            return 200, self.cloud.user_data
        return 404, b"Not Found"


class Azure(_Handler):
    """The Instance Metadata Service and the WireServer."""

    def _answer(self) -> tuple[int, bytes]:
        path, _, query = self.path.partition("?")
        if path == "/metadata/instance/compute/userData":
            if self.headers.get("Metadata") != "true" or query != "api-version=2021-01-01&format=text":
                return 400, b"Bad request"
            return 200, self.cloud.user_data or b""
        if self.headers.get("x-ms-version") != "2012-11-30":
            return 400, b"Bad request"
        return 200, GOAL_STATE.encode() if query == "comp=goalstate" else b""


@contextmanager
def running(kind: type[_Handler], cloud: Cloud) -> Iterator[Service]:
    """Serve until the end of the block."""
    handler = type("Handler", (kind,), {"cloud": cloud})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Service("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()
