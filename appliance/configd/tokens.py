"""API tokens: who has been given one, until when, for what, and from where. Of a token itself only a digest is kept.

They lie beside the configuration and not in it, because a rollback must not bring back a token that was revoked. A token is
256 random bits, so SHA-256 of it cannot be guessed backwards; a slow hash, as for passwords, would only slow down each request.
Each is good while the account that made it is an administrator, and never longer than `MOST_DAYS`.
"""

import hashlib
import ipaddress
import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from appliance.apply import stamp
from appliance.config.store import StoreError
from appliance.configd import api
from appliance.configd.errors import refused
from appliance.configd.scopes import OF_ROLE, usual
from appliance.disk import put

PREFIX = "sentry_"  # so that scanners of repositories and logs know one when they see it
TOKEN = re.compile(r"sentry_[A-Za-z0-9_-]{43}")  # 32 bytes, as secrets.token_urlsafe writes them
TOKEN_BYTES = 32
NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
TOKENS = 64  # a fleet's tools have a few; each more is one nobody remembers
DEFAULT_DAYS, MOST_DAYS = 90, 365
DAY_SECONDS = 86_400
NETWORKS = 16
USE_SECONDS = 60.0  # how late the last use may be on the disk: a scrape every second is no write every second
USER = "token:{}"  # no account has a colon in its name

_log = logging.getLogger(__name__)


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One token. Times are seconds since the epoch; `networks` empty: from everywhere the portal answers."""

    name: str
    digest: str
    role: api.Role
    scopes: tuple[api.Scope, ...]
    networks: tuple[str, ...]
    made_by: str
    made: float
    expires: float
    used: float = 0.0
    used_from: str = ""


class Tokens:
    """The tokens in `folder` (root only), in one file that is replaced whole. `clock` gives seconds since the epoch. Safe to
    use from several threads."""

    def __init__(self, folder: Path, *, clock: Callable[[], float]) -> None:
        self._place = folder / "tokens.json"
        self._clock = clock
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._load()

    def _load(self) -> None:
        self._seen = self._lies()
        self._trouble: StoreError | None = None
        try:
            self._held = {one.name: one for one in self._read()}
        except StoreError as error:  # then no token is good, and everything else goes on
            self._held, self._trouble = {}, error
            _log.error("%s", error)

    def _follow(self) -> None:
        """A backup that is restored, and one that nobody confirms, put another file there. `_lock` is held."""
        if self._lies() != self._seen:
            self._load()

    def _lies(self) -> tuple[int, int] | None:
        """Which file lies there; each that is written is another one."""
        try:
            state = self._place.stat()
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns

    def _read(self) -> tuple[Token, ...]:
        try:
            return msgspec.json.decode(self._place.read_bytes(), type=tuple[Token, ...])
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{self._place}: cannot be read: {error}") from error

    def _write(self, held: dict[str, Token]) -> None:
        """The file first: what could not be written is not so in memory either. One that cannot be read stays as it is."""
        self._readable()
        try:
            put(self._place, msgspec.json.encode(tuple(held.values())))
        except OSError as error:
            raise StoreError(f"{self._place}: cannot be written: {error.strerror or error}") from error
        self._held, self._seen = held, self._lies()

    def _readable(self) -> None:
        if self._trouble is not None:
            raise self._trouble

    def all(self) -> tuple[Token, ...]:
        """Every token, by name; those that have ended, too, until they are revoked. Raises `StoreError`."""
        with self._lock:
            self._follow()
        self._readable()
        return tuple(one for _name, one in sorted(self._held.items()))

    def create(self, verb: api.CreateToken, made_by: str) -> tuple[Token, str]:
        """A new token and its text, which is nowhere else. Raises an `invalid` refusal."""
        now = self._clock()
        days = DEFAULT_DAYS if verb.days is None else verb.days
        text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        token = Token(
            name=_name(verb.name),
            digest=_digest(text),
            role=verb.role,
            scopes=_scopes(verb),
            networks=_networks(verb.networks),
            made_by=made_by,
            made=now,
            expires=now + _days(days) * DAY_SECONDS,
        )
        with self._lock:
            self._follow()
            if token.name in self._held:
                raise refused(
                    "invalid", f"found a token {token.name} already; allowed: another name, or revoke it first"
                )
            if len(self._held) >= TOKENS:
                raise refused("invalid", f"found {TOKENS} tokens already; allowed: as many. Revoke one first")
            self._write({**self._held, token.name: token})
        return token, text

    def revoke(self, name: str) -> None:
        """It is gone, at once. Raises an `invalid` refusal where there is none of that name."""
        with self._lock:
            self._follow()
            if name not in self._held:
                known = ", ".join(sorted(self._held)) or "none yet"
                raise refused("invalid", f"found no token {name[:64]!r}; allowed: {known}")
            self._write({key: one for key, one in self._held.items() if key != name})

    def find(self, text: str, source: str, administrators: Iterable[str]) -> Token | None:
        """The token that this text is, if it is good now, from there; None otherwise. Why not is nobody's business."""
        if TOKEN.fullmatch(text) is None:
            return None
        digest = _digest(text)
        with self._lock:
            self._follow()
        found = next((one for one in self._held.values() if secrets.compare_digest(one.digest, digest)), None)
        if found is None or self._clock() >= found.expires or found.made_by not in administrators:
            return None
        return found if not found.networks or _within(source, found.networks) else None

    def note_use(self, name: str, source: str) -> None:
        """It was used, from there. Written when the last time that was written is `USE_SECONDS` ago. What cannot be written is
        said in the log: a full disk must not keep out who would make room."""
        now = self._clock()
        with self._lock:
            self._follow()
            held = self._held.get(name)
            if held is None or 0 <= now - held.used < USE_SECONDS:
                return
            try:
                self._write({**self._held, name: msgspec.structs.replace(held, used=now, used_from=source)})
            except StoreError as error:
                _log.error("the use of the token %s could not be remembered: %s", name, error)


def told(token: Token) -> api.TokenFacts:
    """What may be said of a token."""
    return api.TokenFacts(
        name=token.name,
        role=token.role,
        scopes=token.scopes,
        networks=token.networks,
        made_by=token.made_by,
        made=stamp(token.made),
        expires=stamp(token.expires),
        last_use=stamp(token.used) if token.used else "",
        last_source=token.used_from,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise refused(
            "invalid",
            f"found the name {name[:64]!r}; allowed: 1 to 32 lower-case letters, digits and dashes, a letter first",
        )
    return name


def _days(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise refused("invalid", f"found {days} days; allowed: 1 to {MOST_DAYS}")
    return days


def _scopes(verb: api.CreateToken) -> tuple[api.Scope, ...]:
    """The scopes asked for, each once; those usual for the role where none is named."""
    surplus = sorted(set(verb.scopes) - OF_ROLE[verb.role])
    if surplus:
        allowed = ", ".join(sorted(OF_ROLE[verb.role]))
        raise refused("invalid", f"found the scope {surplus[0]}; allowed for the role {verb.role}: {allowed}")
    return tuple(sorted(set(verb.scopes) or usual(verb.role)))


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    if len(texts) > NETWORKS:
        raise refused("invalid", f"found {len(texts)} networks; allowed: at most {NETWORKS}")
    try:
        return tuple(str(ipaddress.ip_network(text)) for text in texts)
    except ValueError as error:
        raise refused("invalid", f"found {error}; allowed: networks such as 192.0.2.0/24") from error


def _within(source: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(one) for one in networks)
