"""What a verb is about: for the rules that decide who may use it, and for the audit."""

from collections.abc import Callable
from typing import Any

from appliance.config.schema import dotted
from appliance.configd import api, roles


def deciding(verb: Any) -> str:
    """What decides, beside the verb itself, who may use it."""
    if isinstance(verb, api.Show):
        return verb.topic
    if isinstance(verb, api.StartCapture):
        return roles.WHOLE if verb.whole else ""
    return verb.action if isinstance(verb, api.ControlService | api.Maintain | api.DeviceAction) else ""


def _capture(verb: api.StartCapture) -> str:
    where = f"{verb.host or 'any'} {verb.port or 'any'}"
    return f"{verb.interface} {verb.protocol} {where} {verb.seconds} s{' whole' if verb.whole else ''}"


_OBJECTS: dict[type, Callable[[Any], str]] = {
    api.GetConfig: lambda verb: dotted(verb.path),
    api.SetConfig: lambda verb: dotted(verb.path),
    api.DeleteConfig: lambda verb: dotted(verb.path),
    api.Show: lambda verb: f"{verb.topic} {verb.argument}".strip(),
    api.ControlService: lambda verb: f"{verb.action} {verb.service}",
    api.Maintain: lambda verb: verb.action,
    api.DeviceAction: lambda verb: f"{verb.action} {verb.device_id} {verb.principal}",
    api.ClearRedirects: lambda verb: f"{verb.device_id} {verb.principal}".strip() or "all",
    api.DevicePolicy: lambda verb: f"{verb.policy or '(default)'} {verb.device_id} {verb.principal}",
    api.Ping: lambda verb: verb.host,
    api.Lookup: lambda verb: verb.host,
    api.Trace: lambda verb: verb.host,
    api.SetClock: lambda verb: verb.time,
    api.FindDevice: lambda verb: verb.device_id,
    api.SetPassword: lambda verb: verb.user,
    api.CreateToken: lambda verb: f"{verb.name} {verb.role} {' '.join(verb.scopes)}".strip(),
    api.RevokeToken: lambda verb: verb.name,
    api.RequestCertificate: lambda verb: verb.service,
    api.UploadCertificate: lambda verb: f"{verb.service}{' second' if verb.second else ''}",
    api.UploadPkcs12: lambda verb: f"{verb.service}{' second' if verb.second else ''}",
    api.RenewCertificate: lambda verb: verb.service,
    api.Commit: lambda verb: "check only" if verb.check_only else verb.comment,
    api.Rollback: lambda verb: f"revision {verb.revision}",
    api.ExportBackup: lambda verb: verb.name,
    api.RestoreBackup: lambda verb: "check only" if verb.check_only else "",
    api.FollowLog: lambda verb: verb.which or "management",
    api.FetchDownload: lambda verb: f"{verb.name} from {verb.offset}",
    api.DropDownload: lambda verb: verb.name,
    api.StartCapture: _capture,
    api.SendBackup: lambda verb: verb.name,
    api.CompareRevisions: lambda verb: f"revisions {verb.before} {verb.after}",
    api.SearchDevices: lambda verb: f"{verb.state} {verb.text}".strip(),
    api.ReadFact: lambda verb: verb.name,
    api.ReadReport: lambda verb: verb.form,
    api.UpdateSoftware: lambda verb: "an older one, too" if verb.allow_older else "",
    api.Power: lambda verb: verb.action,
}


def told(verb: Any) -> str:
    """What the audit says that it is about: names, never values."""
    said = _OBJECTS.get(type(verb))
    return said(verb) if said else ""
