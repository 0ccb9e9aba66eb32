"""No clock on the way of a held Ping runs out before the Ping does: the longest heartbeat is 3,540 s."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.features import FEATURES
from sentry_runtime.eas.offer import versions_up_to
from sentry_runtime.gateway import relay, worker
from sentry_runtime.gateway.account import Peer
from sentry_runtime.gateway.credentials import Access
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.forward import Upstream
from sentry_runtime.gateway.head import parse
from sentry_runtime.gateway.identify import Claim, identify
from sentry_runtime.gateway.logon import Logons
from sentry_runtime.gateway.relay import RESPONSE_STALL_SECONDS, Relay
from sentry_runtime.gateway.services import Services
from sentry_runtime.gateway.upstreams import Upstreams
from sentry_runtime.settings import Backend, Limits
from tests.still_channel import StillChannel

LONGEST = 3_540.0  # HeartbeatInterval of Ping and Sync (MS-ASCMD 2.2.3.84), and 59 minutes of Wait
MARGIN = 60.0  # for the answer to come

PING = (
    b"POST /Microsoft-Server-ActiveSync?Cmd=Ping&User=a&DeviceId=P1&DeviceType=x HTTP/1.1\r\nHost: a\r\n"
    b"Authorization: Basic YTpi\r\nContent-Length: 4\r\n\r\n"
)


def test_every_time_that_a_held_request_meets_is_longer() -> None:
    """The wait for an answer, the pause between two requests, and how long a retired worker waits for its Pings."""
    limits = Limits()
    for seconds in (limits.backend_answer_seconds, limits.idle_seconds, worker.RETIRED_SECONDS):
        assert seconds >= LONGEST + MARGIN


def test_no_site_can_set_the_wait_for_an_answer_too_short() -> None:
    """It is no setting of a site; were it one, its least would have to be above the longest heartbeat."""
    (gateway,) = [feature for feature in FEATURES if feature.name == "gateway"]
    limits = gateway.schema["schema"]["limits"]["schema"]
    least = limits.get("backend_answer_seconds", {"min": LONGEST + MARGIN})["min"]
    assert least >= LONGEST + MARGIN


class Front:
    """A device's connection that notes its deadlines."""

    def __init__(self) -> None:
        self.peer = Peer("192.0.2.1", 1, "")
        self.upstream: Upstream | None = None
        self.upstreams = Upstreams()
        self.logons = cast(Logons, None)  # nobody logs on here
        self.full = False
        self.accepted = b""
        self.deadlines: list[float] = []
        self.written = b""

    def identify(self, head: Any) -> Any:
        raise AssertionError("nobody is identified here")

    def badge(self, head: Any) -> Any:
        raise AssertionError("nobody shows a certificate here")

    def note(self, claim: Any) -> None:
        raise AssertionError("nobody is identified here")

    def adopt(self, upstream: Upstream) -> None:
        raise AssertionError("nobody logs on here")

    def write(self, data: bytes) -> None:
        self.written += data

    def hold(self) -> None:
        pass

    def release(self) -> None:
        pass

    def set_deadline(self, seconds: float) -> None:
        self.deadlines.append(seconds)

    def finished(self, exchange: object, *, keep_alive: bool, vouched: bool) -> None:
        pass

    def cut(self) -> None:
        raise AssertionError("cut")


class Owner:
    """An exchange that a relay belongs to."""

    def __init__(self) -> None:
        self.claim: Claim | None = identify(parse(PING), Access())
        self.ends: list[str] = []

    def relayed(self) -> None:
        self.ends.append("relayed")

    def relay_failed(self, reason: str) -> None:
        self.ends.append(reason)

    def relay_called(self, code: int) -> None:
        self.ends.append(f"called {code}")

    def relay_redirected(self, sender: Target, location: bytes, *, whole: bool) -> None:
        self.ends.append("redirected")


class Quiet:
    """Backends of which nothing is noted."""

    follows = False

    def answered(self, target: Target, who: str, status: int, fields: Sequence[tuple[bytes, bytes]]) -> None:
        pass


@pytest.fixture
async def held() -> tuple[Front, Upstream, StillChannel, Owner]:
    """A Ping that is at the backend, whole."""
    front, owner, wire = Front(), Owner(), StillChannel()
    services = cast(
        Services,
        SimpleNamespace(
            limits=Limits(),
            draining=False,
            backends=Quiet(),
            versions=versions_up_to("16.1"),
            hidden=frozenset[bytes](),
        ),
    )
    under_test = Relay(cast(relay.Front, front), services, parse(PING), cast(relay.Owner, owner))
    under_test.body(b"ping", complete=True)
    upstream = Upstream(Target(Backend(name="mail", host="192.0.2.1"), None), identify(parse(PING), Access()))
    upstream.connection_made(wire)
    front.upstream = upstream
    under_test.send(upstream)
    return front, upstream, wire, owner


async def test_while_a_ping_hangs_only_the_wait_for_its_answer_runs(
    held: tuple[Front, Upstream, StillChannel, Owner],
) -> None:
    """59 minutes later the connection to the backend is neither stale nor dropped, and the answer passes."""
    front, upstream, wire, owner = held
    assert front.deadlines[-1] >= LONGEST + MARGIN
    now = asyncio.get_running_loop().time() + LONGEST
    assert not upstream.stale(now)
    assert not wire.aborted
    upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    assert (owner.ends, front.written[-1:]) == (["relayed"], b"x")


async def test_a_backend_that_sends_its_head_at_once_may_hold_the_body_as_long(
    held: tuple[Front, Upstream, StillChannel, Owner],
) -> None:
    """Some servers send the head when the Ping comes and the body when it ends; once the body moves, it has to go on."""
    front, upstream, _, owner = held
    upstream.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert front.deadlines[-1] >= LONGEST + MARGIN
    upstream.data_received(b"1\r\nx\r\n")
    assert front.deadlines[-1] == RESPONSE_STALL_SECONDS
    upstream.data_received(b"0\r\n\r\n")
    assert owner.ends == ["relayed"]
