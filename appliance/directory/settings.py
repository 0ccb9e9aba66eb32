"""The settings file of the service that asks the directory, `/etc/sentry/directory.json`: rendered by configd, read at the start.

It holds no secret: the file of the account's password is named by path. An unknown key is an error.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.client_tls import TlsVersion
from appliance.settings_file import read

SETTINGS_PATH = Path("/etc/sentry/directory.json")

Role = Literal["administrator", "operator", "auditor"]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, named fields only, nothing unknown."""


class Server(_Data, frozen=True, kw_only=True):
    """One server of the directory; its certificate must be for `host`."""

    host: str
    port: int


class Group(_Data, frozen=True, kw_only=True):
    """A group of the directory, by its distinguished name, and what its members may do here."""

    dn: str
    role: Role


class Settings(_Data, frozen=True, kw_only=True):
    """The whole file. The servers are asked in this order, and of the groups the first that somebody is in says their role.

    `bind` says as whom people are looked up: the appliance's own `account`, whose password lies in `password_path`; or the
    person, whose entry is then `user_attribute` right below `base`. `membership` names the group's attribute that has its
    members; `nested` is Active Directory's, which also finds members of groups in it (MS-ADTS 3.1.1.3.4.4,
    LDAP_MATCHING_RULE_TRANSITIVE_EVAL).
    """

    format: Literal[1] = 1
    servers: Annotated[tuple[Server, ...], msgspec.Meta(min_length=1)]
    security: Literal["ldaps", "starttls"]
    trust: str
    base: str
    bind: Literal["account", "user"]
    user_attribute: str
    membership: Literal["member", "uniqueMember", "nested"]
    groups: Annotated[tuple[Group, ...], msgspec.Meta(min_length=1)]
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=60)]
    account: str = ""
    password_path: str = ""
    minimum: TlsVersion = "1.2"
    maximum: TlsVersion = "1.2"

    def __post_init__(self) -> None:
        """Refuse what cannot be run with; msgspec turns the ValueError into one that names the place."""
        if self.bind == "account" and not (self.account and self.password_path):
            raise ValueError("account: found none; allowed: an account with a password_path, because bind is account")


def load(path: Path = SETTINGS_PATH) -> Settings:
    """Read the settings file; raises `settings_file.SettingsError`."""
    return read(path, Settings)
