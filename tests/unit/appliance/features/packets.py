"""Run by test_packets.py in namespaces of its own: three networks around a box with the ruleset, and real connections.

Arguments: the ruleset, a passwd file in which `sentry-gateway` is us, one in which it is not. Prints one JSON object: probe
to `open`, `silent` (dropped) or `refused`.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

# zone, the box's interface and address, the addresses of the peer behind it
ZONES = (
    ("device", "device0", "10.98.1.2", ("10.98.1.1",)),
    ("management", "mgmt0", "10.98.2.2", ("10.98.2.1", "10.99.0.1")),
    ("backend", "backend0", "10.98.3.2", ("10.98.3.10",)),
)
SERVED = (22, 443, 8443, 9090, 9443)  # what listens on the box, on all addresses
BEHIND = (25, 443)  # what listens behind the box
PATIENCE = 1.5  # seconds until a connection counts as dropped; inside one kernel an answer takes microseconds

LISTEN = """
import socket, sys
held = [socket.create_server(("", int(port))) for port in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
"""


def run(*argv: str) -> None:
    """A command that must succeed."""
    subprocess.run(argv, check=True)


@contextmanager
def peer(ports: tuple[int, ...]) -> Iterator[int]:
    """A network namespace with listeners; gives the process that holds it."""
    argv = ["unshare", "--net", sys.executable, "-I", "-c", LISTEN, *map(str, ports)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.stdin.close()


def wire(pid: int, interface: str, ours: str, theirs: tuple[str, ...]) -> None:
    """A cable between the box and a peer, the box being the peer's router."""
    inside = ["nsenter", "-t", str(pid), "-n", "ip"]
    run("ip", "link", "add", interface, "type", "veth", "peer", "name", "peer0", "netns", str(pid))
    run("ip", "address", "add", f"{ours}/24", "dev", interface)
    run("ip", "link", "set", interface, "up")
    for address in theirs:
        run(*inside, "address", "add", f"{address}/24", "dev", "peer0")
    run(*inside, "link", "set", "peer0", "up")
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "route", "add", "default", "via", ours)


def probe(source: str, target: str, port: int) -> str:
    """What becomes of a connection."""
    try:
        socket.create_connection((target, port), timeout=PATIENCE, source_address=(source, 0)).close()
    except TimeoutError:
        return "silent"
    except OSError:
        return "refused"
    return "open"


def probes(asked: list[tuple[str, str, int]]) -> dict[str, str]:
    """All of them at once."""
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(lambda one: probe(*one), asked))
    return {f"{source} > {target}:{port}": what for (source, target, port), what in zip(asked, found, strict=True)}


def probes_from(pid: int, asked: list[tuple[str, str, int]]) -> dict[str, str]:
    """The same from a peer's namespace."""
    argv = ["nsenter", "-t", str(pid), "-n", sys.executable, __file__, "--probe", json.dumps(asked)]
    found: dict[str, str] = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return found


def load(rules: str, passwd: str) -> None:
    """Load the rules, with `sentry-gateway` being whom `passwd` says."""
    run("mount", "--bind", passwd, "/etc/passwd")
    run("nft", "-f", rules)


def outward() -> dict[str, str]:
    """Connections of the box itself."""
    return probes([("10.98.3.2", "10.98.3.10", port) for port in BEHIND] + [("10.98.2.2", "10.98.2.1", 25)])


def inside() -> dict[str, str]:
    """Connections of the box to itself."""
    loop = "127.0.0.1"
    return probes([*((loop, loop, port) for port in SERVED), ("10.98.2.2", "10.98.2.2", 22)])


FOLLOW = """
import socket
with socket.create_connection(("10.98.2.2", 22)) as held:
    print("connected", flush=True)
    print(held.recv(5).decode(), flush=True)
"""


def speaks_first(pid: int, rules: str, passwd: str) -> str:
    """Load the rules while a client is connected that says nothing itself: what it hears from the service."""
    argv = ["nsenter", "-t", str(pid), "-n", sys.executable, "-I", "-c", FOLLOW]
    with (
        socket.create_server(("10.98.2.2", 22)) as service,
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client,
    ):
        assert client.stdout is not None
        try:
            connection, _peer = service.accept()
            with connection:
                assert client.stdout.readline() == "connected\n"
                load(rules, passwd)
                connection.sendall(b"hello")
                client.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return "nothing"
        finally:
            client.kill()
        return client.stdout.read().strip()


def main(rules: str, ourselves: str, somebody: str) -> None:
    """Build the networks, load the rules, ask from everywhere."""
    found: dict[str, dict[str, str]] = {}
    with ExitStack() as stack:
        pids = {zone: stack.enter_context(peer(BEHIND)) for zone, *_rest in ZONES}
        for zone, interface, ours, theirs in ZONES:
            wire(pids[zone], interface, ours, theirs)
        run("ip", "link", "set", "lo", "up")
        # 10.99.0.1 is a stranger in the management zone: on its wire, but not of its networks.
        run("ip", "route", "add", "10.99.0.0/24", "dev", "mgmt0")
        run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        found["before the rules"] = {"the service speaks first": speaks_first(pids["management"], rules, ourselves)}
        found["as the gateway"] = outward()
        load(rules, somebody)
        found["as somebody else"] = outward()
        for port in SERVED:
            stack.enter_context(socket.create_server(("", port)))
        found["inside, as somebody else"] = inside()
        load(rules, ourselves)
        found["inside, as the gateway"] = inside()
        load(rules, somebody)
        for zone, _interface, ours, theirs in ZONES:
            asked = [(address, ours, port) for address in theirs for port in SERVED]
            found[zone] = probes_from(pids[zone], asked)
        found["through"] = probes_from(
            pids["device"], [("10.98.1.1", "10.98.3.10", 443), ("10.98.1.1", "10.98.2.2", 22)]
        )
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "--probe":
        sys.stdout.write(json.dumps(probes(json.loads(sys.argv[2]))))
    else:
        main(*sys.argv[1:])
