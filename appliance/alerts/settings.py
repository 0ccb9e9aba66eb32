"""The settings file of the alert service, `/etc/sentry/alerts.json`: rendered by configd, read at the start.

It holds no secret: the password's file is named by path. An unknown key is an error, so that a setting can never be silently
without effect.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.alerts.table import ALERTS, Action
from appliance.client_tls import TlsVersion
from appliance.settings_file import read

SETTINGS_PATH = Path("/etc/sentry/alerts.json")

Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, named fields only, nothing unknown."""


class Server(_Data, frozen=True, kw_only=True):
    """The mail server. `security`: TLS from the first byte (`tls`, RFC 8314) or after STARTTLS (RFC 3207); without there is no
    mail. `trust` is a PEM file; `password_path` is empty where nobody logs in."""

    host: str
    port: int
    security: Literal["starttls", "tls"]
    trust: str
    sender: str
    account: str = ""
    password_path: str = ""
    minimum: TlsVersion = "1.2"
    maximum: TlsVersion = "1.2"


class Settings(_Data, frozen=True, kw_only=True):
    """The whole file. `actions` says of every alert what is done with it; where `recipients` is empty nobody gets mail."""

    format: Literal[1] = 1
    host_name: str
    server: Server | None = None
    recipients: tuple[str, ...] = ()
    per_hour: Annotated[int, msgspec.Meta(ge=1)] = 10
    batch_minutes: Annotated[int, msgspec.Meta(ge=0)] = 5
    actions: dict[str, Action]
    disk_percent: Percent = 90
    audit_disk_percent: Percent = 75
    refused_logins: Annotated[int, msgspec.Meta(ge=1)] = 10

    def __post_init__(self) -> None:
        """Refuse what cannot be run with; msgspec turns the ValueError into one that names the place."""
        if self.recipients and self.server is None:
            raise ValueError("server: found none; allowed: one, because there are recipients")
        if set(self.actions) != set(ALERTS):
            wrong = ", ".join(sorted(set(self.actions) ^ set(ALERTS)))
            raise ValueError(f"actions: found too many or too few: {wrong}; allowed: an action for every alert")

    def action(self, alert: str) -> Action:
        """What is done with an alert of this name."""
        return self.actions[alert]


def load(path: Path = SETTINGS_PATH) -> Settings:
    """Read the settings file; raises `settings_file.SettingsError`."""
    return read(path, Settings)
