"""What breaks around the appliance or inside it: devices that are known go on, and nothing is forgotten."""

import time
from collections.abc import Callable, Iterator

import pytest
import requests

from images.guest import Guest
from tests.e2e.device import UEM_ADMIN, Phone, Registry, eventually, new_id, status_of
from tests.e2e.mailserver.server import ALICE, MailServer
from tests.lab import Lab, Measured

pytestmark = pytest.mark.e2e

# The promise is 3 s. How long it took is told at the end of the run; a bound here would only test how busy this machine is.
READY_SECONDS = 20.0
WATCHDOG_SECONDS = 60.0  # WatchdogSec of the unit, and as long again before systemd gives up on an end in good order

# Runs inside the appliance, with the appliance's own code: the management plane's question to the agent.
LIST_DEVICES = """
import sys
sys.path.insert(0, "/usr/lib/sentry/current")
from sentry_runtime import control
from sentry_runtime.devices.record import Record
from sentry_runtime.settings import Paths
after = None
while page := control.call(Paths().agent_socket, control.ListDevices(after=after), list[Record]):
    for record in page:
        print(record.key.device_id, record.key.principal, record.state.value)
    after = page[-1].key
"""


@pytest.fixture
def without_mail_server(mail_server: MailServer) -> Iterator[MailServer]:
    """The mail server's front end is down."""
    mail_server.stop()
    yield mail_server
    mail_server.start()


@pytest.fixture
def without_uem(machine: Guest) -> Iterator[Callable[[], None]]:
    """Calling it stops the UEM for the rest of the test."""

    def stop() -> None:
        machine.execute(["systemctl", "stop", "sentry-uem.service"])

    yield stop
    machine.execute(["systemctl", "start", "sentry-uem.service"])


def passes(phone: Phone) -> bool:
    """Whether the device's FolderSync reaches the mail server and comes back."""
    try:
        answer = phone.folder_sync()
    except requests.ConnectionError:
        return False
    return answer.status_code == 200 and status_of(answer.content, "FolderHierarchy.Status") == "1"


def test_without_a_backend_a_device_is_asked_to_come_back(
    lab: Lab, alices_device: str, without_mail_server: MailServer
) -> None:
    """503 with Retry-After; as soon as the backend is back, so is the mail."""
    phone = Phone(lab, ALICE, alices_device)
    answer = phone.folder_sync()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    without_mail_server.start()
    eventually(lambda: passes(phone), "the device to pass again", READY_SECONDS)


def test_without_the_uem_known_devices_go_on_and_new_ones_meet_the_fail_mode(
    lab: Lab, alices_device: str, machine: Guest, without_uem: Callable[[], None]
) -> None:
    """The device list outlives the UEM; who is not on it is kept out (`fail_mode: block`) and asked to come back."""
    known = Phone(lab, ALICE, alices_device)
    assert passes(known)
    without_uem()
    assert passes(known)
    stranger = Phone(lab, ALICE, new_id()).folder_sync()
    assert stranger.status_code == 503
    assert int(stranger.headers["Retry-After"]) > 0


def device_list(machine: Guest) -> list[str]:
    """The agent's device list: each entry's device, principal and state."""
    return sorted(machine.execute(["/usr/bin/python3", "-I", "-c", LIST_DEVICES]).stdout.splitlines())


def processes(machine: Guest, unit: str) -> tuple[int, list[int]]:
    """The main process of a unit and its children, by the guest's own process ids."""
    main = int(machine.execute(["systemctl", "show", "--property=MainPID", "--value", unit]).stdout)
    children = machine.execute(["cat", f"/proc/{main}/task/{main}/children"], check=False).stdout
    return main, [int(child) for child in children.split()]


def serves(service: str, lab: Lab, machine: Guest, phone: Phone) -> bool:
    """Whether the service does its work, seen from where its users are."""
    match service:
        case "gateway":
            return passes(phone)
        case "agent":
            return machine.execute(["/usr/bin/python3", "-I", "-c", LIST_DEVICES], check=False).code == 0
        case "uem":
            return machine.execute([UEM_ADMIN, "list"], check=False).code == 0
        case "configd":
            return lab.cli("show version", check=False).code == 0
        case _:
            return portal_answers(lab)


def portal_answers(lab: Lab) -> bool:
    """Whether the portal shows its log-in page."""
    try:
        return lab.http().get(f"{lab.portal_url}/login", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("service", ["gateway", "gateway worker", "agent", "uem", "configd", "portal"])
def test_a_killed_process_is_back_in_time_and_no_device_is_forgotten(
    lab: Lab, alices_device: str, registry: Registry, machine: Guest, service: str,
    measured: Measured,
) -> None:  # fmt: skip
    """kill -9 of each of the five services, and of a gateway worker under its supervisor."""
    phone, name = Phone(lab, ALICE, alices_device), service.split(maxsplit=1)[0]
    assert passes(phone)
    assert serves(name, lab, machine, phone)
    known, registered = device_list(machine), registry.rows()
    main, children = processes(machine, f"sentry-{name}.service")
    victim = children[0] if service.endswith("worker") else main
    machine.execute(["kill", "-KILL", str(victim)])
    killed = time.monotonic()

    def back() -> bool:
        now, workers = processes(machine, f"sentry-{name}.service")
        return now not in {0, victim} and victim not in workers and serves(name, lab, machine, phone)

    eventually(back, f"{service} to serve again", READY_SECONDS)
    seconds = time.monotonic() - killed
    measured(f"from kill -9 of the {service} to service", seconds)
    assert device_list(machine) == known
    assert registry.rows() == registered
    eventually(lambda: passes(phone), "the known device to pass", READY_SECONDS)


@pytest.mark.slow
def test_a_first_process_that_hangs_is_ended_by_systemd_and_comes_back(
    lab: Lab, alices_device: str, machine: Guest, measured: Measured
) -> None:
    """The gateway's, which nobody but the watchdog looks after: half a minute without a sign of life."""
    phone = Phone(lab, ALICE, alices_device)
    assert passes(phone)
    main, _ = processes(machine, "sentry-gateway.service")
    machine.execute(["kill", "-STOP", str(main)])
    stopped = time.monotonic()

    def back() -> bool:
        now, _ = processes(machine, "sentry-gateway.service")
        return now not in {0, main} and passes(phone)

    eventually(back, "the gateway to serve again", WATCHDOG_SECONDS + READY_SECONDS)
    measured("from a hang of the gateway's first process to service", time.monotonic() - stopped)
