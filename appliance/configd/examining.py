"""Whether a client certificate is good: its chain to the site's authorities, dates, purpose and revocation (RFC 5280 6).

openssl judges, in a process of its own without any privilege: who makes certificates must not get at root's memory.
"""

import logging
import os
import re
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from appliance.features.certificate_login import AUTHORITIES, LISTS
from appliance.process import CommandError, Finished
from sentry_runtime import control

_log = logging.getLogger(__name__)

# A key of less than 112 bits of strength, and a signature with SHA-1, are refused (openssl's level 2).
_VERIFY = ("openssl", "verify", "-purpose", "sslclient", "-auth_level", "2", "-no-CApath", "-no-CAstore")
_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs", "--")
_ERROR = re.compile(r"^error (\d+) at (\d+) depth lookup: ?(.*)$", re.MULTILINE)
_STRANGE = "is of no authority that this appliance takes certificates of"
_WORDS = {  # X509_V_ERR_... (openssl-verification-options(1), x509_vfy.h)
    2: _STRANGE,
    3: "cannot be looked up: there is no revocation list of its authority",
    9: "does not hold yet",
    10: "has ended",
    12: "cannot be looked up: the revocation list of its authority has ended",
    18: _STRANGE,
    19: _STRANGE,
    20: _STRANGE,
    21: _STRANGE,
    23: "has been revoked",
    26: "is not for logging in (extended key usage)",
    66: "has a key that is too weak",
    68: "has a signature that is too weak",
}

Examine = Callable[[str, bool], str]
"""A certificate (PEM), and whether it must be proved not to be revoked, to what is wrong with it, "" where nothing is."""


Standing = Callable[[str], str]
"""A certificate (PEM) to what the agent has against it, "" where it has proof that it is not revoked."""


class Attempt(Protocol):
    """`appliance.process.attempt`, or a test's."""

    def __call__(self, argv: list[str], *, stdin: str | None = None) -> Finished: ...


def examiner(attempt: Attempt, *, authorities: str = AUTHORITIES, lists: str = LISTS) -> Examine:
    """Judges by the files of these names (PEM). Whatever keeps it from judging is a reason to refuse."""

    def examine(pem: str, strict: bool) -> str:  # noqa: FBT001 - see `Examine`
        revocation = ("-crl_check_all", "-CRLfile", lists) if strict else ()
        drop = _NOBODY if os.geteuid() == 0 else ()
        try:
            done = attempt([*drop, *_VERIFY, "-CAfile", authorities, *revocation], stdin=pem)
        except CommandError:
            return "could not be examined; the appliance's log says why"
        return "" if done.status == 0 else _words(f"{done.errors}\n{done.output}")

    return examine


def asker(call: Callable[..., Any], socket: str) -> Standing:
    """Asks the agent at `socket` by `call` (`sentry_runtime.control.call`). That it does not know is a reason to refuse."""

    def standing(pem: str) -> str:
        request = control.CheckAdministrator(certificate=ssl.PEM_cert_to_DER_cert(pem))
        try:
            found: control.CertificateStatus = call(socket, request, control.CertificateStatus)
        except control.ControlError as error:
            _log.warning("whether a certificate has been revoked cannot be told: %s", error)
            return "cannot be looked up: the agent does not answer"
        if found.standing == "good" and found.passes:
            return ""
        return (
            _WORDS[23] if found.standing == "revoked" else "cannot be looked up: nothing proves that it is not revoked"
        )

    return standing


def _words(said: str) -> str:
    found = _ERROR.search(said)
    if found is None:
        return "could not be examined"
    number, depth, text = int(found[1]), int(found[2]), found[3].strip()
    words = _WORDS.get(number, f"is not good ({text or number})")
    return words if depth == 0 or number in (3, 12) else f"leads to an authority whose certificate {words}"
