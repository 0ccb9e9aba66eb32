"""Digests by which a Sentry and a UEM see whether they know the same, and where not (pure; docs/uem-api.md, "Digests").

A device belongs to one of `BUCKETS` buckets by a hash of its name. A bucket's digest is the sum of its entries' digests, so that
either side keeps it up to date in one step for each change, in whatever order the changes come. The sum is modulo 2**256: what
has to be told apart here is loss and mishap between two sides that have authenticated each other, not a forger.
"""

import hashlib
from collections.abc import Iterable

from sentry_runtime.devices import tunnel
from sentry_runtime.devices.record import DeviceKey, Reason, Record, State, Wipe
from sentry_runtime.eas import policy
from sentry_runtime.uem.api import Decision

BUCKETS = 1_024  # of the largest fleet, 100,000, a hundred devices each: 25 KiB to read when one of them differs
_MODULUS = 1 << 256
_HEX = 64


def bucket_of(device_id: str, principal: str) -> int:
    """The bucket of a device: the first ten bits of the SHA-256 of its id, a NUL and its principal."""
    start = hashlib.sha256(f"{device_id}\0{principal}".encode()).digest()
    return int.from_bytes(start[:2], "big") >> 6


def of_decision(decision: Decision) -> int:
    """The digest of what the UEM says of a device that it has not removed."""
    return _entry(
        DeviceKey(decision.device_id, decision.principal),
        version=decision.version,
        state=decision.state,
        reasons=decision.reasons,
        registered=decision.registered,
        device_type=decision.device_type,
        note=decision.note,
        policy_digest=b"" if decision.policy is None else policy.digest(decision.policy),
        wipe=decision.wipe,
        tunnels_digest=tunnel.digest(decision.tunnels),
    )


def of_record(record: Record) -> int:
    """The digest of an entry of the device list: that of the decision it was made of, unless it has been marked since."""
    return _entry(
        record.key,
        version=record.version,
        state=record.state,
        reasons=record.reasons,
        registered=record.registered,
        device_type=record.device_type,
        note=record.note,
        policy_digest=record.policy,
        wipe=record.wipe,
        tunnels_digest=record.tunnels,
    )


def _entry(
    key: DeviceKey,
    *,
    version: int,
    state: State,
    reasons: tuple[Reason, ...],
    registered: bool,
    device_type: str,
    note: str,
    policy_digest: bytes,
    wipe: Wipe | None,
    tunnels_digest: bytes,
) -> int:
    """No field can hold a line feed, so that no two decisions have one text."""
    order = "" if wipe is None else f"{wipe.kind} {wipe.order} {','.join(sorted(set(wipe.marks)))} {wipe.by}"
    text = (
        f"{key.device_id}\n{key.principal}\n{version}\n{state}\n{','.join(sorted(set(reasons)))}\n{registered:d}\n"
        f"{device_type}\n{note}\n{policy_digest.hex()}\n{order}\n{tunnels_digest.hex()}\n"
    )
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


class Sums:
    """The digests of all buckets. What is taken out must have been put in."""

    def __init__(self) -> None:
        self._sums = [0] * BUCKETS

    def put(self, bucket: int, entry: int) -> None:
        """An entry with this digest is there now."""
        self._sums[bucket] = (self._sums[bucket] + entry) % _MODULUS

    def drop(self, bucket: int, entry: int) -> None:
        """An entry with this digest is there no more."""
        self._sums[bucket] = (self._sums[bucket] - entry) % _MODULUS

    def words(self) -> tuple[str, ...]:
        """Each bucket's digest in hex, in the order of the buckets."""
        return tuple(f"{one:0{_HEX}x}" for one in self._sums)


def word(entries: Iterable[int]) -> str:
    """The digest of a bucket with just these entries, in hex."""
    return f"{sum(entries) % _MODULUS:0{_HEX}x}"


def root(words: Iterable[str]) -> str:
    """One digest of all: the SHA-256, in hex, of the buckets' digests as bytes, in their order."""
    return hashlib.sha256(bytes.fromhex("".join(words))).hexdigest()
