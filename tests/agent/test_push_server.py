"""The push port from inside: late bodies, and a list that cannot be written."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.push import PushServer
from sentry_runtime.devices.store import StoreFullError, Writer
from sentry_runtime.tls import client_context, server_context
from sentry_runtime.uem import http
from tests.agent.stage import Pki
from tests.ports import free_port

GOOD = b'{"decisions": [{"device_id": "C1", "principal": "anna", "state": "allowed", "version": 7}]}'
HEAD = b"POST /v1/decisions HTTP/1.1\r\nHost: sentry\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
async def devices(tmp_path: Path) -> AsyncIterator[DeviceList]:
    """Empty; nobody follows."""
    store = Writer(tmp_path)
    made = DeviceList(store, Mock())
    yield made
    await made.close()
    store.close()


@pytest.fixture
def audit() -> Mock:
    """What was audited."""
    return Mock()


@pytest.fixture
async def port(devices: DeviceList, audit: Mock, pki: Pki) -> AsyncIterator[int]:
    """Where the server listens."""
    number = free_port()
    server = PushServer(devices, audit=audit, heard=Mock(), subject="CN=uem-client")
    await server.listen(["127.0.0.1"], number, server_context(pki.server("uem-push")))
    yield number
    await server.stop()


async def answer(port: int, tls: ssl.SSLContext, sent: bytes) -> bytes:
    """The status line that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(sent)
    text = await reader.readline()
    writer.close()
    return text


async def test_a_body_that_does_not_arrive_is_not_waited_for(
    port: int, pki: Pki, devices: DeviceList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408 when its time is over."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    text = await answer(port, client_context(pki.client("uem-client")), HEAD % (len(GOOD) + 1) + GOOD)
    assert text.startswith(b"HTTP/1.1 408 ")
    assert devices.count == 0


async def test_a_push_that_cannot_be_kept_is_not_confirmed(
    port: int, pki: Pki, devices: DeviceList, audit: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, so that the UEM repeats it; then it is taken."""
    request: Any = (port, client_context(pki.client("uem-client")), HEAD % len(GOOD) + GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(devices._store, "write", Mock(side_effect=StoreFullError("full")))
        assert (await answer(*request)).startswith(b"HTTP/1.1 503 ")
    audit.assert_called_once_with("device_list_failed", detail="full")
    assert (await answer(*request)).startswith(b"HTTP/1.1 204 ")
    assert devices.count == 1
