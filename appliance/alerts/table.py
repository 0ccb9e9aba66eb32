"""The alerts there are, as data: the schema of the settings, `show alerts ids` and the mails are made from this table."""

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["critical", "warning", "notice"]
Action = Literal["mail", "syslog", "none"]
ACTIONS: Final[tuple[Action, ...]] = ("mail", "syslog", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """`what`: when it is raised, for people. `lasts`: it holds until it is over, and that is told, too; else it is an event.
    `hold_seconds`: it must have held for so long, so that a restart is no alert. `always`: an event of which each is told, in the
    next mail; of others a repetition within the hour waits. `rules`: the STIG rules it answers."""

    what: str
    severity: Severity
    lasts: bool = False
    hold_seconds: int = 0
    always: bool = False
    rules: tuple[str, ...] = ()


AUDIT_FAILURE = ("V-250998", "V-251021")

ALERTS: Final[dict[str, Alert]] = {
    "audit_disk_full": Alert(
        what="A disk of the audit trail is full above the limit (audit_disk_percent).",
        severity="critical",
        lasts=True,
        rules=AUDIT_FAILURE,
    ),
    "audit_log_stopped": Alert(
        what="The log daemon or the audit daemon does not run.",
        severity="critical",
        lasts=True,
        hold_seconds=3,
        rules=AUDIT_FAILURE,
    ),
    "audit_records_lost": Alert(
        what="Audit records were lost, or the audit daemon says that it cannot keep them.",
        severity="critical",
        rules=AUDIT_FAILURE,
    ),
    "account_locked": Alert(what="An account was locked after failed log-ins.", severity="warning"),
    "tokens_locked": Alert(
        what="Tokens of the REST API are locked for an address after failed ones.", severity="warning"
    ),
    "logins_refused": Alert(what="Many log-ins were refused within a short time (refused_logins).", severity="warning"),
    "configuration_changed": Alert(
        what="Somebody committed a configuration, or confirmed one.", severity="notice", always=True
    ),
    "configuration_returned": Alert(
        what="A configuration was rolled back, by somebody or by itself.", severity="warning", always=True
    ),
    "configuration_drift": Alert(what="A file or unit is not as the configuration says.", severity="warning"),
    "service_down": Alert(
        what="A service that should run does not.",
        severity="critical",
        lasts=True,
        hold_seconds=20,
        rules=("V-251035",),
    ),
    "service_restarted": Alert(
        what="A service ended by a fault and was started again.", severity="warning", rules=("V-251035",)
    ),
    "service_hung": Alert(
        what="A service hung and was ended by its watchdog; what it did is kept for a support bundle.",
        severity="warning",
        rules=("V-251035",),
    ),
    "service_ordered": Alert(
        what="Somebody stopped, started or restarted a service or the machine.", severity="notice", always=True
    ),
    "certificate_ends": Alert(
        what="A certificate of the appliance ends in 30, 14, 7 or 1 days, or has ended; each is told.",
        severity="warning",
        lasts=True,
    ),
    "certificate_not_obtained": Alert(
        what="For a quarter of an hour the ACME server has given no certificate, or one that was refused; it is tried again.",
        severity="warning",
        lasts=True,
        hold_seconds=900,
    ),
    "backup_not_sent": Alert(
        what="For a quarter of an hour a backup could not be sent to one of its destinations.",
        severity="warning",
        lasts=True,
        hold_seconds=900,
    ),
    "directory_down": Alert(
        what="For three minutes none of the directory's servers could be asked; only accounts of this appliance log in.",
        severity="warning",
        lasts=True,
        hold_seconds=180,
    ),
    "uem_link_down": Alert(what="The UEM cannot be reached.", severity="critical", lasts=True, hold_seconds=20),
    "backend_down": Alert(
        what="All workers of the gateway find a backend down.", severity="critical", lasts=True, hold_seconds=20
    ),
    "disk_full": Alert(what="A disk is nearly full (disk_percent).", severity="warning", lasts=True),
    "clock_not_synchronised": Alert(
        what="No time server has kept the clock for a quarter of an hour.",
        severity="warning",
        lasts=True,
        hold_seconds=900,
    ),
    "gateway_out_of_service": Alert(
        what="The gateway is quiesced, draining or drained.", severity="notice", lasts=True
    ),
    "device_list_full": Alert(
        what="The device list has nine tenths of the devices it may have (uem device_cache_size).",
        severity="warning",
        lasts=True,
    ),
    "fips_failed": Alert(
        what="The FIPS provider failed its self-test, or is not what cryptography comes from.",
        severity="critical",
        lasts=True,
    ),
    "stig_rule_open": Alert(
        what="The appliance's scan of itself finds a rule of the STIGs open that was not before.",
        severity="warning",
        lasts=True,
    ),
    "software_changed": Alert(
        what="An update was written, runs well, or could not be written; or somebody ordered the way back.",
        severity="notice",
        always=True,
    ),
    "software_unwell": Alert(
        what="A start did not go well, or the appliance has gone back to the version before by itself.",
        severity="critical",
    ),
    "software_damaged": Alert(
        what="A slot of the system has a damaged block, found when both were read whole.",
        severity="critical",
    ),
    "alerts_incomplete": Alert(
        what="Something could not be looked at, so that an alert may be missing.",
        severity="critical",
        rules=AUDIT_FAILURE,
    ),
}
