"""How many log-ons may stand open, and how many backend connections a front connection keeps."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.credentials import Logon, Scheme, Step
from sentry_runtime.gateway.dial import Target, dial
from sentry_runtime.gateway.forward import LOGGED_ON_SECONDS, REUSE_SECONDS, Upstream
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.logon import NAMES, OPEN_MOST, STEPS_AT_ONCE, Opened, Waiting
from sentry_runtime.gateway.upstreams import KEPT, Upstreams
from sentry_runtime.settings import Backend

TARGET = Target(Backend(name="mail", host="127.0.0.1"), None)


def claim(device_id: str = "PHONE1", principal: str = "anna", logon: Logon | None = None) -> Claim:
    """Of a device and a principal."""
    return Claim(DeviceKey(device_id, principal), (), "iPhone", principal, "Sync", "14.1", None, logon)


class Ends:
    """Connections to a server that says nothing."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def dial(self, owner: Claim, credentials: bytes = b"") -> Upstream:
        """One more connection."""
        target = Target(Backend(name="mail", host="127.0.0.1", port=self._port), None)
        return await dial(target, lambda: Upstream(TARGET, owner, credentials))


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """The server runs."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    yield Ends(server.sockets[0].getsockname()[1])
    server.close()
    for writer in writers:
        writer.transport.abort()


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


async def test_beyond_the_bound_the_oldest_log_on_goes(ends: Ends) -> None:
    """Strangers who open them cannot keep others out for longer than they go on."""
    waiting = Waiting()
    opened = [Opened(await ends.dial(claim()), Scheme.NTLM, unicode=True) for _ in range(OPEN_MOST + 2)]
    for one in opened[: OPEN_MOST + 1]:
        waiting.add(one)
    waiting.remove(opened[1])  # gone on
    waiting.add(opened[-1])
    assert [one.upstream.usable(now()) for one in opened] == [False, *[True] * (OPEN_MOST + 1)]
    for one in opened:
        one.upstream.drop()


async def test_so_many_steps_at_once_and_no_more() -> None:
    """A refused one takes no place."""
    waiting = Waiting()
    steps = [waiting.step() for _ in range(STEPS_AT_ONCE)]
    for step in steps:
        step.__enter__()
    with pytest.raises(UndecidedError), waiting.step():
        pass
    steps[0].__exit__(None, None, None)
    with waiting.step():
        pass


def test_whom_a_device_has_named_is_expected_of_it_again() -> None:
    """In either form of the query, and for each account of one device; without that it is whom `User=` names."""
    waiting = Waiting()
    opens, proves = Logon(Step.OPENS), Logon(Step.PROVES)
    plain = replace(claim(principal="", logon=opens), user="anna@lab.test")
    assert waiting.expected(plain) == "anna@lab.test"
    waiting.named(replace(claim(principal="anna@mail.test", logon=proves), user="anna@lab.test"))
    assert waiting.expected(plain) == "anna@mail.test"
    assert waiting.expected(replace(plain, user="bert@lab.test")) == "bert@lab.test"
    assert waiting.expected(claim("PHONE2", "", opens)) == ""
    waiting.named(replace(claim("504832", "carla", proves), aliases=("PH2",)))
    assert waiting.expected(claim("PH2", "", opens)) == "carla"


def test_of_devices_that_nobody_names_and_of_too_many_nothing_is_known() -> None:
    """What strangers say is bounded; the one named longest ago goes first."""
    waiting = Waiting()
    nobodys = Claim(None, (), "", "anna", "OPTIONS", "", None, Logon(Step.PROVES))
    waiting.named(nobodys)
    assert waiting.expected(nobodys) == ""
    for number in range(NAMES):
        waiting.named(claim(f"D{number}"))
    waiting.named(claim("D0", "bert"))
    waiting.named(claim("ANOTHER"))
    assert [waiting.expected(claim(device)) for device in ("D0", "D1", "D2", "ANOTHER")] == ["bert", "", "anna", "anna"]


async def test_what_is_kept_is_bounded_and_what_went_first_goes_first(ends: Ends) -> None:
    """Each is found by its owner and credentials alone."""
    kept = Upstreams()
    made = [await ends.dial(claim(f"D{number}"), b"x") for number in range(KEPT + 1)]
    for upstream in made:
        kept.put(upstream, now())
    assert len(kept) == KEPT
    assert not made[0].usable(now())
    assert kept.take(claim("D0"), b"x", now()) is None
    assert kept.take(claim("D1"), b"y", now()) is None
    assert kept.take(claim("D1", "bert"), b"x", now()) is None
    assert kept.take(claim("D1"), b"x", now()) is made[1]
    assert kept.take(claim("D1"), b"x", now()) is None
    kept.tidy(now() + REUSE_SECONDS)
    assert len(kept) == 0
    assert not any(upstream.usable(now()) for upstream in made[2:])
    kept.put(made[1], now() + REUSE_SECONDS)
    assert not made[1].usable(now())


@pytest.mark.parametrize(
    ("logon", "credentials", "fits"),
    [
        (None, b"last", False),
        (None, b"", False),
        (Logon(Step.HOLDS), b"", True),
        (Logon(Step.PROVES), b"last", True),
        (Logon(Step.PROVES), b"other", False),
        (Logon(Step.OPENS), b"first", False),
    ],
)
async def test_a_connection_that_has_logged_on_serves_who_relies_on_that(
    ends: Ends, logon: Logon | None, credentials: bytes, *, fits: bool
) -> None:
    """For longer than others, since it cannot be made anew without the device; and it serves nobody else."""
    upstream = await ends.dial(claim("PHONE1", "", Logon(Step.OPENS)))
    assert not upstream.fits(claim("PHONE1", "", Logon(Step.OPENS)), b"first", now())
    upstream.log_on(claim(logon=Logon(Step.PROVES)), b"last")
    assert upstream.holder == ("PHONE1", "anna")
    assert upstream.fits(claim(logon=logon), credentials, now()) is fits
    later = now() + REUSE_SECONDS
    assert upstream.fits(claim(logon=logon), credentials, later) is fits
    assert not upstream.fits(claim(logon=logon), credentials, now() + LOGGED_ON_SECONDS)
    assert not upstream.fits(claim("PHONE2", logon=logon), credentials, now())
    assert not upstream.fits(claim("PHONE1", "bert", logon=logon), credentials, now())
    upstream.drop()
