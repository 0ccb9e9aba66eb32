"""One canonical name for one person, whatever form the client uses (`user`, `DOMAIN\\user`, `user@domain`).

| written | alone | with the site's word on domains (`Names`) |
|---|---|---|
| `user`, `\\user` | `user` | `user@` the default domain |
| `CORP\\user`, `user@corp` | `user@corp` | `user@` the DNS domain that CORP is |
| `user@corp.example`, `corp.example\\user`, `CORP\\user@corp.example` | `user@corp.example` | the same |
| `.\\user` (an account of the server's own) | `user` | nobody, where there is a default domain: that is another one's |

All of it normalised (NFC) and case-folded. Two names become one only where the site has said that they are one person's:
a NetBIOS domain has one DNS domain, and no two have the same.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

PRINCIPAL_BYTES = 320  # as in the device list
# As it is written: with a domain in front, its letters and their marks apart. To put marks in order takes time by the square
# of their number, and who sends them has shown no password yet.
WRITTEN_CHARS = 640
NETBIOS_CHARS = 15  # MS-NBTE 1.1: sixteen, of which the last says what kind of name it is

_NETBIOS = re.compile(r"[^\s.@\\/:*?\"<>|,=+;\[\]]{1,15}")
_DNS = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})+")


class PrincipalError(ValueError):
    """The name cannot be a user's; the message is one word for the audit line."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a site says of its users' names: `domains` from NetBIOS to DNS domain, `default_domain` for names without one.

    All in lower case; either may be empty. Raises `ValueError` for what is no domain, and for two that would become one.
    """

    domains: Mapping[str, str] = field(default_factory=dict)
    default_domain: str = ""

    def __post_init__(self) -> None:
        for short, long in self.domains.items():
            if not _NETBIOS.fullmatch(short) or not short.isprintable() or short != _folded(short):
                raise ValueError(
                    f"a NetBIOS domain of 1 to {NETBIOS_CHARS} characters, in lower case, found {short[:64]!r}"
                )
            _check_dns(long)
        if len(set(self.domains.values())) < len(self.domains):
            raise ValueError("two NetBIOS domains have one DNS domain: their users would become one")
        if self.default_domain:
            _check_dns(self.default_domain)

    def canonical(self, name: str) -> str:
        """The one name of the person who is written so. Its own canonical form. Raises `PrincipalError`."""
        plain = canonical(name)
        if self.default_domain and "@" not in plain:
            if name.strip(" ").startswith(".\\"):
                raise PrincipalError("principal_of_no_domain")
            return _bounded(f"{plain}@{self.default_domain}")
        return self._in_dns(plain)

    def may_be(self, name: str, who: str) -> bool:
        """Whether `name`, as a client wrote it beside its credentials, may be the canonical `who`.

        Without a domain it says nothing of one, not even of the default domain. Raises `PrincipalError`.
        """
        return same_person(self._in_dns(canonical(name)), who)

    def _in_dns(self, plain: str) -> str:
        user, at, domain = plain.partition("@")
        known = self.domains.get(domain) if at else None
        return plain if known is None else _bounded(f"{user}@{known}")


def canonical(name: str) -> str:
    """`user` or `user@domain`, normalised (NFC) and case-folded; `CORP\\user` is `user@corp`.

    A domain before a user principal name says nothing new (`CORP\\user@corp.example` is `user@corp.example`). Raises
    `PrincipalError`.
    """
    if len(name) > WRITTEN_CHARS:
        raise PrincipalError("principal_malformed")
    folded = _folded(name).strip(" ")
    domain, backslash, user = folded.rpartition("\\")
    if backslash and "@" not in user:
        folded = f"{user}@{domain}" if domain not in ("", ".") else user
    elif backslash:
        folded = user
    local, _, domain = folded.partition("@")
    if not local or "\\" in folded or "@" in domain or not folded.isprintable() or " " in folded:
        raise PrincipalError("principal_malformed")
    if folded.endswith("@"):
        raise PrincipalError("principal_malformed")
    return _bounded(folded)


def same_person(one: str, other: str) -> bool:
    """Whether two canonical names may be one person: equal users, and domains that do not contradict each other.

    A missing domain contradicts none, and a NetBIOS domain (`corp`) not the DNS domain that begins with it.
    """
    user, _, domain = one.partition("@")
    other_user, _, other_domain = other.partition("@")
    if user != other_user:
        return False
    if not domain or not other_domain or domain == other_domain:
        return True
    short, long = sorted((domain, other_domain), key=len)
    return "." not in short and long.partition(".")[0] == short


def user_of(principal: str) -> str:
    """What all canonical names that may be one person share: the part before the domain."""
    return principal.partition("@")[0]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _bounded(name: str) -> str:
    if len(name.encode()) > PRINCIPAL_BYTES:
        raise PrincipalError("principal_malformed")
    return name


def _check_dns(domain: str) -> None:
    if not _DNS.fullmatch(domain):
        raise ValueError(f"a DNS domain such as corp.example, in lower case, found {domain[:64]!r}")
