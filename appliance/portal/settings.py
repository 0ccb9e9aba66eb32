"""The portal's settings file, `/etc/sentry/portal.json`: rendered by configd, read by the portal at its start.

It holds no secret. An unknown key is an error, so that a setting can never be silently
without effect.
"""

from pathlib import Path
from typing import Literal

import msgspec

from appliance.settings_file import read
from appliance.tls_proxy.settings import PORTAL_SOCKET

SETTINGS_PATH = Path("/etc/sentry/portal.json")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    `hosts` are the names and addresses people may type before `:8443` (without port, IPv6 without brackets): a `Host`
    header that names another is refused, which ends DNS rebinding.
    """

    format: Literal[1] = 1
    port: int = 8443
    hosts: tuple[str, ...]
    socket_path: str = PORTAL_SOCKET
    idle_minutes: int = 15  # V-250984
    login_attempts_per_minute: int = (
        10  # per source and per account; sentry-tally locks the account for a source besides
    )
    certificate_login: Literal["off", "optional", "required"] = "off"
    banner_path: str = "/etc/sentry/banner.txt"
    configd_socket: str = "/run/sentry-configd/configd.sock"

    def __post_init__(self) -> None:
        """Refuse what no portal can be run with; msgspec turns the ValueError into one that names the place."""
        if not self.hosts:
            raise ValueError("hosts: found none; allowed: at least one host name or address")
        for name, number, lowest, highest in (
            ("port", self.port, 1, 65_535),
            ("idle_minutes", self.idle_minutes, 1, 1_440),
            ("login_attempts_per_minute", self.login_attempts_per_minute, 1, 600),
        ):
            if not lowest <= number <= highest:
                raise ValueError(f"{name}: found {number}; allowed: {lowest} to {highest}")


def load(path: Path = SETTINGS_PATH) -> Settings:
    """Read the settings file; raises `settings_file.SettingsError`."""
    return read(path, Settings)
