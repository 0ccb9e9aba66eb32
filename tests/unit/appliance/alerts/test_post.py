"""To a real mail server and back: TLS in both manners, log-in, and every way in which it can refuse."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import msgspec
import pytest

from appliance.alerts.post import Post
from appliance.alerts.settings import Server, Settings
from tests.device_pki import DevicePki
from tests.mail_sink import MailSink, context_of, serving
from tests.ports import free_port

from .conftest import PEOPLE, SERVER, settings_of

SECONDS = 20.0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """An authority, a stranger, and certificates of a mail server."""
    made = DevicePki(tmp_path_factory.mktemp("pki"))
    for name in ("company", "stranger"):
        made.authority(name)
    made.issue("mail", by="company", names="IP:127.0.0.1", usage="serverAuth")
    made.issue("other", by="company", names="DNS:other.example.org", usage="serverAuth")
    made.issue("client", by="company", names="IP:127.0.0.1", usage="clientAuth")
    made.issue("forged", by="stranger", names="IP:127.0.0.1", usage="serverAuth")
    made.issue("past", by="company", names="IP:127.0.0.1", usage="serverAuth", dates=("200101000000Z", "200201000000Z"))
    return made


Change = Callable[[Server], Server]


@pytest.fixture
def settings(pki: DevicePki) -> Callable[..., Settings]:
    """Settings that lead to a sink on `port`."""

    def make(port: int, **rest: object) -> Settings:
        server = msgspec.structs.replace(SERVER, **{"port": port, "trust": pki.path("company"), **rest})
        return settings_of(server=server)

    return make


def mail(text: str = "Something happened.\r\n.\r\nMore.") -> EmailMessage:
    """A mail to send."""
    made = EmailMessage()
    made["Subject"] = "test"
    made.set_content(text)
    return made


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_arrives_over_tls_and_the_servers_word_comes_back(
    security: str, pki: DevicePki, settings: Callable[..., Settings]
) -> None:
    with serving(MailSink(), context_of(*pki.pair("mail")), port=free_port(), security=security) as sink:
        done = Post(seconds=SECONDS).send(mail(), settings(sink.port, security=security))
    assert (done.result, done.answer) == ("sent", "250 2.0.0 taken as number 1")
    assert sink.envelopes == [("gateway@lab.test", PEOPLE)]
    assert sink.texts == ["Something happened.\n.\nMore.\n"]
    assert sink.encrypted == [True]


@pytest.mark.parametrize("certificate", ["other", "forged", "past", "client"])
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_that_is_not_the_right_one_gets_nothing(
    security: str, certificate: str, pki: DevicePki, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """Another name, another authority, past its end, not for servers: no mail, no password."""
    secret = tmp_path / "secret"
    secret.write_text("right password")
    log_in = {"account": "edge", "password_path": str(secret)}
    with serving(MailSink(), context_of(*pki.pair(certificate)), port=free_port(), security=security) as sink:
        done = Post(seconds=SECONDS).send(mail(), settings(sink.port, security=security, **log_in))
    assert done.result == "not_sent"
    assert "its certificate is refused" in done.answer
    assert (sink.mails, sink.logins) == ([], [])


def test_a_server_without_starttls_gets_nothing(settings: Callable[..., Settings]) -> None:
    """As one in the middle would have it."""
    with serving(MailSink(), None, port=free_port()) as sink:
        done = Post(seconds=SECONDS).send(mail(), settings(sink.port))
    assert (done.result, sink.mails) == ("not_sent", [])
    assert "offers no STARTTLS" in done.answer


def test_the_log_in_is_by_what_tls_protects(pki: DevicePki, settings: Callable[..., Settings], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right password\n")
    with serving(MailSink(), context_of(*pki.pair("mail")), port=free_port(), log_in=True) as sink:
        with_account = settings(sink.port, account="edge", password_path=str(secret))
        assert Post(seconds=SECONDS).send(mail(), with_account).result == "sent"
        secret.write_text("wrong one")
        done = Post(seconds=SECONDS).send(mail(), with_account)
    assert sink.logins == [("edge", "right password"), ("edge", "wrong one")]
    assert done.result == "not_sent"
    assert "the log-in as edge is refused: 535" in done.answer
    assert "wrong one" not in done.answer


def test_one_recipient_too_few_is_no_failure_and_is_said(pki: DevicePki, settings: Callable[..., Settings]) -> None:
    with serving(MailSink(unknown={PEOPLE[1]}), context_of(*pki.pair("mail")), port=free_port()) as sink:
        done = Post(seconds=SECONDS).send(mail(), settings(sink.port))
        assert (done.result, sink.envelopes) == ("sent", [("gateway@lab.test", PEOPLE[:1])])
        assert f"not taken: {PEOPLE[1]}: 550 5.1.1 no such mailbox" in done.answer
        sink.unknown = set(PEOPLE)
        done = Post(seconds=SECONDS).send(mail(), settings(sink.port))
    assert done.result == "not_sent"
    assert done.answer.startswith("no recipient is taken")
    assert len(sink.mails) == 1


def test_a_mail_that_the_server_does_not_want_was_not_sent(pki: DevicePki, settings: Callable[..., Settings]) -> None:
    with serving(MailSink(refuses="452 4.3.1 no room"), context_of(*pki.pair("mail")), port=free_port()) as sink:
        done = Post(seconds=SECONDS).send(mail(), settings(sink.port))
    assert (done.result, done.answer) == ("not_sent", "the mail is refused: 452 4.3.1 no room")


def test_nobody_there(settings: Callable[..., Settings]) -> None:
    done = Post(seconds=SECONDS).send(mail(), settings(free_port()))
    assert done.result == "not_sent"
    assert "refused" in done.answer


def test_trust_anchors_that_cannot_be_read(settings: Callable[..., Settings]) -> None:
    done = Post(seconds=SECONDS).send(mail(), settings(free_port(), trust="/nowhere/ca.pem"))
    assert done.result == "not_sent"
    assert "/nowhere/ca.pem cannot be used" in done.answer


# --- servers that are no mail servers --------------------------------------------------------------------------------


@contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """One connection is given to `talk`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connected, _ = listener.accept()
            with connected:
                talk(connected)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def test_a_server_that_answers_letter_by_letter_is_cut_off(settings: Callable[..., Settings]) -> None:
    """Each answer would be in time, the whole never."""
    cut = threading.Event()

    def drip(connected: socket.socket) -> None:
        connected.settimeout(0.05)
        while True:
            try:
                connected.sendall(b"220-")
                if not connected.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        cut.set()

    with talking(drip) as port:
        done = Post(seconds=0.3).send(mail(), settings(port))
        assert cut.wait(SECONDS)
    assert done.result == "not_sent"


def test_end_cuts_off_what_is_being_sent(settings: Callable[..., Settings]) -> None:
    post = Post(seconds=SECONDS)

    def silent(connected: socket.socket) -> None:
        post.end()
        assert connected.recv(1) == b""

    with talking(silent) as port:
        assert post.send(mail(), settings(port)).result == "not_sent"


def test_words_sent_ahead_in_the_clear_are_not_taken_for_the_servers(
    pki: DevicePki, settings: Callable[..., Settings]
) -> None:
    """Who is in the middle puts answers behind the one to STARTTLS; in TLS they must be gone (RFC 3207 4.2)."""
    heard: list[bytes] = []

    def inject(connected: socket.socket) -> None:
        connected.sendall(b"220 here\r\n")
        heard.append(connected.recv(1_024))
        connected.sendall(b"250-here\r\n250 STARTTLS\r\n")
        heard.append(connected.recv(1_024))
        connected.sendall(b"220 go on\r\n250-here\r\n250 AUTH PLAIN\r\n")
        with context_of(*pki.pair("mail")).wrap_socket(connected, server_side=True) as tls:
            heard.append(tls.recv(1_024))
            tls.sendall(b"250 here\r\n")
            heard.append(tls.recv(1_024))

    with talking(inject) as port:
        done = Post(seconds=SECONDS).send(mail(), settings(port, account="edge", password_path="/nowhere"))
    # The handshake fails on the injected bytes, or they are dropped; in no case does the log-in of the middle count.
    assert done.result == "not_sent"
    assert not any(b"AUTH" in one for one in heard)


def test_the_data_that_may_have_arrived(pki: DevicePki, settings: Callable[..., Settings]) -> None:
    """The connection ends between the text and its answer: nobody can say."""

    def vanish(connected: socket.socket) -> None:
        with context_of(*pki.pair("mail")).wrap_socket(connected, server_side=True) as tls:
            tls.sendall(b"220 here\r\n")
            for answer in (b"250 here\r\n", b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
                tls.recv(4_096)
                tls.sendall(answer)
            data = b""
            while b"\r\n.\r\n" not in data:
                data += tls.recv(4_096)

    with talking(vanish) as port:
        done = Post(seconds=SECONDS).send(mail("once"), settings(port, security="tls"))
    assert done.result == "unknown"


def test_nothing_older_than_tls_1_2_is_spoken(pki: DevicePki, settings: Callable[..., Settings]) -> None:
    """And with the STIG's profile nothing newer."""
    context = context_of(*pki.pair("mail"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with serving(MailSink(), context, port=free_port(), security="tls") as sink:
        assert Post(seconds=SECONDS).send(mail(), settings(sink.port, security="tls")).result == "not_sent"
        wide = settings(sink.port, security="tls", maximum="1.3")
        assert Post(seconds=SECONDS).send(mail(), wide).result == "sent"
