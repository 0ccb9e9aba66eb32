"""What the machine answers to SNMP: as one of its users, and as somebody with a community string."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from stig.run import run
from stig.target import SnmpUser

SYSTEM_NAME = ".1.3.6.1.2.1.1.5.0"  # sysName.0 (RFC 3418), which every agent has
SECONDS, TRIES_MORE = 2, 1
COMMUNITY = "public"  # what every scanner on a network tries first
LEVELS = ("noAuthNoPriv", "authNoPriv", "authPriv")


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a value came back, and what was said: the value, or Net-SNMP's words for why there is none."""

    answered: bool
    said: str


def as_user(address: str, user: SnmpUser, level: str) -> Answer:
    """Ask in version 3 at this security level."""
    return _ask(
        address,
        f"defVersion 3\ndefSecurityName {user.user}\ndefSecurityLevel {level}\n"
        f"defAuthType {user.auth}\ndefAuthPassphrase {_line(user.auth_file)}\n"
        f"defPrivType {user.privacy}\ndefPrivPassphrase {_line(user.privacy_file)}\n",
    )


def with_community(address: str, version: str) -> Answer:
    """Ask in version `1` or `2c` with a community string that many agents take."""
    return _ask(address, f"defVersion {version}\ndefCommunity {COMMUNITY}\n")


def _ask(address: str, settings: str) -> Answer:
    """One question. What must not be seen in a list of processes goes by a file that nobody else reads."""
    place = f"udp6:[{address}]" if ":" in address else f"udp:{address}"
    with tempfile.TemporaryDirectory(prefix="snmp-") as folder:
        file = Path(folder) / "snmp.conf"
        file.touch(mode=0o600)
        file.write_text(settings, encoding="utf-8")
        environment = [f"{name}={folder}" for name in ("SNMPCONFPATH", "SNMP_PERSISTENT_DIR")]
        patience = ["-t", str(SECONDS), "-r", str(TRIES_MORE)]
        done = run(["env", *environment, "MIBS=", "snmpget", *patience, "-Oqv", place, SYSTEM_NAME])
    said = " ".join((done.output or done.errors).split())
    return Answer(done.status == 0 and bool(done.output.strip()), said)


def _line(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip()
