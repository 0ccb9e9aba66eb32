"""The way to the UEM that the settings name: in the Core or the Cloud manner of our protocol, or as another vendor's API has it;
with the certificate of the settings, or one that is enrolled."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sentry_runtime.agent.cloud_word import CloudWord
from sentry_runtime.agent.device_list import DeviceList
from sentry_runtime.agent.enrolment import Enrolment
from sentry_runtime.settings import EnrolmentLink, FailMode, Settings
from sentry_runtime.tls import client_context
from sentry_runtime.uem import enrolment as enrolling
from sentry_runtime.uem.adapters import build
from sentry_runtime.uem.adapters.link import AdapterLink
from sentry_runtime.uem.cloud import CloudLink
from sentry_runtime.uem.link import UemLink
from sentry_runtime.uem.trail import Audit


@dataclass(frozen=True, slots=True)
class Cloud:
    """The link to a Cloud, and what its administrators have set."""

    link: CloudLink
    word: CloudWord

    def facts(self) -> dict[str, str | int]:
        """What `Status` shows of it."""
        return {**self.word.facts(), **self.link.facts()}


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The link whose certificate is enrolled, and what sees to that."""

    link: UemLink
    enrolment: Enrolment

    def facts(self) -> dict[str, str | int]:
        """What `Status` shows of it."""
        return self.enrolment.facts()


@dataclass(frozen=True, slots=True)
class ToUem:
    """`link` is what all parts use; the others are there where the settings want them, and are about the same link."""

    link: UemLink | AdapterLink
    cloud: Cloud | None = None
    enrolled: Enrolled | None = None

    def fail_mode(self, settings: Settings) -> FailMode | Callable[[], FailMode]:
        """What holds for new devices while the UEM is away: the site's word, or the Cloud's latest."""
        return settings.agent.fail_mode if self.cloud is None else self.cloud.word.fail_mode

    def facts(self) -> dict[str, str | int]:
        """What `Status` shows of it."""
        told = (self.link if isinstance(self.link, AdapterLink) else None, self.cloud, self.enrolled)
        return {name: fact for one in told if one is not None for name, fact in one.facts().items()}


def made(settings: Settings, devices: DeviceList, audit: Audit) -> ToUem:
    """The way, not yet gone. Raises `SettingsError`, `StoreError`, `OSError`."""
    uem = settings.agent.uem
    if uem.adapter is not None:
        return ToUem(build.link(uem, devices, settings.principals.names()))
    tls = client_context(uem.tls)
    enrolment = None if uem.enrolment is None else _enrolment(settings, uem.enrolment, tls, audit)
    link, cloud = _link(settings, tls, enrolment, audit)
    return ToUem(link, cloud, None if enrolment is None else Enrolled(link, enrolment))


def _link(
    settings: Settings, tls: ssl.SSLContext, enrolment: Enrolment | None, audit: Audit
) -> tuple[UemLink, Cloud | None]:
    uem = settings.agent.uem

    def trouble() -> str:
        return "" if enrolment is None else enrolment.trouble

    if uem.mode != "cloud":
        return UemLink(uem.url, tls, uem.timeout_seconds, trouble), None
    word = CloudWord(Path(settings.paths.devices), uem.url, audit)
    link = CloudLink(uem.url, tls, uem.timeout_seconds, word.take, trouble)
    if word.settings is not None:
        link.use(word.settings)
    return link, Cloud(link, word)


def _enrolment(settings: Settings, held: EnrolmentLink, tls: ssl.SSLContext, audit: Audit) -> Enrolment:
    """The first certificate is asked for elsewhere, and without one."""
    uem = settings.agent.uem
    none = client_context(uem.tls)

    async def first(asked: enrolling.Enrol) -> enrolling.Enrolled:
        async with UemLink(held.url, none, uem.timeout_seconds) as link:
            return await link.enrol(asked)

    return Enrolment(held, Path(settings.paths.enrolment), tls, first, audit=audit, now=time.time)
