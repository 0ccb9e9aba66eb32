"""A device's Provision where a backend may enforce a policy of its own beside the gateway's.

| the device sends | so does the gateway to the backend, with this request's credentials | the device gets |
|---|---|---|
| phase 1 | phase 1 | the stricter of both documents, the gateway's own where the backend has none |
| phase 2 | phase 2: the backend's temporary key, the device's own word | the final key, once the backend has given its own |
| phase 1, or an empty Provision | phase 1, answered by a directive to wipe | the directive |
| the acknowledgement of such a wipe | the same | Status 1 |

The backend's keys are the gateway's to keep, the device has the gateway's own. So nothing is attested that no device has done,
and no credential is kept. Whether a backend enforces a policy is known by its answers alone; what has come of them is kept as
`Enforcement` with the device's entry.
"""

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from sentry_runtime.devices.enforcement import Directive, Enforcement
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas import demand, provision
from sentry_runtime.eas.demand import Demand
from sentry_runtime.eas.policy import Phase, Policy
from sentry_runtime.eas.provision import Acknowledgement, Ask, PolicyAnswer, Request, Response, WipeAcknowledgement
from sentry_runtime.gateway import backend_answers, enforce, rewrite
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backend_answers import Demands, Grants, Refuses, Wipes
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.decide import Need, Unreadable
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.inquiry import Heard
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.provisioning import Provisioning, Reply, answered, failed
from sentry_runtime.settings import Backend

# Not for the backend when the gateway asks itself: what comes back must be readable.
_NOT_ASKED_FOR = frozenset({b"accept-encoding", b"ms-asacceptmultipart"})
# Of the policy that comes with a directive. It opens nothing.
_WIPE_KEY = 1


def request(head: Head, backend: Backend, source: str, policy_key: int, body: bytes) -> bytes:
    """A Provision of the gateway's own in the form of the device's: its query, version and credentials, another key and
    body."""
    fields = [(name, value) for name, value in head.fields if name.lower() not in _NOT_ASKED_FOR]
    own = dataclasses.replace(head, fields=fields, length=len(body))
    return rewrite.request_head(own, backend, source, policy_key=policy_key) + body


def need(ours: Provisioning, claim: Claim, key: DeviceKey, known: Known) -> Need | Unreadable | None:
    """What the device of this request lacks of both policies. Before it is told so, what is kept is read anew: the agent's word
    that the device has just provisioned may be on its way to this worker."""
    held = known.enforcement(key)
    if isinstance(held, Unreadable):
        return held
    found = ours.need(claim, held)
    if found is None or found is Need.PROVISION_ASKED:
        return found
    present = known.enforcement(key, anew=True)
    return present if isinstance(present, Unreadable) else ours.need(claim, present)


# The device's Provision

Tell = Callable[[int, bytes], Awaitable[Heard]]
"""Sends the backend a Provision with this policy key and body. Raises `BackendsDownError`."""
Keep = Callable[[Enforcement | None], Awaitable[None]]
"""Has it kept for this device. Raises `UndecidedError`."""


@dataclass(frozen=True, slots=True)
class Mediation:
    """One Provision of one device between both policies. `held` is what is kept of the backend's."""

    ours: Provisioning
    claim: Claim
    held: Enforcement | None
    tell: Tell
    keep: Keep

    async def reply(self, body: bytes, encoding: bytes = b"") -> Reply:
        """The answer for the device. Raises `CredentialsRefusedError`, `BackendsDownError` or `UndecidedError`; the device is
        to try again then, and nothing that it needs for that is lost."""
        asked_for = _read(body, encoding)
        match asked_for:
            case Ask() if asked_for.policy_type in ("", *provision.policy_types(self.claim.protocol)):
                return await self._asked(asked_for, body)
            case Acknowledgement():
                return await self._acknowledged(asked_for, body)
            case WipeAcknowledgement():
                return await self._wiped(asked_for, body)
            case _:
                return self.ours.reply(self.claim, body, encoding)

    async def _asked(self, ask: Ask, body: bytes) -> Reply:
        kind = ask.policy_type or provision.policy_types(self.claim.protocol)[-1]
        told = await self.tell(0, provision.encode_request(Ask(kind, ask.device)))
        match backend_answers.asked(told, known=self.held is not None):
            case Wipes(account_only):
                return await self._directive(ask, Directive.ACCOUNT if account_only else Directive.DEVICE)
            case Refuses(code):
                return failed(self.claim, code, "backend_refuses_device")
            case Demands(key, demanded):
                return await self._offered(ask, kind, key, demanded)
        if self.held is not None:
            await self.keep(None)
        return self.ours.reply(self.claim, body)

    async def _offered(self, ask: Ask, kind: str, key: int, demanded: Demand) -> Reply:
        joint = demand.join(self.ours.policy, demanded)
        held = Enforcement(temporary=key, digest=joint.digest)
        await self.keep(held)  # before the device has it: its next request may come by another worker
        if not ask.policy_type:  # it only wanted to know whether it is to be wiped
            return self.ours.reply(self.claim, provision.encode_request(ask))
        document = joint.wap_document() if kind == provision.WAP_XML else joint.document(self.claim.protocol)
        temporary = self.ours.joined(held).key(self.claim, Phase.TEMPORARY)
        offered = PolicyAnswer(kind, key=temporary, document=document)
        return answered(self.claim, Response(policy=offered, device_status=_told(ask)), "joint_policy_offered")

    async def _acknowledged(self, acknowledgement: Acknowledgement, body: bytes) -> Reply:
        held = self.held
        reply = (self.ours if held is None else self.ours.joined(held)).reply(self.claim, body)
        if (
            held is None or not reply.granted or not held.temporary
        ):  # without: the answer to this was lost, it comes again
            return reply
        own = dataclasses.replace(acknowledgement, key=held.temporary)
        told = await self.tell(held.temporary, provision.encode_request(own))
        match backend_answers.acknowledged(told):
            case Grants(key):
                await self.keep(Enforcement(final=key, digest=held.digest))
                return dataclasses.replace(reply, reason=f"joint_{reply.reason}")
            case Wipes(account_only):
                return await self._directive(acknowledgement, Directive.ACCOUNT if account_only else Directive.DEVICE)
            case Refuses(code):
                return failed(self.claim, code, "backend_refuses_device")
        wrong = PolicyAnswer(acknowledgement.policy_type, provision.POLICY_WRONG_KEY)
        return answered(self.claim, Response(policy=wrong), "backend_key_overtaken")

    # The backend's wipe

    async def _directive(self, request: Request, wipe: Directive, code: int = provision.SUCCESS) -> Reply:
        """Pass it on. To phase 1 with a policy that restricts nothing: there are clients that look for the directive only
        once they have found a policy."""
        await self.keep(msgspec.structs.replace(self.held or Enforcement(), wipe=wipe))
        policy = None
        if isinstance(request, Ask) and request.policy_type:
            policy = provision.policy_answer(Policy(), request.policy_type, _WIPE_KEY)
        response = Response(
            status=code,
            policy=policy,
            device_status=_told(request),
            remote_wipe=wipe is Directive.DEVICE,
            account_only_remote_wipe=wipe is Directive.ACCOUNT,
        )
        return answered(self.claim, response, "backend_wipe_handed_out", action="wipe", counter="backend_wipes")

    async def _wiped(self, acknowledgement: WipeAcknowledgement, body: bytes) -> Reply:
        wipe = Directive.ACCOUNT if acknowledgement.account_only else Directive.DEVICE
        if self.held is None or self.held.wipe is not wipe:
            return self.ours.reply(self.claim, body)
        try:
            told = await self.tell(0, provision.encode_request(acknowledgement))
            backend_answers.check_wiped(told)
        except (CredentialsRefusedError, BackendsDownError):
            # The device does not wait for an answer before it wipes itself, so perhaps nobody says it again.
            return Reply(enforce.unavailable(), "backend_wipe_report_lost", "fail", counter="backend_failures")
        if acknowledgement.status != provision.SUCCESS:
            reply = await self._directive(acknowledgement, wipe, provision.PROTOCOL_ERROR)
            return dataclasses.replace(reply, reason="backend_wipe_failed", counter="")
        with contextlib.suppress(UndecidedError):  # kept or not, the backend knows
            await self.keep(msgspec.structs.replace(self.held, wipe=Directive.NONE))
        return answered(
            self.claim,
            Response(),
            "backend_wipe_acknowledged",
            action="wipe",
            counter="backend_wipes_acknowledged",
        )


def _told(request: Request) -> int | None:
    return provision.SUCCESS if isinstance(request, Ask) and request.device is not None else None


def _read(body: bytes, encoding: bytes) -> Request | None:
    if encoding.lower() not in (b"", b"identity"):
        return None
    try:
        return provision.decode_request(body)
    except provision.ProvisionError:
        return None
