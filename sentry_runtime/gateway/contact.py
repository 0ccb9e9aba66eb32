"""First contact: a device that is not in the list is asked about, but only once its credentials are known to hold.

The backend vouches for them: the gateway sends it an OPTIONS of its own, which changes nothing. So a stranger without a
password puts nothing into the list, into the UEM or into any queue behind the gateway.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

from sentry_runtime import control
from sentry_runtime.devices.record import DeviceKey, Record
from sentry_runtime.gateway.account import Peer
from sentry_runtime.gateway.agent_link import Questions, UndecidedError
from sentry_runtime.gateway.backends import ROUNDS, STRANGERS, Backends, BackendsDownError
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.head import Head
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.gateway.probe import Probe
from sentry_runtime.gateway.redirects import WRONG_SERVER, location_of
from sentry_runtime.gateway.refusals import Attempt, Refusals
from sentry_runtime.gateway.rewrite import probe_head
from sentry_runtime.metrics import Counters

USER_AGENT_CHARS = 256  # of what the UEM is told; real ones stay below 100
PROBES_AT_ONCE = 256  # per worker; a backend that is asked more at once would suffer from strangers


_REFUSED = frozenset({401, 403})


class CredentialsRefusedError(Exception):
    """The backend does not accept the credentials."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What of a request the probe and the question need beside the claim."""

    authorization: bytes
    peer: Peer
    principal: str
    user_agent: str
    device: str
    """As `Seat` has it."""

    @classmethod
    def of(cls, head: Head, peer: Peer, claim: Claim) -> Self:
        """Of a request that came from there with this claim."""
        agent = head.single.get(b"user-agent", b"").decode("latin-1")[:USER_AGENT_CHARS]
        return cls(head.single.get(b"authorization", b""), peer, claim.principal, agent, Seat.of(claim).device)


class Contacts:
    """Probes credentials and asks the agent; equal probes and equal questions of this worker are one."""

    def __init__(
        self, backends: Backends, questions: Questions, seconds: float, refusals: Refusals, counters: Counters
    ) -> None:
        self._backends = backends
        self._questions = questions
        self._seconds = seconds
        self._refusals = refusals
        self._counters = counters
        self._probes: dict[tuple[DeviceKey | None, bytes], asyncio.Task[int]] = {}

    async def learn(self, key: DeviceKey, claim: Claim, caller: Caller) -> Record:
        """The agent's record of a device whose credentials somebody has vouched for. Raises `UndecidedError`."""
        return await self._questions.ask(
            control.Ask(
                key=key,
                aliases=claim.aliases,
                device_type=claim.device_type,
                user_agent=caller.user_agent,
                protocol=claim.protocol,
            )
        )

    async def vouch(self, caller: Caller, claim: Claim) -> None:
        """Have a backend of theirs say that the credentials hold; nothing of it is kept.

        Raises `CredentialsRefusedError`, `BackendsDownError` or `UndecidedError`.
        """
        status = await self._vouched(claim, caller)
        if status in _REFUSED:
            raise CredentialsRefusedError
        if not 200 <= status < 300:
            raise UndecidedError("backend_undecided")

    async def _vouched(self, claim: Claim, caller: Caller) -> int:
        asked = (claim.key, caller.authorization)
        task = self._probes.get(asked)
        if task is None:
            if len(self._probes) >= PROBES_AT_ONCE:
                raise UndecidedError("busy")
            attempt = self._refusals.begin(caller.principal, caller.authorization, caller.device)
            if attempt is None:
                raise UndecidedError("logons_rest")
            task = asyncio.get_running_loop().create_task(self._probe(Seat.of(claim), caller))
            self._probes[asked] = task
            task.add_done_callback(lambda done: self._finished(asked, attempt, done))
        return await asyncio.shield(task)

    def _finished(self, asked: tuple[DeviceKey | None, bytes], attempt: Attempt, done: asyncio.Task[int]) -> None:
        del self._probes[asked]
        attempt.end()
        if not done.cancelled():
            done.exception()  # seen, also when nobody waits any more

    async def _probe(self, seat: Seat, caller: Caller) -> int:
        """The status of a backend's answer, of the one that the device is sent to where it is sent to another."""
        backends, only, hops = self._backends, None, 0
        try:
            async with asyncio.timeout(ROUNDS * backends.connect_seconds + self._seconds):
                while True:
                    probe = await backends.connect(seat, lambda target: _probe(target, caller), only)
                    status = await self._answer(probe)
                    if status != WRONG_SERVER:
                        break
                    only, hops = backends.follow(seat, probe.target, location_of(probe.fields), hops), hops + 1
        except TimeoutError:
            raise BackendsDownError("backend_timeout") from None
        self._note(status, caller)
        return status

    async def _answer(self, probe: Probe) -> int:
        try:
            async with asyncio.timeout(self._seconds):
                status = await probe.status
        except (TimeoutError, BackendsDownError) as error:
            reason = error.reason if isinstance(error, BackendsDownError) else "backend_timeout"
            self._backends.answered_badly(probe.target, STRANGERS, reason)
            raise BackendsDownError(reason) from None
        finally:
            probe.drop()
        self._backends.answered(probe.target, STRANGERS, status, probe.fields)
        return status

    def _note(self, status: int, caller: Caller) -> None:
        if status in _REFUSED:
            self._counters.logons_refused += 1
            self._refusals.refused(caller.peer.place, caller.principal, caller.authorization, caller.device)
        elif 200 <= status < 300:
            self._refusals.accepted(caller.peer.place, caller.principal, caller.authorization, caller.device)


def _probe(target: Target, caller: Caller) -> Probe:
    """One with the credentials of who calls."""
    return Probe(target, probe_head(target.backend, caller.authorization, caller.peer.source))
