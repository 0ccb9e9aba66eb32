"""Ivanti EPMM (MobileIron Core): which ActiveSync devices it lets in, and why it does not.

Two calls of its public API: `GET /api/v1/eas/devices` has every ActiveSync device in one of five lists, which is the decision;
`GET /api/v2/devices` has the reasons, page by page. They are joined by the device's uuid.

There is no call for one ActiveSync device by its id, so a first contact is answered from the list as it is now, asked for once
however many devices wait for it.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from sentry_runtime.devices.record import Reason
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import Epmm as EpmmSettings
from sentry_runtime.uem.adapters.client import Call, Client, DeniedError, NotFoundError
from sentry_runtime.uem.adapters.entry import Entry, LeftOut, Snapshot, gathered, key_of, type_of
from sentry_runtime.uem.adapters.epmm_table import (
    BITS,
    IN_USE,
    LISTS,
    NOT_IN_USE,
    OTHER_REASON,
    OTHER_STATUS,
    REASONS,
    Listed,
)
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem.link import LinkRefusedError

ROWS = 150_000  # half as many again as the largest fleet
EAS_BYTES = 100_663_296  # 96 MiB: ROWS of 600 bytes; the list comes in one piece
BRACES = 2 * ROWS  # in that piece: each row is an object; counted before anything is made of them
PAGE_ROWS = 500
PAGE_BYTES = 8_388_608  # 8 MiB: a page of rows of 1 KiB is half a MiB
SECONDS = 60.0  # of one answer: the list of a large fleet is made by one query
FRESH_SECONDS = (
    15.0  # a first contact is answered from a list of this age; who can invent devices does not get more asked
)

DAY_SECONDS = 86_400.0

Word = str | int | None
"""A text; what looks like a number may come as one."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Row(msgspec.Struct, frozen=True, rename="camel"):
    """One device of a list of `/api/v1/eas/devices`: what is looked at of it."""

    device_id: Word
    uuid: Word = None
    domain: Word = None
    mailbox_id: Word = None
    user_name: Word = None
    model: Word = None


Rows = list[Row] | Row | None


class _Inner(msgspec.Struct, frozen=True, rename="camel"):
    """A list as some versions write it: the rows below one more name."""

    registered_allowed_device: Rows = None
    registered_blocked_device: Rows = None
    unregistered_allowed_device: Rows = None
    unregistered_blocked_device: Rows = None
    wiped_device: Rows = None


_List = list[Row] | _Inner | Literal[""] | None


class _Lists(msgspec.Struct, frozen=True, rename="camel"):
    registered_allowed_devices: _List | msgspec.UnsetType = msgspec.UNSET
    registered_blocked_devices: _List | msgspec.UnsetType = msgspec.UNSET
    unregistered_allowed_devices: _List | msgspec.UnsetType = msgspec.UNSET
    unregistered_blocked_devices: _List | msgspec.UnsetType = msgspec.UNSET
    wiped_devices: _List | msgspec.UnsetType = msgspec.UNSET


class _Whole(_Lists, frozen=True, rename="camel"):
    """The answer; the wrapping element of the XML form, spelt as the vendor spells it, may be there or not."""

    eas_web_service_reponse: _Lists | None = None
    eas_web_service_response: _Lists | None = None


class Detail(msgspec.Struct, frozen=True):
    """One device of `/api/v2/devices`: the fields that are asked for."""

    uuid: str = msgspec.field(name="common.uuid")
    status: str = msgspec.field(name="common.status")
    blocked: bool | None = msgspec.field(name="common.blocked", default=None)
    blocked_reasons: list[str] | int | None = msgspec.field(name="common.blocked_reasons", default=None)
    quarantined_reasons: list[str] | int | None = msgspec.field(name="common.quarantined_reasons", default=None)
    noncompliance_reasons: list[str] | int | None = msgspec.field(name="common.noncompliance_reasons", default=None)
    compromised: bool | None = msgspec.field(name="common.device_is_compromised", default=None)
    last_connected: Time | None = msgspec.field(name="common.last_connected_at", default=None)


FIELDS = ",".join(field.encode_name for field in msgspec.structs.fields(Detail))


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    results: list[Detail]
    has_more: bool


def lists(body: bytes) -> list[tuple[Listed, Row]]:
    """The rows of the five lists, each with what it means to be in that list. Raises `LinkRefusedError` naming the place."""
    if (braces := body.count(b"{")) > BRACES:
        raise LinkRefusedError(f"EPMM's answer has {braces} objects; at most {ROWS} devices are taken")
    whole = _decoded(body, _Whole)
    held: _Lists = whole.eas_web_service_reponse or whole.eas_web_service_response or whole
    named = [(name, getattr(held, attribute)) for name, attribute in zip(LISTS, _Lists.__struct_fields__, strict=True)]
    if all(value is msgspec.UNSET for _, value in named):
        raise LinkRefusedError(f"EPMM's answer has none of {', '.join(LISTS)} - at `$`")
    return [(LISTS[name], row) for name, value in named for row in _rows(value)]


def _rows(value: Any) -> Iterator[Row]:
    match value:
        case Row():
            yield value
        case list():
            yield from value
        case _Inner():
            for name in _Inner.__struct_fields__:
                yield from _rows(getattr(value, name))


def page(body: bytes) -> tuple[list[Detail], bool]:
    """A page of details, and whether there are more. Raises `LinkRefusedError` naming the place."""
    found = _decoded(body, _Page)
    return found.results, found.has_more


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LinkRefusedError(f"EPMM's answer is not of its API: {error}") from None


def entry(
    listed: Listed, row: Row, detail: Detail | None, rules: EpmmSettings, names: Names, now: float
) -> Entry | LeftOut:
    """What EPMM says of one ActiveSync device; `detail` is what it says of the managed device that it is, if any."""
    key = key_of(_text(row.device_id), _user(row, rules), names)
    if isinstance(key, LeftOut):
        return key
    reasons = _vetoes(detail, rules, now)
    if detail is None and listed.registered and rules.contact_days:
        reasons.add(Reason.OUT_OF_CONTACT)  # nobody knows when it was heard of
    if listed.blocked:
        said = set[Reason]() if detail is None else _said(detail)
        reasons |= said or {listed.without}
        if not listed.registered:
            reasons.add(listed.without)
    seen = 0.0 if detail is None or detail.last_connected is None else detail.last_connected.timestamp()
    return Entry(key, frozenset(reasons), listed.registered, type_of(_text(row.model)), seen)


def _vetoes(detail: Detail | None, rules: EpmmSettings, now: float) -> set[Reason]:
    """Why a device is blocked, whichever list it is in."""
    reasons = set[Reason]()
    if detail is None:
        return reasons
    if detail.status not in IN_USE:
        reasons.add(NOT_IN_USE.get(detail.status, OTHER_STATUS))
    if detail.blocked:
        reasons |= _said(detail) or {Reason.MANUAL}
    if detail.compromised:
        reasons.add(Reason.COMPROMISED)
    heard = detail.last_connected
    if rules.contact_days and (heard is None or now - heard.timestamp() > rules.contact_days * DAY_SECONDS):
        reasons.add(Reason.OUT_OF_CONTACT)
    return reasons


def _said(detail: Detail) -> set[Reason]:
    found = (detail.blocked_reasons, detail.quarantined_reasons, detail.noncompliance_reasons)
    return set().union(*(reasons(one) for one in found))


def reasons(said: list[str] | int | None) -> set[Reason]:
    """The reasons that EPMM gives by name or as a number with a bit for each."""
    if isinstance(said, int):
        named = [name for name, bit in BITS.items() if said & bit]
        return {REASONS.get(name, OTHER_REASON) for name in named or (["UNKNOWN"] if said else [])}
    return {REASONS.get(name, OTHER_REASON) for name in said or ()}


def _user(row: Row, rules: EpmmSettings) -> str:
    user, domain = _text(row.user_name), _text(row.domain)
    match rules.principal:
        case "mailbox":
            return _text(row.mailbox_id)
        case "domain_user" if domain and user and "\\" not in user and "@" not in user:
            return f"{domain}\\{user}"
    return user


def _text(word: Word) -> str:
    return "" if word is None else str(word)


def joined(
    rows: Iterable[tuple[Listed, Row]], details: Iterable[Detail], rules: EpmmSettings, names: Names, now: float
) -> Snapshot:
    """All that EPMM says, of the two calls."""
    by_uuid = {detail.uuid.lower(): detail for detail in details}
    return gathered(
        entry(listed, row, by_uuid.get(_text(row.uuid).lower()) if listed.registered else None, rules, names, now)
        for listed, row in rows
    )


class Epmm:
    """The two calls; one runs at a time, whoever wants its answer."""

    name = "Ivanti EPMM"

    def __init__(
        self,
        client: Client,
        rules: EpmmSettings,
        password: str,
        names: Names,
        *,
        now: Callable[[], float],
    ) -> None:
        self._client = client
        self._rules = rules
        self._names = names
        self._now = now
        basic = base64.b64encode(f"{rules.account}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}"}
        self._running: asyncio.Task[Snapshot] | None = None
        self._kept: tuple[float, Snapshot] | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connected for as long as this lasts."""
        async with self._client:
            try:
                yield
            finally:
                if self._running is not None:
                    self._running.cancel()
                    await asyncio.gather(self._running, return_exceptions=True)

    @property
    def throttled(self) -> int:
        """How often the host has asked us to come back later."""
        return self._client.pace.throttled_count

    @property
    def wait(self) -> float:
        """For how many seconds nobody asks it now."""
        return self._client.pace.wait

    async def everything(self) -> Snapshot:
        """All that EPMM says, now. Raises `LinkError`."""
        self._kept = None
        return await asyncio.shield(self._task(patient=True))

    async def find(self, contact: Contact) -> Snapshot:
        """Enough to answer this contact. Raises `LinkError`."""
        del contact
        if self._kept is not None and 0 <= self._now() - self._kept[0] < FRESH_SECONDS:
            return self._kept[1]
        # Shielded: the answer is of use to those who come after one who waited too long.
        return await asyncio.shield(self._task(patient=False))

    def _task(self, *, patient: bool) -> asyncio.Task[Snapshot]:
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._load(patient=patient))
            self._running.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._running

    async def _load(self, *, patient: bool) -> Snapshot:
        asked = self._now()
        try:
            try:
                body = await self._ask("api/v1/eas/devices", EAS_BYTES, patient=patient)
            except NotFoundError:  # "No Data Found" (v1 guide): it knows of no ActiveSync device
                body = b'{"registeredAllowedDevices": []}'
            details = await self._details(patient=patient)
        except DeniedError:
            self._client.pace.denied()
            raise
        snapshot = await asyncio.to_thread(self._joined, body, details)
        self._kept = (asked, snapshot)
        return snapshot

    def _joined(self, body: bytes, details: list[Detail]) -> Snapshot:
        rows = lists(body)
        if len(rows) > ROWS:
            raise LinkRefusedError(f"EPMM lists {len(rows)} ActiveSync devices; at most {ROWS} are taken")
        return joined(rows, details, self._rules, self._names, self._now())

    async def _details(self, *, patient: bool) -> list[Detail]:
        """All pages. A device that moves from one page to another while we read may come twice, or not: then it has no detail
        for once."""
        found: list[Detail] = []
        more = True
        while more:
            query: dict[str, str | int] = {
                "adminDeviceSpaceId": self._rules.device_space,
                "query": "",
                "fields": FIELDS,
            }
            query |= {"limit": PAGE_ROWS, "offset": len(found)}
            body = await self._ask("api/v2/devices", PAGE_BYTES, patient=patient, query=query)
            results, more = page(body)
            found += results
            if more and not results:
                raise LinkRefusedError("EPMM says there is more, but gives no device - at `$.hasMore`")
            if len(found) > ROWS:
                raise LinkRefusedError(f"EPMM has more than the {ROWS} devices that are taken - at `$.results`")
        return found

    async def _ask(
        self, path: str, bound: int, *, patient: bool, query: Mapping[str, str | int] | None = None
    ) -> bytes:
        url = self._client.at(path, query)
        return await self._client.ask(Call(url, self._headers, bound, SECONDS, patient=patient))
