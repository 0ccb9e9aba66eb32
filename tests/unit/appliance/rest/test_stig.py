"""The appliance's scan of itself over REST."""

from pathlib import Path

import pytest

from appliance.configd import stig_results
from tests.unit.appliance.rest.conftest import Stand


def test_a_token_to_read_starts_a_scan_and_gets_its_reports(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An auditor's, too; an operator's may not."""
    monkeypatch.setattr(stig_results, "FOLDER", tmp_path)
    token = stand.token("assessor", "auditor", scopes=("read",))
    assert stand.ask("POST", "/api/v1/stig/scan", token).status in (200, 204)
    assert ["systemctl", "--no-block", "start", "sentry-stig.service"] in stand.daemon.commands.log
    missing = stand.ask("GET", "/api/v1/stig/reports/ckl", token)
    assert "not scanned itself yet" in missing.json["detail"]
    (tmp_path / "sentry.ckl").write_text("<CHECKLIST/>")
    found = stand.ask("GET", "/api/v1/stig/reports/ckl", token)
    assert found.json == {"name": "sentry.ckl", "media_type": "application/xml", "text": "<CHECKLIST/>"}
    assert stand.ask("GET", "/api/v1/stig/reports/shadow", token).status == 404
    operator = stand.token("tool", "operator", scopes=("read",))
    for method, path in (("POST", "/api/v1/stig/scan"), ("GET", "/api/v1/stig/reports/ckl")):
        assert stand.ask(method, path, operator).status == 403
