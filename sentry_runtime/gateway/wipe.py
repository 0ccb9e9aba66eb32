"""How a device that is to be wiped is answered, in the words of its protocol version (MS-ASPROV 3.1.5.1.2, 3.2.5.1.2). Pure.

| it sends | it gets | mark |
|---|---|---|
| any command but Provision | 449, from 14.0 on with Status 140 | |
| a Provision: empty, or either phase | Status 1 and the directive | handed out |
| the acknowledgement of what was ordered, Status 1 | Status 1 | acknowledged |
| the same with another status | Status 2 and the directive again | failed |
| the acknowledgement of another kind of wipe | Status 1 and the directive | handed out |
| anything, where the account alone is to go and the version is below 16.1, which has no such wipe | a block | too old |

The directive is for whoever names the device and the user: the password was probably changed when the phone got lost, so
none is asked for. What a stranger gains by that is to know that the device is to be wiped, and to acknowledge it in its
place. Therefore an acknowledgement that nobody vouches for ends nothing: the directive is handed out as before.

449 rather than HTTP 200 with Status 140: all known clients send a Provision on it, and there are some that act on nothing else.
"""

from dataclasses import dataclass

from sentry_runtime.devices.record import Wipe, WipeKind, WipeMark
from sentry_runtime.eas import provision, status
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import Ask, Request, Response, WipeAcknowledgement
from sentry_runtime.gateway import enforce
from sentry_runtime.gateway.decide import Action, Verdict
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.identify import Claim

# Stands for the order of an entry that has none, from before orders were kept: no mark is ever kept of it.
_UNKNOWN_ORDER = Wipe(kind=WipeKind.DEVICE, order=0)
# Of the policy that comes with the directive. It opens nothing: phase 2 of a device that is to be wiped gets no key.
_POLICY_KEY = 1
_DONE = 1  # MS-ASPROV 2.2.2.54.3, Status of RemoteWipe


@dataclass(frozen=True, slots=True)
class Step:
    """An answer with one word for the audit line, and what has come of the order by it."""

    answer: Answer
    reason: str
    mark: WipeMark | None = None
    action: str = "wipe"


def order(verdict: Verdict) -> Wipe:
    """The order that this verdict is for."""
    return verdict.wipe or _UNKNOWN_ORDER


def possible(claim: Claim, ordered: Wipe) -> bool:
    """Whether the client's version has what is ordered. An OPTIONS may not say its version: then nothing speaks against it."""
    return (
        ordered.kind is WipeKind.DEVICE
        or claim.protocol in provision.ACCOUNT_WIPE_VERSIONS
        or claim.command == "OPTIONS"
    )


def refused(claim: Claim, ordered: Wipe, notice: str = "") -> Step:
    """The answer to whatever is no Provision, and to all of a device that has no such wipe: a block, with the site's `notice`."""
    if possible(claim, ordered):
        return Step(enforce.provision_first(claim, status.REMOTE_WIPE_REQUESTED), "wipe_pending")
    return Step(enforce.blocked(claim, Verdict(Action.BLOCK), notice), "account_wipe_needs_16_1", WipeMark.TOO_OLD)


def revoked(claim: Claim, ordered: Wipe, notice: str = "") -> Answer:
    """The answer to a request that waits at the backend when the wipe is ordered, so that the device comes back at once."""
    return enforce.ping_ended(claim) or refused(claim, ordered, notice).answer


def provisioned(claim: Claim, ordered: Wipe, body: bytes, encoding: bytes = b"", notice: str = "") -> Step:
    """The answer to a Provision; `encoding` is the body's Content-Encoding. A body of no bytes asks like an empty Provision."""
    if not possible(claim, ordered):
        return refused(claim, ordered, notice)
    if encoding.lower() not in (b"", b"identity"):
        return Step(Answer(415), "provision_encoded", action="deny")
    try:
        asked = provision.decode_request(body) if body else Ask()
    except provision.ProvisionError:
        return Step(Answer(400), "provision_malformed", action="deny")
    account_only = ordered.kind is WipeKind.ACCOUNT
    if not isinstance(asked, WipeAcknowledgement) or asked.account_only is not account_only:
        return Step(_directive(claim, ordered, asked), "wipe_handed_out", WipeMark.HANDED_OUT)
    if asked.status == _DONE:
        done = provision.encode_response(Response(), claim.protocol)
        return Step(enforce.provisioned(done), "wipe_acknowledged", WipeMark.UNVERIFIED)
    return Step(_directive(claim, ordered, asked, provision.PROTOCOL_ERROR), "wipe_failed", WipeMark.FAILED)


def _directive(claim: Claim, ordered: Wipe, asked: Request, code: int = provision.SUCCESS) -> Answer:
    """The directive; to phase 1 with a policy that restricts nothing, and a key.

    There are clients that look for the directive only once they have found a policy they can apply, and that acknowledge
    the key of it together with the wipe. So the policy is one that every client can apply, and says nothing of the site's.
    """
    policy = device_status = None
    if isinstance(asked, Ask):
        device_status = None if asked.device is None else provision.SUCCESS
        if asked.policy_type in provision.policy_types(claim.protocol):
            policy = provision.policy_answer(Policy(), asked.policy_type, _POLICY_KEY)
    account_only = ordered.kind is WipeKind.ACCOUNT
    response = Response(
        status=code,
        policy=policy,
        device_status=device_status,
        remote_wipe=not account_only,
        account_only_remote_wipe=account_only,
    )
    return enforce.provisioned(provision.encode_response(response, claim.protocol))
