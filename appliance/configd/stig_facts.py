"""Facts of the machine for a STIG scan: asked of the facts service (`stig.service`), which alone runs the commands.

configd says as whom and from where the machine is looked at; the caller says a fact's name and nothing else.
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from appliance.configd import accounts, api
from appliance.configd.errors import refused
from appliance.configd.sessions import Held
from sentry_runtime import control

SOCKET = "/run/sentry-facts/facts.sock"
SECONDS = 150.0  # a command has 60 s, and waits behind those of others; less than who asks us waits (`client.SECONDS`)
LINE_BYTES = (
    4_000_000  # the service's 2 million characters, with what JSON escapes in them; below a reply's `api.LINE_BYTES`
)
HERE = "127.0.0.1"  # from where somebody at the console comes, and the machine that looks at itself
NOBODY = "root"  # where the configuration has no administrator yet


class _Ask(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    """Every request carries its name in `do`."""


class ReadFact(_Ask, frozen=True, kw_only=True, tag="facts.read"):
    """What a fact is now, for `user`, who comes from the address `client`. Result: `api.Fact`."""

    name: str
    user: str
    client: str


class ListFacts(_Ask, frozen=True, kw_only=True, tag="facts.list"):
    """Result: the facts there are, each with its command."""


Call = Callable[..., Any]


def read(verb: api.ReadFact, held: Held, tree: Mapping[str, Any], call: Call) -> api.Fact:
    """The fact as this session's account would have it. Raises an `invalid` refusal for one that the list does not have."""
    asked = ReadFact(name=verb.name, user=_account(held, tree), client=_address(held.source))
    try:
        said: api.Fact = call(SOCKET, asked, api.Fact, seconds=SECONDS, line_bytes=LINE_BYTES)
    except control.ControlError as error:
        if error.kind == "invalid":
            raise refused("invalid", str(error).removeprefix("invalid: ")) from error
        raise
    return said


def _account(held: Held, tree: Mapping[str, Any]) -> str:
    """Whose log-ins are looked at: this session's, or an administrator's where it is nobody's in the configuration."""
    known = accounts.roles(tree)
    if held.user in known:
        return held.user
    return next((name for name, role in sorted(known.items()) if role == "administrator"), NOBODY)


def _address(source: str) -> str:
    try:
        return str(ipaddress.ip_address(source.partition("%")[0]))
    except ValueError:
        return HERE
