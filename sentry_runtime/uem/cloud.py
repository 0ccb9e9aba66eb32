"""A Cloud as the link that the agent uses for any UEM: it is only called, and the Sentry makes its decisions of what it is told.

Where a Core answers a first contact with its word, a Cloud lists what the device might be; `match` picks. Instead of one feed
there are two, of what follows from compliance and of what administrators did, which are read on schedules of their own.
"""

import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from sentry_runtime.eas.principal import user_of
from sentry_runtime.settings import Licence
from sentry_runtime.uem import licence, match
from sentry_runtime.uem.api import DECISIONS_PER_PAGE, Contact, Decision, DecisionPage
from sentry_runtime.uem.cloud_api import Candidates, CloudSettings, Inventory
from sentry_runtime.uem.link import LinkRefusedError, UemLink, read

STRANGERS = 20  # unmanaged devices of one principal, as at the UEM in the box: who has one password invents no more
STRANGERS_OF_USER = 200  # the same of one user name whatever the domain: some mail servers take any before the user
CLAIMS = 10_000  # devices taken for one without an id; those that the UEM has not heard of by the inventory are kept

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
        self._licence: Licence | None = None
        self._strangers = Strangers()
        self._claims = Claims()
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
        self._strangers.know(principals)

    def inventory_told(self) -> None:
        """The Cloud has all of the list: what was taken for a device without an id, it knows by its id."""
        self._claims.told()

    def use(self, settings: CloudSettings) -> None:
        """What was heard before a restart holds until there is something newer."""
        self._licence = settings.licence

    async def contact(self, contact: Contact) -> Decision:
        """Ask what the device might be, and decide. Raises `LinkError`."""
        body = msgspec.json.encode(contact)
        candidates = await self._call("POST", "/v1/candidates", Candidates, body=body)
        self._heard(candidates.settings)
        found = match.best(contact, candidates)
        if found.criterion is match.Criterion.USER_ID and not self._claims.claim(contact.principal, contact.device_id):
            found = match.Match(match.Criterion.NONE)
        if found.criterion is match.Criterion.NONE:
            self._strangers.take(contact.principal)
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
        if self._licence is None:  # what a decision may bring is not known yet
            await self.settings()
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

    def _licensed(self, decision: Decision) -> Decision:
        """Without app tunnels where the licence lacks them."""
        if not decision.tunnels:
            return decision
        if self._licence is not None and licence.refusal("app_tunnel", self._licence) is None:
            return decision
        self.tunnels_refused += 1
        return msgspec.structs.replace(decision, tunnels=())


class Strangers:
    """How many unmanaged devices there are of whom: of each principal, and of all principals of one user name."""

    def __init__(self) -> None:
        self._of_principals: Counter[str] = Counter()
        self._of_users: Counter[str] = Counter()

    def know(self, principals: Iterable[str]) -> None:
        """These are those that the list has now."""
        self._of_principals = Counter(principals)
        self._of_users = Counter()
        for principal, count in self._of_principals.items():
            self._of_users[user_of(principal)] += count

    def take(self, principal: str) -> None:
        """One more of this principal. Raises `LinkRefusedError` when there are too many."""
        user = user_of(principal)
        for count, most in ((self._of_principals[principal], STRANGERS), (self._of_users[user], STRANGERS_OF_USER)):
            if count >= most:
                raise LinkRefusedError(f"{most} devices of this user are not registered; no more are taken")
        self._of_principals[principal] += 1
        self._of_users[user] += 1


class Claims:
    """Which device was taken for a user's one without an id: the first that came, until the UEM has an id for it.

    Before the UEM has been told of the list once none is: the list may have, from before a restart, the device that was taken.
    """

    def __init__(self) -> None:
        self._new: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._is_told = False

    def told(self) -> None:
        """The UEM has heard of the list, with all that was claimed so far."""
        self._is_told = True
        self._told |= self._new
        self._new.clear()
        while len(self._told) > CLAIMS:
            del self._told[next(iter(self._told))]

    def claim(self, principal: str, device_id: str) -> bool:
        """Whether this device may be the one. Raises `LinkRefusedError` while that cannot be said."""
        held = self._new.get(principal) or self._told.get(principal)
        if held is not None:
            return held == device_id
        if not self._is_told:
            raise LinkRefusedError("who has the user's device is not known before the first inventory; ask again")
        if len(self._new) >= CLAIMS:
            return False
        self._new[principal] = device_id
        return True
