"""SNMP on the running appliance: a user reads, nobody else does, nothing may be written, and the receiver is told."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images.guest import wait_for
from images.paths import Layout
from images.run import run
from stig.probe import snmp
from stig.target import SnmpUser, Target, described
from tests.lab import Lab

pytestmark = pytest.mark.appliance

SYSTEM, INTERFACES, HOST = ".1.3.6.1.2.1.1", ".1.3.6.1.2.1.2.2.1.2", ".1.3.6.1.2.1.25.1.1"
ENGINE_BOOTS = ".1.3.6.1.6.3.10.2.1.2.0"
COLD_START, LINK_DOWN = ".1.3.6.1.6.3.1.1.5.1", ".1.3.6.1.6.3.1.1.5.3"
TRAP_PORT = 162
TRAP_SECONDS = 60.0  # snmpd looks at the interfaces every ten
USERS, PROCESS_ARGUMENTS = ".1.3.6.1.6.3.15", ".1.3.6.1.2.1.25.4.2.1.5"


@pytest.fixture
def target(layout: Layout) -> Target:
    """The description, as the scanner reads it."""
    return described(layout.appliance)


@pytest.fixture
def user(target: Target) -> SnmpUser:
    assert target.snmp is not None
    return target.snmp


def asked(tmp_path: Path, target: Target, user: SnmpUser, program: str, *words: str) -> str:
    """What a manager's program prints; the passphrases go by a file."""
    (tmp_path / "snmp.conf").touch(mode=0o600)
    (tmp_path / "snmp.conf").write_text(
        f"defVersion 3\ndefSecurityName {user.user}\ndefSecurityLevel authPriv\n"
        f"defAuthType {user.auth}\ndefAuthPassphrase {user.auth_file.read_text().strip()}\n"
        f"defPrivType {user.privacy}\ndefPrivPassphrase {user.privacy_file.read_text().strip()}\n"
    )
    environment = [f"SNMPCONFPATH={tmp_path}", f"SNMP_PERSISTENT_DIR={tmp_path}", "MIBS="]
    done = run(["env", *environment, program, "-t", "2", "-r", "1", "-On", target.address, *words], check=False)
    return done.stdout + done.stderr


def test_a_user_reads_the_standard_mibs(lab: Lab, target: Target, user: SnmpUser, tmp_path: Path) -> None:
    """System, interfaces and host, as the kernel has them."""
    assert lab.root("hostname", "-f").stdout.strip() in asked(tmp_path, target, user, "snmpwalk", SYSTEM)
    names = asked(tmp_path, target, user, "snmpwalk", INTERFACES)
    assert all(name in names for name in ("device0", "mgmt0", "backend0"))
    assert "Timeticks" in asked(tmp_path, target, user, "snmpwalk", HOST)


def test_keys_and_programs_arguments_cannot_be_read_and_nothing_written(
    target: Target, user: SnmpUser, tmp_path: Path
) -> None:
    for place in (USERS, PROCESS_ARGUMENTS):
        said = asked(tmp_path, target, user, "snmpwalk", place)
        assert "No Such" in said or "No more variables left in this MIB View" in said
    refused = asked(tmp_path, target, user, "snmpset", f"{SYSTEM}.4.0", "s", "mallory")
    assert "noAccess" in refused or "notWritable" in refused or "authorizationError" in refused


@pytest.mark.parametrize("version", ["1", "2c"])
def test_a_community_string_is_never_answered(version: str, target: Target) -> None:
    assert not snmp.with_community(target.address, version).answered


@pytest.mark.parametrize("level", ["noAuthNoPriv", "authNoPriv"])
def test_less_than_authentication_and_privacy_is_refused(level: str, target: Target, user: SnmpUser) -> None:
    assert not snmp.as_user(target.address, user, level).answered
    assert snmp.as_user(target.address, user, "authPriv").answered


def test_it_answers_in_the_management_zone_only(lab: Lab, user: SnmpUser) -> None:
    for address in (lab.addresses.device, lab.addresses.backend):
        assert not snmp.as_user(address, user, "authPriv").answered


def test_the_daemon_is_never_root_and_its_keys_are_its_own(lab: Lab) -> None:
    assert lab.root("ps", "-o", "user:32=", "-C", "snmpd").stdout.split() == ["Debian-snmp"]
    assert (
        lab.root("stat", "-c", "%U:%G %a", "/var/lib/sentry/snmp/users.conf").stdout.strip() == "root:Debian-snmp 640"
    )
    assert lab.root("stat", "-c", "%U:%G %a", "/var/lib/sentry/snmp/engine").stdout.strip() == "root:root 640"
    facts = json.loads(lab.cli("show snmp | json").stdout)["facts"]
    assert (facts["service"], facts["listens on"]) == ("active", f"{lab.addresses.management}:161")
    assert facts["user monitor"] == "authPriv, sha-256, aes-256"


def test_version_2_is_refused_with_its_rule(lab: Lab) -> None:
    """At the prompt, before anything is committed."""
    done = lab.cli("enable", lab.enable_secret, "configure terminal", "snmp protocol v2c", check=False)
    assert "V-251000" in done.stdout + done.stderr


def _listens() -> bool:
    return bool(run(["ss", "-Hlun", f"sport = :{TRAP_PORT}"]).stdout.strip())


@contextmanager
def receiver(lab: Lab, user: SnmpUser, folder: Path) -> Iterator[Path]:
    """snmptrapd where sites/lab.yml sends traps, which takes them of this engine and user alone; gives what it writes."""
    engine = json.loads(lab.cli("show snmp | json").stdout)["facts"]["engine id"]
    settings, written = folder / "snmptrapd.conf", folder / "traps"
    settings.touch(mode=0o600)
    settings.write_text(
        f"createUser -e 0x{engine} {user.user} {user.auth} {user.auth_file.read_text().strip()} "
        f"{user.privacy} {user.privacy_file.read_text().strip()}\nauthUser log {user.user} priv\n"
    )
    host = lab.addresses.management.rsplit(".", 1)[0] + ".1"
    environment = [f"SNMP_PERSISTENT_DIR={folder}", "MIBS="]
    argv = ["snmptrapd", "-f", "-n", "-On", "-Lf", str(written), "-C", "-c", str(settings), f"udp:{host}:{TRAP_PORT}"]
    with subprocess.Popen(["env", *environment, *argv]) as process:
        try:
            wait_for(_listens, "snmptrapd to listen")
            yield written
        finally:
            process.terminate()


def told(written: Path, word: str) -> bool:
    """Whether a trap with this word comes in time."""
    deadline = time.monotonic() + TRAP_SECONDS
    while time.monotonic() < deadline:
        if written.exists() and word in written.read_text(errors="replace"):
            return True
        time.sleep(0.5)
    return False


def test_each_start_has_a_number_of_its_own(lab: Lab, tmp_path: Path, target: Target, user: SnmpUser) -> None:
    """Or receivers would take what comes after a start for old (RFC 3414 2.2). Also after snmpd was killed."""

    def boots() -> int:
        return int(asked(tmp_path, target, user, "snmpget", "-Oqv", ENGINE_BOOTS).split()[0])

    first = boots()
    lab.root("systemctl", "restart", "snmpd.service")
    assert boots() == first + 1
    lab.root("systemctl", "kill", "--signal=KILL", "snmpd.service")
    lab.root("systemctl", "restart", "snmpd.service")
    assert boots() > first + 1


def test_the_receiver_hears_of_a_start_and_of_a_link_that_goes_down(
    lab: Lab, target: Target, user: SnmpUser, tmp_path: Path
) -> None:
    """Authenticated and encrypted, or snmptrapd would not write it."""
    assert target.snmp == user
    lab.root("ip", "link", "add", "trap0", "type", "veth", "peer", "name", "trap1")
    try:
        lab.root("ip", "link", "set", "trap1", "up")
        lab.root("ip", "link", "set", "trap0", "up")
        with receiver(lab, user, tmp_path) as written:
            lab.root("systemctl", "restart", "snmpd.service")
            assert told(written, COLD_START)
            lab.root("ip", "link", "set", "trap0", "down")
            assert told(written, LINK_DOWN)
    finally:
        lab.root("ip", "link", "delete", "trap0")


OWN = ".1.3.6.1.4.1.8072.9999.9999.7368"
HOST_RESOURCES, IF_X = ".1.3.6.1.2.1.25.2.3.1.3", ".1.3.6.1.2.1.31.1.1.1.1"


def test_the_product_s_own_figures_are_read_and_those_of_the_standard_modules_beside_them(
    lab: Lab, target: Target, user: SnmpUser, tmp_path: Path
) -> None:
    """The workers and the devices are as the command line says; the program is snmpd's account, which has no way to configd."""
    wait_for(lambda: f"{OWN}.1.1.11.0" in asked(tmp_path, target, user, "snmpwalk", OWN), "the first figures")
    said = asked(tmp_path, target, user, "snmpwalk", OWN)
    shown = json.loads(lab.cli("show gateway | json").stdout)["facts"]
    assert f"{OWN}.1.1.11.0 = Gauge32: {shown['workers']}" in said
    assert f"{OWN}.1.1.12.0 = INTEGER: 1" in said
    assert f'{OWN}.1.4.1.1.2.1 = STRING: "' in said
    age = int(asked(tmp_path, target, user, "snmpget", "-Oqv", f"{OWN}.1.5.0").split()[0])
    assert age < 60
    assert lab.root("ps", "-o", "user:32=", "-C", "sentry-snmp").stdout.split() == ["Debian-snmp"]
    assert "sentry-mgmt" not in lab.root("id", "-Gn", "Debian-snmp").stdout.split()
    for module in (HOST_RESOURCES, IF_X):
        assert f"{module}." in asked(tmp_path, target, user, "snmpwalk", module)
    refused = asked(tmp_path, target, user, "snmpset", f"{OWN}.1.1.1.0", "u", "5")
    assert "noAccess" in refused or "notWritable" in refused or "authorizationError" in refused
