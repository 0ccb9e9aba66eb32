"""To the backend: over the connection that is there, or over a new one."""

from sentry_runtime.devices.enforcement import Enforcement
from sentry_runtime.gateway import backend_policy, enforce
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.course import NOT_VOUCHED, Course
from sentry_runtime.gateway.decide import Action
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.forward import Upstream
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.logon import LogonLostError
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.gateway.steps.vouching import log_on


def forward(course: Course, claim: Claim) -> None:
    """Send the request on."""
    upstream = course.at_hand(claim)
    if upstream is None:
        course.wait_for(_connect(course, claim))
    else:
        _send(course, upstream)


def follow(course: Course, claim: Claim, sender: Target, location: bytes, *, whole: bool) -> None:
    """The device belongs to another server: go there at once, where the `whole` request can be sent again, or with its next
    attempt."""
    try:
        target = course.services.backends.follow(Seat.of(claim), sender, location, course.hops)
    except BackendsDownError as error:
        course.relay_failed(error.reason)
        return
    course.counters.redirected += 1
    course.hops += 1
    if whole:
        course.wait_for(_connect(course, claim, target))
    else:
        course.end(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", ("backend_redirected",))


async def dial(course: Course, claim: Claim, only: Target | None = None) -> Upstream:
    """A backend connection that this front connection did not have, logged on where the claim needs that; it is the one in
    use then. `only`: to this server. Raises `NOT_VOUCHED`."""
    if claim.logon is None:
        credentials, backends = course.authorization, course.services.backends
        generation = backends.generation
        upstream = await backends.connect(Seat.of(claim), lambda target: Upstream(target, claim, credentials), only)
        upstream.generation = generation
        course.front.upstream = upstream
        return upstream
    await log_on(course, claim)
    logged_on = course.at_hand(claim)
    if logged_on is None:
        raise LogonLostError
    return logged_on


async def _connect(course: Course, claim: Claim, only: Target | None = None) -> None:
    try:
        upstream = await dial(course, claim, only)
    except NOT_VOUCHED as error:
        course.not_vouched(error)
        return
    verdict = course.judged_again(claim)
    if verdict.action is Action.ALLOW:
        _send(course, upstream)
    else:
        course.obey(claim, verdict)


def _send(course: Course, upstream: Upstream) -> None:
    course.services.account.begun(course)
    claim = course.claim
    if course.relay.provisions:
        held = None if claim is None or claim.key is None else course.services.known.enforcement(claim.key)
        usable = held if isinstance(held, Enforcement) else None
        course.sent_key = 0 if claim is None else backend_policy.forwarded_key(claim, usable)
    course.relay.send(upstream, course.sent_key)
