"""What the exchanges of one worker share."""

from dataclasses import dataclass, field

from sentry_runtime.eas.offer import versions_up_to
from sentry_runtime.gateway.account import Account
from sentry_runtime.gateway.backends import Backends
from sentry_runtime.gateway.contact import Contacts
from sentry_runtime.gateway.credentials import Access
from sentry_runtime.gateway.judge import Judge
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.logon import Waiting
from sentry_runtime.gateway.notes import Notes
from sentry_runtime.gateway.refusals import Refusals
from sentry_runtime.gateway.teller import Teller
from sentry_runtime.gateway.throttle import Throttle
from sentry_runtime.gateway.vetting import Vetting
from sentry_runtime.gateway.wipe_marks import WipeMarks
from sentry_runtime.settings import Limits

_NONE: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Services:
    """One per worker. `draining`: connections end with the response they wait for; `stopping`: so does the whole gateway.
    `quiesced`: balancers are told to send nobody, and everything is served as ever.

    `judge`: has what requests are judged by. `teller`: passes on what devices say of themselves; `notes`: has kept what backends
    enforce; `wipe_marks`: what comes of orders to wipe.
    `refusals`: counts log-ons that a backend refuses. `vetting`: devices' certificates; None where they do not matter.
    `throttle`: counts what each device asks; None where a device may ask as much as it likes.
    `notice`: what a device that is refused is told; "" for nothing.
    `access`: how devices may authenticate; `waiting`: the log-ons that are under way. `versions`: what devices are offered.
    `external_host`: the name that Autodiscover sends devices to; "" when it is not served.
    """

    limits: Limits
    backends: Backends
    known: Known
    contacts: Contacts
    account: Account
    judge: Judge
    teller: Teller
    notes: Notes
    wipe_marks: WipeMarks
    refusals: Refusals
    throttle: Throttle | None = None
    notice: str = ""
    external_host: str = ""
    access: Access = field(default_factory=Access)
    waiting: Waiting = field(default_factory=Waiting)
    versions: frozenset[bytes] = versions_up_to("16.1")
    vetting: Vetting | None = None
    draining: bool = False
    stopping: bool = False
    quiesced: bool = False

    @property
    def hidden(self) -> frozenset[bytes]:
        """The header in which a front end tells of certificates is not the backend's, whoever has sent it."""
        return _NONE if self.vetting is None else self.vetting.hidden
