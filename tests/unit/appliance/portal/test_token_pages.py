"""The page of API tokens: issued with one's own password, shown once, revoked, and told apart from what is not allowed."""

import re

from appliance.configd import api
from appliance.configd.tokens import TOKEN
from tests.unit.appliance.portal.stage import Stage, seen

OWN = {"own_password": "Alice-Secret-12345"}
FLEET = {"name": "fleet", "role": "operator", "days": "7", "networks": "192.0.2.0/24, 2001:db8::/64"}


def kept(stage: Stage) -> list[str]:
    """The names of the tokens that configd has."""
    return [one.name for one in stage.site.gate._tokens._tokens.all()]


async def test_one_is_issued_with_ones_own_password_and_shown_once(stage: Stage) -> None:
    alice = await stage.person("alice")
    await alice.get("/tokens")
    assert "None" in alice.text
    await alice.post("/tokens/issue", [*FLEET.items(), ("scope", "read"), ("scope", "devices"), *OWN.items()])
    token = re.search(r'id="new-token">([^<]+)<', alice.page)
    assert alice.status == 200
    assert token is not None
    assert TOKEN.fullmatch(token[1])
    (held,) = stage.site.gate._tokens._tokens.all()
    assert (held.name, held.role, held.scopes, held.made_by) == ("fleet", "operator", ("devices", "read"), "alice")
    assert held.networks == ("192.0.2.0/24", "2001:db8::/64")
    assert held.expires - held.made == 7 * 86_400
    assert stage.site.gate._tokens._tokens.find(token[1], "192.0.2.7", {"alice"}) == held
    await alice.get("/tokens")
    assert token[1] not in alice.page
    assert "fleet operator devices, read 192.0.2.0/24, 2001:db8::/64 alice" in alice.text
    audit = [one for one in stage.site.ledger.entries if one.event == "token.create"]
    assert [(one.user, one.result, one.path) for one in audit] == [("alice", "ok", "fleet operator read devices")]
    assert not any(token[1] in str(one) for one in stage.site.ledger.entries)


async def test_without_the_password_or_with_a_wrong_one_none_is_issued_and_what_was_typed_stays(stage: Stage) -> None:
    alice = await stage.person("alice")
    form = [*FLEET.items(), ("scope", "devices")]
    await alice.post("/tokens/issue", form)
    assert (alice.status, "your password" in alice.text) == (422, True)
    await alice.post("/tokens/issue", [*form, ("own_password", "wrong")])
    assert (alice.status, "Your own password is not right" in alice.text) == (422, True)
    page = seen(alice.page)
    assert [page.value(name) for name in ("name", "days", "networks")] == ["fleet", "7", FLEET["networks"]]
    ticked = [one["value"] for one in page.all("input") if one.get("name") == "scope" and "checked" in one]
    assert ticked == ["devices"]
    assert kept(stage) == []


async def test_what_is_not_allowed_is_said_and_nothing_is_issued(stage: Stage) -> None:
    alice = await stage.person("alice")
    tries = (
        ({"name": "Fleet"}, "lower-case"),
        ({"role": "auditor"}, "found the scope devices"),
        ({"days": "400"}, "allowed: 1 to 365"),
        ({"days": "soon"}, "a number of days"),
        ({"networks": "192.0.2.1/24"}, "networks such as"),
        ({"networks": "10.0.0.0/8 " * 200}, "at most 1024"),
    )
    for changed, said in tries:
        await alice.post("/tokens/issue", [*({**FLEET, **changed} | OWN).items(), ("scope", "devices")])
        assert (alice.status, said in alice.text) == (422, True), alice.text
    for made_up in ({**FLEET, "role": "root"}, {**FLEET, "scope": "everything"}):
        await alice.post("/tokens/issue", made_up | OWN)
        assert alice.status == 400
    assert kept(stage) == []


async def test_one_is_revoked_with_the_password_and_one_that_is_not_there_is_said(stage: Stage) -> None:
    alice, other = await stage.person("alice"), await stage.person("alice")
    await alice.post("/tokens/issue", {**FLEET, **OWN})
    assert kept(stage) == ["fleet"]
    await other.get("/tokens")
    await other.post("/tokens/revoke", {"name": "fleet"})
    assert (other.status, "once more" in other.text) == (403, True)
    assert kept(stage) == ["fleet"]
    await other.send("/tokens/revoke", {"name": seen(other.page).value("name") or "", **OWN})
    assert (kept(stage), "The token fleet is revoked" in other.text) == ([], True)
    await other.post("/tokens/revoke", {"name": "fleet"})
    assert (other.status, "found no token" in other.text) == (422, True)


async def test_operators_and_auditors_are_not_shown_it(stage: Stage) -> None:
    for user in ("olga", "albert"):
        person = await stage.person(user)
        assert 'href="/tokens"' not in person.page
        await person.get("/tokens")
        assert person.status == 403
        await person.post("/tokens/issue", {**FLEET, **OWN})
        assert person.status == 403
    assert not [one for one in stage.site.ledger.entries if one.event == str(api.CreateToken.__struct_config__.tag)]
