"""Log servers: what is sent to whom and how, that nothing here depends on them, and what is refused."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.features import flows, syslog
from appliance.features.base import Flow, Tree
from appliance.features.syslog import AUDIT_RULES, CONFIGURATION, KINDS, LEVELS
from appliance.plan import InvalidError

from .conftest import MATERIAL

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
AUTHORITY = (MATERIAL / "authority.pem").read_text()
TLS = {"address": "192.0.2.9", "peer_name": "siem.example.com", "ca_certificates": AUTHORITY}
PLAIN = {"address": "192.0.2.9", "port": 514, "protocol": "tcp"}


@pytest.fixture
def with_servers(lab_with: LabWith) -> Callable[..., Tree]:
    """The lab with these log servers and no others."""
    return lambda **servers: lab_with(lambda tree: tree.update(syslog={"servers": servers}))


def text(tree: Tree, path: str = CONFIGURATION) -> str:
    """What is rendered at `path`."""
    return syslog.render(tree)[path].text


def action(tree: Tree, name: str) -> dict[str, str]:
    """The parameters of the action for one server."""
    inner = re.search(rf'ruleset\(name="to_{name}"\) \{{(.*?)\n\}}', text(tree), re.DOTALL)
    assert inner is not None
    return {key.lower(): value for key, value in re.findall(r'([\w.]+)="([^"]*)"', inner[1])}


def test_without_a_server_nothing_is_rendered_and_nobody_is_dialled(with_servers: Callable[..., Tree]) -> None:
    """Neither files nor flows; a server that is disabled counts as none."""
    for tree in (with_servers(), with_servers(off={**TLS, "enabled": False})):
        assert syslog.render(tree) == {}
        assert [flow for flow in flows(tree) if flow.feature == "syslog"] == []


def test_tls_knows_the_server_by_its_name_and_speaks_1_2(with_servers: Callable[..., Tree]) -> None:
    """The anchors are this server's own, and the name is the certificate's."""
    tree = with_servers(siem=TLS)
    found = action(tree, "siem")
    assert (found["target"], found["port"], found["protocol"]) == ("192.0.2.9", "6514", "tcp")
    assert (found["streamdriver"], found["streamdrivermode"]) == ("ossl", "1")
    assert (found["streamdriverauthmode"], found["streamdriverpermittedpeers"]) == ("x509/name", "siem.example.com")
    assert found["streamdriver.permitexpiredcerts"] == "off"
    assert found["gnutlsprioritystring"] == r"MinProtocol=TLSv1.2\nMaxProtocol=TLSv1.2"
    assert syslog.render(tree)[found["streamdriver.cafile"]].text == AUTHORITY


def test_a_server_that_is_away_holds_up_its_own_queue_only(with_servers: Callable[..., Tree]) -> None:
    """Tried for ever, bounded on the disk, kept over a restart, and never waited for."""
    found = action(with_servers(siem={**TLS, "queue_mib": 64}), "siem")
    assert (found["action.resumeretrycount"], found["queue.timeoutenqueue"]) == ("-1", "0")
    assert (found["queue.maxdiskspace"], found["queue.filename"], found["queue.saveonshutdown"]) == (
        "64m",
        "to_siem",
        "on",
    )
    assert int(found["queue.lowwatermark"]) < int(found["queue.highwatermark"]) < int(found["queue.size"])


def test_without_tls_there_is_no_certificate_and_udp_has_no_frames(with_servers: Callable[..., Tree]) -> None:
    """RFC 6587's octet counts are for streams."""
    tcp = action(with_servers(one=PLAIN), "one")
    udp = action(with_servers(one={**PLAIN, "protocol": "udp"}), "one")
    assert not [key for key in (*tcp, *udp) if key.startswith("streamdriver")]
    assert (tcp["tcp_framing"], "tcp_framing" in udp, udp["protocol"]) == ("octet-counted", False, "udp")


@given(
    kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, unique=True),
    level=st.sampled_from(LEVELS),
)
def test_each_kind_goes_where_it_is_wanted_and_the_audit_trail_whole(kinds: list[str], level: str) -> None:
    """The level limits what is not audited; whoever does not want the trail has no way from its ruleset."""
    tree = {
        "hostname": "gateway.lab.test",
        "syslog": {
            "servers": {
                "siem": {
                    "address": "192.0.2.9", "port": 514, "protocol": "tcp", "zone": "management", "facilities": kinds,
                    "level": level, "enabled": True, "queue_mib": 16,
                }
            },
            "tls": {"minimum": "1.2", "maximum": "1.2"},
        },
    }  # fmt: skip
    rendered = syslog.render(tree)
    calls = re.findall(r"^if (.*) then call to_siem$", rendered[CONFIGURATION].text, re.MULTILINE)
    others = [kind for kind in KINDS if kind in kinds and kind != "audit"]
    wanted = ['$.kind == "audit"'] if "audit" in kinds else []
    if others:
        listed = '", "'.join(others)
        wanted.append(f'$.kind == ["{listed}"] and $syslogseverity <= {LEVELS.index(level)}')
    assert calls == wanted
    assert (AUDIT_RULES in rendered) == ("audit" in kinds)
    assert ("imfile" in rendered[CONFIGURATION].text) == ("audit" in kinds)


def test_the_trails_rules_call_rulesets_that_are_there(trees: dict[str, Tree]) -> None:
    """They are read inside another file's ruleset, where rsyslog's own check does not see them together."""
    for tree in trees.values():
        called = re.findall(r"^call (\S+)$", text(tree, AUDIT_RULES), re.MULTILINE)
        assert called
        assert all(f'ruleset(name="{name}")' in text(tree) for name in called)


def test_rsyslogs_account_alone_may_dial_the_servers(with_servers: Callable[..., Tree]) -> None:
    """By address where it is known, in the server's zone."""
    tree = with_servers(a=TLS, b={**PLAIN, "address": "mail.lab.test", "zone": "backend", "protocol": "udp"})
    assert [flow for flow in flows(tree) if flow.feature == "syslog"] == [
        Flow("syslog", "out", "tcp", 6_514, "management", ("192.0.2.9",), "sentry-log"),
        Flow("syslog", "out", "udp", 514, "backend", ("10.98.3.10",), "sentry-log"),
    ]


@pytest.mark.parametrize(
    ("servers", "path", "found", "allowed"),
    [
        ({"s": {"address": "192.0.2.9"}}, "s.ca_certificates", "nothing", "without anchors"),
        ({"s": {**PLAIN, "ca_certificates": AUTHORITY}}, "s.ca_certificates", "something", "protocol tcp"),
        ({"s": {**PLAIN, "peer_name": "a.example"}}, "s.peer_name", "something", "no certificate"),
        ({"s": {**PLAIN, "zone": "device"}, "t": PLAIN}, "t.address", "where s is already", "every server once"),
        ({"s": {**PLAIN, "facilities": ["mail"]}}, "s.facilities.0", "'mail'", "audit"),
        ({"s": {**PLAIN, "facilities": []}}, "s.facilities", "[]", "1 to 5 items"),
        ({"s": {**PLAIN, "level": "verbose"}}, "s.level", "'verbose'", "emerg"),
        ({"s": {**PLAIN, "protocol": "relp"}}, "s.protocol", "'relp'", "tls, tcp, udp"),
        ({"s": {**PLAIN, "queue_mib": 8}}, "s.queue_mib", "8", "from 16 to 4096"),
        ({"s": {**PLAIN, "address": 'x" action(type="omprog'}}, "s.address", "omprog", "DNS name"),
        ({"S p": PLAIN}, "S p", "the name 'S p'", "beginning with a letter"),
        ({f"s{number}": {**PLAIN, "port": number} for number in range(1, 6)}, "", "s1", "0 to 4 settings"),
    ],
)
def test_a_server_that_would_not_work_is_refused(
    servers: dict[str, Any], path: str, found: str, allowed: str, with_servers: Callable[..., Tree]
) -> None:
    """At the setting, with what is allowed."""
    with pytest.raises(InvalidError) as refused:
        with_servers(**servers)
    problem = refused.value.problems[0]
    assert problem.path == f"syslog.servers.{path}".rstrip(".")
    assert found in problem.found
    assert allowed in problem.allowed


def test_an_address_needs_the_name_of_its_certificate(with_servers: Callable[..., Tree]) -> None:
    """A name is its own."""
    assert action(with_servers(s={**TLS, "address": "logs.example.com"}), "s")["streamdriverpermittedpeers"] == (
        "siem.example.com"
    )
    named = {name: value for name, value in TLS.items() if name != "peer_name"}
    assert action(with_servers(s={**named, "address": "logs.example.com"}), "s")["streamdriverpermittedpeers"] == (
        "logs.example.com"
    )
    with pytest.raises(InvalidError, match=r"peer_name: found nothing; allowed: a DNS name"):
        with_servers(s=named)
