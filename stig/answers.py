"""The site's answer file: what only the site can say, never read from the configuration under test."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from stig.errors import InputError
from stig.rules import Catalogue

SHORT_BANNER = "I've read and consent to terms in IS user agreem't"  # V-250987 names this short form literally

Account = Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]  # a paragraph; a checklist's field takes 32,767
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the site says of a rule that it answers for: the status, why, who decided that, and when. Reports show it as a
    statement beside what the scan itself found; it never takes the place of a look that failed."""

    status: Literal["not_a_finding", "open", "not_applicable"]
    justification: Words
    authority: Words
    date: date


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`max_cli_sessions` answers V-250982, `authorised_users` and `automation_accounts` V-251003, `banner` V-250987,
    `management_networks` V-250983 (the networks an administrator may come from), `alert_recipients` V-251021
    and V-251035 (the mail addresses of the ISSO, the ISSM and the SCA), `approved_authorities` V-251005 and V-251032 (a file
    with their certificates in PEM, relative to the answer file), `supported_releases` V-251007, `needed_ports` V-251022 (by zone,
    the TCP ports that must answer there), `designated_servers` V-251024 (where devices' log-ins may go), `approved_routes`
    V-251034 (network and next hop, as `ip route` writes them), `uem_addresses` V-250985. `statements` are by rule."""

    max_cli_sessions: Annotated[int, msgspec.Meta(ge=1, le=10)]
    authorised_users: tuple[Account, ...]
    management_networks: tuple[str, ...]
    alert_recipients: tuple[Annotated[str, msgspec.Meta(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...] = ()
    automation_accounts: tuple[Account, ...] = ()
    banner: Annotated[str, msgspec.Meta(min_length=1)] = SHORT_BANNER
    approved_authorities: Path | None = None
    supported_releases: tuple[Words, ...] | None = None
    needed_ports: dict[Words, tuple[Port, ...]] | None = None
    designated_servers: tuple[Words, ...] | None = None
    approved_routes: tuple[Words, ...] | None = None
    uem_addresses: tuple[Words, ...] | None = None
    statements: dict[Words, Statement] = {}


def load(path: Path, catalogue: Catalogue) -> Answers:
    """Read an answer file; `InputError` names the file, the place in it and what is allowed there."""
    try:
        read = msgspec.yaml.decode(path.read_bytes(), type=Answers, dec_hook=_decoded)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error
    for rule in read.statements:
        _known(path, rule, catalogue)
    if read.approved_authorities is None:
        return read
    named = path.parent / read.approved_authorities
    if not named.is_file():
        raise InputError(f"{path}: approved_authorities: {named}: there is no such file")
    return msgspec.structs.replace(read, approved_authorities=named)


def _known(path: Path, rule: str, catalogue: Catalogue) -> None:
    try:
        catalogue.rule(rule)
    except InputError as error:
        raise InputError(f"{path}: statements: {error}") from error


def _decoded(kind: type, text: object) -> object:
    if kind is Path and isinstance(text, str):
        return Path(text)
    raise ValueError(f"found {type(text).__name__}; allowed: a path")
