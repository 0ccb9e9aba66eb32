"""A test stand for the gateway: the real processes with a scripted backend, a scripted agent and devices that speak raw HTTP."""

import asyncio
import base64
import contextlib
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sentry_runtime import control, settings
from sentry_runtime.control_server import ControlServer, Peer, Refused, Stream
from sentry_runtime.devices.enforcement import Enforcement, applies
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.devices.store import Writer, encode_key
from sentry_runtime.eas import query
from sentry_runtime.eas.policy import Policy, digest
from tests import programs
from tests.programs import Program
from tests.trail_sink import TrailSink

PATIENCE = (
    30.0  # seconds a test waits for what must come; a limit for a broken gateway on a busy machine, never a pause
)
PHONE = DeviceKey("PHONE1", "anna@lab.test")
PASSWORD = "canary-pa55word"
ORDER = 7  # the version by which the stand's wipes are ordered
WBXML = "application/vnd.ms-sync.wbxml"

Headers = dict[str, str]


def basic(user: str = "anna@lab.test", password: str = PASSWORD) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def until(true: Callable[[], bool]) -> None:
    """Until it holds; a condition in another process can only be looked at."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.02)


@dataclass
class Certificates:
    """An authority and a certificate for `localhost` and `mail.lab.test`, made by the openssl command."""

    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    def pair(self, name: str) -> tuple[str, str]:
        """Certificate and key of this name."""
        return str(self.folder / f"{name}.pem"), str(self.folder / f"{name}.key")

    def authority(self, name: str = "ca") -> None:
        """Make an authority."""
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )

    def issue(self, name: str, *names: str, signer: str = "ca") -> None:
        """Make a certificate for these DNS names."""
        alternatives = ",".join(f"DNS:{one}" for one in names)
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n")
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key", "-days", "2"),
            *("-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@dataclass
class Seen:
    """A request as the backend got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = False
    connection: int = 0

    @property
    def query(self) -> query.ParsedQuery:
        """The query, with the headers that belong to it."""
        version, key = self.values("MS-ASProtocolVersion"), self.values("X-MS-PolicyKey")
        text = self.target.partition("?")[2].encode()
        return query.parse(text, version[0] if version else None, key[0] if key else None)

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for one, value in self.headers if one.lower() == name.lower()]

    def value(self, name: str) -> str:
        """The one value of a field."""
        (only,) = self.values(name)
        return only


class Turn:
    """The backend's side of one request: read its body, write the response byte for byte."""

    def __init__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        self.reader = reader
        self.writer = writer

    async def body(self) -> bytes:
        """The whole request body."""
        self.seen.body = await read_body(self.reader, self.seen.headers)
        self.seen.complete = True
        return self.seen.body

    async def say(self, data: bytes) -> None:
        """Write raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def ok(self, body: bytes = b"", extra: str = "", status: str = "200 OK") -> None:
        """An ordinary response."""
        await self.say(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body)


Script = Callable[[Turn], Awaitable[None]]


async def say_yes(turn: Turn) -> None:
    """Read the body and answer 200 with an empty body; an OPTIONS as a server does."""
    await turn.body()
    await turn.ok(extra="MS-ASProtocolVersions: 2.5,12.1,14.1\r\n" if turn.seen.method == "OPTIONS" else "")


async def challenge(turn: Turn) -> None:
    """Answer as a server that wants credentials."""
    await turn.ok(status="401 Unauthorized", extra='WWW-Authenticate: Basic realm="mail"\r\n')


class Backend:
    """An HTTP/1.1 server that keeps what it got. `script` answers; the probes (OPTIONS of Sentry's own) by `probe`, its health
    checks (those without credentials) by `check`, and, where it is set, each Provision by `provision`."""

    def __init__(self, name: str, context: ssl.SSLContext | None) -> None:
        self.name = name
        self.seen: list[Seen] = []
        self.probes: list[Seen] = []
        self.provisions: list[Seen] = []
        self.script: Script = say_yes
        self.probe: Script = say_yes
        self.provision: Script | None = None
        self.checks: list[Seen] = []
        self.check: Script = challenge
        self.connections = 0
        self.open = 0  # of them now
        self.lost = asyncio.Event()
        self.port = 0
        self.arrived = asyncio.Condition()
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self._server = await asyncio.start_server(self._accept, host, port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            # The gateway may have gone without a word, and then nobody would answer a good-bye.
            with contextlib.suppress(AttributeError):  # Python 3.11's, where TLS is closed already
                writer.transport.abort()
        while self._writers:
            with contextlib.suppress(OSError):
                await self._writers.pop().wait_closed()

    async def wait_seen(self, count: int = 1) -> None:
        """Until so many requests have come."""
        async with asyncio.timeout(PATIENCE), self.arrived:
            await self.arrived.wait_for(lambda: len(self.seen) >= count)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        try:
            while (seen := await read_request(reader)) is not None:
                seen.connection = number
                kept, script = self._place(seen)
                async with self.arrived:
                    kept.append(seen)
                    self.arrived.notify_all()
                await script(Turn(seen, reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.lost.set()
            writer.close()

    def _place(self, seen: Seen) -> tuple[list[Seen], Script]:
        if seen.method == "OPTIONS" and seen.values("user-agent") == ["Sentry"]:
            return (self.probes, self.probe) if seen.values("authorization") else (self.checks, self.check)
        if self.provision is not None and seen.method == "POST" and seen.query.command == "Provision":
            return self.provisions, self.provision
        return self.seen, self.script


async def read_request(reader: asyncio.StreamReader) -> Seen | None:
    """A request head, strictly; None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    assert version == "HTTP/1.1"
    return Seen(method, target, [parse_line(line) for line in lines])


def parse_line(line: str) -> tuple[str, str]:
    """A field line."""
    name, _, value = line.partition(":")
    return name, value.strip()


async def read_body(reader: asyncio.StreamReader, headers: list[tuple[str, str]]) -> bytes:
    """A body by Content-Length or chunked; raises `IncompleteReadError` where it is cut."""
    fields = {name.lower(): value for name, value in headers}
    if fields.get("transfer-encoding") == "chunked":
        parts = []
        while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
            parts.append(await reader.readexactly(size))
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
        return b"".join(parts)
    return await reader.readexactly(int(fields.get("content-length", "0")))


class ScriptedAgent:
    """The agent's socket (the real server class) over the real device list."""

    def __init__(self, paths: settings.Paths) -> None:
        self.asked: list[control.Ask] = []
        self.described: list[control.Describe] = []
        self.marked: list[control.MarkWipe] = []
        self.answer: Callable[[control.Ask], Awaitable[Record]] = self._unregistered
        self.keep: Callable[[control.KeepEnforcement], Awaitable[bool]] = self._keep
        self.describe: Callable[[control.Describe], Awaitable[None]] = self._describe
        self.following = asyncio.Event()
        self._writer = Writer(paths.devices)
        self._followers: set[asyncio.StreamWriter] = set()
        self._server = ControlServer(paths.agent_socket, self._handle)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()
        self._writer.close()

    async def stop_socket(self) -> None:
        """As if the agent had been killed; the list stays."""
        await self._server.stop()
        self.following.clear()

    async def put(self, key: DeviceKey, state: State, *reasons: Reason, policy: Policy | None = None) -> Record:
        """Write an entry and tell the followers; an entry that is there already is the one before."""
        try:
            before = self._writer.get(key)
        except msgspec.DecodeError:  # a test damaged it
            before = None
        named = b"" if policy is None else digest(policy)
        record = Record(
            key=key,
            state=state,
            version=1,
            reasons=tuple(reasons),
            registered=True,
            policy=named,
            policy_before=None if before is None else before.policy,
        )
        self._writer.write(put=[record], policies=[] if policy is None else [policy])
        await self._tell(key)
        return record

    def forget_policy(self, policy: Policy) -> None:
        """As if its last entry had gone."""
        self._writer.write(forget=[digest(policy)])

    async def order_wipe(self, key: DeviceKey, kind: WipeKind = WipeKind.DEVICE, *marks: WipeMark) -> Record:
        """Write that the device is to be wiped, with what has come of it, and tell the followers."""
        wipe = Wipe(kind=kind, order=ORDER, marks=tuple(sorted(marks)))
        record = Record(key=key, state=wipe.state, version=ORDER, registered=True, wipe=wipe)
        self.put_silently(record)
        await self._tell(key)
        return record

    def get(self, key: DeviceKey) -> Record | None:
        """The entry of this key."""
        return self._writer.get(key)

    def keys(self) -> list[DeviceKey]:
        """Whom the list has."""
        return [record.key for record in self._writer.iterate()]

    def put_silently(self, record: Record) -> None:
        """Write an entry and tell nobody."""
        self._writer.put([record])

    async def remove(self, key: DeviceKey) -> None:
        """Take an entry out and tell the followers."""
        self.remove_silently(key)
        await self._tell(key)

    def remove_silently(self, key: DeviceKey) -> None:
        """Take an entry out and tell nobody."""
        self._writer.remove([key])

    def forget_silently(self, key: DeviceKey) -> None:
        """Lose what is kept of a backend's own policy, and tell nobody."""
        self._writer.write(enforced={key: None})

    def damage_silently(self, key: DeviceKey) -> None:
        """Make an entry unreadable, as no program of ours would, and tell nobody."""
        with self._writer._env.begin(write=True) as txn:
            txn.put(encode_key(key), b"\xc1")  # the one byte that MessagePack never uses

    async def _tell(self, key: DeviceKey) -> None:
        for follower in list(self._followers):  # workers come and go meanwhile
            follower.write(msgspec.json.encode(control.Changed(keys=(key,))) + b"\n")
            with contextlib.suppress(ConnectionError):
                await follower.drain()

    async def _handle(self, peer: Peer, request: control.Request) -> object:
        match request:
            case control.Ask():
                self.asked.append(request)
                return await self.answer(request)
            case control.Follow():
                return Stream(self._follow)
            case control.KeepEnforcement():
                return await self.keep(request)
            case control.Describe():
                await self.describe(request)
                return None
            case control.MarkWipe():
                self.marked.append(request)
                return await self._mark(request)
            case _:
                raise Refused("unknown", "not scripted")

    async def _keep(self, request: control.KeepEnforcement) -> bool:
        if self._writer.get(request.key) is None or not applies(self._writer.enforcement(request.key), request.after):
            return False
        self._writer.write(enforced={request.key: request.enforcement})
        await self._tell(request.key)
        return True

    async def _describe(self, request: control.Describe) -> None:
        self.described.append(request)

    def held(self, key: DeviceKey) -> Enforcement | None:
        """What is kept of a backend's own policy."""
        return self._writer.enforcement(key)

    async def _mark(self, request: control.MarkWipe) -> Record | None:
        record = self._writer.get(request.key)
        if record is None or record.wipe is None or record.wipe.order != request.order:
            return record
        wipe = record.wipe.marked([request.mark])
        self.put_silently(msgspec.structs.replace(record, wipe=wipe, state=wipe.state))
        await self._tell(request.key)
        return self._writer.get(request.key)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._followers.add(writer)  # before the answer, so that no change falls between
        writer.write(control.answer(None))
        await writer.drain()
        self.following.set()
        try:
            await reader.read()
        finally:
            self._followers.discard(writer)

    async def _unregistered(self, ask: control.Ask) -> Record:
        return await self.put(ask.key, State.BLOCKED, Reason.UNREGISTERED)


class AuditSink(TrailSink):
    """The audit lines of a gateway, waited for."""

    async def wait(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The lines, as soon as they are `enough`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while not enough(lines := self.lines()):
                ready = asyncio.Event()
                loop.add_reader(self, ready.set)
                try:
                    await ready.wait()
                finally:
                    loop.remove_reader(self)
        return lines

    async def count(self, count: int) -> list[dict[str, Any]]:
        """The lines, as soon as there are so many."""
        return await self.wait(lambda lines: len(lines) >= count)

    async def outcomes(self, count: int) -> list[dict[str, Any]]:
        """The first so many `outcome` lines."""
        lines = await self.wait(lambda lines: sum(line["event"] == "outcome" for line in lines) >= count)
        return [line for line in lines if line["event"] == "outcome"]


@dataclass
class Response:
    """A response as the device got it."""

    status: int
    headers: Headers
    body: bytes


class Device:
    """One TLS connection of a device."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, Headers]:
        """Read a response head."""
        async with asyncio.timeout(PATIENCE):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), f"bytes of no response: {first[:80]!r}"
        return int(first.split(" ")[1]), {name.lower(): value for name, value in map(parse_line, lines)}

    async def response(self) -> Response:
        """Read a whole response."""
        status, headers = await self.head()
        async with asyncio.timeout(PATIENCE):
            return Response(status, headers, await read_body(self.reader, list(headers.items())))

    async def ask(self, data: bytes) -> Response:
        """Send a request and read its response."""
        await self.send(data)
        return await self.response()

    async def ended(self) -> bytes:
        """What still comes until the connection ends, in good order or not."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except (ConnectionError, ssl.SSLError):
                return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self.writer.wait_closed()


def post(
    command: str = "FolderSync",
    body: bytes = b"",
    *,
    device: str = "PHONE1",
    version: str = "14.1",
    authorization: str | None = basic(),
    user: str = "anna@lab.test",
    extra: str = "",
) -> bytes:
    """A request as a phone sends it."""
    lines = [
        f"POST /Microsoft-Server-ActiveSync?Cmd={command}&User={user}&DeviceId={device}&DeviceType=iPhone HTTP/1.1",
        "Host: mail.lab.test",
        "User-Agent: Apple-iPhone10C1/1501.100",
        f"MS-ASProtocolVersion: {version}",
        f"Content-Type: {WBXML}",
    ]
    if authorization is not None:
        lines.append(f"Authorization: {authorization}")
    if "Transfer-Encoding" not in extra:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode() + body


@dataclass
class Stand:
    """The gateway with everything around it."""

    folder: Path
    certificates: Certificates
    backends: list[Backend]
    agent: ScriptedAgent
    audit: AuditSink
    settings: settings.Settings
    process: Program | None = None
    devices: list[Device] = field(default_factory=list)

    @property
    def backend(self) -> Backend:
        return self.backends[0]

    @property
    def port(self) -> int:
        return self.settings.gateway.listeners[0].port

    @property
    def settings_path(self) -> Path:
        return self.folder / "runtime.json"

    def write_settings(self) -> None:
        self.settings_path.write_bytes(msgspec.json.encode(self.settings))

    async def start(self) -> None:
        """Start the gateway and wait until it says that it is ready, as systemd does."""
        self.write_settings()
        notify = self.folder / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as peer:
            peer.bind(str(notify))
            with (self.folder / "gateway.log").open("ab") as log:
                self.process = programs.start(
                    "sentry_runtime.gateway",
                    ["--settings", self.settings_path],
                    env=os.environ | {"NOTIFY_SOCKET": str(notify)},
                    stderr=log.fileno(),
                )
            try:
                async with asyncio.timeout(PATIENCE):
                    assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"READY=1"
                    await self.agent.following.wait()
            except TimeoutError as error:
                error.add_note(f"the gateway's exit code: {self.process.poll()}; it said:\n{self.log()}")
                raise

    def log(self) -> str:
        """What the gateway said on stderr."""
        return (self.folder / "gateway.log").read_text()

    def status(self) -> dict[str, Any]:
        """The gateway's answer on its control socket."""
        result = control.call(self.settings.paths.gateway_control, control.Status())
        assert isinstance(result, dict)
        return result

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        assert self.process is not None
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def device(self) -> Device:
        """A new connection of a device."""
        context = ssl.create_default_context(cafile=self.certificates.ca)
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=context, server_hostname="mail.lab.test"
            )
        self.devices.append(Device(reader, writer))
        return self.devices[-1]

    async def until_answered(self, request: bytes, status: int) -> None:
        """Until this is answered so: the worker has heard of a change. Each time on a connection of its own, since what is at
        the backend when the change comes ends together with its connection."""
        async with asyncio.timeout(PATIENCE):
            answered = 0
            while answered != status:
                device = await self.device()
                answered = (await device.ask(request)).status
                await device.close()

    async def ended(self) -> int:
        """The gateway's exit code."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE + 20):
            return await asyncio.to_thread(self.process.wait)

    async def stop(self) -> None:
        """End everything."""
        for device in self.devices:
            await device.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            for backend in self.backends:
                await backend.stop()
            try:
                await asyncio.to_thread(self.process.wait, PATIENCE)
            except subprocess.TimeoutExpired:
                for pid in [*self.workers(), self.process.pid]:
                    os.kill(pid, signal.SIGKILL)
                raise
        for backend in self.backends:
            await backend.stop()
        await self.agent.stop()
        self.audit.close()
