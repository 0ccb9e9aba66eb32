"""The settings about certificates: what a site may say, and what is refused before anything is written."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from appliance.features import certificates
from appliance.features.base import Tree
from appliance.plan import InvalidError
from tests.site_pki import NOW, Signed, authority, server

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
ROOT = authority("root")
GOOD = server(ROOT)
CHAIN = GOOD.pem + ROOT.pem


def given(lab_with: LabWith, servers: dict[str, Any], **more: Any) -> Tree:
    return lab_with(lambda tree: tree.update(certificates={"servers": servers, **more}))


def test_a_sites_certificate_with_its_key_and_a_second_one_are_taken(lab_with: LabWith) -> None:
    """The key becomes a reference; the certificate is in the configuration for all to see."""
    second = {"certificate": CHAIN, "key": GOOD.key_pem, "from": "2026-12-31T18:00Z"}
    tree = given(lab_with, {"portal": {"certificate": CHAIN, "key": GOOD.key_pem, "second": second}})
    held = tree["certificates"]["servers"]["portal"]
    assert held["certificate"] == CHAIN
    assert held["key"].startswith("secret:")
    assert held["second"]["key"] == held["key"]


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "half a chain": ({"portal": {"certificate": GOOD.pem}}, "portal.certificate", "every authority up to the root"),
    "no certificate": ({"portal": {"certificate": "hello"}}, "portal.certificate", "certificates in PEM form"),
    "another name": (
        {"gateway": {"certificate": server(ROOT, names=("a.test",)).pem + ROOT.pem}},
        "gateway.certificate",
        "the alternative name gateway.lab.test",
    ),
    "a key alone": ({"portal": {"key": GOOD.key_pem}}, "portal.key", "a key without a certificate"),
    "a second alone": ({"portal": {"second": {"certificate": CHAIN}}}, "portal.second", "without a first"),
    "a second that is none": (
        {"portal": {"certificate": CHAIN, "second": {"certificate": ROOT.pem}}},
        "portal.second.certificate",
        "a self-signed certificate alone",
    ),
    "a key that is none": ({"portal": {"certificate": CHAIN, "key": "sesame"}}, "portal.key", "one private key in PEM"),
    "a moment that is none": (
        {"portal": {"certificate": CHAIN, "second": {"certificate": CHAIN, "from": "soon"}}},
        "portal.second.from",
        "a minute in UTC",
    ),
    "the UEM's port in the box": ({"uem_push": {"certificate": CHAIN}}, "uem_push.certificate", "mode is embedded"),
    "the same signed by itself": ({"uem_push": {"issuer": "self_signed"}}, "uem_push.issuer", "mode is embedded"),
    "a weak kind of key": ({"portal": {"key_type": "rsa1024"}}, "portal.key_type", "p256, p384, rsa3072, rsa4096"),
    "a name that is none": ({"portal": {"extra_names": ["a b"]}}, "portal.extra_names.0", "DNS name"),
    "too many names": ({"portal": {"extra_names": [f"h{n}.test" for n in range(33)]}}, "portal.extra_names", "0 to 32 items"),
}  # fmt: skip


@pytest.mark.parametrize(("servers", "path", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_where_it_stands(
    lab_with: LabWith, servers: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        given(lab_with, servers)
    found = [str(one) for one in refused.value.problems if one.path == f"certificates.servers.{path}"]
    assert any(words in one for one in found), refused.value
    assert GOOD.key_pem.splitlines()[1] not in str(refused.value)


@pytest.mark.parametrize(
    "subject",
    [
        {"organization": "Lab\nCN = evil"},
        {"organization": "$ENV::HOME"},
        {"organizational_unit": "a # b"},
        {"locality": "x\\"},
        {"country": "de"},
        {"state": ""},
    ],
)
def test_nothing_in_a_subject_is_more_than_a_name(lab_with: LabWith, subject: dict[str, str]) -> None:
    """It ends up in a configuration that openssl reads, with variables, comments and sections of its own."""
    with pytest.raises(InvalidError):
        given(lab_with, {}, subject=subject)
    tree = given(lab_with, {}, subject={"country": "DE", "organization": "Müller & Söhne (Lab)"})
    assert tree["certificates"]["subject"]["organization"] == "Müller & Söhne (Lab)"


def test_a_new_certificate_holds_now_and_an_old_one_that_ended_is_in_nobodys_way(lab_with: LabWith) -> None:
    def tree(one: Signed, *second: Signed) -> Tree:
        more = {"second": {"certificate": second[0].pem + ROOT.pem}} if second else {}
        return given(lab_with, {"portal": {"certificate": one.pem + ROOT.pem, **more}})

    past, coming = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    ended, early = server(ROOT, ends=past), server(ROOT, starts=coming)
    check = certificates.verify_change
    own = lab_with(lambda _tree: None)
    assert "which ended" in str(*check(own, tree(ended), clock=lambda: NOW))
    assert "which begins" in str(*check(own, tree(early), clock=lambda: NOW))
    assert list(check(own, tree(GOOD), clock=lambda: NOW)) == []
    assert list(check(own, tree(GOOD, early), clock=lambda: NOW)) == []
    assert list(check(tree(ended), tree(ended), clock=lambda: NOW)) == []
    assert list(check({}, own, clock=lambda: NOW)) == []
