"""The pages made by hand: devices, services, certificates, people, power, logs."""

import os
import re
from typing import Any

import pytest

from appliance.configd import api
from appliance.configd.client import Refused
from appliance.configd.sessions import Peer
from sentry_runtime import control
from sentry_runtime.devices.record import State
from tests.unit.appliance.portal.stage import Person, Stage, devices, seen
from tests.unit.appliance.workbench import PASSWORDS

OWN = {"own_password": "Alice-Secret-12345"}
BLOCKED = "PHONE000003"
USER = "user00003@example.test"
CERTIFICATES = api.Table(
    title="certificates",
    columns=("certificate", "use", "made by", "subject", "issuer", "names", "ends", "days left", "SHA-256"),
    rows=(("portal", "requested", "", "CN=gw1", "", "", "", "", ""),),
)
REQUEST = "-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----"


def found(person: Person) -> list[str]:
    """The device ids of the table."""
    return re.findall(r'<th scope="row"><a href="/devices/one[^"]*">([^<]+)</a>', person.page)


async def test_devices_are_searched_by_text_and_state_and_paged(stage: Stage) -> None:
    stage.site.devices = devices(200)
    olga = await stage.person("olga")
    await olga.get("/devices?text=USER0000&state=blocked")
    assert found(olga) == [BLOCKED]
    await olga.get("/devices?state=allowed")
    first = found(olga)
    following = next(one["href"] for one in seen(olga.page).all("a") if one.get("id") == "next")
    assert following is not None
    await olga.get(following)
    assert len(first) == len(found(olga)) == 50
    assert max(first) < min(found(olga))
    await olga.get("/devices?text=nobody-of-that-name")
    assert "No device like this" in olga.text


async def test_an_operator_sees_why_a_device_is_blocked_and_allows_it(stage: Stage) -> None:
    stage.site.devices = devices(20)
    olga = await stage.person("olga")
    await olga.get(f"/devices/one?device={BLOCKED}&user={USER}")
    assert "block : out_of_contact" in olga.text.replace("block:", "block :")
    await olga.send("/devices/act", {"device": BLOCKED, "user": USER, "action": "allow", "note": "seen at the desk"})
    assert f"{BLOCKED} of {USER} is allowed." in olga.text
    order = next(one for one in stage.site.orders if isinstance(one, control.SetState))
    assert (order.device_id, order.principal, order.state) == (BLOCKED, USER, State.ALLOWED)
    assert (order.note, order.by) == ("seen at the desk", "olga")


async def test_a_wipe_asks_for_the_device_id_and_for_the_password(stage: Stage) -> None:
    stage.site.devices = devices(20)
    olga = await stage.person("olga")
    wipe = {"device": BLOCKED, "user": USER, "action": "wipe"}
    await olga.post("/devices/act", {**wipe, "typed": "PHONE"})
    assert (olga.status, "Nothing was done" in olga.text) == (422, True)
    await olga.post("/devices/act", {**wipe, "typed": BLOCKED})
    assert (olga.status, "once more" in olga.text) == (403, True)
    assert not any(isinstance(one, control.OrderWipe) for one in stage.site.orders)
    again = {**wipe, "typed": seen(olga.page).value("typed") or "", "own_password": "Olga-Secret-123456"}
    await olga.send("/devices/act", again)
    assert "The wipe is ordered" in olga.text
    order = next(one for one in stage.site.orders if isinstance(one, control.OrderWipe))
    assert (order.device_id, order.principal, order.by) == (BLOCKED, USER, "olga")


async def test_an_auditor_sees_no_button_and_gets_nowhere_without_one(stage: Stage) -> None:
    stage.site.devices = devices(20)
    albert = await stage.person("albert")
    await albert.get(f"/devices/one?device={BLOCKED}&user={USER}")
    forms = [one["action"] for one in seen(albert.page).all("form")]
    assert forms == ["/logout"]
    await albert.get("/settings/ntp")
    assert [one["action"] for one in seen(albert.page).all("form") if one["action"] != "/logout"] == ["/settings/ntp"]
    assert all("disabled" in one for one in seen(albert.page).all("input") if (one.get("name") or "").startswith("f."))
    assert "Save to candidate" not in albert.page


async def test_services_are_restarted_by_operators_and_stopped_by_administrators(stage: Stage) -> None:
    row = ("sentry-gateway.service", "active", "running", "enabled", "0")
    columns = ("unit", "state", "detail", "at boot", "restarts")
    stage.site.topics["services"] = api.Table(title="services", columns=columns, rows=(row,))
    olga, alice = await stage.person("olga"), await stage.person("alice")
    await olga.get("/services")
    assert ("Restart gateway" in olga.page, "Stop gateway" in olga.page) == (True, False)
    await olga.send("/services/control", {"service": "gateway", "action": "stop"})
    assert "the role operator may not do this" in olga.text
    await alice.send("/services/control", {"service": "gateway", "action": "restart"})
    assert "gateway: restart: unit sentry-gateway.service" in alice.text
    assert "restart -- sentry-gateway.service" in " ".join(stage.site.commands.acted())
    await alice.post("/services/control", {"service": "ssh", "action": "stop"})
    assert alice.status == 400


async def test_what_takes_the_service_from_devices_asks_for_the_password_again(stage: Stage) -> None:
    alice = await stage.person("alice")
    for path, fields in (
        ("/services/control", {"service": "gateway", "action": "stop"}),
        ("/services/maintain", {"action": "drain"}),
    ):
        before = stage.site.commands.acted()
        await alice.post(path, fields)
        assert (alice.status, "your password" in alice.text) == (403, True), path
        assert stage.site.commands.acted() == before
    await alice.post("/services/control", {"service": "gateway", "action": "stop", "own_password": PASSWORDS["alice"]})
    assert "stop -- sentry-gateway.service" in " ".join(stage.site.commands.acted())


async def test_an_account_is_added_with_a_password_in_one_candidate_or_not_at_all(stage: Stage) -> None:
    alice = await stage.person("alice")
    good = {"user": "eve", "role": "operator", "full_name": "Eve", **OWN}
    new = {"new_password": "Eve-Secret-1234567", "new_password_again": "Eve-Secret-1234567"}
    await alice.post("/people/add", {**good, **new, "new_password_again": "another"})
    assert "The two passwords are not the same" in alice.text
    await alice.post("/people/add", {**good, "new_password": "short", "new_password_again": "short"})
    assert "The password is shorter than 15 characters" in alice.text
    assert seen(alice.page).value("full_name") == "Eve"
    assert "not committed" not in alice.text
    await alice.send("/people/add", {**good, **new})
    assert "eve is in your candidate" in alice.text
    assert not any("Eve-Secret" in page for page in (alice.page,))
    await alice.send("/changes/commit", {"how": "now", "comment": "eve", **OWN})
    assert stage.site.running()["users"]["accounts"]["eve"]["role"] == "operator"
    await alice.post("/people/add", {**good, **new})
    assert "which is taken" in alice.text


async def test_a_password_is_set_only_with_ones_own_and_is_never_shown(stage: Stage) -> None:
    alice = await stage.person("alice")
    new = {"user": "olga", "new_password": "Olga-Secret-777777", "new_password_again": "Olga-Secret-777777"}
    await alice.post("/people/password", new)
    assert alice.status == 422
    await alice.post("/people/password", {**new, "own_password": "wrong"})
    assert "Your own password is not right." in alice.text
    assert "Olga-Secret-777777" not in alice.page
    await alice.send("/people/password", {**new, **OWN})
    assert "The password of olga is in your candidate" in alice.text
    await alice.get("/changes")
    assert "Olga-Secret-777777" not in alice.page
    assert "users.accounts.olga.password_hash not set ********" in alice.text


async def test_an_auditor_sets_their_own_password(stage: Stage) -> None:
    albert = await stage.person("albert")
    new = {"new_password": "Albert-Secret-5678", "new_password_again": "Albert-Secret-5678"}
    await albert.post("/people/own", new)
    assert albert.status == 422
    await albert.send("/people/own", {**new, "own_password": "Albert-Secret-1234"})
    assert "Your password is set" in albert.text
    assert "password_hash" in stage.site.running()["users"]["accounts"]["albert"]


async def test_a_request_is_downloaded_and_nothing_but_a_service_is_asked_for(stage: Stage) -> None:
    stage.site.topics["certificates"] = CERTIFICATES
    alice = await stage.person("alice")
    await alice.get("/certificates")
    assert "Download the request of portal" in alice.text
    stage.site.topics["certificates"] = api.Facts(title="x", facts=(("request (PKCS #10)", REQUEST),))
    async with alice.http.get(f"{stage.url}/certificates/request?service=portal") as answer:
        assert (await answer.text(), answer.content_type) == (f"{REQUEST}\n", "application/pkcs10")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="portal.csr.pem"'
    for service in ("../../etc/passwd", "portal\r\nX: y", ""):
        async with alice.http.get(f"{stage.url}/certificates/request", params={"service": service}) as answer:
            assert answer.status == 400


async def test_an_upload_that_is_no_certificate_is_told_so_and_typed_no_second_time(stage: Stage) -> None:
    alice = await stage.person("alice")
    typed = {"service": "gateway", "certificate": "not a certificate", "moment": "2027-01-31T18:00Z", **OWN}
    await alice.post("/certificates/upload", typed)
    assert alice.status == 422
    assert "certificates.servers.gateway.certificate: found" in alice.text
    assert "not a certificate</textarea>" in alice.page
    assert seen(alice.page).value("moment") == "2027-01-31T18:00Z"


async def test_the_machine_is_turned_off_only_with_the_word_and_the_password(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await stage.person("alice")
    await alice.post("/power", {"action": "poweroff", "typed": "yes", **OWN})
    assert (alice.status, "Nothing was done" in alice.text) == (422, True)
    await alice.post("/power", {"action": "poweroff", "typed": "poweroff"})
    assert (alice.status, "once more" in alice.text) == (403, True)
    assert not any("poweroff" in line for line in stage.site.commands.acted())
    await alice.send("/power", {"action": "poweroff", "typed": "poweroff", **OWN})
    assert "--no-block poweroff" in stage.site.commands.acted()


async def test_a_log_is_filtered_newest_first_and_followed_without_keeping_the_session(stage: Stage) -> None:
    stage.site.topics["log"] = api.Text(title="log", lines=("one: alice", "two: bob", "three: alice"))
    albert = await stage.person("albert")
    await albert.get("/logs?text=ALICE&follow=1")
    lines = re.search(r'<pre class="lines" tabindex="0" id="lines">(.*?)</pre>', albert.page, re.DOTALL)
    assert lines is not None
    assert lines[1].split("\n")[:2] == ["three: alice", "one: alice"]
    (refresh,) = [one["content"] or "" for one in seen(albert.page).all("meta") if one.get("http-equiv") == "refresh"]
    live = refresh.partition("url=")[2]
    assert "live=1" in live
    for _ in range(16):
        stage.site.ticks.now += 60
        await albert.get(live)
    assert (albert.status, albert.place) == (303, "/login")


async def test_the_dashboard_shows_counts_and_what_cannot_be_had(stage: Stage) -> None:
    stage.site.devices = devices(100)
    facts = (("state", "running"), ("allowed", "18231"), ("blocked", "912"))
    stage.site.topics["gateway"] = api.Facts(title="gateway", facts=facts)
    albert = await stage.person("albert")
    charts = [one.get("aria-label") for one in seen(albert.page).all("svg")]
    assert charts == [
        "Requests: allowed 18231, blocked 912",
        "Devices: allowed 88, blocked 10, wipe pending 2, wiped 0",
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [(("backends", "servers", "mail", "host"), "elsewhere.example.com"), (("uem", "devices_per_mailbox"), 7)],
)
async def test_where_log_ins_go_and_who_decides_is_not_changed_without_the_password(
    stage: Stage, path: api.Path, value: Any
) -> None:
    """Else whoever holds the portal would have devices' passwords sent to a server of theirs."""
    peer = Peer(os.getuid(), 1, 1)
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="127.0.0.1")
    handle = stage.site.say(peer, login, api.Session).handle
    stage.site.say(peer, api.SetConfig(session=handle, path=path, value=value))
    with pytest.raises(Refused) as caught:
        stage.site.say(peer, api.Commit(session=handle))
    assert caught.value.refusal.kind == "privilege"
    stage.site.say(peer, api.Reauthenticate(session=handle, password=PASSWORDS["alice"]))
    assert stage.site.say(peer, api.Commit(session=handle), api.Committed).changed
