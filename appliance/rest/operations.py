"""Every operation of the API as data: where it is, which verb of configd it is, and where the verb's fields come from.

Routes, bodies, the OpenAPI document and the tests are made from this table. No operation takes a command or a path of the file
system, because no verb does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import msgspec

from appliance.configd import api, scopes
from sentry_runtime.control import Explanation

PREFIX = "/api/v1"
Method = Literal["GET", "PUT", "POST", "PATCH", "DELETE"]
_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one resource.

    `fixed` are fields of the verb that the place itself says; fields named in `path` come from there, those in `query` from
    there, the rest from the body. `candidate`: it is about what the token is editing. `verb` None: a handler of its own.
    """

    method: Method
    path: str
    name: str
    summary: str
    tag: str
    verb: type[Any] | None = None
    result: Any = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    query: tuple[str, ...] = ()
    candidate: bool = False
    scope: api.Scope | None = None
    """What its own handler needs, where no single verb says it."""

    @property
    def places(self) -> tuple[str, ...]:
        """The fields in the path."""
        return tuple(_PLACE.findall(self.path))

    @property
    def needs(self) -> api.Scope | None:
        """The scope without which it is refused; None: any token will do."""
        return self.scope or (scopes.SCOPE_OF.get(self.verb) if self.verb else None)


def fields_of(operation: Operation) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The verb's fields that the request may choose."""
    if operation.verb is None:
        return ()
    listed = msgspec.structs.fields(operation.verb)
    return tuple(each for each in listed if each.name not in {"session", *operation.fixed})


@cache
def body_type(name: str) -> type[msgspec.Struct] | None:
    """What the body of the operation of this name must be; None where it has none."""
    operation = BY_NAME[name]
    there = {*operation.places, *operation.query, "enable_secret" if operation.verb is api.CreateToken else ""}
    listed = [each for each in fields_of(operation) if each.name not in there]
    if operation.method == "GET" or not listed:
        return None
    made = [
        (each.encode_name, each.type) if each.required else (each.encode_name, each.type, each.default)
        for each in listed
    ]
    title = "".join(part.capitalize() for part in name.split("_")) + "Body"
    return msgspec.defstruct(title, made, kw_only=True, frozen=True, forbid_unknown_fields=True)


def _action(
    path: str, name: str, summary: str, tag: str, verb: type[Any], result: Any = None, **more: Any
) -> Operation:
    return Operation(method="POST", path=path, name=name, summary=summary, tag=tag, verb=verb, result=result, **more)


def _read(path: str, name: str, summary: str, tag: str, verb: type[Any], result: Any, **more: Any) -> Operation:
    return Operation(method="GET", path=path, name=name, summary=summary, tag=tag, verb=verb, result=result, **more)


CHANGES = tuple[api.Change, ...]
CONFIG, EDIT, DEVICES, SERVICES = "configuration", "candidate", "devices", "services"
CERTIFICATES, SYSTEM, TOKENS, FACTS = "certificates", "system", "tokens", "facts"
SOFTWARE = "software"
OWN: tuple[Operation, ...] = (
    Operation(
        method="GET", path="/session", name="session", summary="Who the token is", tag=TOKENS, result=api.Session
    ),
    Operation(
        method="GET", path="/openapi.json", name="openapi", summary="This document", tag=SYSTEM, result=dict[str, Any]
    ),
    Operation(method="GET", path="/docs", name="docs", summary="This document as a page", tag=SYSTEM),
    Operation(
        method="GET", path="/metrics", name="metrics", summary="Numbers for Prometheus", tag=FACTS, scope="metrics"
    ),
    Operation(
        method="GET", path="/facts", name="topics", summary="The topics there are", tag=FACTS, result=tuple[str, ...]
    ),
    Operation(
        method="GET", path="/config", name="read_config", summary="What runs, secrets masked", tag=CONFIG, scope="read"
    ),
    Operation(
        method="PUT",
        path="/config",
        name="replace_config",
        summary="Replace the configuration and commit, in one step",
        tag=CONFIG,
        result=api.Committed,
        scope="configure",
    ),
    Operation(
        method="PATCH",
        path="/config",
        name="merge_config",
        summary="Lay settings over the configuration and commit, in one step",
        tag=CONFIG,
        result=api.Committed,
        scope="configure",
    ),
    Operation(
        method="POST",
        path="/tokens",
        name="create_token",
        summary="Give out a token, with an administrator's password and the enable secret",
        tag=TOKENS,
        verb=api.CreateToken,
        result=api.NewToken,
    ),
    Operation(
        method="PUT",
        path="/software/bundle",
        name="upload_software",
        summary="Bring an update, as it is (application/octet-stream)",
        tag=SOFTWARE,
        verb=api.UploadSoftware,
        result=int,
    ),
)
"""Those with handlers of their own."""

VERBS: tuple[Operation, ...] = (
    _read("/facts/{topic}", "facts", "What `show` says of a topic", FACTS, api.Show, api.Shown, query=("argument",)),
    _action("/config/confirm", "confirm", "Keep the commit that waits", CONFIG, api.Confirm),
    _read(
        "/revisions",
        "revisions",
        "The kept revisions, newest first",
        CONFIG,
        api.ListRevisions,
        tuple[api.Revision, ...],
    ),
    _action(
        "/revisions/{revision}/rollback",
        "rollback",
        "Commit a kept revision again",
        CONFIG,
        api.Rollback,
        api.Committed,
    ),
    _action(
        "/backup/export",
        "export_backup",
        "Seal what runs, with its secrets and keys",
        CONFIG,
        api.ExportBackup,
        api.Backup,
    ),
    _action(
        "/backup/restore",
        "restore_backup",
        "Make a backup what runs",
        CONFIG,
        api.RestoreBackup,
        api.Committed,
    ),
    _action(
        "/support/bundle",
        "make_bundle",
        "Put together what support needs, without secrets",
        SYSTEM,
        api.MakeBundle,
        api.Download,
    ),
    _action(
        "/captures/start",
        "start_capture",
        "Capture packets on an interface",
        SYSTEM,
        api.StartCapture,
        api.Facts,
    ),
    _action("/captures/stop", "stop_capture", "End the capture that runs", SYSTEM, api.StopCapture, api.Download),
    _action(
        "/downloads/{name}/fetch",
        "fetch_download",
        "A piece of a file that waits; the empty one at its end deletes it",
        SYSTEM,
        api.FetchDownload,
        api.Piece,
    ),
    Operation(
        method="DELETE",
        path="/downloads/{name}",
        name="drop_download",
        summary="Delete a file that waits",
        tag=SYSTEM,
        verb=api.DropDownload,
    ),
    _action(
        "/backup/send",
        "send_backup",
        "Send one that lies here to every destination",
        CONFIG,
        api.SendBackup,
        api.Facts,
    ),
    _read(
        "/candidate",
        "read_candidate",
        "What the token is editing",
        EDIT,
        api.GetConfig,
        dict[str, Any],
        fixed={"view": "candidate", "path": ()},
        candidate=True,
    ),
    Operation(
        method="PUT",
        path="/candidate",
        name="replace_candidate",
        summary="Replace it by a whole configuration",
        tag=EDIT,
        verb=api.ReplaceConfig,
        candidate=True,
    ),
    Operation(
        method="PATCH",
        path="/candidate",
        name="merge_candidate",
        summary="Lay settings over it",
        tag=EDIT,
        verb=api.MergeConfig,
        candidate=True,
    ),
    Operation(
        method="DELETE",
        path="/candidate",
        name="discard",
        summary="Forget it",
        tag=EDIT,
        verb=api.Discard,
        candidate=True,
    ),
    _action("/candidate/set", "set_setting", "Set one setting", EDIT, api.SetConfig, candidate=True),
    _action("/candidate/delete", "delete_setting", "Take one back", EDIT, api.DeleteConfig, candidate=True),
    _read("/candidate/diff", "diff", "What it would change", EDIT, api.DiffConfig, CHANGES, candidate=True),
    _action(
        "/candidate/commit",
        "commit",
        "Make it the running configuration",
        EDIT,
        api.Commit,
        api.Committed,
        candidate=True,
    ),
    _action(
        "/accounts/password",
        "set_password",
        "Set an account's password in the candidate",
        EDIT,
        api.SetPassword,
        candidate=True,
    ),
    _action(
        "/accounts/enable-secret",
        "set_enable_secret",
        "Set the enable secret in the candidate",
        EDIT,
        api.SetEnableSecret,
        candidate=True,
    ),
    _action(
        "/devices/actions",
        "device_action",
        "Register, allow, block, wipe or remove a device",
        DEVICES,
        api.DeviceAction,
        str | None,
    ),
    _action(
        "/devices/flags",
        "flag_device",
        "Say that something is wrong with a device, or no longer",
        DEVICES,
        api.FlagDevice,
    ),
    _action("/devices/policies", "device_policy", "Have a device apply a policy", DEVICES, api.DevicePolicy),
    _action(
        "/devices/explain", "explain", "What becomes of a device's request, and why", DEVICES, api.Explain, Explanation
    ),
    _read(
        "/devices/{device_id}/users",
        "find_device",
        "For whom the UEM knows a device",
        DEVICES,
        api.FindDevice,
        tuple[str, ...],
    ),
    _action(
        "/devices/persist",
        "persist_devices",
        "Have the disk confirm the device list",
        DEVICES,
        api.PersistDevices,
        api.Facts,
    ),
    _action(
        "/redirects/clear",
        "clear_redirects",
        "Forget where backends have sent devices",
        DEVICES,
        api.ClearRedirects,
        int,
    ),
    _action(
        "/services/{service}/{action}",
        "service",
        "Start, stop or restart a service",
        SERVICES,
        api.ControlService,
        api.Facts,
    ),
    _action("/gateway/{action}", "maintain", "Quiesce, drain or resume the gateway", SERVICES, api.Maintain, api.Facts),
    _action("/revocation/purge", "purge_revocation", "Fetch revocation lists anew", SERVICES, api.PurgeRevocation),
    _action("/alerts/test", "test_alert", "Send a test mail", SERVICES, api.SendTestAlert, api.Facts),
    _action("/uem/check-in", "check_in", "Check in with the Cloud now", SERVICES, api.CheckIn, api.Facts),
    _action(
        "/uem/enrol", "enrol", "Enrol this gateway at its UEM, or renew that", SERVICES, api.EnrolSentry, api.Facts
    ),
    _action(
        "/certificates/{service}/request",
        "request_certificate",
        "Make a key and a request",
        CERTIFICATES,
        api.RequestCertificate,
        api.Text,
        candidate=True,
    ),
    _action(
        "/certificates/{service}/upload",
        "upload_certificate",
        "Put a certificate into the candidate",
        CERTIFICATES,
        api.UploadCertificate,
        api.Text,
        candidate=True,
    ),
    _action(
        "/certificates/{service}/upload-pkcs12",
        "upload_pkcs12",
        "Put a PKCS12 file into the candidate",
        CERTIFICATES,
        api.UploadPkcs12,
        api.Text,
        candidate=True,
    ),
    _action(
        "/certificates/{service}/renew",
        "renew_certificate",
        "Make the appliance's own anew",
        CERTIFICATES,
        api.RenewCertificate,
        api.Text,
    ),
    _action("/network/ping", "ping", "ICMP echo to a host", SYSTEM, api.Ping, api.Text),
    _action("/network/lookup", "lookup", "Look a name or address up", SYSTEM, api.Lookup, api.Text),
    _action("/network/trace", "trace", "The routers on the way to a host", SYSTEM, api.Trace, api.Table),
    _action(
        "/network/clear-neighbours", "clear_neighbours", "Forget the neighbours", SYSTEM, api.ClearNeighbours, api.Table
    ),
    _action("/system/clock", "set_clock", "Set the clock, where no time server keeps it", SYSTEM, api.SetClock),
    _read(
        "/software",
        "software",
        "What the slots hold, and how the last order went",
        SOFTWARE,
        api.ReadSoftware,
        api.Software,
    ),
    _action(
        "/software/update",
        "update_software",
        "Write the update that was brought into the other slot",
        SOFTWARE,
        api.UpdateSoftware,
        api.Software,
    ),
    _action(
        "/software/rollback",
        "roll_back_software",
        "Have the next restart take the other slot",
        SOFTWARE,
        api.RollBackSoftware,
        api.Software,
    ),
    _action("/system/power", "power", "Restart or turn off the machine", SYSTEM, api.Power),
    _action("/stig/scan", "start_scan", "Have the appliance scan itself by the STIGs' rules", FACTS, api.StartScan),
    _read("/stig/reports/{form}", "stig_report", "A report of its last scan", FACTS, api.ReadReport, api.Report),
    _read("/tokens", "tokens", "The tokens there are", TOKENS, api.ListTokens, tuple[api.TokenFacts, ...]),
    Operation(
        method="DELETE",
        path="/tokens/{name}",
        name="revoke_token",
        summary="Take a token back",
        tag=TOKENS,
        verb=api.RevokeToken,
    ),
)
"""Those that are one verb each."""

FEATURE_METHODS: dict[Method, str] = {
    "GET": "What runs of",
    "PUT": "Replace and commit",
    "PATCH": "Lay settings over, and commit,",
    "DELETE": "Back to the default, and commit,",
}
FEATURE_SCOPES: dict[Method, api.Scope] = {
    "GET": "read",
    "PUT": "configure",
    "PATCH": "configure",
    "DELETE": "configure",
}
COMMITS = ("comment", "confirm_minutes", "check_only")
"""What a write in one step takes in its query, as `Commit` has it."""

BY_NAME = {each.name: each for each in (*OWN, *VERBS)}

TOPICS = (
    "version", "clock", "uptime", "hostname", "banner", "interfaces", "routes", "dns", "arp", "domain-name", "static-hosts",
    "system", "kparam", "acl", "portal-acl", "tech", "config-properties", "statistics", "backends", "system-resources",
    "connectivity", "ntp", "ssh", "users", "sessions", "firewall", "ports", "httpd-protocol", "services", "portal", "gateway",
    "revocation", "agent", "uem", "devices", "device", "redirects", "rules", "policies", "emm-source-verify", "emm-ips",
    "syslog", "snmp", "log", "processes", "memory", "tcp", "alerts", "alerts-delivery", "alerts-ids", "confirmation", "fips",
    "certificates", "certificate-login", "timeout", "revisions", "device-states",
    "backups", "backup-destinations", "backup-key", "stig", "stig-open", "facts", "downloads", "capture", "watchdog",
    "directory",
)  # fmt: skip
"""The topics of `show`, as the faces know them; a test holds the list against configd's."""
