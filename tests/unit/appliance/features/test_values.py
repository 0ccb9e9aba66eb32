"""The kinds of values: what passes is safe to write into a daemon's configuration."""

import ipaddress
import string
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.features import values

from .conftest import MATERIAL

ECDSA = (MATERIAL / "ecdsa.pub").read_text().strip()
RSA = (MATERIAL / "rsa3072.pub").read_text().strip()
PEM = (MATERIAL / "authority.pem").read_text()


def _blob(*fields: bytes) -> bytes:
    """Fields as RFC 4251 5 puts them into a key."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


@pytest.mark.parametrize(
    ("rounds", "passes"),
    [
        ("", True),
        ("rounds=5000$", True),
        ("rounds=1000000$", True),
        ("rounds=4999$", False),
        ("rounds=1000001$", False),
        ("rounds=999999999$", False),
        ("rounds=05000$", False),
    ],
)
def test_a_hash_takes_neither_too_little_work_nor_too_much(rounds: str, passes: bool) -> None:  # noqa: FBT001 - a table's column
    """A thousand million rounds would keep configd and PAM busy for an hour at each log-in."""
    assert values.is_password_hash(f"$6${rounds}salt${'a' * 86}") == passes


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.0.0.1", "::", "ff02::1", "224.0.0.1", "255.255.255.255", "240.0.0.1"],  # noqa: S104 - refused
)
def test_an_address_that_is_no_hosts_is_nobodys(address: str) -> None:
    """Neither a server's nor an interface's."""
    assert not values.is_server(address)
    assert not values.is_interface_address(f"{address}/24")


@given(st.text())
def test_whatever_passes_as_a_host_is_one_word_of_harmless_characters(text: str) -> None:
    """No blank, line end, quote, brace, hash or leading dash can reach a configuration file through a host."""
    if values.is_host(text):
        assert set(text) <= set(string.ascii_letters + string.digits + ".-:")
        assert not text.startswith("-")
        assert text


@given(st.ip_addresses())
def test_every_address_is_an_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Both families, in the usual spelling."""
    assert values.address_of(str(address)) == address


@given(st.ip_addresses(v=6), st.text(min_size=1))
def test_an_address_with_a_zone_is_none(address: ipaddress.IPv6Address, zone: str) -> None:
    """`fe80::1%eth0` means something only on one machine, and the zone may be any text."""
    assert values.address_of(f"{address}%{zone}") is None
    assert values.network_of(f"{address}%{zone}/128") is None


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        ("mail.example.com", True),
        ("localhost", True),
        ("xn--bcher-kva.example", True),
        ("a" * 63, True),
        ("a" * 64, False),
        (".".join(["a" * 60] * 5), False),
        ("-a.example", False),
        ("a-.example", False),
        ("a..example", False),
        ("example.com.", False),
        ("under_score.example", False),
        ("bücher.example", False),
        ("192.0.2.1", False),
        ("1.2.3", False),
        ("", False),
    ],
)
def test_dns_names_are_rfc_1123_host_names(text: str, is_name: bool) -> None:  # noqa: FBT001 - a table's column
    """A name whose last label is digits is taken for an address by half of all programs."""
    assert values.is_dns_name(text) is is_name


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("10.0.0.1/24", True),
        ("10.0.0.0/31", True),
        ("10.0.0.1/32", True),
        ("2001:db8::/64", True),
        ("10.0.0.0/24", False),
        ("10.0.0.255/24", False),
        ("10.0.0.1", False),
        ("127.0.0.1/8", False),
        ("224.0.0.1/24", False),
        ("0.0.0.0/0", False),
        ("10.0.0.1/255.255.255.0", True),
    ],
)
def test_interface_addresses_are_those_a_host_may_have(text: str, passes: bool) -> None:  # noqa: FBT001 - a table's column
    """Not the network's, not the broadcast address, not loopback."""
    assert values.is_interface_address(text) is passes


@pytest.mark.parametrize("key", [ECDSA, RSA, ECDSA.rpartition(" ")[0]])
def test_an_approved_key_passes_with_or_without_its_comment(key: str) -> None:
    """ECDSA on the NIST curves, RSA from 3072 bits."""
    assert values.is_ssh_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5u1Jp1pzZl5Y3oPdkNfZQ0e6lQ0Vq2b7m9d6Rk0aXy x@y",
        ECDSA.replace("ecdsa-sha2-nistp256 ", "ecdsa-sha2-nistp384 ", 1),
        f"ssh-rsa {ECDSA.split()[1]}",
        ECDSA[:60],
        f"restrict {ECDSA}",
        f"{ECDSA}\n{RSA}",
        f" {ECDSA}",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=",
        f"ecdsa-sha2-nistp256 {b64encode(_blob(b'ecdsa-sha2-nistp256', b'nistp256', bytes(65))).decode()}",
        f"ecdsa-sha2-nistp256 {b64encode(_blob(b'ecdsa-sha2-nistp256', b'nistp256', bytes([4]))).decode()}",
        "",
    ],
)
def test_any_other_key_is_refused(key: str) -> None:
    """Another type, a type that is not the blob's, cut off, with options, without a point on the curve, or two at once."""
    assert not values.is_ssh_key(key)


@given(st.text(alphabet=string.ascii_letters + string.digits + "+/= -@.,\n", max_size=200))
def test_no_other_text_is_a_key(text: str) -> None:
    """Whatever is not a key of a known type is refused, and nothing raises."""
    assert not values.is_ssh_key(text)
    assert not values.is_ssh_key(f"ssh-rsa {text}")


def test_a_bundle_holds_as_many_certificates_as_it_shows() -> None:
    """Windows line ends do no harm."""
    assert len(values.certificates_of(PEM)) == 1
    assert len(values.certificates_of(PEM + PEM.replace("\n", "\r\n"))) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        PEM.replace("CERTIFICATE", "PRIVATE KEY"),
        PEM + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        PEM[:100],
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "subject=CN = x\n" + PEM,
    ],
)
def test_a_bundle_holds_nothing_but_certificates(text: str) -> None:
    """A private key that slipped in would be written where everybody may read it."""
    assert values.certificates_of(text) == ()


@given(st.text())
def test_lines_end_in_one_way_and_doing_it_twice_is_doing_it_once(text: str) -> None:
    """What `show` prints can be put back."""
    once = values.text_lines(text)
    assert values.text_lines(once) == once
    assert once == "" or once.endswith("\n")


@pytest.mark.parametrize(("value", "text"), [(1.2, "1.2"), (1.3, "1.3"), ("1.2", "1.2"), (True, True), (None, None)])
def test_a_tls_version_that_yaml_took_for_a_number_is_a_version(value: object, text: object) -> None:
    """Everything else is left for the schema to refuse."""
    assert values.version_text(value) == text
