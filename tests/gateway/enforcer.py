"""A scripted backend that enforces a policy of its own, in all the forms that servers have for it."""

import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sentry_runtime.eas.codepages import AIRSYNC, FOLDERS
from sentry_runtime.eas.policy import Policy, wap_document
from sentry_runtime.eas.provision import (
    EAS_WBXML,
    WAP_XML,
    Acknowledgement,
    Ask,
    PolicyAnswer,
    Request,
    Response,
    WipeAcknowledgement,
    decode_request,
    encode_response,
)
from sentry_runtime.eas.status import status_body
from sentry_runtime.eas.wbxml import element, encode
from tests.gateway.stand import WBXML, Backend, Script, Turn

DEMANDED = Policy(device_password_enabled=True, min_device_password_length=8, max_device_password_failed_attempts=5)
PROVISION_FIRST = "449 Retry after sending a PROVISION command"

Call = Callable[[Turn, int], Awaitable[None]]
"""How it calls for a Provision: the status that it has for it."""


async def call_449(turn: Turn, _status: int) -> None:
    """As servers do up to 12.1."""
    await turn.ok(status=PROVISION_FIRST)


async def call_449_with_status(turn: Turn, status: int) -> None:
    """As Horde does: with a status, always on the page of Sync."""
    root = element(FOLDERS, "FolderSync", element(AIRSYNC, "Status", str(status)))
    await turn.ok(encode(root), status=PROVISION_FIRST)


async def call_200(turn: Turn, status: int) -> None:
    """As Exchange does from 14.0 on."""
    await turn.ok(status_body(turn.seen.query.command, status) or b"")


async def call_200_compressed(turn: Turn, status: int) -> None:
    """The same, compressed."""
    body = gzip.compress(status_body(turn.seen.query.command, status) or b"")
    await turn.ok(body, extra="Content-Encoding: gzip\r\n")


async def call_200_in_pieces(turn: Turn, status: int) -> None:
    """The same in chunks of one byte."""
    body = status_body(turn.seen.query.command, status) or b""
    await turn.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in body:
        await turn.say(b"1\r\n%c\r\n" % byte)
    await turn.say(b"0\r\n\r\n")


async def internal_error(turn: Turn) -> None:
    """As one that is broken."""
    await turn.ok(status="500 Internal Server Error")


@dataclass
class Enforcer:
    """Its state of one device: `key` is what it takes, `temporary` what it has handed out since."""

    backend: Backend
    demands: Policy | None = DEMANDED
    call: Call = call_449_with_status
    key: int = 0
    temporary: int = 0
    wipe: str = ""  # "", "device", "account"
    heard: list[Request] = field(default_factory=list)
    keys_heard: list[int | None] = field(default_factory=list)
    fault: Script | None = None
    """Answers the next Provision instead."""
    grants: bool = True
    """Whether it takes an acknowledgement that the policy was applied in part."""
    _count: int = 1_000

    def install(self) -> "Enforcer":
        """Take the backend over."""
        self.backend.provision = self._provision
        self.backend.script = self._serve
        return self

    async def _serve(self, turn: Turn) -> None:
        await turn.body()
        if self.wipe:
            await self.call(turn, 140)
        elif self.demands is not None and (not self.key or turn.seen.query.policy_key != self.key):
            await self.call(turn, 142 if turn.seen.query.policy_key is None else 144)
        else:
            await turn.ok(b"served")

    async def _provision(self, turn: Turn) -> None:
        asked = decode_request(await turn.body())
        self.heard.append(asked)
        self.keys_heard.append(turn.seen.query.policy_key)
        fault, self.fault = self.fault, None
        if fault is not None:
            await fault(turn)
            return
        body = encode_response(self._answer(asked), turn.seen.query.protocol)
        await turn.ok(body, extra=f"Content-Type: {WBXML}\r\n")

    def _answer(self, asked: Request) -> Response:
        if isinstance(asked, WipeAcknowledgement):
            if asked.status == 1:
                self.wipe = ""
            return Response()
        wiping = {"remote_wipe": self.wipe == "device", "account_only_remote_wipe": self.wipe == "account"}
        if self.demands is None:
            return Response(policy=PolicyAnswer(EAS_WBXML, 2), **wiping)
        if isinstance(asked, Ask):
            self.key, self.temporary = 0, self._next()
            document = wap_document(self.demands) if asked.policy_type == WAP_XML else self.demands
            return Response(policy=PolicyAnswer(asked.policy_type, 1, self.temporary, document), **wiping)
        return Response(policy=self._acknowledged(asked), **wiping)

    def _acknowledged(self, asked: Acknowledgement) -> PolicyAnswer:
        if not self.temporary or asked.key != self.temporary:
            return PolicyAnswer(asked.policy_type, 5)
        if asked.status != 1 and not self.grants:
            return PolicyAnswer(asked.policy_type, 4)
        self.key, self.temporary = self._next(), 0
        return PolicyAnswer(asked.policy_type, 1, self.key)

    def _next(self) -> int:
        self._count += 1
        return self._count
