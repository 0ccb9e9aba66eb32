"""What is in a backup: the running settings, the secrets that they refer to, and the files without which a machine that is given
them would be another appliance.

A secret's reference is made with a key of its machine (`appliance.config.secrets`), so a backup has both, and whoever takes it
puts the secrets themselves where the references stood. Whose a file is and who may read it says the table here, never the backup.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance import chains, fleet_secret, keyring, obtained, pki, served
from appliance.backup.bounds import BackupError
from appliance.config import migrations
from appliance.config.secrets import references
from appliance.features.base import File, System, Tree
from appliance.features.snmp_users import ENGINE, USERS
from appliance.features.tls import AUTHORITY, certificate_path, key_path

PUBLIC = 0o644
TOKENS = "/var/lib/sentry/tokens/tokens.json"
_RING = re.compile(rf"{re.escape(keyring.RING)}/[0-9a-f]{{64}}\.key")


@dataclass(frozen=True, slots=True)
class Place:
    """A file of the appliance's own, of root's: the group that may read it, its mode, and the unit that must take notice."""

    path: str
    group: str
    mode: int
    unit: str = ""


def _of_services() -> Iterator[Place]:
    for leaf in pki.LEAVES:
        yield Place(certificate_path(leaf.name), "root", 0o644, leaf.unit)
        yield Place(key_path(leaf.name), leaf.group, 0o640, leaf.unit)
    for service in served.SERVICES:
        yield Place(keyring.request_path(service), "root", 0o644)
        yield Place(keyring.order_path(service), "root", 0o644)
        yield Place(obtained.path(service), "root", 0o644)


PLACES: Mapping[str, Place] = {
    place.path: place
    for place in (
        Place(AUTHORITY, "root", 0o644),
        Place(pki.AUTHORITY_KEY, "root", 0o600),
        *_of_services(),
        Place(fleet_secret.OWN, fleet_secret.GROUP, 0o640, fleet_secret.UNIT),
        Place(ENGINE, "root", 0o640),
        Place(TOKENS, "root", 0o600),
    )
}
"""The files by their paths. Beside them: the keys of `keyring.RING` that the certificates and the open requests are for. What the
settings render or put in place by themselves (the site's fleet secret, passwords, trust anchors) follows from these."""
UNITS = tuple(dict.fromkeys(place.unit for place in PLACES.values() if place.unit))
"""Who must take notice of such files."""
NEVER_OVER = frozenset({TOKENS})
"""What is restored only where there is nothing: else a token that was revoked since would be good again."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tree` has references where `secrets` has the values; `files` are texts by their paths."""

    tree: dict[str, Any]
    secrets: dict[str, str]
    files: dict[str, str]


def gather(tree: Tree, system: System, reveal: Callable[[str], str]) -> bytes:
    """The payload for a backup of this tree on this machine. Raises `SecretError` where a secret is lost."""
    secrets = {reference: reveal(reference) for reference in references(tree)}
    paths = (*PLACES, *(keyring.place(name) for name in sorted(_keys(tree, system))))
    found = {path: system.read(path) for path in paths}
    files = {path: text for path, text in found.items() if text is not None}
    return msgspec.json.encode(Payload(tree=dict(tree), secrets=secrets, files=files))


def own_secrets(tree: Tree, system: System) -> tuple[str, ...]:
    """The texts of the appliance's own files that are secrets: its private keys, and what else only one service may read."""
    closed = (place.path for place in PLACES.values() if place.mode != PUBLIC and place.path != TOKENS)
    paths = (*closed, USERS, *(keyring.place(name) for name in sorted(_keys(tree, system))))
    found = (system.read(path) for path in paths)
    return tuple(text for text in found if text)


def _keys(tree: Tree, system: System) -> frozenset[str]:
    services = tuple(served.SERVICES)
    chained = (obtained.taken(service, system) for service in services)
    names = {chains.key_name(chain[0].public_key()) for chain in chained if chain is not None}
    return keyring.needed([tree], services, system) | names


def read(payload: bytes) -> Payload:
    """The payload, every path in it one that a backup may hold. Raises `BackupError`."""
    try:
        found = msgspec.json.decode(payload, type=Payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"found a payload that cannot be read ({error}); allowed: one of this format") from error
    stranger = next((path for path in found.files if path not in PLACES and not _RING.fullmatch(path)), None)
    if stranger is not None:
        raise BackupError(f"found the file {stranger[:64]!r} in it; allowed: keys and certificates of the appliance")
    return found


def settings(payload: Payload, schema: int) -> dict[str, Any]:
    """The settings that it holds, secrets in plain, brought from `schema` to that of this version. Raises `BackupError`."""
    plain: dict[str, Any] = _revealed(payload.tree, payload.secrets)
    try:
        return migrations.brought(plain, schema)
    except migrations.VersionError as error:
        raise BackupError(f"found a backup of settings that are not known here: {error}") from error


def _revealed(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _revealed(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_revealed(item, secrets) for item in value]
    return secrets.get(value, value) if isinstance(value, str) else value


def files(payload: Payload, system: System) -> dict[str, File]:
    """The files to put in place on this machine."""
    wanted = {path for path in payload.files if path not in NEVER_OVER or system.read(path) is None}
    return {path: _file(path, payload.files[path]) for path in sorted(wanted)}


def _file(path: str, text: str) -> File:
    place = PLACES.get(path) or Place(path, "root", 0o600)
    return File(text, mode=place.mode, group=place.group)
