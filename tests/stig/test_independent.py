"""What others' tools find: ssh-audit on 22, testssl.sh on 443 and 8443, lynis inside. Each finding is mended or waived with its
reason, and a waiver that nothing needs any more is a failure, so what is found may only become less. The tools' own reports stay
in `build/proof/`.
"""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from images import guest as guests
from images.paths import REPO
from images.run import run
from tests.lab import Lab

pytestmark = pytest.mark.appliance

FOLDER = Path(__file__).parent / "independent"
PROOF = REPO / "build/proof"
TESTSSL_SECONDS = 600.0  # mostly waits of its own
LYNIS_SECONDS = 900.0
LYNIS_PLACE = "/var/tmp/lynis"
LYNIS_INDEX = 76  # may only rise

UNPACK = (
    "import base64, io, sys, tarfile\n"
    "tarfile.open(fileobj=io.BytesIO(base64.b64decode(sys.stdin.read()))).extractall(sys.argv[1])"
)

IN_ORDER = {"OK", "INFO"}
NOT_FOUND_OUT = {"WARN"}  # of the tool itself

# What testssl.sh finds on both ports, by its own ids.
WAIVED = {
    "cert_revocation": "the appliance's own CA, which serves the lab, publishes no list; a site's certificates come with its own",
    "DNS_CAArecord": "the lab has no DNS zone that could have one",
}
WAIVED_ON: dict[int, dict[str, str]] = {
    443: {
        "HSTS": "devices speak ActiveSync and no browser comes here; a browser that does gets a 401 and no page",
        "security_headers": "the same",
    },
    8443: {},
}


@pytest.fixture(scope="module", autouse=True)
def proof() -> Path:
    """Where the tools' reports stay."""
    PROOF.mkdir(parents=True, exist_ok=True)
    return PROOF


def test_sshd_offers_what_our_policy_says_and_nothing_else(lab: Lab, proof: Path) -> None:
    """Once only: it connects a dozen times without logging on, and sshd lets an address do so only so often."""
    tool = Path(sys.executable).with_name("ssh-audit")
    where = f"{lab.address}:{lab.ssh.port}"
    found = run([tool, "--policy", FOLDER / "ssh-audit.policy", "--json", where], check=False, seconds=60).stdout
    (proof / "ssh-audit.json").write_text(found)
    assert json.loads(found)["passed"] is True, found


@pytest.mark.usefixtures("lynis")  # which takes as long
def test_testssl_finds_nothing_that_is_not_waived(lab: Lab, proof: Path) -> None:
    """Protocols, ciphers, certificates, headers and known attacks; both ports at a time, since it mostly waits."""
    tools = {}
    for port in WAIVED_ON:
        report = proof / f"testssl-{port}.json"
        report.unlink(missing_ok=True)
        argv = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--jsonfile", report]
        argv += ["--add-ca", lab.ca_file, f"{lab.address}:{port}"]
        tools[port] = subprocess.Popen(
            [str(word) for word in argv], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
    try:
        for tool in tools.values():
            tool.wait(TESTSSL_SECONDS)
    finally:
        for tool in tools.values():
            tool.kill()
            tool.wait()
    for port, own in WAIVED_ON.items():
        found = json.loads((proof / f"testssl-{port}.json").read_text())
        assert len(found) > 80, "the tool has looked at less than it did"
        severe = {one["id"]: one for one in found if one["severity"] not in IN_ORDER | NOT_FOUND_OUT}
        waived = WAIVED.keys() | own.keys()
        assert {name: one["finding"] for name, one in severe.items() if name not in waived} == {}, port
        assert waived - severe.keys() == set(), f"port {port}: nothing needs these waivers any more"


def looked_at(lab: Lab) -> str:
    """The build machine's lynis, run inside from a folder of its own; its report. After ssh-audit sshd takes no connection from
    here for a while."""
    archive = subprocess.run(
        ["tar", "-C", "/", "-czf", "-", "usr/sbin/lynis", "usr/share/lynis", "etc/lynis"],
        capture_output=True,
        check=True,
    ).stdout
    made = ("mkdir", "-p", f"{LYNIS_PLACE}/plugins")
    guests.wait_for(lambda: lab.root(*made, check=False).code == 0, "sshd to talk to us")
    try:
        lab.root("python3", "-c", UNPACK, LYNIS_PLACE, stdin=base64.b64encode(archive).decode())
        options = ["--quick", "--no-colors", "--plugindir", f"{LYNIS_PLACE}/plugins", "--logfile", f"{LYNIS_PLACE}/log"]
        options += ["--profile", f"{LYNIS_PLACE}/etc/lynis/default.prf", "--report-file", f"{LYNIS_PLACE}/report"]
        audit = ["sh", f"{LYNIS_PLACE}/usr/sbin/lynis", "audit", "system", *options]
        lab.root("env", "-C", f"{LYNIS_PLACE}/usr/share/lynis", *audit, seconds=LYNIS_SECONDS)
        return lab.root("cat", f"{LYNIS_PLACE}/report").stdout
    finally:
        lab.root("rm", "-rf", LYNIS_PLACE)


@pytest.fixture(scope="module")
def lynis(lab: Lab) -> Iterator[Future[str]]:
    """Its report, to come: it takes minutes, in which testssl.sh mostly waits for the network."""
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(looked_at, lab)


def test_lynis_thinks_no_less_of_the_hardening(lynis: Future[str], proof: Path) -> None:
    """Its index, and no warning."""
    report = lynis.result()
    (proof / "lynis.dat").write_text(report)
    assert re.findall(r"^warning\[\]=(.*)", report, re.MULTILINE) == []
    (index,) = re.findall(r"^hardening_index=(\d+)", report, re.MULTILINE)
    assert int(index) >= LYNIS_INDEX
