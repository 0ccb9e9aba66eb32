"""A mail server that authenticates connections: a real NTLM acceptor (pyspnego) behind the stand's backend."""

import base64
import contextlib
from pathlib import Path

import msgspec
import pytest
import spnego
from spnego.exceptions import SpnegoError

from sentry_runtime.settings import Principals, Scheme
from tests.gateway.stand import Device, Response, Stand, Turn

USERS = {"LAB\\anna": "canary-anna-pa55word", "LAB\\bert": "canary-bert-pa55word", "\\carla": "canary-carla-pa55word"}
SITE = Principals(domains={"lab": "lab.test"}, default_domain="lab.test")


class NtlmServer:
    """Binds what it knows to the connection, as IIS does: once a user has logged on there, every request is theirs.

    Basic binds, too, which is worse than any real server. Each request is answered by who the server takes it for, or by 451
    where it has a `location` to send everybody to.
    """

    def __init__(self, *, challenges: tuple[str, ...] = ("NTLM", "Negotiate", 'Basic realm="mail"')) -> None:
        self.users: dict[int, str] = {}  # by number of the connection
        self.authorizations: dict[int, list[str]] = {}  # what each connection was sent
        self.devices: dict[int, set[str]] = {}
        self.location = ""
        self._contexts: dict[int, spnego.ContextProxy] = {}
        self._challenges = challenges

    async def script(self, turn: Turn) -> None:
        """The backend's script and probe."""
        await turn.body()
        number, sent = turn.seen.connection, turn.seen.values("authorization")
        self.authorizations.setdefault(number, []).extend(sent)
        _, _, query = turn.seen.target.partition("?")
        if query:
            self.devices.setdefault(number, set()).add(query)
        said = self._take(number, sent[0]) if sent else ""
        if number in self.users:
            extra = f"WWW-Authenticate: {said}\r\n" if said else ""
            if self.location:
                await turn.ok(b"moved", f"{extra}X-MS-Location: {self.location}\r\n", "451 Redirect")
                return
            await turn.ok(self.users[number].encode(), extra)
            return
        offers = (said,) if said else self._challenges
        await turn.ok(b"401", "".join(f"WWW-Authenticate: {one}\r\n" for one in offers), "401 Unauthorized")

    def forget(self, number: int) -> None:
        """As if the log-on of this connection had run out."""
        del self.users[number]

    def _take(self, number: int, authorization: str) -> str:
        """Go on with a log-on; the server's answer, "" when there is none."""
        scheme, _, token = authorization.partition(" ")
        if scheme == "Basic":
            name, _, password = base64.b64decode(token).decode().partition(":")
            if USERS.get(name) == password:
                self.users.setdefault(number, name)
            return ""
        if scheme not in ("NTLM", "Negotiate"):
            return ""
        message = base64.b64decode(token)
        context = self._contexts.pop(number, None)
        if context is None:
            protocol = "ntlm" if message.startswith(b"NTLMSSP") else "negotiate"
            context = spnego.server(protocol=protocol, options=PURE[protocol])
        try:
            answer = context.step(message)
        except SpnegoError:
            return ""
        if context.complete:
            self.users[number] = str(context.client_principal)
        else:
            self._contexts[number] = context
        return "" if answer is None else f"{scheme} {base64.b64encode(answer).decode()}"


# What is written in Python, not the system's.
PURE = {"ntlm": spnego.NegotiateOptions.use_ntlm, "negotiate": spnego.NegotiateOptions.use_negotiate}


class NtlmClient:
    """A client's side of one log-on (pyspnego)."""

    def __init__(self, user: str, password: str | None = None, scheme: str = "NTLM", *, wrapped: bool = True) -> None:
        protocol = "negotiate" if scheme == "Negotiate" and wrapped else "ntlm"
        secret = USERS[user] if password is None else password
        self._scheme = scheme
        self.context = spnego.client(
            user, secret, protocol=protocol, hostname="mail.lab.test", service="http", options=PURE[protocol]
        )

    def first(self) -> str:
        """The first message, as `Authorization`."""
        return self._said(None)

    def last(self, challenge: str) -> str:
        """The last message, which answers this `WWW-Authenticate`."""
        scheme, _, token = challenge.partition(" ")
        assert scheme == self._scheme
        return self._said(base64.b64decode(token))

    def finish(self, word: str) -> None:
        """Take the server's last word."""
        self.context.step(base64.b64decode(word.partition(" ")[2]))

    def _said(self, token: bytes | None) -> str:
        answer = self.context.step(token)
        assert answer is not None
        return f"{self._scheme} {base64.b64encode(answer).decode()}"


async def log_on(device: Device, ask: "Asked", client: NtlmClient) -> tuple[Response, str]:
    """Both requests of a log-on; the answer to the last, and its `Authorization`."""
    begun = await device.ask(ask(client.first()))
    assert begun.status == 401, begun
    last = client.last(begun.headers["www-authenticate"])
    return await device.ask(ask(last)), last


class Asked:
    """Makes the same request with other credentials."""

    def __init__(self, template: bytes) -> None:
        self._head, _, self._rest = template.partition(b"\r\n")

    def __call__(self, authorization: str | None) -> bytes:
        field = b"" if authorization is None else b"\r\nAuthorization: " + authorization.encode()
        return self._head + field + b"\r\n" + self._rest


async def start(stand: Stand, monkeypatch: pytest.MonkeyPatch, *schemes: Scheme, site: Principals = SITE) -> NtlmServer:
    """Start a stand whose site lets devices log on so, with an NTLM server behind it."""
    file = Path(stand.folder) / "users"
    lines = (f"{name.replace(chr(92), ':')}:{password}\n" for name, password in USERS.items())
    file.write_text("".join(lines))
    monkeypatch.setenv("NTLM_USER_FILE", str(file))
    server = NtlmServer()
    for backend in stand.backends:
        backend.script = backend.probe = server.script
    gateway = msgspec.structs.replace(stand.settings.gateway, authentication=schemes)
    stand.settings = msgspec.structs.replace(stand.settings, gateway=gateway, principals=site)
    await stand.start()
    return server


def no_canary(stand: Stand, *secrets: str) -> None:
    """None of these has reached a log of the gateway's."""
    said = b"\n".join(stand.audit.raw) + stand.log().encode()
    for secret in secrets:
        assert secret.encode() not in said
    with contextlib.suppress(FileNotFoundError):
        assert "canary" not in (stand.folder / "gateway.log").read_text()
