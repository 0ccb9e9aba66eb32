"""Certificates in a front end's header, in the forms that front ends write."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentry_runtime.certificates.certificate import Certificate, CertificateError
from sentry_runtime.certificates.header import Form, presented
from tests.device_pki import DevicePki


def pem(pki: DevicePki) -> str:
    """Anna's certificate."""
    return (pki.folder / "anna.pem").read_text()


def forms(pki: DevicePki) -> dict[str, str]:
    """Her certificate as different front ends write it."""
    plain = base64.b64encode(pki.der("anna")).decode()
    return {
        "haproxy": plain,
        "rfc9440": f":{plain}:",
        "nginx": quote(pem(pki), safe=""),
        "apache": pem(pki).replace("\n", " "),
        "tabs": pem(pki).replace("\n", "\t"),
        "joined": pem(pki).replace("\n", ""),
    }


@pytest.mark.parametrize("front_end", ["haproxy", "rfc9440", "nginx", "apache", "tabs", "joined"])
def test_a_certificate_is_found_in_its_header(pki: DevicePki, front_end: str) -> None:
    """Base64, RFC 9440, PEM encoded or on one line."""
    found = presented(forms(pki)[front_end].encode(), "certificate")
    assert isinstance(found, Certificate)
    assert found.names["common_name"] == ("anna",)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("CN=anna", ("anna",)),
        ("CN=anna,OU=Phones,O=Lab,C=DE", ("anna",)),
        ("emailAddress=anna@lab.test,CN=Anna Berg,O=Lab", ("Anna Berg",)),
        (r"CN=Berg\, Anna,O=Lab", ("Berg, Anna",)),
        ("CN=bert,CN=anna", ("anna", "bert")),
        ("O=Lab", ()),
    ],
)
def test_a_subject_is_read(value: str, names: tuple[str, ...]) -> None:
    """RFC 4514: the most specific comes first; of two common names it is not guessed which."""
    assert presented(value.encode(), "subject") == {"common_name": names}


@pytest.mark.parametrize("value", ["/C=DE/O=Lab/CN=anna", "anna", "", "CN=anna,", "CN=a;O=b", "\xff", "CN=anna\\"])
def test_a_subject_in_another_form_is_refused(value: str) -> None:
    """OpenSSL's form with slashes could be forged by a slash in a name."""
    with pytest.raises(CertificateError, match=r"^certificate_header_malformed$"):
        presented(value.encode("latin-1"), "subject")


def test_envoys_header_is_read(pki: DevicePki) -> None:
    """The last element is the nearest proxy's; what came before it may be anybody's."""
    certificate = f'By=spiffe://x;Hash=ab12;Cert="{quote(pem(pki), safe="")}";Subject="CN=other";URI=a;URI=b'
    found = presented(certificate.encode(), "xfcc")
    assert isinstance(found, Certificate)
    subject = b'Hash=1;Subject="CN=forged",Hash=2;Subject="CN=Berg\\\\, Anna,O=Lab";URI='
    assert presented(subject, "xfcc") == {"common_name": ("Berg, Anna",)}
    assert presented(b'By=x, hash=2;subject="CN=anna"', "xfcc") == {"common_name": ("anna",)}


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Hash=1",
        'Subject="CN=anna',
        'Subject="CN=anna"x',
        'Subject="CN=anna";Subject="CN=bert"',
        'Subject="CN=anna",',
        'Subject="CN=anna",Hash=1',
        "Cert=rubbish",
        'Cert="\u20ac"',
        'Subject="/CN=anna"',
        "=;",
    ],
)
def test_envoys_header_in_another_form_is_refused(value: str) -> None:
    """Cut, doubled, or with an element behind that says nothing."""
    with pytest.raises(CertificateError):
        presented(value.encode(), "xfcc")


def test_what_a_quote_holds_is_no_syntax() -> None:
    """A name with all the marks of the syntax in it is a name."""
    value = rb'Subject="CN=x\",Subject=\"CN=admin;Hash=1"'
    with pytest.raises(CertificateError):
        presented(value, "xfcc")
    assert presented(rb'Subject="CN=x\\;Hash=1\\,Subject"', "xfcc") == {"common_name": ("x;Hash=1,Subject",)}


@given(st.binary(max_size=200), st.sampled_from(["certificate", "subject", "xfcc"]))
def test_rubbish_is_refused_in_one_way(value: bytes, form: Form) -> None:
    """Whatever comes; a subject may happen to be one."""
    try:
        found = presented(value, form)
    except CertificateError:
        return
    assert form != "certificate"
    assert isinstance(found, dict)
