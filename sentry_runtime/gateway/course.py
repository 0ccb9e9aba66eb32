"""What one request and its response have at hand on their way, and every way to end them. `exchange` is the way itself; what
takes more than an answer is done by the functions in `steps`, which work with this.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import replace

from sentry_runtime.devices.record import Record
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.gateway import autodiscover, enforce, overhear, provisioning, wipe
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backends import BackendsDownError
from sentry_runtime.gateway.contact import Caller, CredentialsRefusedError
from sentry_runtime.gateway.decide import Action, Excess, Unreadable, Verdict, decide
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.forward import Upstream
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim, DeniedError, unauthorized
from sentry_runtime.gateway.logon import LogonLostError
from sentry_runtime.gateway.refusals import Attempt
from sentry_runtime.gateway.relay import REQUEST_STALL_SECONDS, Front, Owner, Relay
from sentry_runtime.gateway.services import Services
from sentry_runtime.gateway.throttle import SMALL_BYTES

NOT_VOUCHED = (CredentialsRefusedError, LogonLostError, BackendsDownError, UndecidedError)
"""What a step raises that has found nobody to say that the credentials hold; `Course.not_vouched` answers it."""

NotVouched = CredentialsRefusedError | LogonLostError | BackendsDownError | UndecidedError


class Course(Owner):
    """The state of one exchange. It ends once, by `answer`, `end` or `finish`; whatever comes later is ignored."""

    def __init__(self, front: Front, services: Services, head: Head) -> None:
        self.claim: Claim | None = None
        self.policy = b""  # the digest of the policy by which the device was judged
        self.verdict: Verdict | None = None  # the last one
        self.told: Record | None = None  # the agent's answer to this exchange's first contact
        # The backend's policy key that has gone with the request; None: the device's own word has.
        self.sent_key: int | None = None
        self.hops = 0  # how often the request has been sent on by a 451
        self.attempt: Attempt | None = None  # credentials that this connection's backend has not accepted yet
        self.listener: overhear.Listener | None = None
        self.checksum = 0  # of the request body, while it is small
        self.done = False
        self.front = front
        self.services = services
        self.counters = services.account.counters
        self.head = head
        self.relay = Relay(front, services, head, self)
        self._started = asyncio.get_running_loop().time()
        self._id = ""
        # Set while the body, which is for the gateway itself, has not all come: its bound, the answer beyond, and who takes it.
        self._gathers: tuple[int, DeniedError, Callable[[bytes], None]] | None = None
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def obey(self, claim: Claim, verdict: Verdict) -> None:
        """Do what the verdict says."""

    # Judging.

    def judged(self, claim: Claim, found: Record | Unreadable | None, excess: Excess | None = None) -> Verdict:
        """The verdict on the claim, with this in the device list; from now on the exchange's."""
        judge = self.services.judge
        self.policy = judge.policies.digest_of(found)
        self.relay.provisions = bool(self.policy) if claim.key is not None else judge.policies.owns_any()
        self.verdict = decide(judge.case(claim, self.front.peer.source, found, excess))
        return self.verdict

    def judged_again(self, claim: Claim) -> Verdict:
        """The verdict after a wait, in which the device may have been blocked or forgotten.

        The list has the last word; what the agent told this exchange counts only where the list cannot be read.
        """
        return self.judged(claim, self.found(claim))

    def found(self, claim: Claim) -> Record | Unreadable | None:
        """What the device list has, or what the agent told."""
        found = None if claim.key is None else self.services.known.get(claim.key)
        return self.told if found is Unreadable.LIST else found

    # From the table of running exchanges.

    def judged_anew(self, found: Record | Unreadable | None) -> Verdict:
        """The verdict on this request if it came now, with this in the device list for its key."""
        if self.claim is None:
            raise AssertionError("only what has a claim is in the table")
        return decide(self.services.judge.case(self.claim, self.front.peer.source, found))

    def revoke(self, verdict: Verdict) -> None:
        """The device may no longer pass: what waits at the backend ends now.

        The connection stays: its next request is judged like any other, and to close thousands of them would hold up the
        answers of those that have not heard yet.
        """
        if self.done or self.claim is None:
            return
        self.counters.revoked += 1
        self.verdict = verdict
        if verdict.action is Action.BLOCK:
            answer = enforce.revoked(self.claim, verdict, self.services.notice)
        elif verdict.action is Action.WIPE:
            answer = wipe.revoked(self.claim, wipe.order(verdict), self.services.notice)
        else:
            answer = enforce.unavailable(enforce.RETRY_SOON_SECONDS)
        self.end(answer, "wipe" if verdict.action is Action.WIPE else "block", ("revoked", *verdict.reasons))

    def renew(self, verdict: Verdict) -> None:
        """The device has another policy now: a held Ping ends, so that it hears of it; everything else runs to its end."""
        if self.claim is not None and self.claim.command == "Ping" and self.relay.waits_for_answer:
            self.end(enforce.renewed(self.claim, verdict), "provision", ("policy_changed",))

    # What the steps share.

    @property
    def authorization(self) -> bytes:
        """The credentials that came with the request; b"" for none."""
        return self.head.single.get(b"authorization", b"")

    def caller(self, claim: Claim) -> Caller:
        """Who asks, for probes and questions."""
        return Caller.of(self.head, self.front.peer, claim)

    def at_hand(self, claim: Claim) -> Upstream | None:
        """The backend connection of this front connection that the request may go over; then it is the one in use.

        One that would fit but leads where the device no longer belongs is dropped.
        """
        front, now = self.front, asyncio.get_running_loop().time()
        credentials, backends = self.authorization, self.services.backends
        upstream = front.upstream
        if upstream is not None and not upstream.fits(claim, credentials, now):
            front.upstream = front.upstreams.take(claim, credentials, now)
            front.upstreams.put(upstream, now)
        elif upstream is None:
            front.upstream = front.upstreams.take(claim, credentials, now)
        while front.upstream is not None and not backends.keeps(front.upstream, claim):
            front.upstream.drop()
            front.upstream = front.upstreams.take(claim, credentials, now)
        return front.upstream

    def served(self) -> None:
        """A backend has served the device, or vouched for it: that counts towards what it may ask."""
        throttle, relay = self.services.throttle, self.relay
        if throttle is None or self.claim is None:
            return
        made = None
        if relay.bytes_in <= SMALL_BYTES:
            made = (self.head.query, self.checksum, relay.bytes_in, relay.status, relay.bytes_out)
        throttle.served(self.claim, asyncio.get_running_loop().time() - self._started, made)

    def tell(self, says: DeviceInformation | None) -> None:
        """Pass on what the device says of itself."""
        if says is not None and self.claim is not None and self.claim.key is not None:
            self.services.teller.tell(self.claim.key, says)

    # Waiting.

    def wait_for(self, step: Coroutine[None, None, None]) -> None:
        """Go on with this step in a task; nothing more of the body is read unless the step wants it."""
        if not self.relay.request_done:
            self.front.hold()
        limits = self.services.limits
        # The steps have time limits of their own; this one is above their sum and only catches what they would not.
        self.front.set_deadline(2 * limits.backend_connect_seconds + 3 * limits.decision_seconds + 5)
        self._task = asyncio.get_running_loop().create_task(step)

    def gather(self, bound: int, too_large: DeniedError, then: Callable[[bytes], None]) -> None:
        """Read the whole request body for the gateway itself, and give it to `then`; refuse one of more than `bound` bytes."""
        self._gathers = bound, too_large, then
        self.front.release()
        if (self.head.length or 0) <= bound:
            self.relay.invite()
        self.front.set_deadline(REQUEST_STALL_SECONDS)  # for all of it: such a body is one packet
        self.gathered()

    def gathered(self) -> None:
        """More of the request body has come."""
        if self._gathers is None:
            return
        bound, too_large, then = self._gathers
        if max(self.relay.bytes_in, self.head.length or 0) > bound:
            self._gathers = None
            self.relay.keep_alive = False
            self.deny(too_large)
        elif self.relay.request_done:
            self._gathers = None
            then(self.relay.gathered)

    @property
    def gathering(self) -> bool:
        """Whether the body is being read for the gateway itself."""
        return self._gathers is not None

    # Accounting and ends.

    def opened(self) -> None:
        """Put the request on record."""
        self._id = self.services.account.request(self.front.peer, self.head, self.claim)

    def reply(self, reply: autodiscover.Reply | provisioning.Reply) -> None:
        """End with what a pure function has made."""
        if reply.action == "deny":
            self.counters.denied += 1
        self.answer(reply.answer, reply.action, (reply.reason,))

    def deny(self, error: DeniedError) -> None:
        """End with the answer to a request that may not be asked like that."""
        self.counters.denied += 1
        answer = enforce.denied(error)
        if error.status == 401:
            answer = replace(answer, headers=(*answer.headers, *self.services.access.challenges))
        self.answer(answer, "deny", (error.reason,))

    def not_vouched(self, error: NotVouched) -> None:
        """End where nobody has said that the credentials hold."""
        if isinstance(error, CredentialsRefusedError):
            self.deny(unauthorized("credentials_refused"))
        elif isinstance(error, LogonLostError):
            self.deny(unauthorized(error.reason))
        elif isinstance(error, BackendsDownError):
            self.counters.backend_failures += 1
            self.answer(enforce.unavailable(), "fail", (error.reason,))
        else:
            self.undecided(error.reason)

    def undecided(self, reason: str) -> None:
        """End where the gateway cannot say anything yet."""
        self.counters.undecided += 1
        self.answer(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", (reason,))

    def end(self, answer: Answer, action: str, reasons: tuple[str, ...]) -> None:
        """End an exchange that may be at the backend: with `answer`, or by a cut when a response has begun."""
        if self.done:
            return
        self.relay.drop()
        if not self.relay.begun:
            self.answer(answer, action, reasons)
            return
        self.counters.cut += 1
        self.finish(action, reasons)
        self.front.cut()

    def answer(self, answer: Answer, action: str, reasons: tuple[str, ...]) -> None:
        """End with an answer of our own."""
        if self.done:
            return
        keep_alive = self.relay.keep_alive and not self.services.draining
        if not self.relay.request_done and self.head.expects_continue:
            keep_alive = False  # nobody knows whether the client will still send the body
        if self.relay.last_word and answer.status != 401:
            answer = replace(answer, headers=(*answer.headers, *self.relay.last_word))
        self.relay.status = answer.status
        self.relay.bytes_out += len(answer.body)
        self.front.write(answer.to_bytes(keep_alive=keep_alive))
        self.finish(action, reasons)
        self.front.finished(self, keep_alive=keep_alive, vouched=False)

    def finish(self, action: str, reasons: tuple[str, ...]) -> None:
        """Stop whatever is under way and write the outcome's line; what the device gets is the caller's business."""
        self.done = True
        if self.attempt is not None:
            self.attempt.end()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None
        self._gathers = None
        relay, account = self.relay, self.services.account
        account.ended(self)
        account.outcome(
            self._id,
            self.front.peer,
            self.head,
            self.claim,
            self.verdict,
            action=action,
            reasons=reasons,
            status=relay.status,
            bytes_in=relay.bytes_in,
            bytes_out=relay.bytes_out,
            seconds=asyncio.get_running_loop().time() - self._started,
            backend=relay.backend,
        )
        relay.let_go()
