"""Heads written anew: towards the backend and towards the device. Pure functions of bytes.

Nothing that belongs to one hop passes (RFC 9110 7.6.1), and nothing by which a client could claim to be someone else: a
backend behind a gateway believes such headers.
"""

import re
from typing import Final

from sentry_runtime.eas.query import is_base64, with_policy_key
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import ACTIVESYNC_PATH
from sentry_runtime.settings import Backend

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
_POLICY_KEY = frozenset({b"x-ms-policykey"})
_AUTHORIZATION = frozenset({b"authorization"})
_WRITTEN_BY_US = frozenset({b"host", b"content-length", b"expect"})
# A session's cookie names a user as well as a password does, and perhaps another one than the credentials that we judge by.
# ActiveSync needs none (MS-ASHTTP 2.2.1.1.2 has them optional), so neither direction carries any.
_SESSION = frozenset({b"cookie", b"cookie2"})
_SESSION_BEGINS = frozenset({b"set-cookie", b"set-cookie2"})
# Names that servers take an identity, an address or a path from: RFC 7239 and its forerunners, certificate headers of common
# front ends (RFC 9440 among them), what proxies and access gateways vouch with (Amazon, Google, Azure, Cloudflare, Akamai,
# Envoy, WebSEAL, Kubernetes, SAML and OpenID modules), Exchange's own, WebObjects' (SOGo believes x-webobjects-remote-user),
# `Proxy`, which CGI makes the client's proxy of (httpoxy), and names with "_", which a CGI-like server cannot tell from the
# same with "-".
_FORGEABLE = re.compile(
    rb"(?i)forwarded|x-forwarded.*|x-original-.*|x-rewrite-url|x-http-method.*|x-method-override|via|proxy|x-proxy.*"
    rb"|x-real-ip|x-cluster-client-ip|true-client-ip|cf-.*|(?:x-)?client-.*|fastly-.*|x-akamai-.*|akamai-.*"
    rb"|(?:x-)?remote-.*|x-user.*|x-auth.*|x-webauth.*|x-webobjects-.*|x-login.*|x-account.*|x-principal.*|x-identity.*"
    rb"|x-impersonat.*|impersonate-.*|x-act-as.*|x-on-behalf-of|x-saml.*|x-shib.*|shib-.*|mellon-.*|oidc-.*|x-oidc.*"
    rb"|(?:x-)?ssl.*|x-cert.*|x-tls-.*|x-arr-.*|x-azure-.*|x-amzn-.*|x-goog-.*|x-appengine-.*|x-envoy-.*|iv-.*"
    rb"|x-ms-client-principal.*|x-ms-token-.*|x-ms-proxy|x-ms-forwarded-.*|x-ms-adfs-.*|x-ms-endpoint-.*"
    rb"|x-ms-exchange-.*|x-exch.*|x-anchormailbox|x-preferred.*|msexch.*|x-commonaccesstoken|x-isfromcafe"
    rb"|x-sourcecafeserver|x-beresource|x-anonresource.*|x-wlid-membername"
    rb"|.*_.*"
)
# A backend's way of sending the device past the gateway, at any status.
_LEADS_AWAY = frozenset({b"x-ms-location", b"location", b"refresh", b"alt-svc", b"content-location"})
_NOT_FOR_DEVICES: Final = _HOP_BY_HOP | _LEADS_AWAY | _SESSION_BEGINS | {b"content-length"}
_NOTHING: Final[frozenset[bytes]] = frozenset()
_CONNECTION: Final = frozenset({b"connection"})


def request_head(
    head: Head,
    backend: Backend,
    source: str,
    *,
    policy_key: int | None = None,
    logged_on: bool = False,
    hidden: frozenset[bytes] = frozenset(),
) -> bytes:
    """The head that goes to `backend` for a device at address `source`; the query byte for byte, the body's framing ours.

    `policy_key`: the device's keys are the gateway's own and no business of the backend's, which gets this one in their
    place; 0: none, so the header is left out, and the base64 form's key is 0. None: the keys are the backend's.
    `logged_on`: the connection has been authenticated, and the last message of that is not repeated.
    `hidden` are the (lower-case) names of further fields that are not for the backend.
    """
    asked = (backend, source, policy_key, logged_on, hidden)
    if head.rewritten is None or head.rewritten[0] != asked:
        made = _request_head(head, backend, source, policy_key=policy_key, logged_on=logged_on, hidden=hidden)
        head.rewritten = asked, made
    return head.rewritten[1]


def _request_head(
    head: Head, backend: Backend, source: str, *, policy_key: int | None, logged_on: bool, hidden: frozenset[bytes]
) -> bytes:
    target = ACTIVESYNC_PATH.encode()
    if head.query:
        target += b"?" + (head.query if policy_key is None else with_policy_key(head.query, policy_key))
    lines = [b"%s %s HTTP/1.1" % (head.method.encode(), target), b"Host: " + _authority(backend)]
    dropped = _HOP_BY_HOP | _WRITTEN_BY_US | _SESSION  # `head` has seen to it that Connection names nothing else
    if policy_key is not None:
        dropped |= _POLICY_KEY
    if logged_on:
        dropped |= _AUTHORIZATION
    if hidden:
        dropped |= hidden
    for name, value in head.fields:
        if name.lower() not in dropped and not _FORGEABLE.fullmatch(name):
            lines.append(name + b": " + value)
    if policy_key and not is_base64(head.query):
        lines.append(b"X-MS-PolicyKey: %d" % policy_key)
    lines.append(b"X-Forwarded-For: " + source.encode())
    lines.append(b"X-Forwarded-Proto: https")
    if head.length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.length or head.method == "POST":
        lines.append(b"Content-Length: %d" % head.length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def probe_head(backend: Backend, authorization: bytes, source: str) -> bytes:
    """An OPTIONS of the gateway's own with a device's credentials."""
    return _options(backend, authorization, source) + b"Connection: close\r\n\r\n"


def logon_head(backend: Backend, authorization: bytes, source: str) -> bytes:
    """An OPTIONS of the gateway's own with a message of a device's log-on; the connection stays."""
    return _options(backend, authorization, source) + b"\r\n"


def _options(backend: Backend, authorization: bytes, source: str) -> bytes:
    return b"OPTIONS %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nUser-Agent: Sentry\r\nX-Forwarded-For: %s\r\n" % (
        ACTIVESYNC_PATH.encode(),
        _authority(backend),
        authorization,
        source.encode(),
    )


def check_head(backend: Backend) -> bytes:
    """An OPTIONS of the gateway's own for nobody: whether the backend answers."""
    return b"OPTIONS %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Sentry\r\nConnection: close\r\n\r\n" % (
        ACTIVESYNC_PATH.encode(),
        _authority(backend),
    )


def response_head(
    status: int, phrase: bytes, fields: list[tuple[bytes, bytes]], length: bytes | None, *, chunked: bool, close: bool
) -> bytes:
    """The head that goes to the device. `length` is the backend's Content-Length, `chunked` that we frame the body so."""
    parts = [b"HTTP/1.1 %d " % status, phrase]
    named = _NOTHING
    for name, value in fields:
        lower = name.lower()
        if lower not in _NOT_FOR_DEVICES:
            parts += (b"\r\n", name, b": ", value)
        elif lower == b"connection":
            named |= {part.strip(b" \t").lower() for part in value.split(b",")}
    if named:  # rare, and then the fields it names have to go wherever they stand
        named |= _CONNECTION
        left = [(name, value) for name, value in fields if name.lower() not in named]
        return response_head(status, phrase, left, length, chunked=chunked, close=close)
    if length is not None:
        parts += (b"\r\nContent-Length: ", length)
    if chunked:
        parts.append(b"\r\nTransfer-Encoding: chunked")
    if close:
        parts.append(b"\r\nConnection: close")
    parts.append(b"\r\n\r\n")
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 7.1); `data` is not empty."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def _authority(backend: Backend) -> bytes:
    name = backend.server_name or backend.host
    if ":" in name:
        name = f"[{name}]"
    usual = 80 if backend.tls is None else 443
    return (name if backend.port == usual else f"{name}:{backend.port}").encode()
