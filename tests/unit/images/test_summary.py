"""The summary says what was measured, the unflattering numbers too."""

import json
from pathlib import Path

from images.lab import describe, summary
from images.lab.site import STIG, LabSite
from images.lab.steps import Compliance, read_compliance
from images.paths import REPO, Layout
from images.probe import Seen, Target


def test_every_verdict_is_counted_per_category(tmp_path: Path) -> None:
    """Open and not reviewed stand beside what passed, and the sums are the rules' number."""
    layout = Layout(tmp_path)
    layout.scan.mkdir()
    verdicts = [("I", "open"), ("I", "not_a_finding"), ("II", "not_reviewed"), ("II", "not_reviewed"), ("III", "error")]
    results = [{"category": category, "status": status} for category, status in verdicts]
    (layout.scan / "results.json").write_text(json.dumps({"results": results}))
    lines = [line.split() for line in summary.compliance_lines(read_compliance(layout))]
    assert lines[1:] == [
        ["CAT", "I", "1", "1", "0", "0", "0", "2"],
        ["CAT", "II", "0", "0", "0", "2", "0", "2"],
        ["CAT", "III", "0", "0", "0", "0", "1", "1"],
        ["all", "1", "1", "0", "2", "1", "5"],
    ]


def test_an_empty_scan_counts_no_rules() -> None:
    """Nothing evaluated never looks like everything passed."""
    assert summary.compliance_lines(Compliance({}))[-1].split() == ["all", "0", "0", "0", "0", "0", "0"]


def test_ports_are_listed_per_zone() -> None:
    """With the address they were seen at, and out of how many."""
    zone = Seen(Target("device", "10.98.1.2", "lab-device"), frozenset({443, 22}), frozenset(), 65551)
    assert summary.port_lines([zone])[0].split() == (
        ["device", "10.98.1.2", "TCP", "22,443", "UDP", "none", "(65551", "ports", "asked)"]
    )


def test_the_description_names_every_way_in(tmp_path: Path) -> None:
    """`build/appliance.json` has the agreed keys, and files that others can open from anywhere."""
    described = describe.appliance(Layout(tmp_path), LabSite(REPO / "sites/lab.yml"))
    assert described == json.loads((tmp_path / "appliance.json").read_text())
    assert set(described) == {
        "name", "address", "addresses", "gateway_url", "portal_url", "ssh", "admin", "builder", "ca_file", "uem_url", "snmp",
        "known_hosts", "answers",
    }  # fmt: skip
    assert Path(described["answers"]).samefile(REPO / "sites/lab-answers.yml")
    assert described["gateway_url"] == f"https://{described['address']}"
    assert described["portal_url"] == f"https://{described['address']}:8443"
    assert set(described["addresses"]) == {"device", "management", "backend"}
    assert Path(described["ca_file"]).is_absolute()


def test_a_site_with_stand_ins_names_the_devices_too(tmp_path: Path) -> None:
    """And a site without an answer file has none."""
    described = describe.appliance(Layout(tmp_path), LabSite(STIG))
    assert described["devices"] == str(Layout(tmp_path).lab / "probe-devices.yml")
    assert "answers" not in describe.appliance(Layout(tmp_path), LabSite(tmp_path / "other.yml"))


def test_time_lines_end_with_the_sum() -> None:
    """Each step's seconds and all of them."""
    assert [line.split()[:2] for line in summary.time_lines([("tree", 40.0), ("guest", 2.5)])] == (
        [["tree", "40.0"], ["guest", "2.5"], ["all", "42.5"]]
    )
