"""User-data from a cloud's metadata service: Amazon EC2 (IMDSv2 only) and Azure.

EC2 User Guide, "Use IMDSv2": a token is had by PUT and shown with every request; a service that still answers without one is
never asked so. Azure, "Instance Metadata Service", `userData`; and "Creating generalized images without a provisioning agent",
by which the platform is told that the machine is up.
"""

import http.client
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from appliance.first_boot.disks import from_base64
from appliance.first_boot.found import Found, PlaceError
from appliance.first_boot.volume import FILE_BYTES

METADATA_ADDRESS = "169.254.169.254"  # both clouds' own, on the link
AZURE_ADDRESS = "168.63.129.16"  # Azure's "WireServer"
PORT = 80
SECONDS = 10.0  # of one request; the service is on the host
WAIT_SECONDS = 120.0  # until a DHCP server has given an address and the service answers
PAUSE = 1.0
TOKEN_SECONDS = "60"  # noqa: S105 - how long a token is good: for one request
TOKEN_BYTES = 1_024
OK, NOT_FOUND, NO_CONTENT = 200, 404, 204

TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path
USER_DATA_PATH = "/latest/user-data"
AZURE_USER_DATA_PATH = "/metadata/instance/compute/userData?api-version=2021-01-01&format=text"
GOAL_STATE_PATH = "/machine/?comp=goalstate"
HEALTH_PATH = "/machine?comp=health"
WIRE_VERSION = {"x-ms-version": "2012-11-30"}
_HEALTH = (
    '<?xml version="1.0" encoding="utf-8"?><Health><GoalStateIncarnation>{incarnation}</GoalStateIncarnation><Container>'
    "<ContainerId>{container}</ContainerId><RoleInstanceList><Role><InstanceId>{instance}</InstanceId>"
    "<Health><State>Ready</State></Health></Role></RoleInstanceList></Container></Health>"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Service:
    """A server without TLS, which is all that these have; neither a proxy nor a redirection is followed."""

    address: str
    port: int = PORT

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """One request. Raises `PlaceError`."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            data = response.read(FILE_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise PlaceError(f"the metadata service at {self.address} does not answer: {error}") from error
        finally:
            connection.close()
        if len(data) > FILE_BYTES:
            raise PlaceError(f"the metadata service at {self.address} sent more than {FILE_BYTES} bytes")
        return Answer(response.status, data)

    def wait(self, attempt: Callable[[], Answer], clock: Callable[[], float], sleep: Callable[[float], None]) -> Answer:
        """Ask until there is an answer, or the time is up: the network comes up meanwhile."""
        until = clock() + WAIT_SECONDS
        while True:
            try:
                return attempt()
            except PlaceError:
                if clock() >= until:
                    raise
                sleep(PAUSE)


def ec2(
    service: Service | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Found | None:
    """The user-data of an EC2 instance; None where it has none. Raises `PlaceError`."""
    asked = service or Service(METADATA_ADDRESS)
    wanted = {"X-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS}
    given = asked.wait(lambda: asked.ask("PUT", TOKEN_PATH, wanted), clock, sleep)
    token = given.body.decode("ascii", errors="replace").strip()
    if given.status != OK or not token or len(token) > TOKEN_BYTES or not token.isprintable():
        raise PlaceError(f"the metadata service gave no token (status {given.status}); allowed: IMDSv2")
    answer = asked.ask("GET", USER_DATA_PATH, {"X-aws-ec2-metadata-token": token})
    return _found(answer, "user-data of the EC2 metadata service", answer.body)


def azure(
    service: Service | None = None,
    wire: Service | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Found | None:
    """The user data (not the custom data) of an Azure machine, and word to Azure that the machine is up; None where it has
    none. Raises `PlaceError`."""
    asked = service or Service(METADATA_ADDRESS)
    answer = asked.wait(lambda: asked.ask("GET", AZURE_USER_DATA_PATH, {"Metadata": "true"}), clock, sleep)
    report_ready(wire or Service(AZURE_ADDRESS))
    text = answer.body.decode("ascii", errors="replace")
    body = from_base64(text, "user data of Azure") if answer.status == OK else b""
    return _found(answer, "user data of the Azure metadata service", body)


def _found(answer: Answer, where: str, body: bytes) -> Found | None:
    if answer.status in (NOT_FOUND, NO_CONTENT) or (answer.status == OK and not body.strip()):
        return None
    if answer.status != OK:
        raise PlaceError(f"{where}: found status {answer.status}; allowed: {OK}, or {NOT_FOUND} where there is none")
    return Found(where, body)


def report_ready(wire: Service) -> None:
    """Tell Azure that the machine has started; one that does not is said to have failed after some minutes. Raises
    `PlaceError`."""
    goal = wire.ask("GET", GOAL_STATE_PATH, WIRE_VERSION)
    if goal.status != OK:
        raise PlaceError(f"Azure's platform told no goal state (status {goal.status})")
    names = ("Incarnation", "ContainerId", "InstanceId")
    told = {name: escape(_element(goal.body, name)) for name in names}
    health = _HEALTH.format(incarnation=told["Incarnation"], container=told["ContainerId"], instance=told["InstanceId"])
    headers = {**WIRE_VERSION, "Content-Type": "text/xml;charset=utf-8"}
    done = wire.ask("POST", HEALTH_PATH, headers, health.encode())
    if done.status != OK:
        raise PlaceError(f"Azure's platform did not take our word that we are up (status {done.status})")


def _element(document: bytes, name: str) -> str:
    """The text of the first element of this name; a whole reader of XML is more than four words need."""
    found = re.search(rf"<{name}>([A-Za-z0-9_.:-]{{1,256}})</{name}>", document.decode("utf-8", errors="replace"))
    if found is None:
        raise PlaceError(f"Azure's goal state has no {name}")
    return found[1]
