"""What the alert service is told of the machine: the same facts that `show` tells people, as numbers and words for a program."""

from collections.abc import Iterator
from typing import Any

from appliance import obtained
from appliance.configd import accounts, stig_results
from appliance.configd.api import Health, UnitHealth
from appliance.configd.clock import followed
from appliance.configd.errors import RefusedError
from appliance.configd.facts import Context, backups, certificates, crypto, host
from appliance.configd.facts.backups import destinations
from appliance.directory import api as directory_api
from appliance.features.tls import AUTHORITY, certificate_path
from appliance.pki import LEAVES
from appliance.process import CommandError
from sentry_runtime import control

DISKS = ("/", "/var", "/var/log", "/var/log/audit")
UNITS = (*host.SERVICES, "auditd.service")
CHRONY = "chrony.service"
PEOPLE = ("cli", "portal")  # of the manners of a session those with a person at the other end


def health(context: Context, *, thorough: bool) -> Health:
    """All of it; `thorough` also what takes a process with the module's self-test for each: certificates and FIPS."""
    units = tuple(_units(context))
    keeps_time = any(unit.name == CHRONY and unit.wanted for unit in units)
    return Health(
        units=units,
        gateway=_status(context, context.paths.gateway_control),
        agent=_status(context, context.paths.agent_socket),
        device_cache_size=int(context.setting("uem", "device_cache_size", default=0)),
        disks=dict(_disks(context)),
        synchronised=followed(context.attempt) is not None if keeps_time else None,
        thorough=thorough,
        fips=_fips(context) if thorough else None,
        certificates=dict(_certificates(context)) if thorough else {},
        not_obtained=_not_obtained(context),
        stig_opened=_stig_opened(),
        not_sent=_not_sent(context),
        directory=_directory(context),
        sessions=sum(held.manner in PEOPLE for held in context.sessions),
    )


def _units(context: Context) -> Iterator[UnitHealth]:
    """Wanted is what starts with the machine, unless a condition of its own keeps it from starting (the UEM in the box where
    another is used, chrony in a container)."""
    wanted = "--property=Id,ActiveState,UnitFileState,ConditionResult,NRestarts"
    blocks = context.system.run(["systemctl", "show", wanted, "--", *UNITS]).strip().split("\n\n")
    for block in blocks:
        found = dict(line.partition("=")[::2] for line in block.splitlines())
        active, restarts = found.get("ActiveState", ""), found.get("NRestarts", "")
        unmet = active == "inactive" and found.get("ConditionResult") == "no"
        yield UnitHealth(
            name=found.get("Id", ""),
            active=active,
            wanted=found.get("UnitFileState") == "enabled" and not unmet,
            restarts=int(restarts) if restarts.isdecimal() else 0,
        )


def _status(context: Context, path: str) -> dict[str, str | int]:
    """What a process of the data plane says of itself; nothing when it does not answer: its unit says the rest."""
    try:
        said: dict[str, Any] = context.call(path, control.Status(), dict[str, Any])
    except control.ControlError:
        return {}
    # A bool is an int for Python, and none for who reads the answer.
    return {name: value for name, value in said.items() if type(value) in (str, int)}


def _disks(context: Context) -> Iterator[tuple[str, int]]:
    """Each place and how full its disk is, in percent; a place that is not there has none."""
    for line in context.attempt(["df", "--output=pcent,file", "--", *DISKS]).output.splitlines():
        percent, _, place = line.strip().partition("% ")
        if percent.isdecimal():
            yield place.strip(), int(percent)


def _fips(context: Context) -> bool:
    try:
        return crypto.fips(context, "").lines[0] == crypto.ENABLED
    except CommandError:  # an openssl whose module fails its self-test says nothing else either
        return False


def _not_obtained(context: Context) -> dict[str, str] | None:
    """What keeps an ACME server from giving certificates; None when the ACME service does not answer: its unit says the rest."""
    places = obtained.places(context.tree)
    if not places:
        return {}
    try:
        orders = certificates.standings(context).orders
    except control.ControlError:
        return None
    return {name: order.problem for name, order in orders.items() if name in places and order.problem}


def _stig_opened() -> dict[str, str] | None:
    """None where the last scan cannot be read: nothing is known then, and nothing is over."""
    try:
        return stig_results.opened()
    except RefusedError:
        return None


def _not_sent(context: Context) -> dict[str, str] | None:
    """What keeps backups from being sent; None when the service that sends does not answer: its unit says the rest."""
    names = destinations(context.tree)
    if not names:
        return {}
    try:
        found = backups.report(context).destinations
    except control.ControlError:
        return None
    return {name: one.problem for name, one in found.items() if name in names and one.problem}


def _directory(context: Context) -> str | None:
    """Why nobody of the directory can be asked, as the last look of the service that asks it says; "" where somebody can, or no
    directory is set. None when the service has not looked yet, or does not answer: its unit says the rest."""
    if not accounts.directory(context.tree).asked:
        return ""
    try:
        said: directory_api.Report = context.call(directory_api.SOCKET, directory_api.Status(), directory_api.Report)
    except control.ControlError:
        return None
    if not said.servers:
        return None
    return "; ".join(f"{one.server}: {one.problem}" for one in said.servers) if said.silent else ""


def _certificates(context: Context) -> Iterator[tuple[str, str]]:
    """The appliance's own certificates and when they end, in ISO 8601."""
    places = {"of its authority": AUTHORITY, **{leaf.name: certificate_path(leaf.name) for leaf in LEAVES}}
    for name, place in places.items():
        if context.system.read(place) is None:
            continue
        done = context.attempt(["openssl", "x509", "-in", place, "-noout", "-enddate", "-dateopt", "iso_8601"])
        field, _, end = done.output.strip().partition("=")
        if field == "notAfter":
            yield name, end.strip().replace(" ", "T", 1)
