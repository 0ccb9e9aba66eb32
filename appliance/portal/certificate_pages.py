"""Certificates: which are shown and when they end; a request for the site's authority, what it answers, a second certificate."""

import base64
from typing import Any, Final

from aiohttp import web

from appliance.configd.api import RenewCertificate, RequestCertificate, Text, UploadCertificate, UploadPkcs12
from appliance.configd.client import Refused
from appliance.portal.showing import block, pairs, records
from appliance.portal.step_up import ask_password, wants_password
from appliance.portal.visit import Visit

SERVICES: Final = {"gateway": "Devices (443)", "portal": "This portal (8443)", "uem-push": "The UEM's pushes (9090)"}
OWN: Final = {**SERVICES, "client": "Shown to the UEM"}
REQUEST = "request (PKCS #10)"
"""The fact of `show certificates` that holds a service's request."""
PEM_CHARACTERS = 131_072  # as configd takes it
PKCS12_BYTES = 65_536


async def page(visit: Visit) -> web.Response:
    """All certificates, with what may be done."""
    return await _page(visit)


async def _page(visit: Visit, *, problems: tuple[str, ...] = (), typed: dict[str, str] | None = None) -> web.Response:
    frame = await visit.frame()
    shown = await visit.show("certificates")
    requested = {one["certificate"] for one in records(shown) if one["use"] == "requested"}
    return await visit.page(
        "certificates.html.j2",
        status=422 if problems else 200,
        frame=frame,
        rows=records(shown),
        trouble=block(shown).lines[:1],
        services=SERVICES,
        own=OWN,
        requested=requested,
        problems=problems,
        typed={"service": "", "certificate": "", "moment": "", **(typed or {})},
        may_change=visit.role == "administrator",
    )


async def request_text(visit: Visit) -> web.Response:
    """The request of a service, to be saved and given to the site's authority."""
    service = _service(visit.asked("service"))
    text = pairs(await visit.show("certificates", service)).get(REQUEST, "")
    if not text:
        raise web.HTTPNotFound
    answer = web.Response(text=f"{text}\n", content_type="application/pkcs10")
    answer.headers["Content-Disposition"] = f'attachment; filename="{service}.csr.pem"'
    return answer


async def make_request(visit: Visit) -> web.Response:
    """Make a key, which stays on the appliance, and a request."""
    service = _service(visit.word("service"))
    try:
        await visit.call(RequestCertificate, Text, service=service)
    except Refused as refused:
        return await _refused(visit, refused)
    visit.say(f"The request of {service} is made; download it below.")
    return visit.go("/certificates")


async def upload(visit: Visit) -> web.Response:
    """A certificate (PEM) for a key that was made here, or a PKCS12 file with its key, into the candidate."""
    service, second, moment = _service(visit.word("service")), visit.word("second") == "yes", visit.word("moment")
    typed = {"service": service, "certificate": visit.word("certificate")[:PEM_CHARACTERS], "moment": moment}
    fields: dict[str, Any] = {"service": service, "second": second, "moment": moment}
    file = _file(visit)
    if not file and not typed["certificate"]:
        return await _page(visit, problems=("Found nothing; allowed: a certificate in PEM, or a PKCS12 file.",))
    try:
        await visit.prove()
        if file:
            password = visit.form.get("file_password", "")
            data = base64.b64encode(file).decode()
            done = await visit.call(UploadPkcs12, Text, pkcs12=data, password=str(password), **fields)
        else:
            done = await visit.call(UploadCertificate, Text, certificate=f"{typed['certificate']}\n", **fields)
    except Refused as refused:
        return await _refused(visit, refused, typed)
    visit.say("\n".join(("The certificate is in your candidate. Review and commit to make it real.", *done.lines[:-1])))
    return visit.go("/certificates")


def _file(visit: Visit) -> bytes:
    """What was sent as a file; empty where there is none. More than configd takes is cut, so that configd refuses it."""
    sent = visit.form.get("file")
    return sent.file.read(PKCS12_BYTES + 1) if isinstance(sent, web.FileField) else b""


async def renew(visit: Visit) -> web.Response:
    """Make a certificate of the appliance's own anew."""
    service = visit.word("service")
    if service not in OWN:
        raise web.HTTPBadRequest
    try:
        await visit.prove()
        done = await visit.call(RenewCertificate, Text, service=service)
    except Refused as refused:
        if wants_password(refused.refusal):
            return await ask_password(visit, refused.refusal, kept=("service",))
        return await _refused(visit, refused)
    visit.say("\n".join(done.lines))
    return visit.go("/certificates")


async def _refused(visit: Visit, refused: Refused, typed: dict[str, str] | None = None) -> web.Response:
    refusal = refused.refusal
    if refusal.kind == "session":
        raise refused
    words = "The password is not right." if refusal.kind == "authentication" else refusal.message
    return await _page(visit, problems=refusal.problems or (words,), typed=typed)


def _service(word: str) -> str:
    if word not in SERVICES:
        raise web.HTTPBadRequest
    return word
