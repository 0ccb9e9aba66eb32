"""Run by test_acl.py in namespaces of its own: how many connections in a row get through the ruleset that is its argument."""

import json
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))  # the checkout, as the test that starts us says

from tests.unit.appliance.features.packets import ZONES, load, peer, probes_from, run, wire

TIMES = 5


def main(rules: str, passwd: str) -> None:
    """From both of the management peer's addresses, one after the other."""
    with ExitStack() as stack:
        pid = stack.enter_context(peer(()))
        _zone, interface, ours, theirs = next(one for one in ZONES if one[0] == "management")
        wire(pid, interface, ours, theirs)
        run("ip", "link", "set", "lo", "up")
        run("ip", "route", "add", "10.99.0.0/24", "dev", interface)
        load(rules, passwd)
        stack.enter_context(socket.create_server(("", 443)))
        answers = {
            source: [next(iter(probes_from(pid, [(source, ours, 443)]).values())) for _time in range(TIMES)]
            for source in theirs
        }
    sys.stdout.write(json.dumps(answers))


main(*sys.argv[1:])
