"""The topics that put settings, the machine and the data plane together, and the bundle of all of them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.configd import facts
from appliance.configd.api import Text
from appliance.configd.errors import RefusedError
from appliance.configd.facts import bundle
from appliance.configd.facts.context import LINES, Context
from appliance.process import CommandError
from sentry_runtime.control import ControlError
from tests.unit.appliance.configd.shown import Box, pairs, rows
from tests.unit.appliance.workbench import ACCOUNTS, ALICE, Daemon

CANARY = "canary-7c1f"


@pytest.fixture
def box() -> Box:
    return Box(files={"/proc/uptime": "10.0 20.0\n", "/proc/loadavg": "0.1 0.2 0.3 1/99 7\n"})


@pytest.fixture
def context(box: Box, tmp_path: Path) -> Context:
    daemon = Daemon(tmp_path)
    accounts = {**ACCOUNTS, "alice": {**ACCOUNTS["alice"], "password_hash": f"$6$salt${CANARY}"}}
    daemon.commit({"name": "box", "users": {"accounts": accounts}, "web": {"token": CANARY}})
    daemon.open(ALICE)
    return replace(daemon.context(), system=box, attempt=box.attempt, call=nobody)


def nobody(_path: str, _request: Any, _type: Any = Any) -> Any:
    raise ControlError("nobody is there")


def running(context: Context, **tree: Any) -> Context:
    """The context with these settings besides."""
    assert context.running is not None
    whole = {**context.running.tree, **tree}
    return replace(context, running=msgspec.structs.replace(context.running, tree=whole))


# --- settings --------------------------------------------------------------------------------------------------------


def test_every_setting_is_listed_by_its_path_and_secrets_are_masks(context: Context) -> None:
    found = {row[0]: row[1] for row in rows(facts.show("config-properties", "", context))}
    assert found["web.port"] == "8443"
    assert found["web.token"] == "********"
    assert found["users.accounts.olga.role"] == "operator"
    some = {row[0] for row in rows(facts.show("config-properties", "WEB.", context))}
    assert some == {key for key in found if "web." in key}


def test_items_of_a_list_of_groups_have_their_place_in_the_path(context: Context) -> None:
    routes = [{"to": "198.51.100.0/24", "via": "192.0.2.1"}]
    held = running(context, interfaces={"mgmt0": {"zones": ["management", "device"], "routes": routes}})
    assert rows(facts.show("config-properties", "interfaces", held)) == (
        ("interfaces.mgmt0.zones", "management, device"),
        ("interfaces.mgmt0.routes.0.to", "198.51.100.0/24"),
        ("interfaces.mgmt0.routes.0.via", "192.0.2.1"),
    )


def test_names(context: Context) -> None:
    held = running(
        context,
        hostname="gw1.example.test",
        dns={"search": ["a.test", "b.test"], "static_hosts": {"z.test": "192.0.2.2", "a.test": "192.0.2.1"}},
    )
    assert pairs(facts.show("domain-name", "", held)) == {"domain": "example.test", "search": "a.test, b.test"}
    assert rows(facts.show("static-hosts", "", held)) == (("a.test", "192.0.2.1"), ("z.test", "192.0.2.2"))


def test_the_portal_s_own_networks_are_shown_before_those_of_management(context: Context) -> None:
    firewall = {"management_networks": ["10.0.0.0/8"], "device_networks": []}
    narrowed = running(context, firewall=firewall, portal={"networks": ["10.1.0.0/16"]})
    assert rows(facts.show("portal-acl", "", narrowed)) == (
        ("SSH", "10.0.0.0/8", "firewall management_networks"),
        ("portal", "10.1.0.0/16", "portal networks"),
        ("gateway", "anywhere", "firewall device_networks"),
    )
    plain = running(context, firewall=firewall, portal={"networks": []})
    assert rows(facts.show("portal-acl", "", plain))[1][1:] == ("10.0.0.0/8", "firewall management_networks")


ENTRY = {"action": "permit", "source": "office", "destination": "any", "service": "web", "zone": "any"}
COUNTED = {
    "nftables": [
        {"metainfo": {"version": "1.1.3"}},
        {"chain": {"family": "inet", "table": "sentry", "name": "acl", "handle": 1}},
        {
            "rule": {
                "comment": "acl site 1",
                "expr": [{"match": {}}, {"counter": {"packets": 3, "bytes": 9}}, {"return": None}],
            }
        },
        {"rule": {"comment": "acl site 1", "expr": [{"counter": {"packets": 4, "bytes": 9}}]}},
        {
            "rule": {
                "comment": "acl site 1: too often",
                "expr": [{"counter": {"packets": 2, "bytes": 9}}, {"drop": None}],
            }
        },
        {"rule": {"comment": "acl default_action", "expr": [{"counter": {"packets": 5, "bytes": 9}}]}},
    ]
}


def test_lists_are_shown_with_what_the_kernel_has_counted(box: Box, context: Context) -> None:
    entries = [{**ENTRY, "connections_per_minute": 30}, {**ENTRY, "action": "deny", "connections_per_minute": 0}]
    held = running(context, acl={"default_action": "deny", "lists": {"site": {"order": 1, "entries": entries}}})
    box.prints["nft -j"] = json.dumps(COUNTED)
    assert rows(facts.show("acl", "", held)) == (
        ("site 1", "permit", "office", "any", "web", "any", "30", "7, too often 2"),
        ("site 2", "deny", "office", "any", "web", "any", "", ""),
        ("default_action", "deny", "any", "any", "any", "any", "", "5"),
    )


def test_without_the_chain_lists_are_shown_uncounted(box: Box, context: Context) -> None:
    held = running(context, acl={"default_action": "permit", "lists": {}})
    box.refuses = {"nft -j list chain inet sentry acl"}
    assert rows(facts.show("acl", "", held))[0][-1] == ""


# --- the machine -----------------------------------------------------------------------------------------------------


def test_kernel_parameters_are_held_against_the_kernel(box: Box, context: Context) -> None:
    box.files["/etc/sysctl.d/60-sentry.conf"] = "# a comment\nkernel.sysrq = 0\nnet.ipv4.ip_forward = 0\nfs.gone = 1\n"
    box.files |= {"/proc/sys/kernel/sysrq": "0\n", "/proc/sys/net/ipv4/ip_forward": "1\n"}
    assert rows(facts.show("kparam", "", context)) == (
        ("kernel.sysrq", "0", "0", "yes"),
        ("net.ipv4.ip_forward", "0", "1", "no"),
        ("fs.gone", "1", "not there", "no"),
    )


def test_the_machine_in_a_few_lines(box: Box, context: Context) -> None:
    box.files |= {
        "/proc/cpuinfo": "processor : 0\nmodel name : x\nprocessor : 1\n",
        "/proc/meminfo": "MemTotal:  100 kB\n",
    }
    box.prints["systemd-detect-virt"] = "kvm\n"
    found = pairs(facts.show("system", "", running(context, hostname="gw1.example.test")))
    assert (found["name"], found["processors"], found["memory"], found["up (s)"]) == (
        "gw1.example.test",
        "2",
        "100 kB",
        "10",
    )
    assert found["machine"] == "kvm"


def test_resources(box: Box, context: Context) -> None:
    box.files |= {
        "/proc/meminfo": "MemTotal: 100 kB\nMemAvailable: 40 kB\n",
        "/proc/sys/fs/file-nr": "1024\t0\t9223372\n",
        "/proc/net/sockstat": "sockets: used 9\nTCP: inuse 5 orphan 0 tw 1 alloc 7 mem 1\n",
    }
    box.prints["df -P"] = (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 2097152 1 1048576 1% /var\n"
    )
    box.prints["systemctl show"] = (
        "Id=sentry-gateway.service\nMemoryCurrent=104857600\nTasksCurrent=5\nCPUUsageNSec=12000000000\n\n"
        "Id=sentry-uem.service\nMemoryCurrent=[not set]\nTasksCurrent=[not set]\nCPUUsageNSec=[not set]\n"
    )
    found = {row[0]: row[1:] for row in rows(facts.show("system-resources", "", context))}
    assert found["memory free"] == ("40 kB", "100 kB")
    assert found["open files"] == ("1024", "9223372")
    assert found["TCP sockets"] == ("5", "")
    assert found["disk /var free"] == ("1024 MiB", "2048 MiB")
    assert found["sentry-gateway.service"] == ("100 MiB, 5 tasks", "12 s of processor")
    assert "sentry-uem.service" not in found


# --- together --------------------------------------------------------------------------------------------------------


def test_statistics_are_the_counters_of_both(context: Context) -> None:
    held = replace(context, call=lambda path, _request, _type: {"seen": 3} if "gateway" in path else {"asked": 4})
    found = pairs(facts.show("statistics", "", held))
    assert (found["gateway.seen"], found["agent.asked"]) == ("3", "4")


def test_connectivity_is_the_uem_the_backends_and_the_time_servers(box: Box, context: Context) -> None:
    servers = {"mail": {"host": "192.0.2.9", "port": 443, "tls": True, "verify": "strict", "priority": 1}}
    held = running(
        context,
        uem={"mode": "core", "addresses": ["192.0.2.7/32"]},
        backends={"servers": servers},
        ntp={"servers": ["192.0.2.1"]},
    )
    status = {
        "link": "down",
        "link_seconds": 7,
        "link_problem": "refused",
        "backend.mail.up": 2,
        "backend.mail.down": 0,
    }
    held = replace(held, call=lambda _path, _request, _type: status)
    box.prints["chronyc -c"] = "0A620201,10.98.2.1,3,1800000000.1\n"
    assert rows(facts.show("connectivity", "", held)) == (
        ("UEM", "192.0.2.7/32", "down", "7", "refused"),
        ("backend mail", "192.0.2.9:443", "up", "", ""),
        ("time servers", "192.0.2.1", "follows 10.98.2.1 (stratum 3)", "", ""),
    )


def test_an_agent_that_does_not_answer_is_what_is_wrong(context: Context) -> None:
    found = rows(facts.show("connectivity", "", running(context, uem={"mode": "embedded"})))
    assert found[0] == ("UEM", "embedded", "does not answer: nobody is there", "", "")


def test_policies_are_not_applicable_where_another_uem_decides(context: Context) -> None:
    with pytest.raises(RefusedError, match="not applicable: found the UEM mode core"):
        facts.show("policies", "", running(context, uem={"mode": "core"}))


# --- the bundle ------------------------------------------------------------------------------------------------------


def tech(context: Context) -> tuple[str, ...]:
    shown = facts.show("tech", "", context)
    assert isinstance(shown, Text)
    return shown.lines


def test_the_bundle_holds_every_topic_but_those_on_people(context: Context) -> None:
    heads = {line.partition(":")[0].removeprefix("== ") for line in tech(context) if line.startswith("== ")}
    assert heads == (set(facts.TOPICS) - bundle.PEOPLE - {"tech"}) | {"configuration"}
    assert set(facts.TOPICS) >= bundle.PEOPLE


def test_no_secret_and_nobody_s_name_is_in_the_bundle(context: Context) -> None:
    text = "\n".join(tech(context))
    for word in (CANARY, "secret:", "alice", "olga", "192.0.2.7"):
        assert word not in text, word
    assert "web.token = ********" in text


def test_a_part_that_cannot_be_had_says_so_in_its_place(box: Box, context: Context) -> None:
    def run(argv: list[str], *, stdin: str | None = None) -> str:
        if argv[0] == "ip":
            raise CommandError(argv, 1, "no such thing")
        return ""

    box.run = run  # type: ignore[method-assign]
    lines = tech(context)
    assert "cannot be told: ip -json address show: exit status 1: no such thing" in lines


def test_the_bundle_has_its_bounds(box: Box, context: Context) -> None:
    box.files["/etc/sysctl.d/60-sentry.conf"] = "".join(f"a.b{number} = {'x' * 900}\n" for number in range(2 * LINES))
    lines = tech(context)
    assert len(lines) <= bundle.BUNDLE_LINES
    assert max(map(len, lines)) <= bundle.LINE_CHARACTERS
    assert f"({LINES + 1} more lines)" in lines
