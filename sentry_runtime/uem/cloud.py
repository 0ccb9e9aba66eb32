"""A Cloud as the link that the agent uses for any UEM: it is only called, and the Sentry makes its decisions of what it is told.

Where a Core answers a first contact with its word, a Cloud lists what the device might be; `match` picks. Instead of one feed
there are two, of what follows from compliance and of what administrators did, which are read on schedules of their own.
"""

import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from sentry_runtime.settings import Licence
from sentry_runtime.uem import licence, match
from sentry_runtime.uem.api import DECISIONS_PER_PAGE, Contact, Decision, DecisionPage
from sentry_runtime.uem.cloud_api import Candidates, CloudSettings, Inventory
from sentry_runtime.uem.link import LinkRefusedError, UemLink, read

STRANGERS = 20  # unmanaged devices of one principal, as at the UEM in the box: who has one password invents no more
CLAIMS = 10_000  # devices taken for one without an id, until the UEM has heard of them by the inventory

_CONFLICT = 409
_DONE = 204

Feed = Literal["compliance", "actions"]


class InventoryLostError(LinkRefusedError):
    """The UEM does not have the inventory that this one goes on from: it wants all of it."""


class CloudLink(UemLink):
    """`settled` is called with what the Cloud's administrators have set, whenever it is heard."""

    def __init__(
        self,
        url: str,
        tls: ssl.SSLContext,
        timeout_seconds: float,
        settled: Callable[[CloudSettings], None],
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        super().__init__(url, tls, timeout_seconds, trouble)
        self._settled = settled
        self._licence: Licence = "platinum"
        self._strangers: Counter[str] = Counter()
        self._claims: dict[str, str] = {}
        self.matches: Counter[match.Criterion] = Counter()
        """How many contacts there were by what they matched."""
        self.tunnels_refused = 0
        """How many decisions came with app tunnels that the licence lacks."""

    def facts(self) -> dict[str, str | int]:
        """What `Status` shows of it."""
        matched = {f"cloud_matched_{one.name.lower()}": self.matches[one] for one in match.Criterion}
        return {**matched, "cloud_tunnels_refused": self.tunnels_refused}

    def know_strangers(self, principals: Iterable[str]) -> None:
        """The list has these unmanaged devices, by their principals."""
        self._strangers = Counter(principals)

    def use(self, settings: CloudSettings) -> None:
        """What was heard before a restart holds until there is something newer."""
        self._licence = settings.licence

    async def contact(self, contact: Contact) -> Decision:
        """Ask what the device might be, and decide. Raises `LinkError`."""
        body = msgspec.json.encode(contact)
        candidates = await self._call("POST", "/v1/candidates", Candidates, body=body)
        self._heard(candidates.settings)
        found = match.best(contact, candidates)
        if found.criterion is match.Criterion.USER_ID and not self._claim(contact):
            found = match.Match(match.Criterion.NONE)
        if found.criterion is match.Criterion.NONE:
            self._strange(contact.principal)
        self.matches[found.criterion] += 1
        return self._licensed(match.checked(contact, candidates, found))

    async def settings(self) -> CloudSettings:
        """What the Cloud's administrators have set. Raises `LinkError`."""
        settings = await self._call("GET", "/v1/settings", CloudSettings)
        self._heard(settings)
        return settings

    async def check_in(self, feed: Feed, after: int, limit: int = DECISIONS_PER_PAGE) -> DecisionPage:
        """The page of one feed's decisions with versions above `after`. Without `more`, `next` is the UEM's last version, also
        where that was of the other feed. Raises `LinkError`."""
        page = await self._call("GET", f"/v1/{feed}?after={after}&limit={limit}", DecisionPage)
        return msgspec.structs.replace(page, decisions=tuple(map(self._licensed, page.decisions)))

    async def report_inventory(self, inventory: Inventory) -> None:
        """Tell the UEM of the list. Raises `InventoryLostError`, `LinkError`."""
        status, text = await self._sent("POST", "/v1/inventory", msgspec.json.encode(inventory))
        if status == _CONFLICT:
            raise InventoryLostError(f"the UEM has no inventory {inventory.after} of this Sentry")
        if status != _DONE:
            read(status, text, CloudSettings)  # which says what went wrong, in the UEM's words
            raise LinkRefusedError(f"the UEM answered {status} to an inventory")

    def _heard(self, settings: CloudSettings) -> None:
        self._licence = settings.licence
        self._settled(settings)

    def _claim(self, contact: Contact) -> bool:
        """Whether the user's device without an id may be this one: the first that came, until the UEM has an id for it."""
        if len(self._claims) >= CLAIMS and contact.principal not in self._claims:
            return False
        return self._claims.setdefault(contact.principal, contact.device_id) == contact.device_id

    def _strange(self, principal: str) -> None:
        if self._strangers[principal] >= STRANGERS:
            raise LinkRefusedError(f"{STRANGERS} devices of this user are not registered; no more are taken")
        self._strangers[principal] += 1

    def _licensed(self, decision: Decision) -> Decision:
        """Without app tunnels where the licence lacks them."""
        if not decision.tunnels or licence.refusal("app_tunnel", self._licence) is None:
            return decision
        self.tunnels_refused += 1
        return msgspec.structs.replace(decision, tunnels=())
