"""One request and its response: identify, decide, then answer or forward, and account for it.

A known, allowed device on a connection that has its backend already goes from `start` to the backend in one call, without
a task. Only a first contact and a new backend connection wait for something, in one task.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Protocol

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import enforce, rewrite
from sentry_runtime.gateway.account import Outcome, Peer
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import Caller, CredentialsRefusedError
from sentry_runtime.gateway.decide import Action, Verdict, decide
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.forward import ResponseHead, Upstream
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim, DeniedError, Service, service, unauthorized
from sentry_runtime.gateway.services import Services

REQUEST_STALL_SECONDS = 60.0  # a phone that sends nothing of its body for so long has lost its link
RESPONSE_STALL_SECONDS = 300.0  # a begun response that does not move: the device sleeps or the backend hangs

_REDIRECTS = frozenset({301, 302, 303, 305, 307, 308, 451})


class Front(Protocol):
    """The device's connection, as its exchange sees it."""

    peer: Peer
    upstream: Upstream | None

    def identify(self, head: Head) -> Claim:
        """The claim of this head; raises what `identify` raises."""

    def write(self, data: bytes) -> None:
        """Send to the device."""

    def hold(self) -> None:
        """Read no more of the request body until `release`."""

    def release(self) -> None:
        """The request body may go on."""

    def set_deadline(self, seconds: float) -> None:
        """`Exchange.expire` is due when so many seconds have passed without another call."""

    def finished(self, exchange: "Exchange", *, keep_alive: bool) -> None:
        """The response is complete."""

    def cut(self) -> None:
        """End the connection without an end of the response."""


class Exchange:
    """One request and its response; a `Receiver` of the upstream's."""

    def __init__(self, front: Front, services: Services, head: Head) -> None:
        self.claim: Claim | None = None
        self.done = False
        self._front = front
        self._services = services
        self._head = head
        self._started = asyncio.get_running_loop().time()
        self._id = ""
        self._request_done = False
        self._waiting: list[bytes] = []  # payload that came before there was a backend to send it to
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = False  # a part of the response has gone to the device
        self._chunked = False  # the response body is framed by us
        self._keep_alive = head.keep_alive
        self._bytes_in = 0
        self._bytes_out = 0
        self._action: str = "fail"
        self._reasons: tuple[str, ...] = ()
        self._status = 0
        self._backend = ""

    # From the front.

    def start(self, payload: bytes, *, complete: bool) -> None:
        """Judge the request. `payload` is what came with the head of its body, `complete` that this is all of it.

        Raises `HeadError` when the query cannot be read; then nothing has been recorded.
        """
        self._request_done = complete
        self._take(payload)
        try:
            asked = service(self._head)
            if asked is Service.ACTIVESYNC:
                self.claim = self._front.identify(self._head)
        except DeniedError as error:
            self._open()
            self._services.account.counters.denied += 1
            self._answer(enforce.denied(error), "deny", (error.reason,))
            return
        self._open()
        if self.claim is None:
            self._health()
        else:
            self._judge(self.claim)

    def body(self, payload: bytes, *, complete: bool) -> None:
        """More of the request body."""
        self._request_done = complete
        if self._upstream is None:
            self._take(payload)
            return
        self._bytes_in += len(payload)
        data = self._framed(payload)
        if data:
            self._upstream.write(data)
        self._expect_more()

    def bad_body(self, reason: str) -> None:
        """The request body's framing is broken: the backend must not see an end of it."""
        self._services.account.counters.malformed += 1
        self._keep_alive = False
        self._fail(Answer(400), "deny", reason)

    def lost(self) -> None:
        """The device has gone."""
        if not self.done:
            self._services.account.counters.cut += 1
            self._drop_upstream()
            self._finish("fail", (*self._reasons, "device_gone"))

    def expire(self) -> None:
        """Nothing has moved for too long."""
        if self._begun:
            self._cut("stalled")
        elif self._upstream is not None and not self._request_done:
            self._keep_alive = False
            self._fail(Answer(408), "fail", "request_stalled")
        else:
            self._services.account.counters.backend_failures += 1
            self._fail(enforce.unavailable(), "fail", "backend_timeout")

    def drain(self) -> None:
        """The gateway is about to stop: end a Ping that waits, let everything else finish."""
        self._keep_alive = False
        waits = self._upstream is not None and self._request_done and not self._begun
        if waits and self.claim is not None and self.claim.command == "Ping":
            self._fail(enforce.ping_over(), "allow", "draining")

    def give_up(self) -> None:
        """The time for finishing is over."""
        if self._begun:
            self._cut("draining")
        else:
            self._keep_alive = False
            self._fail(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", "draining")

    def device_full(self) -> None:
        """The device does not keep up with the response."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def device_ready(self) -> None:
        """The device has caught up."""
        if self._upstream is not None:
            self._upstream.resume_reading()
            self._front.set_deadline(RESPONSE_STALL_SECONDS)

    # From the table of running exchanges.

    def revoke(self, verdict: Verdict) -> None:
        """The device may no longer pass: what waits at the backend ends now."""
        if self.done or self.claim is None:
            return
        self._services.account.counters.revoked += 1
        reasons = ("revoked", *verdict.reasons)
        if self._begun:
            self._drop_upstream()
            self._finish("block", reasons)
            self._front.cut()
            return
        self._drop_upstream()
        self._keep_alive = False
        ends = verdict.action is Action.BLOCK
        answer = enforce.revoked(self.claim, verdict) if ends else enforce.unavailable(enforce.RETRY_SOON_SECONDS)
        self._answer(answer, "block", reasons)

    # The way of a request.

    def _open(self) -> None:
        self._id = self._services.account.request(self._front.peer, self._head, self.claim)

    def _health(self) -> None:
        now = asyncio.get_running_loop().time()
        up = self._services.backends.any_up(now) and not self._services.stopping
        answer = Answer(200, body=b"ok\n") if up else enforce.unavailable(enforce.RETRY_SOON_SECONDS)
        self._answer(answer, "allow", ("health",))

    def _judge(self, claim: Claim) -> None:
        key = claim.key
        verdict = decide(key, None if key is None else self._services.known.get(key))
        if key is None or verdict.action is not Action.ASK:
            self._obey(claim, verdict)
        else:
            self._wait_for(self._first_contact(key, claim))

    def _obey(self, claim: Claim, verdict: Verdict) -> None:
        counters = self._services.account.counters
        if verdict.action is Action.ALLOW:
            counters.allowed += 1
            self._forward(claim)
        elif verdict.action is Action.BLOCK:
            counters.blocked += 1
            self._answer(enforce.blocked(claim, verdict), "block", tuple(verdict.reasons))
        else:
            counters.undecided += 1
            self._answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", ("undecided",))

    async def _first_contact(self, key: DeviceKey, claim: Claim) -> None:
        account = self._services.account
        account.counters.first_contacts += 1
        single = self._head.single
        caller = Caller(
            single.get(b"authorization", b""),
            self._front.peer.source,
            single.get(b"user-agent", b"").decode("latin-1")[:256],
        )
        try:
            record = await self._services.contacts.learn(key, claim, caller)
        except CredentialsRefusedError:
            account.counters.denied += 1
            self._answer(enforce.denied(unauthorized("credentials_refused")), "deny", ("credentials_refused",))
        except BackendsDownError as error:
            account.counters.backend_failures += 1
            self._answer(enforce.unavailable(), "fail", (error.reason,))
        except UndecidedError as error:
            account.counters.undecided += 1
            self._answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", (error.reason,))
        else:
            self._obey(claim, decide(key, record))

    def _forward(self, claim: Claim) -> None:
        upstream = self._front.upstream
        if upstream is not None and upstream.fits(claim, asyncio.get_running_loop().time()):
            self._send(upstream)
            return
        if upstream is not None:
            upstream.drop()
            self._front.upstream = None
        self._wait_for(self._connect(claim))

    async def _connect(self, claim: Claim) -> None:
        try:
            upstream = await self._services.backends.connect(lambda target: Upstream(target, claim))
        except BackendsDownError as error:
            self._services.account.counters.backend_failures += 1
            self._answer(enforce.unavailable(), "fail", (error.reason,))
            return
        self._front.upstream = upstream
        # While the connection was made the device may have been blocked: no window for that.
        verdict = decide(claim.key, None if claim.key is None else self._services.known.get(claim.key))
        if verdict.action is Action.BLOCK:
            self._obey(claim, verdict)
        else:
            self._send(upstream)

    def _send(self, upstream: Upstream) -> None:
        backend = upstream.target.backend
        self._backend = backend.name
        self._upstream = upstream
        self._services.account.begun(self)
        upstream.begin(self)
        parts = [rewrite.request_head(self._head, backend, self._front.peer.source)]
        if self._waiting or self._request_done:
            parts.append(self._framed(b"".join(self._waiting)))
            self._waiting.clear()
        upstream.write(b"".join(parts))
        if self._head.expects_continue and not self._request_done:
            self._front.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._front.release()
        self._expect_more()

    def _wait_for(self, step: Coroutine[None, None, None]) -> None:
        if not self._request_done:
            self._front.hold()
        limits = self._services.limits
        # The steps have time limits of their own; this one is above their sum and only catches what they would not.
        self._front.set_deadline(2 * limits.backend_connect_seconds + 2 * limits.decision_seconds + 5)
        previous = self._task
        self._task = asyncio.get_running_loop().create_task(step)
        if previous is not None and previous is not asyncio.current_task():
            previous.cancel()

    def _take(self, payload: bytes) -> None:
        if payload:
            self._bytes_in += len(payload)
            self._waiting.append(payload)

    def _framed(self, payload: bytes) -> bytes:
        """The payload as it goes to the backend, with the end of the body when that is reached."""
        if self._head.length is not None:
            return payload
        data = rewrite.chunk(payload) if payload else b""
        return data + rewrite.LAST_CHUNK if self._request_done else data

    def _expect_more(self) -> None:
        limits = self._services.limits
        self._front.set_deadline(limits.backend_answer_seconds if self._request_done else REQUEST_STALL_SECONDS)

    # From the upstream.

    def response_head(self, head: ResponseHead) -> None:
        """The backend answers. A redirection would take the device past the gateway: it gets 503 instead."""
        if head.status in _REDIRECTS:
            self._services.account.counters.backend_failures += 1
            self._fail(enforce.unavailable(), "fail", "backend_redirects")
            return
        self._begun = True
        self._status = head.status
        self._action = "allow"
        self._chunked = head.has_body and head.length is None and self._head.minor == 1
        if not self._request_done or (head.has_body and head.length is None and not self._chunked):
            self._keep_alive = False
        self._front.write(
            rewrite.response_head(
                head.status,
                head.phrase,
                head.fields,
                head.length,
                chunked=self._chunked,
                close=not self._keep_alive or self._services.draining,
            )
        )
        self._front.set_deadline(RESPONSE_STALL_SECONDS)

    def response_body(self, pieces: Sequence[bytes]) -> None:
        """More of the backend's answer."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._bytes_out += len(data)
        self._front.write(rewrite.chunk(data) if self._chunked else data)
        self._front.set_deadline(RESPONSE_STALL_SECONDS)

    def response_end(self) -> None:
        """The backend's answer is complete."""
        if self._chunked:
            self._front.write(rewrite.LAST_CHUNK)
        if not self._request_done:
            self._drop_upstream()  # it will not read the rest, so the connection is out of step
        self._finish("allow", self._reasons)
        self._front.finished(self, keep_alive=self._keep_alive and not self._services.draining)

    def upstream_lost(self, reason: str) -> None:
        """The backend has gone in mid-exchange: what has begun is cut, never ended for it."""
        self._front.upstream = None
        self._services.account.counters.backend_failures += 1
        if self._begun:
            self._cut(reason)
        else:
            self._fail(enforce.unavailable(), "fail", reason)

    def upstream_full(self) -> None:
        """The backend does not keep up with the request body."""
        self._front.hold()

    def upstream_ready(self) -> None:
        """It does again."""
        if not self.done:
            self._front.release()

    # Ends.

    def _answer(self, answer: Answer, action: str, reasons: tuple[str, ...]) -> None:
        """End the exchange with an answer of our own."""
        if self.done:
            return
        keep_alive = self._keep_alive and not self._services.draining
        if not self._request_done and self._head.expects_continue:
            keep_alive = False  # nobody knows whether the client will still send the body
        self._status = answer.status
        self._bytes_out += len(answer.body)
        self._front.write(answer.to_bytes(keep_alive=keep_alive))
        self._finish(action, reasons)
        self._front.release()
        self._front.finished(self, keep_alive=keep_alive)

    def _fail(self, answer: Answer, action: str, reason: str) -> None:
        self._drop_upstream()
        if self._begun:
            self._cut(reason)
        else:
            self._answer(answer, action, (reason,))

    def _cut(self, reason: str) -> None:
        if self.done:
            return
        self._services.account.counters.cut += 1
        self._drop_upstream()
        self._finish("fail", (reason,))
        self._front.cut()

    def _drop_upstream(self) -> None:
        upstream = self._front.upstream
        if upstream is not None:
            upstream.drop()
            self._front.upstream = None
        self._upstream = None

    def _finish(self, action: str, reasons: tuple[str, ...]) -> None:
        self.done = True
        self._waiting.clear()
        self._upstream = None
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        account = self._services.account
        account.ended(self)
        outcome = Outcome(
            action=action,
            reasons=reasons,
            status=self._status,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            seconds=asyncio.get_running_loop().time() - self._started,
            backend=self._backend,
        )
        account.outcome(self._id, self._front.peer, self._head, self.claim, outcome)
