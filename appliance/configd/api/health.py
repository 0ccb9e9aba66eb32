"""How the machine is, for the alert service and for monitoring systems."""

import msgspec

from appliance.configd.api.words import SessionVerb


class LookAtHealth(SessionVerb, frozen=True, kw_only=True, tag="state.health"):
    """The alert service's look at the machine; nobody else may ask. Result: `Health`. `thorough`: with what takes long."""

    thorough: bool = False


class UnitHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A unit: its state as systemd says, whether it should run, how often it was started again after a fault."""

    name: str
    active: str
    wanted: bool
    restarts: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What alerts are made of. `gateway` and `agent` are what these say of themselves, empty when they do not answer; `disks` how
    full the places are, in percent; None is what was not looked at; `certificates` are names with their ends (ISO 8601);
    `not_obtained` are services with what keeps an ACME server from giving them certificates, `stig_opened` are rules of the STIGs
    that are open and once were not, with what each demands; `not_sent` are destinations of backups with what keeps these from
    being sent there; `directory` is what keeps all servers of the site's directory from being asked, empty where one can be;
    `sessions` is how many administrators are logged in."""

    units: tuple[UnitHealth, ...]
    gateway: dict[str, str | int]
    agent: dict[str, str | int]
    device_cache_size: int
    disks: dict[str, int]
    synchronised: bool | None
    thorough: bool
    fips: bool | None
    certificates: dict[str, str]
    not_obtained: dict[str, str] | None = None
    stig_opened: dict[str, str] | None = None
    not_sent: dict[str, str] | None = None
    directory: str | None = None
    sessions: int | None = None


class ReadMetrics(SessionVerb, frozen=True, kw_only=True, tag="state.metrics"):
    """Numbers for a monitoring system. Result: `Metrics`."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """`health` as alerts have it, its certificates and FIPS mode up to ten minutes old; the running revision (0: none yet),
    and whether a commit waits for confirmation."""

    health: Health
    revision: int
    waiting: bool
