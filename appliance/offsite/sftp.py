"""One backup to an SFTP server, by OpenSSH's own client: the server's key is pinned, the log-in is by our key alone.

The client is run with every option that matters, so that no file of the system changes what it does.
"""

import posixpath
from pathlib import Path

from appliance import process
from appliance.aside import aside
from appliance.offsite.failing import SendError
from appliance.offsite.settings import Sftp

SFTP = "/usr/bin/sftp"
ATTEMPT_SECONDS = 60.0  # 1 MiB at 20 KB/s
CONNECT_SECONDS = 15
ALIAS = "destination"  # under which the server's keys are known, whatever its name or address
_ALGORITHMS = {"ssh-rsa": "rsa-sha2-512,rsa-sha2-256"}
"""How a server signs with a key of this type, where it is not named as the type (RFC 8332)."""


def options(settings: Sftp, key: Path, known_hosts: Path) -> tuple[str, ...]:
    """The client's options: what `docs/crypto.md` says of SSH, the pinned key, and nothing that asks or forwards."""
    kinds = dict.fromkeys(each.partition(" ")[0] for each in settings.host_keys)
    said = {
        "BatchMode": "yes",
        "CheckHostIP": "no",
        "Ciphers": "aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr",
        "ClearAllForwardings": "yes",
        "Compression": "no",
        "ConnectTimeout": str(CONNECT_SECONDS),
        "ConnectionAttempts": "1",
        "GlobalKnownHostsFile": "none",
        "HostKeyAlgorithms": ",".join(_ALGORITHMS.get(kind, kind) for kind in kinds),
        "HostKeyAlias": ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "IdentityFile": str(key),
        "KexAlgorithms": "ecdh-sha2-nistp384,ecdh-sha2-nistp521,ecdh-sha2-nistp256",
        "LogLevel": "ERROR",
        "MACs": "hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com",
        "PasswordAuthentication": "no",
        "PermitLocalCommand": "no",
        "PreferredAuthentications": "publickey",
        "ProxyCommand": "none",
        "PubkeyAcceptedAlgorithms": "ecdsa-sha2-nistp384",
        "RequiredRSASize": "3072",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "User": settings.user,
        "UserKnownHostsFile": str(known_hosts),
    }
    return tuple(part for name, value in said.items() for part in ("-o", f"{name}={value}"))


def batch(directory: str, local: Path, name: str) -> str:
    """What the client is to do: the file comes whole under another name, and takes its own when it is there."""
    place = posixpath.join(directory, name)
    return f'put "{local}" "{place}.part"\n-rm "{place}"\nrename "{place}.part" "{place}"\n'


def known_hosts(settings: Sftp) -> str:
    """The file of keys of which the server must have one."""
    return "".join(f"{ALIAS} {' '.join(each.split()[:2])}\n" for each in settings.host_keys)


async def send(settings: Sftp, name: str, file: bytes, key: Path, folder: Path) -> None:
    """Have `file` lie on the server as `name`. `folder` is private, and holds it meanwhile. Raises `SendError`."""
    local, hosts = folder / name, folder / "known_hosts"
    try:
        local.write_bytes(file)
        hosts.write_text(known_hosts(settings), encoding="ascii")
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        argv = [SFTP, "-b", "-", "-F", "none", "-P", str(settings.port), *options(settings, key, hosts), "--", host]
        await _run(argv, batch(settings.directory, local, name))
    except OSError as error:
        raise SendError(f"the file could not be handed to the client: {error.strerror or error}") from error
    finally:
        local.unlink(missing_ok=True)
        hosts.unlink(missing_ok=True)


async def _run(argv: list[str], stdin: str) -> None:
    try:
        done = await aside(lambda: process.attempt(argv, stdin=stdin, seconds=ATTEMPT_SECONDS), "sftp")
    except process.CommandError as error:
        words = f"not sent within {ATTEMPT_SECONDS:.0f} seconds" if error.status == process.TIMED_OUT else error.output
        raise SendError(words) from error
    if done.status != 0:
        raise SendError(_told(done.errors) or f"the client ended with {done.status}")


def _told(said: str) -> str:
    """The last line that says more than that the connection is over."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if line not in ("Connection closed", "Connection closed.")]
    return " ".join((telling or lines)[-1:])
