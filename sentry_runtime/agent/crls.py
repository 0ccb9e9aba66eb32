"""The revocation lists in force: read from the site's files, fetched from the site's URLs, kept on the disk over a restart.

Of each authority (and part) the newest list counts, wherever it comes from: an old one that is played to us again, or a mirror
that lags, takes nobody off.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cryptography import x509

from sentry_runtime.agent.fetch import FetchError
from sentry_runtime.certificates import crl
from sentry_runtime.certificates.authorities import Authorities
from sentry_runtime.certificates.crl import CRL_BYTES, Crl, CrlError
from sentry_runtime.certificates.revocation import Evidence, Standing
from sentry_runtime.control import RevocationSource
from sentry_runtime.settings import Revocation
from sentry_runtime.uem.trail import Audit

AGAIN_SECONDS = 30.0  # without proof: a new list is told of at once, this is for the case that nobody tells


Newest = dict[tuple[x509.Certificate, frozenset[str]], Crl]
"""The list in force of each authority and part."""


class Fetches(Protocol):
    """The part of the fetcher that lists need."""

    async def get(self, url: str, bound: int) -> bytes:
        """See `Fetcher.get`."""
        ...


@dataclass(slots=True)
class _Source:
    """One file or URL, the lists that came from it, and what was wrong the last time."""

    kind: Literal["crl file", "crl url"]
    place: str
    lists: tuple[Crl, ...] = ()
    problem: str = ""


class Crls:
    """`now` gives seconds since the epoch; `folder` is where fetched lists are kept."""

    def __init__(
        self,
        rules: Revocation,
        authorities: Authorities,
        folder: Path,
        fetches: Fetches,
        *,
        now: Callable[[], float],
        audit: Audit,
    ) -> None:
        self._rules = rules
        self._authorities = authorities
        self._folder = folder
        self._fetches = fetches
        self._now = now
        self._audit = audit
        files = [_Source("crl file", path) for path in rules.crl_files]
        self._sources = files + [_Source("crl url", url) for url in rules.crl_urls]
        self._newest: Newest = {}

    @property
    def well(self) -> bool:
        """Whether nothing was wrong with any source the last time."""
        return not any(source.problem for source in self._sources)

    async def load(self) -> None:
        """Read the site's files, and the lists fetched before a restart."""
        for source in self._sources:
            path = Path(source.place) if source.kind == "crl file" else self._kept(source.place)
            if source.kind == "crl file" or path.exists():
                await self._take(source, await asyncio.to_thread(_content, path), self._newest)

    async def refresh(self, *, anew: bool = False) -> bool:
        """Read the files again and fetch every URL; whether anything has changed. `anew`: what was known before does not count,
        once all has been fetched."""
        before = dict(self._newest)
        into = {} if anew else self._newest
        for source in self._sources:
            if source.kind == "crl file":
                await self._take(source, await asyncio.to_thread(_content, Path(source.place)), into)
                continue
            data = await self._fetched(source.place)
            await self._take(source, data, into)
            if isinstance(data, bytes) and not source.problem:
                source.problem = await asyncio.to_thread(self._keep, source.place, data)
            elif anew:
                self._kept(source.place).unlink(missing_ok=True)
        self._newest = into
        return self._newest != before

    def evidence(self, certificate: x509.Certificate, issuer: x509.Certificate) -> Evidence | None:
        """What the lists say of a certificate; None where there is none that it would be on."""
        now = self._now()
        covering = [one for one in self._newest.values() if one.issuer == issuer and one.covers(certificate)]
        if not covering:
            return None
        if any(certificate.serial_number in one.serials for one in covering):
            return Evidence(Standing.REVOKED, now + self._rules.refresh_seconds)
        ends = max(one.ends for one in covering)
        if ends > now:
            return Evidence(Standing.GOOD, min(ends, now + self._rules.refresh_seconds))
        return Evidence(Standing.STALE, now + AGAIN_SECONDS, since=ends)

    def shown(self) -> Iterator[RevocationSource]:
        """Each list with where it comes from; a source without any is one row, too."""
        now = self._now()
        for source in self._sources:
            if not source.lists:
                yield RevocationSource(kind=source.kind, place=source.place, state="none", problem=source.problem)
            for one in source.lists:
                superseded = self._newest.get((one.issuer, one.points)) is not one
                yield RevocationSource(
                    kind=source.kind,
                    place=source.place,
                    issuer=one.name,
                    state="superseded" if superseded else "in force" if one.ends > now else "stale",
                    made=one.made,
                    ends=one.ends,
                    entries=len(one.serials),
                    problem=source.problem,
                )

    async def _fetched(self, url: str) -> bytes | str:
        try:
            return await self._fetches.get(url, CRL_BYTES)
        except FetchError as error:
            return str(error)

    async def _take(self, source: _Source, data: bytes | str, into: Newest) -> None:
        """Put what a source has in place; `data` is text where it has nothing: why."""
        problem = data if isinstance(data, str) else await self._read(source, data, into)
        if problem and problem != source.problem:
            self._audit("crl_failed", detail=f"{source.place}: {problem}")
        source.problem = problem

    async def _read(self, source: _Source, data: bytes, into: Newest) -> str:
        try:
            lists = await asyncio.to_thread(self._lists, data)
        except CrlError as error:
            return str(error)
        source.lists = tuple(self._put(one, source.place, into) for one in lists)
        return ""

    def _put(self, one: Crl, place: str, into: Newest) -> Crl:
        """Put it in force unless a newer one is; the same one again is the one that is in force."""
        key = one.issuer, one.points
        before = into.get(key)
        if before == one:
            return before
        if before is None or (one.made, one.number) > (before.made, before.number):
            into[key] = one
            self._audit("crl_loaded", detail=f"{place}: {one.name}", version=one.number, count=len(one.serials))
        return one

    def _lists(self, data: bytes) -> list[Crl]:
        return [crl.read(der, self._authorities.held, self._now()) for der in crl.split(data)]

    def _kept(self, url: str) -> Path:
        return self._folder / f"{hashlib.sha256(url.encode()).hexdigest()}.crl"

    def _keep(self, url: str, data: bytes) -> str:
        """Write it beside its place and rename, so that a crash leaves the old one or the new one."""
        path = self._kept(url)
        new = path.with_suffix(".new")
        try:
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as error:
            return f"{path}: cannot be kept: {error.strerror}"
        return ""


def _content(path: Path) -> bytes | str:
    try:
        if path.stat().st_size > CRL_BYTES:
            return f"more than {CRL_BYTES} bytes"
        return path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
