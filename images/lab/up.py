"""`make appliance` after setup: a table of steps, each of which leaves what the next ones need."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from images.console import Steps, say
from images.crossing import Heard
from images.guest import Guest
from images.lab import compiling, machine, steps, summary
from images.lab.compiling import Compiling
from images.lab.steps import Compliance, LabError
from images.paths import Layout
from images.probe import Seen


@dataclass(slots=True)
class Run:
    """One run: what it was asked for, and what its steps have found so far."""

    layout: Layout
    site: Path
    work: Steps = field(default_factory=Steps)
    compiling: Compiling | None = None
    tar: Path | None = None
    digest: str = ""
    guest: Guest | None = None
    described: dict[str, Any] = field(default_factory=dict)
    compliance: Compliance = field(default_factory=lambda: Compliance({}))
    seen: tuple[Seen, ...] = ()
    heard: tuple[Heard, ...] = ()


def _secrets(run: Run) -> None:
    steps.ensure_secrets(run.layout)


def _site(run: Run) -> None:
    steps.check_site(run.site)


def _tree(run: Run) -> None:
    run.tar, run.digest = machine.ensure_tree(run.layout)


def _guest(run: Run) -> None:
    if run.tar is None:
        raise LabError("a guest needs a root tree first")
    run.guest, fresh = steps.make_guest(run.layout, run.tar, run.digest)
    say(f"    {'booted' if fresh else 'runs already'}; its console is {run.guest.root.parent}/boot.log")


def _compile(run: Run) -> None:
    if run.compiling is None:
        raise LabError("what compiles the gateway must have begun before")
    say(run.compiling.wait().rstrip())


def _provision(run: Run) -> None:
    steps.provision(run.layout, run.site)


def _stand_ins(run: Run) -> None:
    played = steps.start_stand_ins(run.layout, run.site)
    say(
        f"    {'the log server, time servers, mail, the directory and the backend' if played else 'this site has none'}"
    )


def _describe(run: Run) -> None:
    if run.guest is None:
        raise LabError("there is no guest to describe")
    run.described = steps.describe_appliance(run.layout, run.guest, run.site)


def _scan(run: Run) -> None:
    run.compliance = steps.scan(run.layout)


def _probe(run: Run) -> None:
    if run.guest is None:
        raise LabError("there is no guest to look at")
    run.seen = steps.look_from_outside()
    run.heard = steps.look_across(run.guest)


@dataclass(frozen=True, slots=True)
class Step:
    """A step's name, what it says it does, and the doing."""

    name: str
    about: str
    take: Callable[[Run], None]


STEPS = (
    Step("secrets", "the lab's keys, passwords and certificates", _secrets),
    Step("site", "checking the site configuration before anything is touched", _site),
    Step("tree", "a Debian 13 root tree with mmdebstrap", _tree),
    Step("guest", "booting it with systemd-nspawn, three zones", _guest),
    Step("stand-ins", "the site's other machines, where the lab plays them", _stand_ins),
    Step("compile", "the gateway's hot modules, begun before all other steps", _compile),
    Step("provision", "playbooks/provision.yml over SSH", _provision),
    Step("describe", "writing build/appliance.json", _describe),
    Step("scan", "the STIG rules, into build/scan/", _scan),
    Step("probe", "every TCP port from outside, in every zone", _probe),
)
STOPS = tuple(step.name for step in STEPS)


def up(layout: Layout, site: Path, until: str = STOPS[-1]) -> None:
    """Take the steps up to and with `until`, then say what came of them.

    Raises `LabError` when the appliance, looked at from outside, is not as it should be; it stays running to be looked at.
    """
    run = Run(layout, site)
    wanted = STEPS[: STOPS.index(until) + 1]
    with ExitStack() as stack:
        if any(step.take is _compile for step in wanted):
            run.compiling = stack.enter_context(compiling.begun(layout))
        for step in wanted:
            with run.work.step(step.name, step.about):
                step.take(run)
    for title, lines in _chapters(run):
        say(f"\n{title}")
        for line in lines:
            say(line)
    wrong = [*steps.unexpected(run.seen), *steps.trespasses(run.heard)] if run.seen else []
    if wrong:
        raise LabError("seen from outside, the appliance is not as it should be:\n  " + "\n  ".join(wrong))


def _ports(run: Run) -> list[str]:
    return [*summary.port_lines(run.seen), *summary.crossing_lines(run.heard)]


def _chapters(run: Run) -> list[tuple[str, list[str]]]:
    """The summary's chapters, of what this run has measured."""
    chapters: list[tuple[str, list[str]]] = []
    if run.compliance.counts:
        chapters.append(("Compliance (build/scan/report.html)", summary.compliance_lines(run.compliance)))
    if run.seen:
        chapters.append(("Ports that answer, seen from outside", _ports(run)))
    if run.described:
        chapters.append(("Log in (`make down` ends the appliance)", summary.login_lines(run.described)))
    chapters.append(("Time", summary.time_lines(run.work.taken)))
    return chapters
