"""What strangers' bytes reach first, as functions of bytes: each takes anything, and fails only where the gateway is wrong.

A parser may refuse with its own error, and with no other. What it takes must hold what the rest of the gateway relies on:
a head written anew is read in one way only, a query without its key still names the same device, a document that was read
is written the same.
"""

import contextlib
from collections.abc import Callable

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.devices.store import fits
from sentry_runtime.eas import autodiscover, provision, query, wbxml
from sentry_runtime.gateway import body, rewrite
from sentry_runtime.gateway.head import HeadError, end_of_head, parse
from sentry_runtime.settings import Backend

HEAD_BYTES = 16_384
BACKEND = Backend(name="mail", host="mail.lab.test", port=80)


def _refused(in_order: bool, error: Exception) -> None:  # noqa: FBT001 - a condition, as assert takes one
    """A refusal has a status of HTTP and one word for the audit line."""
    if not in_order:
        raise AssertionError(f"a refusal out of order: {error!r}")


def head(data: bytes) -> None:
    """A request head, and what goes to the backend of it."""
    try:
        end = end_of_head(data, HEAD_BYTES)
        if not end:
            return
        got = parse(data[:end])
    except HeadError as error:
        _refused(error.status in (400, 417, 431) and error.reason.isidentifier(), error)
        return
    assert got.length is None or got.length >= 0
    # What else there is to a request's line has been judged before anything is written anew.
    got.query = b"" if b"%" in got.query else got.query
    again = parse(rewrite.request_head(got, BACKEND, "192.0.2.1"))
    framing = (again.length, again.single[b"host"], again.query)
    bodyless = got.length == 0 and got.method != "POST"
    assert framing == (0 if bodyless else got.length, b"mail.lab.test", got.query)


def asked(data: bytes) -> None:
    """A query, in both forms."""
    for version, key in ((None, None), ("14.1", "0")):
        try:
            got = query.parse(data, version, key)
        except query.QueryError as error:
            _refused(str(error).isidentifier(), error)
            continue
        assert fits(DeviceKey(got.device_id, "anna"))
        assert got.command in query.COMMANDS.values()
        again = query.parse(query.without_policy_key(data), version, None if key is None else "0")
        assert (again.device_id, again.aliases, again.command) == (got.device_id, got.aliases, got.command)
        if key is None and got.policy_key is not None:
            assert again.policy_key == 0


def document(data: bytes) -> None:
    """A WBXML document."""
    with contextlib.suppress(wbxml.WbxmlError):
        root = wbxml.decode(data)
        assert wbxml.decode(wbxml.encode(root)) == root


def provisioning(data: bytes) -> None:
    """The body of a Provision, from a device and from a backend."""
    with contextlib.suppress(provision.ProvisionError):
        provision.decode_request(data)
    with contextlib.suppress(provision.ProvisionError):
        provision.decode_response(data)


def chunks(data: bytes) -> None:
    """A chunked body, in one piece and in two: the same payload, the same end, or both refused."""

    def outcome(*pieces: bytes) -> tuple[bytes, bool] | None:
        reader, payload = body.Chunked(), b""
        try:
            for piece in pieces:
                payload += reader.take(piece)[0]
        except body.BodyError:
            return None
        return payload, reader.done

    cut = len(data) // 2
    assert outcome(data) == outcome(data[:cut], data[cut:])


def discovery(data: bytes) -> None:
    """The document of an Autodiscover request."""
    with contextlib.suppress(autodiscover.AutodiscoverError):
        address = autodiscover.requested_address(data)
        assert address.isprintable()
        assert address.count("@") == 1


TARGETS: dict[str, Callable[[bytes], None]] = {
    "head": head,
    "query": asked,
    "wbxml": document,
    "provision": provisioning,
    "chunks": chunks,
    "autodiscover": discovery,
}
