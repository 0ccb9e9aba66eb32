"""Sessions: who is logged in, over which connection, how long idle, and the candidate each is editing.

A session and its candidate live in memory and end with configd: a handle is worth nothing after a restart, and nobody
commits what somebody else left half-edited.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.configd import api
from appliance.configd.errors import refused

HANDLE_BYTES = 32  # 256 bits: not to be guessed
PORTAL_SESSIONS = 64  # more than there are accounts; a portal gone wild cannot fill the memory
PORTAL_SESSIONS_OF_ONE = 32  # one account, e.g. in a script that never logs out, leaves room for the others
NOTICE_SECONDS = 3_600.0  # a new session is told what happened in the last hour
NOTICES = 32
SOURCE_CHARACTERS = 128
# Of one request; the longest brings an update, for which it has 1800 s. So no connection that is kept outlives its token by more.
REST_SECONDS = 1_860.0

Manner = Literal["cli", "portal", "automation", "alerts", "rest", "scanner"]


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection, as the kernel says (SO_PEERCRED); `connection` numbers it."""

    uid: int
    pid: int
    connection: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration being edited (secrets as references) and the digest of the running one it was made from."""

    tree: dict[str, Any]
    base: str


@dataclass(slots=True)
class Held:
    """One session. It ends when its account's role changes, or when one of the `credentials` it had is gone."""

    handle: str
    user: str
    role: api.Role
    privileged: bool
    manner: Manner
    peer: Peer
    source: str
    opened: float
    touched: float
    told: int
    privileged_since: float = 0.0
    reauthenticated: float | None = None
    by_certificate: bool = False
    """Whether the person came by a client certificate."""
    directory: str = ""
    """The directory's server that said who the person is; "" for an account of this appliance."""
    editing: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)
    """Held by a verb that changes the candidate or what runs (`roles.EDITS`) from when it is judged until it is done."""
    credentials: frozenset[str] = frozenset()
    password_ended: bool = False
    password_excused: bool = False
    """Whether the account's password is older than it may be: then the session takes a new one, and nothing else."""
    last_login: str = ""
    candidate: Candidate | None = None
    scopes: frozenset[api.Scope] = frozenset()
    """Of a token."""
    maker: str = ""
    """The account that made the token, and whose going away ends it."""
    adopted: Candidate | None = None
    """What the token was editing when this session began."""
    keeps: bool = False
    """Whether the next session of the token goes on with the candidate."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the running configuration says of sessions."""

    cli_idle_seconds: int
    portal_idle_seconds: int
    max_cli: int
    directory_seconds: int = 28_800
    """How long one of a person of the directory stands."""

    def idle_seconds(self, manner: Manner) -> int:
        """How long a session of this manner may be idle."""
        return self.portal_idle_seconds if manner == "portal" else self.cli_idle_seconds


@dataclass(slots=True)
class Sessions:
    """All sessions. Safe to use from several threads."""

    clock: Callable[[], float] = time.monotonic
    _held: dict[str, Held] = field(default_factory=dict)
    _notices: list[tuple[float, str]] = field(default_factory=list)
    _told_before: int = 0
    _desks: dict[str, tuple[float, Candidate]] = field(default_factory=dict)
    """What each token is editing between its requests, and when it last did."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def open(
        self,
        user: str,
        role: api.Role,
        manner: Manner,
        peer: Peer,
        *,
        source: str,
        bounds: Bounds,
        credentials: frozenset[str] = frozenset(),
        scopes: frozenset[api.Scope] = frozenset(),
        maker: str = "",
        keeps: bool = False,
        directory: str = "",
    ) -> Held:
        """A new session. Raises a `session` refusal when the limit for its manner is reached."""
        with self._lock:
            self.expire(bounds)
            self._within_limits(user, manner, bounds)
            now = self.clock()
            held = Held(
                handle=secrets.token_hex(HANDLE_BYTES),
                user=user,
                role=role,
                privileged=manner in ("automation", "rest"),
                manner=manner,
                peer=peer,
                source=plain(source),
                opened=now,
                touched=now,
                told=self._first_notice(now),
                credentials=credentials,
                scopes=scopes,
                maker=maker,
                keeps=keeps,
                directory=directory,
            )
            if keeps and user in self._desks:
                held.candidate = held.adopted = self._desks[user][1]
            self._held[held.handle] = held
            return held

    def _within_limits(self, user: str, manner: Manner, bounds: Bounds) -> None:
        users = [held.user for held in self._held.values() if held.manner == manner]
        limit = {"cli": bounds.max_cli, "portal": PORTAL_SESSIONS}.get(manner)
        if limit is not None and len(users) >= limit:
            raise refused("session", f"the limit of {limit} concurrent sessions is reached; end another session first")
        if manner == "portal" and users.count(user) >= PORTAL_SESSIONS_OF_ONE:
            raise refused("session", f"the limit of {PORTAL_SESSIONS_OF_ONE} sessions of one account is reached")

    def serves(self, connection: int) -> bool:
        """Whether a session is bound to this connection."""
        with self._lock:
            return any(held.peer.connection == connection and held.manner != "portal" for held in self._held.values())

    def find(self, handle: str, peer: Peer, bounds: Bounds) -> Held:
        """The session `handle` of this peer. Raises a `session` refusal when there is none, it is another's or it is over.

        Only who opened a session may use it: the same uid and, but for the portal, the same connection.
        """
        with self._lock:
            self.expire(bounds)
            held = self._held.get(handle)
            mine = held is not None and held.peer.uid == peer.uid
            if held is None or not mine or (held.manner != "portal" and held.peer.connection != peer.connection):
                raise refused("session", "there is no such session: it was closed, was idle too long, or never was")
            return held

    def touch(self, held: Held) -> None:
        """Idle time starts again."""
        held.touched = self.clock()

    def close(self, handle: str) -> None:
        """End one session."""
        with self._lock:
            self._held.pop(handle, None)

    def close_connection(self, connection: int) -> tuple[Held, ...]:
        """A connection ended: so do the sessions bound to it. Returns them."""
        with self._lock:
            gone = [one for one in self._held.values() if one.peer.connection == connection and one.manner != "portal"]
            for held in gone:
                del self._held[held.handle]
                self._leave(held)
            return tuple(gone)

    def _leave(self, held: Held) -> None:
        """What a token was editing stays for its next request, if this one changed it."""
        if not held.keeps or held.candidate is held.adopted:
            return
        if held.candidate is None:
            self._desks.pop(held.user, None)
        else:
            self._desks[held.user] = (self.clock(), held.candidate)

    def close_user(self, user: str) -> None:
        """A token is no more: nor are its sessions, and what it was editing."""
        with self._lock:
            for held in [one for one in self._held.values() if one.user == user]:
                del self._held[held.handle]
            self._desks.pop(user, None)

    def expire(self, bounds: Bounds) -> tuple[Held, ...]:
        """End the sessions that were idle too long; returns them."""
        with self._lock:
            now = self.clock()
            self._desks = {
                user: desk for user, desk in self._desks.items() if now - desk[0] < bounds.idle_seconds("rest")
            }
            gone = [
                one
                for one in self._held.values()
                if now - one.touched >= bounds.idle_seconds(one.manner)
                or (one.manner == "rest" and now - one.opened >= REST_SECONDS)
                or (one.directory and now - one.opened >= bounds.directory_seconds)
            ]
            for held in gone:
                del self._held[held.handle]
            return tuple(gone)

    def all(self) -> tuple[Held, ...]:
        """Every open session, oldest first."""
        with self._lock:
            return tuple(self._held.values())

    def follow(
        self,
        roles: Mapping[str, api.Role],
        credentials: Mapping[str, frozenset[str]],
        *,
        author: Held | None = None,
        directory: frozenset[str] = frozenset(),
    ) -> None:
        """After a commit: a session ends when its account is gone or has another role, or when the account lost a
        credential (a changed password, a removed key). The `author` who changed its own has just shown who it is. One of a person
        of the directory ends when its settings (`directory`) are others, or an account here has that name."""
        with self._lock:
            for held in self.all():
                if held.manner in ("automation", "alerts", "scanner"):
                    continue
                if held.manner == "rest":  # a token ends with the account that made it
                    if held.maker and roles.get(held.maker) != "administrator":
                        self.close(held.handle)
                    continue
                if held.directory:
                    if held.user in roles or not held.credentials <= directory:
                        self.close(held.handle)
                    continue
                now = credentials.get(held.user, frozenset())
                if roles.get(held.user) != held.role or (held is not author and not held.credentials <= now):
                    self.close(held.handle)
                elif held is author:
                    held.credentials = now

    def candidates(self) -> Iterable[object]:
        """The trees being edited."""
        with self._lock:
            kept = [candidate.tree for _when, candidate in self._desks.values()]
        return [*kept, *(held.candidate.tree for held in self.all() if held.candidate is not None)]

    # --- notices -------------------------------------------------------------------------------------------------

    def tell_all(self, notice: str) -> None:
        """Say something to every session, once."""
        with self._lock:
            self._notices.append((self.clock(), notice))
            surplus = len(self._notices) - NOTICES
            if surplus > 0:
                del self._notices[:surplus]
                self._told_before += surplus

    def notices(self, held: Held) -> tuple[str, ...]:
        """What this session was not told yet."""
        with self._lock:
            new = self._notices[max(0, held.told - self._told_before) :]
            held.told = self._told_before + len(self._notices)
            return tuple(notice for _when, notice in new)

    def _first_notice(self, now: float) -> int:
        old = sum(1 for when, _notice in self._notices if when < now - NOTICE_SECONDS)
        return self._told_before + old


def plain(source: str) -> str:
    """Where a session comes from, as its client says: for people, so nothing unprintable and not without end."""
    return "".join(character for character in source[:SOURCE_CHARACTERS] if character.isprintable())
