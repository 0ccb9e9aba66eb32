"""Every automated rule is seen open on a machine that breaks it, and not_a_finding again once that is mended.

The breaks (`product_breaks`) are independent of each other, so one scan sees them all.
"""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from images.paths import REPO, Layout
from images.run import run
from stig import written
from tests.lab import Lab, Measured
from tests.stig.breaks import committed, log_server
from tests.stig.product_breaks import BREAKS, BROKEN, OBSERVED, OPEN_IN_THE_LAB, SETTINGS, SOMEBODY

SCAN_SECONDS = 60.0  # what a whole scan may take

pytestmark = pytest.mark.appliance

Results = dict[str, dict[str, Any]]
Scan = Callable[[], Results]


@pytest.fixture
def scan(lab: Lab, layout: Layout, tmp_path: Path, measured: Measured) -> Scan:
    """Scan the appliance; the results by rule."""

    def scanned() -> Results:
        argv = [sys.executable, "-m", "stig", "scan", "--appliance", str(layout.appliance), "--out", str(tmp_path)]
        run(argv, cwd=REPO, seconds=3 * SCAN_SECONDS)
        tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
        measured("a scan of the appliance", tree["seconds"])
        assert tree["seconds"] < SCAN_SECONDS
        return {one["rule"]: one for one in tree["results"] if one["stig"] != "GPOS"}  # those are seen elsewhere

    return scanned


def test_broken_rules_are_open_and_mended_ones_are_not(lab: Lab, layout: Layout, scan: Scan, tmp_path: Path) -> None:
    """All rules at once: red while broken, green after; those that are open here are green while there is a log server."""
    with ExitStack() as held:
        held.enter_context(committed(lab, *SETTINGS))
        for one in BREAKS:
            held.enter_context(one.how(lab.root))
        held.enter_context(log_server(lab, layout, tmp_path))
        red = scan()
    green = scan()
    automated = {name for name, one in green.items() if one["evidence"]}
    assert automated == BROKEN | OPEN_IN_THE_LAB
    assert {name: red[name]["status"] for name in BROKEN} == dict.fromkeys(BROKEN, "open")
    assert {name: green[name]["status"] for name in BROKEN} == dict.fromkeys(BROKEN, "not_a_finding")
    assert {name: red[name]["status"] for name in OBSERVED} == dict.fromkeys(OBSERVED, "open")
    assert {name: green[name]["status"] for name in OBSERVED} == dict.fromkeys(OBSERVED, "not_reviewed")
    sent = OPEN_IN_THE_LAB - {SOMEBODY}
    assert {name: red[name]["status"] for name in sent} == dict.fromkeys(sent, "not_a_finding")
    assert {name: green[name]["status"] for name in OPEN_IN_THE_LAB} == dict.fromkeys(OPEN_IN_THE_LAB, "open")
    assert red[SOMEBODY]["status"] in ("not_a_finding", "not_reviewed")


def test_a_scan_with_the_wrong_key_gives_errors_and_no_verdict(layout: Layout, lab: Lab, tmp_path: Path) -> None:
    """Whoever cannot look knows nothing: neither a pass nor a finding, and the reports are written."""
    key = tmp_path / "stranger"
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(key)])
    argv = [sys.executable, "-m", "stig", "scan", "--appliance", str(layout.appliance), "--out", str(tmp_path)]
    run([*argv, "--key", str(key), "--admin-key", str(key)], cwd=REPO, seconds=3 * SCAN_SECONDS)
    tree = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert tree["counts"]["total"] == len(written.load().rules)
    # Only what a stranger may see is decided.
    decided = {one["rule"] for one in tree["results"] if one["status"] in ("not_a_finding", "open")}
    assert decided == {"V-250987"}
    assert tree["seconds"] < SCAN_SECONDS
    assert {one["reason"] != "" for one in tree["results"] if one["status"] == "error"} == {True}
