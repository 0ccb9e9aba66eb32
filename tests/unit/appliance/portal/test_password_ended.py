"""A person at the portal whose password is older than it may be: one page, and the portal once there is a new one."""

import pytest

from appliance.configd.ages import DAY
from appliance.configd.passwords import hashed
from tests.unit.appliance.portal.stage import Person, Stage, seen
from tests.unit.appliance.workbench import PASSWORDS

NEW = "Albert-Secret-5678"


def typed(own: str = PASSWORDS["albert"], new: str = NEW, again: str = NEW) -> dict[str, str]:
    """The form."""
    return {"own_password": own, "new_password": new, "new_password_again": again}


async def after(stage: Stage, days: float) -> Person:
    """Albert has logged in, whose password was set so long ago and lives for sixty days."""
    held = stage.site.running()
    users = {**held["users"], "password_policy": {**held["users"]["password_policy"], "lifetime_days": 60}}
    account = {**users["accounts"]["albert"], "password_hash": stage.site.vault.keep(hashed(PASSWORDS["albert"]))}
    users["accounts"] = {**users["accounts"], "albert": account}
    stage.site.commit({**held, "users": users})
    stage.site.clock.now += days * DAY
    person = await stage.person()
    await person.get("/login")
    await person.post("/login", {"user": "albert", "password": PASSWORDS["albert"]})
    assert (person.status, person.place) == (303, "/")
    return person


@pytest.fixture
async def albert(stage: Stage) -> Person:
    """On the day on which it has ended."""
    return await after(stage, 60)


async def test_every_page_leads_to_the_one_until_a_new_password_is_set(stage: Stage, albert: Person) -> None:
    for path in ("/", "/people", "/facts", "/logs/stream?which=nothing"):
        await albert.get(path)
        assert (albert.status, albert.place) == (303, "/password"), path
    await albert.get("/password")
    assert albert.status == 200
    assert "albert, your password is older than it may be" in albert.text
    fields = {one["name"] for one in seen(albert.page).all("input")}
    assert fields == {"token", "own_password", "new_password", "new_password_again"}
    await albert.send("/password", typed())
    assert albert.status == 200
    assert "Your password is set" in albert.text
    assert (await albert.get("/people")).status == 200
    assert (await albert.get("/password")).place == "/people"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (typed(own="guess"), "Your own password is not right."),
        (typed(again="another"), "The two passwords are not the same."),
        (typed(new="short", again="short"), "shorter than 15 characters"),
        (typed(own=""), "given again within"),
    ],
)
async def test_what_is_wrong_is_said_there_and_repeats_nothing(
    albert: Person, form: dict[str, str], words: str
) -> None:
    await albert.get("/password")
    await albert.post("/password", form)
    assert albert.status == 422
    assert words in albert.text
    assert not [one for one in seen(albert.page).all("input") if one.get("value") and one["name"] != "token"]
    assert (await albert.get("/people")).place == "/password"


async def test_who_is_in_when_it_ends_is_led_there_too(stage: Stage) -> None:
    person = await after(stage, 59.9)
    assert (await person.get("/facts")).status == 200
    stage.site.clock.now += DAY
    stage.site.ticks.now += 61
    stage.site.gate.tick()
    await person.get("/people")  # where configd says no more than that the password has ended
    assert (await person.get("/people")).place == "/password"
    assert (await person.get("/password")).status == 200


async def test_who_cannot_set_one_by_a_fault_of_the_machine_finds_the_portal_open(stage: Stage, albert: Person) -> None:
    await albert.get("/password")
    journal = stage.site.folder / "config" / "journal.json"
    journal.mkdir()  # nothing can be written there
    await albert.post("/password", typed())
    journal.rmdir()
    assert (albert.status, albert.place) == (303, "/")
    assert "Your password stays as it is" in (await albert.get("/")).text
    assert (await albert.get("/people")).status == 200


async def test_it_can_be_left_by_logging_out(albert: Person) -> None:
    await albert.get("/password")
    await albert.post("/logout")
    assert (albert.status, albert.place) == (303, "/login")
    assert (await albert.get("/password")).place == "/login"


async def test_in_the_last_week_the_first_page_says_so_once(stage: Stage) -> None:
    person = await after(stage, 54)
    said = "your password ends in 6 days; set a new one before that"
    assert said in (await person.get("/")).text
    assert said not in (await person.get("/")).text


async def test_people_whose_password_has_not_ended_have_no_such_page(stage: Stage) -> None:
    olga = await stage.person("olga")
    assert (await olga.get("/password")).place == "/people"
