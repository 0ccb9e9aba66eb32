"""Whose a certificate is: from the names in it to one user's, by rules in an order that the site says.

The first field of the order that the certificate has decides. One that names two users, or somebody nobody can be, names
nobody: the next field is not asked, since which of them is meant would be a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509

from sentry_runtime.certificates.certificate import CertificateError, Names
from sentry_runtime.eas.principal import Names as UserNames
from sentry_runtime.eas.principal import PrincipalError
from sentry_runtime.settings import CertificateField, MappedCertificate, SettingsError

_ANY = UserNames()


@dataclass(frozen=True, slots=True)
class Holders:
    """`table` has users by issuer (RFC 4514) and serial number; `users` is how the site reads names."""

    order: tuple[CertificateField, ...]
    table: Mapping[tuple[str, int], str]
    users: UserNames = _ANY

    def principal(self, names: Names, issuer: str = "", serial: int = 0) -> str:
        """The canonical name of the user.

        Raises `CertificateError`: `certificate_names_nobody`, `certificate_names_several`.
        """
        for where in self.order:
            if where == "table":
                user = self.table.get((issuer, serial))
                if user is not None:
                    return user
                continue
            if names.get(where):
                return _one_user(names[where], self.users)
        raise CertificateError("certificate_names_nobody")


def _one_user(found: tuple[str, ...], users: UserNames) -> str:
    try:
        named = {users.canonical(name) for name in found}
    except PrincipalError:
        raise CertificateError("certificate_names_nobody") from None
    if len(named) > 1:
        raise CertificateError("certificate_names_several")
    return named.pop()


def table(rows: tuple[MappedCertificate, ...], path: str, users: UserNames = _ANY) -> dict[tuple[str, int], str]:
    """The table of the settings. Raises `SettingsError` naming the place (below `path`)."""
    made: dict[tuple[str, int], str] = {}
    for number, row in enumerate(rows):
        try:
            issuer = canonical_issuer(row.issuer)
            user = users.canonical(row.user)
        except ValueError as error:  # a PrincipalError is one
            raise SettingsError(f"{path}[{number}]: {error}") from None
        key = issuer, int(row.serial.replace(":", ""), 16)
        if key in made:
            raise SettingsError(f"{path}[{number}]: the same issuer and serial number a second time")
        made[key] = user
    return made


def canonical_issuer(text: str) -> str:
    """A name as RFC 4514 writes it, in the one spelling that certificates are compared by. Raises `ValueError`."""
    try:
        return x509.Name.from_rfc4514_string(text, NAME_ATTRIBUTES).rfc4514_string()
    except ValueError:
        raise ValueError(f"{text!r} is no name such as CN=Devices,O=Example,C=DE (RFC 4514)") from None


NAME_ATTRIBUTES = {
    "emailAddress": x509.NameOID.EMAIL_ADDRESS,
    "E": x509.NameOID.EMAIL_ADDRESS,
    "serialNumber": x509.NameOID.SERIAL_NUMBER,
    "SN": x509.NameOID.SURNAME,
    "GN": x509.NameOID.GIVEN_NAME,
}
"""Attributes that OpenSSL writes in names beside those of RFC 4514 3."""
