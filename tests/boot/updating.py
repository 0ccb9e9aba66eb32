"""A machine of QEMU's that configures itself from a NoCloud disk, can be killed at any moment, and is spoken to over REST."""

import base64
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from appliance.configd.passwords import hashed
from images.run import run

BOOT_SECONDS = (
    3_600.0  # three tries of a slot that does not come up, and the start after them, without KVM on a busy machine
)
ANSWER_SECONDS = 120.0
FIRMWARE = Path("/usr/share/OVMF")
ADDRESS, ROUTER = "10.0.2.15", "10.0.2.2"  # QEMU's user network
INTERFACE, CARD_PLACE = "enp0s16", "0x10"
PASSWORD, ENABLE = "Admin-Secret-12345", "Enable-Secret-12345"
SITE = {
    "hostname": "gateway.lab.test",
    "interfaces": {INTERFACE: {"zones": ["device", "management", "backend"], "addresses": [f"{ADDRESS}/24"]}},
    "firewall": {"management_networks": ["10.0.2.0/24"]},
    "dns": {"servers": [ROUTER]},
    "ntp": {"servers": [ROUTER, "10.0.2.4"]},
    "backends": {"servers": {"mail": {"host": "10.0.2.10"}}},
    "uem": {"mode": "embedded"},
}


def nocloud(folder: Path) -> Path:
    """A CD labelled cidata with the site."""
    place = folder / "cidata"
    place.mkdir()
    users = {"accounts": {"admin": {"role": "administrator", "password_hash": hashed(PASSWORD)}}}
    site = {**SITE, "users": users, "cli": {"enable_secret_hash": hashed(ENABLE)}}
    (place / "user-data").write_text(yaml.safe_dump(site))
    (place / "meta-data").write_text("instance-id: i-1\n")
    run(["xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-R", "-o", folder / "cidata.iso", place])
    return folder / "cidata.iso"


class AwayError(Exception):
    """The machine does not answer now."""


@dataclass
class Updated:
    """A machine over the image of one version, to be updated."""

    folder: Path
    port: int
    token: str = ""

    @classmethod
    def made(cls, image: Path, folder: Path) -> "Updated":
        """A new machine with a disk over this qcow2, and the CD that configures it."""
        folder.mkdir(parents=True, exist_ok=True)
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, folder / "disk.qcow2"])
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.ms.fd", folder / "vars.fd")
        nocloud(folder)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            return cls(folder, taken.getsockname()[1])

    @property
    def said(self) -> bytes:
        """What stands on its console since it was started."""
        path = self.folder / "serial.log"
        return path.read_bytes() if path.exists() else b""

    @contextmanager
    def on(self) -> Iterator[subprocess.Popen[bytes]]:
        """Switched on; at the end of the block its power is cut."""
        (self.folder / "serial.log").unlink(missing_ok=True)
        argv = [
            "qemu-system-x86_64", "-machine", "q35,smm=on", "-m", "2048", "-smp", "2", "-nodefaults", "-display", "none",
            "-cpu", "max,-erms,-fsrm", "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.ms.fd",
            "-drive", f"if=pflash,format=raw,unit=1,file={self.folder}/vars.fd",
            "-drive", f"if=virtio,format=qcow2,file={self.folder}/disk.qcow2",
            "-drive", f"if=virtio,format=raw,readonly=on,file={self.folder}/cidata.iso",
            "-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-{ADDRESS}:8443",
            "-device", f"virtio-net-pci,netdev=n0,addr={CARD_PLACE}", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.folder}/serial.log", "-monitor", "none",
        ]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    # --- REST --------------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """One request; the answer. Raises `AwayError` where none comes."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it has made its certificate itself
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=ANSWER_SECONDS)
        sent = {"Host": ADDRESS + ":8443", "Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, f"/api/v1{path}", body, sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise AwayError(str(error)) from error
        finally:
            connection.close()
        if answer.status == 503:
            raise AwayError(text.decode())
        assert answer.status < 300, (answer.status, text)
        return json.loads(text) if text else None

    def log_in(self) -> None:
        """A token for all that follows."""
        login = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        wanted = {"name": "test", "role": "administrator", "scopes": ["read", "services", "power"]}
        made = self.until(
            lambda: self.ask(
                "POST", "/tokens", json.dumps(wanted).encode(), Authorization=login, Sentry_Enable_Secret=ENABLE
            )
        )
        self.token = made["token"]

    def until(self, look: Callable[[], Any]) -> Any:
        """Ask until there is an answer that is something; the answer."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                if found := look():
                    return found
            except AwayError:
                pass
            assert time.monotonic() < deadline, self.said[-4000:].decode(errors="replace")
            time.sleep(2)

    def software(self) -> Any:
        """How its software stands."""
        return self.ask("GET", "/software")

    def until_good(self) -> Any:
        """Wait until what runs has been seen to run well, and nothing is being written."""

        def look() -> Any:
            found = self.software()
            slot = next(one for one in found["slots"] if one["name"] == found["running"])
            return found if slot["state"] == "good" else None

        return self.until(look)

    def bring(self, bundle: Path) -> None:
        """Upload an update."""
        self.ask("PUT", "/software/bundle", bundle.read_bytes(), Content_Type="application/octet-stream")

    def begin(self) -> None:
        """Have it written."""
        self.ask("POST", "/software/update", b"{}")

    def until_written(self) -> Any:
        """Wait for the end of that."""
        return self.until(lambda: found if (found := self.software())["order"]["standing"] != "running" else None)

    def restart(self) -> None:
        """Have it start anew."""
        self.ask("POST", "/system/power", b'{"action": "reload"}')
