"""Records what the checks of the operating system ask a running appliance, for the unit tests.

    python -m tests.unit.stig.recording [build/appliance.json]

writes into `recorded/platform/` one file for each fact, and `statuses.json` with the exit statuses that are not 0. It is run
against sites/stig.yml, which meets every rule. Of what a container has from its host nothing is kept; tests make that up.
"""

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stig.answers import Answers
from stig.errors import FactError
from stig.facts import Facts
from stig.machine import Machine, SshMachine
from stig.platform import PROOFS, SITE_PROOFS
from stig.platform.kernel import PARAMETERS
from stig.platform.upkeep import AUDIT_TOOLS
from stig.recorder import NotReviewed
from stig.run import Finished
from stig.target import Target, check, described

PLATFORM = Path(__file__).parent / "recorded" / "platform"
STATUSES = PLATFORM / "statuses.json"
OF_THE_HOST = frozenset(
    (
        "apparmor",
        "audit_loaded",
        "audit_status",
        "boot_loader",
        "boot_menu",
        "container",
        "kernel_arguments",
        "modules",
        "processor",
    )
)
INTEGRITY = {"SILENTREPORTS", *(f"/usr/sbin/{name}" for name in AUDIT_TOOLS)}
_ANSWERS = Answers(max_cli_sessions=5, authorised_users=("admin",), management_networks=("10.98.2.0/24",))


class Listening:
    """A machine that passes on what another answers, and remembers it."""

    def __init__(self, machine: Machine) -> None:
        self.target: Target = machine.target
        self.heard: dict[str, Finished] = {}
        self._machine = machine

    def look(self, name: str, argv: Sequence[str], *, stdin: str = "") -> Finished:
        """See `Machine`."""
        self.heard[name] = self._machine.look(name, argv, stdin=stdin)
        return self.heard[name]

    def cli(self, line: str) -> str:
        """See `Machine`."""
        return self._machine.cli(line)


def asked(facts: Facts) -> None:
    """Have every rule asked; how each ends does not matter here."""
    for proof in PROOFS:
        try:
            proof.verdict(facts)
        except (FactError, NotReviewed):
            continue
    for one in SITE_PROOFS:
        try:
            one.verdict(facts, _ANSWERS)
        except (FactError, NotReviewed):
            continue


def kept(name: str, done: Finished) -> str:
    """Of the thousand parameters of the kernel, and of Debian's settings of AIDE, only those that a rule is about."""
    wanted = {"sysctl": {row.name for row in PARAMETERS}, "integrity_settings": INTEGRITY}.get(name)
    if wanted is None:
        return done.output
    return "".join(f"{line}\n" for line in done.output.splitlines() if re.split(r"[ =]", line, maxsplit=1)[0] in wanted)


def main(description: Path) -> None:
    """Ask, and write."""
    with tempfile.TemporaryDirectory(prefix="record-") as folder:
        machine = SshMachine(check(described(description)), Path(folder))
        try:
            listening = Listening(machine)
            asked(Facts(listening))
        finally:
            machine.close()
    heard = {name: done for name, done in sorted(listening.heard.items()) if name not in OF_THE_HOST}
    PLATFORM.mkdir(exist_ok=True)
    for name, done in heard.items():
        (PLATFORM / f"{name}.txt").write_text(kept(name, done), encoding="utf-8")
    statuses = {name: done.status for name, done in heard.items() if done.status != 0}
    STATUSES.write_text(f"{json.dumps(statuses, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/appliance.json"))
