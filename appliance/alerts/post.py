"""The way to the mail server: SMTP over TLS, checked strictly, or no mail (RFC 5321, 3207, 4954, 8314)."""

import email.policy
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

from appliance.alerts.desk import Result
from appliance.alerts.happening import WORDS_CHARACTERS, plain
from appliance.alerts.settings import Server, Settings
from appliance.client_tls import client_context

CONNECT_SECONDS = 10.0  # to each of its addresses
ANSWER_SECONDS = 30.0  # for each answer; RFC 5321 4.5.3.2 would wait for minutes, which nobody does at a prompt
WHOLE_SECONDS = 120.0  # for a whole mail, so that a server that answers letter by letter holds nothing up
# No mechanism that needs MD5 (CRAM-MD5, which smtplib would choose itself): the FIPS provider has none. TLS protects both.
_MECHANISMS = ("PLAIN", "LOGIN")


class PostError(RuntimeError):
    """The mail was not sent; the message says why in the reader's words."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a mail, and the server's last word."""

    result: Result
    answer: str


class Post:
    """Sends one mail at a time; `end` may come from another thread."""

    def __init__(self, *, seconds: float = WHOLE_SECONDS) -> None:
        self._seconds = seconds
        self._held: socket.socket | None = None
        self._ended = False

    def send(self, mail: EmailMessage, settings: Settings) -> Delivery:
        """Send `mail` to all recipients; blocking. It is sent when the server took it for at least one of them: who is refused
        stands in the answer."""
        server = settings.server
        if server is None:
            return Delivery("not_sent", "no mail server is configured")
        given = _Given()
        try:
            with self._connected(server, settings.host_name) as smtp:
                _give(smtp, mail, settings, server, given)
        except PostError as error:
            return Delivery("not_sent", _shown(str(error)))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # When the connection ends behind the data, the server may have taken them.
            broken = given.offered and not isinstance(error, smtplib.SMTPResponseException)
            why = f"{server.host} port {server.port}: {_why(error)}"
            return Delivery("unknown" if broken else "not_sent", _shown(why))
        return Delivery("sent", _shown("; ".join((given.answer, *(f"not taken: {one}" for one in given.refused)))))

    def end(self) -> None:
        """End what is being sent, as the server's silence would, and send nothing more."""
        self._ended = True
        held = self._held
        if held is not None:
            _cut(held)

    @contextmanager
    def _connected(self, server: Server, name: str) -> Iterator[smtplib.SMTP]:
        """A connection in TLS that ends after a time whatever the server does. The socket is ours from the first byte on, so
        that no part of the talk escapes that limit."""
        context = client_context(server, PostError)
        with (
            socket.create_connection((server.host, server.port), timeout=CONNECT_SECONDS) as connected,
            connected.dup() as held,
        ):
            connected.settimeout(ANSWER_SECONDS)
            timer = threading.Timer(self._seconds, _cut, (held,))
            timer.daemon = True
            timer.start()
            self._held = held
            smtp = smtplib.SMTP(local_hostname=name)
            smtp.sock = connected
            try:
                if self._ended:  # while it was connected
                    raise PostError("the alert service stops")
                _greet(smtp, context, server)
                yield smtp
                with suppress(OSError, smtplib.SMTPException):  # how it says good-bye is its own
                    smtp.quit()
            finally:
                self._held = None
                timer.cancel()
                smtp.close()


@dataclass(slots=True)
class _Given:
    """How far a mail has come: whether its text was offered, what was answered to it, and which recipients are refused."""

    offered: bool = False
    answer: str = ""
    refused: list[str] = field(default_factory=list)


def _give(smtp: smtplib.SMTP, mail: EmailMessage, settings: Settings, server: Server, given: _Given) -> None:
    _log_in(smtp, server)
    _expect(smtp.mail(server.sender), "the sender")
    given.refused = [words for one in settings.recipients if (words := _refusal(smtp, one))]
    if len(given.refused) == len(settings.recipients):
        raise PostError(f"no recipient is taken: {'; '.join(given.refused)}")
    given.offered = True
    given.answer = _expect(smtp.data(mail.as_bytes(policy=email.policy.SMTP)), "the mail")


def _greet(smtp: smtplib.SMTP, context: ssl.SSLContext, server: Server) -> None:
    if server.security == "tls":
        _into_tls(smtp, context, server.host)
    _expect(smtp.getreply(), "the connection")
    smtp.ehlo_or_helo_if_needed()
    if server.security == "starttls":
        _start_tls(smtp, context, server.host)


def _start_tls(smtp: smtplib.SMTP, context: ssl.SSLContext, host: str) -> None:
    if not smtp.has_extn("starttls"):
        raise PostError("the server offers no STARTTLS; without TLS no mail is sent")
    _expect(smtp.docmd("STARTTLS"), "STARTTLS")
    _into_tls(smtp, context, host)
    smtp.ehlo()


def _into_tls(smtp: smtplib.SMTP, context: ssl.SSLContext, host: str) -> None:
    """Go on in TLS. What was read ahead in the clear, and what was offered there, is forgotten (RFC 3207 4.2)."""
    assert smtp.sock is not None  # noqa: S101 - it was connected above
    tls = context.wrap_socket(smtp.sock, server_hostname=host, do_handshake_on_connect=False)
    smtp.sock, smtp.file, smtp.esmtp_features = tls, None, {}
    tls.do_handshake()


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _log_in(smtp: smtplib.SMTP, server: Server) -> None:
    if not server.account:
        return
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    mechanism = next((one for one in _MECHANISMS if one in offered), None)
    if mechanism is None:
        raise PostError(f"the server offers {' '.join(offered) or 'no log-in'}; allowed: {' or '.join(_MECHANISMS)}")
    try:
        smtp.user, smtp.password = server.account, Path(server.password_path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PostError(f"the password's file cannot be read: {error.strerror}") from error
    ways: dict[str, Callable[..., str]] = {"PLAIN": smtp.auth_plain, "LOGIN": smtp.auth_login}
    try:
        smtp.auth(mechanism, ways[mechanism])
    except smtplib.SMTPAuthenticationError as error:
        raise PostError(
            f"the log-in as {server.account} is refused: {error.smtp_code} {_decoded(error.smtp_error)}"
        ) from error


def _refusal(smtp: smtplib.SMTP, recipient: str) -> str:
    code, said = smtp.rcpt(recipient)
    return "" if code in (250, 251) else f"{recipient}: {code} {_decoded(said)}"


def _expect(answer: tuple[int, bytes], what: str) -> str:
    code, said = answer
    if not 200 <= code < 300:
        raise PostError(f"{what} is refused: {code} {_decoded(said)}")
    return f"{code} {_decoded(said)}"


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_decoded(error.smtp_error)}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _decoded(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said


def _shown(text: str) -> str:
    return plain(" ".join(text.split()), WORDS_CHARACTERS)
