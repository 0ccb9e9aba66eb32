"""The agent and the embedded UEM as real processes, with certificates of a throw-away authority, on loopback."""

import asyncio
import contextlib
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
from sqlalchemy import insert
from sqlalchemy.orm import Session

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record, State
from sentry_runtime.eas.device_id import root
from sentry_runtime.eas.principal import user_of
from sentry_runtime.settings import (
    Agent,
    Backend,
    ClientTls,
    Gateway,
    Listener,
    Paths,
    SentryPeer,
    ServerTls,
    Settings,
    UemLink,
    UemServer,
)
from sentry_runtime.uem_server.tables import Bound, Clock, Device, Place, Spelling, open_engine
from tests import programs
from tests.ports import free_port
from tests.programs import Program
from tests.trail_sink import TrailSink

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0  # of a machine that has much else to do
UEM_SECONDS = 8.0  # for the UEM to answer the agent, on such a machine
ME = pwd.getpwuid(os.getuid()).pw_name


def openssl(*arguments: str, folder: Path) -> None:
    """Run openssl there; its words are in the error when it fails."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Pki:
    """A folder with NAME.pem and NAME.key for each certificate, and CA.pem for each authority."""

    folder: Path

    def authority(self, name: str) -> None:
        """A self-signed authority."""
        subject = ["-subj", f"/CN={name}", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *curve, *subject, folder=self.folder)

    def issue(self, name: str, authority: str, usage: str) -> None:
        """A certificate for 127.0.0.1 with this extended key usage."""
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", f"extendedKeyUsage={usage}"]
        signing = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-days", "2"]
        files = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl("req", "-x509", *curve, *files, *signing, *extensions, folder=self.folder)

    def server(self, name: str) -> ServerTls:
        """A listener with mutual TLS."""
        return ServerTls(
            certificate=str(self.folder / f"{name}.pem"),
            key=str(self.folder / f"{name}.key"),
            client_ca=str(self.folder / "ca.pem"),
        )

    def plain_server(self, name: str) -> ServerTls:
        """A listener that asks nobody for a certificate."""
        return msgspec.structs.replace(self.server(name), client_ca=None)

    def client(self, name: str | None, trust: str = "ca") -> ClientTls:
        """A dialler with this certificate."""
        return ClientTls(
            trust=str(self.folder / f"{trust}.pem"),
            certificate=None if name is None else str(self.folder / f"{name}.pem"),
            key=None if name is None else str(self.folder / f"{name}.key"),
        )


def open_connections() -> list[asyncio.BaseTransport]:
    """This loop's connections whose sockets are open, those too whose TLS still takes its leave."""
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
    return [one for one in list(transports.values()) if one.get_extra_info("socket").fileno() != -1]


async def parted() -> None:
    """Until none is left. What ends TLS waits for the other end's good-bye, and aiohttp's sessions do not wait for that; a loop
    that is closed before leaves the socket to the collector, which tells whichever test runs by then."""
    async with asyncio.timeout(START_SECONDS):
        while open_connections():  # noqa: ASYNC110 - no transport says that its socket is closed
            await asyncio.sleep(0.01)


@dataclass
class Process:
    """A started process that has said it is ready."""

    popen: Program

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait()

    def terminate(self) -> int:
        """SIGTERM; its exit code."""
        self.popen.terminate()
        return self.popen.wait(START_SECONDS)


class Stage:
    """One appliance's agent and UEM in a folder; start, kill and ask them."""

    def __init__(
        self,
        folder: Path,
        pki: Pki,
        fail_mode: Literal["allow", "block"],
        resync_seconds: float,
        timeout_seconds: float = UEM_SECONDS,
    ) -> None:
        self.folder = folder
        self.pki = pki
        self.running: list[Process] = []
        self.uem_port, self.push_port = free_port(), free_port()
        (folder / "devices").mkdir()
        self.paths = Paths(
            devices=str(folder / "devices"),
            agent_socket=str(folder / "agent.sock"),
            uem_admin=str(folder / "admin.sock"),
            audit_socket=str(folder / "audit.sock"),
        )
        link = UemLink(
            mode="embedded",
            url=f"https://127.0.0.1:{self.uem_port}",
            tls=pki.client("agent"),
            push_port=self.push_port,
            push_tls=pki.server("uem-push"),
            push_subject="CN=uem-client",
            timeout_seconds=timeout_seconds,
            resync_seconds=resync_seconds,
        )
        uem = UemServer(
            port=self.uem_port,
            tls=pki.server("uem"),
            database=f"sqlite:///{folder}/uem.sqlite",
            sentrys=(SentryPeer(name="box", subject="CN=agent", push_url=f"https://127.0.0.1:{self.push_port}"),),
            push_tls=pki.client("uem-client"),
        )
        self.settings = Settings(
            gateway=Gateway(listeners=(), tls=pki.server("uem"), backends=(Backend(name="mail", host="127.0.0.1"),)),
            agent=Agent(uem=link, fail_mode=fail_mode),
            uem_server=uem,
            paths=self.paths,
        )

    def front(self, backend: int, **gateway: Any) -> None:
        """Have a gateway in the settings, in front of the mail server on this port of 127.0.0.1."""
        made = Gateway(
            listeners=(Listener(address="127.0.0.1", port=free_port()),),
            tls=self.pki.plain_server("uem"),
            backends=(Backend(name="mail", host="127.0.0.1", port=backend),),
            **gateway,
        )
        paths = msgspec.structs.replace(self.settings.paths, gateway_control=str(self.folder / "gateway.sock"))
        self.settings = msgspec.structs.replace(self.settings, gateway=made, paths=paths)

    def end(self) -> None:
        """kill -9 of whatever still runs."""
        for process in self.running:
            if process.popen.poll() is None:
                process.kill()

    def write(self, settings: Settings) -> Path:
        """The settings as a file."""
        path = self.folder / "runtime.json"
        path.write_bytes(msgspec.json.encode(settings))
        return path

    def start(self, module: str, *arguments: str) -> Process:
        """Start a process and wait for its READY=1."""
        path = self.write(self.settings)
        name = str(self.folder / f"notify-{len(self.running)}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(name)
            notify.settimeout(START_SECONDS)
            env = {**os.environ, "NOTIFY_SOCKET": name}
            words = ["--settings", str(path), *arguments]
            process = Process(programs.start(f"sentry_runtime.{module}", words, env=env, cwd=ROOT))
            self.running.append(process)
            assert notify.recv(100) == b"READY=1"
        Path(name).unlink()
        return process

    def agent(self) -> Process:
        """Start the agent; this test's user is its gateway and its management."""
        return self.start("agent", "--gateway-user", ME, "--management-user", ME)

    def uem(self) -> Process:
        """Start the UEM; this test's user is its administrator."""
        return self.start("uem_server", "--admin-user", ME)

    def push_by_way_of(self, port: int) -> None:
        """Have the UEM push to this port of 127.0.0.1 instead of the agent's."""
        uem = self.settings.uem_server
        assert uem is not None
        (box,) = uem.sentrys
        box = msgspec.structs.replace(box, push_url=f"https://127.0.0.1:{port}")
        self.settings = msgspec.structs.replace(self.settings, uem_server=msgspec.structs.replace(uem, sentrys=(box,)))

    def enrol(self, keys: list[DeviceKey], note: str = "") -> None:
        """Put registered devices into the database of a UEM that does not run, all at once."""
        assert self.settings.uem_server is not None
        engine = open_engine(self.settings.uem_server.database)
        rows = [
            {
                "id": version,
                "device_id": key.device_id,
                "principal": key.principal,
                "state": State.ALLOWED,
                "version": version,
                "registered": True,
                "note": note,
            }
            for version, key in enumerate(keys, 1)
        ]
        spellings = [
            {"device": row, "user": user_of(key.principal), "root": root(key.device_id), "spoken": True}
            for row, key in enumerate(keys, 1)
        ]
        with Session(engine) as session, session.begin():
            session.add_all([Clock(id=1, version=len(keys)), Bound(id=1, devices_per_mailbox=0)])
            session.execute(insert(Device), rows)
            session.execute(insert(Spelling), spellings)
            session.execute(insert(Place), [{"device": row["id"], "rank": 0, "waits": False} for row in rows])
        engine.dispose()

    def ask(self, key: DeviceKey, **more: Any) -> Record:
        """A first contact."""
        ask = control.Ask(key=key, device_type=more.pop("device_type", "iPhone"), **more)
        answer = control.call(self.paths.agent_socket, ask, Record)
        assert isinstance(answer, Record)
        return answer

    def status(self) -> dict[str, Any]:
        """What the agent says of itself."""
        answer = control.call(self.paths.agent_socket, control.Status(), dict[str, Any])
        assert isinstance(answer, dict)
        return answer

    def listed(self) -> list[Record]:
        """The whole device list."""
        records = control.call(self.paths.agent_socket, control.ListDevices(), list[Record])
        assert isinstance(records, list)
        return records

    def wait(self, true: Callable[[], bool]) -> None:
        """Until it holds; a condition in another process can only be looked at."""
        end = time.monotonic() + START_SECONDS
        while not true():
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.02)

    def raw(self, data: bytes, lines: int = 1) -> bytes:
        """Send these bytes to the agent's socket; so many lines of what comes back."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(START_SECONDS)
            peer.connect(self.paths.agent_socket)
            peer.sendall(data)
            with peer.makefile("rb") as answers:
                return b"".join(answers.readline() for _ in range(lines))

    def audit(self) -> "AuditTrail":
        """What rsyslog would get, from now on. Used as a context manager."""
        return AuditTrail(self.paths.audit_socket)

    def follow(self) -> "Follower":
        """A connection on which the agent announces changes."""
        return Follower(self.paths.agent_socket)


class Follower:
    """Reads announcements; `until` waits for one that names a key."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(START_SECONDS)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")
        self._socket.sendall(msgspec.json.encode(control.Follow()) + b"\n")
        assert msgspec.json.decode(self._lines.readline()) == {"result": None}

    def until(self, *keys: DeviceKey) -> None:
        """Read until each of these keys was announced, in one line or in several."""
        missing = set(keys)
        while missing:
            line = self._lines.readline()
            assert line, "the agent closed the connection"
            missing.difference_update(msgspec.json.decode(line, type=control.Changed).keys)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


class AuditTrail:
    """Stands where rsyslog's socket is and reads what is sent there."""

    def __init__(self, path: str) -> None:
        self._sink = TrailSink(path)
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sink.close()

    def until(self, event: str) -> list[dict[str, Any]]:
        """Read up to the first line of this event; all lines that were read, it being the last."""
        lines: list[dict[str, Any]] = []
        while not lines or lines[-1]["event"] != event:
            lines.append(self._sink.line(self._read, START_SECONDS))
            self._read += 1
        return lines

    @contextlib.contextmanager
    def kept(self, loop: asyncio.AbstractEventLoop) -> Iterator[list[bytes]]:
        """All lines as they come; they are read beside whatever else the loop does, since the kernel has room for few."""
        loop.add_reader(self._sink, self._sink.take)
        try:
            yield self._sink.raw
        finally:
            loop.remove_reader(self._sink)
            self._sink.take()
