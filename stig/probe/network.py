"""Whether a TCP port answers, and what the portal's log-in page says."""

import html
import http.client
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stig.errors import FactError

SECONDS = 4.0
AT_ONCE = 64  # connections that wait for an answer; a scan has a few dozen to make
PAGE_BYTES = 262_144  # the log-in page is a few KiB
_REDIRECTS = (301, 302, 303, 307, 308)
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def answers(host: str, port: int) -> bool:
    """Whether a TCP connection is accepted. Silence and refusal are both no; no route is a `FactError`."""
    try:
        with socket.create_connection((host, port), timeout=SECONDS):
            return True
    except (TimeoutError, ConnectionError):
        return False
    except OSError as error:
        raise FactError(f"{host}:{port}: {error.strerror or error}") from error


def answering(zones: Mapping[str, str], port: int) -> dict[str, bool]:
    """`answers` for the address of every zone, all asked at once: silence takes its time."""
    with ThreadPoolExecutor(max_workers=max(1, len(zones))) as pool:
        return dict(zip(zones, pool.map(lambda host: answers(host, port), zones.values()), strict=True))


def reached(zones: Mapping[str, str], ports: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """By zone, which of these ports are accepted at its address, all asked at once."""
    pairs = [(zone, port) for zone in zones for port in ports]
    with ThreadPoolExecutor(max_workers=max(1, min(len(pairs), AT_ONCE))) as pool:
        found = list(pool.map(lambda pair: answers(zones[pair[0]], pair[1]), pairs))
    taken = [pair for pair, yes in zip(pairs, found, strict=True) if yes]
    return {zone: tuple(port for name, port in taken if name == zone) for zone in zones}


def login_page(host: str, port: int, ca_file: Path | None) -> tuple[str, str]:
    """The path and the visible text of the page a stranger gets; one redirect within the host is followed."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    path = "/"
    for _ in range(2):
        status, location, body = _get(host, port, path, context)
        if status in _REDIRECTS and location.startswith("/") and not location.startswith("//"):
            path = location
            continue
        if status != 200:
            raise FactError(f"https://{host}:{port}{path}: status {status}, expected a log-in page")
        return path, visible(body)
    raise FactError(f"https://{host}:{port}/: more than one redirect before a log-in page")


def _get(host: str, port: int, path: str, context: ssl.SSLContext) -> tuple[int, str, str]:
    connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(PAGE_BYTES).decode("utf-8", "replace")
        return answer.status, answer.headers.get("Location", ""), body
    except (OSError, http.client.HTTPException) as error:
        raise FactError(f"https://{host}:{port}{path}: {error}") from error
    finally:
        connection.close()


def visible(page: str) -> str:
    """The words of an HTML page a person sees, blanks folded."""
    return folded(html.unescape(_TAG.sub(" ", page)))


def folded(text: str) -> str:
    """Text with every run of white space as one blank."""
    return " ".join(text.split())
