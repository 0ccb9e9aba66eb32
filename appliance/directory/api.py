"""What configd asks the service that asks the directory, over a Unix socket: one line of JSON each way, as in
`sentry_runtime.control`."""

from typing import Annotated, Literal

import msgspec

from appliance.directory.settings import Role

SOCKET = "/run/sentry-directory/directory.sock"
LINE_BYTES = 8_192  # a name and a password, each octet of it escaped
WORDS_CHARACTERS = 300  # of a problem: one line for people

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Words = Annotated[str, msgspec.Meta(max_length=WORDS_CHARACTERS)]


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    """Every request carries its name in `do`."""


class Look(_Ask, frozen=True, kw_only=True, tag="directory.look"):
    """Whether each server can be asked: it is dialled, and shown the appliance's own account where there is one. Result:
    `Report`."""


class Status(_Ask, frozen=True, kw_only=True, tag="directory.status"):
    """What the last look said; nobody is dialled for it. Result: `Report`, without a server where there was none yet."""


class Prove(_Ask, frozen=True, kw_only=True, tag="directory.prove"):
    """Whether the password is this person's, and what they may do. Result: `Proof`."""

    user: Name
    password: Password

    def __repr__(self) -> str:
        """Without the password: a request may end in a traceback."""
        return f"Prove(user={self.user!r})"


Ask = Look | Status | Prove

Outcome = Literal["proved", "refused", "silent"]
"""The directory says yes, it says no, or it says nothing."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory says of a person: with `proved` their role and the server that said so; with the others why, for the
    audit trail and not for who asks to be let in."""

    outcome: Outcome
    role: Role | None = None
    server: Words = ""
    problem: Words = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Of one server: what keeps it from being asked ("" where nothing does), and how long the look took, in seconds."""

    server: Words
    problem: Words = ""
    seconds: float = 0.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The servers, in the order in which they are asked."""

    servers: tuple[Standing, ...]

    @property
    def silent(self) -> bool:
        """Whether it is known that nobody can be asked."""
        return bool(self.servers) and all(one.problem for one in self.servers)
