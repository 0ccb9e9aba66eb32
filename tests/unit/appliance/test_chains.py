"""Chains that may be shown and chains that may not, each refusal with its words."""

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import chains
from appliance.chains import ChainError
from tests.site_pki import CLIENT_AUTH, HOST, NOW, SERVER_AUTH, Signed, authority, new_key, server, with_sha1

ROOT = authority("root")
MIDDLE = authority("middle", ROOT, path_length=0)
SERVER = server(MIDDLE)
WHOLE = (SERVER, MIDDLE, ROOT)
OTHER = authority("other")


def text(*parts: Signed) -> str:
    return "".join(part.pem for part in parts)


def said(*parts: Signed, names: tuple[str, ...] = (HOST,)) -> list[str]:
    """Everything that is wrong with a chain, as people read it."""
    try:
        chain = chains.read(text(*parts))
    except ChainError as error:
        return [str(error)]
    return [f"found {flaw.found}; allowed: {flaw.allowed}" for flaw in chains.flaws(chain, names)]


def test_a_whole_chain_has_no_flaw_and_its_root_is_not_shown() -> None:
    chain = chains.read(text(*WHOLE))
    assert said(*WHOLE) == []
    assert [chains.subject(one) for one in chain] == ["CN=gateway.lab.test,O=Lab", "CN=middle,O=Lab", "CN=root,O=Lab"]
    assert chains.shown(chain) == text(SERVER, MIDDLE)
    assert list(chains.dated(chain, NOW)) == []


@pytest.mark.parametrize("order", list(permutations(WHOLE)))
def test_any_order_is_mended(order: tuple[Signed, ...]) -> None:
    assert chains.pem(chains.read(text(*order))) == text(*WHOLE)


LONG = [authority("0")]
for _number in range(1, 8):
    LONG.append(authority(str(_number), LONG[-1]))
LONG.append(server(LONG[-1]))


@given(st.permutations(LONG), st.sets(st.integers(0, len(LONG) - 1)))
def test_a_chain_is_read_whole_in_any_order_or_refused(order: list[Signed], without: set[int]) -> None:
    """Whatever is missing of it, nothing but the whole chain is ever taken, and it always comes out in the same order."""
    kept = [one for one in order if LONG.index(one) not in without]
    try:
        found = chains.read(text(*kept))
    except ChainError:
        assert without, "the whole chain was refused"
        return
    held = [next(place for place, one in enumerate(LONG) if one.certificate == each) for each in found]
    # A chain that begins further up is one too (an authority's, which `flaws` refuses); it has no gap and has its root.
    assert held == list(range(max(held), -1, -1))
    assert without == set(range(max(held) + 1, len(LONG)))
    assert (len(LONG) - 1 in without) == bool(list(chains.flaws(found, ())))


@given(st.text(max_size=200))
def test_what_is_no_chain_is_refused_and_nothing_else_happens(noise: str) -> None:
    with pytest.raises(ChainError):
        chains.read(noise)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.integers(0, len(SERVER.pem) - 1), st.characters(min_codepoint=32, max_codepoint=126))
def test_a_damaged_certificate_is_refused_or_has_a_flaw(place: int, letter: str) -> None:
    """One letter of the base64 is another one: unless it was the same, something is wrong with it."""
    damaged = SERVER.pem[:place] + letter + SERVER.pem[place + 1 :]
    try:
        chain = chains.read(damaged + text(MIDDLE, ROOT))
    except ChainError:
        return
    assert chain[0] == SERVER.certificate or list(chains.flaws(chain, (HOST,)))


SIGNED_BY_OTHER = Signed(server(Signed(MIDDLE.certificate, OTHER.key)).certificate, SERVER.key)
RSA_MIDDLE = authority("weak middle", ROOT, key="rsa1024")
REFUSED: dict[str, tuple[tuple[Signed, ...], str]] = {
    "a missing intermediate": (
        (SERVER, ROOT),
        "a chain that ends at CN=gateway.lab.test,O=Lab, whose issuer CN=middle,O=Lab is not among them",
    ),
    "a missing root": ((SERVER, MIDDLE), "whose issuer CN=root,O=Lab is not among them; allowed: every authority up to the root"),
    "the server alone": ((SERVER,), "whose issuer CN=middle,O=Lab is not among them"),
    "authorities alone": ((MIDDLE, ROOT), "which is an authority's; allowed: a server's certificate"),
    "a root alone": ((ROOT,), "a self-signed certificate alone"),
    "two servers": ((SERVER, server(MIDDLE, names=("b.test",)), MIDDLE, ROOT), "2 certificates that have signed none"),
    "a stranger": ((SERVER, MIDDLE, ROOT, OTHER), "no part of the chain: CN=other,O=Lab"),
    "an RSA key of 1024 bits": ((server(MIDDLE, key="rsa1024"), MIDDLE, ROOT), "an RSA key of 1024 bits; allowed: EC on P-256"),
    "an RSA key of 2048 bits": ((server(MIDDLE, key="rsa2048"), MIDDLE, ROOT), "RSA of at least 3072 bits"),
    "a curve nobody approved": ((server(MIDDLE, key="p224"), MIDDLE, ROOT), "a key on secp224r1"),
    "a weak authority": ((server(RSA_MIDDLE), RSA_MIDDLE, ROOT), "CN=weak middle,O=Lab with an RSA key of 1024 bits"),
    "for clients": ((server(MIDDLE, usage=(CLIENT_AUTH,)), MIDDLE, ROOT), "without the extended key usage serverAuth"),
    "for nothing said": ((server(MIDDLE, usage=()), MIDDLE, ROOT), "without the extended key usage serverAuth"),
    "a key that may not sign": ((server(MIDDLE, digital_signature=False), MIDDLE, ROOT), "usage digitalSignature"),
    "another name": ((server(MIDDLE, names=("www.lab.test",)), MIDDLE, ROOT), f"the alternative name {HOST}"),
    "no name": ((server(MIDDLE, names=()), MIDDLE, ROOT), "for no name at all"),
    "another authority's signature": ((SIGNED_BY_OTHER, MIDDLE, ROOT), "whose signature is not that of CN=middle,O=Lab"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "words"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_chain_is_refused_with_what_was_found(parts: tuple[Signed, ...], words: str) -> None:
    assert words in "; ".join(said(*parts))


def test_an_issuer_that_is_no_authority_is_refused() -> None:
    """Anybody with a server's certificate could issue others (CVE-2002-0862 and its like)."""
    plain = authority("plain", ROOT, ca=False)
    assert "CN=plain,O=Lab as an issuer, which is no authority" in "; ".join(said(server(plain), plain, ROOT))
    unsigning = authority("unsigning", ROOT, may_sign=False)
    assert "without the key usage keyCertSign" in "; ".join(said(server(unsigning), unsigning, ROOT))
    limited = authority("limited", ROOT, usage=(CLIENT_AUTH,))
    assert "may not issue servers' certificates" in "; ".join(said(server(limited), limited, ROOT))
    assert said(server(free := authority("free", ROOT, usage=(SERVER_AUTH,))), free, ROOT) == []


def test_a_path_that_is_longer_than_an_authority_allows_is_refused() -> None:
    short = authority("short", ROOT, path_length=0)
    below = authority("below", short)
    assert "CN=short,O=Lab with 1 authorities below it; allowed: at most the 0" in "; ".join(
        said(server(below), below, short, ROOT)
    )


def test_a_signature_with_sha_1_is_refused() -> None:
    with_rsa = authority("with rsa", key="rsa2048")
    chain = chains.read(with_sha1(with_rsa) + with_rsa.pem)
    (flaw,) = [one for one in chains.flaws(chain, (HOST,)) if "signed with" in one.found]
    assert (flaw.found, flaw.allowed) == ("CN=old, signed with SHA1", "signatures with SHA-256, SHA-384 or SHA-512")


def test_dates_are_held_against_the_clock_for_every_certificate_of_the_chain() -> None:
    past, coming = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    ended = chains.read(text(server(MIDDLE, ends=past), MIDDLE, ROOT))
    (flaw,) = chains.dated(ended, NOW)
    assert "which ended 2026-06-01 11:00 UTC" in flaw.found
    assert "the clock says 2026-06-01 12:00 UTC" in flaw.allowed
    early = chains.read(text(server(MIDDLE, starts=coming), MIDDLE, ROOT))
    assert "which begins 2026-06-01 13:00 UTC" in next(chains.dated(early, NOW)).found
    assert list(chains.dated(early, NOW, ahead=True)) == []
    old = authority("old", ROOT, ends=past)
    assert "CN=old,O=Lab, which ended" in next(chains.dated(chains.read(text(server(old), old, ROOT)), NOW)).found


def test_bounds_and_strange_content() -> None:
    with pytest.raises(ChainError, match="allowed: at most 65536"):
        chains.read(text(*WHOLE) * 40)
    many = [authority(str(number)) for number in range(11)]
    with pytest.raises(ChainError, match="found 11 certificates; allowed: at most 10"):
        chains.read(text(*many))
    with pytest.raises(ChainError, match="a private key among the certificates"):
        chains.read(text(*WHOLE) + SERVER.key_pem)
    with pytest.raises(ChainError, match="a text that is not only certificates"):
        chains.read(text(*WHOLE) + "hello")
    with pytest.raises(ChainError, match="certificate 1, which cannot be read"):
        chains.read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert chains.pem(chains.read(text(*WHOLE, MIDDLE).replace("\n", "\r\n"))) == text(*WHOLE)


@pytest.mark.parametrize(
    ("held", "name", "holds"),
    [
        ("gateway.lab.test", "GATEWAY.lab.test", True),
        ("*.lab.test", "gateway.lab.test", True),
        ("*.lab.test", "a.b.lab.test", False),
        ("*.lab.test", "lab.test", False),
        ("*.test", "lab.test", False),
        ("g*.lab.test", "gateway.lab.test", False),
        ("lab.test", "gateway.lab.test", False),
    ],
)
def test_a_wildcard_is_one_whole_label(held: str, name: str, holds: bool) -> None:  # noqa: FBT001 - a table
    assert chains.covers(held, name) is holds


def test_keys_are_known_by_their_public_half() -> None:
    assert chains.name_of_private(SERVER.key_pem) == chains.key_name(SERVER.certificate.public_key())
    assert chains.name_of_private("no key") == chains.name_of_request("no request") == ""
    assert [chains.key_kind(new_key(kind).public_key()) for kind in ("p256", "p384", "rsa3072")] == [
        "p256",
        "p384",
        "rsa3072",
    ]


# --- what an ACME server gives -----------------------------------------------------------------------------------------


def test_the_root_is_found_among_those_that_are_believed() -> None:
    anchors = text(OTHER, ROOT)
    assert chains.pem(chains.up_to(text(SERVER, MIDDLE), anchors)) == text(*WHOLE)
    assert chains.pem(chains.up_to(text(*WHOLE), anchors)) == text(*WHOLE)
    assert chains.read(chains.pem(chains.up_to(text(SERVER, MIDDLE), anchors))) == chains.read(text(*WHOLE))


def test_a_root_that_another_one_signed_is_left_for_the_one_that_is_believed() -> None:
    """A cross-signed root leads to a root of before; what is believed is the same authority's own."""
    new = authority("new")
    crossed = authority("new", OTHER)  # the same name, another key: it signs nothing here
    issued = server(new)
    assert chains.pem(chains.up_to(text(issued, crossed), text(new))) == text(issued, new)
    with pytest.raises(ChainError, match="leads to a root that is believed"):
        chains.up_to(text(issued, crossed), text(OTHER))


@pytest.mark.parametrize(
    ("given", "anchors"),
    [
        (text(SERVER, MIDDLE), text(OTHER)),
        (text(*WHOLE), text(OTHER)),
        (text(SERVER), text(ROOT)),
        (text(SERVER, MIDDLE), text(MIDDLE)),  # no root
        (text(SERVER, MIDDLE), ""),
        (text(MIDDLE, SERVER), text(OTHER)),
        (text(server(authority("root"))), text(ROOT)),  # the root's name, and not its key
    ],
    ids=["stranger", "stranger with its root", "a gap", "no root", "nobody believed", "upside down", "a namesake"],
)
def test_what_leads_to_no_root_that_is_believed_is_refused(given: str, anchors: str) -> None:
    with pytest.raises(ChainError, match="allowed: one that leads to a root that is believed"):
        chains.up_to(given, anchors)


def test_an_anchor_that_cannot_be_read_is_nobody_s_root() -> None:
    broken = ROOT.pem.replace("MII", "AAA", 1)
    assert chains.pem(chains.up_to(text(SERVER, MIDDLE), broken + text(ROOT))) == text(*WHOLE)
