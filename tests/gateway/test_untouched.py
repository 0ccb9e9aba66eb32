"""What passes the gateway byte for byte, whatever it is, and what a backend that dies in the middle looks like."""

import asyncio
import gzip
import os
import socket
import ssl
import struct

import pytest

from sentry_runtime.devices.record import State
from tests.gateway.conftest import MakeStand
from tests.gateway.stand import PATIENCE, PHONE, Device, Stand, Turn, post, read_body

ALL_BYTES = bytes(range(256)) * 40
WBXML = bytes.fromhex("03016a00455c4f4b0330000157033100010101") * 100
PACKED = gzip.compress(WBXML, mtime=0)
# MS-ASCMD 2.2.1.10.1.1: a count of parts, then offset and length of each (little-endian), then the parts.
PARTS = (WBXML, b"\x00\x01attachment\r\n--no boundary--\r\n", b"")


def multipart(parts: tuple[bytes, ...]) -> bytes:
    """A body of `application/vnd.ms-sync.multipart`."""
    at, table = 4 + 8 * len(parts), b""
    for part in parts:
        table += struct.pack("<ii", at, len(part))
        at += len(part)
    return struct.pack("<i", len(parts)) + table + b"".join(parts)


def chunks(body: bytes, *sizes: int) -> bytes:
    """The body in chunks of these sizes, the rest in one."""
    framed = b""
    for size in (*sizes, len(body)):
        part, body = body[:size], body[size:]
        if part:
            framed += b"%x\r\n%s\r\n" % (len(part), part)
    return framed + b"0\r\n\r\n"


# what | fields of the message | body
MESSAGES = (
    ("plain", "Content-Type: application/vnd.ms-sync.wbxml\r\n", WBXML),
    ("gzip", "Content-Type: application/vnd.ms-sync.wbxml\r\nContent-Encoding: gzip\r\n", PACKED),
    ("multipart", "Content-Type: application/vnd.ms-sync.multipart\r\n", multipart(PARTS)),
    ("gzip multipart", "Content-Type: application/vnd.ms-sync.multipart\r\nContent-Encoding: gzip\r\n",
     gzip.compress(multipart(PARTS), mtime=0)),
    ("mime", "Content-Type: message/rfc822\r\n", b"Subject: x\r\n\r\n.\r\n\x00\xff" + ALL_BYTES),
    ("anything", "Content-Type: application/octet-stream\r\n", ALL_BYTES),
    ("nothing", "", b""),
)  # fmt: skip
FIELDS = ("content-type", "content-encoding")


@pytest.fixture
async def allowed(stand: Stand) -> Device:
    """A connection of an allowed device."""
    await stand.agent.put(PHONE, State.ALLOWED)
    return await stand.device()


def of_fields(headers: dict[str, str]) -> dict[str, str]:
    """Those that say what the body is."""
    return {name: value for name, value in headers.items() if name in FIELDS}


def expected(fields: str) -> dict[str, str]:
    """The same of a table's row."""
    return {name.lower(): value for name, _, value in (one.partition(": ") for one in fields.split("\r\n")[:-1])}


@pytest.mark.parametrize("framing", ["length", "chunked", "continue"])
@pytest.mark.parametrize(("what", "fields", "body"), MESSAGES, ids=[one[0] for one in MESSAGES])
async def test_a_request_reaches_the_backend_byte_for_byte(
    stand: Stand, allowed: Device, what: str, fields: str, body: bytes, framing: str
) -> None:
    """However it is framed, and whether or not its sender waits for 100; what it is stays said as it was."""
    head = post("Sync", extra=fields + "Accept-Encoding: gzip\r\nMS-ASAcceptMultiPart: T\r\n")
    head = head.replace(b"Content-Type: application/vnd.ms-sync.wbxml\r\n", b"", 1)
    length = b"Content-Length: 0\r\n"
    if framing == "chunked":
        await allowed.send(head.replace(length, b"Transfer-Encoding: chunked\r\n") + chunks(body, 1, 100, 7))
    elif framing == "continue" and body:
        await allowed.send(head.replace(length, b"Content-Length: %d\r\nExpect: 100-continue\r\n" % len(body)))
        assert (await allowed.head())[0] == 100
        await allowed.send(body)
    else:
        await allowed.send(head.replace(length, b"Content-Length: %d\r\n" % len(body)) + body)
    assert (await allowed.response()).status == 200
    (seen,) = stand.backend.seen
    assert seen.body == body, what
    assert {name: value for name in FIELDS for value in seen.values(name)} == expected(fields)
    assert (seen.value("Accept-Encoding"), seen.value("MS-ASAcceptMultiPart")) == ("gzip", "T")
    assert seen.values("Expect") == []


@pytest.mark.parametrize("framing", ["length", "chunked", "until the end"])
@pytest.mark.parametrize(("what", "fields", "body"), MESSAGES, ids=[one[0] for one in MESSAGES])
async def test_a_response_reaches_the_device_byte_for_byte(
    stand: Stand, allowed: Device, what: str, fields: str, body: bytes, framing: str
) -> None:
    """By length, in chunks, or by the end of the connection; and the device's next request is answered, too."""

    async def script(turn: Turn) -> None:
        await turn.body()
        if framing == "length":
            await turn.ok(body, fields)
        elif framing == "chunked":
            head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
            await turn.say(head.encode() + chunks(body, 1, 100, 7))
        else:
            await turn.say(f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + body)
            turn.writer.close()

    stand.backend.script = script
    for _ in range(2):
        response = await allowed.ask(post("ItemOperations"))
        assert (response.status, response.body) == (200, body), what
        assert of_fields(response.headers) == expected(fields)


# --- a backend that dies in the middle ----------------------------------------------------------------------------

CUTS = (
    b"Content-Length: 10\r\n\r\nabc",
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
)


@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("framing", CUTS)
async def test_a_body_that_is_cut_at_the_backend_is_cut_at_the_device(
    make_stand: MakeStand, framing: bytes, *, tls: bool, end: str
) -> None:
    """By length or chunked, in good order or not, for a device of HTTP/1.1 or 1.0: never an end that was not sent."""
    stand = await make_stand(certificate="backend" if tls else None)
    await stand.agent.put(PHONE, State.ALLOWED)

    async def die(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\n" + framing)
        if end == "closed":
            turn.writer.close()
        else:
            reset(turn)

    stand.backend.script = die
    device = await stand.device()
    await device.send(post())
    _, headers = await device.head()
    with pytest.raises((asyncio.IncompleteReadError, OSError)):
        await asyncio.wait_for(read_body(device.reader, list(headers.items())), PATIENCE)
    body, ended = await old_client(stand)
    assert (body, ended) == (b"abc", "cut")


@pytest.mark.parametrize("tls", [True, False])
async def test_a_body_that_would_end_with_the_connection_is_cut_by_a_reset(make_stand: MakeStand, *, tls: bool) -> None:
    """A reset is no end, with or without TLS; a close in good order is one."""
    stand = await make_stand(certificate="backend" if tls else None)
    await stand.agent.put(PHONE, State.ALLOWED)
    passed = asyncio.Event()

    async def die(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await passed.wait()
        reset(turn)

    async def end(turn: Turn) -> None:
        await turn.body()
        await turn.say(b"HTTP/1.1 200 OK\r\n\r\nabc")
        turn.writer.close()

    stand.backend.script = die
    device = await stand.device()
    await device.send(post())
    _, headers = await device.head()
    assert headers["transfer-encoding"] == "chunked"
    assert await device.reader.readexactly(8) == b"3\r\nabc\r\n"
    passed.set()
    assert await device.ended() == b""
    assert (await old_client(stand))[1] == "cut"
    stand.backend.script = end
    assert await old_client(stand) == (b"abc", "end")


async def old_client(stand: Stand) -> tuple[bytes, str]:
    """A request of HTTP/1.0: the body it gets, and whether that ended or was cut.

    Where the connection is the end of the body, only TLS tells an end (close_notify) from a cut; asyncio does not look.
    """

    def ask() -> tuple[bytes, str]:
        context = ssl.create_default_context(cafile=stand.certificates.ca)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        got = b""
        with (
            socket.create_connection(("127.0.0.1", stand.port), PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname="mail.lab.test", suppress_ragged_eofs=False) as one,
        ):
            one.sendall(post().replace(b"HTTP/1.1", b"HTTP/1.0"))
            try:
                while more := one.recv(4_096):
                    got += more
            except OSError as error:
                ended = (
                    "cut" if isinstance(error, ConnectionResetError) or "UNEXPECTED_EOF" in str(error) else str(error)
                )
            else:
                ended = "end"
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") or not head, head
        length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return body, "cut" if length and len(body) < int(length[0].partition(b":")[2]) else ended

    return await asyncio.to_thread(ask)


def reset(turn: Turn) -> None:
    """End the backend's connection by a reset."""
    one = turn.writer.get_extra_info("socket")
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    turn.writer.transport.abort()


async def test_what_the_two_framings_of_this_file_send_is_what_they_say() -> None:
    """So that the tests above mean something."""
    reader = asyncio.StreamReader()
    body = os.urandom(300)
    reader.feed_data(chunks(body, 1, 100, 7))
    assert await read_body(reader, [("Transfer-Encoding", "chunked")]) == body
    assert multipart((b"ab", b"c")) == bytes.fromhex("02000000 14000000 02000000 16000000 01000000") + b"abc"
