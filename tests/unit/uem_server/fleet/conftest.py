"""A registry with its clock and an administrator's words, on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sentry_runtime.devices.record import DeviceKey
from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.api import Contact, Decision
from sentry_runtime.uem.security import Platform, SecurityPolicy
from sentry_runtime.uem_server import directory
from sentry_runtime.uem_server.judging import Security
from sentry_runtime.uem_server.policies import Policies
from sentry_runtime.uem_server.registry import Registry
from sentry_runtime.uem_server.resources import LabelEntry, Noted, OnDevice, PostureEntry
from sentry_runtime.uem_server.tables import open_engine
from sentry_runtime.uem_server.verbs import VERBS, Said
from tests.clock import Clock

ANNA = "anna@lab.test"
PHONE, TABLET, SERIAL = DeviceKey("PHONE", ANNA), DeviceKey("TABLET", ANNA), DeviceKey("SERIAL", ANNA)
POLICIES = Policies({"strict": Policy(device_password_enabled=True), "lax": Policy(allow_camera=True)}, "lax")
SECURITY = Security(
    {
        "managed": SecurityPolicy(minimum_os={Platform.IOS: "17"}, require_encryption=True, contact_days=7),
        "open": SecurityPolicy(compromised="pass"),
    }
)
GOOD = PostureEntry(platform=Platform.IOS, os_version="17.5", compromised=False, encrypted=True, contact=1)


class World:
    """A registry, its clock, and an administrator's words."""

    def __init__(self, database: str) -> None:
        self.clock = Clock(100.0)
        self._database = database
        self._engines: list[Engine] = []
        self.registry = self.open()

    def open(self, **more: Any) -> Registry:
        """Open it, as after a restart with these settings."""
        settings: dict[str, Any] = {"auto_block": True, "policies": POLICIES, "security": SECURITY, "now": self.clock}
        self._engines.append(open_engine(self._database))
        self.registry = Registry(self._engines[-1], **(settings | more))
        return self.registry

    def close(self) -> None:
        """Let go of the database."""
        for engine in self._engines:
            engine.dispose()

    def say(self, verb: str, body: OnDevice) -> list[Decision]:
        """An administrator's word."""
        key = DeviceKey(body.device_id, body.principal)
        return VERBS[verb].act(self.registry, Said(body=body, key=key, names=Names(), by="olga"))

    def do(self, job: Callable[[Session], object]) -> list[Decision]:
        """A change beside the devices, and all that follows from it."""
        _, changed = self.registry.amend(lambda session, _next: job(session))
        more = True
        while more:
            further, more = self.registry.judge()
            changed += further
        return changed

    def label(self, name: str, **more: object) -> None:
        """There is such a label."""
        entry = msgspec.convert({"name": name, **more}, LabelEntry)
        self.do(lambda session: directory.put_label(session, entry, POLICIES, SECURITY))

    def word(self, key: DeviceKey) -> Decision:
        """What is said of the device now."""
        (found,) = (
            one
            for one in self.registry.changes(0, 1_000).decisions
            if (one.device_id, one.principal) == (key.device_id, key.principal)
        )
        return found

    def contact(self, key: DeviceKey) -> Decision:
        """A device comes."""
        seen = int(self.clock.now)
        return self.registry.contact(
            Contact(device_id=key.device_id, principal=key.principal, device_type="iPhone", seen=seen)
        )


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """With an empty database."""
    made = World(database)
    yield made
    made.close()


def on(key: DeviceKey, kind: type[OnDevice] = Noted, **more: object) -> OnDevice:
    """A word on this device."""
    return kind(device_id=key.device_id, principal=key.principal, **more)
