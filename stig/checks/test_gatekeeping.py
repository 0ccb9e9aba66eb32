"""Whether devices that must be kept out are kept out: nothing lets them in, and they are refused when they try."""

import msgspec
import pytest

from stig.answers import Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.judge import devices, site
from stig.judge import gatekeeping as judge
from stig.probe import tls
from stig.recorder import NotApplicable, NotReviewed, Prove
from stig.tried import tries
from stig.verdict import Point, Verdict

UNPROVEN = "Nothing lets such devices pass; that the gateway refuses them "


class _Sheet(msgspec.Struct, frozen=True):
    facts: dict[str, str]


class _Table(msgspec.Struct, frozen=True):
    rows: tuple[dict[str, str], ...]


class _UemServer(msgspec.Struct, frozen=True):
    auto_block_unregistered: bool
    unregistered_grace_seconds: int = 0


class _Runtime(msgspec.Struct, frozen=True):
    uem_server: _UemServer | None = None


class _Authentication(msgspec.Struct, frozen=True):
    mode: str = "pass_through"
    mapping: tuple[str, ...] = ()


class _Gateway(msgspec.Struct, frozen=True):
    device_authentication: _Authentication = _Authentication()


class _GatewaySettings(msgspec.Struct, frozen=True):
    gateway: _Gateway


def _softening(facts: Facts) -> judge.Softening:
    """What the running gateway says of itself, and the rules that are in force."""
    told = facts.cli_data("show gateway", _Sheet).facts
    if "observing_until" not in told:
        raise FactError(f"CLI 'show gateway': {told.get(judge.NO_ANSWER, 'does not say whether it observes')}")
    rows = facts.cli_data("show sentry rules", _Table).rows
    allowing = tuple(row["name"] for row in rows if row["action"] == "allow" and row["state"] == "in force")
    return judge.Softening(told["observing_until"], allowing)


def _also_tried(facts: Facts, prove: Prove, verdict: Verdict) -> None:
    """An open verdict stands by itself, and a good one proves nothing before devices were tried."""
    if verdict.status == "open":
        prove(verdict)
    if facts.machine.target.devices is None:
        raise NotReviewed(f"{UNPROVEN}needs devices to try it with (--devices), which were not given.")


@pytest.mark.stig("V-251008")
def test_unregistered_devices_are_not_let_in(facts: Facts, prove: Prove) -> None:
    """Not by observing, not by a rule, not by the UEM in the box; and not when they try."""
    server = facts.struct("runtime", _Runtime).uem_server
    auto_block = None if server is None else server.auto_block_unregistered
    grace = 0 if server is None else server.unregistered_grace_seconds
    verdict = judge.unregistered(judge.Registration(_softening(facts), auto_block, grace))
    _also_tried(facts, prove, verdict)
    given = facts.machine.target.devices
    assert given is not None
    prove(_with(verdict, devices.unregistered(tries(facts), given.unregistered.device_id)))


@pytest.mark.stig("V-251010")
def test_compromised_devices_are_not_let_in(facts: Facts, prove: Prove) -> None:
    """Not by observing, not by a rule, and not when one tries."""
    verdict = judge.compromised(_softening(facts))
    _also_tried(facts, prove, verdict)
    given = facts.machine.target.devices
    assert given is not None
    prove(_with(verdict, devices.compromised(tries(facts), given.compromised.device_id)))


def _with(verdict: Verdict, more: tuple[Point, ...]) -> Verdict:
    return Verdict((*verdict.points, *more), reading=judge.READING)


def _several_factors(facts: Facts, prove: Prove) -> None:
    found = tries(facts)
    mode = facts.struct("runtime", _GatewaySettings).gateway.device_authentication.mode
    prove(judge.several_factors(mode, devices.several_factors(found)))


@pytest.mark.stig("V-251025")
def test_devices_need_a_certificate_and_a_password(facts: Facts, prove: Prove) -> None:
    """One without a certificate is refused, and the policy it has to apply demands a password."""
    _several_factors(facts, prove)


@pytest.mark.stig("V-251031")
def test_remote_users_need_a_certificate_and_a_password(facts: Facts, prove: Prove) -> None:
    """The same settings as V-251025, and the same look."""
    _several_factors(facts, prove)


@pytest.mark.stig("V-251028")
def test_certificates_are_mapped_to_users(facts: Facts, prove: Prove) -> None:
    """One that names nobody is refused."""
    found = tries(facts)
    told = facts.struct("runtime", _GatewaySettings).gateway.device_authentication
    prove(judge.mapped(told.mode, told.mapping, devices.unmapped(found)))


@pytest.mark.stig("V-251032")
def test_certificates_of_approved_authorities_alone_are_taken(facts: Facts, answers: Answers, prove: Prove) -> None:
    """Another authority's is refused, and none is believed that the site has not approved."""
    if answers.approved_authorities is None:
        raise NotReviewed("needs approved_authorities in the site's answer file: the authorities it approves of")
    found = tries(facts)
    believed = tls.certificates_in(facts.answer("device_authorities").output)
    approved = tls.certificates_in(answers.approved_authorities.read_text(encoding="utf-8"))
    prove(judge.approved(believed, approved, devices.stranger(found)))


@pytest.mark.stig("V-251024")
def test_log_ins_go_to_designated_servers_alone(facts: Facts, answers: Answers, prove: Prove) -> None:
    """The servers behind the gateway are those the site has named."""
    if answers.designated_servers is None:
        raise NotReviewed(
            "needs designated_servers in the site's answer file: the servers that devices' log-ins may go to"
        )
    rows = facts.cli_data("show backends", _Table).rows
    prove(site.designated(tuple(row["host"] for row in rows), answers.designated_servers))


@pytest.mark.stig("V-250985")
def test_only_the_uem_may_manage(facts: Facts, given: Answers | None, prove: Prove) -> None:
    """By the commands the rule names."""
    told = facts.cli_data("show uem", _Sheet).facts
    if told.get("mode") == "embedded":
        raise NotApplicable(
            "Applies where the UEM is another machine. This site's is in the box: it listens on loopback only, and no management "
            "traffic comes from outside."
        )
    if given is None or given.uem_addresses is None:
        raise NotReviewed("needs uem_addresses in the site's answer file: the addresses its UEM pushes from")
    verified = facts.cli_data("show sentry emm-source-verify", _Sheet).facts
    addresses = facts.cli_data("show sentry emm-ips", _Sheet).facts
    rows = facts.cli_data("show backends", _Table).rows
    prove(site.uem(verified, addresses, given.uem_addresses, tuple(row["host"] for row in rows)))
