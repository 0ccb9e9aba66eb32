"""What a site configuration may not say: where the error points, what it found and what it allows."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from appliance.features import cli, interfaces
from appliance.features.base import Tree
from appliance.plan import InvalidError

from .conftest import MATERIAL

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]

WEAK_KEY = (MATERIAL / "rsa2048.pub").read_text().strip()
GOOD_KEY = (MATERIAL / "ecdsa.pub").read_text().strip()

# path of the value | the value put there | words of `found` | words of `allowed`
REFUSED: tuple[tuple[str, Any, str, str], ...] = (
    ("hostname", "gateway", "'gateway'", "full DNS name"),
    ("hostname", "Gateway.lab.test", "'Gateway.lab.test'", "full DNS name"),
    ("hostname", f"{'a' * 62}.example", f"'{'a' * 62}.example'", "at most 64"),
    ("dns.servers", ["dns.lab.test"], "'dns.lab.test'", "IPv4 or IPv6 address"),
    ("dns.servers", ["192.0.2.1", "192.0.2.1"], "['192.0.2.1', '192.0.2.1']", "every item once"),
    ("dns.servers", [f"192.0.2.{host}" for host in range(1, 5)], "192.0.2.4", "0 to 3 items"),
    ("dns.static_hosts", {"bad name": "192.0.2.1"}, "the name 'bad name'", "DNS name"),
    ("dns.search", ["lab.test\nnameserver 6.6.6.6"], "nameserver", "DNS name"),
    ("ntp.servers", [], "[]", "1 to 8 items"),
    ("ntp.servers", ["192.0.2.1 iburst"], "'192.0.2.1 iburst'", "or a DNS name"),
    ("ntp.servers", ["0.0.0.0"], "'0.0.0.0'", "address of one host"),  # noqa: S104 - refused
    ("dns.servers", ["ff02::1"], "'ff02::1'", "address of one host"),
    ("dns.static_hosts", {"mail.lab.test": "0.0.0.0"}, "'0.0.0.0'", "address of one host"),  # noqa: S104 - refused
    ("interfaces.mgmt0.addresses", ["0.0.0.1/24"], "'0.0.0.1/24'", "address with its prefix"),
    ("interfaces.mgmt0.description", "ends in \\", "ends in", "without \\"),
    ("users.accounts.admin.edipi", "1234567890\n", "1234567890", "ten digits"),
    ("ntp.pool", "pool.ntp.org", "unknown setting", "servers"),
    ("banner.text", "", "''", "1 to 4096"),
    ("banner.text", "bell\a", "bell", "printable"),
    ("banner.text", "x" * 5_000, "(5004 characters)", "4096"),
    ("gateway.policy.min_device_password_length", 17, "17", "from 1 to 16"),
    ("gateway.policy.allow_camera", 1, "1", "true or false"),
    ("gateway.policy.allow_camara", True, "unknown setting", "allow_camera"),
    ("gateway.policy.max_calendar_age_filter", 8, "8", "from 0 to 7"),
    ("gateway.policy.approved_application_list", ["DA39"], "DA39", "40 hex digits"),
    ("gateway.policy.unapproved_in_rom_application_list", ["a\tb"], "a\\tb", "a name of 1 to 256"),
    ("gateway.fleet_secret", "x" * 31, "a secret value", "openssl rand -hex 32"),
    ("gateway.fleet_secret", "a secret with blanks, which is long enough", "a secret value", "32 to 4096"),
    ("gateway.non_provisionable", "perhaps", "'perhaps'", "allow, block"),
    ("uem.policies", {"Strict": {"allow_camera": True}}, "the name 'Strict'", "up to 32"),
    ("uem.default_policy", "all of them", "'all of them'", "up to 32"),
    ("uem.security_policies", {"s": {"minimum_os": {"ios": 17.1}}}, "17.1", "in quotes"),
    ("uem.security_policies", {"s": {"minimum_os": {"ios": "17.x"}}}, "'17.x'", "in quotes"),
    ("uem.security_policies", {"s": {"minimum_os": {"symbian": "9"}}}, "unknown setting", "ios"),
    ("uem.security_policies", {"s": {"contact_days": 366}}, "366", "from 0 to 365"),
    ("uem.security_policies", {"s": {"unknown": "perhaps"}}, "'perhaps'", "block, pass"),
    ("uem.unregistered_grace_days", 31, "31", "from 0 to 30"),
    ("uem.licence", "silver", "'silver'", "gold, platinum"),
    ("ssh.max_sessions", 11, "11", "from 1 to 10"),
    ("ssh.max_sessions", 0, "0", "from 1 to 10"),
    ("ssh.password_authentication", "perhaps", "'perhaps'", "true or false"),
    ("cli.idle_minutes", 0, "0", "from 1 to 60"),
    ("cli.enable_secret_hash", "cisco", "a secret value", "SHA-512"),
    ("users.accounts.admin.password_hash", "$1$abc$def", "a secret value", "SHA-512"),
    ("users.accounts.admin.role", "root", "'root'", "administrator, operator, auditor"),
    ("users.accounts.admin.full_name", "A:B", "'A:B'", "without :"),
    ("users.accounts.admin.full_name", "two\nlines", "two", "one line"),
    ("users.accounts.admin.ssh_keys", [WEAK_KEY], "ssh-rsa", "at least 3072 bits"),
    ("users.accounts.admin.ssh_keys", [f'command="sh" {GOOD_KEY}'], "command=", "without options"),
    ("users.accounts.admin.ssh_keys", [f"{GOOD_KEY}\n{GOOD_KEY}"], "ecdsa", "one line"),
    ("users.accounts.admin.edipi", "12345", "'12345'", "ten digits"),
    ("users.password_policy.min_length", 4, "4", "from 8 to 128"),
    ("users.password_policy.lock_seconds", 7_200, "7200", "from 60 to 3600"),
    ("interfaces.mgmt0.zones", ["dmz"], "'dmz'", "device, management, backend"),
    ("interfaces.mgmt0.zones", ["device", "device"], "['device', 'device']", "every item once"),
    ("interfaces.mgmt0.vlan", {"parent": "lo", "id": 20}, "'lo'", "an interface name"),
    ("interfaces.mgmt0.vlan", {"parent": "eth0", "id": 4_095}, "4095", "from 1 to 4094"),
    ("interfaces.mgmt0.enabled", "down", "'down'", "true or false"),
    ("acl.default_action", "allow", "'allow'", "permit, deny"),
    ("acl.networks", {"office": []}, "[]", "1 to 64 items"),
    ("acl.services", {"web": {"port": 0}}, "0", "from 1 to 65535"),
    ("acl.services", {"web": {"protocol": "icmp", "port": 1}}, "'icmp'", "tcp, udp"),
    ("portal.networks", ["10.98.2.7/24"], "'10.98.2.7/24'", "without bits set beyond the prefix"),
    ("interfaces.mgmt0.addresses", ["10.98.2.0/24"], "'10.98.2.0/24'", "address with its prefix"),
    ("interfaces.mgmt0.addresses", ["10.98.2.2"], "'10.98.2.2'", "address with its prefix"),
    ("interfaces.mgmt0.mtu", 576, "576", "from 1280 to 9216"),
    ("interfaces.mgmt0.description", "x]\n[Network]", "Network", "one line"),
    ("firewall.management_networks", [], "[]", "1 to 64 items"),
    ("firewall.management_networks", ["10.98.2.7/24"], "'10.98.2.7/24'", "without bits set beyond the prefix"),
    ("firewall.device_networks", ["anywhere"], "'anywhere'", "a network such as"),
    ("portal.port", 65_536, "65536", "from 1 to 65535"),
    ("portal.idle_minutes", 90, "90", "from 1 to 60"),
    ("portal.tls.minimum", "1.1", "'1.1'", "1.2, 1.3"),
    ("gateway.zones", ["device", "device"], "['device', 'device']", "every item once"),
    ("gateway.limits.head_bytes", 1_000_000, "1000000", "from 4096 to 65536"),
    ("gateway.limits.head_kilobytes", 8, "unknown setting", "head_bytes"),
    ("backends.servers.mail.ca_certificates", "-----BEGIN CERTIFICATE-----\nx", "BEGIN", "in PEM form"),
    ("backends.servers", {}, "an empty group of settings", "1 to 32 settings"),
    ("users.accounts", {}, "an empty group of settings", "1 to 64 settings"),
    ("interfaces", {}, "an empty group of settings", "1 to 16 settings"),
    ("backends.servers.mail.host", "mail lab", "'mail lab'", "address or a DNS name"),
    ("backends.servers.mail.tls", "yes please", "'yes please'", "true or false"),
    ("backends.servers.mail.verify", "never", "'never'", "strict, log"),
    ("backends.servers.mail.priority", 0, "0", "from 1 to 100"),
    ("backends.scheduling", "random", "'random'", "round_robin, priority"),
    ("backends.default", ["post"], "'post'", "names of backends.servers: mail"),
    ("backends.default", ["mail", "mail"], "['mail', 'mail']", "every item once"),
    ("backends.domains", {"lab.test": ["post"]}, "'post'", "names of backends.servers: mail"),
    ("backends.domains", {"lab.test": []}, "[]", "1 to 32 names"),
    ("backends.domains", {"no domain": ["mail"]}, "the name 'no domain'", "DNS name"),
    ("backends.passive_health.failures", 0, "0", "from 1 to 100"),
    ("backends.passive_health.dead_seconds", 7_200, "7200", "from 1 to 3600"),
    ("backends.active_health.interval_seconds", 0, "0", "from 1 to 3600"),
    ("backends.active_health.enabled", "maybe", "'maybe'", "true or false"),
    ("backends.redirect_hosts", ["*.example.com"], "'*.example.com'", "with a dot in front"),
    ("backends.redirect_hosts", ["Mail.example.com"], "'Mail.example.com'", "lower-case DNS name"),
    ("backends.redirect_hosts", ["."], "'.'", "lower-case DNS name"),
    ("backends.redirect_hosts", ["https://mail.example.com"], "'https://mail.example.com'", "lower-case DNS name"),
    ("backends.redirect_networks", ["198.51.100.1"], "'198.51.100.1'", "a network such as"),
    ("gateway.authentication", [], "[]", "1 to 4 items"),
    ("gateway.authentication", ["basic", "digest"], "'digest'", "basic, ntlm, negotiate, bearer"),
    ("gateway.authentication", ["basic", "basic"], "['basic', 'basic']", "every item once"),
    ("gateway.newest_protocol", "14.2", "'14.2'", "14.0, 14.1, 16.0"),
    ("gateway.pooled_connections", "some", "'some'", "true or false"),
    ("principals.domains", {"corp.example": "corp.example"}, "the name 'corp.example'", "NetBIOS domain"),
    ("principals.domains", {"A\\B": "corp.example"}, "the name", "NetBIOS domain"),
    ("principals.domains", {"CORP": "corp"}, "'corp'", "DNS domain"),
    ("principals.default_domain", "CORP", "'corp'", "DNS domain"),
    ("principals.default_domain", "192.0.2.1", "'192.0.2.1'", "DNS domain"),
    ("uem.devices_per_mailbox", -1, "-1", "from 0 to 1000"),
    ("uem.mode", "cloudy", "'cloudy'", "embedded, core, cloud, epmm, intune"),
    ("uem.fail_mode", "open", "'open'", "allow, block"),
    ("certificates.lifetime_days", 3_650, "3650", "from 2 to 398"),
    ("telnet", {}, "unknown setting", "ntp"),
)

# Names that nobody may have as an account, each for its own reason.
BAD_ACCOUNTS = (
    "root",
    "builder",
    "daemon",
    "sentry-gateway",
    "systemd-network",
    "Admin",
    "1st",
    "a:b",
    "x" * 32,
    "-x",
    "",
)


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for step in above:
        tree = tree.setdefault(step, {})
    tree[last] = value


@pytest.mark.parametrize(("path", "value", "found", "allowed"), REFUSED)
def test_a_bad_value_is_refused_with_its_path_what_was_found_and_what_is_allowed(
    path: str, value: Any, found: str, allowed: str, lab_with: LabWith
) -> None:
    """One error, at the value (or the item of the list), in the reader's words."""
    with pytest.raises(InvalidError) as refused:
        lab_with(lambda tree: _put(tree, path, value))
    problem = refused.value.problems[0]
    assert problem.path.startswith(path), problem
    assert found in problem.found, problem
    assert allowed in problem.allowed, problem
    assert all(other.path.startswith(path) for other in refused.value.problems)


@pytest.mark.parametrize("name", BAD_ACCOUNTS)
def test_a_name_of_the_system_is_no_administrators(name: str, lab_with: LabWith) -> None:
    """Accounts that exist for something else can never come under the configuration's control."""
    with pytest.raises(InvalidError) as refused:
        lab_with(lambda tree: tree["users"]["accounts"].update({name: {"role": "auditor", "ssh_keys": [GOOD_KEY]}}))
    assert f"the name {name!r}" in str(refused.value)
    assert "not a name of the system" in str(refused.value)


@pytest.mark.parametrize("missing", ["hostname", "interfaces", "firewall", "users", "ntp", "backends"])
def test_what_has_no_sensible_default_must_be_said(missing: str, lab_with: LabWith) -> None:
    """A site without its name, network, administrators or clock is refused at that key."""
    with pytest.raises(InvalidError) as refused:
        lab_with(lambda tree: tree.pop(missing))
    assert [problem.path for problem in refused.value.problems] == [missing]


# path of the value | the value put there | where it is refused | words of `found`
ACROSS: tuple[tuple[str, Any, str, str], ...] = (
    ("principals.domains", {"A": "x.test", "b": "X.test"}, "principals.domains.b", "x.test, which is A already"),
    ("principals.domains", {"CORP": "x.test", "corp": "y.test"}, "principals.domains.corp", "a second time"),
    ("users.accounts.admin.role", "operator", "users.accounts", "no account with role administrator"),
    ("users.accounts.nobody2", {"role": "auditor"}, "users.accounts.nobody2", "neither password_hash nor ssh_keys"),
    ("gateway.policy.max_calendar_age_filter", 2, "gateway.policy", "max_calendar_age_filter is 2"),
    (
        "gateway.policy.unapproved_in_rom_application_list",
        [f"{number:0256}" for number in range(65)],
        "gateway.policy",
        "names of 16640 bytes",
    ),
    ("uem.policies.lazy", {}, "uem.policies.lazy", "no setting"),
    ("uem.default_policy", "lax", "uem.default_policy", "'lax'"),
    ("uem.default_security_policy", "lax", "uem.default_security_policy", "'lax'"),
    ("interfaces.mgmt0.zones", ["backend"], "interfaces", "no interface with zone management"),
    ("interfaces.device0.zones", ["backend"], "gateway.zones.0", "device, which no interface carries"),
    ("interfaces.backend0.zones", ["device"], "interfaces", "no interface with zone backend"),
    ("interfaces.mgmt0.addresses", [], "interfaces.mgmt0", "neither addresses nor dhcp"),
    ("interfaces.mgmt0.gateway", "192.0.2.1", "interfaces.mgmt0.gateway", "192.0.2.1"),
    ("interfaces.mgmt0.addresses", ["10.98.1.2/24"], "interfaces.mgmt0.addresses.0", "which device0 has too"),
    (
        "interfaces.mgmt0.routes",
        [{"to": "2001:db8::/32", "via": "10.98.2.1"}],
        "interfaces.mgmt0.routes.0.via",
        "10.98.2.1",
    ),
    ("firewall.management_networks", ["0.0.0.0/0"], "firewall.management_networks.0", "0.0.0.0/0"),
    (
        "firewall.management_networks",
        ["0.0.0.0/1", "128.0.0.0/1"],
        "firewall.management_networks.0",
        "0.0.0.0/1, which with others makes 0.0.0.0/0",
    ),
    ("firewall.management_networks", ["10.98.2.0/24", "8.0.0.0/7"], "firewall.management_networks.1", "8.0.0.0/7"),
    ("interfaces.device0.addresses", ["10.98.2.77/24"], "interfaces.mgmt0.addresses.0", "10.98.2.0/24 on device0"),
    ("interfaces.device0.addresses", ["10.98.0.77/16"], "interfaces.device0.addresses.0", "10.98.3.0/24 on backend0"),
    (
        "interfaces.device0.routes",
        [{"to": "10.98.2.0/25", "via": "10.98.1.1"}],
        "interfaces.device0.routes.0.to",
        "10.98.2.0/24 on mgmt0",
    ),
    ("dns.static_hosts", {"LOCALHOST": "192.0.2.9"}, "dns.static_hosts.LOCALHOST", "own name"),
    ("dns.static_hosts", {"a.test": "192.0.2.9", "A.test": "192.0.2.8"}, "dns.static_hosts.a.test", "a second time"),
    ("dns.static_hosts", {"gateway.lab.test": "192.0.2.9"}, "dns.static_hosts.gateway.lab.test", "own name"),
    ("portal.port", 443, "portal.port", "where the gateway listens"),
    ("gateway.port", 22, "gateway.port", "where SSH listens"),
    ("gateway.tls", {"minimum": 1.3, "maximum": 1.2}, "gateway.tls.minimum", "1.3"),
    ("backends.servers.mail.tls", False, "backends.servers.mail.tls", "false together with"),
    (
        "backends.servers",
        {"m": {"host": "192.0.2.1", "tls": False, "verify": "log"}},
        "backends.servers.m.verify",
        "tls false",
    ),
    ("backends.domains", {"lab.test": ["mail"]}, "backends.default", "every server is some domain's"),
    (
        "backends",
        {
            "servers": {"a": {"host": "192.0.2.1"}, "b": {"host": "192.0.2.1"}},
            "domains": {"Lab.test": ["a"], "lab.test": ["a"]},
        },
        "backends.domains.lab.test",
        "a second time",
    ),
    ("backends.redirect_hosts", [".example.com"], "backends.redirect_networks", "redirect_hosts names somebody"),
    ("certificates", {"lifetime_days": 30, "renew_days": 30}, "certificates.renew_days", "30"),
)


@pytest.mark.parametrize(("path", "value", "where", "found"), ACROSS)
def test_settings_that_do_not_fit_together_are_refused(
    path: str, value: Any, where: str, found: str, lab_with: LabWith
) -> None:
    """Each value is fine alone; the error names the one to change."""
    with pytest.raises(InvalidError) as refused:
        lab_with(lambda tree: _put(tree, path, value))
    assert refused.value.problems[0].path == where
    assert found in refused.value.problems[0].found


def test_a_pool_for_a_netbios_domain_that_is_a_dns_domain_is_refused(lab_with: LabWith) -> None:
    """No user's name would end in it: the pool would serve nobody, and nobody would notice."""

    def change(tree: dict[str, Any], domain: str) -> None:
        tree["principals"] = {"domains": {"CORP": "corp.example"}}
        tree["backends"]["domains"] = {domain: ["mail"]}
        tree["backends"]["default"] = ["mail"]

    lab_with(lambda tree: change(tree, "other"))
    with pytest.raises(InvalidError) as refused:
        lab_with(lambda tree: change(tree, "Corp"))
    (problem,) = refused.value.problems
    assert (problem.path, problem.allowed) == ("backends.domains.Corp", "corp.example")


def test_a_second_default_route_is_refused_by_name(lab_with: LabWith) -> None:
    """Two ways out would make it a matter of luck which one answers take."""

    def two_gateways(tree: dict[str, Any]) -> None:
        tree["interfaces"]["mgmt0"]["gateway"] = "10.98.2.1"
        tree["interfaces"]["device0"]["routes"] = [{"to": "0.0.0.0/0", "via": "10.98.1.1"}]

    with pytest.raises(InvalidError) as refused:
        lab_with(two_gateways)
    assert "a second default route for IPv4" in str(refused.value)


def test_an_appliance_into_which_no_administrator_could_log_in_is_refused(lab_with: LabWith) -> None:
    """Without keys a password must be let in by SSH."""

    def only_by_password(tree: dict[str, Any]) -> None:
        del tree["users"]["accounts"]["admin"]["ssh_keys"]

    def by_nothing(tree: dict[str, Any]) -> None:
        only_by_password(tree)
        _put(tree, "ssh.password_authentication", value=False)

    lab_with(only_by_password)
    with pytest.raises(InvalidError) as refused:
        lab_with(by_nothing)
    assert "no administrator who could log in over SSH" in str(refused.value)


def test_the_enable_secret_is_changed_but_never_taken_away(lab_with: LabWith) -> None:
    """Nobody could go privileged again to set it."""
    before, without = lab_with(lambda _tree: None), lab_with(lambda tree: tree["cli"].pop("enable_secret_hash"))
    (problem,) = cli.FEATURE.verify_change(before, without)
    assert problem.path == "cli.enable_secret_hash"
    assert not list(cli.FEATURE.verify_change(without, before))
    assert not list(cli.FEATURE.verify_change(without, without))


class Kernel:
    """A machine that has these addresses."""

    def __init__(self, **held: list[str]) -> None:
        self.held = held
        self.down: set[str] = set()

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """ip(8)."""
        assert (argv, stdin) == (["ip", "-json", "address", "show"], None)
        return json.dumps([self._link(name, *addresses) for name, addresses in self.held.items()])

    def _link(self, name: str, *addresses: str) -> dict[str, Any]:
        split = [address.split("/") for address in addresses]
        flags = ["UP"] if name in self.down else ["UP", "LOWER_UP"]
        info = [{"family": "inet", "local": one, "prefixlen": int(prefix)} for one, prefix in split]
        return {"ifname": name, "flags": flags, "mtu": 1500, "addr_info": info}

    def read(self, path: str) -> str | None:
        """Nothing is read."""
        raise AssertionError(path)

    def secret(self, reference: str) -> str:
        """Nothing is revealed."""
        raise AssertionError(reference)


def test_an_address_the_kernel_does_not_have_keeps_a_commit_from_being_accepted(lab_with: LabWith) -> None:
    """networkd passes over what it cannot read; where there is no carrier there is no address, and nobody to miss it."""
    tree = lab_with(lambda _tree: None)
    kernel = Kernel(device0=["10.98.1.2/24"], mgmt0=["10.98.2.2/24"], backend0=["10.98.3.2/24"], lo=["127.0.0.1/8"])
    assert interfaces.unsettled(tree, kernel) == ""
    kernel.held["mgmt0"] = ["10.98.2.2/16"]
    assert interfaces.unsettled(tree, kernel) == "the kernel does not have 10.98.2.2/24 on mgmt0"
    kernel.down = {"mgmt0"}
    assert interfaces.unsettled(tree, kernel) == ""
    del kernel.held["mgmt0"]
    assert interfaces.unsettled(tree, kernel).startswith("there is no interface mgmt0")


def test_a_refused_secret_is_not_repeated(lab_with: LabWith) -> None:
    """Somebody who puts a password where its hash belongs does not find it in a log."""
    with pytest.raises(InvalidError) as refused:
        lab_with(lambda tree: _put(tree, "cli.enable_secret_hash", "Hunter2-Hunter2"))
    assert "Hunter2" not in str(refused.value)
