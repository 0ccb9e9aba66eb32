"""The settings file of the service that sends backups, `/etc/sentry/offsite.json`: rendered by configd, read at the start.

It holds no secret: the file of the secret access keys is named by path. An unknown key is an error.
"""

from pathlib import Path
from typing import Literal

import msgspec

from appliance.client_tls import TlsVersion
from appliance.settings_file import read

SETTINGS_PATH = Path("/etc/sentry/offsite.json")


class Sftp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="sftp"):
    """A server for SFTP: who logs in there, and the keys of which it must have one (OpenSSH public keys, without comments).
    `directory` is where the files go; empty: where the log-in leads."""

    host: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    directory: str = ""


class S3(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="s3"):
    """A bucket: `endpoint` is the server's URL (https), `prefix` stands before the names of the files, `trust` is the
    file of the authorities believed for the server (PEM)."""

    endpoint: str
    region: str
    bucket: str
    access_key_id: str
    trust: str
    prefix: str = ""
    minimum: TlsVersion = "1.2"
    maximum: TlsVersion = "1.2"


Destination = Sftp | S3


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file: the destinations by name. `secrets` is the file of the buckets' secret access keys, by name (JSON)."""

    format: Literal[1] = 1
    destinations: dict[str, Destination]
    secrets: str


def load(path: Path = SETTINGS_PATH) -> Settings:
    """Read the settings file; raises `settings_file.SettingsError`."""
    return read(path, Settings)
