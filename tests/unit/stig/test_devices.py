"""The devices a scan tries the gateway with: their file, what a gateway may do with one, and what follows for the rules."""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from stig import devices
from stig.devices import Pair
from stig.errors import FactError, InputError
from stig.judge import devices as judge
from stig.judge import gatekeeping
from stig.probe import device
from stig.probe.device import Tried
from stig.tried import Tries
from stig.verdict import Point
from tests.device_pki import DevicePki, company

GOOD = Tried(200, "HTTP 200, after it took a policy", password=True)
REFUSED = Tried(403, "HTTP 403")
AWAY = Tried(None, "turned away before any answer")
RIGHT = Tries(
    registered=GOOD, compromised=REFUSED, unregistered=REFUSED, bare=AWAY, revoked=AWAY, unmapped=AWAY, stranger=AWAY,
    reasons={"BAD": ("compromised",), "NEW": ("unregistered",)},
)  # fmt: skip


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """Certificates of devices and servers."""
    made = company(tmp_path_factory.mktemp("company"))
    made.bundle("believed", "root", "devices")
    return made


def pair(pki: DevicePki, name: str) -> Pair:
    """One of its certificates."""
    certificate, key = pki.pair(name)
    return Pair(certificate=Path(certificate), key=Path(key))


POLICY = bytes.fromhex("03016a00000e45") + b"\x49\x031234567\x00\x01" + b"\x4e\x031\x00\x01" + b"\x01"
KEY = re.compile(rb"x-ms-policykey: (\d+)")


def answer(status: int, body: bytes = b"") -> bytes:
    """An HTTP answer."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


@contextmanager
def gateway(pki: DevicePki, *answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that asks for certificates and gives one connection these answers; its port, and what it was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.pair("server"))
    context.load_verify_locations(pki.path("believed"))
    context.verify_mode = ssl.CERT_REQUIRED
    asked: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection, context.wrap_socket(connection, server_side=True) as secured:
                reader = secured.makefile("rb")
                for one in answers:
                    head = b"".join(iter(reader.readline, b"\r\n"))
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    asked.append(head.lower() + reader.read(int(length[1]) if length else 0))
                    secured.sendall(one)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            thread.join(10)


def test_a_device_that_is_let_in(pki: DevicePki) -> None:
    """The first answer is a mail server's."""
    with gateway(pki, answer(200)) as (port, asked):
        tried = device.attempt("127.0.0.1", port, "PHONE1", "anna@lab.test", pair(pki, "anna"), None)
    assert (tried.status, tried.passed, tried.password) == (200, True, None)
    assert b"cmd=foldersync&user=anna%40lab.test&deviceid=phone1" in asked[0]
    assert b"ms-asprotocolversion: 12.1" in asked[0]


def test_a_device_that_has_to_provision_does(pki: DevicePki) -> None:
    """In two phases, and then asks again with its key; the policy's demand of a password is seen."""
    answers = (answer(449), answer(200, POLICY), answer(200, POLICY.replace(b"1234567", b"7654321")), answer(200))
    with gateway(pki, *answers) as (port, asked):
        tried = device.attempt("127.0.0.1", port, "PHONE1", "anna@lab.test", pair(pki, "anna"), None)
    assert (tried.status, tried.passed, tried.password) == (200, True, True)
    assert [KEY.search(one)[1] for one in asked] == [b"0", b"0", b"1234567", b"7654321"]  # type: ignore[index]


@pytest.mark.parametrize("answers", [(answer(403),), (answer(449), answer(200)), (answer(449), answer(503))])
def test_a_device_that_is_refused(pki: DevicePki, answers: tuple[bytes, ...]) -> None:
    """By HTTP; a policy that never comes is no way in either."""
    with gateway(pki, *answers) as (port, _asked):
        tried = device.attempt("127.0.0.1", port, "PHONE1", "anna@lab.test", pair(pki, "anna"), None)
    assert not tried.passed
    assert tried.said.startswith("HTTP 4")


@pytest.mark.parametrize("name", ["", "stranger"])
def test_a_device_without_a_good_certificate_has_no_answer(pki: DevicePki, name: str) -> None:
    """None, or another authority's."""
    with gateway(pki, answer(200)) as (port, asked):
        shown = pair(pki, name) if name else None
        tried = device.attempt("127.0.0.1", port, "PHONE1", "anna@lab.test", shown, None)
    assert (tried.status, tried.passed, asked) == (None, False, [])
    assert tried.said.startswith("turned away before any answer (")


def test_a_gateway_that_is_not_there_is_an_error_and_no_refusal(pki: DevicePki) -> None:
    """Nor is one that shows a certificate of somebody else's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FactError, match=f"127.0.0.1:{port}"):
        device.attempt("127.0.0.1", port, "PHONE1", "anna", None, None)
    with gateway(pki, answer(200)) as (port, _asked), pytest.raises(FactError, match="its certificate"):
        device.attempt("127.0.0.1", port, "PHONE1", "anna", pair(pki, "anna"), Path(pki.path("other")))


def opened(points: tuple[Point, ...]) -> list[str]:
    """What was not as expected."""
    return [point.found for point in points if not point.met]


def test_each_refusal_is_a_point_and_each_device_let_in_a_finding() -> None:
    """Seven devices, and the rules that each one breaks."""
    rules = {
        "compromised": lambda tries: judge.compromised(tries, "BAD"),
        "unregistered": lambda tries: judge.unregistered(tries, "NEW"),
        "several factors": judge.several_factors,
        "unmapped": judge.unmapped,
        "stranger": judge.stranger,
    }
    broken_by = {
        "compromised": {"compromised"},
        "unregistered": {"unregistered"},
        "bare": {"unregistered", "several factors"},
        "revoked": {"unregistered"},
        "unmapped": {"unmapped"},
        "stranger": {"stranger"},
    }
    assert {name: opened(rule(RIGHT)) for name, rule in rules.items()} == {name: [] for name in rules}
    for name, expected in broken_by.items():
        found = replace(RIGHT, **{name: GOOD})  # type: ignore[arg-type]  # mypy takes the name for any field
        assert {rule for rule, points in rules.items() if opened(points(found))} == expected
    nobody = replace(RIGHT, registered=REFUSED)
    assert all(opened(rule(nobody)) for rule in rules.values())


def test_a_refusal_for_another_reason_proves_nothing() -> None:
    """An unregistered device is refused as well, and says nothing of compromised ones."""
    found = replace(RIGHT, reasons={"BAD": ("unregistered",)})
    assert opened(judge.compromised(found, "BAD")) == ["unregistered"]
    assert opened(judge.unregistered(found, "NEW")) == ["no record of it"]


@pytest.mark.parametrize("password", [False, None])
def test_a_policy_without_a_password_is_a_finding(password: bool | None) -> None:  # noqa: FBT001 - a table
    """As is none at all."""
    found = replace(RIGHT, registered=replace(GOOD, password=password))
    assert len(opened(judge.several_factors(found))) == 1


def test_what_the_settings_say_is_looked_at_as_well() -> None:
    """The mode, the mapping and the authorities that are named."""
    tried = judge.unmapped(RIGHT)
    assert gatekeeping.several_factors("identity_certificate", tried).status == "not_a_finding"
    assert gatekeeping.several_factors("pass_through", tried).status == "open"
    assert gatekeeping.mapped("identity_certificate", ("upn",), tried).status == "not_a_finding"
    assert gatekeeping.mapped("group_certificate", ("upn",), tried).status == "open"
    assert gatekeeping.mapped("identity_certificate", (), tried).status == "open"
    approved = {"01": "CN = a", "02": "CN = b"}
    assert gatekeeping.approved({"01": "CN = a"}, approved, tried).status == "not_a_finding"
    assert gatekeeping.approved({"03": "CN = a"}, approved, tried).status == "open"  # a namesake
    assert gatekeeping.approved({}, approved, tried).status == "open"


LISTED = """\
user: anna@lab.test
identity: {certificate: one.pem, key: one.key}
registered: {device_id: GOOD1}
compromised: {device_id: BAD1}
unregistered: {device_id: NEW1}
revoked: {certificate: one.pem, key: one.key}
unmapped: {certificate: one.pem, key: one.key}
stranger: {certificate: one.pem, key: one.key}
"""


def test_the_file_of_devices_names_files_beside_it(tmp_path: Path) -> None:
    """And says what is wrong: a file that is not there, a field that is missing, an id that is none."""
    file = tmp_path / "devices.yml"
    file.write_text(LISTED)
    with pytest.raises(InputError, match=r"identity: .*one\.pem: there is no such file"):
        devices.load(file)
    for name in ("one.pem", "one.key"):
        (tmp_path / name).write_text("")
    found = devices.load(file)
    assert (found.user, found.revoked.key) == ("anna@lab.test", tmp_path / "one.key")
    file.write_text(LISTED.replace("user: anna@lab.test\n", ""))
    with pytest.raises(InputError, match="user"):
        devices.load(file)
    file.write_text(LISTED.replace("GOOD1", "'GOOD 1'"))
    with pytest.raises(InputError, match="device_id"):
        devices.load(file)
    with pytest.raises(InputError, match="cannot be read"):
        devices.load(tmp_path / "none.yml")
