"""The door for tokens: a token becomes a session, and administrators give tokens out and take them back."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from appliance.configd import accounts, api
from appliance.configd.attempts import Attempts
from appliance.configd.errors import refused
from appliance.configd.roles import FRESH_SECONDS, fresh_seconds
from appliance.configd.sessions import Bounds, Held, Peer, Sessions, plain
from appliance.configd.tokens import USER, Tokens, told
from appliance.tally import network_of

LOCKED = "tokens from this address are locked after failed ones; try again later"
WRONG = "the token is not good: it is wrong, has ended or was revoked, or is not for this address"
UNPROVED = (
    "a token is given out for the enable secret in the same request, or for your password, given again within the last "
    f"{FRESH_SECONDS // 60} minutes"
)
OF_AN_ACCOUNT = (
    "a token ends with the account that made it, and you have none here; log in by an account of this appliance"
)
AUTOMATION = "root"


class House(Protocol):
    """What the door needs of the gate."""

    def tree(self) -> Mapping[str, Any]:
        """The running configuration."""

    def bounds(self) -> Bounds:
        """What it says of sessions."""

    def prove(self, user: str, secret: str, source: str) -> None:
        """Raise a refusal unless `secret` is the enable secret."""

    def note(self, event: str, user: str, *, source: str = "", result: str = "ok", detail: str = "") -> None:
        """Audit something."""


class TokenDoor:
    """`clock` gives monotonic seconds."""

    def __init__(
        self, tokens: Tokens, sessions: Sessions, attempts: Attempts, house: House, *, clock: Callable[[], float]
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._attempts = attempts
        self._house = house
        self._clock = clock

    def open(self, peer: Peer, verb: api.LoginToken) -> Held:
        """The session of a token. Raises a refusal, the same for all that is wrong with a token."""
        tree, source = self._house.tree(), plain(verb.source)
        counted = network_of(source)
        if self._locked(counted, tree):
            raise refused("locked", LOCKED)
        token = self._tokens.find(verb.token, source, self._administrators(tree))
        if token is None:
            self._attempts.failed(counted)
            if self._locked(counted, tree):
                self._house.note("token.locked", "", source=source, result="locked", detail="after failed tokens")
            raise refused("authentication", WRONG)
        self._attempts.succeeded(counted)
        user = USER.format(token.name)
        if verb.enable_secret:
            self._house.prove(user, verb.enable_secret, source)
        held = self._sessions.open(
            user,
            token.role,
            "rest",
            peer,
            source=source,
            bounds=self._house.bounds(),
            scopes=frozenset(token.scopes),
            maker="" if token.made_by == AUTOMATION else token.made_by,
            keeps=verb.candidate,
        )
        held.privileged_since = self._clock() if verb.enable_secret else float("-inf")
        self._tokens.note_use(token.name, source)
        return held

    def create(self, verb: api.CreateToken, held: Held) -> api.NewToken:
        """Give a token out. The portal's sessions send the enable secret along, or have just given their password again."""
        if held.directory:
            raise refused("permission", OF_AN_ACCOUNT)
        if held.manner == "portal":
            self._proved_at_the_portal(verb, held)
        token, text = self._tokens.create(verb, held.user)
        return api.NewToken(token=text, facts=told(token))

    def _proved_at_the_portal(self, verb: api.CreateToken, held: Held) -> None:
        if verb.enable_secret:
            self._house.prove(held.user, verb.enable_secret, held.source)
            return
        since = None if held.reauthenticated is None else self._clock() - held.reauthenticated
        if not fresh_seconds(since):
            raise refused("privilege", UNPROVED)

    def list(self, _verb: api.ListTokens, _held: Held) -> tuple[api.TokenFacts, ...]:
        """All there are."""
        return tuple(told(token) for token in self._tokens.all())

    def revoke(self, verb: api.RevokeToken, _held: Held) -> None:
        """Take one back, with all that it has open."""
        self._tokens.revoke(verb.name)
        self._sessions.close_user(USER.format(verb.name))

    def _locked(self, counted: str, tree: Mapping[str, Any]) -> bool:
        attempts, seconds = accounts.failed_attempts(tree), accounts.lock_seconds(tree)
        return self._attempts.locked(counted, attempts=attempts, seconds=seconds)

    @staticmethod
    def _administrators(tree: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(user for user, role in accounts.roles(tree).items() if role == "administrator") | {AUTOMATION}
