"""Calls of the Cloud manner against a real TLS server that does as it is told."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from sentry_runtime.devices.record import Reason, State
from sentry_runtime.devices.tunnel import AppTunnel
from sentry_runtime.tls import client_context
from sentry_runtime.uem.api import Contact, Decision, DecisionPage
from sentry_runtime.uem.cloud import (
    CLAIMS,
    STRANGERS,
    STRANGERS_OF_USER,
    Claims,
    CloudLink,
    InventoryLostError,
    Strangers,
)
from sentry_runtime.uem.cloud_api import CANDIDATES, Candidates, CloudSettings, Inventory, Unidentified
from sentry_runtime.uem.link import LinkBusyError, LinkRefusedError
from sentry_runtime.uem.match import Criterion
from tests.agent.stage import Pki
from tests.agent.test_link import CONTACT, GOOD, ScriptedUem, port, uem

__all__ = ["port", "uem"]  # fixtures

SETTINGS = CloudSettings(fail_mode="allow", allow_unmanaged=False, licence="platinum")
REGISTERED = msgspec.structs.replace(GOOD, registered=True)
FOUND = Candidates(version=9, registered=(REGISTERED,), settings=SETTINGS)
ANNAS = Unidentified(principal=CONTACT.principal, state=State.ALLOWED)


class Site:
    """The link, and what it has heard of the Cloud's settings."""

    def __init__(self, port: int, pki: Pki) -> None:
        self.heard: list[CloudSettings] = []
        url, tls = f"https://127.0.0.1:{port}", client_context(pki.client("agent"))
        self.link = CloudLink(url, tls, 5.0, self.heard.append)


@pytest.fixture
async def site(port: int, pki: Pki) -> AsyncIterator[Site]:
    """With some seconds of patience."""
    made = Site(port, pki)
    async with made.link:
        yield made


def says(uem: ScriptedUem, message: msgspec.Struct | dict[str, Any], status: int = 200) -> None:
    """From now on this alone."""
    uem.answers.clear()
    uem.says(msgspec.json.encode(message), status)


async def test_a_contact_is_decided_here_and_the_settings_are_heard(uem: ScriptedUem, site: Site) -> None:
    """Under the number that came with the candidates."""
    says(uem, FOUND)
    decision = await site.link.contact(CONTACT)
    assert (decision.state, decision.version, decision.registered) == (State.ALLOWED, 9, True)
    assert site.heard == [SETTINGS]
    assert site.link.matches[Criterion.ACTIVESYNC_ID] == 1


@pytest.mark.shows("cloud 3")
async def test_a_users_device_without_an_id_is_the_first_that_came(uem: ScriptedUem, site: Site) -> None:
    """Asked again it still is; a second device of the user is not."""
    says(uem, Candidates(version=9, unidentified=(ANNAS,), settings=SETTINGS))
    site.link.inventory_told()
    other = msgspec.structs.replace(CONTACT, device_id="C2")
    words = [await site.link.contact(one) for one in (CONTACT, CONTACT, other)]
    assert [one.state for one in words] == [State.ALLOWED, State.ALLOWED, State.BLOCKED]
    assert words[2].reasons == (Reason.UNREGISTERED,)
    site.link.inventory_told()
    assert (await site.link.contact(other)).state is State.BLOCKED


async def test_after_a_restart_no_second_device_takes_the_place_of_the_first(uem: ScriptedUem, site: Site) -> None:
    """The list may have the first one, of which the UEM has not heard yet: before the first inventory nobody is taken for it."""
    says(uem, Candidates(version=9, unidentified=(ANNAS,), settings=SETTINGS))
    with pytest.raises(LinkRefusedError, match="before the first inventory"):
        await site.link.contact(msgspec.structs.replace(CONTACT, device_id="C2"))


def test_more_claims_than_there_is_room_for_take_nobodys_place() -> None:
    """Those that the UEM has not heard of are all kept, and no more are taken; those it has heard of go, oldest first."""
    claims = Claims()
    claims.told()
    assert all(claims.claim(f"user{number}", "C1") for number in range(CLAIMS))
    assert not claims.claim("anna", "C1")
    assert not claims.claim("user0", "C2")
    claims.told()
    assert claims.claim("anna", "C1")
    claims.told()
    assert not claims.claim("anna", "C2")
    assert claims.claim("user0", "C1")


def test_one_password_has_so_many_devices_under_all_the_domains_there_are() -> None:
    """Of a mail server that takes any domain before the user a stranger makes principals without end."""
    strangers = Strangers()
    for number in range(STRANGERS_OF_USER):
        strangers.take(f"anna@domain{number}")
    with pytest.raises(LinkRefusedError, match="200 devices"):
        strangers.take("anna@domain1000")
    strangers.take("bert@domain0")
    strangers.know([f"anna@domain{number}" for number in range(STRANGERS_OF_USER)])
    with pytest.raises(LinkRefusedError, match="200 devices"):
        strangers.take("anna")
    strangers.know(["bert"] * STRANGERS)
    strangers.take("anna")
    with pytest.raises(LinkRefusedError, match="20 devices"):
        strangers.take("bert")


async def test_before_the_licence_is_known_it_is_asked_for(uem: ScriptedUem, site: Site) -> None:
    """Which check-in comes first is not for the lack of a word to decide."""
    wiki = AppTunnel(name="Wiki", host="wiki.lab.test", port=443)
    word = msgspec.structs.replace(REGISTERED, tunnels=(wiki,))
    uem.says(msgspec.json.encode(msgspec.structs.replace(SETTINGS, licence="gold")))
    uem.says(msgspec.json.encode(DecisionPage(decisions=(word,), next=9, more=False)))
    assert (await site.link.check_in("actions", 0)).decisions == (REGISTERED,)
    assert (uem.requests, site.link.facts()["cloud_tunnels_refused"]) == (2, 1)


def changed(**changes: Any) -> dict[str, Any]:
    """The answer with this in it."""
    return {**msgspec.to_builtins(FOUND), **changes}


ONE = msgspec.to_builtins(REGISTERED)


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        (changed(version=0), "$.version"),
        (changed(surprise=1), "`surprise`"),
        (changed(registered=[ONE] * (CANDIDATES + 1)), "$.registered"),
        (changed(registered=[{**ONE, "registered": False}]), "$.registered[0]"),
        (changed(registered=[ONE, {**ONE, "state": "blocked"}]), "$.registered"),
        (changed(unregistered=[{**ONE, "registered": False, "state": "blocked"}]), "$.registered"),
        (changed(unregistered=[ONE]), "$.unregistered[0]"),
        (changed(registered=[{**ONE, "removed": True}]), "$.registered[0]"),
        (changed(registered=[ONE, {**ONE, "device_id": "c1"}]), "$.registered[1]"),
        (changed(unidentified=[{"principal": "Anna", "state": "allowed"}]), "$.unidentified[0]"),
        (changed(unidentified=[{"principal": "anna", "state": "wiped"}]), "$.unidentified[0].state"),
        (changed(settings={"fail_mode": "perhaps", "allow_unmanaged": True, "licence": "gold"}), "fail_mode"),
        (changed(settings={"fail_mode": "block", "allow_unmanaged": True, "licence": "tin"}), "licence"),
        ({"version": 9}, "`settings`"),
    ],
)
async def test_rubbish_is_refused_with_the_place(
    uem: ScriptedUem, site: Site, answer: dict[str, Any], place: str
) -> None:
    """Nothing of it counts, its settings neither."""
    says(uem, answer)
    with pytest.raises(LinkRefusedError) as caught:
        await site.link.contact(CONTACT)
    assert place in str(caught.value)
    assert site.heard == []


async def test_app_tunnels_come_as_far_as_the_licence_goes(uem: ScriptedUem, site: Site) -> None:
    """With contacts and with check-ins; the rest of a decision stands."""
    wiki = AppTunnel(name="Wiki", host="wiki.lab.test", port=443)
    word = msgspec.structs.replace(REGISTERED, tunnels=(wiki,))
    says(uem, msgspec.structs.replace(FOUND, registered=(word,)))
    assert (await site.link.contact(CONTACT)).tunnels == (wiki,)
    says(uem, msgspec.structs.replace(SETTINGS, licence="gold"))
    assert (await site.link.settings()).licence == "gold"
    says(uem, DecisionPage(decisions=(word,), next=9, more=False))
    page = await site.link.check_in("compliance", 0)
    assert page.decisions == (REGISTERED,)
    assert site.link.facts()["cloud_tunnels_refused"] == 1


async def test_an_inventory_is_confirmed_without_words_or_wanted_anew(uem: ScriptedUem, site: Site) -> None:
    """204, 409, and everything else is an error in the UEM's words."""
    inventory = Inventory(after=1, number=2)
    says(uem, {}, 204)
    await site.link.report_inventory(inventory)
    says(uem, {"title": "not what comes next"}, 409)
    with pytest.raises(InventoryLostError):
        await site.link.report_inventory(inventory)
    says(uem, {"title": "not now"}, 503)
    with pytest.raises(LinkBusyError, match="not now"):
        await site.link.report_inventory(inventory)
    says(uem, SETTINGS)
    with pytest.raises(LinkRefusedError, match="answered 200"):
        await site.link.report_inventory(inventory)


def test_the_scripted_words_are_about_the_contacts_device() -> None:
    """Else the tests above would show nothing."""
    assert isinstance(CONTACT, Contact)
    assert isinstance(GOOD, Decision)
    assert (GOOD.device_id, GOOD.principal) == (CONTACT.device_id, CONTACT.principal)
