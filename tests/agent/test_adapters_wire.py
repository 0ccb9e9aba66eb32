"""The adapters against real TLS servers of the vendors' shape: pages, throttling, tokens that end, breaks and rubbish."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import msgspec
import pytest

from sentry_runtime.devices.record import DeviceKey, Reason
from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import Epmm as EpmmSettings
from sentry_runtime.settings import Intune as IntuneSettings
from sentry_runtime.tls import client_context, server_context
from sentry_runtime.uem.adapters import client as clients
from sentry_runtime.uem.adapters import epmm, intune, pace
from sentry_runtime.uem.adapters.client import Client
from sentry_runtime.uem.adapters.epmm import Epmm
from sentry_runtime.uem.adapters.intune import Intune
from sentry_runtime.uem.adapters.link import Source
from sentry_runtime.uem.adapters.pace import Pace
from sentry_runtime.uem.adapters.token import Tokens
from sentry_runtime.uem.api import Contact
from sentry_runtime.uem.link import LinkDownError, LinkRefusedError
from tests.agent import vendors
from tests.agent.stage import Pki
from tests.agent.vendors import EpmmServer, GraphServer, Vendor, break_off, passed, rubbish, status
from tests.ports import free_port

CONTACT = Contact(device_id="PHONE1", principal="anna@lab.test", device_type="iPhone", seen=5)
ANNA = DeviceKey("PHONE1", "anna@lab.test")
NAMES = Names(default_domain="lab.test")


@dataclass
class Time:
    """Moved by who sleeps; `slept` is for how long."""

    now: float = 1_000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Take the time that the host asked for."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    """One for all."""
    return Time()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends what the test began."""
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
async def core(pki: Pki, stack: AsyncExitStack) -> EpmmServer:
    """An EPMM that knows Anna's phone."""
    made = EpmmServer()
    made.put("phone1", "anna@lab.test", "registeredAllowedDevices")
    await made.start(server_context(pki.plain_server("uem")))
    stack.push_async_callback(made.stop)
    return made


@pytest.fixture
async def graph(pki: Pki, stack: AsyncExitStack) -> GraphServer:
    """A tenant that knows Anna's phone."""
    made = GraphServer()
    made.put("phone1", "anna@lab.test")
    await made.start(server_context(pki.plain_server("uem")))
    stack.push_async_callback(made.stop)
    return made


def client_of(server: Vendor, pki: Pki, time: Time) -> Client:
    """At the pace of `time`, with nothing drawn."""
    context = client_context(pki.client(None))
    return Client(server.url, context, Pace(time, draw=lambda: 1.0), sleep=time.sleep, now=time)


@pytest.fixture
async def epmm_source(core: EpmmServer, pki: Pki, time: Time, stack: AsyncExitStack) -> Epmm:
    """Connected."""
    rules = EpmmSettings(account=vendors.ACCOUNT, password="")
    made = Epmm(client_of(core, pki, time), rules, vendors.PASSWORD, NAMES, now=time)
    await stack.enter_async_context(made.opened())
    return made


@pytest.fixture
async def intune_source(graph: GraphServer, pki: Pki, time: Time, stack: AsyncExitStack) -> Intune:
    """Connected."""
    rules = IntuneSettings(login_url=graph.url, tenant=vendors.TENANT, client=vendors.CLIENT, secret="")
    login = client_of(graph, pki, time)
    tokens = Tokens(login, vendors.TENANT, vendors.CLIENT, vendors.SECRET, f"{graph.url}/.default", time)
    made = Intune(client_of(graph, pki, time), tokens, login, rules, NAMES, now=time, contact_seconds=5.0)
    await stack.enter_async_context(made.opened())
    return made


@pytest.fixture(params=["epmm", "intune"])
def both(request: pytest.FixtureRequest) -> tuple[Vendor, Source]:
    """A server and what asks it: either vendor's."""
    server = request.getfixturevalue({"epmm": "core", "intune": "graph"}[request.param])
    return server, request.getfixturevalue(f"{request.param}_source")


async def test_every_page_of_epmm_is_read(core: EpmmServer, epmm_source: Epmm) -> None:
    """By limit and offset, to the end that it says; the reasons of the last page reach their device."""
    core.page_rows = 2
    for number in range(2, 8):
        core.put(f"phone{number}", f"user{number}", "registeredBlockedDevices", blocked_reasons=["OS_VERSION"])
    found = await epmm_source.everything()
    assert len(found.entries) == 7
    assert found.entries[DeviceKey("PHONE7", "user7@lab.test")].reasons == {Reason.OS_VERSION}
    assert [request.query["offset"] for request in core.asked("v2")] == ["0", "2", "4", "6"]


async def test_every_page_of_graph_is_read(graph: GraphServer, intune_source: Intune) -> None:
    """By the links that it gives, with one token."""
    graph.page_rows = 2
    for number in range(2, 8):
        graph.put(f"phone{number}", f"user{number}@lab.test")
    found = await intune_source.everything()
    assert len(found.entries) == 7
    assert len(graph.asked("managedDevices")) == 4
    assert graph.issued == 1


async def test_the_xml_shaped_form_of_epmms_list_is_read_too(core: EpmmServer, epmm_source: Epmm) -> None:
    """With the wrapping element, one row where there is one, and an empty text for no rows."""
    core.wrapped = True
    core.put("phone2", "bert", "unregisteredBlockedDevices")
    core.put("phone3", "carl", "unregisteredBlockedDevices")
    assert len((await epmm_source.everything()).entries) == 3


async def test_an_epmm_without_any_device_is_no_fault(core: EpmmServer, epmm_source: Epmm) -> None:
    """It answers 404, which its guide calls "No Data Found"."""
    core.lists.clear()
    assert (await epmm_source.everything()).entries == {}


async def test_a_throttled_poll_waits_as_long_as_it_is_told(both: tuple[Vendor, Source], time: Time) -> None:
    """By a number of seconds, by a date, and for a while where nothing is said; then all comes."""
    server, source = both
    if isinstance(server, GraphServer):
        server.faults.append(passed)  # the token
    dated = "Thu, 01 Jan 1970 00:17:37 GMT"  # 1,057 s
    server.faults += [status(429, retry_after="17"), status(503, retry_after=dated), status(429)]
    assert ANNA in (await source.everything()).entries
    assert time.slept == [17.0, 40.0, pace.THROTTLED_SECONDS]
    assert source.throttled == 3


async def test_a_first_contact_is_not_made_to_wait_for_a_throttled_host(
    both: tuple[Vendor, Source], time: Time
) -> None:
    """It is refused at once, and so are the next ones without another request, until the time is over."""
    server, source = both
    if isinstance(server, GraphServer):
        server.faults.append(passed)
    server.faults.append(status(429, retry_after="60"))
    for _ in range(3):
        with pytest.raises(LinkRefusedError, match=r"answered 429|is not to be asked for 60 s more"):
            await source.find(CONTACT)
    before = len(server.requests)
    time.now += 61.0
    assert ANNA in (await source.find(CONTACT)).entries
    assert len(server.requests) > before
    assert time.slept == []


async def test_a_poll_goes_on_after_errors_and_breaks(both: tuple[Vendor, Source], time: Time) -> None:
    """With a pause that doubles."""
    server, source = both
    if isinstance(server, GraphServer):
        server.faults.append(passed)
    server.faults += [break_off, break_off, status(500), status(502)]  # aiohttp itself repeats what breaks off once
    assert ANNA in (await source.everything()).entries
    assert time.slept == [1.0, 2.0, 4.0]


async def test_a_poll_gives_up_on_a_host_that_stays_broken(both: tuple[Vendor, Source]) -> None:
    """It is wrong, not down: that is no outage, and the fail mode does not speak."""
    server, source = both
    server.faults += [status(500)] * 40
    with pytest.raises(LinkRefusedError, match="answered 500"):
        await source.everything()
    assert len(server.requests) == clients.ATTEMPTS


async def test_nobody_there_is_an_outage(both: tuple[Vendor, Source]) -> None:
    """As with our own protocol."""
    server, source = both
    await server.stop()
    with pytest.raises(LinkDownError):
        await source.everything()


async def test_a_certificate_of_a_stranger_is_an_outage_and_gets_no_credential(
    pki: Pki, time: Time, stack: AsyncExitStack
) -> None:
    """Whoever stands where the UEM should be does not even see a request."""
    pki.issue("impostor", "strangers", "serverAuth")
    server = EpmmServer()
    await server.start(server_context(msgspec.structs.replace(pki.server("impostor"), client_ca=None)))
    stack.push_async_callback(server.stop)
    source = Epmm(client_of(server, pki, time), EpmmSettings(account="a", password=""), "b", NAMES, now=time)
    await stack.enter_async_context(source.opened())
    with pytest.raises(LinkDownError, match="certificate"):
        await source.everything()
    assert server.requests == []


async def test_nobody_is_followed_to_another_place(both: tuple[Vendor, Source], time: Time) -> None:
    """A redirection is an error, and its goal gets nothing."""
    server, source = both
    elsewhere = f"https://127.0.0.1:{free_port()}/"
    server.faults.append(status(307, location=elsewhere))
    with pytest.raises(LinkRefusedError, match="answered 307: nobody is followed elsewhere"):
        await source.everything()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "goal",
    [
        "https://127.0.0.1:1/v1.0/x",
        "http://127.0.0.1:{port}/v1.0/x",
        "https://evil.test/v1.0/x",
        "https://a:b@127.0.0.1:{port}/v1.0/x",
        "//evil.test/x",
        "https://:password@127.0.0.1:{port}/v1.0/deviceManagement/managedDevices?a=1",
        "https://127.0.0.1:{port}/v1.0/deviceManagement/managedDevices?a=1 HTTP/1.1",
        "https://127.0.0.1:{port}/v1.0/deviceManagement/managedDevices?a=\0",
        "x",
        "",
    ],
)
async def test_the_next_page_of_graph_is_at_graph(graph: GraphServer, intune_source: Intune, goal: str) -> None:
    """A link to another host would carry the token there."""
    answer = {"value": [], "@odata.nextLink": goal.format(port=graph.port)}
    graph.faults += [passed, rubbish(msgspec.json.encode(answer))]
    with pytest.raises(LinkRefusedError, match="the next page is said to lie elsewhere"):
        await intune_source.everything()
    assert len(graph.requests) == 2


async def test_a_circle_of_pages_ends(graph: GraphServer, intune_source: Intune) -> None:
    """A page that was read already is not read again."""
    answer = {"value": [], "@odata.nextLink": f"{graph.url}/v1.0/deviceManagement/managedDevices?a=1"}
    graph.faults += [passed, *[rubbish(msgspec.json.encode(answer))] * 3]
    with pytest.raises(LinkRefusedError, match="read already"):
        await intune_source.everything()


async def test_a_token_is_used_until_shortly_before_its_end(
    graph: GraphServer, intune_source: Intune, time: Time
) -> None:
    """Then another is asked for, before anything is refused."""
    for _ in range(3):
        await intune_source.everything()
    assert graph.issued == 1
    time.now += graph.expires_in - 299
    await intune_source.everything()
    assert graph.issued == 2
    assert [one for one in graph.asked("managedDevices") if "canary-token-2" in one.headers["Authorization"]]


async def test_a_token_that_is_not_taken_any_more_is_replaced_in_the_middle_of_the_pages(
    graph: GraphServer, intune_source: Intune
) -> None:
    """Nothing of the list is lost by it."""
    graph.page_rows = 1
    graph.put("phone2", "bert@lab.test")

    def expire(_request: object) -> None:
        graph.tokens.clear()

    graph.faults += [passed, passed, expire]
    assert len((await intune_source.everything()).entries) == 2
    assert graph.issued == 2


async def test_a_wrong_secret_is_not_tried_again_and_again(both: tuple[Vendor, Source], time: Time) -> None:
    """Else the account is locked: after one refusal nobody asks for minutes, and no error shows what was sent or answered."""
    server, source = both
    assert isinstance(server, EpmmServer | GraphServer)
    setattr(server, "password" if isinstance(server, EpmmServer) else "secret", "another")
    said = []
    for _ in range(3):
        with pytest.raises(LinkRefusedError) as caught:
            await source.everything()
        said.append(str(caught.value))
    assert len(server.requests) == 1
    assert "answered 401" in said[0]
    assert "is not to be asked for 300 s more" in said[2]
    assert "canary" not in "".join(said)
    time.now += pace.DENIED_SECONDS
    setattr(server, "password" if isinstance(server, EpmmServer) else "secret", vendors.PASSWORD)
    if isinstance(server, GraphServer):
        server.secret = vendors.SECRET
    assert ANNA in (await source.everything()).entries


async def test_a_permission_that_lacks_is_not_asked_for_again_and_again(
    graph: GraphServer, intune_source: Intune
) -> None:
    """Graph answers 403 to a good token of an application without the permission."""
    graph.faults += [passed, status(403), passed, status(403)]
    for match in ("answered 403", "is not to be asked"):
        with pytest.raises(LinkRefusedError, match=match):
            await intune_source.everything()
    assert (graph.issued, len(graph.requests)) == (2, 4)


ROW = {
    "complianceState": "compliant",
    "deviceRegistrationState": "registered",
    "managementAgent": "mdm",
    "easDeviceId": "PHONE1",
    "userPrincipalName": "anna@lab.test",
    "emailAddress": None,
}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"<html>", "JSON is malformed"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "`value`"),
        (msgspec.json.encode({"value": [ROW, {**ROW, "complianceState": 1}]}), "$.value[1].complianceState"),
        (msgspec.json.encode({"value": [{**ROW, "easDeviceId": 7}]}), "$.value[0].easDeviceId"),
        (msgspec.json.encode({"value": [{**ROW, "isEncrypted": "yes"}]}), "$.value[0].isEncrypted"),
        (msgspec.json.encode({"value": [{**ROW, "lastSyncDateTime": "yesterday"}]}), "$.value[0].lastSyncDateTime"),
        (msgspec.json.encode({"value": [{"easDeviceId": "A"}]}), "complianceState"),
        (msgspec.json.encode({"value": [], "@odata.nextLink": 5}), "@odata.nextLink"),
    ],
)
async def test_rubbish_of_graph_is_refused_with_its_place(
    graph: GraphServer, intune_source: Intune, body: bytes, place: str
) -> None:
    """As a whole: half a list would take the other half off."""
    graph.faults += [passed, rubbish(body)]
    with pytest.raises(LinkRefusedError) as caught:
        await intune_source.everything()
    assert place in str(caught.value)
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize(
    ("eas", "devices", "place"),
    [
        (b"<html>", None, "JSON is malformed"),
        (b'{"error": "x"}', None, "none of registeredAllowedDevices"),
        (b'{"registeredAllowedDevices": [{"deviceId": ["A"]}]}', None, "deviceId"),
        (b'{"registeredAllowedDevices": [{}]}', None, "deviceId"),
        (b'{"registeredAllowedDevices": "all of them"}', None, "registeredAllowedDevices"),
        (None, b'{"results": []}', "hasMore"),
        (None, b'{"results": [{"common.uuid": 5}], "hasMore": false}', "common.uuid"),
        (None, b'{"results": [{"common.uuid": "a", "common.status": null}], "hasMore": false}', "common.status"),
        (None, b'{"results": [], "hasMore": true}', "$.hasMore"),
    ],
)
async def test_rubbish_of_epmm_is_refused_with_its_place(
    core: EpmmServer, epmm_source: Epmm, eas: bytes | None, devices: bytes | None, place: str
) -> None:
    """From either of its calls."""
    core.faults += [passed if eas is None else rubbish(eas), passed if devices is None else rubbish(devices)]
    with pytest.raises(LinkRefusedError) as caught:
        await epmm_source.everything()
    assert place in str(caught.value)


async def test_an_answer_without_end_is_cut(both: tuple[Vendor, Source], monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes."""
    server, source = both
    for module, name in ((epmm, "EAS_BYTES"), (intune, "PAGE_BYTES")):
        monkeypatch.setattr(module, name, 10_000)
    if isinstance(server, GraphServer):
        server.faults.append(passed)
    server.faults.append(rubbish(b" " * 10_001))
    with pytest.raises(LinkRefusedError, match="an answer of more than 10000 bytes"):
        await source.everything()


async def test_a_list_without_end_is_cut(both: tuple[Vendor, Source], monkeypatch: pytest.MonkeyPatch) -> None:
    """In rows."""
    server, source = both
    for module in (epmm, intune):
        monkeypatch.setattr(module, "ROWS", 3)
    assert isinstance(server, EpmmServer | GraphServer)
    for number in range(4):
        if isinstance(server, EpmmServer):
            server.put(f"more{number}", f"user{number}", "registeredAllowedDevices")
        else:
            server.put(f"more{number}", f"user{number}@lab.test")
    with pytest.raises(LinkRefusedError, match=r"more than the 3 devices|at most 3 are taken"):
        await source.everything()


async def test_a_first_contact_asks_graph_for_its_users_devices_alone(
    graph: GraphServer, intune_source: Intune
) -> None:
    """A name with a quote in it is quoted, and a name that is none of Intune's is not asked for."""
    graph.put("phone2", "o'neil@lab.test")
    graph.put("phone3", "carl@lab.test")
    found = await intune_source.find(msgspec.structs.replace(CONTACT, principal="o'neil@lab.test"))
    assert list(found.entries) == [DeviceKey("PHONE2", "o'neil@lab.test")]
    before = len(graph.requests)
    assert (await intune_source.find(msgspec.structs.replace(CONTACT, principal="anna"))).entries == {}
    assert len(graph.requests) == before


async def test_a_filter_that_graph_passes_over_is_seen(graph: GraphServer, intune_source: Intune, time: Time) -> None:
    """What comes is looked at, whoever it is of; and a list without end is not read for one device."""
    graph.filters = False
    graph.put("phone2", "bert@lab.test")
    assert ANNA in (await intune_source.find(CONTACT)).entries
    graph.page_rows = 1
    for number in range(5):
        graph.put(f"more{number}", f"user{number}@lab.test")
    time.now += intune.FRESH_SECONDS
    with pytest.raises(LinkRefusedError, match="more than 3 pages"):
        await intune_source.find(CONTACT)


async def test_first_contacts_of_one_user_are_one_question_to_graph(
    graph: GraphServer, intune_source: Intune, time: Time
) -> None:
    """Who has one password and invents devices does not get a tenant throttled, and all others with it."""
    for number in range(20):
        await intune_source.find(msgspec.structs.replace(CONTACT, device_id=f"INVENTED{number}"))
    asked = len(graph.requests)
    assert ANNA in (await intune_source.find(CONTACT)).entries
    assert (await intune_source.find(msgspec.structs.replace(CONTACT, principal="bert@lab.test"))).entries == {}
    assert (asked, len(graph.requests)) == (2, 3)  # the token is the first
    time.now += intune.FRESH_SECONDS
    graph.put("phone2", "anna@lab.test")
    assert len((await intune_source.find(CONTACT)).entries) == 2
    await intune_source.everything()
    graph.put("phone3", "anna@lab.test")
    assert len((await intune_source.find(CONTACT)).entries) == 3


async def test_first_contacts_of_many_devices_are_one_list_of_epmm(
    core: EpmmServer, epmm_source: Epmm, time: Time
) -> None:
    """Who invents devices does not get it asked more often than at its interval."""
    for _ in range(20):
        await epmm_source.find(CONTACT)
    assert len(core.asked("eas")) == 1
    time.now += epmm.FRESH_SECONDS
    await epmm_source.find(CONTACT)
    assert len(core.asked("eas")) == 2
