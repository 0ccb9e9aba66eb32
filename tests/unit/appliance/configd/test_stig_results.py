"""The appliance's scan of itself as configd sees it: who may start one and read of it, and how little its folder is trusted."""

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from appliance.configd import api, facts, health, roles, stig_results
from appliance.configd.api import Facts, Table
from appliance.configd.client import Refused
from appliance.configd.errors import RefusedError
from appliance.configd.gate import SESSIONLESS
from tests.unit.appliance.workbench import ALBERT, ALICE, OLGA, SCANNER, Daemon

RESULT = {"rule": "V-250984", "stig": "NDM", "category": "II", "requirement": "Idle sessions end.", "status": "open"}
COUNTS = {"total": 3, "open": 1, "error": 1, "not_a_finding": 1, "not_applicable": 0, "not_reviewed": 0}
SCAN: dict[str, Any] = {
    "format": 1,
    "tool": "sentry stig test",
    "finished": "2026-01-02T03:04:05Z",
    "seconds": 41.5,
    "counts": COUNTS,
    "by_category": {"I": dict.fromkeys(COUNTS, 0) | {"error": 1}, "II": COUNTS | {"error": 0}, "III": {}},
    "results": [
        {**RESULT, "reason": "20 minutes", "mended_by": "set portal idle_minutes 15", "evidence": [{"command": "x"}]},
        {**RESULT, "rule": "V-250995", "category": "I", "status": "error", "reason": "refused"},
        {**RESULT, "rule": "V-250999", "status": "not_a_finding"},
    ],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scanner's folder, with a scan in it."""
    place = tmp_path / "stig"
    place.mkdir()
    monkeypatch.setattr(stig_results, "FOLDER", place)
    (place / "results.json").write_text(json.dumps(SCAN))
    (place / "sentry.ckl").write_text("<CHECKLIST/>")
    (place / "opened.json").write_text('{"rules": {"V-250984": "Idle sessions end."}}')
    return place


def kind(daemon: Daemon, uid: int, verb: type, **fields: Any) -> str:
    """What comes of a verb in a session of this account: `ok` or the refusal's kind."""
    peer, session = daemon.open(uid, connection=uid)
    try:
        daemon.say(peer, verb(session=session.handle, **fields))
    except Refused as refused:
        return refused.refusal.kind
    return "ok"


def shown(daemon: Daemon, topic: str) -> Any:
    return facts.show(topic, "", daemon.context())


def test_the_counts_and_what_has_become_open_are_shown(daemon: Daemon, folder: Path) -> None:
    assert folder.exists()
    found = shown(daemon, "stig")
    assert isinstance(found, Facts)
    told = dict(found.facts)
    assert (told["last scan"], told["took (seconds)"], told["rules"]) == ("2026-01-02T03:04:05Z", "41.5", "3")
    assert told["open"] == "1 (CAT I: 0, CAT II: 1, CAT III: 0)"
    assert told["in error (not looked at)"] == "1 (CAT I: 1, CAT II: 0, CAT III: 0)"
    assert told["open and once were not"] == "V-250984"


def test_what_is_open_comes_first_with_what_mends_it(daemon: Daemon, folder: Path) -> None:
    assert folder.exists()
    found = shown(daemon, "stig-open")
    assert isinstance(found, Table)
    assert [row[0] for row in found.rows] == ["V-250984", "V-250995"]
    assert found.rows[0] == ("V-250984", "II", "open", "Idle sessions end.", "20 minutes", "set portal idle_minutes 15")


def test_before_the_first_scan_that_is_what_is_said(daemon: Daemon, folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    assert dict(shown(daemon, "stig").facts)["last scan"] == "none yet"
    assert "not scanned itself yet" in shown(daemon, "stig-open").title
    with pytest.raises(RefusedError, match="not scanned itself yet"):
        stig_results.report("ckl")
    assert health._stig_opened() == {}


@pytest.mark.parametrize("form", get_args(api.ReportForm))
def test_each_form_of_a_report_is_one_file(folder: Path, form: api.ReportForm) -> None:
    name, media_type = stig_results.REPORTS[form]
    (folder / name).write_text("<x>\u00e9</x>")
    assert stig_results.report(form) == api.Report(name=name, media_type=media_type, text="<x>\u00e9</x>")


def _link(place: Path) -> None:
    place.symlink_to("/etc/passwd")


def _second_name(place: Path) -> None:
    other = place.with_name("other")
    other.write_text("secret of another's")
    os.link(other, place)


def _pipe(place: Path) -> None:
    os.mkfifo(place)


def _folder(place: Path) -> None:
    place.mkdir()


def _too_long(place: Path) -> None:
    place.write_bytes(b"x" * (stig_results.FILE_BYTES + 1))


@pytest.mark.parametrize("trick", [_link, _second_name, _pipe, _folder, _too_long])
def test_what_is_no_plain_file_of_the_scanners_is_not_read(folder: Path, trick: Any) -> None:
    """Root reads there, and a scanner that was taken over must not have it read something else."""
    (folder / "sentry.ckl").unlink()
    trick(folder / "sentry.ckl")
    with pytest.raises(RefusedError) as caught:
        stig_results.report("ckl")
    assert caught.value.refusal.kind == "unavailable"


def test_results_that_cannot_be_read_are_no_scan_without_findings(daemon: Daemon, folder: Path) -> None:
    (folder / "results.json").write_text('{"results": []}')
    with pytest.raises(RefusedError, match=r"results\.json of the last scan cannot be read"):
        shown(daemon, "stig")
    (folder / "opened.json").write_text("nonsense")
    assert health._stig_opened() is None


@pytest.mark.parametrize(("uid", "may"), [(ALICE, "ok"), (ALBERT, "ok"), (OLGA, "permission")])
def test_auditors_and_administrators_start_a_scan_and_get_its_reports(
    daemon: Daemon, folder: Path, uid: int, may: str
) -> None:
    assert folder.exists()
    assert kind(daemon, uid, api.StartScan) == may
    started = ["systemctl", "--no-block", "start", "sentry-stig.service"] in daemon.commands.log
    assert started == (may == "ok")
    assert kind(daemon, uid, api.ReadReport, form="ckl") == may


def test_the_scanner_s_account_looks_and_does_nothing_else(daemon: Daemon) -> None:
    """It has an auditor's role without `enable`, and of that only the looks."""
    _peer, session = daemon.open(SCANNER)
    assert (session.user, session.role, session.privileged) == ("sentry-stig", "auditor", False)
    standing = roles.Standing(role="auditor", manner="scanner")
    verbs = {verb for verb in get_args(api.Verb) if verb not in SESSIONLESS}
    served = {verb for verb in verbs if roles.refusal(verb, standing) is None}
    assert served == {api.Show, api.ReadFact, api.Touch, api.CloseSession}
    assert roles.refusal(api.Show, standing, about="firewall") is not None


def test_the_scanner_s_session_takes_nobody_s_place_and_outlives_a_commit(daemon: Daemon) -> None:
    opened = [daemon.open(SCANNER, connection=number) for number in range(20, 26)]
    daemon.open(ALICE, connection=1)
    daemon.sessions.follow({"alice": "administrator"}, {})
    peer, session = opened[0]
    assert daemon.say(peer, api.Show(session=session.handle, topic="timeout"), api.Shown)
