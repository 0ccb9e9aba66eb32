"""What a device lacks of the policy it must apply, and the answer to its Provision. Pure functions of the policy and its keys;
`sentry_runtime.gateway.policies` says which those are.

| policy key of a request | |
|---|---|
| the final key under the policy | it may pass |
| none at all, with a Ping | it may pass: clients need not send a key with it (MS-ASPROV 3.1.5.1) |
| none at all, at a site that lets clients pass that do not provision | it may pass |
| none, 0, or the temporary key | not provisioned (142) |
| the final key under the policy that it had before | the policy has changed (143) |
| any other | not a key of this device's (144) |

Where a backend enforces a policy of its own on the device (see `backend_policy`), its keys are those of both policies together,
and until that backend has given its own final key the device's opens nothing (142), nor may a Ping pass without one.

A client that sends no key at all is one that cannot provision; one that can sends 0 until it has a key (MS-ASPROV 3.1.5.2,
status 141). So a site that lets those pass hands its policy only to clients that ask for it.
"""

from dataclasses import dataclass

from sentry_runtime.eas import device_information, provision
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import Acknowledgement, Ask, PolicyAnswer, Response, WipeAcknowledgement
from sentry_runtime.eas.status import speaks_status
from sentry_runtime.gateway import enforce
from sentry_runtime.gateway.decide import Need
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.identify import Claim


@dataclass(frozen=True, slots=True)
class Keys:
    """The policy keys of one device and principal: for a policy that was handed out, for one that was acknowledged, and the
    latter under the policies that it may have had before."""

    temporary: int
    final: int
    before: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a device has to apply. `lenient`: one that cannot apply all of it is let through all the same."""

    policy: Policy
    keys: Keys
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what the outcome's line says of it; `granted` with the final key, `says` what the device said of itself;
    `counter` names one that counts it."""

    answer: Answer
    reason: str
    action: str = "provision"
    granted: bool = False
    says: DeviceInformation | None = None
    counter: str = ""


def need(claim: Claim, keys: Keys, *, lenient: bool, unfinished: bool = False) -> Need | None:
    """What the device of this request lacks before the request may pass; None: nothing. See the module's table.

    `unfinished`: a backend that enforces a policy on the device has not given its final key.
    """
    if claim.command == "Provision":
        return Need.PROVISION_ASKED
    key = claim.policy_key
    if claim.command == "OPTIONS" or (key == keys.final and not unfinished):
        return None
    if key is None:
        return None if lenient or (claim.command == "Ping" and not unfinished) else Need.POLICY_KEY_MISSING
    if key in (0, keys.temporary, keys.final):
        return Need.POLICY_KEY_MISSING
    return Need.POLICY_CHANGED if key in keys.before else Need.POLICY_KEY_WRONG


def reply(claim: Claim, terms: Terms, body: bytes, encoding: bytes = b"") -> Reply:
    """The answer to a Provision of a device that may pass; `encoding` is the body's Content-Encoding."""
    if encoding.lower() not in (b"", b"identity"):
        return Reply(Answer(415), "provision_encoded", "deny")
    try:
        asked = provision.decode_request(body)
    except provision.ProvisionError:
        return Reply(Answer(400), "provision_malformed", "deny")
    if isinstance(asked, WipeAcknowledgement):
        return failed(claim, provision.PROTOCOL_ERROR, "wipe_not_asked_for")
    return _acknowledged(claim, terms, asked) if isinstance(asked, Acknowledgement) else _asked(claim, terms, asked)


def _asked(claim: Claim, terms: Terms, asked: Ask) -> Reply:
    kind, device_status = asked.policy_type, None if asked.device is None else provision.SUCCESS
    if not kind:
        return failed(claim, provision.PROTOCOL_ERROR, "policy_type_missing")
    if asked.device is None and device_information.belongs_to_provision(claim.protocol):
        return failed(claim, provision.DEVICE_INFORMATION_REQUIRED, "device_information_missing")
    if kind not in provision.policy_types(claim.protocol):
        unknown = PolicyAnswer(kind, provision.POLICY_UNKNOWN_TYPE)
        return answered(claim, Response(policy=unknown, device_status=device_status), "policy_type_unknown")
    offered = provision.policy_answer(terms.policy, kind, terms.keys.temporary)
    response = Response(policy=offered, device_status=device_status)
    return answered(claim, response, "policy_offered", says=asked.device)


def _acknowledged(claim: Claim, terms: Terms, asked: Acknowledgement) -> Reply:
    # There are clients that send the temporary key in the body only; the header counts where the body has none.
    key = claim.policy_key if asked.key is None else asked.key
    if key != terms.keys.temporary:
        wrong = PolicyAnswer(asked.policy_type, provision.POLICY_WRONG_KEY)
        return answered(claim, Response(policy=wrong), "policy_key_wrong")
    if asked.status != provision.APPLIED and not terms.lenient:
        elsewhere = asked.status == provision.MANAGED_ELSEWHERE
        status = provision.EXTERNALLY_MANAGED if elsewhere else provision.CANNOT_COMPLY
        return failed(claim, status, "policy_not_applied")
    granted = PolicyAnswer(asked.policy_type, key=terms.keys.final)
    reason = "policy_applied" if asked.status == provision.APPLIED else "policy_applied_in_part"
    return answered(claim, Response(policy=granted), reason, granted=True)


def answered(
    claim: Claim,
    response: Response,
    reason: str,
    *,
    granted: bool = False,
    says: DeviceInformation | None = None,
    action: str = "provision",
    counter: str = "",
) -> Reply:
    """The reply that sends this response."""
    body = provision.encode_response(response, claim.protocol)
    return Reply(enforce.provisioned(body), reason, action, granted, says, counter)


def failed(claim: Claim, status: int, reason: str) -> Reply:
    """The reply of this status. Clients up to 12.1 do not know the common statuses; theirs is 403, as for every refusal."""
    if status > provision.PROTOCOL_ERROR and not speaks_status(claim.protocol):
        return Reply(Answer(403), reason)
    return answered(claim, Response(status=status), reason)
