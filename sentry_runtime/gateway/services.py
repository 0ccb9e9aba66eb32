"""What the exchanges of one worker share."""

from dataclasses import dataclass

from sentry_runtime.gateway.account import Account
from sentry_runtime.gateway.backends import Backends
from sentry_runtime.gateway.contact import Contacts
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.logons import Logons
from sentry_runtime.gateway.provisioning import Provisioning
from sentry_runtime.gateway.vetting import Vetting
from sentry_runtime.settings import Limits

_NONE: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Services:
    """One per worker. `draining`: connections end with the response they wait for; `stopping`: so does the whole gateway.
    `quiesced`: balancers are told to send nobody, and everything is served as ever.

    `provisioning`: the gateway's own policy; with one it answers Provision itself.
    `vetting`: devices' certificates; None where they do not matter.
    `external_host`: the name that Autodiscover sends devices to; "" when it is not served.
    """

    limits: Limits
    backends: Backends
    known: Known
    contacts: Contacts
    account: Account
    logons: Logons
    provisioning: Provisioning | None = None
    external_host: str = ""
    vetting: Vetting | None = None
    draining: bool = False
    stopping: bool = False
    quiesced: bool = False

    @property
    def hidden(self) -> frozenset[bytes]:
        """The header in which a front end tells of certificates is not the backend's, whoever has sent it."""
        return _NONE if self.vetting is None else self.vetting.hidden

    @property
    def provisions(self) -> bool:
        """Whether the gateway answers Provision itself, so that the lists of commands that pass through it name it."""
        return self.provisioning is not None
