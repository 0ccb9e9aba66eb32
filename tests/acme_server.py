"""A real ACME server: Let's Encrypt's own for tests (Debian's package pebble), with a resolver that sends all names to one place.

Its authority is another one at each start, and it forgets all accounts. It proves names at the port it is told to and waits
for nothing; where asked to, it rejects good nonces now and then, as RFC 8555 6.5 allows.
"""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port

START_SECONDS = 30.0
BINDING_ID = "company-1"
BINDING_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"  # base64url, as servers hand it out


@dataclass(frozen=True)
class AcmeServer:
    """A running server: where its directory is, whose certificate it shows, where it looks for proofs, and what it logs."""

    directory: str
    trust: Path
    management: str
    proof_port: int
    log: Path

    def root(self) -> str:
        """The root of what it issues, as PEM."""
        context = ssl.create_default_context(cafile=str(self.trust))
        with urllib.request.urlopen(f"{self.management}/roots/0", context=context, timeout=10) as answer:  # noqa: S310 - ours
            return str(answer.read().decode())


@contextlib.contextmanager
def serving(
    folder: Path,
    certificate: tuple[str, str],
    trust: Path,
    *,
    host: str = "127.0.0.1",
    resolves_to: str = "127.0.0.1",
    proof_port: int | None = None,
    validity_seconds: int = 90 * 86_400,
    bound: bool = False,
    nonces_rejected: int = 0,
    port: int | None = None,
) -> Iterator[AcmeServer]:
    """Run it until the block ends. `bound`: accounts need `BINDING_ID` and `BINDING_KEY`.
    `nonces_rejected`: how many of a hundred."""
    folder.mkdir(parents=True, exist_ok=True)
    names, resolver, management = free_port(), free_port(), free_port()
    port, proof_port = port or free_port(), proof_port or free_port()
    settings: dict[str, Any] = {
        "listenAddress": f"{host}:{port}",
        "managementListenAddress": f"{host}:{management}",
        "certificate": certificate[0],
        "privateKey": certificate[1],
        "httpPort": proof_port,
        "tlsPort": free_port(),
        "certificateValidityPeriod": validity_seconds,
        "externalAccountBindingRequired": bound,
        "externalAccountMACKeys": {BINDING_ID: BINDING_KEY} if bound else {},
    }
    place = folder / f"pebble-{port}.json"
    place.write_text(json.dumps({"pebble": settings}))
    resolving = [
        "pebble-challtestsrv", "-dns01", f"127.0.0.1:{resolver}", "-management", f"127.0.0.1:{names}",
        "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", resolves_to, "-defaultIPv6", "",
    ]  # fmt: skip
    # Nobody can be sent away: a proof of before must not stand in for one of now.
    behaviour = {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": str(nonces_rejected),
        "PEBBLE_AUTHZREUSE": "0",
    }
    serving_names = ["pebble", "-config", str(place), "-dnsserver", f"127.0.0.1:{resolver}"]
    with _running(resolving, folder / "resolver.log", {}), _running(serving_names, folder / "pebble.log", behaviour):
        for each, wanted in (("127.0.0.1", names), (host, management), (host, port)):
            _await(each, wanted)
        yield AcmeServer(
            f"https://{host}:{port}/dir", trust, f"https://{host}:{management}", proof_port, folder / "pebble.log"
        )


@contextlib.contextmanager
def _running(argv: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    with log.open("ab") as words:
        started = subprocess.Popen(argv, stdout=words, stderr=words, env={**os.environ, **environment})
    try:
        yield
    finally:
        started.terminate()
        started.wait(10)


def _await(host: str, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing answers at {host} port {port}"
            time.sleep(0.05)
        else:
            return
