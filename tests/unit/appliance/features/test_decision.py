"""The site's rules on devices, observing, throttling and the notice: what is taken, and what the data plane gets."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Schema
from appliance.features import decision, gateway
from appliance.features.base import Feature, Tree
from appliance.features.values import minute_of
from appliance.plan import InvalidError
from sentry_runtime import settings
from sentry_runtime.gateway.site import RULES, Site, compiled
from sentry_runtime.settings import SettingsError

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]


def with_gateway(lab_with: LabWith, **fields: object) -> Tree:
    """The lab with these fields of `gateway`."""
    return lab_with(lambda tree: tree["gateway"].update(fields))


def test_rules_come_in_their_order_whatever_they_are_called(lab_with: LabWith) -> None:
    """The number decides, and the data plane gets a list that it can use."""
    tree = with_gateway(
        lab_with,
        rules={
            "a-last": {"order": 900, "action": "deny", "network": "192.0.2.0/24"},
            "b-first": {
                "order": 10,
                "action": "allow",
                "user": "LAB\\anna",
                "expires": "2026-01-31T18:00Z",
                "note": "pilot",
            },
            "c-middle": {"order": 20, "action": "deny", "device": "Appl*", "device_type": "iPhone"},
        },
    )
    found = gateway.settings(tree).gateway
    assert [rule.name for rule in found.rules] == ["b-first", "c-middle", "a-last"]
    assert found.rules[0] == settings.Rule(
        name="b-first", action="allow", user="LAB\\anna", expires="2026-01-31T18:00Z", note="pilot"
    )
    assert Site.of(found, lambda: 0.0).in_force == 3


def test_what_is_not_said_is_the_data_planes_own_default(lab_with: LabWith) -> None:
    """No rules, no observing, no notice, and throttling as the settings have it."""
    found = gateway.settings(with_gateway(lab_with)).gateway
    assert (found.rules, found.observe, found.throttle, found.block_notice) == ((), None, settings.Throttle(), "")


def test_each_setting_reaches_the_data_plane(lab_with: LabWith) -> None:
    """Throttling can be turned off, too."""
    tree = with_gateway(
        lab_with,
        observe={"until": "2026-01-31T18:00Z"},
        throttle={"requests_per_second": 2, "burst": 40, "repeats": 30, "pause_seconds": 10},
        block_notice="Call 4711",
    )
    found = gateway.settings(tree).gateway
    assert found.observe == settings.Observe(until="2026-01-31T18:00Z")
    assert found.throttle == settings.Throttle(requests_per_second=2.0, burst=40, repeats=30, pause_seconds=10.0)
    assert found.block_notice == "Call 4711"
    assert gateway.settings(with_gateway(lab_with, throttle={"enabled": False})).gateway.throttle is None


DENY = {"order": 1, "action": "deny", "device": "A"}


@pytest.mark.parametrize(
    ("fields", "where", "found", "allowed"),
    [
        ({"rules": {"Bad Name": DENY}}, "gateway.rules", "'Bad Name'", "up to 32"),
        ({"rules": {"r": {"action": "deny", "device": "A"}}}, "gateway.rules.r.order", "nothing", "from 1 to 65535"),
        ({"rules": {"r": {**DENY, "order": 0}}}, "gateway.rules.r.order", "0", "from 1 to 65535"),
        ({"rules": {"r": {**DENY, "action": "block"}}}, "gateway.rules.r.action", "'block'", "allow, deny"),
        ({"rules": {"r": {**DENY, "device": "*"}}}, "gateway.rules.r.device", "'*'", "one * behind"),
        ({"rules": {"r": {**DENY, "device": "A B"}}}, "gateway.rules.r.device", "'A B'", "without blanks"),
        ({"rules": {"r": {**DENY, "device_type": "*"}}}, "gateway.rules.r.device_type", "'*'", "one * behind"),
        ({"rules": {"r": {**DENY, "user": "a b"}}}, "gateway.rules.r.user", "'a b'", "without blanks"),
        ({"rules": {"r": {**DENY, "user": "a@"}}}, "gateway.rules.r.user", "'a@'", "user@domain"),
        (
            {"rules": {"r": {**DENY, "network": "0.0.0.0/0"}}},
            "gateway.rules.r.network",
            "'0.0.0.0/0'",
            "not everywhere",
        ),
        ({"rules": {"r": {**DENY, "network": "192.0.2.1"}}}, "gateway.rules.r.network", "'192.0.2.1'", "a network"),
        (
            {"rules": {"r": {**DENY, "expires": "tomorrow"}}},
            "gateway.rules.r.expires",
            "'tomorrow'",
            "2026-01-31T18:00Z",
        ),
        ({"rules": {"r": {**DENY, "expires": "2026-02-30T18:00Z"}}}, "gateway.rules.r.expires", "02-30", "a minute"),
        ({"rules": {"r": {**DENY, "note": "two\nlines"}}}, "gateway.rules.r.note", "two", "one line"),
        ({"rules": {"r": {"order": 1, "action": "deny"}}}, "gateway.rules.r", "none of user", "at least one"),
        ({"rules": {"a": DENY, "b": DENY}}, "gateway.rules.b.order", "1, which a has too", "of its own"),
        ({"observe": {"until": "2026-01-31"}}, "gateway.observe.until", "'2026-01-31'", "a minute in UTC"),
        ({"observe": {"on": True}}, "gateway.observe.on", "unknown setting", "until"),
        ({"throttle": {"burst": 1}}, "gateway.throttle.burst", "1", "from 20 to 10000"),
        ({"block_notice": "<b>\nno"}, "gateway.block_notice", "no", "one line"),
        ({"block_notice": "x" * 401}, "gateway.block_notice", "(403 characters)", "at most 400"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], where: str, found: str, allowed: str, lab_with: LabWith) -> None:
    """Path, what was found, what is allowed."""
    with pytest.raises(InvalidError) as refused:
        with_gateway(lab_with, **fields)
    (problem,) = refused.value.problems
    assert problem.path.startswith(where)
    assert found in problem.found
    assert allowed in problem.allowed


class Machine:
    """A machine with this time."""

    def __init__(self, now: str) -> None:
        self.now = now

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """date(1)."""
        assert (argv, stdin) == (["date", "-u", "+%s"], None)
        return f"{int(minute_of(self.now).timestamp())}\n"

    def read(self, path: str) -> str | None:
        """Nothing is read."""
        raise AssertionError(path)

    def secret(self, reference: str) -> str:
        """Nothing is revealed."""
        raise AssertionError(reference)


@pytest.mark.parametrize(
    ("until", "now", "refused"),
    [
        ("2026-01-31T18:00Z", "2026-01-01T18:00Z", False),
        ("2026-01-31T18:01Z", "2026-01-01T18:00Z", True),
        ("2027-01-01T00:00Z", "2026-01-01T18:00Z", True),
        ("2026-01-01T17:59Z", "2026-01-01T18:00Z", False),  # over: off, and no reason to refuse another change
    ],
)
def test_observing_ends_within_thirty_days(until: str, now: str, refused: bool, lab_with: LabWith) -> None:  # noqa: FBT001 - a table
    """By the clock of the machine on which it is committed."""
    tree = with_gateway(lab_with, observe={"until": until})
    problems = list(gateway.FEATURE.on_machine(tree, Machine(now)))
    assert bool(problems) is refused
    assert all("2026-01-31T18:00Z" in problem.allowed for problem in problems)


def test_without_observing_the_machine_is_not_asked(lab_with: LabWith) -> None:
    """No command runs for what is not used."""
    assert not list(gateway.FEATURE.on_machine(with_gateway(lab_with), Machine("")))


def test_yaml_that_reads_a_minute_as_a_time_is_understood(lab_with: LabWith) -> None:
    """Seconds that are none do no harm."""
    when = datetime.datetime(2026, 1, 31, 19, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    tree = with_gateway(lab_with, observe={"until": when})
    assert tree["gateway"]["observe"]["until"] == "2026-01-31T18:00Z"


def test_the_bounds_of_both_sides_agree() -> None:
    """What may be configured may be loaded."""
    assert decision.RULES == RULES


ONE_RULE = Schema((Feature(name="rule", label="Rule", schema=decision.RULE),))
texts = st.text(max_size=40) | st.text(alphabet="ab@\\. *+!é\u0390\ufb2c", max_size=12)


@given(texts, st.sampled_from(["user", "device", "device_type", "network", "expires"]))
def test_what_the_site_may_say_the_data_plane_takes(text: str, field: str) -> None:
    """And what the data plane refuses is refused at the commit, where somebody reads it."""
    checked = ONE_RULE.check({"rule": {"order": 1, "action": "deny", "device": "A", field: text}})
    held = {name: value for name, value in checked.tree.get("rule", {}).items() if name != "order"}
    try:
        compiled(settings.Rule(name="r", **held), 0)
    except (SettingsError, TypeError):
        assert checked.problems or not text.strip()
    else:
        assert checked.problems or held.get(field) == text.strip()
