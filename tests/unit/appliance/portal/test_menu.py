"""The menu: groups in one line, the pages of the one that is shown in a second, and no page that is in neither."""

import pytest

from appliance.portal.pages import ADMINISTRATORS_ONLY, MENU, menu
from tests.unit.appliance.portal.stage import Stage, seen

MOST_GROUPS = 8  # one line of a desk's screen


def here(where: str, role: str = "administrator") -> tuple[list[str], list[str]]:
    """The words of the group and of the page that are marked."""
    shown = menu(where, role)
    return [one.label for one in shown.groups if one.here], [one.label for one in shown.pages if one.here]


@pytest.mark.parametrize(
    ("where", "group", "page"),
    [
        ("/", ["Dashboard"], []),
        ("/devices/one", ["Devices"], []),
        ("/settings/ntp", ["Settings"], ["Settings"]),
        ("/changes", ["Settings"], ["Settings"]),
        ("/revisions/compare", ["Settings"], ["Revisions"]),
        ("/stig", ["Compliance"], ["Scan"]),
        ("/compliance", ["Compliance"], ["What the rules look at"]),
        ("/card", [], []),
    ],
)
def test_one_group_and_one_page_are_marked(where: str, group: list[str], page: list[str]) -> None:
    assert here(where) == (group, page)


def test_a_group_leads_to_the_first_page_that_its_person_may_see() -> None:
    assert len(MENU) <= MOST_GROUPS
    pages = [place for _label, listed in MENU for place, _words in listed]
    assert len(pages) == len(set(pages))
    assert set(pages) >= ADMINISTRATORS_ONLY
    for role in ("administrator", "operator", "auditor"):
        shown = menu("/people", role)
        assert [one.place for one in shown.groups] == [listed[0][0] for _label, listed in MENU]
        assert ("/tokens" in [one.place for one in shown.pages]) == (role == "administrator")


async def test_the_page_that_is_shown_is_said_to_who_does_not_see_it(stage: Stage) -> None:
    alice = await (await stage.person("alice")).get("/logs")
    current = [(one["href"], one["aria-current"]) for one in seen(alice.page).all("a") if one.get("aria-current")]
    assert current == [("/logs", "true"), ("/logs", "page")]
