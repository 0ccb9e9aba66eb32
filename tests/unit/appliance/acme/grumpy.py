"""A server that is no use: over real TLS it answers everything in one way, or not at all."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

TOO_MANY = b'{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates"}'


@dataclass
class Grumpy:
    """What it answers. `silent`: it reads and says nothing."""

    status: int = 500
    body: bytes = TOO_MANY
    kind: str = "application/problem+json"
    retry_after: str = ""
    location: str = ""
    silent: bool = False
    directory: str = ""
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def grumbling(certificate: tuple[str, str], grumpy: Grumpy | None = None) -> Iterator[Grumpy]:
    """Run it on loopback until the block ends."""
    made = grumpy or Grumpy()
    made.over.clear()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            if made.silent:
                made.over.wait()
                return
            self.send_response(made.status)
            headers = {"Content-Type": made.kind, "Retry-After": made.retry_after, "Location": made.location}
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(made.body)))
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever has heard enough goes
                self.wfile.write(made.body)

        do_HEAD = do_POST = do_GET  # noqa: N815 - the names that the library looks for

        def log_message(self, *_arguments: object) -> None:
            """Nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            """A handshake that the client ends is what some tests are about."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.directory = f"https://127.0.0.1:{server.server_address[1]}/dir"
    made.asked.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
