"""Log-ons that belong to a connection (NTLM, and Negotiate with NTLM), carried between device and backend.

| the device sends | the gateway | the device gets |
|---|---|---|
| the first message | dials a backend for this front connection; sends an OPTIONS with it | 401 with the backend's message |
| the last message | sends an OPTIONS with it over that connection, which 2xx makes the device's | what its request gets |
| none, or the last one again | sends the request over that connection, without `Authorization` | what its request gets |

So the backend has vouched for the credentials before anything of the device's reaches it, and nothing but requests of
that device and principal ever goes over the connection that it has authenticated. When that is gone, the log-on is, too.

Which backend it must be depends on the principal, whom only the last message names. Until then the gateway goes by what the
device's last message before said (`Waiting.expected`), else by `User=`. Where that turns out to be wrong, or the backend sends
the device elsewhere (451), the log-on cannot move: the device gets 503 and finds the right server with its next attempt. Not
401, which to a last message means that the password is wrong.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sentry_runtime.gateway import ntlm
from sentry_runtime.gateway.agent_link import UndecidedError
from sentry_runtime.gateway.backends import STRANGERS, Backends, BackendsDownError
from sentry_runtime.gateway.contact import CredentialsRefusedError
from sentry_runtime.gateway.credentials import Logon, Scheme, challenge_token, ntlm_message
from sentry_runtime.gateway.dial import Target
from sentry_runtime.gateway.forward import Receiver, ResponseHead, Upstream
from sentry_runtime.gateway.identify import Claim
from sentry_runtime.gateway.pools import Seat
from sentry_runtime.gateway.redirects import WRONG_SERVER, location_of
from sentry_runtime.gateway.rewrite import logon_head
from sentry_runtime.gateway.spnego import SpnegoError

OPEN_SECONDS = 20.0  # from first to last message; a client computes the answer in milliseconds
OPEN_MOST = 256  # per worker, like the probes of first contact; strangers open them without a password
STEPS_AT_ONCE = 256  # per worker; a backend that is asked more at once would suffer from strangers
OPEN_PER_FRONT = 4  # of one front connection, as many as it may keep afterwards
ANSWER_BYTES = 65_536  # of the body of a backend's 401, which nobody reads; IIS's have 1.3 KB
NAMES = 20_000  # devices of which it is known whom they log on as: about 5 MB; beyond, the one named longest ago goes

Field = tuple[bytes, bytes]


class LogonLostError(Exception):
    """There is no log-on that the request could go on with; `reason` is one word for the audit line."""

    def __init__(self, reason: str = "logon_lost") -> None:
        super().__init__(reason)
        self.reason = reason


async def held() -> None:
    """That the credentials hold is known of the connection."""


@dataclass(slots=True, eq=False)
class Opened:
    """A log-on that waits for its last message. `unicode`: how the backend will read the name in it."""

    upstream: Upstream
    scheme: Scheme
    unicode: bool


class Waiting:
    """The opened log-ons of one worker, at most `OPEN_MOST`: beyond, the oldest goes, since it is a stranger's most likely.

    Also whom devices have named last. Nothing is believed of that: it chooses the backend that hears the next first message,
    and who names somebody else for a device costs it one more attempt.
    """

    def __init__(self) -> None:
        self._opened: OrderedDict[Opened, None] = OrderedDict()
        self._names: OrderedDict[tuple[str, str], str] = OrderedDict()  # by device id and `User=`
        self._steps = 0

    def expected(self, claim: Claim) -> str:
        """Whom the last message will name most likely; "" where nothing is known."""
        return self._names.get(_asking(claim), claim.user)

    def named(self, claim: Claim) -> None:
        """A last message has been read."""
        asking = _asking(claim)
        if asking == ("", ""):  # anybody's
            return
        self._names[asking] = claim.principal
        self._names.move_to_end(asking)
        if len(self._names) > NAMES:
            self._names.popitem(last=False)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """While a backend is asked. Raises `UndecidedError` when it is asked too much already."""
        if self._steps >= STEPS_AT_ONCE:
            raise UndecidedError("busy")
        self._steps += 1
        try:
            yield
        finally:
            self._steps -= 1

    def add(self, opened: Opened) -> None:
        """One more."""
        self._opened[opened] = None
        if len(self._opened) > OPEN_MOST:
            oldest, _ = self._opened.popitem(last=False)
            oldest.upstream.drop()

    def remove(self, opened: Opened) -> None:
        """It waits no longer."""
        self._opened.pop(opened, None)


class Logons:
    """The log-ons of one front connection, by the id of the device that began them ("" for a request without one)."""

    def __init__(self, backends: Backends, waiting: Waiting, seconds: float) -> None:
        self._backends = backends
        self._waiting = waiting
        self._seconds = seconds
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._named = ""  # whom the last message on this connection has named

    async def begin(self, claim: Claim, authorization: bytes, source: str) -> bytes:
        """Take the first message to a backend; gives the challenge for the device. One begun before is given up.

        Raises `CredentialsRefusedError` when the backend does not go on with it, `BackendsDownError` or `UndecidedError`.
        """
        self._forget(claim.device_id)
        scheme, device = _logon(claim).scheme, Seat.of(claim).device
        seat = Seat(device, self._waiting.expected(claim) or self._named)
        with self._waiting.step():
            upstream = await self._backends.connect(seat, lambda target: _dialled(target, claim))
            with _dropped_on_error(upstream):
                head = await self._ask(upstream, authorization, source)
                challenge, unicode = _challenge(scheme, head)
                _check_open(upstream)
        self._keep(claim.device_id, Opened(upstream, scheme, unicode))
        return challenge

    async def prove(self, claim: Claim, authorization: bytes, source: str) -> tuple[Upstream, tuple[Field, ...]]:
        """Take the last message to the backend; gives the connection, which has logged on, and the backend's last word.

        Raises `LogonLostError` when the message belongs to nothing that was begun here, and what `begin` raises.
        """
        opened = self._opened.pop(claim.device_id, None)
        if opened is None:
            raise LogonLostError
        self._waiting.remove(opened)
        self._waiting.named(claim)
        self._named = claim.principal
        upstream, logon, seat = opened.upstream, _logon(claim), Seat.of(claim)
        with _dropped_on_error(upstream), self._waiting.step():
            if not upstream.usable(asyncio.get_running_loop().time()):
                raise LogonLostError
            if (logon.scheme, logon.unicode) != (opened.scheme, opened.unicode):
                raise LogonLostError("logon_contradicts")  # the backend would read another name than we do
            if not self._backends.serves(upstream.target, seat):
                raise UndecidedError("logon_elsewhere")
            head = await self._ask(upstream, authorization, source)
            if head.status == WRONG_SERVER:
                self._backends.follow(seat, upstream.target, location_of(head.fields), 0)
                raise UndecidedError("backend_redirected")
            _check_vouched(head)
            _check_open(upstream)
        upstream.log_on(claim, authorization)
        said = challenge_token(opened.scheme, head.fields)
        return upstream, () if said is None else ((b"WWW-Authenticate", said[0]),)

    async def prove_apart(self, claim: Claim, authorization: bytes, source: str) -> None:
        """As `prove`, but to know no more than that the credentials hold: the connection is for no request."""
        upstream, _ = await self.prove(claim, authorization, source)
        upstream.drop()

    def tidy(self, now: float) -> None:
        """Give up what has waited too long, or whose backend has gone."""
        if not self._opened:  # as nearly always, and every connection is looked at each second
            return
        for device_id in [one for one, opened in self._opened.items() if not opened.upstream.usable(now)]:
            self._forget(device_id)

    def drop(self) -> None:
        """Give up all that was begun."""
        for device_id in list(self._opened):
            self._forget(device_id)

    async def _ask(self, upstream: Upstream, authorization: bytes, source: str) -> ResponseHead:
        """The answer to an OPTIONS of our own. Its asker counts as a stranger: whether the credentials hold is what it says."""
        answer, target = _Answer(upstream), upstream.target
        upstream.begin(answer)
        upstream.write(logon_head(target.backend, authorization, source))
        try:
            async with asyncio.timeout(self._seconds):
                head = await answer.head
        except (TimeoutError, BackendsDownError) as error:
            reason = error.reason if isinstance(error, BackendsDownError) else "backend_timeout"
            if (
                reason != "backend_closed" or upstream.served == 1
            ):  # else it may be an end in order that this has crossed
                self._backends.answered_badly(target, STRANGERS, reason)
            raise BackendsDownError(reason) from None
        self._backends.answered(target, STRANGERS, head.status, head.fields)
        return head

    def _keep(self, device_id: str, opened: Opened) -> None:
        self._opened[device_id] = opened
        self._waiting.add(opened)
        if len(self._opened) > OPEN_PER_FRONT:
            self._forget(next(iter(self._opened)))

    def _forget(self, device_id: str) -> None:
        opened = self._opened.pop(device_id, None)
        if opened is not None:
            self._waiting.remove(opened)
            opened.upstream.drop()


class _Answer(Receiver):
    """The `Receiver` of the answer to an OPTIONS of our own: the head as a future, the body dropped."""

    def __init__(self, upstream: Upstream) -> None:
        self.head: asyncio.Future[ResponseHead] = asyncio.get_running_loop().create_future()
        self._upstream = upstream
        self._seen: ResponseHead | None = None
        self._bytes = 0

    def response_head(self, head: ResponseHead, *, more: bool) -> None:  # noqa: ARG002 - the body is not passed on
        self._seen = head

    def response_body(self, pieces: Sequence[bytes]) -> None:
        self._bytes += sum(len(piece) for piece in pieces)
        if self._bytes > ANSWER_BYTES:
            self._upstream.drop()
            self.upstream_lost("backend_malformed")

    def response_end(self) -> None:
        if self._seen is not None and not self.head.done():
            self.head.set_result(self._seen)

    def upstream_lost(self, reason: str) -> None:
        if not self.head.done():
            self.head.set_exception(BackendsDownError(reason))

    def upstream_full(self) -> None:
        """An OPTIONS always fits."""

    def upstream_ready(self) -> None:
        """See `upstream_full`."""


def _asking(claim: Claim) -> tuple[str, str]:
    return Seat.of(claim).device, claim.user


def _dialled(target: Target, claim: Claim) -> Upstream:
    upstream = Upstream(target, claim)
    upstream.keep(OPEN_SECONDS)
    return upstream


@contextlib.contextmanager
def _dropped_on_error(upstream: Upstream) -> Iterator[None]:
    try:
        yield
    except BaseException:  # a cancelled step, too: its device has gone
        upstream.drop()
        raise


def _check_open(upstream: Upstream) -> None:
    if not upstream.usable(asyncio.get_running_loop().time()):
        raise BackendsDownError("backend_closes_logon")


def _logon(claim: Claim) -> Logon:
    if claim.logon is None:
        raise AssertionError("only a request with a part in a log-on comes here")
    return claim.logon


def _challenge(scheme: Scheme, head: ResponseHead) -> tuple[bytes, bool]:
    """The backend's challenge as it came, and whether it wants names in UTF-16."""
    if head.status != 401:
        raise UndecidedError("backend_undecided")  # 2xx, too: it has vouched for nobody
    said = challenge_token(scheme, head.fields)
    if said is None:
        raise CredentialsRefusedError  # it does not speak this scheme
    value, token = said
    try:
        message = ntlm.read(ntlm_message(scheme, token))
    except (ntlm.NtlmError, SpnegoError):
        raise BackendsDownError("backend_malformed") from None
    if not isinstance(message, ntlm.Challenge):
        raise BackendsDownError("backend_malformed")
    return value, message.unicode


def _check_vouched(head: ResponseHead) -> None:
    if head.status in (401, 403):
        raise CredentialsRefusedError
    if not 200 <= head.status < 300:
        raise UndecidedError("backend_undecided")
