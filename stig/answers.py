"""The site's answer file: what only the site can say, never read from the configuration under test."""

from pathlib import Path
from typing import Annotated

import msgspec

from stig.errors import InputError

SHORT_BANNER = "I've read and consent to terms in IS user agreem't"  # V-250987 names this short form literally

Account = Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`max_cli_sessions` answers V-250982, `authorised_users` and `automation_accounts` V-251003, `banner` V-250987,
    `management_networks` V-250983 (the networks an administrator may come from), `alert_recipients` V-251021
    and V-251035 (the mail addresses of the ISSO, the ISSM and the SCA)."""

    max_cli_sessions: Annotated[int, msgspec.Meta(ge=1, le=10)]
    authorised_users: tuple[Account, ...]
    management_networks: tuple[str, ...]
    alert_recipients: tuple[Annotated[str, msgspec.Meta(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...] = ()
    automation_accounts: tuple[Account, ...] = ()
    banner: Annotated[str, msgspec.Meta(min_length=1)] = SHORT_BANNER


def load(path: Path) -> Answers:
    """Read an answer file; `InputError` names the file, the place in it and what is allowed there."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Answers)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error
