"""The gateway's own answers: what a device gets that is not let through, in the words of its protocol version.

Up to 12.1 a refusal is an HTTP status; from 14.0 on it is HTTP 200 with a status in the command's own document, since
clients of those versions show a useful message only for that (MS-ASHTTP 2.2.2.1.1, MS-ASCMD 2.2.2).
"""

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from sentry_runtime.devices.record import Reason
from sentry_runtime.eas import status
from sentry_runtime.gateway.decide import Need, Verdict
from sentry_runtime.gateway.identify import Claim, DeniedError

RETRY_SECONDS = 30  # a restarted backend is up again by then; a fleet's retries spread over it
RETRY_SOON_SECONDS = 5  # after a draining or busy gateway: somebody else, or the next free moment, will answer

_WBXML = (b"Content-Type", b"application/vnd.ms-sync.wbxml")
# 449 is Microsoft's (MS-ASHTTP 2.2.2.1.1); the phrase is the one that servers use.
_REASON_PHRASES = {code.value: code.phrase.encode() for code in HTTPStatus} | {
    449: b"Retry after sending a PROVISION command"
}

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
        lines.append(b"Date: " + formatdate(usegmt=True).encode())
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


def blocked(claim: Claim, verdict: Verdict) -> Answer:
    """The answer of a device that may not pass, for its protocol version and command.

    A device that is refused only because nobody could be asked is told to come back: it has done nothing wrong.
    """
    if Reason.UEM_UNREACHABLE in verdict.reasons:
        return unavailable()
    if not status.speaks_status(claim.protocol):
        return Answer(403)
    full = verdict.reasons == (Reason.MAILBOX_LIMIT,)
    body = status.status_body(claim.command, status.MAXIMUM_DEVICES_REACHED if full else status.DEVICE_IS_BLOCKED)
    return Answer(403) if body is None else Answer(200, (_WBXML,), body)


def unprovisioned(claim: Claim, verdict: Verdict) -> Answer:
    """The answer of a device that has to provision first."""
    wrong = Need.POLICY_KEY_WRONG in verdict.reasons
    return provision_first(claim, status.INVALID_POLICY_KEY if wrong else status.DEVICE_NOT_PROVISIONED)


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


def revoked(claim: Claim, verdict: Verdict) -> Answer:
    """The answer to a request that waits at the backend when its device is blocked.

    A Ping of an older client ends with "do a FolderSync", which it then does, and is refused in the ordinary way.
    """
    return ping_ended(claim) or blocked(claim, verdict)


def ping_ended(claim: Claim) -> Answer | None:
    """The end of an older client's Ping, after which it sends a FolderSync; None for anything else."""
    if claim.command != "Ping" or status.speaks_status(claim.protocol):
        return None
    return Answer(200, (_WBXML,), status.status_body("Ping", status.PING_FOLDER_SYNC_NEEDED) or b"")


def ping_over() -> Answer:
    """The end of a held Ping when the gateway drains: nothing has changed so far; the client sends the next one."""
    return Answer(200, (_WBXML,), status.status_body("Ping", status.PING_NO_CHANGES) or b"")
