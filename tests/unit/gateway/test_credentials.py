"""`Authorization` to a name, the site's challenges, and what of a backend's reaches a device."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.eas.principal import Names
from sentry_runtime.gateway.credentials import (
    Access,
    Credentials,
    CredentialsError,
    Logon,
    Scheme,
    Step,
    backend_challenges,
    challenge_token,
)
from tests.unit.gateway.test_bearer import claims
from tests.unit.gateway.test_ntlm import OEM, authenticate, wide
from tests.unit.gateway.test_spnego import KERBEROS, MESSAGE, NTLMSSP, der, init, response

ALL = Access(tuple(Scheme), Names({"lab": "lab.test"}, "lab.test"))
LAST = authenticate(wide("anna"), wide("LAB"))


def base(data: bytes) -> bytes:
    """As `Authorization` carries it."""
    return base64.b64encode(data)


@pytest.mark.parametrize(
    ("authorization", "wanted"),
    [
        (b"Basic " + base(b"LAB\\anna:x"), Credentials("anna@lab.test")),
        (b"basic  " + base(b"anna:") + b" ", Credentials("anna@lab.test")),
        (b"Bearer " + claims(upn="anna@lab.test"), Credentials("anna@lab.test")),
        (b"NTLM " + base(MESSAGE), Credentials("", Logon(Step.OPENS, Scheme.NTLM))),
        (b"NTLM " + base(LAST), Credentials("anna@lab.test", Logon(Step.PROVES, Scheme.NTLM, unicode=True))),
        (
            b"ntlm " + base(authenticate(b"anna", flags=OEM)),
            Credentials("anna@lab.test", Logon(Step.PROVES, Scheme.NTLM, unicode=False)),
        ),
        (b"Negotiate " + base(MESSAGE), Credentials("", Logon(Step.OPENS, Scheme.NEGOTIATE))),
        (b"Negotiate " + base(init(NTLMSSP)), Credentials("", Logon(Step.OPENS, Scheme.NEGOTIATE))),
        (
            b"Negotiate " + base(response(der(0xA2, der(0x04, LAST)))),
            Credentials("anna@lab.test", Logon(Step.PROVES, Scheme.NEGOTIATE, unicode=True)),
        ),
    ],
)
def test_every_scheme_gives_the_one_name(authorization: bytes, wanted: Credentials) -> None:
    """As the site reads names."""
    assert ALL.read(authorization) == wanted


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (b"", "credentials_missing"),
        (b"Basic", "credentials_malformed"),
        (b"Basic " + base(b"anna"), "credentials_malformed"),
        (b"Basic " + base(b".\\anna:x"), "credentials_malformed"),
        (b"NTLM", "ntlm_malformed"),
        (b"NTLM =", "credentials_malformed"),
        (b"NTLM " + base(init(NTLMSSP)), "ntlm_malformed"),
        (b"NTLM " + base(authenticate(wide("a b"))), "credentials_malformed"),
        (b"NTLM " + base(b"NTLMSSP\0\2\0\0\0" + bytes(24)), "credentials_malformed"),
        (b"Negotiate " + base(init(KERBEROS)), "kerberos_not_served"),
        (b"Digest x", "scheme_not_supported"),
        (b"\xff x", "scheme_not_supported"),
    ],
)
def test_what_is_refused(authorization: bytes, reason: str) -> None:
    """A word for the audit line."""
    with pytest.raises(CredentialsError, match=f"^{reason}$"):
        ALL.read(authorization)


@pytest.mark.parametrize("scheme", Scheme)
def test_a_scheme_that_is_not_listed_is_refused(scheme: Scheme) -> None:
    """Whatever it carries."""
    others = Access(tuple(one for one in Scheme if one is not scheme))
    for token in (base(b"anna:x"), base(MESSAGE), base(LAST), claims(upn="anna")):
        with pytest.raises(CredentialsError, match=r"^scheme_not_supported$"):
            others.read(scheme.encode() + b" " + token)


def test_challenges_are_the_sites_in_its_order() -> None:
    """One field each, as clients expect them."""
    offers = [value for _, value in Access((Scheme.NEGOTIATE, Scheme.NTLM, Scheme.BEARER, Scheme.BASIC)).challenges]
    assert offers == [
        b"Negotiate",
        b"NTLM",
        b'Bearer realm="ActiveSync"',
        b'Basic realm="ActiveSync", charset="UTF-8"',
    ]


BACKENDS = [
    (b"Server", b"IIS"),
    (b"WWW-Authenticate", b"Negotiate"),
    (b"www-authenticate", b'Bearer client_id="1"'),
    (b"WWW-Authenticate", b"NTLM TlRMTVNTUAAC"),
    (b"WWW-Authenticate", b'Basic realm="mail.internal"'),
]


@pytest.mark.parametrize(
    ("schemes", "left"),
    [
        ((Scheme.BASIC,), [BACKENDS[0], *Access().challenges]),
        ((Scheme.BEARER,), [BACKENDS[0], BACKENDS[2]]),
        ((Scheme.NTLM, Scheme.BEARER), [BACKENDS[0], (b"WWW-Authenticate", b"NTLM"), BACKENDS[2]]),
    ],
)
def test_a_backends_challenges_are_exchanged_for_ours(
    schemes: tuple[Scheme, ...], left: list[tuple[bytes, bytes]]
) -> None:
    """But for Bearer's, which says where tokens are to be had; its NTLM message was for nobody."""
    assert backend_challenges(BACKENDS, Access(schemes).challenges) == left


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"NTLM AAAA", (b"NTLM AAAA", bytes(3))),
        (b"ntlm AAAA", (b"ntlm AAAA", bytes(3))),
        (b"NTLM", None),
        (b"NTLM !", None),
        (b"Negotiate AAAA", None),
    ],
)
def test_a_backends_next_message(value: bytes, found: tuple[bytes, bytes] | None) -> None:
    """Of the scheme that is asked for."""
    assert challenge_token(Scheme.NTLM, [(b"A", b"b"), (b"WWW-Authenticate", value)]) == found


@given(st.sampled_from([b"", b"Basic ", b"NTLM ", b"Negotiate ", b"Bearer "]), st.binary(max_size=60))
def test_any_header_is_read_or_refused(begin: bytes, rest: bytes) -> None:
    """Raw and in base64."""
    for authorization in (begin + rest, begin + base(rest), begin + base(b"NTLMSSP\0" + rest)):
        try:
            found = ALL.read(authorization)
        except CredentialsError:
            continue
        assert found.principal or (found.logon is not None and found.logon.step is Step.OPENS)
