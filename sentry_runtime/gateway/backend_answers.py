"""What a backend's answer to a Provision of the gateway's own means; pure but for a line in the journal.

A backend that enforces a policy says so by its answers, and so does one that enforces none. What says neither is an error: then
nothing is concluded, and the device comes back.
"""

import logging
from dataclasses import dataclass

from sentry_runtime.eas import demand, provision, status
from sentry_runtime.eas.demand import Demand, Joint
from sentry_runtime.eas.policy import Policy, PolicyError
from sentry_runtime.eas.provision import Response
from sentry_runtime.eas.wbxml import Element
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.inquiry import Heard

# What a server says that does not know the command: of a method, a path, a version or a command that it does not have.
_UNKNOWN_COMMAND = frozenset({400, 404, 405, 501, 505})
# Statuses of Provision that pass (MS-ASCMD 2.2.2): server errors, and what a later attempt may mend.
_PASSING = frozenset({3, 110, 111, 114, 133})
_NO_POLICY, _UNKNOWN_TYPE = 2, provision.POLICY_UNKNOWN_TYPE

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Demands:
    """It enforces a policy: its temporary key and what it demands."""

    key: int
    demand: Demand


@dataclass(frozen=True, slots=True)
class Grants:
    """It has taken the acknowledgement: its final key."""

    key: int


@dataclass(frozen=True, slots=True)
class Wipes:
    """It orders a wipe."""

    account_only: bool


@dataclass(frozen=True, slots=True)
class Refuses:
    """It does not take this device or user: a status of Provision."""

    status: int


class Nothing:
    """It enforces nothing."""


class Stale:
    """Its key has been overtaken: the device has to begin again."""


def asked(heard: Heard, *, known: bool) -> Demands | Wipes | Refuses | Nothing:
    """The answer to phase 1. `known`: the backend is known to enforce a policy, so that no vague answer says it does not.

    Raises `BackendsDownError` for an answer that says nothing, `CredentialsRefusedError`.
    """
    vague = heard.status in _UNKNOWN_COMMAND or (heard.status == 200 and not heard.body)
    if vague and not known:
        return Nothing()
    response = _response(heard)
    if isinstance(response, Wipes | Refuses):
        return response
    given = response.policy
    if given is None or given.status == _NO_POLICY or (given.status == _UNKNOWN_TYPE and not known):
        return Nothing()
    if given.status != provision.SUCCESS:
        raise _failure("backend_provision_failed", f"Policy Status {given.status}")
    if not given.key or not isinstance(given.document, Element | str):
        raise _failure("backend_policy_unreadable", "no key, or no document")
    try:
        return Demands(given.key, demand.read(given.document))
    except PolicyError as error:
        raise _failure("backend_policy_unreadable", str(error)) from None


def joined(own: Policy, demanded: Demand) -> Joint:
    """Both policies as one. Raises `BackendsDownError` where together they say more than one policy can."""
    try:
        return demand.join(own, demanded)
    except PolicyError as error:
        raise _failure("backend_policy_unreadable", str(error)) from None


def acknowledged(heard: Heard) -> Grants | Wipes | Refuses | Stale:
    """The answer to phase 2. Raises as `asked` does."""
    if heard.status == 449:
        return Stale()
    response = _response(heard)
    if isinstance(response, Wipes | Refuses):
        return response
    given = response.policy
    if given is None or given.status == _NO_POLICY:
        return Stale()  # what it enforced it enforces no more
    if given.status == provision.POLICY_WRONG_KEY:
        return Stale()
    if given.status != provision.SUCCESS:
        return Refuses(provision.CANNOT_COMPLY)
    if not given.key:
        raise _failure("backend_provision_failed", "no final key")
    return Grants(given.key)


def check_wiped(heard: Heard) -> None:
    """Raises `BackendsDownError` unless the backend has taken the acknowledgement of a wipe; what else it answers to that is its
    own affair: Horde sends the directive again."""
    if heard.status != 200:
        raise _failure("backend_provision_failed", f"HTTP {heard.status}")


def _response(heard: Heard) -> Response | Wipes | Refuses:
    if heard.status == 401:
        raise CredentialsRefusedError
    if heard.status == 403:
        return Refuses(status.DEVICE_IS_BLOCKED)
    if heard.status in (301, 302, 303, 307, 308, 451):
        raise BackendsDownError("backend_redirects")
    if heard.status != 200 or heard.encoded:
        raise _failure("backend_provision_failed", f"HTTP {heard.status}")
    try:
        response = provision.decode_response(heard.body, as_sent=True)
    except provision.ProvisionError as error:
        raise _failure("backend_policy_unreadable", str(error)) from None
    if response.remote_wipe or response.account_only_remote_wipe or response.status == status.REMOTE_WIPE_REQUESTED:
        return Wipes(account_only=response.account_only_remote_wipe and not response.remote_wipe)
    if response.status in _PASSING:
        raise _failure("backend_provision_failed", f"Status {response.status}")
    return response if response.status == provision.SUCCESS else Refuses(response.status)


def _failure(reason: str, found: str) -> BackendsDownError:
    log.warning("a backend's answer to a Provision: %s: %s", reason, found)
    return BackendsDownError(reason)
