"""Tokens of the REST API."""

from typing import Annotated

import msgspec

from appliance.configd.api.words import Role, Scope, Secret, SessionVerb, Word

Networks = Annotated[tuple[Word, ...], msgspec.Meta(max_length=64)]


class CreateToken(SessionVerb, frozen=True, kw_only=True, tag="token.create"):
    """Give out a token for the REST API, good for so many days. No scopes: those usual for the role. The portal's
    sessions have no privilege of their own: they send the `enable_secret`, or have just given the password again.
    Result: `NewToken`."""

    name: Word
    role: Role
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(max_length=16)] = ()
    days: int | None = None
    networks: Networks = ()
    enable_secret: Secret = ""


class ListTokens(SessionVerb, frozen=True, kw_only=True, tag="token.list"):
    """The tokens there are. Result: tuple[TokenFacts, ...]."""


class RevokeToken(SessionVerb, frozen=True, kw_only=True, tag="token.revoke"):
    """A token is good for nothing from now on, and what it has open ends. Result: None."""

    name: Word


class TokenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without what proves it. Times are ISO 8601; `networks` empty: from everywhere; `last_use` empty: never."""

    name: str
    role: Role
    scopes: tuple[Scope, ...]
    networks: tuple[str, ...]
    made_by: str
    made: str
    expires: str
    last_use: str
    last_source: str


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown once: the token itself."""

    token: str
    facts: TokenFacts
