"""Who calls, and whether they may: a Sentry what Sentrys ask, an administrator what administrators do, and nobody else anything.

| where | a Sentry is | an administrator is |
|---|---|---|
| the port | who has the certificate of a Sentry that is served | who has the certificate of one in the settings |
| the Unix socket | nobody | a process of an account that may administer (the kernel's word) |

A certificate of the UEM's own authority is known by its row (`enrolment`), never by its subject: it makes nobody an
administrator, and counts until it is revoked or ends.

A good certificate that is none of these (the appliance's authority signs its other services' too) is refused: 403.
"""

import pwd
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware

from sentry_runtime.certificates.names import subject_of
from sentry_runtime.control_server import peer_of
from sentry_runtime.uem.http import Handler, problem
from sentry_runtime.uem.refusals import Refusals
from sentry_runtime.uem_server import authority
from sentry_runtime.uem_server.sentrys import Sentrys

EVENT = "uem_caller_refused"
ADMIN = "/admin/"  # the paths of administrators begin so; all others are for Sentrys

_FEED = "/v1/decisions"


class Enrols(Protocol):
    """What knows the certificates of the UEM's own authority."""

    def is_ours(self, certificate: bytes) -> bool:
        """See `Enrolment.is_ours`."""
        ...

    def sentry_of(self, certificate: bytes) -> str | None:
        """See `Enrolment.sentry_of`."""
        ...

    async def called(self, certificate: bytes) -> None:
        """See `Enrolment.called`."""
        ...


def by_certificate(
    sentrys: Sentrys, administrators: Mapping[str, str], refusals: Refusals, enrolment: Enrols | None = None
) -> Middleware:
    """The port's gate. `administrators` has their names by their certificates' subjects (RFC 4514)."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        certificate = certificate_of(request)
        subject = "" if certificate is None else subject_of(certificate)
        admin = _path(request).startswith(ADMIN)
        if enrolment is not None and certificate is not None and enrolment.is_ours(certificate):
            caller = None if admin else enrolment.sentry_of(certificate)
            caller = caller if caller is not None and sentrys.serves(caller) else None
            if caller is not None:
                await enrolment.called(certificate)
        else:
            caller = administrators.get(subject) if admin else _configured(sentrys, subject)
        if caller is None:
            role = "an administrator" if admin else "a Sentry"
            detail = f"certificate {subject!r} is not that of {role} of this UEM"
            refusals.refuse(request.remote or "", detail, f", {request.method} {request.path[:100]}")
            return problem(403, "not for you", detail)
        request["caller"] = caller
        response = await handler(request)
        if not admin and response.status < 400:
            after = request.query.get("after", "")
            feed = request.method == "GET" and _path(request) == _FEED
            sentrys.heard(caller, int(after) if feed and after.isdecimal() else None)
        return response

    return gate


def by_account(allowed: frozenset[int], refusals: Refusals) -> Middleware:
    """The Unix socket's gate: these accounts are administrators."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return problem(403, "not for you", "the connection has gone")
        uid = peer_of(transport.get_extra_info("socket")).uid
        if uid not in allowed:
            refusals.refuse(f"uid {uid}", "may not administer", f", {request.method} {request.path[:100]}")
            return problem(403, "not for you", f"uid {uid} may not administer this UEM")
        request["caller"] = _account(uid)
        return await handler(request)

    return gate


def _configured(sentrys: Sentrys, subject: str) -> str | None:
    """The Sentry that the settings or an administrator know by this subject. One that has enrolled is not known so: another
    authority that writes its name would get past a revocation."""
    name = sentrys.name_of(subject)
    return None if name is None or subject == authority.subject(name) else name


def _path(request: web.Request) -> str:
    """The path under which the request is served, "" where there is none; never what the caller made of it."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def certificate_of(request: web.Request) -> bytes | None:
    """The certificate (DER) with which the caller has shown who it is."""
    transport = request.transport
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    found: bytes | None = None if tls is None else tls.getpeercert(binary_form=True)
    return found


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
