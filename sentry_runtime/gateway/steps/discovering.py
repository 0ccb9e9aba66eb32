"""Autodiscover: the JSON form is answered to everybody, the XML form to who has proved their credentials."""

from sentry_runtime.gateway import autodiscover
from sentry_runtime.gateway.course import NOT_VOUCHED, Course
from sentry_runtime.gateway.identify import Claim, Service
from sentry_runtime.gateway.steps import vouching


def answer(course: Course, asked: Service, claim: Claim) -> None:
    """Answer it."""
    if asked is Service.AUTODISCOVER_JSON:
        course.reply(autodiscover.of_query(course.head.query, course.services.external_host))
        return
    course.gather(autodiscover.REQUEST_BYTES, autodiscover.too_large(), lambda body: _document(course, body, claim))


def _document(course: Course, body: bytes, claim: Claim) -> None:
    reply = autodiscover.of_document(body, course.services.external_host)
    if reply.action != "allow" or claim.vouched:
        course.reply(reply)
    elif not vouching.rests(course, claim):
        course.wait_for(_reply_if_vouched(course, claim, reply))


async def _reply_if_vouched(course: Course, claim: Claim, reply: autodiscover.Reply) -> None:
    try:
        await vouching.vouch(course, claim)
    except NOT_VOUCHED as error:
        course.not_vouched(error)
    else:
        course.reply(reply)
