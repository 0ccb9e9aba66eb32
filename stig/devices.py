"""The devices that the gateway is tried with: what a site sets up for an assessor, so that behaviour is seen and not settings.

One is registered and as it should be; the others each lack one thing, and must be refused.
"""

from pathlib import Path
from typing import Annotated

import msgspec

from stig.errors import InputError

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A certificate and its private key, files in PEM."""

    certificate: Path
    key: Path


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A device by its id, as ActiveSync has it."""

    device_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,32}$")]


class Devices(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All are `user`'s. `identity` is the certificate that names them; `registered`, `compromised` (found by the UEM to be) and
    `unregistered` (not known to it) show it. `revoked` was taken back by the same authority, `unmapped` is a good one that names
    nobody, `stranger` was issued by an authority that nobody approved."""

    user: _Text
    identity: Pair
    registered: Device
    compromised: Device
    unregistered: Device
    revoked: Pair
    unmapped: Pair
    stranger: Pair


def load(path: Path) -> Devices:
    """Read such a file; names of files are relative to it. `InputError` says what is wrong and what is allowed."""
    try:
        read = msgspec.yaml.decode(path.read_bytes(), type=Devices, dec_hook=_decoded)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error
    pairs = {name: getattr(read, name) for name in ("identity", "revoked", "unmapped", "stranger")}
    return msgspec.structs.replace(read, **{name: _beside(path, name, pair) for name, pair in pairs.items()})


def _beside(path: Path, name: str, pair: Pair) -> Pair:
    found = Pair(certificate=path.parent / pair.certificate, key=path.parent / pair.key)
    for file in (found.certificate, found.key):
        if not file.is_file():
            raise InputError(f"{path}: {name}: {file}: there is no such file")
    return found


def _decoded(kind: type, text: object) -> object:
    if kind is Path and isinstance(text, str):
        return Path(text)
    raise ValueError(f"found {type(text).__name__}; allowed: a path")
