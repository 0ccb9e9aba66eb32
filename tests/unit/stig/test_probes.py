"""The probes tell what a server really does, whatever the local TLS library would allow."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stig.errors import FactError, InputError
from stig.machine import SshMachine
from stig.parse import pam, words
from stig.probe import network, tls
from stig.probe.tls import Version
from stig.run import run
from stig.target import Login, Target, check, described


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that treats each connection with `answer`; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _peer = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    both = folder / "both.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    assert run(argv, seconds=60).status == 0
    both.write_text((folder / "cert").read_text() + (folder / "key").read_text(), encoding="utf-8")
    return both


def speaking(certificate: Path, least: ssl.TLSVersion, most: ssl.TLSVersion) -> Callable[[socket.socket], None]:
    """A real TLS server with these bounds; it answers one request with a page."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.minimum_version, context.maximum_version = least, most

    def answer(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                asked = secured.recv(4_096)
                if b"GET / " in asked:
                    secured.sendall(b"HTTP/1.1 303 See Other\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n")
                else:
                    body = b"<style>p {}</style><p>I&#39;ve   read</p>"
                    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except OSError:
            pass  # what the probe is for: the client goes away in the middle

    return answer


V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(("least", "most", "spoken"), [(V2, V2, {"1.2"}), (V2, V3, {"1.2", "1.3"}), (V3, V3, {"1.3"})])
def test_a_servers_versions_are_found(
    certificate: Path, least: ssl.TLSVersion, most: ssl.TLSVersion, spoken: set[str]
) -> None:
    """One hello for each version, taken or refused as the server is set."""
    with serving(speaking(certificate, least, most)) as port:
        assert {version for version in tls.VERSIONS if tls.ask("127.0.0.1", port, version).accepted} == spoken


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_old_server_is_recognised(version: Version) -> None:
    """A ServerHello with the old version is acceptance, though no library here would make one."""
    number = {"1.0": b"\x03\x01", "1.1": b"\x03\x02"}[version]
    hello = b"\x02\x00\x00\x26" + number + bytes(32) + b"\x00\x00\x2f\x00"
    assert tls.understood(version, 0x16, hello).accepted
    assert not tls.understood("1.2", 0x16, hello).accepted


def test_a_server_that_hangs_up_refuses_and_one_that_babbles_is_an_error() -> None:
    """A closed connection is a refusal; an answer that is no TLS tells nothing."""
    with serving(socket.socket.close) as port:
        assert not tls.ask("127.0.0.1", port, "1.2").accepted

    def babble(connection: socket.socket) -> None:
        connection.recv(4_096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(30_000))

    with serving(babble) as port, pytest.raises(FactError, match="no TLS record"):
        tls.ask("127.0.0.1", port, "1.2")


def test_a_port_nobody_listens_on_does_not_answer() -> None:
    """And one somebody listens on does."""
    with serving(socket.socket.close) as port:
        assert network.answers("127.0.0.1", port)
    assert not network.answers("127.0.0.1", port)


def test_the_log_in_page_is_read_through_one_redirect_over_verified_tls(certificate: Path) -> None:
    """Only visible words count; without the right authority nothing is read."""
    with serving(speaking(certificate, V2, V2)) as port:
        assert network.login_page("127.0.0.1", port, certificate) == ("/login", "I've read")
        with pytest.raises(FactError, match="certificate verify failed"):
            network.login_page("127.0.0.1", port, None)


def test_a_program_that_is_missing_or_hangs_is_an_error() -> None:
    """Never an empty answer."""
    with pytest.raises(FactError, match="not installed"):
        run(["no-such-program-of-ours"])
    with pytest.raises(FactError, match="no answer within"):
        run(["sleep", "5"], seconds=0.1)


@pytest.mark.parametrize(("text", "seconds"), [("600", 600), ("10m", 600), ("1h30m", 5_400), ("0", 0), ("2D", 172_800)])
def test_durations_are_read_as_openssh_reads_them(text: str, seconds: int) -> None:
    """sshd_config(5), TIME FORMATS."""
    assert words.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "10 m", "-1", "none"])
def test_what_is_no_duration_is_an_error(text: str) -> None:
    """And not zero."""
    with pytest.raises(FactError, match="not a duration"):
        words.seconds(text)


def test_an_include_of_a_missing_pam_file_is_an_error() -> None:
    """A stack that PAM could not build must not be judged as if it were short."""
    services = pam.files(["/etc/pam.d/sshd:@include common-auth"])
    with pytest.raises(FactError, match="common-auth is missing"):
        pam.stack(services, "sshd", "auth")


def test_a_description_with_a_missing_key_file_is_refused(tmp_path: Path) -> None:
    """Before anything is tried, with the file's name."""
    path = tmp_path / "appliance.json"
    path.write_text(
        '{"name": "box", "address": "10.0.0.9", "ssh": {"user": "admin", "key": "/no/admin"},'
        ' "builder": {"user": "builder", "key": "/no/builder"}}',
        encoding="utf-8",
    )
    target = described(path, host="10.0.0.10")
    assert (target.address, target.known_hosts) == ("10.0.0.10", tmp_path / "known_hosts")
    with pytest.raises(InputError, match="/no/builder"):
        check(target)
    path.write_text('{"name": "box"}', encoding="utf-8")
    with pytest.raises(InputError, match="address"):
        described(path)


def test_a_log_in_that_fails_is_tried_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """sshd locks out the address of whoever keeps failing; what cannot be reached is an error for every look."""
    hellos: list[bytes] = []
    folder = tmp_path_factory.mktemp("ssh")  # a short name, as `SshMachine` wants it

    def hang_up(connection: socket.socket) -> None:
        hellos.append(connection.recv(64))

    (folder / "key").write_text("no key", encoding="utf-8")
    (folder / "known_hosts").write_text("", encoding="utf-8")
    login = Login("someone", folder / "key")
    with serving(hang_up) as port:
        target = Target("box", "127.0.0.1", login, login, folder / "known_hosts", ssh_port=port)
        machine = SshMachine(target, folder)
        for _ in range(2):
            with pytest.raises(FactError, match="SSH as collector failed"):
                machine.look("nothing", ["true"])
            with pytest.raises(FactError, match="SSH as admin failed"):
                machine.cli("show fips")
        machine.close()
    assert len(hellos) == 2
