"""The qcow2 that ships, started with a NoCloud disk: it configures itself, serves, and finds its configuration again; slow."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from images.run import run
from tests.boot.machine import ADDRESS, INTERFACE, ROUTER, Machine, nocloud

pytestmark = pytest.mark.slow

LOGIN = b"login:"
PORTS = (22, 443, 8443)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An administrator's SSH key."""
    place = tmp_path_factory.mktemp("key") / "admin"
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-C", "", "-f", place])
    return place


def site(key: Path) -> str:
    """A site with one network card, as sites/lab.yml has it with three."""
    return yaml.safe_dump(
        {
            "hostname": "gateway.lab.test",
            "interfaces": {INTERFACE: {"zones": ["device", "management", "backend"], "addresses": [f"{ADDRESS}/24"]}},
            "firewall": {"management_networks": ["10.0.2.0/24"]},
            "dns": {"servers": [ROUTER]},
            "ntp": {"servers": [ROUTER, "10.0.2.4"]},
            "users": {
                "accounts": {
                    "admin": {"role": "administrator", "ssh_keys": [key.with_suffix(".pub").read_text().strip()]}
                }
            },
            "backends": {"servers": {"mail": {"host": "10.0.2.10"}}},
            "uem": {"mode": "embedded"},
        }
    )


def serves(machine: Machine, key: Path) -> None:
    """All three doors answer from outside, and the command line takes a command."""
    greetings = [machine.answers(port) for port in PORTS]
    assert greetings[0].startswith("SSH-2.0-")
    assert set(greetings[1:]) <= {"TLSv1.2", "TLSv1.3"}
    assert "revision 1" in machine.cli(key, "admin", "show version")


def test_it_takes_its_configuration_serves_and_serves_again(
    built: Path, key: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (image,) = built.glob("*.qcow2")
    folder = tmp_path_factory.mktemp("configured")
    machine = Machine.made(image, folder)
    with replace(machine, cd=nocloud(folder, site(key))).on() as process:
        machine.until(process, b"This appliance is configured: revision 1")
        machine.until(process, LOGIN)
        serves(machine, key)
        machine.off(process)

    # Without the disk, and with an /etc that is empty again.
    with machine.on() as process:
        machine.until(process, LOGIN)
        serves(machine, key)
        machine.off(process)


def test_what_it_cannot_use_is_said_on_the_console_which_asks(
    built: Path, key: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (image,) = built.glob("*.qcow2")
    folder = tmp_path_factory.mktemp("refused")
    machine = Machine.made(image, folder)
    text = f"{site(key)}runcmd: [reboot]\n"
    with replace(machine, cd=nocloud(folder, text)).on() as process:
        machine.until(process, b"runcmd: found an unknown setting")
        machine.until(process, b"Press Enter to set it up here.")
        machine.off(process)
