"""Settings through the portal: found, changed, reviewed, committed, lost and found again."""

from typing import Any

from tests.unit.appliance.portal.stage import Stage, seen


async def test_a_time_server_is_added_reviewed_committed_and_kept(stage: Stage) -> None:
    alice = await stage.person("alice")
    await alice.get("/settings/ntp")
    assert [one["value"] for one in seen(alice.page).all("input") if one.get("name") == "f.servers"] == [
        "192.0.2.1",
        "192.0.2.3",
        "",
    ]
    await alice.send("/settings/ntp", [("f.servers", "192.0.2.1"), ("f.servers", "192.0.2.9"), ("do", "save")])
    assert "1 change not committed" in alice.text
    await alice.get("/changes")
    assert "ntp.servers 192.0.2.1 192.0.2.3 192.0.2.1 192.0.2.9" in alice.text
    await alice.send("/changes/commit", {"comment": "one of our own", "minutes": "5", "how": "confirm"})
    assert "Revision 2 is running." in alice.text
    assert "Unconfirmed: revision 2 by alice" in alice.text
    assert stage.site.running()["ntp"]["servers"] == ["192.0.2.1", "192.0.2.9"]
    await alice.send("/changes/keep")
    assert "The revision is kept." in alice.text
    assert "Unconfirmed" not in alice.text
    await alice.get("/revisions/compare?before=1&after=2")
    assert "ntp.servers 192.0.2.1 192.0.2.3 192.0.2.1 192.0.2.9" in alice.text


async def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(stage: Stage) -> None:
    alice = await stage.person("alice")
    typed = [("f.servers", "192.0.2.1"), ("f.servers", "not a server!"), ("do", "save")]
    await alice.post("/settings/ntp", typed)
    assert alice.status == 422
    assert "item 2: found 'not a server!'; allowed: an IPv4 or IPv6 address of one host, or a DNS name" in alice.text
    assert "not a server!" in [one.get("value") for one in seen(alice.page).all("input")]
    assert "not committed" not in alice.text


async def test_what_is_not_confirmed_in_time_is_rolled_back_and_said_so(stage: Stage) -> None:
    alice = await stage.person("alice")
    await alice.send("/settings/portal", [("f.idle_minutes", "20"), ("do", "save")])
    await alice.send("/changes/commit", {"how": "confirm", "minutes": "1"})
    assert stage.site.running()["portal"]["idle_minutes"] == 20
    stage.site.clock.now += 61
    stage.site.watch.tick()
    assert stage.site.running()["portal"]["idle_minutes"] == 15
    await alice.get("/revisions")
    assert "revision 2 was not confirmed in time: revision 1 is running again" in alice.text


async def test_who_changes_what_another_has_changed_meanwhile_is_told_and_overwrites_nothing(stage: Stage) -> None:
    alice, again = await stage.person("alice"), await stage.person("alice")
    await alice.send("/settings/portal", [("f.idle_minutes", "20"), ("do", "save")])
    await again.send("/settings/portal", [("f.idle_minutes", "30"), ("do", "save")])
    await again.send("/changes/commit", {"how": "now"})
    await alice.send("/changes/commit", {"how": "now"})
    assert alice.status == 409
    assert "Somebody else was here" in alice.text
    assert stage.site.running()["portal"]["idle_minutes"] == 30


async def test_who_changes_who_gets_in_gives_the_password_again_and_goes_on(stage: Stage) -> None:
    alice = await stage.person("alice")
    await alice.send("/settings/users?at=accounts&at=olga", [("f.role", "auditor"), ("do", "save")])
    await alice.post("/changes/commit", {"how": "now", "comment": "olga looks", "minutes": "5"})
    assert (alice.status, "once more" in alice.text) == (403, True)
    kept: dict[str, Any] = {"how": "now", "comment": "olga looks", "minutes": "5"}
    await alice.post("/changes/commit", {**kept, "own_password": "wrong"})
    assert "The password is not right." in alice.text
    assert seen(alice.page).value("comment") == "olga looks"
    await alice.send("/changes/commit", {**kept, "own_password": "Alice-Secret-12345"})
    assert "Revision 2 is running." in alice.text
    assert stage.site.running()["users"]["accounts"]["olga"]["role"] == "auditor"
