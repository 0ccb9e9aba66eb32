"""What a token may be used for. A verb that is in no scope is not for tokens at all."""

from typing import Final

from appliance.configd import api

OF_ROLE: Final[dict[api.Role, frozenset[api.Scope]]] = {
    "auditor": frozenset({"read", "metrics"}),
    "operator": frozenset({"read", "metrics", "diagnose", "devices", "services"}),
    "administrator": frozenset(
        {"read", "metrics", "diagnose", "devices", "services", "configure", "accounts", "power"}
    ),
}
"""The scopes that a token of a role may have."""

EXPLICIT: Final = frozenset[api.Scope]({"accounts", "power"})
"""Scopes that no token has unless they were named: they stand for the enable secret, which people give for the same."""

SCOPE_OF: Final[dict[type, api.Scope]] = {
    api.GetConfig: "read",
    api.ReadConfig: "read",
    api.ListRevisions: "read",
    api.Show: "read",
    api.Explain: "read",
    api.ListTokens: "read",
    api.StartScan: "read",  # it changes nothing, and one runs at a time
    api.ReadReport: "read",
    api.ReadMetrics: "metrics",
    api.SetConfig: "configure",
    api.DeleteConfig: "configure",
    api.ReplaceConfig: "configure",
    api.MergeConfig: "configure",
    api.DiffConfig: "configure",
    api.Commit: "configure",
    api.Confirm: "configure",
    api.Discard: "configure",
    api.Rollback: "configure",
    api.ExportBackup: "configure",
    api.RestoreBackup: "configure",
    api.MakeBundle: "configure",
    api.FetchDownload: "configure",
    api.DropDownload: "configure",
    api.StartCapture: "configure",
    api.StopCapture: "configure",
    api.SetPassword: "configure",
    api.SetEnableSecret: "configure",
    api.RequestCertificate: "configure",
    api.UploadCertificate: "configure",
    api.UploadPkcs12: "configure",
    api.RenewCertificate: "configure",
    api.RevokeToken: "configure",
    api.EnrolSentry: "configure",
    api.ControlService: "services",
    api.Maintain: "services",
    api.PurgeRevocation: "services",
    api.PersistDevices: "services",
    api.CheckIn: "services",
    api.SendTestAlert: "services",
    api.ClearNeighbours: "services",
    api.SetClock: "services",
    api.ReadSoftware: "read",
    api.UploadSoftware: "services",
    api.UpdateSoftware: "services",
    api.RollBackSoftware: "services",
    api.Power: "services",
    api.DeviceAction: "devices",
    api.DevicePolicy: "devices",
    api.FlagDevice: "devices",
    api.FindDevice: "devices",
    api.ClearRedirects: "devices",
    api.Ping: "diagnose",
    api.Lookup: "diagnose",
    api.Trace: "diagnose",
}
"""The scope that each verb needs. Not here, and so for no token: what opens or ends sessions, and the making of tokens, lest
a stolen one gives itself another name and a longer life."""


def usual(role: api.Role) -> frozenset[api.Scope]:
    """What a token of this role has where nothing is named."""
    return OF_ROLE[role] - EXPLICIT


def refusal(
    verb: type, scopes: frozenset[api.Scope], *, explicit: api.Scope | None, enabled: bool
) -> api.Refusal | None:
    """Why a token with these scopes may not use `verb`; None when it may. `explicit` is what the verb needs besides, for which
    the enable secret in the same request (`enabled`) does as well."""
    needed = SCOPE_OF.get(verb)
    if needed is None:
        return api.Refusal(kind="permission", message="this is not for tokens")
    if needed not in scopes:
        held = ", ".join(sorted(scopes))
        return api.Refusal(kind="permission", message=f"this needs the scope {needed}; the token has: {held}")
    if explicit is not None and explicit not in scopes and not enabled:
        said = f"this needs the enable secret in the same request, or a token with the scope {explicit}"
        return api.Refusal(kind="privilege", message=said)
    return None
