"""The gateway's own answers: what a device gets that is not let through, in the words of its protocol version.

Up to 12.1 a refusal is an HTTP status; from 14.0 on it is HTTP 200 with a status in the command's own document, since
clients of those versions show a useful message only for that (MS-ASHTTP 2.2.2.1.1, MS-ASCMD 2.2.2).

Neither form has a place for words. Where the site has a notice for devices that are refused, the answer that is an HTTP
status carries it as plain text with the reasons behind it, and both name the reasons in a field of their own. The reasons
are words of `Reason` only, the notice is one line without control characters, and no browser is to take either for markup.
"""

import math
import time
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from sentry_runtime.devices.record import Reason
from sentry_runtime.eas import status
from sentry_runtime.gateway.decide import Action, Excess, Need, Verdict
from sentry_runtime.gateway.identify import Claim, DeniedError

RETRY_SECONDS = 30  # a restarted backend is up again by then; a fleet's retries spread over it
RETRY_SOON_SECONDS = 5  # after a draining or busy gateway: somebody else, or the next free moment, will answer

WBXML_TYPE = b"application/vnd.ms-sync.wbxml"
_WBXML = (b"Content-Type", WBXML_TYPE)
_TEXT = ((b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff"))
_REASONS = b"X-Block-Reason"
# What Exchange says in X-MS-ASThrottle (MS-ASHTTP 2.2.2.1.2.13) of a device that it throttles for the same.
_THROTTLE_WORDS = {Excess.TOO_MANY_REQUESTS: b"CommandFrequency", Excess.SYNC_LOOP: b"RecentCommands"}
# 449 is Microsoft's (MS-ASHTTP 2.2.2.1.1); the phrase is the one that servers use.
_REASON_PHRASES = {code.value: code.phrase.encode() for code in HTTPStatus} | {
    449: b"Retry after sending a PROVISION command"
}

_NEEDS = {
    Need.POLICY_KEY_MISSING: status.DEVICE_NOT_PROVISIONED,
    Need.POLICY_CHANGED: status.POLICY_REFRESH,
    Need.POLICY_KEY_WRONG: status.INVALID_POLICY_KEY,
    Need.PROVISION_ASKED: status.DEVICE_NOT_PROVISIONED,
}


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return b"Date: " + formatdate(second, usegmt=True).encode()


Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the gateway itself."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def to_bytes(self, *, keep_alive: bool) -> bytes:
        """The answer as it goes over the wire."""
        lines = [b"HTTP/1.1 %d %s" % (self.status, _REASON_PHRASES[self.status])]
        lines += [name + b": " + value for name, value in self.headers]
        lines.append(_date(int(time.time())))
        lines.append(b"Content-Length: %d" % len(self.body))
        if not keep_alive:
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


def of_status(code: int) -> Answer:
    """An HTTP error that needs no more words."""
    return Answer(code)


def denied(error: DeniedError) -> Answer:
    """The answer of `DeniedError`."""
    return Answer(error.status, error.headers)


def unavailable(seconds: int = RETRY_SECONDS) -> Answer:
    """503: the device is asked to come back after so many seconds."""
    return Answer(503, ((b"Retry-After", b"%d" % seconds),))


def throttled(excess: Excess, seconds: float) -> Answer:
    """503: the device asks too much, and is to come back when its pause is over."""
    wait = (b"Retry-After", b"%d" % max(1, math.ceil(seconds)))
    return Answer(503, (wait, (b"X-MS-ASThrottle", _THROTTLE_WORDS[excess])))


def blocked(claim: Claim, verdict: Verdict, notice: str = "") -> Answer:
    """The answer of a device that may not pass, for its protocol version and command, with the site's `notice` if it has one.

    A device that is refused only because nobody could be asked is told to come back: it has done nothing wrong.
    """
    if Reason.UEM_UNREACHABLE in verdict.reasons:
        return unavailable()
    body = None
    if status.speaks_status(claim.protocol):
        full = verdict.reasons == (Reason.MAILBOX_LIMIT,)
        body = status.status_body(claim.command, status.MAXIMUM_DEVICES_REACHED if full else status.DEVICE_IS_BLOCKED)
    words = ", ".join(verdict.reasons)
    named = ((_REASONS, words.encode()),) if notice and words else ()
    if body is not None:
        return Answer(200, (_WBXML, *named), body)
    return Answer(403, (*_TEXT, *named), _told(notice, words)) if notice else Answer(403)


def _told(notice: str, words: str) -> bytes:
    return (f"{notice}\nReason: {words}\n" if words else f"{notice}\n").encode()


def unprovisioned(claim: Claim, verdict: Verdict) -> Answer:
    """The answer of a device that has to provision first."""
    code = next((_NEEDS[need] for need in verdict.reasons if isinstance(need, Need)), status.DEVICE_NOT_PROVISIONED)
    return provision_first(claim, code)


def provision_first(claim: Claim, code: int) -> Answer:
    """What makes a device send a Provision: 449, from 14.0 on with the status in the command's document too.

    All clients act on 449; there are some that act on nothing else, and none that minds the document.
    """
    if not status.speaks_status(claim.protocol):
        return Answer(449)
    body = status.status_body(claim.command, code)
    return Answer(449) if body is None else Answer(449, (_WBXML,), body)


def provisioned(body: bytes) -> Answer:
    """The gateway's answer to a Provision."""
    return Answer(200, (_WBXML,), body)


def revoked(claim: Claim, verdict: Verdict, notice: str = "") -> Answer:
    """The answer to a request that waits at the backend when its device is blocked.

    A Ping of an older client ends with "do a FolderSync", which it then does, and is refused in the ordinary way.
    """
    return ping_ended(claim) or blocked(claim, verdict, notice)


def ping_ended(claim: Claim) -> Answer | None:
    """The end of an older client's Ping, after which it sends a FolderSync; None for anything else."""
    return _folder_sync_needed() if claim.command == "Ping" and not status.speaks_status(claim.protocol) else None


def renewed(claim: Claim, verdict: Verdict) -> Answer:
    """The end of a held Ping of a device whose policy has changed.

    What the same Ping would be told now; one without a policy key is told "do a FolderSync", which comes with the key.
    """
    return unprovisioned(claim, verdict) if verdict.action is Action.PROVISION else _folder_sync_needed()


def _folder_sync_needed() -> Answer:
    return Answer(200, (_WBXML,), status.status_body("Ping", status.PING_FOLDER_SYNC_NEEDED) or b"")


def ping_over() -> Answer:
    """The end of a held Ping when the gateway drains: nothing has changed so far; the client sends the next one."""
    return Answer(200, (_WBXML,), status.status_body("Ping", status.PING_NO_CHANGES) or b"")
