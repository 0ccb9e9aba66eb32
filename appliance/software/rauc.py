"""What RAUC says and does: fixed commands, and its answers as values. Everything here needs root and the machine's slots."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from appliance.process import CommandError

INFO_SECONDS = 120.0  # reads the bundle's head and checks a signature
INSTALL_SECONDS = 3_600.0  # 38 seconds in an emulated machine; a slow disk may take many times that
STATUS_SECONDS = 120.0
ROOT, BOOT = "rootfs", "boot"
FORMAT = "json-2"  # the older one leaves out what a bundle says of its own
META = "sentry"
"""The section of a bundle's head (`meta.sentry`) that says how its root is verified."""

Run = Callable[..., str]


class RaucError(RuntimeError):
    """RAUC refused or failed, or said what cannot be read; the message is for an administrator."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose signature was good: its version, the root's hash and where its tree begins, and the digest (SHA-256) and
    length of the boot partition's content."""

    version: str
    root_hash: str
    hash_offset: int
    boot_digest: str
    boot_bytes: int


def info(run: Run, bundle: Path) -> Bundle:
    """Look at a bundle. Raises `RaucError` when nobody that this machine believes has signed it, or it is damaged."""
    try:
        said = run(["rauc", "info", f"--output-format={FORMAT}", str(bundle)], seconds=INFO_SECONDS)
    except CommandError as error:
        raise RaucError(f"the update is refused: {_reason(error.output)}") from error
    return parsed(said)


def parsed(said: str) -> Bundle:
    """`rauc info --output-format=json-2` as a value."""
    try:
        read = msgspec.json.decode(said, type=dict[str, Any])
        images = {each["slot-class"]: each for each in read["images"]}
        meta = read["meta"][META]
        if ROOT not in images:
            raise KeyError(ROOT)
        return Bundle(
            version=str(read["update"]["version"]),
            root_hash=str(meta["root-hash"]),
            hash_offset=int(meta["hash-offset"]),
            boot_digest=str(images[BOOT]["checksum"]),
            boot_bytes=int(images[BOOT]["size"]),
        )
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RaucError(f"the update is refused: it is signed, but is none of this product ({error})") from error


def install(run: Run, bundle: Path) -> None:
    """Write a bundle into the slot that does not run, and have the next start take it. Raises `RaucError`."""
    _do(run, ["rauc", "install", str(bundle)], INSTALL_SECONDS)


def mark(run: Run, what: str, slot: str) -> None:
    """`good`, `bad` or `active`, of the slot `booted` or `other`. Raises `RaucError`."""
    _do(run, ["rauc", "status", f"mark-{what}", slot], STATUS_SECONDS)


def _do(run: Run, argv: list[str], seconds: float) -> None:
    try:
        run(argv, seconds=seconds)
    except CommandError as error:
        raise RaucError(f"{' '.join(argv[:3])}: {_reason(error.output)}") from error


def _reason(output: str) -> str:
    """The line in which RAUC says what is wrong; its progress around that tells an administrator nothing."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "-Message:" not in line]
    last = next((line.removeprefix("LastError: ") for line in lines if line.startswith("LastError: ")), "")
    telling = (line for line in lines if "failed" in line or "rror" in line)
    return last or next(telling, "") or next(iter(lines), "it said nothing")
