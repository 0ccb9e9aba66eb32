"""What configd asks the ACME service, over a Unix socket: one line of JSON each way, as in `sentry_runtime.control`."""

from typing import Annotated, Literal

import msgspec

SOCKET = "/run/sentry-acme/acme.sock"
LINE_BYTES = 32_768  # a request with 32 names and RSA 4096 has 5,000 characters
WORDS_CHARACTERS = 400  # of a problem: one line for people
CHAIN_CHARACTERS = 65_536  # as `appliance.chains` takes

ServiceName = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z-]{0,15}$")]
Request = Annotated[str, msgspec.Meta(max_length=16_384)]
Words = Annotated[str, msgspec.Meta(max_length=WORDS_CHARACTERS)]
Chain = Annotated[str, msgspec.Meta(max_length=CHAIN_CHARACTERS)]


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="do"):
    """Every request carries its name in `do`."""


class Obtain(_Ask, frozen=True, kw_only=True, tag="acme.obtain"):
    """Get a certificate for the request (PKCS #10, PEM) of a service. Asked again and again: the same request goes on, another
    one takes its place and is tried at once. Result: `Standing`."""

    service: ServiceName
    request: Request


class Judge(_Ask, frozen=True, kw_only=True, tag="acme.judge"):
    """What configd says of the chain of a service: taken over where `problem` is empty, else refused, which counts as a failed
    attempt. Result: None."""

    service: ServiceName
    problem: Words = ""


class Status(_Ask, frozen=True, kw_only=True, tag="acme.status"):
    """How it stands. Result: `Report`."""


Ask = Obtain | Judge | Status

State = Literal["waits", "works", "ready"]
"""Of an order: waits for its next attempt, is talked about with the server, has its chain."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an order stands: times in seconds since the epoch (0: never); `problem` is what the last attempt ended with."""

    state: State
    tries: int = 0
    tried: float = 0.0
    next_try: float = 0.0
    problem: Words = ""
    chain: Chain = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How the service stands: the server it asks, its account there ("": none yet), and the orders by service, without chains."""

    directory: Words
    account: Words
    orders: dict[str, Standing]
