"""A device that is to be wiped: its Provision alone is read, and no backend hears of any of it beforehand."""

from sentry_runtime.devices.record import WipeMark
from sentry_runtime.eas import provision
from sentry_runtime.gateway import wipe
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.course import Course
from sentry_runtime.gateway.decide import Action, Verdict
from sentry_runtime.gateway.identify import Claim, DeniedError
from sentry_runtime.gateway.steps.vouching import voucher


def answer(course: Course, claim: Claim, verdict: Verdict) -> None:
    """Answer it."""
    if claim.command == "Provision" and wipe.possible(claim, wipe.order(verdict)):
        too_large = DeniedError(413, "provision_too_large")
        course.gather(provision.BYTES, too_large, lambda body: _provision(course, claim, body))
    else:
        course.counters.blocked += 1
        _take(course, claim, verdict, wipe.refused(claim, wipe.order(verdict), course.services.notice))


def _provision(course: Course, claim: Claim, body: bytes) -> None:
    verdict = course.judged_again(claim)  # the body was waited for
    if verdict.action is not Action.WIPE:
        course.obey(claim, verdict)
        return
    encoding = course.head.single.get(b"content-encoding", b"")
    step = wipe.provisioned(claim, wipe.order(verdict), body, encoding, course.services.notice)
    if step.mark is WipeMark.UNVERIFIED:
        course.wait_for(_acknowledged(course, claim, verdict, step))
    else:
        course.counters.wipes_handed_out += step.mark is WipeMark.HANDED_OUT
        _take(course, claim, verdict, step)


async def _acknowledged(course: Course, claim: Claim, verdict: Verdict, step: wipe.Step) -> None:
    if claim.key is None:
        raise AssertionError("only a device is wiped")
    try:
        await course.services.wipe_marks.acknowledged(claim.key, wipe.order(verdict), voucher(course, claim))
    except UndecidedError as error:
        course.not_vouched(error)
        return
    course.counters.wipes_acknowledged += 1
    course.answer(step.answer, step.action, (step.reason, *verdict.reasons))


def _take(course: Course, claim: Claim, verdict: Verdict, step: wipe.Step) -> None:
    if claim.key is not None and step.mark is not None:
        course.services.wipe_marks.note(claim.key, wipe.order(verdict), step.mark)
    course.answer(step.answer, step.action, (step.reason, *verdict.reasons))
