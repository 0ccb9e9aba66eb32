"""A device's Provision where a backend may enforce a policy of its own beside the gateway's.

| the device sends | so does the gateway to the backend, with this request's credentials | the device gets |
|---|---|---|
| phase 1 | phase 1 | the stricter of both documents, the gateway's own where the backend has none |
| phase 2 | phase 2: the backend's temporary key, the device's own word | the final key, once the backend has given its own |
| phase 1, or an empty Provision | phase 1, answered by a directive to wipe | the directive |
| the acknowledgement of such a wipe | the same | Status 1 |

The backend's keys are the gateway's to keep, the device has the gateway's own. So nothing is attested that no device has done,
and no credential is kept. Whether a backend enforces a policy is known by its answers alone; what has come of them is kept as
`Enforcement` with the device's entry, and `policies` makes the device's keys over it.
"""

import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from sentry_runtime.devices.enforcement import Directive, Enforcement
from sentry_runtime.eas import device_information, provision
from sentry_runtime.eas.demand import Demand
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import Acknowledgement, Ask, PolicyAnswer, Request, Response, WipeAcknowledgement
from sentry_runtime.gateway import backend_answers, enforce, provisioning, rewrite
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backend_answers import Demands, Grants, Refuses, Wipes
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.inquiry import Heard
from sentry_runtime.gateway.provisioning import Keys, Reply, Terms, answered, failed
from sentry_runtime.settings import Backend

# Not for the backend when the gateway asks itself: what comes back must be readable.
_NOT_ASKED_FOR = frozenset({b"accept-encoding", b"ms-asacceptmultipart"})
# What a client that has provisioned may send without its key (MS-ASPROV 3.1.5.1).
_WITHOUT_KEY = frozenset({"Ping", "OPTIONS"})
# Of the policy that comes with a directive. It opens nothing.
_WIPE_KEY = 1


def request(
    head: Head,
    backend: Backend,
    source: str,
    policy_key: int,
    body: bytes,
    *,
    logged_on: bool = False,
    hidden: frozenset[bytes] = frozenset(),
) -> bytes:
    """A Provision of the gateway's own in the form of the device's: its query, version and credentials, another key and
    body. `logged_on`, `hidden`: see `rewrite.request_head`."""
    fields = [(name, value) for name, value in head.fields if name.lower() not in _NOT_ASKED_FOR]
    own = dataclasses.replace(head, fields=fields, length=len(body))
    return rewrite.request_head(own, backend, source, policy_key=policy_key, logged_on=logged_on, hidden=hidden) + body


def forwarded_key(claim: Claim, held: Enforcement | None) -> int:
    """The backend's own policy key that goes with a request which is forwarded; 0: none.

    A client that may leave out its key because the site is lenient has shown nothing: the backend is to judge it by itself.
    """
    if held is None or (claim.policy_key is None and claim.command not in _WITHOUT_KEY):
        return 0
    return held.final


# The device's Provision

Tell = Callable[[int, bytes], Awaitable[Heard]]
"""Sends the backend a Provision with this policy key and body. Raises `BackendsDownError`, or what a log-on raises."""
Keep = Callable[[Enforcement | None], Awaitable[None]]
"""Has it kept for this device. Raises `UndecidedError`."""


@dataclass(frozen=True, slots=True)
class Mediation:
    """One Provision of one device between both policies.

    `own` is what the device has to apply without the backend, `held` what is kept of the backend's; `keys` are the device's where
    that is kept.
    """

    claim: Claim
    own: Terms
    keys: Callable[[Enforcement], Keys]
    held: Enforcement | None
    tell: Tell
    keep: Keep

    async def reply(self, body: bytes, encoding: bytes = b"") -> Reply:
        """The answer for the device. Raises `CredentialsRefusedError`, `UndecidedError` or what `tell` raises; the device is to
        try again then, and nothing that it needs for that is lost."""
        asked_for = _read(body, encoding)
        match asked_for:
            case Ask() if self._is_whole(asked_for):
                return await self._asked(asked_for, body)
            case Acknowledgement():
                return await self._acknowledged(asked_for, body)
            case WipeAcknowledgement():
                return await self._wiped(asked_for, body)
            case _:
                return self._alone(body, encoding)

    def _is_whole(self, ask: Ask) -> bool:
        """Whether it is one that the gateway answers with a policy, or that only asks for a wipe."""
        protocol = self.claim.protocol
        says = ask.device is not None or not device_information.belongs_to_provision(protocol)
        return not ask.policy_type or (says and ask.policy_type in provision.policy_types(protocol))

    def _alone(self, body: bytes, encoding: bytes = b"") -> Reply:
        """The answer where no backend has a say."""
        return provisioning.reply(self.claim, self.own, body, encoding)

    def _joined(self, held: Enforcement) -> Terms:
        return dataclasses.replace(self.own, keys=self.keys(held))

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
        return self._alone(body)

    async def _offered(self, ask: Ask, kind: str, key: int, demanded: Demand) -> Reply:
        joint = backend_answers.joined(self.own.policy, demanded)
        held = Enforcement(temporary=key, digest=joint.digest)
        await self.keep(held)  # before the device has it: its next request may come by another worker
        if not ask.policy_type:  # it only wanted to know whether it is to be wiped
            return self._alone(provision.encode_request(ask))
        document = joint.wap_document() if kind == provision.WAP_XML else joint.document(self.claim.protocol)
        offered = PolicyAnswer(kind, key=self.keys(held).temporary, document=document)
        response = Response(policy=offered, device_status=_told(ask))
        return answered(self.claim, response, "joint_policy_offered", says=ask.device)

    async def _acknowledged(self, acknowledgement: Acknowledgement, body: bytes) -> Reply:
        held = self.held
        reply = provisioning.reply(self.claim, self.own if held is None else self._joined(held), body)
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
        says = request.device if isinstance(request, Ask) else None
        counted = "backend_wipes"
        return answered(self.claim, response, "backend_wipe_handed_out", says=says, action="wipe", counter=counted)

    async def _wiped(self, acknowledgement: WipeAcknowledgement, body: bytes) -> Reply:
        wipe = Directive.ACCOUNT if acknowledgement.account_only else Directive.DEVICE
        if self.held is None or self.held.wipe is not wipe:
            return self._alone(body)
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
