"""Who gets to the log-in, what it says, and whom it lets in."""

import ipaddress

import pytest

from stig.answers import SHORT_BANNER, Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.judge import access as judge
from stig.parse import pam, words
from stig.parse.nft import Packet, Ruleset
from stig.probe import network, ssh
from stig.recorder import Prove, answered_or_tried
from stig.target import MANAGEMENT, PORTAL_PORT

LOGIN_SERVICES = ("sshd", "sentry-portal", "login")
# Documentation networks (RFC 5737, RFC 3849): nobody's administrators come from there.
STRANGERS = ("192.0.2.77", "198.51.100.77", "2001:db8::77")


@pytest.mark.stig("V-250983")
def test_the_portal_is_reached_on_the_management_interface_from_listed_networks_only(
    facts: Facts, given: Answers | None, prove: Prove
) -> None:
    """From outside in every zone, and in the packet filter for sources nobody can be here. Where the site has not said where
    administrators come from, the scan itself is the only one that is known to be let in."""
    target = facts.machine.target
    addresses = _addresses(facts)
    management = addresses.get(target.zones.get(MANAGEMENT, target.address), "")
    others = sorted({name for name in addresses.values() if name not in ("lo", management)})
    rules = Ruleset(facts.tree("nft"))
    networks = [ipaddress.ip_network(one) for one in (given.management_networks if given else (target.client,))]
    beside = _neighbours(networks) if given else []
    outside = [one for one in (*STRANGERS, *beside) if not _inside(one, networks)]
    listed = str(next(iter(networks[0].hosts())))
    prove(
        judge.portal_reach(
            judge.PortalReach(
                management=MANAGEMENT,
                management_interface=management,
                other_interfaces=tuple(others),
                answers=network.answering(target.zones, PORTAL_PORT),
                listed={
                    name: rules.inward(Packet(name, listed, PORTAL_PORT)) for name in (management, *others) if name
                },
                listed_source=listed,
                unlisted={one: rules.inward(Packet(management, one, PORTAL_PORT)) for one in outside},
            )
        )
    )


def _addresses(facts: Facts) -> dict[str, str]:
    """Every address of the machine and its interface."""
    tree = facts.tree("interfaces")
    if not isinstance(tree, list):
        raise FactError("ip -j address show: expected a list of interfaces")
    return {one["local"]: link["ifname"] for link in tree for one in link.get("addr_info", [])}


def _neighbours(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> list[str]:
    """The addresses just below and above each listed network: a mask that is one bit too wide lets them in."""
    return [
        str(type(one.network_address)(number))
        for one in networks
        for number in (int(one.network_address) - 1, int(one.broadcast_address) + 1)
        if 0 < number < 2**one.max_prefixlen
    ]


def _inside(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(ipaddress.ip_address(address) in one for one in networks)


@pytest.mark.stig("V-250986")
def test_three_failures_lock_an_administrator_out(facts: Facts, prove: Prove) -> None:
    """The count of failures, with the demanded numbers, in the stacks of every log-in service."""
    services = pam.files(facts.lines("pam"))
    stacks = {service: pam.stack(services, service, "auth") for service in LOGIN_SERVICES}
    settings = words.assignments(facts.text("faillock").splitlines())
    uses_pam = words.settings(facts.lines("sshd")).get("usepam") == "yes"
    prove(judge.lockout(judge.Lockout(stacks, settings, uses_pam)))


@pytest.mark.stig("V-250987")
def test_the_banner_is_shown_before_anybody_gets_in(facts: Facts, given: Answers | None, prove: Prove) -> None:
    """The site's, or the short form that the rule itself names. Fetched without authentication, from SSH and from the portal."""
    answered_or_tried(given, facts)
    target = facts.machine.target
    path, text = network.login_page(target.address, PORTAL_PORT, target.ca_file)
    prove(judge.banners(judge.Banners(given.banner if given else SHORT_BANNER, ssh.banner(target), path, text)))


@pytest.mark.stig("V-251003")
def test_only_authorised_users_have_an_account(facts: Facts, answers: Answers, prove: Prove) -> None:
    """The accounts somebody can log in by are those the site has named."""
    states = {row.split()[0]: row.split()[1] for row in facts.lines("passwords")}
    accounts = []
    for row in facts.lines("accounts"):
        name, _password, uid, _gid, _gecos, _home, shell = row.split(":")
        if name not in states:
            raise FactError(f"passwd -S -a: says nothing about {name}")
        accounts.append(judge.Account(name, int(uid), shell, states[name]))
    prove(judge.users(judge.Users(tuple(accounts), answers.authorised_users, answers.automation_accounts)))
