"""The appliance runs what was compiled for it."""

import pytest

from images.guest import Guest
from images.native.build import SUFFIX, read
from images.paths import REPO
from tests import compiled

pytestmark = pytest.mark.e2e

PROCESSES = "/sys/fs/cgroup/system.slice/sentry-gateway.service/cgroup.procs"
ROOM = "/usr/lib/sentry/current/sentry_runtime"


def test_every_process_of_the_gateway_has_loaded_the_compiled_library(machine: Guest) -> None:
    processes = machine.execute(["cat", PROCESSES]).stdout.split()
    assert len(processes) > 1, "the supervisor and a worker at least"
    for process in processes:
        assert compiled.runs_compiled(machine.execute(["cat", f"/proc/{process}/maps"]).stdout)


def test_each_module_of_the_list_is_taken_compiled(machine: Guest) -> None:
    """By the Python of the appliance, found as the launchers have it find them."""
    modules = read(REPO).modules
    program = (
        "import sys; from importlib import import_module\n"
        "sys.path[:0] = ['/usr/lib/sentry/current', '/usr/lib/sentry/current/vendor']\n"
        "for name in sys.argv[1:]: print(import_module(name).__file__)"
    )
    files = machine.execute(["/usr/bin/python3", "-I", "-B", "-c", program, *modules]).stdout.splitlines()
    assert len(files) == len(modules)
    assert all(file.endswith(SUFFIX) for file in files)


def test_status_says_so(machine: Guest) -> None:
    program = (
        "import sys; sys.path[:0] = ['/usr/lib/sentry/current']\n"
        "from sentry_runtime import control; from sentry_runtime.settings import Paths\n"
        "print(control.call(Paths().gateway_control, control.Status())['compiled'])"
    )
    assert machine.execute(["/usr/bin/python3", "-I", "-c", program]).stdout == "True\n"


def test_the_sources_lie_beside_them_and_neither_can_be_changed(machine: Guest) -> None:
    """What an auditor reads is what was compiled; both are root's."""
    argv = ["find", f"{ROOM}/", "-name", f"*{SUFFIX}", "-printf", "%P %U %m\\n"]
    found = machine.execute(argv)
    listed = dict(line.split(" ", 1) for line in found.stdout.splitlines())
    assert set(listed.values()) == {"0 644"}
    names = {f"sentry_runtime.{name.removesuffix(SUFFIX).replace('/', '.')}" for name in listed}
    assert names == set(read(REPO).modules)
    for name in listed:
        machine.execute(["test", "-f", f"{ROOM}/{name.removesuffix(SUFFIX)}.py"])
