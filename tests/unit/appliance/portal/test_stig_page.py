"""The portal's page of the appliance's scan of itself: what it shows, who starts one, and how a checklist is handed out."""

from pathlib import Path

import pytest

from appliance.configd import api, stig_results
from tests.unit.appliance.portal.stage import Stage, seen

COLUMNS = ("rule", "CAT", "status", "demands", "found", "mended by")
ROW = ("V-250984", "II", "open", "Idle sessions end.", "20 minutes", "by configuration: set portal idle_minutes")
START = ["systemctl", "--no-block", "start", "sentry-stig.service"]


def told(stage: Stage, state: str) -> None:
    facts = (
        ("last scan", "2026-01-02T03:04:05Z"),
        ("scan now", state),
        ("open", "1 (CAT I: 0, CAT II: 1, CAT III: 0)"),
    )
    stage.site.topics["stig"] = api.Facts(title="stig", facts=facts)
    title = "open rules, as of 2026-01-02T03:04:05Z"
    stage.site.topics["stig-open"] = api.Table(title=title, columns=COLUMNS, rows=(ROW,))


async def test_counts_and_open_rules_stand_there_with_what_mends_each(stage: Stage) -> None:
    told(stage, "not running")
    albert = await (await stage.person("albert")).get("/stig")
    assert albert.status == 200
    for words in ("1 (CAT I: 0, CAT II: 1, CAT III: 0)", *ROW, "open rules, as of 2026-01-02T03:04:05Z"):
        assert words in albert.text
    assert 'http-equiv="refresh"' not in albert.page


async def test_before_the_first_scan_no_report_is_offered(stage: Stage) -> None:
    stage.site.topics["stig"] = api.Facts(title="stig", facts=(("last scan", "none yet"), ("scan now", "not running")))
    stage.site.topics["stig-open"] = api.Table(title="open rules", columns=COLUMNS, rows=())
    albert = await (await stage.person("albert")).get("/stig")
    assert "There are none before the first scan." in albert.text
    assert "Nothing is known before the first scan." in albert.text
    assert ">None<" not in albert.page
    assert "/stig/report" not in albert.page
    told(stage, "not running")
    assert "/stig/report?form=ckl" in (await albert.get("/stig")).page


async def test_a_scan_that_found_nothing_says_so(stage: Stage) -> None:
    told(stage, "not running")
    stage.site.topics["stig-open"] = api.Table(title="open rules, as of then", columns=COLUMNS, rows=())
    albert = await (await stage.person("albert")).get("/stig")
    assert ">None<" in albert.page
    assert "Nothing is known" not in albert.text


async def test_while_a_scan_runs_the_page_renews_itself_and_starts_no_other(stage: Stage) -> None:
    told(stage, "running")
    albert = await (await stage.person("albert")).get("/stig")
    assert 'content="5;url=/stig?live=1"' in albert.page
    button = next(one for one in seen(albert.page).all("button") if one.get("id") == "scan-now")
    assert "disabled" in button


@pytest.mark.parametrize(("user", "may"), [("alice", True), ("albert", True), ("olga", False)])
async def test_auditors_and_administrators_start_a_scan_and_operators_see_no_button(
    stage: Stage, user: str, *, may: bool
) -> None:
    told(stage, "not running")
    person = await (await stage.person(user)).get("/stig")
    assert ("scan-now" in person.page) == may
    await person.send("/stig/scan")
    assert (START in stage.site.commands.log) == may
    assert ("The scan has begun" in person.text) == may


async def test_a_checklist_is_saved_and_never_shown_as_a_page(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the scanner has written into it."""
    monkeypatch.setattr(stig_results, "FOLDER", tmp_path)
    (tmp_path / "report.html").write_text("<script>alert(1)</script>")
    albert = await stage.person("albert")
    async with albert.http.get(f"{stage.url}/stig/report?form=html", allow_redirects=False) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Disposition"] == 'attachment; filename="report.html"'
        assert answer.content_type == "application/octet-stream"
        assert await answer.text() == "<script>alert(1)</script>"
    for form in ("ckl", "", "../config", "html/../../config"):
        await albert.get(f"/stig/report?form={form}")
        assert albert.status == 404
    olga = await (await stage.person("olga")).get("/stig/report?form=html")
    assert olga.status == 403
