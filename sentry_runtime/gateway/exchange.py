"""The way of one request, top to bottom: identify, judge, then answer or forward, and account for it.

A known, allowed device on a connection that has its backend already goes from `start` to the backend in one call, without
a task. Only a first contact and a new backend connection wait for something, in one task (see `steps`).
"""

import zlib

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.gateway import autodiscover, enforce, overhear
from sentry_runtime.gateway.course import NOT_VOUCHED, Course
from sentry_runtime.gateway.decide import Action, Verdict
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.enforce import Answer
from sentry_runtime.gateway.identify import Claim, DeniedError, Service, service
from sentry_runtime.gateway.steps import discovering, forwarding, provision, vouching, wiping
from sentry_runtime.gateway.throttle import SMALL_BYTES, Pause

_PASSING = (Action.ALLOW, Action.PROVISION)  # what an exchange does for a device that may pass
_TRIES_CREDENTIALS = frozenset({Action.ALLOW, Action.ASK})  # what makes a backend look at them


class Exchange(Course):
    """One request and its response, from the head to the outcome's line."""

    # The way of a request.

    def start(self, payload: bytes, *, complete: bool) -> None:
        """Judge the request. `payload` is what came with the head of its body, `complete` that this is all of it.

        Raises `HeadError` when the query cannot be read; then nothing has been recorded.
        """
        self.relay.body(payload, complete=complete)
        self.checksum = zlib.crc32(payload[:SMALL_BYTES])
        try:
            asked = service(self.head, autodiscover=bool(self.services.external_host))
            if asked is Service.ACTIVESYNC:
                self.claim = self.front.identify(self.head)
            elif asked is not Service.HEALTH:
                self.claim = autodiscover.claim(self.head, asked, self.services.access, self.front.badge(self.head))
                self.front.note(self.claim)
        except DeniedError as error:
            self.opened()
            self.deny(error)
            return
        self.opened()
        if self.claim is None:
            self._health()
        elif self.claim.opens:
            vouching.open_logon(self, self.claim)
        elif asked is Service.ACTIVESYNC:
            self._judge(self.claim)
        else:
            discovering.answer(self, asked, self.claim)

    def _health(self) -> None:
        up = self.services.backends.any_up and not (self.services.stopping or self.services.quiesced)
        answer = Answer(200, body=b"ok\n") if up else enforce.unavailable(enforce.RETRY_SOON_SECONDS)
        self.answer(answer, "allow", ("health",))

    def _judge(self, claim: Claim) -> None:
        key, throttle = claim.key, self.services.throttle
        pause = None if throttle is None else throttle.pause(claim)
        excess = None if pause is None else pause.excess
        verdict = self.judged(claim, None if key is None else self.services.known.get(key), excess)
        if throttle is not None and pause is not None and verdict.action is Action.THROTTLE:
            self._throttled(pause, throttle.left(pause))
            return
        resting = self.services.refusals.resting_until and verdict.action in _TRIES_CREDENTIALS
        if resting and vouching.rests(self, claim):
            return
        if verdict.action is Action.ALLOW and not vouching.may_try(self, claim):
            return
        if key is None or verdict.action is not Action.ASK:
            self.obey(claim, verdict)
        else:
            self.wait_for(self._first_contact(key, claim))

    def _throttled(self, pause: Pause, left: float) -> None:
        self.counters.throttled += 1
        self.answer(enforce.throttled(pause.excess, left), "throttle", (pause.excess,))

    async def _first_contact(self, key: DeviceKey, claim: Claim) -> None:
        self.counters.first_contacts += 1
        try:
            await vouching.vouch(self, claim)
            self.told = await self.services.contacts.learn(key, claim, self.caller(claim))
        except NOT_VOUCHED as error:
            self.not_vouched(error)
        else:
            verdict = self.judged(claim, self.told)
            self.obey(claim, self.judged_again(claim) if verdict.action in _PASSING else verdict)

    def obey(self, claim: Claim, verdict: Verdict) -> None:
        self.counters.softened += bool(verdict.softened)
        if verdict.action is Action.ALLOW:
            self.counters.allowed += 1
            self._listen(claim)
            forwarding.forward(self, claim)
        elif verdict.action is Action.BLOCK:
            self.counters.blocked += 1
            self.answer(enforce.blocked(claim, verdict, self.services.notice), "block", tuple(verdict.reasons))
        elif verdict.action is Action.WIPE:
            wiping.answer(self, claim, verdict)
        elif verdict.action is Action.PROVISION and claim.command == "Provision":
            provision.read(self, claim)
        elif verdict.action is Action.PROVISION:
            self.counters.unprovisioned += 1
            self.answer(enforce.unprovisioned(claim, verdict), "provision", tuple(verdict.reasons))
        else:
            self.undecided("undecided")

    def _listen(self, claim: Claim) -> None:
        self.listener = overhear.listener(claim, self.head)
        if self.listener is not None:
            self.listener.hear(self.relay.gathered)

    # From the relay.

    def relayed(self) -> None:
        if self.relay.served or self.relay.refused:
            vouching.note_relayed(self)
        if self.relay.served:
            self.served()
        if self.listener is not None and self.relay.served:
            self.tell(self.listener.understood())
        self.finish("allow", ())
        keep_alive = self.relay.keep_alive and not self.services.draining
        self.front.finished(self, keep_alive=keep_alive, vouched=self.relay.served)

    def relay_failed(self, reason: str) -> None:
        self.counters.backend_failures += 1
        self.end(enforce.unavailable(), "fail", (reason,))

    def relay_called(self, code: int) -> None:
        claim = self._forwarded()
        self.services.account.ended(self)  # it waits no longer: what is kept now is no news to it
        self.wait_for(provision.send_to_provision(self, claim, code))

    def relay_redirected(self, sender: Target, location: bytes, *, whole: bool) -> None:
        forwarding.follow(self, self._forwarded(), sender, location, whole=whole)

    def _forwarded(self) -> Claim:
        if self.claim is None:
            raise AssertionError("only a claim is forwarded")
        return self.claim

    # From the front.

    def body(self, payload: bytes, *, complete: bool) -> None:
        """More of the request body."""
        if self.relay.bytes_in < SMALL_BYTES:
            self.checksum = zlib.crc32(payload[:SMALL_BYTES], self.checksum)
        if self.listener is not None:
            self.listener.hear(payload)
        self.relay.body(payload, complete=complete)
        self.gathered()

    def bad_body(self, reason: str) -> None:
        """The request body's framing is broken: the backend must not see an end of it."""
        self.counters.malformed += 1
        self.relay.keep_alive = False
        vouching.not_waited_for(self)
        self.end(Answer(400), "deny", (reason,))

    def device_full(self) -> None:
        """The device does not keep up with the response."""
        self.relay.device_full()

    def device_ready(self) -> None:
        """The device has caught up."""
        self.relay.device_ready()

    def lost(self) -> None:
        """The device has gone."""
        if not self.done:
            self.counters.cut += 1
            vouching.not_waited_for(self)
            self.relay.drop()
            self.finish("fail", ("device_gone",))

    def expire(self) -> None:
        """Nothing has moved for too long."""
        if self.relay.begun:
            self.end(Answer(503), "fail", ("stalled",))
        elif not self.relay.request_done and (self.relay.sent or self.gathering):
            self.relay.keep_alive = False
            vouching.not_waited_for(self)
            self.end(Answer(408), "fail", ("request_stalled",))
        else:
            self.counters.backend_failures += 1
            self.relay.blame("backend_timeout")
            self.end(enforce.unavailable(), "fail", ("backend_timeout",))

    def drain(self) -> None:
        """The gateway is about to stop: end a Ping that waits, let everything else finish."""
        self.relay.keep_alive = False
        if self.claim is not None and self.claim.command == "Ping" and self.relay.waits_for_answer:
            self.end(enforce.ping_over(), "allow", ("draining",))

    def give_up(self) -> None:
        """The time for finishing is over."""
        self.relay.keep_alive = False
        self.end(enforce.unavailable(enforce.RETRY_SOON_SECONDS), "fail", ("draining",))

    def expel(self, word: str) -> None:
        """The certificate that the connection stands on is not taken any more."""
        self.relay.keep_alive = False
        self.end(Answer(403), "deny", (word,))
