"""A token of Microsoft's identity platform for this appliance itself (OAuth 2.0 client credentials, RFC 6749 4.4).

It is asked for when one is needed, used until shortly before it ends, and never written anywhere.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec

from sentry_runtime.uem.adapters.client import Call, Client, DeniedError
from sentry_runtime.uem.link import LinkRefusedError

TOKEN_BYTES = 65_536  # one is 2 KiB
EARLY_SECONDS = 300.0  # before its end it is asked for anew: clocks differ, and a page takes a while
SECONDS = 10.0


class _Answer(msgspec.Struct, frozen=True):
    access_token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,16384}\Z")]
    expires_in: Annotated[int, msgspec.Meta(ge=1)]
    token_type: str


class Tokens:
    """`clock` is monotonic. Safe for many tasks at once: one asks, the others wait for it."""

    def __init__(
        self, client: Client, tenant: str, client_id: str, secret: str, scope: str, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._url = client.at(f"{tenant}/oauth2/v2.0/token")
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret,
            "scope": scope,
        }
        self._clock = clock
        self._token = ""
        self._ends = 0.0
        self._asking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Tokens of {self._url}>"

    async def get(self, *, patient: bool = False) -> str:
        """A token that is good for now. Raises `LinkError`."""
        async with self._asking:
            if not self._token or self._clock() >= self._ends:
                await self._renew(patient=patient)
            return self._token

    def spoilt(self, token: str) -> None:
        """This token was not taken: the next one who needs one asks for another."""
        if token == self._token:
            self._token = ""

    async def _renew(self, *, patient: bool) -> None:
        call = Call(self._url, {}, TOKEN_BYTES, SECONDS, patient=patient, data=self._form)
        try:
            body = await self._client.ask(call)
        except DeniedError:
            self._client.pace.denied()
            raise
        except LinkRefusedError as error:
            # An unknown client, a wrong secret or tenant: 400 or 401 (RFC 6749 5.2). Asking again does not help.
            if self._client.pace.wait == 0:
                self._client.pace.denied()
            raise error
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise LinkRefusedError(f"{self._url}: no token came: {error}") from None
        if answer.token_type.lower() != "bearer":
            raise LinkRefusedError(f"{self._url}: a token of type Bearer is wanted - at `$.token_type`")
        self._token = answer.access_token
        self._ends = self._clock() + max(answer.expires_in - EARLY_SECONDS, answer.expires_in / 2)
