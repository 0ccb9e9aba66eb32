"""What is taken away from the running appliance: support bundles without a secret, and captures of packets."""

import base64
import io
import json
import re
import socket
import struct
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from appliance.capture.headers import FILE_HEADER, RECORD_HEADER
from appliance.cli.support import BEGIN, END
from tests.lab import Lab

pytestmark = pytest.mark.appliance

TIMEOUT = 120.0
CAPTURE_SECONDS = 5
PATIENCE_SECONDS = 30.0  # the capture's time, and a moment for configd to see its end
SHELF = "/var/lib/sentry/support"
PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]")


def told(lab: Lab, line: str) -> Any:
    """What a command says as JSON."""
    return json.loads(lab.cli("enable", lab.enable_secret, f"{line} | json").stdout)


def privileged(lab: Lab, *lines: str, check: bool = True) -> str:
    done = lab.cli("enable", lab.enable_secret, *lines, check=check)
    return done.stdout + done.stderr


def fetched(lab: Lab, name: str) -> bytes:
    """The file as the command line prints it."""
    lines = lab.cli("enable", lab.enable_secret, f"download fetch {name}").stdout.splitlines()
    return base64.b64decode("".join(lines[lines.index(BEGIN) + 1 : lines.index(END)]))


@pytest.fixture(autouse=True)
def swept(lab: Lab) -> Iterator[None]:
    """Nothing waits before and after."""
    _sweep(lab)
    yield
    _sweep(lab)


def _sweep(lab: Lab) -> None:
    for row in told(lab, "show downloads")["rows"]:
        privileged(lab, f"download drop {row['download']}")


def test_a_bundle_is_made_printed_and_gone_and_no_secret_of_the_machine_is_in_it(lab: Lab) -> None:
    """Every secret of the store, every private key, the passwords by which the tests come in."""
    made = dict(told(lab, "support bundle")["facts"])
    assert lab.root("stat", "-c", "%U:%G %a", SHELF).stdout.strip() == "root:root 700"
    with tarfile.open(fileobj=io.BytesIO(fetched(lab, made["download"]))) as archive:
        files = {one.name: archive.extractfile(one) for one in archive.getmembers() if one.isfile()}
        parts = {name: file.read().decode(errors="replace") for name, file in files.items() if file is not None}
    assert told(lab, "show downloads")["rows"] == []
    names = {name.partition("/")[2] for name in parts}
    assert {"configuration.json", "units.txt", "logs/sentry-gateway.log", "audit/gateway.log", "files.txt"} <= names
    assert "files/etc/nftables.conf" not in names or "table inet" in parts["sentry-support/files/etc/nftables.conf"]
    broken = {name: text for name, text in parts.items() if text.startswith("cannot be had: ") and "Error" in text}
    assert broken == {}
    everything = "\n".join(parts.values())
    assert not PRIVATE.search(everything)
    store = lab.root("sh", "-c", "for f in /var/lib/sentry/secrets/*; do base64 -w0 $f; echo; done").stdout.split()
    secrets = [base64.b64decode(one) for one in store]
    secrets += [lab.enable_secret.encode(), lab.admin.password.encode()]
    assert len(secrets) > 3
    for secret in secrets:
        for line in secret.decode(errors="replace").splitlines():
            if len(line) >= 8 and not line.startswith("-----"):
                assert line not in everything
                assert line.encode().hex() not in everything
                assert base64.b64encode(line.encode()).decode()[:-4] not in everything


def test_a_capture_has_the_headers_of_what_came_and_nothing_that_was_said(lab: Lab) -> None:
    """Of the tests' own words to the gateway in the device zone: the address and the port are theirs, and no payload is kept."""
    interface = "device0"
    began = privileged(lab, f"debug capture start {interface} tcp port 443 seconds {CAPTURE_SECONDS}")
    assert "capturing" in began
    assert "a capture is running" in privileged(lab, f"debug capture start {interface} any", check=False)
    assert lab.root("ps", "-o", "user:32=", "-C", "tcpdump").stdout.split() == ["sentry-capture"]
    for _ in range(3):
        with socket.create_connection((lab.addresses.device, 443), timeout=10) as device:
            device.sendall(b"what is said is not kept")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (rows := told(lab, "show downloads")["rows"]) and time.monotonic() < deadline:
        time.sleep(1)
    (row,) = rows
    assert row["what"] == "capture"
    data = fetched(lab, row["download"])
    packets = list(_packets(data))
    assert len(packets) > 3
    assert all(len(one) <= 14 + 60 + 60 for one in packets)
    assert b"what is said" not in data
    assert {_tcp_ports(one) & {443} == {443} for one in packets} == {True}


def _packets(data: bytes) -> Iterator[bytes]:
    at = FILE_HEADER
    while at < len(data):
        held = struct.unpack_from("<IIII", data, at)[2]
        yield data[at + RECORD_HEADER : at + RECORD_HEADER + held]
        at += RECORD_HEADER + held


def _tcp_ports(packet: bytes) -> set[int]:
    at = 14 + 4 * (packet[14] & 0x0F)
    return set(struct.unpack_from(">HH", packet, at))


def test_one_is_ended_and_the_trail_says_who_did_what(lab: Lab) -> None:
    privileged(
        lab, "debug capture start mgmt0 icmp seconds 60", f"ping {lab.addresses.management.rpartition('.')[0]}.1"
    )
    made = dict(told(lab, "debug capture stop")["facts"])
    assert made["download"].startswith("capture-")
    assert lab.root("ps", "-C", "tcpdump", check=False).stdout.count("\n") == 1
    lines = "\n".join(told(lab, "show log")["lines"])
    for event in ("capture.start", "capture.stop"):
        assert f'"event":"{event}"' in lines


def test_over_rest_a_bundle_comes_in_pieces(lab: Lab) -> None:
    out = told(lab, "token create support-test administrator scopes configure days 1")
    headers = {"Authorization": f"Bearer {out['token']}"}
    http: requests.Session = lab.http()
    base = f"{lab.portal_url}/api/v1"
    try:
        made = http.post(f"{base}/support/bundle", headers=headers, json={}, timeout=TIMEOUT).json()
        data = b""
        while True:
            place = f"{base}/downloads/{made['name']}/fetch"
            piece = http.post(place, headers=headers, json={"offset": len(data)}, timeout=TIMEOUT).json()
            if not piece["content"]:
                break
            data += base64.b64decode(piece["content"])
        assert len(data) == made["size"]
        gone = http.post(place, headers=headers, json={}, timeout=TIMEOUT)
        assert gone.status_code == 422
        refused = http.post(
            f"{base}/captures/start", headers=headers, json={"interface": "mgmt0", "whole": True}, timeout=TIMEOUT
        )
        assert refused.status_code == 403
    finally:
        privileged(lab, "token revoke support-test")
