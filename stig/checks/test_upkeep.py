"""The clock's sources, and where the audit trail goes."""

import re

import pytest

from stig.facts import Facts
from stig.judge import upkeep as judge
from stig.parse import rsyslog
from stig.recorder import Prove

NO_DAEMON = "506 Cannot talk to daemon"  # chronyc(1)
_PEER = re.compile(r"\s(\S+:\d+)\s+users:\(\(\"rsyslogd\"")


@pytest.mark.stig("V-250999")
def test_the_clock_is_kept_by_two_servers(facts: Facts, prove: Prove) -> None:
    """The running daemon knows at least two different servers."""
    answer = facts.answer("chrony")
    absent = answer.status != 0 and NO_DAEMON in answer.output + answer.errors
    running = None if absent else judge.sources(facts.lines("chrony"))
    container = facts.answer("container").status == 0
    prove(judge.clock(judge.Clock(running, container, judge.servers(facts.lines("chrony_configuration")))))


@pytest.mark.stig("V-251006")
def test_log_records_are_sent_to_a_central_server(facts: Facts, prove: Prove) -> None:
    """In rsyslog's resolved configuration, with a connection that stands."""
    text = facts.text("rsyslog")
    connected = tuple(_PEER.findall(facts.text("connections")))
    active = facts.answer("rsyslog_state").status == 0
    prove(judge.central_log(judge.Logging(active, rsyslog.forwards(text), rsyslog.inputs(text), connected)))
