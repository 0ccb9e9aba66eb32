"""What a request says: its token, its query, its body. Every limit stands here; what is wrong becomes a `ProblemError`."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from appliance.rest.problems import ProblemError

BODY_BYTES = 2_097_152  # a site configuration with certificates is under 1 MiB; configd takes 4 MiB in one message
BODY_SECONDS = 20.0  # 1 MiB over half a megabit
PIECE_BYTES = 1_048_576  # of an update, that configd takes in one message
UPLOAD_SECONDS = (
    1_800.0  # for an update, as in the portal: 300 MB over a megabit and a half; its session ends a minute later
)
DEPTH = 32  # of JSON; the deepest setting lies five below the root
JSON = ("application/json",)
BINARY = "application/octet-stream"
MERGE = ("application/merge-patch+json", "application/json")
ENABLE_HEADER = "Sentry-Enable-Secret"
NO_TOKEN = "give a token: Authorization: Bearer sentry_…"  # noqa: S105 - words about one


@dataclass(frozen=True, slots=True)
class Person:
    """An administrator's name and password (RFC 7617)."""

    user: str
    password: str


def bearer(request: web.Request) -> str:
    """The token (RFC 6750). Raises a 401 that says so where there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise ProblemError(401, "no_token", NO_TOKEN)
    if not token.isascii():
        raise ProblemError(401, "authentication", NO_TOKEN)
    return token[:1_024]


def basic(request: web.Request) -> Person:
    """Name and password. Raises a 401 where there are none."""
    scheme, _, said = request.headers.get("Authorization", "").partition(" ")
    wanted = "give an administrator's name and password: Authorization: Basic …"
    if scheme.lower() != "basic":
        raise ProblemError(401, "no_password", wanted)
    try:
        user, colon, password = base64.b64decode(said.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise ProblemError(401, "authentication", wanted) from error
    if not colon or not 0 < len(user) <= 64 or not 0 < len(password) <= 512:
        raise ProblemError(401, "authentication", wanted)
    return Person(user, password)


def enable_secret(request: web.Request) -> str:
    """The enable secret that stands for itself in this request; empty where there is none."""
    secret = request.headers.get(ENABLE_HEADER, "")
    if len(secret) > 512 or not secret.isprintable():  # what is no UTF-8 comes as what is not printable
        raise ProblemError(400, "malformed", f"{ENABLE_HEADER}: allowed: at most 512 printable characters, in UTF-8")
    return secret


def query(request: web.Request, allowed: Iterable[str]) -> dict[str, str]:
    """The query's words, each once. Raises a 400 for one that is not allowed."""
    names = tuple(allowed)
    stranger = next((name for name in request.query if name not in names), None)
    if stranger is not None:
        said = ", ".join(names) or "nothing"
        raise ProblemError(400, "malformed", f"query: found {stranger[:64]!r}; allowed: {said}")
    twice = next((name for name in names if len(request.query.getall(name, [])) > 1), None)
    if twice is not None:
        raise ProblemError(400, "malformed", f"query: found {twice} more than once; allowed: once")
    return {name: request.query[name] for name in names if name in request.query}


def typed(
    said: Mapping[str, str], kinds: Mapping[str, Any], *, status: int = 400, kind: str = "malformed"
) -> dict[str, Any]:
    """Words of a path or a query as what the verb's fields are. Raises a problem of this status."""
    made = {}
    for name, text in said.items():
        try:
            made[name] = msgspec.convert(text, kinds[name], strict=False)
        except msgspec.ValidationError as error:
            raise ProblemError(status, kind, f"{name}: found {text[:64]!r}; {error}") from error
    return made


async def body(request: web.Request, types: tuple[str, ...] = JSON) -> Any:
    """The body, read as JSON. Raises a 413, 408, 415 or 400."""
    if request.content_type not in types:
        found = request.content_type[:64]
        raise ProblemError(415, "media", f"Content-Type: found {found}; allowed: {' or '.join(types)}")
    data = await _read(request)
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, "malformed", f"the body is not JSON: {error}") from error
    if _deeper(value, DEPTH):
        raise ProblemError(422, "invalid", f"the body: found more than {DEPTH} levels; allowed: as many")
    return value


async def _read(request: web.Request) -> bytes:
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > BODY_BYTES:
                    raise ProblemError(413, "large", f"found more than {BODY_BYTES} bytes; allowed: as many")
    except TimeoutError as error:
        raise ProblemError(408, "slow", f"not here after {BODY_SECONDS:.0f} seconds") from error
    return bytes(data)


async def pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it is, in pieces of one size, the last one smaller. Raises a 415 or 408."""
    if request.content_type != BINARY:
        raise ProblemError(415, "media", f"Content-Type: found {request.content_type[:64]}; allowed: {BINARY}")
    held = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for chunk in request.content.iter_any():
                held += chunk
                while len(held) >= PIECE_BYTES:
                    yield bytes(held[:PIECE_BYTES])
                    del held[:PIECE_BYTES]
    except TimeoutError as error:
        raise ProblemError(408, "slow", f"not here after {UPLOAD_SECONDS:.0f} seconds") from error
    if held:
        yield bytes(held)


def _deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_deeper(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_deeper(inner, levels - 1) for inner in value)
    return False


async def group(request: web.Request, types: tuple[str, ...] = JSON) -> dict[str, Any]:
    """The body, which must be an object."""
    value = await body(request, types)
    if not isinstance(value, dict):
        raise ProblemError(422, "invalid", f"the body: found {type(value).__name__}; allowed: an object")
    return value


def digest_wanted(request: web.Request) -> str:
    """The digest of `If-Match` (RFC 9110 13.1.1); empty: any will do. Raises a 400 for what is no such header, and a 412 for a
    weak tag, which never matches."""
    said = request.headers.get("If-Match", "*").strip()
    if said == "*":
        return ""
    if said.startswith("W/"):
        raise ProblemError(412, "changed", "If-Match: found a weak tag, which matches nothing")
    if not 3 <= len(said) <= 512 or not said.isascii() or said[0] != '"' or said[-1] != '"' or '"' in said[1:-1]:
        raise ProblemError(400, "malformed", 'If-Match: allowed: one tag in double quotes, as ETag gave it, or "*"')
    return said[1:-1]


def pointed(tree: Any, pointer: str) -> Any:
    """What lies at a JSON pointer (RFC 6901). Raises a 404 where nothing does."""
    if pointer and not pointer.startswith("/"):
        raise ProblemError(
            400, "malformed", f"pointer: found {pointer[:64]!r}; allowed: a JSON pointer such as /ntp/servers"
        )
    here = tree
    for part in pointer.split("/")[1:]:
        step = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and step in here:
            here = here[step]
        elif isinstance(here, list) and step.isascii() and step.isdigit() and len(step) < 7 and int(step) < len(here):
            here = here[int(step)]
        else:
            there = ", ".join(list(here)[:20]) if isinstance(here, dict) else "no more steps"
            raise ProblemError(404, "unknown", f"pointer: found nothing at {step[:64]!r}; there are: {there}")
    return here
