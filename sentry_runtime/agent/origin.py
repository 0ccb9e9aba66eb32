"""Whose words the device list holds: those of one UEM. When the site changes to another one, the list begins anew.

Else the new UEM could not take back what it never said: to it the old one's devices are unknown, and their versions may be
above all of its own. What stands is an order to wipe a device: it was meant for the device, whoever manages it now.
"""

from pathlib import Path

import msgspec

from sentry_runtime import secret_file
from sentry_runtime.devices.record import Record
from sentry_runtime.devices.store import StoreError, Writer
from sentry_runtime.settings import Epmm, Intune, UemLink
from sentry_runtime.uem.trail import Audit

FILE = "origin"  # beside the list
BYTES = 1_024
PROTOCOL = "protocol"
"""All UEMs that speak our protocol in the Core manner: they say what was removed, and compare digests. A Cloud does not."""


def of(uem: UemLink) -> str:
    """Which UEM these settings mean, in one line."""
    match uem.adapter:
        case Epmm():
            return f"epmm {uem.url} {uem.adapter.device_space} {uem.adapter.principal}"
        case Intune():
            return f"intune {uem.url} {uem.adapter.tenant.lower()} {uem.adapter.principal}"
    return f"cloud {uem.url}" if uem.mode == "cloud" else PROTOCOL


def settle(store: Writer, folder: Path, uem: UemLink, audit: Audit) -> None:
    """Have the list hold this UEM's words and no other's. Raises `StoreError`. Killed in the middle, it is done again."""
    wanted = of(uem)
    held = _read(folder / FILE)
    if held == wanted:
        return
    if store.iterate(limit=1):
        kept = [_bare(record) for record in _all(store) if record.wipe is not None]
        store.begin_anew(kept)
        audit("device_list_begun_anew", count=len(kept), detail=f"it held the words of {held}, and is of {wanted} now")
    _write(folder / FILE, wanted)


def _bare(record: Record) -> Record:
    """Without what it names of the old UEM's."""
    return msgspec.structs.replace(record, policy=b"", policy_before=None, tunnels=b"")


def _all(store: Writer) -> list[Record]:
    found: list[Record] = []
    while page := store.iterate(found[-1].key if found else None, 1_000):
        found += page
    return found


def _read(path: Path) -> str:
    """What is written there; a list without the file is older than it, when there were no others."""
    try:
        with path.open("rb") as file:
            return file.read(BYTES).decode(errors="replace")
    except FileNotFoundError:
        return PROTOCOL
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        secret_file.put(path, text.encode())
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
