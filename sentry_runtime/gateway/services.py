"""What the exchanges of one worker share."""

from dataclasses import dataclass, field

from sentry_runtime.eas.offer import versions_up_to
from sentry_runtime.gateway.account import Account
from sentry_runtime.gateway.backends import Backends
from sentry_runtime.gateway.contact import Contacts
from sentry_runtime.gateway.credentials import Access
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.logon import Waiting
from sentry_runtime.gateway.provisioning import Provisioning
from sentry_runtime.settings import Limits


@dataclass(slots=True)
class Services:
    """One per worker. `draining`: connections end with the response they wait for; `stopping`: so does the whole gateway.

    `provisioning`: the gateway's own policy; with one it answers Provision itself.
    `access`: how devices may authenticate; `waiting`: the log-ons that are under way. `versions`: what devices are offered.
    `external_host`: the name that Autodiscover sends devices to; "" when it is not served.
    """

    limits: Limits
    backends: Backends
    known: Known
    contacts: Contacts
    account: Account
    provisioning: Provisioning | None = None
    external_host: str = ""
    access: Access = field(default_factory=Access)
    waiting: Waiting = field(default_factory=Waiting)
    versions: frozenset[bytes] = versions_up_to("16.1")
    draining: bool = False
    stopping: bool = False

    @property
    def provisions(self) -> bool:
        """Whether the gateway answers Provision itself, so that the lists of commands that pass through it name it."""
        return self.provisioning is not None
