"""Holds the device list against what the UEM knows, by digests, and repairs what differs in either way.

The feed brings what is new. What it cannot bring is what was lost or mistaken under a version that we have passed already: an
entry of ours that the UEM has not, one of the UEM's that we have not, one that says something else under the same version.
"""

from collections.abc import Iterable
from typing import Protocol

from sentry_runtime.agent.changes import Corrected, Missing
from sentry_runtime.agent.device_list import DeviceList, account
from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.uem import digests
from sentry_runtime.uem.api import BucketPage, Decision, Digests
from sentry_runtime.uem.link import LinkBusyError, LinkRefusedError
from sentry_runtime.uem.trail import Audit

BUCKET_DEVICES = 10_000  # a hundred are what the largest fleet comes to; they are all in memory at one time


class Compares(Protocol):
    """The part of the link that this needs."""

    async def digests(self, root: str) -> Digests:
        """See `UemLink.digests`."""
        ...

    async def bucket(self, number: int, after: int) -> BucketPage:
        """See `UemLink.bucket`."""
        ...


class Reconciler:
    """`state` is `untried`, `equal`, `repaired` or `waits` (the UEM has no digests yet), by the last comparison; `repaired`
    counts the entries that were put right."""

    def __init__(self, devices: DeviceList, link: Compares, *, audit: Audit) -> None:
        self._devices = devices
        self._link = link
        self._audit = audit
        self._wrong = ""
        self.state = "untried"
        self.repaired = 0

    @property
    def waits(self) -> bool:
        """Whether the UEM wants to be asked again soon."""
        return self.state == "waits"

    async def compare(self) -> None:
        """Compare, and repair. The feed should have been read. Raises `LinkError` or `StoreError`."""
        ours = self._devices.digests()
        try:
            theirs = await self._link.digests(digests.root(ours))
        except LinkBusyError:
            self.state = "waits"
            return
        if theirs.root != digests.root(ours) and not theirs.buckets:
            raise LinkRefusedError("its digest is not ours, and those of the buckets are missing - at `$.buckets`")
        differing = [number for number, word in enumerate(theirs.buckets) if word != ours[number]]
        repaired, self._wrong = 0, ""
        if differing:
            held = await self._devices.in_buckets(differing)
            for number in differing:
                repaired += await self._repair(number, held[number], theirs)
        self.state = "repaired" if repaired else "equal"
        if repaired:
            self.repaired += repaired
            detail = f"{len(differing)} of {digests.BUCKETS} buckets"
            self._audit("device_list_repaired", count=repaired, version=theirs.version, detail=detail)
        if self._wrong:  # what the decisions themselves say has been taken all the same
            raise LinkRefusedError(self._wrong)

    async def _repair(self, number: int, held: Iterable[DeviceKey], theirs: Digests) -> int:
        """Have the list say of this bucket what the UEM says; how many entries that changed."""
        known, at = await self._read(number)
        missing = [Missing(key, at) for key in held if key not in known]
        changed = await self._devices.take([*(Corrected(word, at) for word in known.values()), *missing])
        account(self._audit, self._devices, changed)
        if at == theirs.version and digests.word(map(digests.of_decision, known.values())) != theirs.buckets[number]:
            self._wrong = f"it is not the digest of the bucket's decisions - at `$.buckets[{number}]`"
        return len(changed)

    async def _read(self, number: int) -> tuple[dict[DeviceKey, Decision], int]:
        """All that the UEM knows of the bucket, and as of which version."""
        known: dict[DeviceKey, Decision] = {}
        after = 0
        while True:
            page = await self._link.bucket(number, after)
            known |= {DeviceKey(one.device_id, one.principal): one for one in page.decisions}
            if len(known) > BUCKET_DEVICES:
                raise LinkRefusedError(f"bucket {number} has more than {BUCKET_DEVICES} devices - at `$.decisions`")
            if not page.more:
                return known, page.version
            if page.decisions[-1].version <= after:
                raise LinkRefusedError(f"bucket {number} does not go on behind {after} - at `$.decisions`")
            after = page.decisions[-1].version
