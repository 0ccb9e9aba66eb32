"""A device's Provision, in which the backend has a say where it enforces a policy of its own."""

import contextlib

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.eas import provision, status
from sentry_runtime.gateway import backend_policy, enforce
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.course import NOT_VOUCHED, Course
from sentry_runtime.gateway.decide import Action, Unreadable
from sentry_runtime.gateway.identify import Claim, DeniedError
from sentry_runtime.gateway.inquiry import Heard, inquire
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.gateway.provisioning import Reply, Terms
from sentry_runtime.gateway.redirects import WRONG_SERVER, location_of
from sentry_runtime.gateway.steps import vouching
from sentry_runtime.gateway.steps.forwarding import dial


def read(course: Course, claim: Claim) -> None:
    """Read the Provision of a device that may have a policy, and answer it."""
    if vouching.rests(course, claim):
        return
    too_large = DeniedError(413, "provision_too_large")
    course.gather(provision.BYTES, too_large, lambda body: course.wait_for(_answer(course, claim, body)))


async def _answer(course: Course, claim: Claim, body: bytes) -> None:
    """A backend vouches for the credentials, since it sees no other part of this."""
    if claim.key is None:
        raise AssertionError("only a device is provisioned")
    try:
        if course.told is None:
            await vouching.vouch(course, claim)
    except NOT_VOUCHED as error:
        course.not_vouched(error)
        return
    record = course.found(claim)
    verdict = course.judged(claim, record)
    if verdict.action is not Action.PROVISION or not isinstance(record, Record):
        course.obey(claim, verdict)
        return
    terms = course.services.judge.policies.terms(claim, record)
    if terms is None:
        course.undecided("policy_unreadable")
        return
    try:
        reply = await _mediated(course, claim, record, terms, body)
    except NOT_VOUCHED as error:
        course.not_vouched(error)
        return
    verdict = course.judged_again(claim)
    if verdict.action is not Action.PROVISION:
        course.obey(claim, verdict)
        return
    course.counters.provisioned += reply.granted
    if reply.counter:
        course.counters.count(reply.counter)
    course.tell(reply.says)
    course.reply(reply)
    course.served()


async def _mediated(course: Course, claim: Claim, record: Record, terms: Terms, body: bytes) -> Reply:
    """The reply; raises `NOT_VOUCHED`."""
    services = course.services
    held = services.known.enforcement(record.key, anew=True)
    if isinstance(held, Unreadable):
        raise UndecidedError("undecided")
    mediation = backend_policy.Mediation(
        claim,
        terms,
        lambda joint: services.judge.policies.keys(claim, record, joint),
        held,
        lambda policy_key, said: _ask_backend(course, claim, policy_key, said),
        lambda new: _keep(course, record.key, new),
    )
    return await mediation.reply(body, course.head.single.get(b"content-encoding", b""))


async def _ask_backend(course: Course, claim: Claim, policy_key: int, body: bytes) -> Heard:
    """Send the backend a Provision of our own in the form of this request; see `backend_policy`. Raises `NOT_VOUCHED`."""
    upstream = course.at_hand(claim) or await dial(course, claim)
    target, backends, source = upstream.target, course.services.backends, course.front.peer.source
    course.relay.backend = target.backend.name
    logged_on, hidden = upstream.logged_on, course.services.hidden
    request = backend_policy.request(
        course.head, target.backend, source, policy_key, body, logged_on=logged_on, hidden=hidden
    )
    try:
        heard = await inquire(upstream, request, course.services.limits.decision_seconds)
    except BackendsDownError as error:
        backends.answered_badly(target, claim.principal, error.reason)
        raise
    backends.answered(target, claim.principal, heard.status, heard.fields)
    if heard.status == 401 and logged_on:
        upstream.drop()  # it has logged the device off
    elif heard.status == 401:
        vouching.note_refused(course, course.caller(claim))
    if heard.status == WRONG_SERVER:
        upstream.drop()
        backends.follow(Seat.of(claim), target, location_of(heard.fields), 0)
        raise UndecidedError("backend_redirected")  # the device's next attempt goes there
    return heard


async def _keep(course: Course, key: DeviceKey, enforcement: Enforcement | None) -> None:
    if not await course.services.notes.keep(key, enforcement) and enforcement is not None:
        raise UndecidedError("undecided")  # the entry has gone meanwhile: the next request is a first contact


async def send_to_provision(course: Course, claim: Claim, code: int) -> None:
    """Answer a device whose backend wants a Provision of it.

    Where that is for the backend's policy, the device's keys are worth nothing from now on. Unless that can be kept, the
    backend will say it once more.
    """
    if code == status.REMOTE_WIPE_REQUESTED:
        course.answer(enforce.provision_first(claim, code), "wipe", ("backend_wipe_pending",))
        return
    course.counters.backend_provisions += 1
    if claim.key is not None and course.sent_key is not None:
        with contextlib.suppress(UndecidedError):
            await course.services.notes.keep(claim.key, Enforcement(), after=course.sent_key)
    course.answer(enforce.provision_first(claim, code), "provision", ("backend_wants_provision",))
