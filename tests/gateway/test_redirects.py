"""451: followed inside the gateway, remembered for the device, and never to where the site has not said it may lead."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import DeviceKey, State
from sentry_runtime.gateway.redirects import HOPS
from sentry_runtime.gateway.relay import KEPT_BODY_BYTES
from sentry_runtime.settings import Redirects, Throttle
from tests.gateway.conftest import UNCHECKED, MakeStand
from tests.gateway.stand import PATIENCE, PHONE, Backend, Script, Stand, Turn, basic, post, until
from tests.gateway.test_device_policies import SETTINGS_BODY
from tests.gateway.test_provisioning import SAYS, plain
from tests.ports import free_port

EAS = "/Microsoft-Server-ActiveSync"
RULES = Redirects(hosts=("localhost", "169.254.169.254"), networks=("127.0.0.0/8",))


def sending_to(url: str) -> Script:
    """A script that says that the device belongs to another server."""

    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.ok(b"moved", f"X-MS-Location: {url}\r\nLocation: {url}\r\n", "451 Redirect")

    return script


@dataclass
class Moved:
    """A gateway before a server that sends devices to `elsewhere`, which is `localhost` on the same port."""

    stand: Stand
    elsewhere: Backend

    @property
    def origin(self) -> Backend:
        return self.stand.backend

    @property
    def url(self) -> str:
        """Where devices are sent."""
        scheme = "http" if self.stand.settings.gateway.backends[0].tls is None else "https"
        return f"{scheme}://localhost:{self.elsewhere.port}{EAS}"

    async def lines(self, count: int = 1) -> list[dict[str, Any]]:
        """The lines of redirections, once there are so many outcomes."""
        lines = await self.stand.audit.wait(lambda lines: sum(line["event"] == "outcome" for line in lines) >= count)
        return [line for line in lines if line["event"] == "backend_redirect"]

    def listed(self) -> list[control.Redirected]:
        """What `show sentry redirects` asks."""
        path = self.stand.settings.paths.gateway_control
        found = control.call(path, control.ListRedirects(), list[control.Redirected])
        assert isinstance(found, list)
        return found

    async def one(self) -> Any:
        """A request on a connection of its own."""
        device = await self.stand.device()
        return await device.ask(post("Sync", b"abc"))

    def counts(self) -> tuple[int, int]:
        """How many requests each of the two has seen."""
        return len(self.origin.seen), len(self.elsewhere.seen)


MakeMoved = Any


@pytest.fixture
async def make_moved(make_stand: MakeStand) -> AsyncIterator[MakeMoved]:
    """Make such a gateway: the rules, which certificate `elsewhere` shows, and any other setting of the gateway."""
    others: list[Backend] = []

    async def make(
        *,
        rules: Redirects = RULES,
        certificate: str | None = "localhost",
        verify: str = "strict",
        workers: int = 1,
        started: bool = True,
        **more: object,
    ) -> Moved:
        routing = msgspec.structs.replace(UNCHECKED, redirects=rules)
        name = None if certificate is None else "backend"
        stand = await make_stand(routing=routing, certificate=name, workers=workers, started=False, **more)
        context = None
        if certificate is not None:
            stand.certificates.issue("localhost", "localhost")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*stand.certificates.pair(certificate))
        elsewhere = Backend("elsewhere", context)
        others.append(elsewhere)
        await elsewhere.start(free_port())  # the same one, at two addresses
        await stand.backend.stop()
        await stand.backend.start(elsewhere.port, "127.0.0.2")
        (backend,) = stand.settings.gateway.backends
        backend = msgspec.structs.replace(backend, host="127.0.0.2", port=elsewhere.port, verify=verify)
        gateway = msgspec.structs.replace(stand.settings.gateway, backends=(backend,))
        stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway)
        if started:
            await stand.start()
        await stand.agent.put(PHONE, State.ALLOWED)
        moved = Moved(stand, elsewhere)
        moved.origin.script = sending_to(moved.url)
        return moved

    yield make
    for other in others:
        await other.stop()


@pytest.fixture
async def moved(make_moved: MakeMoved) -> Moved:
    """As most tests need it."""
    made = await make_moved()
    assert isinstance(made, Moved)
    return made


# --- followed -----------------------------------------------------------------------------------------------------


async def test_a_451_is_followed_at_once_and_the_device_learns_nothing_of_it(moved: Moved) -> None:
    """The same request with its body goes to the new server, credentials and query unchanged; later ones go there directly."""

    async def answer(turn: Turn) -> None:
        await turn.ok(await turn.body() * 2)

    moved.elsewhere.script = answer
    response = await moved.one()
    assert (response.status, response.body) == (200, b"abcabc")
    assert "localhost" not in str(response.headers)
    (first,), (seen,) = moved.origin.seen, moved.elsewhere.seen
    assert (seen.method, seen.target, seen.body) == (first.method, first.target, first.body)
    assert seen.value("Authorization") == first.value("Authorization") == basic()
    assert seen.value("Host") == f"localhost:{moved.elsewhere.port}"
    for _ in range(2):
        assert (await moved.one()).status == 200
    assert moved.counts() == (1, 3)
    (line,) = await moved.lines(3)
    assert (line["device_id"], line["principal"], line["backend"], line["target"], line["action"]) == (
        *("PHONE1", "anna@lab.test", "mail0", "localhost", "allow"),
    )
    outcomes = await moved.stand.audit.outcomes(3)
    assert {one["backend"] for one in outcomes} == {"localhost"}
    await until(lambda: moved.stand.status()["redirected"] == 1)


async def test_on_one_connection_the_next_request_goes_there_too(moved: Moved) -> None:
    """Over the connection that is there."""
    device = await moved.stand.device()
    for _ in range(3):
        assert (await device.ask(post())).status == 200
    assert moved.counts() == (1, 3)
    assert {seen.connection for seen in moved.elsewhere.seen} == {1}


async def test_a_redirection_is_the_devices_own(moved: Moved) -> None:
    """Another user of the same phone, and another phone of the same user, begin with the configured server."""
    assert (await moved.one()).status == 200
    for key in (DeviceKey("PHONE2", "anna@lab.test"), DeviceKey("PHONE1", "bert@lab.test")):
        await moved.stand.agent.put(key, State.ALLOWED)
        device = await moved.stand.device()
        asked = post(device=key.device_id, user=key.principal, authorization=basic(key.principal))
        assert (await device.ask(asked)).status == 200
    assert moved.counts() == (3, 3)


async def test_a_plain_backend_may_send_to_a_plain_one(make_moved: MakeMoved) -> None:
    """The scheme is the backends'."""
    moved = await make_moved(certificate=None)
    assert (await moved.one()).status == 200
    assert moved.counts() == (1, 1)


async def test_a_chunked_body_is_sent_again_whole(moved: Moved) -> None:
    """Framed anew both times."""
    device = await moved.stand.device()
    asked = post(extra="Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
    assert (await device.ask(asked)).status == 200
    assert [one.seen[0].body for one in (moved.origin, moved.elsewhere)] == [b"abc0123456789"] * 2


async def test_who_waits_for_continue_is_told_once(moved: Moved) -> None:
    """A second 100, when the old server answers before it has the body, would be taken for the answer by some clients."""

    async def early(turn: Turn) -> None:
        await turn.ok(extra=f"X-MS-Location: {moved.url}\r\n", status="451 Redirect")

    moved.origin.script = early
    device = await moved.stand.device()
    await device.send(post("SendMail", b"", extra="Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 4"))
    assert (await device.head())[0] == 100
    await moved.elsewhere.wait_seen()
    await device.send(b"mail")
    assert (await device.response()).status == 200
    assert moved.elsewhere.seen[0].body == b"mail"


async def test_an_early_451_is_followed_and_the_rest_of_the_body_goes_there(moved: Moved) -> None:
    """The old server answers when it has read the head; the device is still sending."""

    async def early(turn: Turn) -> None:
        await turn.ok(extra=f"X-MS-Location: {moved.url}\r\n", status="451 Redirect")
        await asyncio.Event().wait()

    moved.origin.script = early
    device = await moved.stand.device()
    await device.send(post("SendMail", b"").replace(b"Content-Length: 0", b"Content-Length: 6") + b"abc")
    await moved.elsewhere.wait_seen()
    await device.send(b"def")
    assert (await device.response()).status == 200
    assert moved.elsewhere.seen[0].body == b"abcdef"


@pytest.mark.parametrize("size", [KEPT_BODY_BYTES, KEPT_BODY_BYTES + 1])
async def test_a_body_too_large_to_be_kept_is_asked_for_again(moved: Moved, size: int) -> None:
    """503 with `Retry-After`, and the retry goes to the new server; up to the bound the device notices nothing."""
    device = await moved.stand.device()
    response = await device.ask(post("SendMail", b"m" * size))
    if size <= KEPT_BODY_BYTES:
        assert response.status == 200
    else:
        assert (response.status, response.headers["retry-after"]) == (503, "5")
        assert (await device.ask(post("SendMail", b"m" * size))).status == 200
    assert moved.counts() == (1, 1)
    assert len(moved.elsewhere.seen[0].body) == size


async def test_a_451_to_the_probe_of_a_first_contact_is_followed(moved: Moved) -> None:
    """The new server vouches for the credentials, and the request itself goes there directly."""
    moved.origin.probe = sending_to(moved.url)
    moved.stand.agent.answer = lambda ask: moved.stand.agent.put(ask.key, State.ALLOWED)
    device = await moved.stand.device()
    assert (await device.ask(post(device="PHONE2"))).status == 200
    assert (len(moved.origin.probes), len(moved.elsewhere.probes)) == (1, 1)
    assert moved.elsewhere.probes[0].value("Authorization") == basic()
    assert moved.counts() == (0, 1)


async def test_credentials_that_the_new_server_refuses_are_refused(moved: Moved) -> None:
    """The old one's word alone is no proof."""

    async def refuse(turn: Turn) -> None:
        await turn.ok(status="401 Unauthorized")

    moved.origin.probe, moved.elsewhere.probe = sending_to(moved.url), refuse
    device = await moved.stand.device()
    assert (await device.ask(post(device="PHONE2"))).status == 401
    assert moved.stand.agent.asked == []


async def test_an_options_without_a_device_is_followed_but_remembered_for_nobody(moved: Moved) -> None:
    """There is no device it could be remembered for."""
    asked = f"OPTIONS {EAS} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic()}\r\n\r\n".encode()
    for number in (1, 2):
        device = await moved.stand.device()
        response = await device.ask(asked)
        assert (response.status, response.headers["ms-asprotocolversions"]) == (200, "2.5,12.1,14.1")
        assert moved.counts() == (number, number)
    assert moved.listed() == []


async def test_a_mailbox_that_moved_back_is_found(moved: Moved) -> None:
    """The new server sends the device to the old one, which is configured and needs no listing."""
    assert (await moved.one()).status == 200

    async def fine(turn: Turn) -> None:
        await turn.body()
        await turn.ok()

    moved.origin.script = fine
    moved.elsewhere.script = sending_to(f"https://backend.lab.test:{moved.origin.port}{EAS}")
    for _ in range(2):
        assert (await moved.one()).status == 200
    assert moved.counts() == (3, 2)


@pytest.mark.parametrize("early", [False, True])
async def test_what_an_older_device_says_in_settings_is_heard_once(moved: Moved, *, early: bool) -> None:
    """Though it goes to two servers: what both have got would say nothing."""

    async def at_once(turn: Turn) -> None:
        await turn.ok(extra=f"X-MS-Location: {moved.url}\r\n", status="451 Redirect")
        await asyncio.Event().wait()

    if early:
        moved.origin.script = at_once
    device = await moved.stand.device()
    request = plain("Settings", "12.1", None, SETTINGS_BODY)
    await device.send(request[:-10])
    await (moved.elsewhere if early else moved.origin).wait_seen()
    await device.send(request[-10:])
    assert (await device.response()).status == 200
    assert (moved.counts(), moved.elsewhere.seen[0].body) == ((1, 1), SETTINGS_BODY)
    await until(lambda: moved.stand.agent.described == [control.Describe(key=PHONE, information=SAYS)])


async def test_a_followed_request_counts_once_towards_what_a_device_may_ask(make_moved: MakeMoved) -> None:
    """Four are served where three may be asked at once, since the last one only begins the pause."""
    moved = await make_moved(throttle=Throttle(requests_per_second=0.001, burst=3))
    path = moved.stand.settings.paths.gateway_control
    for _ in range(4):
        assert (await moved.one()).status == 200
        assert control.call(path, control.ClearRedirects()) in (0, 1)
        await until(lambda: moved.listed() == [])
    assert (await moved.one()).status == 503
    assert (await moved.stand.audit.outcomes(5))[-1]["action"] == "throttle"


async def test_a_connection_that_waits_for_its_device_is_left_when_the_device_belongs_elsewhere(moved: Moved) -> None:
    """Behind a balancer that pools devices: it is put aside while another device asks, and is not taken up again."""
    await moved.stand.agent.put(DeviceKey("PHONE2", "anna@lab.test"), State.ALLOWED)
    path = moved.stand.settings.paths.gateway_control
    device = await moved.stand.device()
    for asked in (post(), post(device="PHONE2"), post()):
        assert (await device.ask(asked)).status == 200
    assert moved.counts() == (2, 3)
    assert (await device.ask(post(device="PHONE2"))).status == 200
    await until(lambda: len(moved.listed()) == 2)
    assert control.call(path, control.ClearRedirects(device_id="PHONE1", principal="anna@lab.test")) == 1
    await until(lambda: len(moved.listed()) == 1)
    assert (await device.ask(post())).status == 200
    assert moved.counts() == (3, 5)


# --- not followed -------------------------------------------------------------------------------------------------

REFUSED = (
    ("https://evil.test{port}/Microsoft-Server-ActiveSync", "redirect_host", "evil.test"),
    ("https://sub.localhost{port}/Microsoft-Server-ActiveSync", "redirect_host", "sub.localhost"),
    ("https://127.0.0.1{port}/Microsoft-Server-ActiveSync", "redirect_host", "127.0.0.1"),
    ("http://localhost{port}/Microsoft-Server-ActiveSync", "redirect_scheme", "localhost"),
    ("https://localhost:22/Microsoft-Server-ActiveSync", "redirect_port", "localhost"),
    ("https://localhost{port}/owa/", "redirect_path", "localhost"),
    ("https://anna@localhost{port}/Microsoft-Server-ActiveSync", "redirect_malformed", ""),
    ("", "redirect_malformed", ""),
    # Listed by name, and yet nowhere anybody may be sent.
    ("https://169.254.169.254{port}/Microsoft-Server-ActiveSync", "redirect_address", "169.254.169.254"),
)


@pytest.mark.parametrize(("url", "reason", "host"), REFUSED)
async def test_a_451_to_anywhere_else_is_503_and_told_with_the_host(
    moved: Moved, url: str, reason: str, host: str
) -> None:
    """The device is asked to come back and learns nothing; nobody is dialled, and the next request begins anew."""
    moved.origin.script = sending_to(url.format(port=f":{moved.elsewhere.port}"))
    for _ in range(2):
        response = await moved.one()
        assert (response.status, response.headers["retry-after"], response.body) == (503, "30", b"")
        assert not host or host not in str(response.headers)
    told = [line for line in await moved.lines(2) if line["action"] == "deny"]
    assert [(line["reasons"], line.get("target", ""), line["backend"]) for line in told] == [
        ([reason], host, "mail0")
    ] * 2
    outcomes = await moved.stand.audit.outcomes(2)
    assert [one["reasons"] for one in outcomes] == [[reason]] * 2
    assert (moved.counts(), moved.elsewhere.connections, moved.listed()) == ((2, 0), 0, [])


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",), ("0.0.0.0/0", "::/0"), ("127.0.0.3/32",)])
async def test_a_listed_name_leads_nowhere_but_into_the_listed_networks(
    make_moved: MakeMoved, networks: tuple[str, ...]
) -> None:
    """`localhost` is loopback: the largest network does not mean it, only one within loopback does."""
    moved = await make_moved(rules=Redirects(hosts=("localhost",), networks=networks))
    assert (await moved.one()).status == 503
    told = [line for line in await moved.lines() if line["action"] == "deny"]
    assert [(line["reasons"], line["target"]) for line in told] == [(["redirect_address"], "localhost")]
    assert moved.elsewhere.connections == 0


async def test_without_listed_hosts_a_451_is_503(make_moved: MakeMoved) -> None:
    """As for every other redirection."""
    moved = await make_moved(rules=Redirects())
    assert (await moved.one()).status == 503
    (outcome,) = await moved.stand.audit.outcomes(1)
    assert (outcome["reasons"], moved.elsewhere.connections) == (["backend_redirects"], 0)


async def test_a_circle_ends(moved: Moved) -> None:
    """After a few hops; the device may try again later."""
    moved.elsewhere.script = sending_to(moved.url)
    assert (await moved.one()).status == 503
    (outcome,) = await moved.stand.audit.outcomes(1)
    assert (outcome["reasons"], moved.counts(), moved.listed()) == (["redirect_loop"], (1, HOPS), [])


@pytest.mark.parametrize(("certificate", "verify", "status"), [("backend", "strict", 503), ("backend", "log", 200)])
async def test_the_new_server_has_to_prove_its_own_name_by_the_old_ones_rules(
    make_moved: MakeMoved, certificate: str, verify: str, status: int
) -> None:
    """A certificate of the old name does not do; where the site lets it pass, that is told."""
    moved = await make_moved(certificate=certificate, verify=verify)
    assert (await moved.one()).status == status
    lines = await moved.stand.audit.wait(lambda lines: any(line["event"] == "outcome" for line in lines))
    told = [(line["backend"], line["reasons"]) for line in lines if line["event"] == "backend_untrusted"]
    assert told == ([("localhost", ["name_differs"])] if verify == "log" else [])
    assert moved.counts() == (1, 1 if status == 200 else 0)


async def test_a_new_server_that_is_down_is_forgotten(moved: Moved) -> None:
    """The next request begins with the configured one."""
    await moved.elsewhere.stop()
    assert (await moved.one()).status == 503
    (outcome,) = await moved.stand.audit.outcomes(1)
    assert (outcome["reasons"], moved.listed()) == (["backend_refused"], [])
    await moved.elsewhere.start(moved.elsewhere.port)
    assert (await moved.one()).status == 200
    assert moved.counts() == (2, 1)


# --- remembered ---------------------------------------------------------------------------------------------------


async def test_every_worker_knows_also_one_that_comes_later_and_one_with_new_settings(make_moved: MakeMoved) -> None:
    """The supervisor tells them: after one 451 no worker asks the old server again."""
    moved = await make_moved(workers=2)
    stand = moved.stand
    assert (await moved.one()).status == 200
    await until(lambda: len(moved.listed()) == 1)
    for pid in stand.workers():
        os.kill(pid, signal.SIGKILL)
    await until(lambda: stand.status()["restarts"] == 2)
    for _ in range(8):
        assert (await moved.one()).status == 200
    assert stand.process is not None
    stand.process.send_signal(signal.SIGHUP)
    await until(lambda: "new settings are in force" in stand.log())
    for _ in range(8):
        assert (await moved.one()).status == 200
    assert moved.counts() == (1, 17)


async def test_what_is_remembered_is_shown_and_cleared(make_moved: MakeMoved) -> None:
    """One device or all; in every worker, and at once for connections that are there."""
    moved = await make_moved(workers=2)
    path = moved.stand.settings.paths.gateway_control
    device = await moved.stand.device()
    assert (await device.ask(post())).status == 200
    await until(lambda: len(moved.listed()) == 1)
    (found,) = moved.listed()
    assert (found.key, found.backend, found.host, found.port) == (PHONE, "mail0", "localhost", moved.elsewhere.port)
    assert 86_000 < found.seconds <= 86_400
    assert control.call(path, control.ClearRedirects(device_id="PHONE2", principal="anna@lab.test")) == 0
    assert len(moved.listed()) == 1
    clear = control.ClearRedirects(device_id="phone1", principal="anna@lab.test")
    assert control.call(path, clear) == 1
    assert moved.listed() == []
    before = moved.counts()[0]
    async with asyncio.timeout(PATIENCE):
        while moved.counts()[0] == before:  # the order was given; its worker may still be about to read it
            assert (await device.ask(post())).status == 200
    assert moved.counts()[0] == before + 1
    await until(lambda: len(moved.listed()) == 1)
    assert control.call(path, control.ClearRedirects()) == 1
    assert moved.listed() == []
    with pytest.raises(ControlError, match="invalid: a device id comes with a principal"):
        control.call(path, control.ClearRedirects(device_id="PHONE1"))
