"""What an appliance's scan of itself keeps: which rules have become open since they were not."""

import json
from pathlib import Path

import msgspec
import pytest

from stig import own
from stig.errors import FactError
from stig.own import Opened, newly_open
from stig.results import Scan, encode
from stig.verdict import Status
from tests.unit.stig.conftest import NOON

RULE = "V-250984"


def with_status(scan: Scan, status: Status, rule: str = RULE) -> Scan:
    """The scan, in which one rule ended so and no other is open."""
    results = tuple(
        msgspec.structs.replace(one, status=status if one.rule == rule else "not_a_finding") for one in scan.results
    )
    return msgspec.structs.replace(scan, results=results)


def test_the_first_scan_is_what_later_ones_are_held_against(scanned: Scan) -> None:
    """Whoever sets up an appliance hears of what is open from the scan, and not by an alert for each."""
    assert newly_open(None, Opened(), with_status(scanned, "open")).rules == {}


@pytest.mark.parametrize("before", ["not_a_finding", "not_reviewed", "error", "not_applicable"])
def test_a_rule_that_is_open_and_was_not_has_become_open(scanned: Scan, before: Status) -> None:
    now = with_status(scanned, "open")
    assert newly_open(with_status(scanned, before), Opened(), now).rules == {RULE: now.by_rule[RULE].requirement}


def test_it_stays_so_until_it_is_open_no_more(scanned: Scan) -> None:
    """However many scans there are meanwhile, and a rule that was always open stays out of it."""
    still = with_status(scanned, "open")
    known = Opened(rules={RULE: "x"})
    assert list(newly_open(still, known, still).rules) == [RULE]
    assert newly_open(still, known, with_status(scanned, "not_a_finding")).rules == {}
    assert newly_open(still, Opened(), still).rules == {}


def test_a_rule_that_a_new_release_brings_is_no_news_when_it_is_open(scanned: Scan) -> None:
    now = with_status(scanned, "open")
    others = tuple(one for one in now.results if one.rule != RULE)
    assert newly_open(msgspec.structs.replace(now, results=others), Opened(), now).rules == {}


def test_an_earlier_scan_that_cannot_be_read_is_none(tmp_path: Path, scanned: Scan) -> None:
    """As after an update that writes it otherwise; the next one is whole again."""
    assert own._earlier(tmp_path) is None
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "opened.json").write_text("nonsense")
    assert own._earlier(tmp_path) is None
    assert own._opened(tmp_path) == Opened()
    (tmp_path / "results.json").write_bytes(encode(scanned))
    assert own._earlier(tmp_path) == scanned


class Door:
    """A command line that has one answer to whatever is asked."""

    who = "sentry-stig"

    def __init__(self, answer: Path) -> None:
        self._answer = answer

    def argv(self, *line: str) -> list[str]:
        return ["sh", "-c", 'read -r line && cat "$0"', str(self._answer)] if not line else ["false"]

    def close(self) -> None:
        """Nothing is open."""


def told(folder: Path, proxy: str) -> Path:
    path = folder / "answer"
    fact = {"fact": "tls_proxy", "listed": ["cat", "/etc/sentry/tls-proxy.json"], "command": "cat", "status": 0}
    path.write_text(json.dumps({**fact, "output": proxy, "errors": ""}, indent=2) + "\n")
    return path


def test_the_appliance_looks_at_itself_where_its_portal_listens(tmp_path: Path) -> None:
    machine = own.itself(Door(told(tmp_path, '{"addresses": ["10.98.2.2"], "port": 8443}')))
    assert (machine.target.address, machine.target.zones) == ("10.98.2.2", {"management": "10.98.2.2"})
    assert machine.target.collector is None
    machine.close()


def test_an_appliance_that_is_not_configured_is_not_scanned(tmp_path: Path) -> None:
    with pytest.raises(FactError, match="not configured yet"):
        own.scan_itself(tmp_path, clock=lambda: NOON, say=print, door=Door(told(tmp_path, '{"addresses": []}')))
    assert not (tmp_path / "results.json").exists()
