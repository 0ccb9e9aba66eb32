"""The gateway's own policy: what a device lacks of it, and the answer to its Provision. Pure but for reading the secret.

Nothing is stored: a device's policy key is computed from the fleet's secret, so a changed policy, or another secret, makes
every device provision anew, and every gateway with the same two knows the same keys. A key that is neither the device's
present one nor 0 is answered by "invalid key" (144) and never by "policy refresh" (143), for nothing tells an old policy's
key from any other number; clients do the same on both.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sentry_runtime.devices.enforcement import Enforcement, joint_digest
from sentry_runtime.eas import provision
from sentry_runtime.eas.policy import Phase, Policy, digest, policy_key
from sentry_runtime.eas.provision import Acknowledgement, Ask, PolicyAnswer, Response, WipeAcknowledgement
from sentry_runtime.eas.status import speaks_status
from sentry_runtime.gateway import enforce
from sentry_runtime.gateway.decide import Need
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.settings import Gateway, SettingsError

SECRET_BYTES = 32  # the least that HMAC-SHA256's strength asks for (RFC 2104 3)
SECRET_BYTES_MAX = 4_096  # more is another file


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what the outcome's line says of it; `granted` with the final key; `counter` names one that counts it."""

    answer: Answer
    reason: str
    action: str = "provision"
    granted: bool = False
    counter: str = ""


@dataclass(frozen=True, slots=True)
class Provisioning:
    """A policy and the secret of its keys. `lenient`: a device that cannot apply all of it is let through all the same."""

    policy: Policy
    secret: bytes = field(repr=False)
    lenient: bool
    digest: bytes

    def joined(self, held: Enforcement) -> "Provisioning":
        """The same with the keys of a device that has been given the document which joins this policy with a backend's."""
        return Provisioning(self.policy, self.secret, self.lenient, joint_digest(self.digest, held))

    def need(self, claim: Claim, held: Enforcement | None = None) -> Need | None:
        """What the device of this request lacks before the request may pass; None: nothing. `held` is what is kept of a
        backend's policy for the device: until the backend has given its final key, the device has yet to provision."""
        if held is not None:
            need = self.joined(held).need(claim)
            return need or (None if held.final or claim.command == "OPTIONS" else Need.POLICY_KEY_MISSING)
        if claim.key is None or claim.command == "OPTIONS":
            return None
        if claim.command == "Provision":
            return Need.PROVISION_ASKED
        if not claim.policy_key:
            return Need.POLICY_KEY_MISSING
        if claim.policy_key == self.key(claim, Phase.FINAL):
            return None
        handed_out = claim.policy_key == self.key(claim, Phase.TEMPORARY)
        return Need.POLICY_KEY_MISSING if handed_out else Need.POLICY_KEY_WRONG

    def key(self, claim: Claim, phase: Phase) -> int:
        """The policy key of the claim's device and principal.

        By the printable reading of a base64 id where it has one, since that is the same device's id in the plain form.
        """
        device_id = claim.aliases[0] if claim.aliases else claim.key.device_id if claim.key is not None else ""
        return policy_key(self.secret, device_id, claim.principal, self.digest, phase)

    def reply(self, claim: Claim, body: bytes, encoding: bytes = b"") -> Reply:
        """The answer to a Provision of a device that may pass; `encoding` is the body's Content-Encoding."""
        if encoding.lower() not in (b"", b"identity"):
            return Reply(Answer(415), "provision_encoded", "deny")
        try:
            asked = provision.decode_request(body)
        except provision.ProvisionError:
            return Reply(Answer(400), "provision_malformed", "deny")
        if isinstance(asked, WipeAcknowledgement):
            return failed(claim, provision.PROTOCOL_ERROR, "wipe_not_asked_for")
        return self._acknowledged(claim, asked) if isinstance(asked, Acknowledgement) else self._asked(claim, asked)

    def _asked(self, claim: Claim, asked: Ask) -> Reply:
        kind, device_status = asked.policy_type, None if asked.device is None else provision.SUCCESS
        if not kind:
            return failed(claim, provision.PROTOCOL_ERROR, "policy_type_missing")
        if kind not in provision.policy_types(claim.protocol):
            unknown = PolicyAnswer(kind, provision.POLICY_UNKNOWN_TYPE)
            return answered(claim, Response(policy=unknown, device_status=device_status), "policy_type_unknown")
        offered = provision.policy_answer(self.policy, kind, self.key(claim, Phase.TEMPORARY))
        return answered(claim, Response(policy=offered, device_status=device_status), "policy_offered")

    def _acknowledged(self, claim: Claim, asked: Acknowledgement) -> Reply:
        # There are clients that send the temporary key in the body only; the header counts where the body has none.
        key = claim.policy_key if asked.key is None else asked.key
        if key != self.key(claim, Phase.TEMPORARY):
            wrong = PolicyAnswer(asked.policy_type, provision.POLICY_WRONG_KEY)
            return answered(claim, Response(policy=wrong), "policy_key_wrong")
        if asked.status != provision.APPLIED and not self.lenient:
            elsewhere = asked.status == provision.MANAGED_ELSEWHERE
            status = provision.EXTERNALLY_MANAGED if elsewhere else provision.CANNOT_COMPLY
            return failed(claim, status, "policy_not_applied")
        granted = PolicyAnswer(asked.policy_type, key=self.key(claim, Phase.FINAL))
        reason = "policy_applied" if asked.status == provision.APPLIED else "policy_applied_in_part"
        return answered(claim, Response(policy=granted), reason, granted=True)


def load(gateway: Gateway) -> Provisioning | None:
    """The policy of the settings with its secret; None without a policy. Raises `SettingsError`."""
    if gateway.policy is None:
        return None
    if gateway.fleet_secret is None:
        raise SettingsError("gateway.fleet_secret: the file of the secret is needed where there is a gateway.policy")
    try:
        with Path(gateway.fleet_secret).open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{gateway.fleet_secret}: cannot be read: {error.strerror}") from error
    if not SECRET_BYTES <= len(secret) <= SECRET_BYTES_MAX:
        raise SettingsError(
            f"{gateway.fleet_secret}: {len(secret)} bytes; {SECRET_BYTES} to {SECRET_BYTES_MAX} random ones are expected"
        )
    return Provisioning(gateway.policy, secret, gateway.non_provisionable == "allow", digest(gateway.policy))


def answered(
    claim: Claim,
    response: Response,
    reason: str,
    *,
    granted: bool = False,
    action: str = "provision",
    counter: str = "",
) -> Reply:
    """The reply that sends this response."""
    body = provision.encode_response(response, claim.protocol)
    return Reply(enforce.provisioned(body), reason, action, granted, counter)


def failed(claim: Claim, status: int, reason: str) -> Reply:
    """The reply of this status. Clients up to 12.1 do not know the common statuses; theirs is 403, as for every refusal."""
    if status > provision.PROTOCOL_ERROR and not speaks_status(claim.protocol):
        return Reply(Answer(403), reason)
    return answered(claim, Response(status=status), reason)
