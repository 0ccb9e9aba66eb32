"""The appliance's scan of itself by the STIGs' rules: its counts, what is open, a scan now, and the checklists."""

import asyncio
from typing import Final, get_args

from aiohttp import web

from appliance.configd.api import ReadReport, Report, ReportForm, StartScan
from appliance.configd.client import Refused
from appliance.portal.showing import block, records
from appliance.portal.visit import LIVE, Visit

FORMS: Final[dict[ReportForm, str]] = {
    "ckl": "Checklist for STIG Viewer 2, eMASS and STIG Manager (.ckl)",
    "cklb": "Checklist for STIG Viewer 3 and STIG Manager (.cklb)",
    "html": "Report for people, with every piece of evidence (.html)",
    "json": "Results for programs (.json)",
}
RUNNING: Final = "running"
NOT_YET: Final = "none yet"
REFRESH_SECONDS: Final = 5  # while a scan runs; it takes about a minute


async def page(visit: Visit) -> web.Response:
    """The last scan. While one runs, the page renews itself."""
    frame, scan, findings = await asyncio.gather(visit.frame(), visit.show("stig"), visit.show("stig-open"))
    shown = block(scan)
    runs = ("scan now", RUNNING) in shown.rows
    scanned = ("last scan", NOT_YET) not in shown.rows
    return await visit.page(
        "stig.html.j2",
        frame=frame,
        scan=shown,
        findings=records(findings),
        as_of=block(findings).title,
        forms=FORMS,
        runs=runs,
        scanned=scanned,
        may_act=visit.role != "operator",
        refresh=REFRESH_SECONDS if runs else 0,
        live=str(visit.request.rel_url.with_query({LIVE: "1"})),
    )


async def scan_now(visit: Visit) -> web.Response:
    """Start a scan."""
    try:
        await visit.call(StartScan, None)
    except Refused as refused:
        if refused.refusal.kind == "session":
            raise
        visit.say(f"scan: {refused.refusal.message}", good=False)
    else:
        visit.say("The scan has begun; it takes about a minute.")
    return visit.go("/stig")


async def download(visit: Visit) -> web.Response:
    """One report of the last scan, to be saved. It is never shown as a page of the portal's own."""
    form = visit.asked("form")
    if form not in get_args(ReportForm):
        raise web.HTTPNotFound
    try:
        report = await visit.call(ReadReport, Report, form=form)
    except Refused as refused:
        if refused.refusal.kind != "invalid":
            raise
        raise web.HTTPNotFound from refused
    answer = web.Response(body=report.text.encode(), content_type="application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{report.name}"'
    return answer
