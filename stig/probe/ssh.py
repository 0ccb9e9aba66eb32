"""SSH as a stranger sees it (the banner), and as an administrator does (sessions until one is refused)."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stig.errors import FactError
from stig.target import Target

if TYPE_CHECKING:
    import paramiko  # an appliance that scans itself has none, and opens no sessions

SECONDS = 15.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|[\x00-\x08\x0b-\x1f]")
_RSA = {"rsa-sha2-256": "ssh-rsa", "rsa-sha2-512": "ssh-rsa"}  # RFC 8332: two signatures by the one kind of key
_PROMPT = re.compile(r"^\S*[>#]\s*$")


@dataclass(frozen=True, slots=True)
class Opened:
    """How many sessions the probe held at once, how many the machine had in all at that moment, and what the one after them
    was told; None when none was refused."""

    sessions: int
    present: int
    refusal: str | None


@contextmanager
def _transport(target: Target) -> Iterator["paramiko.Transport"]:
    """A connection whose host key is the known one."""
    import paramiko  # noqa: PLC0415 - see above

    known_as = target.address if target.ssh_port == 22 else f"[{target.address}]:{target.ssh_port}"
    keys = paramiko.HostKeys(str(target.known_hosts)).lookup(target.key_alias or known_as)
    if keys is None:
        raise FactError(f"{target.known_hosts} has no host key of {target.address}")
    try:
        connection = socket.create_connection((target.address, target.ssh_port), timeout=SECONDS)
        transport = paramiko.Transport(connection)
    except (OSError, paramiko.SSHException) as error:
        raise FactError(f"{target.address}:{target.ssh_port}: {error}") from error
    try:
        # Ask for a kind of key that is known, or the server may answer with another of its keys.
        options = transport.get_security_options()
        options.key_types = tuple(kind for kind in options.key_types if keys.get(_RSA.get(kind, kind)))
        transport.start_client(timeout=SECONDS)
        shown = transport.get_remote_server_key()
        if keys.get(shown.get_name()) != shown:
            raise FactError(f"{target.address}: the host key is not the one in {target.known_hosts}")
        yield transport
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise FactError(f"{target.address}:{target.ssh_port}: SSH: {error}") from error
    finally:
        transport.close()


def banner(target: Target) -> str:
    """What sshd says before anybody has logged in (RFC 4252 5.4); empty when it says nothing."""
    import paramiko  # noqa: PLC0415 - see above

    with _transport(target) as transport:
        try:
            transport.auth_none("nobody")
        except paramiko.AuthenticationException:
            said: bytes | None = transport.get_banner()
            return (said or b"").decode("utf-8", "replace")
    raise FactError(f"{target.address}: sshd let `nobody` in without authentication")


def open_until_refused(target: Target, most: int, present: Callable[[], int]) -> Opened:
    """Open up to `most` interactive sessions and hold them all; stop at the first that gets no prompt. `present` counts the
    machine's sessions while they are held."""
    with ExitStack() as held:
        for count in range(most):
            refusal = _session(held, target)
            if refusal is not None and count == 0:
                raise FactError(f"{target.address}: not even one session as {target.admin.user}: {refusal}")
            if refusal is not None:
                return Opened(count, present(), refusal)
        return Opened(most, present(), None)


def _session(held: ExitStack, target: Target) -> str | None:
    """One more session: None when it got a prompt, else why not."""
    import paramiko  # noqa: PLC0415 - see above

    if target.admin.key is None:
        raise FactError(f"this opens sessions as {target.admin.user} by itself and needs the file of the key: --key")
    transport = held.enter_context(_transport(target))
    key = paramiko.PKey.from_path(str(target.admin.key))
    try:
        transport.auth_publickey(target.admin.user, key)
        channel = transport.open_session(timeout=SECONDS)
        channel.get_pty(term="dumb", width=120, height=40)
        channel.invoke_shell()
    except (EOFError, paramiko.SSHException) as error:
        return str(error)
    return _wait(channel)


def _wait(channel: "paramiko.Channel") -> str | None:
    """Read until a prompt (None) or the end (what was said)."""
    said = ""
    deadline = time.monotonic() + SECONDS
    channel.settimeout(0.5)
    while time.monotonic() < deadline:
        try:
            part = channel.recv(4_096).decode("utf-8", "replace")
        except TimeoutError:
            part = ""
            if not channel.closed and not channel.eof_received:
                continue
        said += part
        plain = _ESCAPES.sub("", said)
        if _PROMPT.match(plain.rsplit("\n", 1)[-1]):
            return None
        if not part:
            return " ".join(plain.split()) or "the session was closed without a word"
    raise FactError(f"a session got neither a prompt nor an end within {SECONDS:g} s: {' '.join(said.split())[-200:]}")
