"""Backups: made, restored, and sent elsewhere."""

from typing import Annotated

import msgspec

from appliance.configd.api.words import Secret, SessionVerb, Word

BackupText = Annotated[str, msgspec.Meta(max_length=1_500_000)]
"""1 MiB in base64 with line ends: `appliance.backup.sealing`."""


class ExportBackup(SessionVerb, frozen=True, kw_only=True, tag="backup.export"):
    """Seal what runs, its secrets and the appliance's keys and certificates with a passphrase; or, with a `name`, give out one
    that lies here, sealed as it is. Result: `Backup`."""

    passphrase: Secret = ""
    name: Word = ""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """The file (base64), of which appliance and of when (ISO 8601) it is, and the version of the product that made it."""

    host: str
    when: str
    product: str
    backup: str


class RestoreBackup(SessionVerb, frozen=True, kw_only=True, tag="backup.restore"):
    """Make what a backup (base64, with or without its two lines) holds the running configuration. Result: `Committed`.

    `confirm_minutes`, `check_only` and `digest` are as for `Commit`; the digest is that of what runs. Files that the backup
    brings return with a commit that nobody confirms, and with no later rollback.
    """

    backup: BackupText
    passphrase: Secret
    check_only: bool = False
    confirm_minutes: int | None = None
    digest: Word = ""


class SendBackup(SessionVerb, frozen=True, kw_only=True, tag="backup.send"):
    """Have a backup that lies here (without a `name`: the newest) sent to every destination of the configuration, now. Result:
    Facts, with what came of each."""

    name: Word = ""
