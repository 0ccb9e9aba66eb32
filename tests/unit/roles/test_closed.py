"""The packet filter of a machine that has none: what it lets through, and when it is loaded."""

import subprocess
import sys
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[3]
BASE = REPO / "roles/base"

# In namespaces of its own: one veth pair to another network, the rules, and three connections, of which one says "open".
PROBE = """
import socket, subprocess, sys
def run(*argv): subprocess.run(argv, check=True)
other = subprocess.Popen(["unshare", "--net", sys.executable, "-I", "-c", '''
import socket, subprocess, sys
print("ready", flush=True)
sys.stdin.readline()
subprocess.run(["ip", "address", "add", "192.0.2.1/24", "dev", "there"], check=True)
subprocess.run(["ip", "link", "set", "there", "up"], check=True)
held = socket.create_server(("192.0.2.1", 22))
print("ready", flush=True)
sys.stdin.readline()
try:
    socket.create_connection(("192.0.2.2", 22), timeout=1.5)
    print("open", flush=True)
except TimeoutError:
    print("silent", flush=True)
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
other.stdout.readline()
run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(other.pid))
run("ip", "address", "add", "192.0.2.2/24", "dev", "here")
run("ip", "link", "set", "here", "up")
run("ip", "link", "set", "lo", "up")
other.stdin.write("go\\n"); other.stdin.flush(); other.stdout.readline()
held = socket.create_server(("", 22))
if sys.argv[1:]:
    run("nft", "-f", sys.argv[1])
def ask(address):
    try:
        socket.create_connection((address, 22), timeout=1.5).close()
        return "open"
    except (TimeoutError, PermissionError):
        return "silent"
said = ["lo", ask("127.0.0.1"), "out", ask("192.0.2.1")]
other.stdin.write("go\\n"); other.stdin.flush()
print(*said, "in", other.stdout.readline().strip())
"""


def probe(*rules: str) -> list[str]:
    argv = ["unshare", "--map-root-user", "--net", sys.executable, "-I", "-c", PROBE, *rules]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_nothing_gets_in_or_out_and_loopback_works() -> None:
    """Without the rules the same connections are made, so it is the rules that stop them."""
    assert probe() == ["lo", "open", "out", "open", "in", "open"]
    assert probe(str(BASE / "files/closed.nft")) == ["lo", "open", "out", "silent", "in", "silent"]


def test_the_rules_are_loaded_at_every_start_before_the_configured_ones_and_the_network() -> None:
    unit = (BASE / "files/sentry-closed.service").read_text().splitlines()
    before = next(line.removeprefix("Before=").split() for line in unit if line.startswith("Before="))
    assert {"nftables.service", "network-pre.target"} <= set(before)
    assert "DefaultDependencies=no" in unit
    assert "WantedBy=sysinit.target" in unit
    variables = yaml.safe_load((BASE / "vars/main.yml").read_text())
    assert "sentry-closed.service" in variables["base_units"]["enabled"]


def test_a_running_machine_never_loads_them_in_passing() -> None:
    """Starting a service starts what sysinit.target wants and is not active; that would lock everybody out."""
    unit = (BASE / "files/sentry-closed.service").read_text().splitlines()
    assert "ConditionPathExists=!/run/dbus/system_bus_socket" in unit


def test_stopping_the_packet_filter_closes_the_machine() -> None:
    lines = (BASE / "files/nftables.dropin").read_text().splitlines()
    assert [line for line in lines if line.startswith("ExecStop")] == [
        "ExecStop=",
        "ExecStop=/usr/sbin/nft -f /usr/lib/sentry/closed.nft",
    ]
