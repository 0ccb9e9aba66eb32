"""SNMP's users on the machine: passphrases become keys of this engine (RFC 3414 2.6), and only those leave the secret store.

Two files, which exist while SNMP is on: `engine`, made once and root's alone, holds the engine's id and the key of the user
by which snmpd asks itself; `users.conf`, which snmpd reads, holds every user's keys, and with them the receivers of traps.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from appliance import secret_file
from appliance.features import values
from appliance.features.base import System, Tree

FOLDER = "/etc/snmp/sentry"
STATE = "/var/lib/sentry/snmp"
ENGINE = f"{STATE}/engine"
USERS = f"{STATE}/users.conf"
UNIT = "snmpd.service"
ACCOUNT = "Debian-snmp"
INTERNAL = "sentry-internal"

# RFC 3411 3.1.1.1: Net-SNMP's enterprise number (8072) with the first bit set, then 5: octets of our own.
ENGINE_PREFIX = "80001f8805"
ENGINE_BYTES, KEY_BYTES = 16, 32
STRETCHED_BYTES = 1_048_576  # RFC 3414 A.2: what a passphrase is repeated to

AUTHENTICATION: Mapping[str, tuple[str, str]] = {
    "sha-256": ("sha256", "SHA-256"),
    "sha-384": ("sha384", "SHA-384"),
    "sha-512": ("sha512", "SHA-512"),
}
"""The settings' word -> OpenSSL's name of the digest and snmpd's of the protocol (RFC 7860)."""
PRIVACY: Mapping[str, tuple[int, str]] = {"aes-128": (16, "AES"), "aes-256": (32, "AES-256")}
"""The settings' word -> the key's bytes and snmpd's name. Each digest above is long enough for either, so that no key has to be
stretched, of which there are two ways that do not understand each other."""
_HEX = re.compile(r"([0-9a-f]{32}) ([0-9a-f]{64})")


def localised(passphrase: str, digest: str, engine: bytes) -> bytes:
    """The key of a user of `engine` (RFC 3414 A.2, with the digests of RFC 7860)."""
    repeated = passphrase.encode() * (STRETCHED_BYTES // len(passphrase) + 1)
    master = hashlib.new(digest, repeated[:STRETCHED_BYTES]).digest()
    return hashlib.new(digest, master + engine + master).digest()


def ensure(tree: Tree, system: System) -> bool:
    """Have the users' keys lie there while SNMP is on, and nothing else. Idempotent; says whether anything changed. A running
    snmpd whose users are others now is restarted. Raises `CommandError`."""
    held = tree["snmp"]
    if not held["enabled"]:
        return secret_file.remove(USERS, system)
    system.run(["install", "-d", "-o", "root", "-g", "root", "-m", "0755", STATE])
    engine, internal = _engine(system)
    changed = secret_file.put(USERS, users_file(held, engine, internal, system), ACCOUNT, system)
    if changed:
        system.run(["systemctl", "try-restart", "--", UNIT])
    return changed


def engine_id(system: System) -> str:
    """The engine's id in hex digits, which receivers of traps must know; empty where there is none yet."""
    found = _HEX.fullmatch((system.read(ENGINE) or "").strip())
    return ENGINE_PREFIX + found[1] if found else ""


def _engine(system: System) -> tuple[bytes, str]:
    """The engine's id, which managers know the machine by, and the internal user's key; made where there is none."""
    found = _HEX.fullmatch((system.read(ENGINE) or "").strip())
    if found is None:
        made = [system.run(["openssl", "rand", "-hex", str(length)]).strip() for length in (ENGINE_BYTES, KEY_BYTES)]
        found = _HEX.fullmatch(" ".join(made))
        if found is None:
            raise ValueError("openssl rand gave no hex digits")
        secret_file.put(ENGINE, found[0], "root", system)
    return bytes.fromhex(ENGINE_PREFIX + found[1]), found[2]


def users_file(held: Mapping[str, Any], engine: bytes, internal: str, system: System) -> str:
    """The lines snmpd reads: who this engine is, its users and where traps go, all by key (snmpd.conf(5), `-l` and `-3k`)."""
    keys = {name: _keys(user, engine, system) for name, user in sorted(held["users"].items())}
    lines = [
        "# Kept by sentry-configd from `snmp`. Keys of this engine; no passphrase can be read from them.",
        f"exactEngineID 0x{engine.hex()}",
        f"createUser {INTERNAL} SHA-256 -l 0x{internal} AES-256 -l 0x{internal}",
        *(
            f"createUser {name} {auth} -l 0x{key} {privacy} -l 0x{cipher}"
            for name, (auth, key, privacy, cipher) in keys.items()
        ),
        *_receivers(held, keys, engine),
    ]
    return "".join(f"{line}\n" for line in lines)


Keys = tuple[str, str, str, str]


def _keys(user: Mapping[str, Any], engine: bytes, system: System) -> Keys:
    digest, auth = AUTHENTICATION[user["auth"]]
    length, privacy = PRIVACY[user["privacy"]]
    key = localised(system.secret(user["auth_passphrase"]), digest, engine)
    cipher = localised(system.secret(user["privacy_passphrase"]), digest, engine)
    return auth, key.hex(), privacy, cipher[:length].hex()


def _receivers(held: Mapping[str, Any], keys: Mapping[str, Keys], engine: bytes) -> Iterator[str]:
    for _name, receiver in sorted(held["traps"].items()):
        auth, key, privacy, cipher = keys[receiver["user"]]
        address = values.address_of(receiver["address"])
        place = f"udp6:[{address}]" if address is not None and address.version == 6 else f"udp:{address}"
        yield (
            f"trapsess -v 3 -e 0x{engine.hex()} -u {receiver['user']} -l authPriv -a {auth} -3k 0x{key} "
            f"-x {privacy} -3K 0x{cipher} {place}:{receiver['port']}"
        )
