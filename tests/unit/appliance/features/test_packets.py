"""The lab's ruleset at work: real connections from every zone, through it, and out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.features import flows
from appliance.features.base import Tree
from appliance.features.firewall import ruleset

PACKETS = Path(__file__).parent / "packets.py"
ACCOUNTS = """root:x:0:0::/root:/bin/sh
_chrony:x:101:101::/:/bin/false
sentry-agent:x:992:992::/:/bin/false
sentry-uem:x:991:991::/:/bin/false
sentry-portal:x:990:990::/:/bin/false
sentry-log:x:989:989::/:/bin/false
Debian-snmp:x:988:988::/:/bin/false
sentry-alerts:x:987:987::/:/bin/false
sentry-tls-proxy:x:986:986::/:/bin/false
sentry-acme:x:985:985::/:/bin/false
sentry-offsite:x:984:984::/:/bin/false
sentry-directory:x:983:983::/:/bin/false
"""
Found = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def found(trees: dict[str, Tree], tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What became of each connection."""
    folder = tmp_path_factory.mktemp("packets")
    (folder / "rules").write_text(ruleset(trees["lab"], flows(trees["lab"])))
    # In a namespace of its own a process has one number, so the account moves instead of the process.
    (folder / "ourselves").write_text(f"sentry-gateway:x:0:0::/:/bin/false\n{ACCOUNTS}")
    (folder / "somebody").write_text(f"sentry-gateway:x:993:993::/:/bin/false\n{ACCOUNTS}")
    files = [str(folder / name) for name in ("rules", "ourselves", "somebody")]
    argv = ["unshare", "--map-root-user", "--net", "--mount", sys.executable, str(PACKETS), *files]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    answer: Found = json.loads(done.stdout)
    return answer


def is_open(found: dict[str, str]) -> set[str]:
    """The probes that got through; all others must have been dropped without a word."""
    assert set(found.values()) <= {"open", "silent"}
    assert "silent" in found.values()
    return {probe for probe, what in found.items() if what == "open"}


def test_devices_reach_443_and_nothing_else(found: Found) -> None:
    """22, 8443 and the internal ports are silent in the device zone."""
    assert is_open(found["device"]) == {"10.98.1.1 > 10.98.1.2:443"}


def test_the_management_network_reaches_22_and_8443(found: Found) -> None:
    """And 443, which the lab's gateway serves in this zone too; the internal ports are silent even here."""
    own = {probe: what for probe, what in found["management"].items() if probe.startswith("10.98.2.1 ")}
    assert is_open(own) == {f"10.98.2.1 > 10.98.2.2:{port}" for port in (22, 443, 8443)}


def test_a_stranger_on_the_management_wire_reaches_no_management_port(found: Found) -> None:
    """The zone is not enough: the source must be a management network."""
    strange = {probe: what for probe, what in found["management"].items() if probe.startswith("10.99.0.1 ")}
    assert is_open(strange) == {"10.99.0.1 > 10.98.2.2:443"}


def test_backends_reach_nothing(found: Found) -> None:
    """A mail server that was taken over cannot turn around."""
    assert is_open(found["backend"]) == set()


def test_nothing_goes_through_the_box_or_to_another_zones_address(found: Found) -> None:
    """Forwarding is dropped although the kernel would; an address does not stand for its zone."""
    assert is_open(found["through"]) == set()


def test_a_connection_from_before_the_rules_goes_on_although_only_we_speak(found: Found) -> None:
    """The session that makes the first commit hears its answer."""
    assert found["before the rules"] == {"the service speaks first": "hello"}


def test_a_service_that_was_taken_over_reaches_no_management_port_from_inside(found: Found) -> None:
    """Nor the UEM; its own port is open over loopback, and everybody else is as free there as before."""
    assert found["inside, as the gateway"] == {
        "127.0.0.1 > 127.0.0.1:22": "refused",
        "127.0.0.1 > 127.0.0.1:443": "open",
        "127.0.0.1 > 127.0.0.1:8443": "refused",
        "127.0.0.1 > 127.0.0.1:9090": "refused",
        "127.0.0.1 > 127.0.0.1:9443": "refused",
        "10.98.2.2 > 10.98.2.2:22": "refused",
    }
    assert set(found["inside, as somebody else"].values()) == {"open"}


def test_only_the_gateways_account_reaches_the_backend(found: Found) -> None:
    """On the backend's port alone; everything else outward is refused at once."""
    assert found["as the gateway"] == {
        "10.98.3.2 > 10.98.3.10:443": "open",
        "10.98.3.2 > 10.98.3.10:25": "refused",
        "10.98.2.2 > 10.98.2.1:25": "refused",
    }
    assert set(found["as somebody else"].values()) == {"refused"}
