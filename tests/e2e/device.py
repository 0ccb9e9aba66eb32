"""Devices as the tests play them: raw requests, and the real client library pyactivesync."""

import json
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from pyactivesync import Client
from pyactivesync._wbxml import WBXMLReader, find, text_of

from images.guest import wait_for
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.provision import EAS_WBXML, Acknowledgement, Ask, Request, decode_response, encode_request
from tests.e2e.mailserver.server import Account
from tests.lab import Lab

UEM_ADMIN = "/usr/lib/sentry/bin/sentry-uem-admin"
AUDIT_LOG = "/var/log/sentry/audit.log"
AUDIT_LINES = "5000"  # of its end: more than one session of tests writes

# FolderHierarchy:FolderSync{SyncKey "0"}; Ping{HeartbeatInterval, Folders} is built per folder.
FOLDER_SYNC = bytes.fromhex("03016a00000756520330000101")
DEVICE_IS_BLOCKED = "129"  # MS-ASCMD 2.2.2, common status codes
PROVISION_FIRST = 449  # MS-ASHTTP 2.2.2.1.1


def new_id() -> str:
    """A device id nobody has used before, in its canonical form."""
    return secrets.token_hex(16).upper()


@dataclass(frozen=True, slots=True)
class Registry:
    """The embedded UEM, as its administrator sees it from a root shell."""

    lab: Lab

    def register(self, device_id: str, user: str) -> None:
        """The device belongs to the user and may pass."""
        self.lab.root(UEM_ADMIN, "register", device_id, user)

    def remove(self, device_id: str, user: str) -> None:
        """Forget the device."""
        self.lab.root(UEM_ADMIN, "remove", device_id, user)

    def rows(self) -> list[str]:
        """What the UEM knows, a line per device."""
        return sorted(self.lab.root(UEM_ADMIN, "list").stdout.splitlines())

    @contextmanager
    def registered(self, user: str) -> Iterator[str]:
        """A registered device for as long as the block lasts."""
        device_id = new_id()
        self.register(device_id, user)
        try:
            yield device_id
        finally:
            self.remove(device_id, user)


@dataclass(frozen=True, slots=True)
class Audit:
    """The appliance's audit trail."""

    lab: Lab

    def text(self) -> str:
        """The end of the trail as it lies there."""
        return self.lab.root("tail", "-n", AUDIT_LINES, AUDIT_LOG).stdout

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        """The lines whose fields have the wanted values, oldest first."""
        lines = [json.loads(line[line.index("{") :]) for line in self.text().splitlines() if "{" in line]
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def wait_for(self, **wanted: object) -> dict[str, Any]:
        """The first such line, as soon as it is there."""
        said = shlex.join(f"{name}={value}" for name, value in wanted.items())
        found: list[dict[str, Any]] = wait_for(lambda: self.lines(**wanted), f"an audit line with {said}", 15)
        return found[0]


@dataclass(slots=True)
class Phone:
    """A device that speaks in raw requests, over one connection, with Basic credentials. As every phone it provisions when it
    is told to, and then repeats its request."""

    lab: Lab
    account: Account
    device_id: str
    version: str = "14.1"
    model: str = "Phone of the tests"
    policy: Policy | None = None
    """What it was handed out last."""
    key: int = 0
    session: requests.Session = field(init=False)

    def __post_init__(self) -> None:
        self.session = self.lab.http()
        self.session.auth = (self.account.user, self.account.password)
        self.session.headers["User-Agent"] = f"Phone/{self.device_id}"

    def options(self) -> requests.Response:
        """What a device asks first."""
        return self.session.options(self.lab.device_url, timeout=30)

    def post(self, command: str, body: bytes, *, seconds: float = 30) -> requests.Response:
        """One command; provisions in between where that is asked for."""
        answer = self.ask(command, body, seconds=seconds)
        if answer.status_code != PROVISION_FIRST:
            return answer
        refusal = self.provision()
        return self.ask(command, body, seconds=seconds) if refusal is None else refusal

    def ask(self, command: str, body: bytes, *, seconds: float = 30) -> requests.Response:
        """One command with the policy key that the device has, and the answer as it comes."""
        parameters = {
            "Cmd": command,
            "User": self.account.user,
            "DeviceId": self.device_id,
            "DeviceType": "Phone",
        }
        headers = {
            "MS-ASProtocolVersion": self.version,
            "X-MS-PolicyKey": str(self.key),
            "Content-Type": "application/vnd.ms-sync.wbxml",
        }
        return self.session.post(self.lab.device_url, params=parameters, data=body, headers=headers, timeout=seconds)

    def provision(self) -> requests.Response | None:
        """Take the policy in two phases (MS-ASPROV 3.1.5.1); the answer of a server that does not go along with it."""
        self.key = 0
        phases: list[Callable[[], Request]] = [
            lambda: Ask(EAS_WBXML, DeviceInformation(model=self.model, os="Tests")),
            lambda: Acknowledgement(EAS_WBXML, self.key, 1),
        ]
        for phase in phases:
            answer = self.ask("Provision", encode_request(phase()))
            if answer.status_code != requests.codes.ok:
                return answer
            response = decode_response(answer.content)
            if response.policy is None or response.policy.key is None:
                return answer
            self.key = response.policy.key
            if isinstance(response.policy.document, Policy):
                self.policy = response.policy.document
        return None

    def folder_sync(self) -> requests.Response:
        """FolderSync from the beginning: the first command that must be let through."""
        return self.post("FolderSync", FOLDER_SYNC)


class NothingNewError(Exception):
    """A Sync without a body: nothing has changed (MS-ASCMD 2.2.1.21)."""


class SyncClient(Client):  # type: ignore[misc]  # the library ships no types
    """pyactivesync, bent where it and SOGo differ: SOGo says "nothing new" by an empty body. It provisions with the gateway."""

    def _post(self, cmd: str, wbxml: bytes, **options: Any) -> bytes:
        body: bytes = super()._post(cmd, wbxml, **options)
        if cmd == "Sync" and not body:
            raise NothingNewError
        return body


def client(lab: Lab, account: Account, device_id: str) -> SyncClient:
    """The real client library, talking to the appliance in the device zone; `REQUESTS_CA_BUNDLE` must name its CA."""
    return SyncClient(lab.addresses.device, account.user, account.password, device_id=device_id)


def status_of(body: bytes, path: str) -> str | None:
    """The text of one element of a WBXML document, such as `FolderHierarchy.Status`."""
    found: str | None = text_of(find(WBXMLReader(body).parse(), path))
    return found


def eventually(look: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until it is so."""
    wait_for(look, what, seconds)
