"""Devices' certificates at the gateway: whether one is taken, and whose it is. No input or output but loading the authorities.

OpenSSL has checked the chain when a certificate comes from a handshake. What it does not know is checked here, of the
certificate alone, so that a resumed session is worth no more than the certificate in it still is: which authority has issued
it, that it is for authenticating clients, that it is in time, and whose it is.
"""

from dataclasses import dataclass

from sentry_runtime.certificates import authorities, holder
from sentry_runtime.certificates.authorities import Authorities
from sentry_runtime.certificates.certificate import Certificate, CertificateError, read
from sentry_runtime.certificates.header import Form, presented
from sentry_runtime.certificates.holder import Holders
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import DeviceAuthentication, Gateway, SettingsError

_PATH = "gateway.device_authentication"
HANDSHAKE_MODES = frozenset({"group_certificate", "identity_certificate"})
"""The modes in which the device itself shows its certificate."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A certificate that is taken: its SHA-256 ("" where only its subject is known), and the user it names ("" where whose it is
    does not matter)."""

    fingerprint: str
    principal: str


@dataclass(frozen=True, slots=True)
class Examiner:
    """The site's rules on certificates. `issuers` None: a front end has seen to that."""

    mode: str
    issuers: Authorities | None
    holders: Holders
    header: bytes
    """The lower-case name of the header in which certificates come; b"" where they come in handshakes."""
    form: Form

    def examine(self, der: bytes, now: float) -> tuple[Badge, float]:
        """The badge of a certificate, and until when it is in time. Raises `CertificateError`."""
        return self._examined(read(der), now)

    def presented(self, value: bytes, now: float) -> tuple[Badge, float]:
        """The same for what a front end says in its header."""
        found = presented(value, self.form)
        if isinstance(found, Certificate):
            return self._examined(found, now)
        return Badge("", self.holders.principal(found)), float("inf")

    def _examined(self, found: Certificate, now: float) -> tuple[Badge, float]:
        if not found.starts <= now <= found.ends:
            raise CertificateError("certificate_not_in_time")
        if not found.client:
            raise CertificateError("certificate_purpose")
        if self.issuers is not None:
            self.issuers.issuer_of(found)
        who = ""
        if self.mode != "group_certificate":
            who = self.holders.principal(found.names, found.issuer, found.serial)
        return Badge(found.fingerprint, who), found.ends


def load(gateway: Gateway, users: Names) -> Examiner | None:
    """The rules of the settings; None where certificates do not matter. `users` is how names are read. Raises `SettingsError`."""
    auth = gateway.device_authentication
    _check(gateway, auth)
    if auth.mode == "pass_through":
        return None
    issuers = None
    if auth.authorities is not None:
        issuers = authorities.load(auth.authorities if auth.issuers is None else auth.issuers)
    told = auth.header
    return Examiner(
        mode=auth.mode,
        issuers=issuers,
        holders=Holders(auth.mapping, holder.table(auth.table, f"{_PATH}.table", users), users),
        header=b"" if told is None else told.name.lower().encode(),
        form="certificate" if told is None else told.form,
    )


def _check(gateway: Gateway, auth: DeviceAuthentication) -> None:
    """What belongs to which mode; a setting that would be without effect is an error."""
    handshake, upstream = auth.mode in HANDSHAKE_MODES, auth.mode == "trusted_front_end"
    front_ends = any(one.front_ends for one in gateway.listeners)
    rules = (
        (
            gateway.tls.client_ca is not None,
            "gateway.tls.client_ca: devices' authorities stand in device_authentication",
        ),
        (handshake and auth.authorities is None, f"{_PATH}.authorities: {auth.mode} needs them"),
        (
            handshake and not all(one.tls for one in gateway.listeners),
            f"{_PATH}.mode: {auth.mode}, but nobody shows a certificate on a plain listener; trusted_front_end is for that",
        ),
        (upstream and auth.header is None, f"{_PATH}.header: trusted_front_end needs one"),
        (upstream and not front_ends, "gateway.listeners: trusted_front_end needs the front ends' networks"),
        (not upstream and auth.header is not None, f"{_PATH}.header: only trusted_front_end has one"),
        (not upstream and front_ends, "gateway.listeners: front_ends are believed with trusted_front_end only"),
        (auth.mode != "pass_through" and not auth.mapping, f"{_PATH}.mapping: at least one field is needed"),
        ("table" in auth.mapping and not auth.table, f"{_PATH}.table: the mapping asks for it, and it is empty"),
        (auth.issuers is not None and auth.authorities is None, f"{_PATH}.issuers: they need the authorities above"),
    )
    for wrong, message in rules:
        if wrong:
            raise SettingsError(message)
    if auth.revocation is not None:
        _check_revocation(auth)


def _check_revocation(auth: DeviceAuthentication) -> None:
    rules = auth.revocation
    if auth.mode not in HANDSHAKE_MODES:
        raise SettingsError(f"{_PATH}.revocation: with {auth.mode} it is nothing the gateway checks")
    if rules is not None and not (rules.crl_files or rules.crl_urls or rules.ocsp_url):
        raise SettingsError(
            f"{_PATH}.revocation: crl_files, crl_urls or ocsp_url are needed; without any nobody would pass"
        )
