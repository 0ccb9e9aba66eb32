"""Microsoft Intune: the managed devices of a tenant and how they comply, by Microsoft Graph v1.0.

`GET /deviceManagement/managedDevices` page by page (`@odata.nextLink`). There is no public delta query for it, so the whole list
is read at each interval. A first contact asks for the devices of its user alone; a filter that Graph passes over in silence, as
it does for some properties, is seen by what comes.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated

import msgspec
from yarl import URL

from sentry_runtime.devices.record import Reason
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import Intune as IntuneSettings
from sentry_runtime.uem.adapters.client import Call, Client, DeniedError
from sentry_runtime.uem.adapters.entry import Entry, LeftOut, Snapshot, gathered, key_of, type_of
from sentry_runtime.uem.adapters.intune_table import COMPLIANT, JAIL_BROKEN, REGISTERED, REVOKED, THREATS, UNMANAGED
from sentry_runtime.uem.adapters.token import Tokens
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem.link import LinkRefusedError

ROWS = 150_000  # half as many again as the largest fleet
PAGES = 3_000  # a page has up to 1,000 devices, and at times fewer than it could
PAGE_ROWS = 1_000  # the most that Graph gives
PAGE_BYTES = 16_777_216  # 16 MiB: a page whose `$select` was passed over is 4 MiB
SECONDS = 60.0
FRESH_SECONDS = 15.0  # a first contact is answered from a list of this age; who invents devices does not get more asked
USERS = 1_000  # whose devices are known for so long
USER_PAGES = 3  # of one user's devices: who has thousands is a filter that was passed over
DAY_SECONDS = 86_400.0

PATH = "v1.0/deviceManagement/managedDevices"
FILTERS = {"user_principal_name": "userPrincipalName", "email_address": "emailAddress"}

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Device(msgspec.Struct, frozen=True, rename="camel"):
    """A `managedDevice`: the properties that are asked for."""

    compliance_state: str
    device_registration_state: str
    management_agent: str
    eas_device_id: str | None
    user_principal_name: str | None
    email_address: str | None
    jail_broken: str | None = None
    is_encrypted: bool | None = None
    last_sync_date_time: Time | None = None
    partner_reported_threat_state: str | None = None
    operating_system: str | None = None
    model: str | None = None


SELECT = ",".join(field.encode_name for field in msgspec.structs.fields(Device))


class _Page(msgspec.Struct, frozen=True):
    value: list[Device]
    next: str | None = msgspec.field(name="@odata.nextLink", default=None)


def page(body: bytes) -> tuple[list[Device], str | None]:
    """The devices of a page, and where it goes on. Raises `LinkRefusedError` naming the place."""
    try:
        found = msgspec.json.decode(body, type=_Page)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LinkRefusedError(f"Graph's answer is not of its API: {error}") from None
    return found.value, found.next


def entry(device: Device, rules: IntuneSettings, names: Names, now: float) -> Entry | LeftOut:
    """What Intune says of one device."""
    user = device.user_principal_name if rules.principal == "user_principal_name" else device.email_address
    key = key_of(device.eas_device_id or "", user or "", names)
    if isinstance(key, LeftOut):
        return key
    registered = device.device_registration_state in REGISTERED and device.management_agent not in UNMANAGED
    seen = 0.0 if device.last_sync_date_time is None else device.last_sync_date_time.timestamp()
    reasons = {
        Reason.UNREGISTERED: not registered and rules.block_unregistered,
        Reason.MANUAL: device.device_registration_state in REVOKED,
        Reason.POLICY: device.compliance_state not in COMPLIANT,
        Reason.COMPROMISED: _compromised(device),
        Reason.NOT_ENCRYPTED: rules.block_unencrypted and device.is_encrypted is False,
        Reason.OUT_OF_CONTACT: bool(rules.contact_days) and now - seen > rules.contact_days * DAY_SECONDS,
    }
    return Entry(
        key,
        frozenset(reason for reason, holds in reasons.items() if holds),
        registered,
        type_of(device.model, device.operating_system),
        seen,
    )


def _compromised(device: Device) -> bool:
    return (device.jail_broken or "").lower() in JAIL_BROKEN or device.partner_reported_threat_state in THREATS


class Intune:
    """The list, and the devices of one user."""

    name = "Microsoft Intune"

    def __init__(
        self,
        client: Client,
        tokens: Tokens,
        login: Client,
        rules: IntuneSettings,
        names: Names,
        *,
        now: Callable[[], float],
        contact_seconds: float,
    ) -> None:
        self._client = client
        self._tokens = tokens
        self._login = login
        self._rules = rules
        self._names = names
        self._now = now
        self._contact_seconds = contact_seconds
        self._kept: dict[str, tuple[float, Snapshot]] = {}

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connected for as long as this lasts."""
        async with self._client, self._login:
            yield

    @property
    def throttled(self) -> int:
        """How often the hosts have asked us to come back later."""
        return self._client.pace.throttled_count + self._login.pace.throttled_count

    @property
    def wait(self) -> float:
        """For how many seconds nobody asks them now."""
        return max(self._client.pace.wait, self._login.pace.wait)

    async def everything(self) -> Snapshot:
        """All that Intune says, now. Raises `LinkError`."""
        url = self._client.at(PATH, {"$select": SELECT, "$top": PAGE_ROWS})
        devices = await self._pages(url, PAGES, SECONDS, patient=True)
        self._kept.clear()
        return self._snapshot(devices)

    async def find(self, contact: Contact) -> Snapshot:
        """What Intune says of this user's devices. Raises `LinkError`."""
        if "@" not in contact.principal:  # no such name is a user principal name, or an address
            return Snapshot()
        asked, kept = self._now(), self._kept.get(contact.principal)
        if kept is not None and 0 <= asked - kept[0] < FRESH_SECONDS:
            return kept[1]
        wanted = contact.principal.replace("'", "''")
        query = {"$filter": f"{FILTERS[self._rules.principal]} eq '{wanted}'", "$select": SELECT}
        devices = await self._pages(self._client.at(PATH, query), USER_PAGES, self._contact_seconds, patient=False)
        entries = self._snapshot(devices).entries
        theirs = Snapshot({key: one for key, one in entries.items() if key.principal == contact.principal})
        if len(self._kept) >= USERS:
            self._kept.clear()
        self._kept[contact.principal] = (asked, theirs)
        return theirs

    def _snapshot(self, devices: list[Device]) -> Snapshot:
        now = self._now()
        return gathered(entry(device, self._rules, self._names, now) for device in devices)

    async def _pages(self, url: URL, pages: int, seconds: float, *, patient: bool) -> list[Device]:
        found: list[Device] = []
        seen = {str(url)}
        for _ in range(pages):
            devices, more = page(await self._ask(url, seconds, patient=patient))
            found += devices
            if len(found) > ROWS:
                raise LinkRefusedError(f"Graph has more than the {ROWS} devices that are taken - at `$.value`")
            if more is None:
                return found
            url = self._client.next(more)
            if str(url) in seen:
                raise LinkRefusedError("Graph's next page is one that was read already - at `$['@odata.nextLink']`")
            seen.add(str(url))
        raise LinkRefusedError(
            f"Graph has more than {pages} pages, where no more are taken - at `$['@odata.nextLink']`"
        )

    async def _ask(self, url: URL, seconds: float, *, patient: bool) -> bytes:
        """A token that is not taken is replaced once: it may have been revoked, or the clocks may differ."""
        token = await self._tokens.get(patient=patient)
        try:
            return await self._once(url, token, seconds, patient=patient)
        except DeniedError:
            self._tokens.spoilt(token)
        try:
            return await self._once(url, await self._tokens.get(patient=patient), seconds, patient=patient)
        except DeniedError:
            self._client.pace.denied()
            raise

    async def _once(self, url: URL, token: str, seconds: float, *, patient: bool) -> bytes:
        headers = {"Authorization": f"Bearer {token}"}
        return await self._client.ask(Call(url, headers, PAGE_BYTES, seconds, patient=patient))
