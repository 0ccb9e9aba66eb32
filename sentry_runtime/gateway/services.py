"""What the exchanges of one worker share."""

from dataclasses import dataclass

from sentry_runtime.gateway.account import Account
from sentry_runtime.gateway.backends import Backends
from sentry_runtime.gateway.contact import Contacts
from sentry_runtime.gateway.known import Known
from sentry_runtime.gateway.policies import Policies
from sentry_runtime.gateway.teller import Teller
from sentry_runtime.settings import Limits


@dataclass(slots=True)
class Services:
    """One per worker. `draining`: connections end with the response they wait for; `stopping`: so does the whole gateway.

    `external_host`: the name that Autodiscover sends devices to; "" when it is not served.
    """

    limits: Limits
    backends: Backends
    known: Known
    contacts: Contacts
    account: Account
    policies: Policies
    teller: Teller
    external_host: str = ""
    draining: bool = False
    stopping: bool = False
