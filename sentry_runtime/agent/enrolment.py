"""Gets this Sentry's client certificate from the UEM, by a token that an administrator types, and a new one before it ends.

| the certificate | the link |
|---|---|
| there is none, or one under another name | sends nothing; that is no outage, so the fail mode does not speak |
| good | uses it |
| two thirds of its life are over | uses it; the next one is asked for, once an hour until it is there |
| has ended | sends nothing; a new token is wanted |
"""

import asyncio
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sentry_runtime.agent import identity
from sentry_runtime.agent.identity import Identity, IdentityError
from sentry_runtime.audit import timestamp
from sentry_runtime.control_server import Refused
from sentry_runtime.settings import EnrolmentLink
from sentry_runtime.uem.enrolment import Enrol, Enrolled, Renew
from sentry_runtime.uem.link import LinkError
from sentry_runtime.uem.trail import Audit

LOOK_SECONDS = 3_600.0  # between two looks, and two tries: at least eight in the last third of the shortest life, a day
SPREAD = 0.1  # a fleet that was enrolled together does not renew together


class Renews(Protocol):
    """The part of the link that this needs."""

    async def renew(self, asked: Renew) -> Enrolled:
        """See `UemLink.renew`."""
        ...

    def use_new_connections(self) -> None:
        """See `UemLink.use_new_connections`."""
        ...


class Enrols(Protocol):
    """Who asks for the first certificate, with none."""

    async def __call__(self, asked: Enrol) -> Enrolled:
        """Raises `LinkError`."""
        ...


class Enrolment:
    """`tls` is the link's context, which has no certificate but the one that is put there here. `now` gives seconds since the
    epoch. Raises `OSError` when the folder cannot be read. What OpenSSL does not take of what lies there is as good as none."""

    def __init__(
        self,
        settings: EnrolmentLink,
        folder: Path,
        tls: ssl.SSLContext,
        first: Enrols,
        *,
        audit: Audit,
        now: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._sentry = settings.sentry
        self._folder = folder
        self._tls = tls
        self._first = first
        self._audit = audit
        self._now = now
        self._draw = draw
        self._one_at_a_time = asyncio.Lock()
        self._identity = identity.read(folder)
        if self._identity is not None:
            try:
                self._load()
            except ssl.SSLError as error:  # else the agent would not start, nor known devices have their mail
                self._audit("uem_enrolment_failed", detail=f"{folder / identity.FILE}: {error.reason or error}")
                self._identity = None
        self.problem = ""
        """Why the last renewal did not succeed; empty when it did."""

    @property
    def trouble(self) -> str:
        """Why the link cannot be used; empty when it can."""
        held = self._identity
        if held is None:
            return "this Sentry is not enrolled at its UEM"
        if held.sentry != self._sentry:
            return f"this Sentry is enrolled as {held.sentry!r}, its settings say {self._sentry!r}: enrol anew"
        if held.ends <= self._now():
            return f"this Sentry's certificate ended at {timestamp(held.ends)}: enrol anew"
        return ""

    def facts(self) -> dict[str, str | int]:
        """For who asks how it is; `enrolment_ends` is in epoch seconds, 0: there is none."""
        ends = 0 if self._identity is None else int(self._identity.ends)
        return {
            "enrolment": self.trouble or f"enrolled as {self._sentry}",
            "enrolment_ends": ends,
            "enrolment_problem": self.problem,
        }

    async def enrol(self, link: Renews, token: str, by: str) -> None:
        """Redeem this token. Raises `Refused` (`unavailable`) with the UEM's word; then what was there still is."""
        try:
            async with self._one_at_a_time:
                key = identity.new_key()
                csr = identity.request(key, self._sentry)
                got = await self._first(Enrol(sentry=self._sentry, token=token, csr=csr))
                await self._keep(link, key, got)
        except (LinkError, IdentityError, OSError) as error:
            self._audit("uem_enrolment_failed", by=by, detail=str(error))
            raise Refused("unavailable", str(error)) from error
        self._audit("uem_enrolled", by=by, detail=self._told())

    async def renew(self, link: Renews) -> str:
        """Ask for the next certificate now; empty, or why there is none. What was there then still is."""
        try:
            async with self._one_at_a_time:
                key = identity.new_key()
                got = await link.renew(Renew(csr=identity.request(key, self._sentry)))
                await self._keep(link, key, got)
        except (LinkError, IdentityError, OSError) as error:
            problem = str(error)
            if problem != self.problem:  # once: an unchanged problem is not news at every try
                self._audit("uem_renewal_failed", detail=problem)
            self.problem = problem
            return problem
        self.problem = ""
        self._audit("uem_renewed", detail=self._told())
        return ""

    async def run(self, link: Renews) -> None:
        """Look at every interval whether it is time, until cancelled."""
        while True:
            await self.look(link)
            await asyncio.sleep(LOOK_SECONDS * (1 - SPREAD * self._draw()))

    async def look(self, link: Renews) -> None:
        """Renew if it is time."""
        if not self.trouble and self._identity is not None and self._identity.due <= self._now():
            await self.renew(link)

    async def _keep(self, link: Renews, key: identity.Key, got: Enrolled) -> None:
        now = self._now()
        held: Identity = await asyncio.to_thread(identity.keep, self._folder, key, got.certificate, self._sentry, now)
        self._load()
        self._identity = held
        link.use_new_connections()

    def _load(self) -> None:
        self._tls.load_cert_chain(self._folder / identity.FILE)

    def _told(self) -> str:
        return f"as {self._sentry}, until {timestamp(0 if self._identity is None else self._identity.ends)}"
