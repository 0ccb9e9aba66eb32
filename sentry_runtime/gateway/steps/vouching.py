"""Having somebody say that credentials hold: a backend, asked by a probe or by a log-on of the connection's, or a certificate.

What a backend refuses is counted (see `refusals`), whichever way it was asked.
"""

import asyncio
import contextlib
import math
from collections.abc import Iterator

from sentry_runtime.gateway import enforce, logon
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.contact import Caller, CredentialsRefusedError
from sentry_runtime.gateway.course import NOT_VOUCHED, Course
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.identify import Claim, DeniedError
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.gateway.wipe_marks import Vouch

LOGON_BODY_BYTES = 262_144  # of the request that begins a log-on; clients that know it is in vain send none


def rests(course: Course, claim: Claim) -> bool:
    """Whether a backend has refused so many log-ons from there, or of this name, that it shall hear of no more now; then the
    exchange has ended.

    Not on a connection that has logged on: there no backend is asked for anything. Nor where a certificate stands for the
    user and no credentials come along, since nothing is tried then.
    """
    if claim.vouched and not course.authorization:
        return False
    if claim.logon is not None and not claim.opens and course.at_hand(claim) is not None:
        return False
    place, device = course.front.peer.place, Seat.of(claim).device
    seconds = course.services.refusals.wait(place, claim.principal, course.authorization, device)
    if seconds:
        course.counters.logons_rested += 1
        course.answer(enforce.unavailable(math.ceil(seconds)), "deny", ("logons_rest",))
    return bool(seconds)


def may_try(course: Course, claim: Claim) -> bool:
    """Whether the request's credentials may go to a backend, where that is yet to say something of them; else the exchange has
    ended."""
    authorization = course.authorization
    if claim.logon is not None or not authorization or course.front.accepted == authorization:
        return True
    course.attempt = course.services.refusals.begin(claim.principal, authorization, Seat.of(claim).device)
    if course.attempt is None:
        course.counters.logons_rested += 1
        course.answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "deny", ("logons_rest",))
    return course.attempt is not None


def not_waited_for(course: Course) -> None:
    """The device ends this before the backend has said what it thinks of the credentials."""
    attempt, relay = course.attempt, course.relay
    if attempt is not None and attempt.open and course.claim is not None:
        if relay.sent and not relay.begun:
            course.services.refusals.unheard(course.front.peer.place, course.claim.principal)
        attempt.end()


async def vouch(course: Course, claim: Claim) -> None:
    """Have a backend say that the credentials hold, unless a certificate names the principal. Raises `NOT_VOUCHED`."""
    if claim.vouched:
        return
    if claim.logon is None:
        await course.services.contacts.vouch(course.caller(claim), claim)
    elif course.at_hand(claim) is None:
        await log_on(course, claim)


def voucher(course: Course, claim: Claim) -> Vouch:
    """What has a backend say, later and whatever becomes of this exchange, that the credentials hold."""
    caller, logons, services = course.caller(claim), course.front.logons, course.services
    if claim.vouched or (claim.logon is not None and course.at_hand(claim) is not None):
        return logon.held
    if services.refusals.wait(caller.peer.place, caller.principal, caller.authorization, caller.device):
        return _resting
    if claim.logon is None:
        return lambda: services.contacts.vouch(caller, claim)

    async def apart() -> None:
        with _counted(course, caller):
            await logons.prove_apart(claim, caller.authorization, caller.peer.source)

    return apart


async def _resting() -> None:
    raise UndecidedError("logons_rest")


def open_logon(course: Course, claim: Claim) -> None:
    """The first message of a log-on that belongs to the connection. What comes with it is not for the backend yet."""
    if rests(course, claim):
        return
    course.relay.disregard()
    too_large = DeniedError(413, "logon_body_too_large")
    course.gather(LOGON_BODY_BYTES, too_large, lambda _: course.wait_for(_challenge(course, claim)))


async def _challenge(course: Course, claim: Claim) -> None:
    caller = course.caller(claim)
    try:
        challenge = await course.front.logons.begin(claim, caller.authorization, caller.peer.source)
    except NOT_VOUCHED as error:
        course.not_vouched(error)
    else:
        course.answer(Answer(401, ((b"WWW-Authenticate", challenge),)), "deny", ("logon_begun",))


async def log_on(course: Course, claim: Claim) -> None:
    """The last message of a log-on. Raises `NOT_VOUCHED`; else the backend connection in use has logged on."""
    caller = course.caller(claim)
    logons, source = course.front.logons, caller.peer.source
    with _counted(course, caller):
        upstream, course.relay.last_word = await logons.prove(claim, caller.authorization, source)
    course.front.adopt(upstream)


@contextlib.contextmanager
def _counted(course: Course, caller: Caller) -> Iterator[None]:
    """While the last message of a log-on is with a backend. Raises `UndecidedError` where too many of its name are."""
    refusals = course.services.refusals
    attempt = refusals.begin(caller.principal, caller.authorization)
    if attempt is None:
        raise UndecidedError("logons_rest")
    try:
        yield
    except CredentialsRefusedError:
        note_refused(course, caller)
        raise
    except asyncio.CancelledError:  # the device has not waited for the answer
        refusals.unheard(caller.peer.place, caller.principal)
        raise
    finally:
        attempt.end()
    refusals.forgive(caller.peer.place, caller.principal)


def note_relayed(course: Course) -> None:
    """A backend's answer shows that it has accepted or refused the credentials. Accepted ones are noted once on each
    connection.

    Log-ons of the connection's are noted where they are made; and without credentials none have been tried.
    """
    front, claim, authorization, served = course.front, course.claim, course.authorization, course.relay.served
    if claim is None or claim.logon is not None or (served and front.accepted == authorization):
        return
    if served:
        front.accepted = authorization
        course.services.refusals.accepted(front.peer.place, claim.principal, authorization, Seat.of(claim).device)
    elif authorization:
        front.accepted = b""
        note_refused(course, course.caller(claim))


def note_refused(course: Course, caller: Caller) -> None:
    """A backend has refused these credentials."""
    course.counters.logons_refused += 1
    refusals = course.services.refusals
    refusals.refused(caller.peer.place, caller.principal, caller.authorization, caller.device)
