"""What the alerts' tests share: settings, a machine's clocks, and sources that say what the test says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.alerts.entries import Line
from appliance.alerts.looking import LookError
from appliance.alerts.settings import Server, Settings
from appliance.alerts.table import ALERTS
from appliance.configd.api import Health, UnitHealth
from appliance.system import Boot

NOON = 1_800_000_000.0
PEOPLE = ("isso@lab.test", "sca@lab.test")
SERVER = Server(host="127.0.0.1", port=2587, security="starttls", trust="/nowhere", sender="gateway@lab.test")


def settings_of(**rest: Any) -> Settings:
    """Settings of a site with a mail server and two recipients."""
    actions = dict.fromkeys(ALERTS, "mail") | rest.pop("actions", {})
    fields = {"host_name": "gateway.lab.test", "server": SERVER, "recipients": PEOPLE, "actions": actions}
    return Settings(**{**fields, **rest})


@dataclass
class Clocks(Boot):
    """Both clocks of a machine; they go on when told."""

    now: float = 1_000.0
    wall: float = NOON
    boot: str = "first"

    def seconds(self) -> float:
        return self.now

    def name(self) -> str:
        return self.boot

    def time(self) -> float:
        """The time of day."""
        return self.wall

    def go_on(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.wall += seconds


def health_of(**rest: Any) -> Health:
    """A machine that is well."""
    fields: dict[str, Any] = {
        "units": (
            UnitHealth(name="sentry-configd.service", active="active", wanted=True),
            UnitHealth(name="sentry-gateway.service", active="active", wanted=True),
            UnitHealth(name="rsyslog.service", active="active", wanted=True),
        ),
        "gateway": {"state": "running", "audit_dropped": 0, "backend.mail.up": 2, "backend.mail.down": 0},
        "agent": {"link": "up", "devices": 10},
        "device_cache_size": 1_000,
        "disks": {"/": 10, "/var/log": 10},
        "synchronised": True,
        "thorough": True,
        "fips": True,
        "certificates": {},
        "not_obtained": {},
        "stig_opened": {},
        "not_sent": {},
        "directory": "",
    }
    return Health(**{**fields, **rest})


@dataclass
class World:
    """Sources for a service: what is written into `journal` is read once, `health` is what configd says."""

    journal: list[Line] = field(default_factory=list)
    health_now: Health | None = field(default_factory=health_of)
    broken: str = ""
    asked: list[bool] = field(default_factory=list)
    told: Callable[[], object] = lambda: None
    """Called, in a thread, when configd's facts are asked for, which is what a look does last."""

    def newest(self) -> str:
        self._works()
        return str(len(self.journal))

    def lines(self, cursor: str) -> list[Line]:
        self._works()
        return self.journal[int(cursor) : int(cursor) + 500]

    def health(self, *, thorough: bool) -> Health:
        self.asked.append(thorough)
        self.told()
        if self.health_now is None:
            raise LookError("configd does not answer")
        return self.health_now

    def _works(self) -> None:
        if self.broken:
            raise LookError(self.broken)

    def write(self, message: str, *, unit: str = "ssh.service", identifier: str = "sshd", when: float = NOON) -> None:
        """One more line of the journal."""
        self.journal.append(
            Line(
                cursor=str(len(self.journal) + 1),
                microseconds=str(int(when * 1_000_000)),
                message=message,
                unit=unit,
                identifier=identifier,
            )
        )


@pytest.fixture
def clocks() -> Clocks:
    """A machine that started a while ago."""
    return Clocks()


@pytest.fixture
def world() -> World:
    """A machine that is well, and where nothing was logged."""
    return World()
