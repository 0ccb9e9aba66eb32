"""A machine of QEMU's that runs the site sites/stig.yml, and who talks to it."""

import json
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from images.lab.zones import MANAGEMENT
from images.paths import Layout
from images.run import run
from tests.boot.machine import AwayError, Machine
from tests.boot.rest import Rest

LOGIN = b"login:"
# It reads every program of the image, at the lowest priority.
INTEGRITY = "/var/lib/aide/aide.db"


@dataclass
class Appliance:
    """A machine that runs the site, and who talks to it."""

    machine: Machine
    layout: Layout
    rest: Rest
    held: ExitStack = field(default_factory=ExitStack)
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_on(self) -> bool:
        """Whether it is on now."""
        return self.process is not None and self.process.poll() is None

    def switch_on(self) -> subprocess.Popen[bytes]:
        """Switch it on."""
        self.process = self.held.enter_context(self.machine.on())
        return self.process

    def switch_off(self) -> None:
        """Press its power button, and take it off the network."""
        assert self.process is not None
        self.machine.off(self.process)
        self.held.close()

    def knows(self) -> None:
        """Write its host key down, as an administrator does who sees it for the first time."""
        keys = run(["ssh-keyscan", "-T", "60", "-t", "ecdsa", MANAGEMENT.address]).stdout
        assert keys
        self.layout.known_hosts.write_text(keys)

    def cli(self, command: str) -> str:
        """What the command line answers over SSH to the administrator."""
        options = ["-F", "none", "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={self.layout.known_hosts}"]
        return run(
            ["ssh", *options, "-i", self.layout.secrets / "admin", f"admin@{MANAGEMENT.address}", command]
        ).stdout

    def serves(self, revision: int) -> None:
        """All three doors answer, and the command line takes a command."""
        answers = [self.machine.answers(MANAGEMENT.address, port) for port in sorted(MANAGEMENT.ports)]
        assert answers[0].startswith("SSH-2.0-")
        assert all(answer.startswith("TLS") for answer in answers[1:])
        assert f"revision {revision}" in self.cli("show version")

    def is_integrity_known(self) -> bool:
        """Whether the first look at all programs has ended."""
        return INTEGRITY in self.cli("facts integrity")


def tell(made: Appliance, settings: dict[str, Any]) -> None:
    """Lay settings over the configuration. The portal restarts for another certificate, and its answer may not arrive."""
    rest = made.rest
    if len(made.machine.until(lambda: rest.ask("GET", "/revisions"))) == 1:
        with suppress(AwayError):
            rest.ask(
                "PATCH",
                "/config",
                json.dumps(settings).encode(),
                Content_Type="application/merge-patch+json",
                Sentry_Enable_Secret=rest.secret("enable.secret"),
            )
    made.machine.until(lambda: len(rest.ask("GET", "/revisions")) == 2)
