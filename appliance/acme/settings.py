"""The settings file of the ACME service, `/etc/sentry/acme.json`: rendered by configd, read at the start.

It holds no secret: the file of the key that binds the account (RFC 8555 7.3.4) is named by path. An unknown key is an error.
"""

from pathlib import Path
from typing import Literal

import msgspec

from appliance.client_tls import TlsVersion
from appliance.settings_file import read

SETTINGS_PATH = Path("/etc/sentry/acme.json")


class Binding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The account elsewhere that ours belongs to: its key's name, and the file of the key (base64url, HS256)."""

    key_id: str
    key_path: str


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `trust` is a PEM file; `listen` are the addresses at which http-01 proofs are fetched, on `port`."""

    format: Literal[1] = 1
    directory: str
    trust: str
    contacts: tuple[str, ...] = ()
    terms_agreed: bool = False
    binding: Binding | None = None
    minimum: TlsVersion = "1.2"
    maximum: TlsVersion = "1.2"
    listen: tuple[str, ...]
    port: int = 80


def load(path: Path = SETTINGS_PATH) -> Settings:
    """Read the settings file; raises `settings_file.SettingsError`."""
    return read(path, Settings)
