"""Topics about STIG scans: what the appliance's own last one has found, and which facts there are."""

from appliance.configd import stig_results
from appliance.configd.api import Facts, Table
from appliance.configd.facts.context import Context, Topic
from appliance.configd.stig_facts import SOCKET, ListFacts

COLUMNS = ("fact", "command")
TIMER = "sentry-stig.timer"
ORDER = ("open", "error")
CATEGORIES = ("I", "II", "III")
HEADINGS = {
    "open": "open",
    "error": "in error (not looked at)",
    "not_a_finding": "not a finding",
    "not_applicable": "not applicable",
    "not_reviewed": "not reviewed",
}


def listed(context: Context, _argument: str) -> Table:
    """The closed list of what a scan may ask, each with the command that the facts service runs for it."""
    rows = context.call(SOCKET, ListFacts(), tuple[tuple[str, str], ...])
    return Table(title="facts", columns=COLUMNS, rows=rows)


def scan(context: Context, _argument: str) -> Facts:
    """When it was, how long it took, and how many rules ended as what."""
    found = stig_results.last()
    state = _scanning(context)
    if found is None:
        return Facts(title="stig", facts=(("last scan", "none yet"), ("scan now", state)))
    counts = tuple((words, _counted(found, status)) for status, words in HEADINGS.items())
    new = ", ".join(sorted(stig_results.opened())) or "none"
    head = (("last scan", found.finished), ("took (seconds)", f"{found.seconds:g}"), ("scan now", state))
    total = (("rules", str(found.counts.get("total", len(found.results)))),)
    return Facts(title="stig", facts=(*head, *total, *counts, ("open and once were not", new)))


def _counted(found: stig_results.Scan, status: str) -> str:
    each = ", ".join(f"CAT {name}: {found.by_category.get(name, {}).get(status, 0)}" for name in CATEGORIES)
    return f"{found.counts.get(status, 0)} ({each})"


def _scanning(context: Context) -> str:
    """How the unit of the scan stands: systemd's word, and why it failed where it did."""
    wanted = "--property=ActiveState,Result"
    said = context.attempt(["systemctl", "show", wanted, "--", stig_results.UNIT]).output
    state = dict(line.partition("=")[::2] for line in said.splitlines())
    if state.get("ActiveState") in ("activating", "active"):
        return "running"
    return (
        "not running"
        if state.get("Result", "success") == "success"
        else f"not running; the last one FAILED ({state['Result']})"
    )


def findings(_context: Context, _argument: str) -> Table:
    """The rules that are open, and those at which the scan could not look, by category."""
    found = stig_results.last()
    results = found.results if found else ()
    bad = sorted(
        (one for one in results if one.status in ORDER),
        key=lambda one: (ORDER.index(one.status), len(one.category), one.rule),
    )
    rows = tuple((one.rule, one.category, one.status, one.requirement, one.reason, one.mended_by) for one in bad)
    title = f"open rules, as of {found.finished}" if found else "open rules: the appliance has not scanned itself yet"
    return Table(title=title, columns=("rule", "CAT", "status", "demands", "found", "mended by"), rows=rows)


TOPICS = {
    "facts": Topic("the facts that a STIG scan asks, and the command behind each", listed),
    "stig": Topic("what the appliance's last scan of itself has found", scan),
    "stig-open": Topic("the rules that it found open, and what mends each", findings),
}
