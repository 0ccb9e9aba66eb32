"""A UEM that is only called: port 9090 is closed to everybody, and what is set at the Cloud is not set here."""

from collections.abc import Callable
from typing import Any

import pytest

from appliance.features import FEATURES, flows, uem
from appliance.features.base import Flow, Tree
from appliance.features.firewall import ruleset
from appliance.features.gateway import settings
from appliance.plan import InvalidError
from appliance.render import render_all

from .test_uem_core import AUTHORITY, rules_on

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
CLOUD: dict[str, Any] = {"mode": "cloud", "url": "https://cloud.example.com", "authorities": AUTHORITY}


def cloud(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """The lab with such a UEM; None takes a setting out."""

    def change(tree: dict[str, Any]) -> None:
        tree["uem"] = {name: value for name, value in {**CLOUD, **changes}.items() if value is not None}

    return change


def test_9090_is_closed_and_the_agent_alone_goes_out(lab_with: LabWith) -> None:
    """No rule lets anybody in there, and the agent has no listener for it."""
    tree = lab_with(cloud())
    assert uem.flows(tree) == (Flow("uem", "out", "tcp", 443, "management", (), "sentry-agent"),)
    text = ruleset(tree, flows(tree))
    assert rules_on(443, text)
    assert rules_on(9090, text) == []
    assert settings(tree).agent.uem.push_tls is None


def test_the_agents_settings_have_the_three_schedules(lab_with: LabWith) -> None:
    """The UEM's authorities alone are trusted; the UEM in the box is not started."""
    tree = lab_with(cloud(check_ins={"actions_seconds": 30}))
    made = settings(tree)
    link = made.agent.uem
    assert made.uem_server is None
    assert (link.mode, link.url, link.tls.trust) == ("cloud", "https://cloud.example.com", uem.AUTHORITIES)
    seconds = link.check_ins
    assert (seconds.compliance_seconds, seconds.actions_seconds, seconds.inventory_seconds) == (60.0, 30.0, 900.0)
    files = render_all(tree, FEATURES)
    assert files[uem.AUTHORITIES].text.strip() == AUTHORITY.strip()
    assert uem.EMBEDDED not in files


@pytest.mark.parametrize(
    ("changes", "path", "found"),
    [
        ({"url": None}, "uem.url", "nothing"),
        ({"authorities": None}, "uem.authorities", "nothing"),
        ({"addresses": ["10.98.2.40/32"]}, "uem.addresses", "something"),
        ({"push_subject": "CN=uem"}, "uem.push_subject", "something"),
        ({"fail_mode": "allow"}, "uem.fail_mode", "allow"),
        ({"policies": {"strict": {"device_password_enabled": True}}}, "uem.policies", "some"),
        ({"check_ins": {"actions_seconds": 5}}, "uem.check_ins.actions_seconds", "5"),
    ],
)
def test_what_does_not_fit_the_mode_is_refused(
    lab_with: LabWith, changes: dict[str, Any], path: str, found: str
) -> None:
    """Nothing is silently without effect."""
    with pytest.raises(InvalidError) as caught:
        lab_with(cloud(**changes))
    assert (path, found) in [(problem.path, problem.found) for problem in caught.value.problems]
