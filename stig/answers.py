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
    and V-251035 (the mail addresses of the ISSO, the ISSM and the SCA), `approved_authorities` V-251005 (a file with
    their certificates in PEM, relative to the answer file)."""

    max_cli_sessions: Annotated[int, msgspec.Meta(ge=1, le=10)]
    authorised_users: tuple[Account, ...]
    management_networks: tuple[str, ...]
    alert_recipients: tuple[Annotated[str, msgspec.Meta(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...] = ()
    automation_accounts: tuple[Account, ...] = ()
    banner: Annotated[str, msgspec.Meta(min_length=1)] = SHORT_BANNER
    approved_authorities: Path | None = None


def load(path: Path) -> Answers:
    """Read an answer file; `InputError` names the file, the place in it and what is allowed there."""
    try:
        read = msgspec.yaml.decode(path.read_bytes(), type=Answers, dec_hook=_decoded)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error
    if read.approved_authorities is None:
        return read
    named = path.parent / read.approved_authorities
    if not named.is_file():
        raise InputError(f"{path}: approved_authorities: {named}: there is no such file")
    return msgspec.structs.replace(read, approved_authorities=named)


def _decoded(kind: type, text: object) -> object:
    if kind is Path and isinstance(text, str):
        return Path(text)
    raise ValueError(f"found {type(text).__name__}; allowed: a path")
