"""Which policy a device must apply, and the keys by which it shows that it has.

The UEM says it per device and principal, in the device list; where it says nothing, the site's own policy holds, if there is
one. A policy key is computed from the fleet's secret: nothing is stored, a changed policy makes its devices provision anew, and
every gateway with the same secret knows the same keys. Where a backend enforces a policy of its own beside it, the keys are made
over both, by what is kept of the backend's as an `Enforcement`.
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sentry_runtime.devices.enforcement import Enforcement, joint_digest
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.eas.policy import Phase, Policy, digest, policy_key
from sentry_runtime.gateway import provisioning
from sentry_runtime.gateway.decide import Need, Unreadable
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.provisioning import Keys, Terms
from sentry_runtime.settings import Gateway, SettingsError

SECRET_BYTES = 32  # the least that HMAC-SHA256's strength asks for (RFC 2104 3)
SECRET_BYTES_MAX = 4_096  # more is another file
KEYS = 50_000  # remembered ones: of as many devices as a worker remembers the entries of

_NO_KEYS = Keys(-1, -1)  # without the secret there is no key that counts: no request has a negative one


class Library(Protocol):
    """Where the UEM's policies are, and what has come of the backends' own."""

    def policy(self, wanted: bytes) -> Policy | None:
        """The policy with this digest; None when it cannot be read now."""

    def has_policies(self) -> bool:
        """Whether the UEM wants any policy on any device."""

    def enforcement(self, key: DeviceKey, *, anew: bool = False) -> Enforcement | Unreadable | None:
        """What is kept of a backend's own policy for the entry of this key; `anew`: as it is now, whatever has been told."""


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """What the settings say. `policy`: for devices without one of the UEM's; `lenient`: whether devices pass that cannot apply
    theirs; `before`: the digest of the policy that stood in the settings before this one."""

    policy: Policy | None = None
    secret: bytes = field(default=b"", repr=False)
    lenient: bool = False
    before: bytes = b""

    @property
    def digest(self) -> bytes:
        """The policy's; empty without one."""
        return b"" if self.policy is None else digest(self.policy)

    def same_keys(self, other: "SitePolicy") -> bool:
        """Whether every device has the same key under both."""
        return (self.digest, self.secret) == (other.digest, other.secret)


class Policies:
    """The site's policy and the UEM's together. One per worker."""

    def __init__(self, site: SitePolicy, library: Library) -> None:
        self._site = site
        self._digest = site.digest
        self._library = library
        self._keys = functools.lru_cache(KEYS)(self._computed)

    def read_from(self, library: Library) -> "Policies":
        """The same, with what another library has."""
        return Policies(self._site, library)

    def digest_of(self, record: Record | Unreadable | None) -> bytes:
        """Of the policy that the device of this entry must apply. Empty: none, provisioning is the backend's business."""
        return record.policy or self._digest if isinstance(record, Record) else b""

    def need(self, claim: Claim, record: Record | Unreadable | None) -> Need | Unreadable | None:
        """What the device of this request lacks before the request may pass; None: nothing. Unreadable: nobody can say.

        Before the device is told so, what is kept of a backend's policy is read anew: the agent's word that the device has just
        provisioned may be on its way.
        """
        if claim.key is None or not isinstance(record, Record) or not self.digest_of(record):
            return None
        found = self._lacks(claim, record, self._library.enforcement(record.key))
        if found is None or found is Need.PROVISION_ASKED or isinstance(found, Unreadable):
            return found
        return self._lacks(claim, record, self._library.enforcement(record.key, anew=True))

    def _lacks(self, claim: Claim, record: Record, held: Enforcement | Unreadable | None) -> Need | Unreadable | None:
        if isinstance(held, Unreadable):
            return held
        unfinished = held is not None and not held.final
        return provisioning.need(
            claim, self.keys(claim, record, held), lenient=self._site.lenient, unfinished=unfinished
        )

    def terms(self, claim: Claim, record: Record) -> Terms | None:
        """What the device of this request has to apply, but for what a backend demands; None where that cannot be said now."""
        policy = self._library.policy(record.policy) if record.policy else self._site.policy
        if policy is None or not self._site.secret:
            return None
        return Terms(policy, self.keys(claim, record), self._site.lenient)

    def keys(self, claim: Claim, record: Record, held: Enforcement | None = None) -> Keys:
        """The policy keys of the claim's device and principal, where it must apply a policy; `held` is what is kept of a
        backend's own for it.

        By the printable reading of a base64 id where it has one, since that is the same device's id in the plain form.
        """
        device_id = claim.aliases[0] if claim.aliases else record.key.device_id
        joint = None if held is None else held.digest
        return self._keys(device_id, claim.principal, record.policy, record.policy_before, joint)

    def right_key(self, claim: Claim, record: Record | Unreadable | None) -> int | None:
        """The policy key that the device of this claim has if it has done all that it could do so far."""
        held = self._library.enforcement(record.key) if isinstance(record, Record) else None
        if not isinstance(record, Record) or isinstance(held, Unreadable):
            return None
        return self.keys(claim, record, held).final

    def owns_any(self) -> bool:
        """Whether there are devices that the gateway itself provisions."""
        return self._site.policy is not None or self._library.has_policies()

    def _computed(
        self, device_id: str, principal: str, policy: bytes, before: bytes | None, joint: bytes | None
    ) -> Keys:
        if not self._site.secret:
            return _NO_KEYS
        wanted = policy or self._digest

        def key(of: bytes, phase: Phase) -> int:
            whole = of if joint is None else joint_digest(of, joint)
            return policy_key(self._site.secret, device_id, principal, whole, phase)

        earlier = {self._site.before if not policy else b"", self._digest if before == b"" else before or b""}
        return Keys(
            temporary=key(wanted, Phase.TEMPORARY),
            final=key(wanted, Phase.FINAL),
            before=tuple(key(one, Phase.FINAL) for one in sorted(earlier - {b"", wanted})),
        )


def load(gateway: Gateway, now: SitePolicy | None = None) -> SitePolicy:
    """What the settings say, with the secret read from its file; `now` is what is in force. Raises `SettingsError`."""
    secret = b"" if gateway.fleet_secret is None else _secret(Path(gateway.fleet_secret))
    if gateway.policy is not None and not secret:
        raise SettingsError("gateway.fleet_secret: the file of the secret is needed where there is a gateway.policy")
    site = SitePolicy(gateway.policy, secret, gateway.non_provisionable == "allow")
    if now is None:
        return site
    before = now.digest if now.digest != site.digest else now.before
    return SitePolicy(site.policy, site.secret, site.lenient, before)


def _secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            secret = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    if not SECRET_BYTES <= len(secret) <= SECRET_BYTES_MAX:
        raise SettingsError(
            f"{path}: {len(secret)} bytes; {SECRET_BYTES} to {SECRET_BYTES_MAX} random ones are expected"
        )
    return secret
