"""A real directory (`images.lab.slapd`) with people as the tests need them: locked ones, with old passwords, there twice."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from images.lab import ldif, slapd
from tests.ports import free_port

SUFFIX = "dc=lab,dc=test"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"
ACCOUNT, ACCOUNT_SECRET = f"cn=sentry,ou=services,{SUFFIX}", "account of the appliance"
LOCKED_ACCOUNT = f"cn=locked,ou=services,{SUFFIX}"
SECRET = "Directory-Secret-1"
ADMINISTRATORS, OPERATORS, AUDITORS = (f"cn={name},{GROUPS}" for name in ("administrators", "operators", "auditors"))

_LOCKED = (
    "pwdAccountLockedTime: 000001010000Z\n"  # for ever: only a person unlocks it (draft-behera-ldap-password-policy)
)
_RESET = "pwdReset: TRUE\n"  # to be changed first, by the default policy's pwdMustChange
_OLD = "pwdChangedTime: 20200101000000Z\n"


def _person(name: str, *, place: str = PEOPLE, more: str = "", secret: str = SECRET) -> str:
    return ldif.person(name, place, secret, more=more)


def _named(name: str, more: str = "") -> str:
    """An entry that is called by its uid, as those are who bind as themselves."""
    return ldif.person(name, PEOPLE, SECRET, attribute="uid", more=more)


def _policy(name: str, rules: str) -> str:
    return ldif.policy(name, SUFFIX, rules)


def _policy_dn(name: str) -> str:
    return f"cn={name},{SUFFIX}"


def person(name: str) -> str:
    """The entry of somebody."""
    return f"cn={name},{PEOPLE}"


ENTRIES = "".join(
    (
        f"dn: {SUFFIX}\nobjectClass: domain\ndc: lab\n\n",
        _policy(ldif.POLICY, "pwdLockout: TRUE\npwdMaxFailure: 100\npwdMustChange: TRUE\n"),
        _policy("grace", "pwdMaxAge: 60\npwdGraceAuthNLimit: 1000\n"),
        _policy("soon", "pwdMaxAge: 1500000000\npwdExpireWarning: 1499999999\n"),
        *(ldif.unit(name, SUFFIX) for name in ("people", "groups", "services")),
        ldif.unit("elsewhere", PEOPLE),
        _person("sentry", place=f"ou=services,{SUFFIX}", secret=ACCOUNT_SECRET),
        _person("locked", place=f"ou=services,{SUFFIX}", secret=ACCOUNT_SECRET, more=_LOCKED),
        *(_person(name) for name in ("dora", "oscar", "vera", "both", "twin", "alice")),
        _person("twin", place=f"ou=elsewhere,{PEOPLE}"),
        _person("lola", more=_LOCKED),
        _person("rita", more=_RESET),
        _person("greta", more=f"{_OLD}pwdPolicySubentry: {_policy_dn('grace')}\n"),
        _person("wanda", more=f"{_OLD}pwdPolicySubentry: {_policy_dn('soon')}\n"),
        _named("uma"),
        _named("ursula", _RESET),
        ldif.group(
            ADMINISTRATORS,
            *map(person, ("dora", "both", "lola", "twin", "alice", "rita", "greta", "wanda")),
            *(f"uid={name},{PEOPLE}" for name in ("uma", "ursula")),
        ),
        ldif.group(OPERATORS, person("oscar")),
        ldif.group(AUDITORS, person("both")),
    )
)
"""dora, alice and uma administer, oscar operates, both is in two groups, vera in none, lola is locked, twin is there twice.
The passwords of rita and ursula are to be changed first, greta's has expired and is taken a few times more, wanda's will."""


@dataclass(frozen=True)
class DirectoryServer:
    """A running server: where it speaks LDAPS and where LDAP, and whose certificate it has."""

    host: str
    ldaps: int
    ldap: int
    trust: str
    log: Path

    def asked(self) -> str:
        """What the server says it was asked."""
        return self.log.read_text()


folder = slapd.folder  # pytest's own are closed to others


@contextlib.contextmanager
def serving(
    folder: Path,
    certificate: tuple[str, str],
    trust: str,
    *,
    host: str = "127.0.0.1",
    ldaps: int | None = None,
    ldap: int | None = None,
) -> Iterator[DirectoryServer]:
    """Run it until the block ends, with a certificate and its key. A folder that it has served before keeps its entries."""
    contents = slapd.Contents(SUFFIX, GROUPS, ACCOUNT, ENTRIES)
    ports = ldaps or free_port(), ldap or free_port()
    pair = Path(certificate[0]), Path(certificate[1])
    with slapd.serving(folder, pair, contents, host=host, ldaps=ports[0], ldap=ports[1]) as log:
        yield DirectoryServer(host, *ports, trust, log)
