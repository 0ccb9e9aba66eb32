"""Azure's Compute API and a managed disk's pages over TLS, as the REST reference documents them, as far as a publication goes.

Long-running calls are answered in the two ways that Azure has: a resource whose provisioningState is looked at again, and
202 with a `Location`. Pages are taken as Put Page takes them (whole sectors, at most 4 MiB), by an address with a signature,
while that is good.
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from azure.core.credentials import AccessToken
from azure.mgmt.compute import ComputeManagementClient

SUBSCRIPTION, GROUP, GALLERY = "00000000-0000-0000-0000-00000000000a", "images", "gallery"
SIGNATURE = "c2VjcmV0LW9mLWFuLWFkZHJlc3M"
TOKEN = "token-of-a-test"
PAGES = "/account/container/"  # where there is no name of a host, the SDK takes an account from the path
_BASE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute"
_DISK = re.compile(rf"{_BASE}/disks/(?P<name>[\w-]{{1,80}})(/(?P<verb>beginGetAccess|endGetAccess))?")
_IMAGE = re.compile(rf"{_BASE}/galleries/{GALLERY}(/images/(?P<image>[\w.-]+)(/versions/(?P<version>\d+\.\d+\.\d+))?)?")
Answer = tuple[int, dict[str, str], bytes]


class Credential:
    """One that Azure takes."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        """A token that is good for an hour."""
        assert scopes
        return AccessToken(TOKEN, int(time.time()) + 3_600)


@dataclass
class Microsoft:
    """A resource group with a gallery: what is in it, what was asked, and what shall go wrong."""

    endpoint: str = ""
    trust: str = ""
    disks: dict[str, dict[str, Any]] = field(default_factory=dict)
    pages: dict[str, bytearray] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    written: int = 0
    fails_after: int | None = None
    refuses: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    replicates: list[str] = field(default_factory=lambda: ["Creating", "Succeeded"])
    gallery: bool = True
    content: bytes = b""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, credential: Any = None) -> ComputeManagementClient:
        """The SDK's client, which believes this server alone."""
        return ComputeManagementClient(
            credential or Credential(),
            SUBSCRIPTION,
            base_url=self.endpoint,
            credential_scopes=["https://management.example/.default"],
            connection_verify=self.trust,
            polling_interval=0,
            retry_total=0,
        )

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Whatever was asked."""
        parts = urlsplit(path)
        with self.lock:
            if parts.path.startswith(PAGES):
                return self._page(method, parts.path.removeprefix(PAGES), parse_qs(parts.query), headers, body)
            self.asked.append(f"{method} {parts.path.removeprefix(_BASE)}")
            refusal = self._refusal(headers)
            if refusal is not None:
                return refusal
            if parts.path == "/granted":
                return _json(
                    200, {"accessSAS": f"{self.endpoint}{PAGES}{parts.query}?sv=2024&sr=b&sp=rw&sig={SIGNATURE}"}
                )
            if match := _DISK.fullmatch(parts.path):
                return self._disk(method, match["name"], match["verb"], body)
            if match := _IMAGE.fullmatch(parts.path):
                return self._gallery(method, match["image"], match["version"], body)
        return _error(404, "ResourceNotFound", f"{path} is nothing")

    def _refusal(self, headers: dict[str, str]) -> Answer | None:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "InvalidAuthenticationToken", "The access token is invalid.")
        refused = [refusal for asked, refusal in self.refuses.items() if self.asked[-1].startswith(asked)]
        return _error(*refused[0]) if refused else None

    def _disk(self, method: str, name: str, verb: str | None, body: bytes) -> Answer:
        found = self.disks.get(name)
        if method == "PUT":
            return self._made_disk(name, json.loads(body))
        if found is None:
            return (204, {}, b"") if method == "DELETE" else _error(404, "ResourceNotFound", f"{name} was not found")
        return self._access(name, verb, body) if verb else self._known_disk(method, name)

    def _access(self, name: str, verb: str, body: bytes) -> Answer:
        properties = self.disks[name]["properties"]
        if verb == "beginGetAccess":
            said = json.loads(body)
            assert said["access"] == "Write"
            assert 0 < said["durationInSeconds"] <= 86_400
            properties["diskState"] = "ActiveUpload"
            return 202, {"Location": f"{self.endpoint}/granted?{name}"}, b""
        properties["diskState"] = "Unattached"
        return 200, {}, b""

    def _known_disk(self, method: str, name: str) -> Answer:
        if method == "DELETE":
            if self.disks[name]["properties"]["diskState"] == "ActiveUpload":
                return _error(409, "OperationNotAllowed", "There is an active upload.")
            del self.disks[name], self.pages[name]
            return 200, {}, b""
        return _json(200, self.disks[name])

    def _made_disk(self, name: str, said: dict[str, Any]) -> Answer:
        creation = said["properties"]["creationData"]
        size = creation["uploadSizeBytes"]
        if creation["createOption"] != "Upload" or size % (1 << 20) != 512 or size < (20 << 20) + 512:
            return _error(400, "InvalidParameter", f"uploadSizeBytes {size}")
        if name in self.disks:
            return _error(409, "Conflict", f"{name} is being uploaded to")
        made = {"id": f"{_BASE}/disks/{name}", "name": name, **said}
        made["properties"] |= {"diskState": "ReadyToUpload", "provisioningState": "Succeeded"}
        self.disks[name], self.pages[name] = made, bytearray(size)
        status, headers, content = _json(
            202, {**made, "properties": {**made["properties"], "provisioningState": "Updating"}}
        )
        return status, {**headers, "Location": f"{self.endpoint}{made['id']}"}, content

    def _page(
        self, method: str, name: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes
    ) -> Answer:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("x-ms-range") or headers.get("range") or "")
        if query.get("sig") != [SIGNATURE] or name not in self.disks or "authorization" in headers:
            return _error(403, "AuthenticationFailed", "the signature is none")
        if self.disks[name]["properties"]["diskState"] != "ActiveUpload":
            return _error(403, "AuthenticationFailed", "the address is not good any more")
        if self.fails_after is not None and self.written >= self.fails_after:
            return _error(403, "AuthenticationFailed", f"Signature not valid: sig={SIGNATURE}&sp=rw")
        if method != "PUT" or query.get("comp") != ["page"] or headers.get("x-ms-page-write") != "update" or not match:
            return _error(400, "InvalidHeaderValue", "this is no Put Page")
        start, end = int(match[1]), int(match[2]) + 1
        if start % 512 or end % 512 or end - start != len(body) or len(body) > 4 << 20 or end > len(self.pages[name]):
            return _error(416, "InvalidPageRange", f"{start}-{end}: {len(body)} bytes")
        self.pages[name][start:end] = body
        self.written += 1
        return 201, {"ETag": '"1"', "Last-Modified": "Fri, 28 Nov 2025 10:00:00 GMT"}, b""

    def _gallery(self, method: str, image: str | None, version: str | None, body: bytes) -> Answer:
        if not self.gallery:
            return _error(404, "ResourceNotFound", f"The gallery {GALLERY} was not found.")
        if image is None:
            return _json(200, {"id": f"{_BASE}/galleries/{GALLERY}", "location": "westeurope"})
        return self._image(method, image, body) if version is None else self._version(method, image, version, body)

    def _image(self, method: str, image: str, body: bytes) -> Answer:
        if method == "PUT":
            said = json.loads(body)
            self.images[image] = {**said, "properties": {**said["properties"], "provisioningState": "Succeeded"}}
            return _json(201, self.images[image])
        return _json(200, self.images[image]) if image in self.images else _error(404, "ResourceNotFound", image)

    def _version(self, method: str, image: str, version: str, body: bytes) -> Answer:
        if method == "PUT":
            return self._made_version(image, version, json.loads(body))
        if version not in self.versions:
            return _error(404, "ResourceNotFound", f"{version} was not found")
        if method == "DELETE":
            del self.versions[version]
            return 200, {}, b""
        found = self.versions[version]
        state = self.replicates.pop(0) if len(self.replicates) > 1 else self.replicates[0]
        found["properties"]["provisioningState"] = state
        return _json(200, found)

    def _made_version(self, image: str, version: str, said: dict[str, Any]) -> Answer:
        source = said["properties"]["storageProfile"]["osDiskImage"]["source"]["id"].rpartition("/")[2]
        state = self.disks[source]["properties"]["diskState"]
        if image not in self.images or state != "Unattached":
            return _error(409, "Conflict", f"the disk is {state}")
        said["properties"]["provisioningState"] = "Creating"
        self.versions[version] = {"id": f"{_BASE}/galleries/{GALLERY}/images/{image}/versions/{version}", **said}
        self.content = bytes(self.pages[source])
        return _json(201, self.versions[version])


def _json(status: int, value: object) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _error(status: int, code: str, message: str) -> Answer:
    status, headers, body = _json(status, {"error": {"code": code, "message": message}})
    return status, {**headers, "x-ms-error-code": code}, body


class _Handler(BaseHTTPRequestHandler):
    cloud: ClassVar[Microsoft]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        """Tests look at `asked`."""

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        named = {name.lower(): value for name, value in self.headers.items()}
        status, headers, content = self.cloud.answer(self.command, self.path, named, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = _do  # noqa: N815 - http.server's names


@contextmanager
def running(certificate: tuple[str, str], trust: str) -> Iterator[Microsoft]:
    """Serve until the end of the block."""
    cloud = Microsoft(trust=trust)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": cloud})) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        cloud.endpoint = f"https://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
