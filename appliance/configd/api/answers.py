"""How configd is reached, and the answer to a verb: its result, or why it was not served."""

from typing import Literal

import msgspec

SOCKET = "/run/sentry-configd/configd.sock"
LINE_BYTES = 4_194_304  # a site configuration with certificates is under 1 MiB; the rest is head-room
RefusalKind = Literal[
    "authentication",
    "locked",
    "permission",
    "privilege",
    "session",
    "invalid",
    "lockout",
    "conflict",
    "apply",
    "unavailable",
]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a verb was not served.

    `kind`: `authentication`, `locked`, `permission`, `privilege` (give `enable`; at the portal: the
    password again), `session` (unknown or expired), `invalid`
    (bad value; `problems` says where), `lockout` (the author could not come back; a commit with a time limit may), `conflict`
    (changed meanwhile), `apply` (the old revision stands again), `unavailable`.
    """

    kind: RefusalKind
    message: str
    problems: tuple[str, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one verb."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    refusal: Refusal | None = None
