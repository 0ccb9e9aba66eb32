"""A device at the gateway, as a phone is: TLS with a certificate or without, then ActiveSync (MS-ASHTTP) in protocol 12.1, in
which a refusal is plain HTTP. A device that is told to provision first does so (MS-ASPROV 3.1.5.1)."""

import http.client
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from stig.devices import Pair
from stig.errors import FactError

SECONDS = 10.0
ANSWER_BYTES = 65_536  # what a device is told is a few hundred bytes
PROVISION_FIRST = 449  # MS-ASHTTP 2.2.2.1.1
PATH, PROTOCOL = "/Microsoft-Server-ActiveSync", "12.1"
DEVICE_TYPE = "StigScan"
FOLDER_SYNC = bytes.fromhex("03016a00000756520330000101")  # FolderHierarchy: FolderSync, SyncKey 0
_STRING, _END = b"\x03", b"\x00"
_KEY_TAG, _PASSWORD_TAG = (
    b"\x49",
    b"\x4e",
)  # WBXML page 14 (MS-ASWBXML 2.1.2.1.15) with content: PolicyKey, DevicePasswordEnabled


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a device's request. `status` is the last HTTP status, None where the connection ended before any; `said` is
    that in words. `password`: the policy handed out demands a device password; None where none was handed out."""

    status: int | None
    said: str
    password: bool | None = None

    @property
    def passed(self) -> bool:
        """Whether the gateway let it through: a mail server answered, if only to ask who it is."""
        return self.status in (200, 401)


def attempt(host: str, port: int, device_id: str, user: str, pair: Pair | None, authorities: Path | None) -> Tried:
    """Ask for the folders as this device, with this certificate (None: without any). `FactError` where nobody listens, or whose
    certificate the gateway shows is not of `authorities` (None: not looked at)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if authorities is not None:
        context.load_verify_locations(cafile=authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    if pair is not None:
        try:
            context.load_cert_chain(pair.certificate, pair.key)
        except (OSError, ssl.SSLError) as error:
            raise FactError(f"{pair.certificate}: no certificate with its key: {error}") from error
    try:
        connected = socket.create_connection((host, port), timeout=SECONDS)
    except OSError as error:
        raise FactError(f"{host}:{port}: {error.strerror or error}") from error
    try:
        with closing(connected), context.wrap_socket(connected) as secured:
            return _talk(_Phone(secured, host, device_id, user))
    except ssl.SSLCertVerificationError as error:
        raise FactError(f"{host}:{port}: its certificate: {error.verify_message}") from error
    except (OSError, http.client.HTTPException) as error:
        return Tried(None, f"turned away before any answer ({_reason(error)})")


def _reason(error: Exception) -> str:
    return (getattr(error, "reason", "") or str(error) or type(error).__name__).lower().replace("_", " ")


@dataclass(slots=True)
class _Phone:
    secured: ssl.SSLSocket
    host: str
    device_id: str
    user: str
    key: str = "0"

    def ask(self, command: str, body: bytes) -> tuple[int, bytes]:
        """One command, and the answer's status and body."""
        asked = {"Cmd": command, "User": self.user, "DeviceId": self.device_id, "DeviceType": DEVICE_TYPE}
        connection = http.client.HTTPConnection(self.host)
        connection.sock = self.secured
        headers = {
            "MS-ASProtocolVersion": PROTOCOL,
            "X-MS-PolicyKey": self.key,
            "Content-Type": "application/vnd.ms-sync.wbxml",
            "User-Agent": DEVICE_TYPE,
        }
        connection.request("POST", f"{PATH}?{urlencode(asked)}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES)


def _talk(phone: _Phone) -> Tried:
    status, _body = phone.ask("FolderSync", FOLDER_SYNC)
    if status != PROVISION_FIRST:
        return Tried(status, f"HTTP {status}")
    password = None
    for acknowledges in (False, True):
        status, body = phone.ask("Provision", provision(phone.key if acknowledges else None))
        if status != 200 or (key := policy_key(body)) is None:
            return Tried(
                PROVISION_FIRST, f"HTTP {PROVISION_FIRST}, and HTTP {status} to Provision without a policy key"
            )
        if not acknowledges:
            password = _PASSWORD_TAG + _STRING + b"1" + _END in body
        phone.key = key
    status, _body = phone.ask("FolderSync", FOLDER_SYNC)
    return Tried(status, f"HTTP {status}, after it took a policy", password)


def provision(key: str | None) -> bytes:
    """A Provision request in WBXML: for a policy, or with `key` its acknowledgement (MS-ASPROV 2.2.2)."""
    kind = b"\x48" + _STRING + b"MS-EAS-Provisioning-WBXML" + _END + b"\x01"
    taken = (
        b""
        if key is None
        else _KEY_TAG + _STRING + key.encode() + _END + b"\x01" + b"\x4b" + _STRING + b"1" + _END + b"\x01"
    )
    return b"\x03\x01\x6a\x00\x00\x0e\x45\x46\x47" + kind + taken + b"\x01\x01\x01"


def policy_key(answer: bytes) -> str | None:
    """The policy key in an answer to Provision; None where there is none."""
    _before, found, rest = answer.partition(_KEY_TAG + _STRING)
    return rest.partition(_END)[0].decode("ascii", "replace") if found else None
