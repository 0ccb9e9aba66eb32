"""A port's bounds on strangers who begin handshakes and do not go on, on real sockets."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sentry_runtime.uem.door import Bounds, Door
from sentry_runtime.uem.refusals import ADDRESSES, LINES, QUIET_SECONDS, Refusals
from tests.ports import free_port
from tests.unit.agent.ears import Ears


@asynccontextmanager
async def listening(bounds: Bounds, said: "asyncio.Queue[tuple[str, str]]") -> AsyncIterator[int]:
    """A door whose handshakes nobody can end, and its port."""
    port = free_port()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    door = Door(lambda _address: asyncio.Protocol(), context, bounds, lambda *words: said.put_nowait(words))
    door.open("127.0.0.1", port)
    yield port
    await door.close()


async def come(port: int, address: str) -> socket.socket:
    """Connect from this address, and say nothing."""
    one = socket.socket()
    one.bind((address, 0))
    one.settimeout(0)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    return one


async def test_one_address_does_not_take_the_room_of_all() -> None:
    """Beyond its own bound it is turned away at once; others come in until the bound of all is there. Room comes back."""
    said: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    with contextlib.ExitStack() as stack:
        async with listening(Bounds(handshakes=3, of_address=2, seconds=60.0), said) as port:
            greedy = [stack.enter_context(await come(port, "127.0.0.1")) for _ in range(3)]
            assert await said.get() == ("127.0.0.1", "2 handshakes with it are under way")
            stack.enter_context(await come(port, "127.0.0.2"))
            stack.enter_context(await come(port, "127.0.0.3"))
            assert await said.get() == ("127.0.0.3", "3 handshakes are under way")
            greedy[0].close()
            address, reason = await said.get()
            assert (address, reason.startswith("no TLS handshake")) == ("127.0.0.1", True)
            stack.enter_context(await come(port, "127.0.0.3"))
            stack.enter_context(await come(port, "127.0.0.4"))
            assert await said.get() == ("127.0.0.4", "3 handshakes are under way")


async def test_who_says_nothing_holds_nothing_for_long() -> None:
    """The handshake has its time."""
    said: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    with contextlib.ExitStack() as stack:
        async with listening(Bounds(handshakes=1, of_address=1, seconds=0.01), said) as port:
            stack.enter_context(await come(port, "127.0.0.1"))
            address, reason = await said.get()
            assert address == "127.0.0.1"
            assert reason.startswith("no TLS handshake")


def test_who_varies_what_it_asks_for_has_one_line() -> None:
    """And who varies itself has as many as all have together."""
    ears, now = Ears(), [0.0]
    refusals = Refusals(ears.audit, lambda: now[0], "uem_caller_refused")
    for number in range(1_000):
        refusals.refuse("192.0.2.7", "nobody", f", GET /{number}")
    assert [fields["detail"] for _, fields in ears.audited] == ["192.0.2.7: nobody, GET /0"]
    for number in range(2 * LINES):
        refusals.refuse(f"2001:db8::{number:x}", "nobody")
    assert (len(ears.audited), refusals.refused) == (LINES, 1_000 + 2 * LINES)
    assert len(refusals._last) == ADDRESSES
    now[0] = QUIET_SECONDS
    refusals.refuse("192.0.2.9", "nobody")
    assert len(ears.audited) == LINES + 1
