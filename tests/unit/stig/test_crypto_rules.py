"""The rules about FIPS, TLS and certificates beside the two that V-250995 and V-251013 are: seen good, and each seen broken."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import SHUT_RDWR, create_server
from threading import Thread

import msgspec
import pytest

from stig import answers, written
from stig.errors import InputError
from stig.judge import crypto
from stig.parse import words
from stig.probe import tls
from stig.probe.tls import Answer
from tests.site_pki import Signed, authority, server

Recorded = Callable[[str], str]
GOOD, OPEN = "not_a_finding", "open"
TODAY = datetime.now(UTC)
ROOT = authority("root", starts=TODAY - timedelta(days=2), ends=TODAY + timedelta(days=30))
OTHER = authority("other", starts=TODAY - timedelta(days=2), ends=TODAY + timedelta(days=30))
HELD = server(ROOT, starts=TODAY - timedelta(days=1), ends=TODAY + timedelta(days=20))


def fips_of(recorded: Recorded) -> crypto.Fips:
    return crypto.Fips(recorded("show_fips"), words.providers(recorded("providers")), md5=1, sha256=0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self-test: passed", "self-test: FAILED: SHA2 (KAT_Digest)"),
        ("sentry-portal: FIPS 140 mode is enabled", "sentry-portal: FIPS 140 mode is disabled (MD5 works)"),
        ("sentry-", "other-"),
    ],
)
def test_a_module_that_fails_or_one_service_that_is_not_in_fips_mode_opens_the_rules(
    recorded: Recorded, old: str, new: str
) -> None:
    good = fips_of(recorded)
    assert crypto.fips(good).status == GOOD
    assert old in good.shown
    assert crypto.fips(replace(good, shown=good.shown.replace(old, new))).status == OPEN


def test_what_a_rule_wants_beside_the_fips_state_counts(recorded: Recorded) -> None:
    good = fips_of(recorded)
    weak = Answer("1.2", accepted=True, said="ServerHello 1.2")
    assert crypto.fips(good, crypto.suites("the gateway", 443, replace(weak, accepted=False))).status == GOOD
    assert crypto.fips(good, crypto.suites("the gateway", 443, weak)).status == OPEN
    assert crypto.ssh_ciphers(recorded("sshd")).met
    assert not crypto.ssh_ciphers("ciphers aes128-ctr,chacha20-poly1305@openssh.com\n").met
    assert not crypto.ssh_ciphers("").met
    assert crypto.keys("600 root /t/ca.key\n640 root /t/portal/key.pem\n").met
    for listing in ("", "644 root /t/key.pem\n", "640 sentry-portal /t/key.pem\n"):
        assert not crypto.keys(listing).met


def tls_of(recorded: Recorded, *accepted: str, **changed: object) -> crypto.Tls:
    tree = msgspec.json.decode(recorded("runtime"))
    for path, value in changed.items():
        *way, last = path.split("__")
        here = tree
        for step in way:
            here = here[int(step) if step.isdigit() else step]
        here[last] = value
    runtime = msgspec.json.decode(msgspec.json.encode(tree), type=crypto.Runtime)
    said = tuple(Answer(version, version in accepted, "said") for version in tls.VERSIONS)
    return crypto.Tls({("the gateway", 443): said, ("the portal", 8443): said}, runtime)


def test_tls_1_2_must_be_enabled_on_each_connection(recorded: Recorded) -> None:
    """V-251026: TLS 1.3 beside it is no finding here; without 1.2 it is, wherever that is."""
    newer = {"minimum": "1.3", "maximum": "1.3"}
    assert crypto.tls_1_2_enabled(tls_of(recorded, "1.2")).status == GOOD
    assert crypto.tls_1_2_enabled(tls_of(recorded, "1.2", "1.3")).status == GOOD
    assert crypto.tls_1_2_enabled(tls_of(recorded, "1.3")).status == OPEN
    assert crypto.tls_1_2_enabled(tls_of(recorded, "1.2", agent__uem__tls=newer)).status == OPEN
    assert crypto.tls_1_2_enabled(tls_of(recorded, "1.2", gateway__backends__0__tls=newer)).status == OPEN
    assert crypto.tls_1_2_enabled(tls_of(recorded, "1.2", gateway__backends__0__tls=None)).status == OPEN


def test_a_backend_whose_certificate_need_not_hold_opens_v_251027(recorded: Recorded) -> None:
    lax = tls_of(recorded, "1.2", gateway__backends__0__verify="log")
    assert crypto.tls_1_2_enabled(tls_of(recorded, "1.2"), strict=True).status == GOOD
    assert (crypto.tls_1_2_enabled(lax).status, crypto.tls_1_2_enabled(lax, strict=True).status) == (GOOD, OPEN)


@contextmanager
def serving(folder: Path, held: Signed, suites: str) -> Iterator[int]:
    """A TLS server on loopback."""
    (folder / "both.pem").write_text(held.pem + held.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    context.set_ciphers(suites)
    with create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _peer = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)
                except OSError:
                    continue

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("suites", "taken"), [("ECDHE+AESGCM", False), ("ECDHE+CHACHA20", True), ("ECDHE+AES:!AESGCM", True)]
)
def test_suites_that_are_not_approved_are_seen(tmp_path: Path, suites: str, taken: bool) -> None:  # noqa: FBT001 - a table
    with serving(tmp_path, HELD, suites) as port:
        assert tls.ask_weak("127.0.0.1", port).accepted is taken


def test_the_authority_of_what_is_shown_is_the_sites_or_a_finding(tmp_path: Path) -> None:
    """V-251005."""
    (tmp_path / "root.pem").write_text(ROOT.pem)
    (tmp_path / "other.pem").write_text(OTHER.pem)
    with serving(tmp_path, HELD, "ECDHE+AESGCM") as port:
        good = tls.issued_by("127.0.0.1", port, tmp_path / "root.pem")
        bad = tls.issued_by("127.0.0.1", port, tmp_path / "other.pem")
    assert (good.accepted, good.said) == (True, "issued by O = Lab, CN = root")
    assert not bad.accepted
    place = ("the portal", 8443)
    assert [crypto.authorities({place: one}).status for one in (good, bad)] == [GOOD, OPEN]


def test_the_answer_file_names_the_approved_authorities(tmp_path: Path) -> None:
    """Relative to itself; a file that is not there is an error, not an unreviewed rule."""
    plain = "max_cli_sessions: 5\nauthorised_users: [admin]\nmanagement_networks: [10.0.0.0/8]\n"
    file = tmp_path / "answers.yml"
    file.write_text(plain)
    assert answers.load(file, written.load()).approved_authorities is None
    file.write_text(f"{plain}approved_authorities: cas.pem\n")
    with pytest.raises(InputError, match=r"cas\.pem: there is no such file"):
        answers.load(file, written.load())
    (tmp_path / "cas.pem").write_text(ROOT.pem)
    assert answers.load(file, written.load()).approved_authorities == tmp_path / "cas.pem"
    file.write_text(f"{plain}approved_authorities: 5\n")
    with pytest.raises(InputError, match="approved_authorities"):
        answers.load(file, written.load())
