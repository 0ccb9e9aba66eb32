"""`python -m stig.service`: the facts service of the appliance, a process of root's that only reads.

It listens on a Unix socket that systemd hands it, and answers configd and nobody else (SO_PEERCRED). It may be asked for a
fact of the closed list (`stig.commands`) by its name, and told as whom and from where the machine is looked at; the command is
the list's.
Messages are lines of JSON, as on the appliance's other sockets: a request with `do`, and `{"result": ...}` or `{"error": ...}`.
"""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final

import msgspec

from stig.commands import COMMANDS, INPUT, Standpoint, argv, depends, shown
from stig.errors import FactError
from stig.machine import REMOTE_SECONDS, TIMED_OUT
from stig.run import run
from stig.target import SSH_PORT, source_towards

ROOT = 0
FIRST_SOCKET = 3  # sd_listen_fds(3)
# The socket is systemd's, who listens on it again when this process ends; since Python 3.13 asyncio would remove it.
LEFT_THERE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
LINE_BYTES = 1_024  # a name, an account and an address
OUTPUT_CHARACTERS = (
    2_000_000  # the packet filter of a busy gateway, with a source in every counter, has a tenth of this
)
SILENT_SECONDS = 10.0
IDLE_SECONDS = 300.0  # then it ends; systemd starts it when it is asked again
# No TZ: which zone the machine is in is a fact, too.
ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))

Short = Annotated[str, msgspec.Meta(max_length=64)]


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    """Every request carries its name in `do`."""


class ReadFact(_Ask, frozen=True, kw_only=True, tag="facts.read"):
    """What a fact is now, for `user`, who comes from `client` (an address). Result: `Fact`."""

    name: Short
    user: Short
    client: Short


class ListFacts(_Ask, frozen=True, kw_only=True, tag="facts.list"):
    """The list. Result: each fact's name and its command."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """`listed` is the command as the list has it, `command` as it was run; its exit status and what it printed."""

    fact: str
    listed: tuple[str, ...]
    command: str
    status: int
    output: str
    errors: str


_decode: Callable[[bytes], ReadFact | ListFacts] = msgspec.json.Decoder(ReadFact | ListFacts).decode
_encode = msgspec.json.Encoder().encode


def read(asked: ReadFact) -> Fact:
    """Run the fact's command. `FactError` for a name that is not in the list, and for what is no account or no address."""
    if asked.name not in COMMANDS:
        raise FactError(f"found the fact {asked.name!r}; allowed: {', '.join(COMMANDS)}")
    words = argv(asked.name, _seen_from(asked)) if depends(asked.name) else COMMANDS[asked.name]
    status, output, errors = _ran(asked.name, words)
    if len(output) + len(errors) > OUTPUT_CHARACTERS:
        raise FactError(f"{asked.name}: more than {OUTPUT_CHARACTERS} characters; scan with an account that may sudo")
    return Fact(
        fact=asked.name, listed=COMMANDS[asked.name], command=shown(words), status=status, output=output, errors=errors
    )


def _seen_from(asked: ReadFact) -> Standpoint:
    """The address that the person came to is the one this machine has towards theirs."""
    seen_from = Standpoint(admin=asked.user, client=asked.client, address=asked.client)
    return replace(seen_from, address=source_towards(asked.client, SSH_PORT).partition("%")[0])


def _ran(name: str, words: tuple[str, ...]) -> tuple[int, str, str]:
    # The command's own time limit ends it and says so as timeout(1) does; ours is for a timeout(1) that hangs.
    bounded = ["env", "-i", *(f"{key}={value}" for key, value in ENVIRONMENT.items()), "timeout", str(REMOTE_SECONDS)]
    try:
        done = run([*bounded, *words], stdin=INPUT.get(name, ""), seconds=REMOTE_SECONDS + 5)
    except FactError as error:
        return TIMED_OUT, "", str(error)
    return done.status, done.output, done.errors


def answer(line: bytes, uid: int, *, allowed: frozenset[int]) -> bytes:
    """The line that answers a line from a process of `uid`."""
    if uid not in allowed:
        return _refusal("forbidden", "only configd may ask")
    try:
        asked = _decode(line)
        if isinstance(asked, ListFacts):
            return _line({"result": [(name, shown(words)) for name, words in COMMANDS.items()]})
        return _line({"result": read(asked)})
    except (msgspec.MsgspecError, UnicodeDecodeError, FactError) as error:
        return _refusal("invalid", str(error))


def _refusal(kind: str, message: str) -> bytes:
    return _line({"error": {"kind": kind, "message": message}})


def _line(tree: object) -> bytes:
    return _encode(tree) + b"\n"


class Service:
    """Serves a listening socket; one command runs at a time, so that who asks without end takes one process of the machine."""

    def __init__(self, allowed: frozenset[int] = frozenset({ROOT})) -> None:
        self._allowed = allowed
        self._turn = asyncio.Lock()
        self._asked = asyncio.Event()
        self._open = 0

    async def serve(self, listener: socket.socket, *, idle_seconds: float = IDLE_SECONDS) -> None:
        """Answer until nobody has asked for so long."""
        server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_BYTES, **LEFT_THERE)
        async with server:
            while await self._wanted(idle_seconds):
                self._asked.clear()

    async def _wanted(self, seconds: float) -> bool:
        """Whether somebody has asked within that time, or is being answered."""
        try:
            await asyncio.wait_for(self._asked.wait(), seconds)
        except TimeoutError:
            return self._open > 0
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self._asked.set()
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                line = await reader.readline()
            if line.endswith(b"\n"):
                async with self._turn:
                    writer.write(await asyncio.to_thread(answer, line, _uid(writer), allowed=self._allowed))
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # it went away, was silent for too long or talks without end: nobody is left to tell
        finally:
            self._open -= 1
            writer.close()


def _uid(writer: asyncio.StreamWriter) -> int:
    connected: socket.socket = writer.get_extra_info("socket")
    _pid, uid, _gid = _CREDENTIALS.unpack(
        connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return int(uid)


def main() -> int:
    """Serve the socket that systemd hands over; 1 when there is none."""
    if os.environ.get("LISTEN_FDS") != "1":
        sys.stderr.write("the facts service is started by its socket (sentry-facts.socket)\n")
        return 1
    with socket.socket(fileno=FIRST_SOCKET) as listener:
        asyncio.run(Service().serve(listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())
