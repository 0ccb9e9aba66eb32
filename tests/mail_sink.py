"""A mail server that keeps what it is given, for tests of what sends mail: aiosmtpd, with TLS in either manner."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class MailSink:
    """`mails` are those that were taken, `envelopes` their senders and recipients. Recipients in `unknown` are refused; while
    `refuses` is set, every mail is refused with it."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    refuses: str = ""
    encrypted: list[bool] = field(default_factory=list)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        """aiosmtpd: one call for each recipient."""
        if address in self.unknown:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient taken"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """aiosmtpd: one call for each mail."""
        if self.refuses:
            return self.refuses
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        self.envelopes.append((envelope.mail_from, tuple(envelope.rcpt_tos)))
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return f"250 2.0.0 taken as number {len(self.mails)}"

    def authenticate(self, _server: SMTP, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        """aiosmtpd: one call for each log-in."""
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.logins[-1][1] == "right password", handled=False)

    @property
    def texts(self) -> list[str]:
        """The mails' bodies."""
        return [mail.get_content().replace("\r\n", "\n") for mail in self.mails]

    @property
    def subjects(self) -> list[str]:
        """Their subjects."""
        return [str(mail["Subject"]) for mail in self.mails]


def context_of(certificate: str, key: str) -> ssl.SSLContext:
    """TLS of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@contextmanager
def serving(
    sink: MailSink,
    context: ssl.SSLContext | None,
    *,
    port: int,
    host: str = "127.0.0.1",
    security: str = "starttls",
    log_in: bool = False,
) -> Iterator[MailSink]:
    """`sink` on `port`; without a context it speaks no TLS at all."""
    sink.port = port
    options: dict[str, Any] = {"authenticator": sink.authenticate, "auth_require_tls": security == "starttls"}
    if log_in:
        options["auth_required"] = True
    if context is not None:
        options["ssl_context" if security == "tls" else "tls_context"] = context
    controller = Controller(sink, hostname=host, port=port, **options)
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()
