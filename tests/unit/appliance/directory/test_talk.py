"""The talk with a real directory: whose password it is, what they may do, and what keeps it from being asked."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from appliance.directory import talk
from appliance.directory.bounds import Bounds
from appliance.directory.failing import DirectoryError
from appliance.directory.names import Names
from appliance.directory.settings import Server
from tests import directory_server
from tests.device_pki import DevicePki
from tests.directory_server import ACCOUNT_SECRET, PEOPLE, SECRET, DirectoryServer

from . import scripted
from .conftest import server_of, settings_of

PATIENCE_SECONDS = 30.0


@pytest.mark.parametrize("security", ["ldaps", "starttls"])
@pytest.mark.parametrize(
    ("user", "role"),
    [("dora", "administrator"), ("DORA", "administrator"), ("oscar", "operator"), ("both", "administrator")],
)
def test_the_right_password_gives_the_role_of_the_groups(
    directory: DirectoryServer, security: str, user: str, role: str
) -> None:
    settings = settings_of(directory, security=security)
    said = talk.prove(settings, settings.servers[0], ACCOUNT_SECRET, user, SECRET)
    assert (said.outcome, said.role) == ("proved", role)
    assert said.server == f"127.0.0.1:{settings.servers[0].port}"


@pytest.mark.parametrize(
    ("user", "password", "problem"),
    [
        ("dora", "Directory-Secret-2", "refuses the password"),
        ("dora", "", "refuses the password"),
        ("dora", "\u00ad", "refuses the password"),  # which SASLprep leaves nothing of
        ("nobody", SECRET, "has no such person"),
        ("vera", SECRET, "in none of the groups"),
        ("lola", SECRET, "refuses the password"),
        ("twin", SECRET, "several of this name"),
        ("*", SECRET, "has no such person"),
        ("d*", SECRET, "has no such person"),
        ("dora)(objectClass=*", SECRET, "has no such person"),
        ("nobody)(|(uid=dora", SECRET, "has no such person"),
    ],
)
def test_whatever_else_is_refused(directory: DirectoryServer, user: str, password: str, problem: str) -> None:
    settings = settings_of(directory)
    said = talk.prove(settings, settings.servers[0], ACCOUNT_SECRET, user, password)
    assert (said.outcome, said.role) == ("refused", None)
    assert problem in said.problem


def test_no_password_is_tried_of_who_is_in_no_group(directory: DirectoryServer) -> None:
    """Whether it is right or wrong: the portal tells nothing of it, and locks nobody."""
    settings = settings_of(directory)
    before = len(directory.asked())
    said = [talk.prove(settings, settings.servers[0], ACCOUNT_SECRET, "vera", word) for word in (SECRET, "wrong", "")]
    assert said[0] == said[1] == said[2]
    talk.prove(settings, settings.servers[0], ACCOUNT_SECRET, "dora", SECRET)
    asked = directory.asked()[before:]
    assert f'BIND dn="{directory_server.person("dora")}"' in asked
    assert f'BIND dn="{directory_server.person("vera")}"' not in asked


@pytest.mark.parametrize(
    ("user", "password", "outcome"),
    [
        ("uma", SECRET, "proved"),
        ("uma", "Directory-Secret-2", "refused"),
        ("uma", "", "refused"),
        ("dora", SECRET, "refused"),  # her entry is called by another attribute
        (f"uma,{PEOPLE}", SECRET, "refused"),
        ("uma+cn=uma", SECRET, "refused"),
    ],
)
def test_people_bind_as_themselves_where_there_is_no_account(
    directory: DirectoryServer, user: str, password: str, outcome: str
) -> None:
    settings = settings_of(directory, bind="user", account="", password_path="")
    said = talk.prove(settings, settings.servers[0], "", user, password)
    assert said.outcome == outcome
    assert (said.role == "administrator") == (outcome == "proved")


def test_a_server_that_is_asked_for_nothing_says_whether_all_is_there(directory: DirectoryServer) -> None:
    settings = settings_of(directory)
    talk.look(settings, settings.servers[0], ACCOUNT_SECRET)
    for more in (
        {"base": f"ou=none,{PEOPLE}"},
        {"groups": (settings.groups[0].__class__(dn=PEOPLE + "x", role="auditor"),)},
    ):
        wrong = settings_of(directory, **more)
        with pytest.raises(DirectoryError, match="it has no "):
            talk.look(wrong, wrong.servers[0], ACCOUNT_SECRET)


@pytest.mark.parametrize(
    ("account", "secret"),
    [
        (directory_server.ACCOUNT, "wrong"),
        (directory_server.LOCKED_ACCOUNT, ACCOUNT_SECRET),
        (f"cn=none,{PEOPLE}", "any"),
    ],
)
def test_an_account_of_ours_that_is_not_taken_says_nothing_of_anybody(
    directory: DirectoryServer, account: str, secret: str
) -> None:
    settings = settings_of(directory, account=account)
    with pytest.raises(DirectoryError, match="refuses the appliance's own account: invalidCredentials"):
        talk.prove(settings, settings.servers[0], secret, "dora", SECRET)


@pytest.mark.parametrize("code", [16, 19, 32, 34, 48, 49, 50, 53, 65, 123])
def test_every_word_on_a_person_but_yes_is_a_no(pki: DevicePki, directory: DirectoryServer, code: int) -> None:
    settings = settings_of(directory, bind="user", account="", password_path="")
    with scripted.speaking(pki, scripted.says(bind=code)) as (server, heard):
        said = talk.prove(settings, server, "", "uma", SECRET)
    assert (said.outcome, said.role) == ("refused", None)
    assert heard == [scripted.BIND, scripted.UNBIND]


@pytest.mark.parametrize("code", [1, 2, 3, 7, 8, 10, 11, 12, 13, 14, 51, 52, 54, 80])
def test_what_a_server_says_of_itself_is_no_word_on_a_person(
    pki: DevicePki, directory: DirectoryServer, code: int
) -> None:
    settings = settings_of(directory, bind="user", account="", password_path="")
    with (
        scripted.speaking(pki, scripted.says(bind=code)) as (server, _heard),
        pytest.raises(DirectoryError, match="does not say whether a password is right"),
    ):
        talk.prove(settings, server, "", "uma", SECRET)
    with (
        scripted.speaking(pki, scripted.says(search=code, entry="")) as (server, _heard),
        pytest.raises(DirectoryError, match="does not answer a search"),
    ):
        talk.prove(settings, server, "", "uma", SECRET)


@pytest.mark.parametrize("code", [50, 53])
def test_who_may_not_search_after_their_own_bind_is_refused(
    pki: DevicePki, directory: DirectoryServer, code: int
) -> None:
    settings = settings_of(directory, bind="user", account="", password_path="")
    with scripted.speaking(pki, scripted.says(search=code)) as (server, _heard):
        said = talk.prove(settings, server, "", "uma", SECRET)
    assert (said.outcome, said.role) == ("refused", None)
    account = settings_of(directory)
    with (
        scripted.speaking(pki, scripted.says(search=code)) as (server, _heard),
        pytest.raises(DirectoryError, match="does not answer a search"),  # the account's: it says nothing of the person
    ):
        talk.prove(account, server, ACCOUNT_SECRET, "uma", SECRET)


# --- passwords that are right and let nobody in ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "problem"),
    [("rita", "wants the password changed first"), ("greta", "lets this person in a few times more")],
)
def test_a_password_to_be_changed_or_past_its_end_lets_nobody_in(
    directory: DirectoryServer, user: str, problem: str
) -> None:
    settings = settings_of(directory)
    said = talk.prove(settings, settings.servers[0], ACCOUNT_SECRET, user, SECRET)
    assert (said.outcome, said.role) == ("refused", None)
    assert problem in said.problem


def test_nor_does_it_where_people_bind_as_themselves(directory: DirectoryServer) -> None:
    settings = settings_of(directory, bind="user", account="", password_path="")
    said = talk.prove(settings, settings.servers[0], "", "ursula", SECRET)
    assert (said.outcome, said.problem) == ("refused", "the directory wants the password changed first")


def test_a_password_that_will_expire_is_still_good(directory: DirectoryServer) -> None:
    settings = settings_of(directory)
    assert talk.prove(settings, settings.servers[0], ACCOUNT_SECRET, "wanda", SECRET).role == "administrator"


EXPIRED, POLICY = "2.16.840.1.113730.3.4.4", "1.3.6.1.4.1.42.2.27.8.5.1"


@pytest.mark.parametrize(
    ("oid", "value", "problem"),
    [
        (EXPIRED, b"0", "has expired"),
        (EXPIRED, None, "has expired"),
        (POLICY, bytes.fromhex("3003810100"), "has expired"),
        (POLICY, bytes.fromhex("3003810101"), "is locked"),
        (POLICY, bytes.fromhex("3003810102"), "changed first"),
        (POLICY, bytes.fromhex("3003810109"), "an error in its password policy"),
        (POLICY, bytes.fromhex("3005a003810105"), "a few times more"),
        (POLICY, bytes.fromhex("3008a003800105810102"), "changed first"),
        (POLICY, bytes.fromhex("3009810102"), "cannot be read"),
        (POLICY, bytes.fromhex("3000") * 2, "cannot be read"),
        (POLICY, bytes.fromhex("8000"), "cannot be read"),
        (POLICY, b"\x30", "cannot be read"),
        (POLICY, None, "cannot be read"),
        (POLICY, bytes.fromhex("3000"), ""),
        (POLICY, bytes.fromhex("3005a003800105"), ""),
        ("2.16.840.1.113730.3.4.5", b"3600", ""),  # it will expire
    ],
)
def test_what_a_success_says_of_the_password_beside_it(
    pki: DevicePki, directory: DirectoryServer, oid: str, value: bytes | None, problem: str
) -> None:
    settings = settings_of(directory, bind="user", account="", password_path="")
    with scripted.speaking(pki, scripted.says(controls=scripted.control(oid, value))) as (server, _heard):
        said = talk.prove(settings, server, "", "uma", SECRET)
    assert said.outcome == ("refused" if problem else "proved")
    assert problem in said.problem


# --- a server that takes its time --------------------------------------------------------------------------------


@pytest.mark.parametrize(("security", "start"), [("ldaps", "1603034000"), ("starttls", "3082ffff")])
def test_a_talk_ends_in_its_time_before_tls_too(directory: DirectoryServer, security: str, start: str) -> None:
    """Octets of a handshake, or of the answer to StartTLS, that come one by one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                taken, _address = listener.accept()
                with taken:
                    taken.recv(65_536)
                    taken.sendall(bytes.fromhex(start))
                    for _ in range(600):
                        time.sleep(0.1)
                        taken.sendall(b"\0")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        settings = settings_of(directory, security=security)
        server = Server(host="127.0.0.1", port=listener.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(DirectoryError):
            talk.prove(settings, server, ACCOUNT_SECRET, "dora", SECRET, Bounds(0.5))
        assert time.monotonic() - began < settings.timeout_seconds
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


# --- TLS ---------------------------------------------------------------------------------------------------------


def test_nobody_is_asked_whose_certificate_is_of_another_authority_or_for_another_name(pki: DevicePki) -> None:
    with (
        directory_server.folder() as place,
        directory_server.serving(place, pki.pair("another"), pki.path("company")) as other,
    ):
        for security in ("ldaps", "starttls"):
            wrong = settings_of(other, security=security, trust=pki.path("stranger"))
            with pytest.raises(DirectoryError, match="certificate verify failed"):
                talk.prove(wrong, wrong.servers[0], ACCOUNT_SECRET, "dora", SECRET)
        settings = settings_of(other)
        with pytest.raises(DirectoryError, match="IP address mismatch"):
            talk.prove(settings, settings.servers[0], ACCOUNT_SECRET, "dora", SECRET)
        assert "BIND" not in other.asked()


def test_a_name_is_dialled_at_each_of_its_addresses_and_its_certificate_is_for_the_name(pki: DevicePki) -> None:
    with (
        directory_server.folder() as place,
        directory_server.serving(place, pki.pair("another"), pki.path("company")) as other,
    ):

        def look_up(host: str, _port: None, **_: object) -> list[tuple[object, ...]]:
            assert host == "another.lab.test"
            return [(0, 0, 0, "", (one, 0)) for one in ("127.0.0.3", "127.0.0.1")]

        for security in ("ldaps", "starttls"):
            settings = settings_of(other, security=security)
            server = Server(host="another.lab.test", port=server_of(other, security).port)
            said = talk.prove(settings, server, ACCOUNT_SECRET, "dora", SECRET, names=Names(look_up))
            assert (said.outcome, said.server) == ("proved", f"another.lab.test:{server.port}")


def test_trust_that_is_not_there_is_said(directory: DirectoryServer) -> None:
    settings = settings_of(directory, trust="/nowhere.pem")
    with pytest.raises(DirectoryError, match=r"trust anchors in /nowhere\.pem cannot be used"):
        talk.look(settings, settings.servers[0], ACCOUNT_SECRET)


@contextlib.contextmanager
def answering(octets: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Somebody who takes one connection at a time, reads once and says this; and what they read."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken, _address = listener.accept()
                    with taken, contextlib.suppress(OSError):
                        heard.append(taken.recv(65_536))
                        taken.sendall(octets)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1]), heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_SECONDS)


# An ExtendedResponse (RFC 4511 4.12) with the result protocolError, and one with success.
NO_TLS = bytes.fromhex("300c02010178070a010204000400")
YES_TLS = bytes.fromhex("300c02010178070a010004000400")


@pytest.mark.parametrize(
    "octets", [NO_TLS, YES_TLS, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\xff\xff", b"\0" * 64]
)
def test_without_tls_nothing_is_said_of_anybody(directory: DirectoryServer, octets: bytes) -> None:
    """A server that refuses StartTLS, or says yes and speaks something else."""
    with answering(octets) as (port, heard):
        settings = settings_of(directory, security="starttls", timeout_seconds=1)
        with pytest.raises(DirectoryError):
            talk.prove(settings, Server(host="127.0.0.1", port=port), ACCOUNT_SECRET, "dora", SECRET)
    said = b"".join(heard)
    assert b"1.3.6.1.4.1.1466.20037" in said  # StartTLS was asked for
    for word in (SECRET, ACCOUNT_SECRET, "dora"):
        assert word.encode() not in said


def test_octets_that_are_no_ldap_within_tls_are_no_answer(pki: DevicePki, directory: DirectoryServer) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.pair("directory"))
    for octets in (b"\x30\x03\x02\x01\x01", b"\x30\x84\x7f\xff\xff\xff", b"HTTP/1.1 200 OK\r\n\r\n", b"\x30\x00"):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve(listener: socket.socket = listener, octets: bytes = octets) -> None:
                with contextlib.suppress(OSError):
                    taken, _address = listener.accept()
                    with context.wrap_socket(taken, server_side=True) as safe:
                        safe.recv(65_536)
                        safe.sendall(octets)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            settings = settings_of(directory, timeout_seconds=1)
            with pytest.raises(DirectoryError):
                talk.prove(
                    settings, Server(host="127.0.0.1", port=listener.getsockname()[1]), ACCOUNT_SECRET, "dora", SECRET
                )
            thread.join(PATIENCE_SECONDS)


def test_a_server_that_is_away_is_said_to_be(directory: DirectoryServer) -> None:
    settings = settings_of(directory)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DirectoryError, match="refused"):
        talk.look(settings, Server(host="127.0.0.1", port=port), ACCOUNT_SECRET)
    assert server_of(directory).port == settings.servers[0].port
