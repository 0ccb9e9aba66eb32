"""`python -m images.lab up | down | status | scan | probe`: what `make appliance` and its siblings call."""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images import guest as guests
from images.console import say
from images.guest import GuestError
from images.lab import steps, summary
from images.lab.steps import LabError
from images.lab.up import STOPS, up
from images.lab.zones import GUEST
from images.paths import REPO, Layout
from images.probe import ProbeError
from images.rootfs import TreeError
from images.run import CommandError

FAILED = 1
WRONG_USE = 2
INTERRUPTED = 130  # what a shell reports for SIGINT


def main(argv: Sequence[str]) -> int:
    """Run one command; an expected failure is one message on standard error and a non-zero code."""
    os.umask(0o022)  # files that are private say so; the others are for whoever uses the lab
    asked = _parser().parse_args(argv)
    layout = Layout()
    if os.geteuid() != 0:
        print(
            "The lab boots a guest and makes interfaces: run it as root, or through `make` with sudo.", file=sys.stderr
        )
        return WRONG_USE
    try:
        with _alone(layout):
            return _serve(asked, layout)
    except (CommandError, GuestError, LabError, ProbeError, TreeError) as error:
        print(f"\nlab {asked.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _serve(asked: argparse.Namespace, layout: Layout) -> int:
    if asked.command == "up":
        steps.check_machine()
        up(layout, asked.site, asked.until)
        return 0
    if asked.command == "down":
        ended = steps.down(layout, asked.guests)
        say(f"{' and '.join(ended)} ended" if ended else "no guest runs")
        return 0
    guest = guests.find(GUEST, layout)
    if guest is None:
        print(f"{GUEST} does not run; `make appliance` starts it", file=sys.stderr)
        return FAILED
    if asked.command == "scan":
        _lines(summary.compliance_lines(steps.scan(layout)))
    elif asked.command == "probe":
        seen, heard = steps.look_from_outside(), steps.look_across(guest)
        _lines([*summary.port_lines(seen), *summary.crossing_lines(heard)])
        wrong = [*steps.unexpected(seen), *steps.trespasses(heard)]
        _lines(wrong)
        return FAILED if wrong else 0
    else:
        _lines([f"{GUEST} runs: nspawn {guest.pid}, its PID 1 is {guest.leader}, its tree {guest.root}"])
    return 0


def _lines(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """One command at a time; a second one waits and says so."""
    layout.build.mkdir(exist_ok=True)
    with (layout.build / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another lab command runs; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m images.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    upward = commands.add_parser("up", help="build, boot, provision, scan and probe the appliance")
    upward.add_argument("--site", type=Path, default=REPO / "sites" / "lab.yml", help="the site configuration")
    upward.add_argument("--until", choices=STOPS, default=STOPS[-1], help="the last step to take")
    downward = commands.add_parser("down", help="end the appliance, and the mail servers of its tests")
    downward.add_argument("guests", nargs="*", metavar="GUEST", help="only these guests")
    for name, about in (
        ("status", "say whether it runs"),
        ("scan", "scan the running appliance"),
        ("probe", "look at the running appliance's ports"),
    ):
        commands.add_parser(name, help=about)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
