"""A real client that speaks 16.1: it provisions at the gateway, goes on with its key, and understands what it is refused with."""

import asyncio
import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sentry_runtime.devices.record import DeviceKey, Reason, State
from sentry_runtime.eas.policy import Policy
from tests.gateway.stand import PASSWORD, PHONE, Stand
from tests.gateway.test_provisioning import MakeProvisioner, provisioner, without_policies

__all__ = ["provisioner"]  # the fixture

CLIENTS = Path(__file__).parent / "clients"
INSTALLED = Path(__file__).parents[2] / "build" / "clients" / "pyactivesync-0.17.0"


@pytest.fixture(scope="session")
def newer_client() -> Path:
    """The folder with the library, which is installed there once."""
    INSTALLED.parent.mkdir(parents=True, exist_ok=True)
    with INSTALLED.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers want it too
        if not INSTALLED.exists():
            install()
    return INSTALLED


def install() -> None:
    """Install it, whole or not at all."""
    fresh = INSTALLED.with_suffix(".part")
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--upgrade")
    requirements = ("--target", str(fresh), "--requirement", str(CLIENTS / "newer.txt"))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *requirements], check=True, capture_output=True)
    fresh.rename(INSTALLED)


async def play(folder: Path, stand: Stand, key: DeviceKey = PHONE, password: str = PASSWORD) -> dict[str, Any]:
    """What the client says of its run as this device."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CLIENTS / "newer.py"), str(folder), str(stand.port), stand.certificates.ca),
        *(key.device_id, key.principal),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate(password.encode())
    assert process.returncode == 0, complaint.decode()
    said: dict[str, Any] = json.loads(out)
    return said


async def test_it_provisions_and_lists_its_folders(provisioner: MakeProvisioner, newer_client: Path) -> None:
    """Through both phases; the backend, which has no policies and no 16.1, sees the FolderSync alone."""
    stand = await provisioner(policy=Policy(device_password_enabled=True, allow_wifi=False))
    stand.backend.script = without_policies
    assert await play(newer_client, stand) == {"folders": ["Inbox"]}
    (seen,) = stand.backend.seen
    assert (seen.value("MS-ASProtocolVersion"), seen.values("X-MS-PolicyKey")) == ("16.1", [])
    outcomes = await stand.audit.outcomes(3)
    assert [line.get("reasons", []) for line in outcomes] == [["policy_offered"], ["policy_applied"], []]
    assert {line["protocol"] for line in outcomes} == {"16.1"}


async def test_it_understands_that_it_is_blocked(provisioner: MakeProvisioner, newer_client: Path) -> None:
    """By the status in the answer to its first command, and it stops there."""
    stand = await provisioner()
    await stand.agent.put(PHONE, State.BLOCKED, Reason.MANUAL)
    said = await play(newer_client, stand)
    assert "129" in said["error"]
    assert stand.backend.seen == []
