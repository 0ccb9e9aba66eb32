"""The appliance runs what was compiled for it."""

import pytest

from images.guest import Guest
from images.native.build import SUFFIX, read
from images.paths import REPO
from tests import compiled

pytestmark = pytest.mark.e2e

LIBRARY = "sentry_runtime__mypyc"
# What every worker has said of itself before it says that it is ready, and its parent does not import it from elsewhere.
MAPS = 'for pid in $(pgrep -u sentry-gateway -f sentry-gateway); do echo "== $pid"; cat /proc/$pid/maps; done'


def test_every_process_of_the_gateway_has_loaded_each_compiled_module(machine: Guest) -> None:
    said = machine.execute(["sh", "-c", MAPS]).stdout.split("== ")[1:]
    assert len(said) > 1, "the supervisor and a worker at least"
    for maps in said:
        assert compiled.names(maps) == {*read(REPO).modules, LIBRARY}


def test_status_says_so(machine: Guest) -> None:
    program = (
        "import sys; sys.path[:0] = ['/usr/lib/sentry/current']\n"
        "from sentry_runtime import control; from sentry_runtime.settings import Paths\n"
        "print(control.call(Paths().gateway_control, control.Status())['compiled'])"
    )
    assert machine.execute(["/usr/bin/python3", "-I", "-c", program]).stdout == "True\n"


def test_the_sources_lie_beside_them_and_neither_can_be_changed(machine: Guest) -> None:
    """What an auditor reads is what was compiled; both are root's."""
    found = machine.execute(
        ["find", "-L", "/usr/lib/sentry/current/sentry_runtime", "-name", f"*{SUFFIX}", "-printf", "%P %U %m\n"]
    )
    listed = dict(line.split(" ", 1) for line in found.stdout.splitlines())
    assert set(listed.values()) == {"0 644"}
    names = {f"sentry_runtime.{name.removesuffix(SUFFIX).replace('/', '.')}" for name in listed}
    assert names == set(read(REPO).modules)
    for name in listed:
        machine.execute(["test", "-f", f"/usr/lib/sentry/current/sentry_runtime/{name.removesuffix(SUFFIX)}.py"])
