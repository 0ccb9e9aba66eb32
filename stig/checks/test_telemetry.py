"""The audit trail's way off the machine, what its records say, and SNMP."""

import pytest

from stig.facts import Facts
from stig.judge import telemetry as judge
from stig.judge.upkeep import Logging
from stig.parse import rsyslog
from stig.probe import snmp
from stig.recorder import NotReviewed, Prove
from stig.tried import tried_first


def offload(facts: Facts) -> judge.Offload:
    """The servers by the appliance's own words, the rest by the daemon's."""
    text = facts.text("rsyslog")
    active = facts.answer("rsyslog_state").status == 0
    logging = Logging(active, rsyslog.forwards(text), rsyslog.inputs(text), ())
    return judge.Offload(facts.cli_data("show syslog", judge.Shown).rows, logging)


def prove_content(rule: str, facts: Facts, prove: Prove) -> None:
    """That records say what `rule` wants; where the gateway has none of that kind yet, nobody can tell."""
    tried_first(facts)
    found = judge.records(facts.lines("audit_records"))
    sent = judge.gateway(offload(facts))
    if sent.status == "not_a_finding" and not judge.about(rule, found):
        raise NotReviewed("the audit trail is sent away, but holds no record of the kind this rule is about yet")
    prove(judge.content(rule, offload(facts), found))


@pytest.mark.stig("V-251000")
def test_snmp_answers_authenticated_users_alone(facts: Facts, prove: Prove) -> None:
    """By asking: as a user at every security level, and with a community string."""
    receivers = judge.receivers(facts.cli_data("show snmp", judge.SnmpFacts))
    target = facts.machine.target
    if target.snmp is None:
        raise NotReviewed("needs an SNMP user of the appliance (`snmp` in its description), which was not given")
    user, address = target.snmp, target.address
    levels = {level: snmp.as_user(address, user, level) for level in snmp.LEVELS}
    versions = {version: snmp.with_community(address, version) for version in ("1", "2c")}
    prove(judge.snmp(judge.Snmp(facts.cli("show fips"), receivers, levels, versions)))


@pytest.mark.stig("V-251002")
def test_the_administrators_trail_leaves_the_machine(facts: Facts, prove: Prove) -> None:
    """To a server that takes it."""
    prove(judge.administrators(offload(facts)))


@pytest.mark.stig("V-251030")
def test_the_gateways_trail_is_sent_to_a_central_server(facts: Facts, prove: Prove) -> None:
    """To a server that takes it."""
    prove(judge.gateway(offload(facts)))


@pytest.mark.stig("V-251039")
def test_no_record_waits_on_its_way(facts: Facts, prove: Prove) -> None:
    """By rsyslog's own counters."""
    prove(judge.real_time(offload(facts)))


@pytest.mark.stig("V-251015")
def test_records_say_what_occurred(facts: Facts, prove: Prove) -> None:
    """The kind of event."""
    prove_content("V-251015", facts, prove)


@pytest.mark.stig("V-251016")
def test_records_say_when(facts: Facts, prove: Prove) -> None:
    """Date and time."""
    prove_content("V-251016", facts, prove)


@pytest.mark.stig("V-251017")
def test_records_say_where(facts: Facts, prove: Prove) -> None:
    """The listener."""
    prove_content("V-251017", facts, prove)


@pytest.mark.stig("V-251018")
def test_records_say_where_it_came_from(facts: Facts, prove: Prove) -> None:
    """The source."""
    prove_content("V-251018", facts, prove)


@pytest.mark.stig("V-251019")
def test_records_say_how_it_ended(facts: Facts, prove: Prove) -> None:
    """The action."""
    prove_content("V-251019", facts, prove)


@pytest.mark.stig("V-251020")
def test_records_say_who(facts: Facts, prove: Prove) -> None:
    """The principal."""
    prove_content("V-251020", facts, prove)
