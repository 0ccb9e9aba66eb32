"""The small parts: charts, the way to configd, differences."""

import asyncio
from typing import Any

from appliance.configd.api import Change, Touch
from appliance.portal import charts
from appliance.portal.changes_pages import differences
from appliance.portal.desk import CALLS, Desk
from tests.unit.appliance.portal.stage import seen


def test_a_chart_draws_a_bar_for_each_number_and_says_it_in_words() -> None:
    page = seen(charts.bars("Devices", [("allowed", 100), ("blocked", 50), ("wiped", 0)]))
    lengths = [int(one["width"] or 0) for one in page.all("rect")]
    assert lengths[0] == 2 * lengths[1]
    assert lengths[2] == 0
    assert page.all("svg")[0]["aria-label"] == "Devices: allowed 100, blocked 50, wiped 0"


def test_a_chart_of_nothing_and_of_names_that_are_markup_is_still_a_chart() -> None:
    assert seen(charts.bars("Nothing", [])).all("svg")[0]["aria-label"] == "Nothing: nothing"
    page = seen(charts.bars('"><b>', [("<script>x</script>" * 3, 1)]))
    assert {tag for tag, _one in page.elements} == {"svg", "g", "title", "text", "rect"}


async def test_the_portal_asks_configd_no_more_than_so_many_questions_at_a_time() -> None:
    """configd closes what an account opens beyond its share."""
    open_now, most, gate, full = 0, 0, asyncio.Event(), asyncio.Event()

    class Counting:
        async def call(self, _verb: Any, _result_type: Any = None) -> str:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            if open_now == CALLS:
                full.set()
            await gate.wait()
            open_now -= 1
            return "done"

    desk = Desk(Counting())
    asking = [asyncio.create_task(desk.call(Touch(session="x"))) for _ in range(3 * CALLS)]
    await full.wait()
    gate.set()
    assert await asyncio.gather(*asking) == ["done"] * 3 * CALLS
    assert most == CALLS


def test_of_a_list_only_the_items_that_differ_are_marked() -> None:
    (one,) = differences([Change(path=("ntp", "servers"), before=["a", "b"], after=["b", "c"])])
    assert (one.path, one.before, one.after) == (
        "ntp.servers",
        (("a", False), ("b", True)),
        (("b", True), ("c", False)),
    )
    (two,) = differences([Change(path=("x",), before=None, after=[{"to": "n", "via": "", "on": True}])])
    assert (two.before, two.after) == ((), (("to n, on on", False),))
    (three,) = differences([Change(path=("x",), before="", after=False)])
    assert (three.before, three.after) == ((("(empty)", False),), (("off", False),))
