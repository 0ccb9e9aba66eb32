"""Every verb there is, in one union: what a line to configd is decoded as."""

from appliance.configd.api import (
    accounts,
    backups,
    certificates,
    compliance,
    configuration,
    devices,
    health,
    machine,
    services,
    sessions,
    software,
    state,
    support,
    tokens,
)

Verb = (
    sessions.OpenSession
    | sessions.Login
    | sessions.PresentCertificate
    | sessions.WithdrawCertificate
    | sessions.LoginCertificate
    | sessions.LoginToken
    | sessions.Enable
    | sessions.Disable
    | sessions.Reauthenticate
    | sessions.ReauthenticateCertificate
    | sessions.Touch
    | sessions.CloseSession
    | configuration.GetConfig
    | configuration.ReadConfig
    | configuration.SetConfig
    | configuration.DeleteConfig
    | configuration.ReplaceConfig
    | configuration.MergeConfig
    | configuration.DiffConfig
    | configuration.Commit
    | configuration.Confirm
    | configuration.Discard
    | configuration.Rollback
    | configuration.CompareRevisions
    | configuration.ListRevisions
    | backups.ExportBackup
    | backups.RestoreBackup
    | support.MakeBundle
    | support.FetchDownload
    | support.DropDownload
    | support.StartCapture
    | support.StopCapture
    | backups.SendBackup
    | state.Show
    | state.FollowLog
    | services.ControlService
    | services.Maintain
    | services.PurgeRevocation
    | services.PersistDevices
    | services.CheckIn
    | services.EnrolSentry
    | devices.DeviceAction
    | devices.ClearRedirects
    | devices.FlagDevice
    | devices.Explain
    | devices.DevicePolicy
    | health.LookAtHealth
    | health.ReadMetrics
    | services.SendTestAlert
    | machine.Ping
    | machine.Lookup
    | machine.Trace
    | machine.ClearNeighbours
    | machine.SetClock
    | devices.SearchDevices
    | devices.FindDevice
    | accounts.SetPassword
    | accounts.SetOwnPassword
    | accounts.SetEnableSecret
    | tokens.CreateToken
    | tokens.ListTokens
    | tokens.RevokeToken
    | certificates.RequestCertificate
    | certificates.UploadCertificate
    | certificates.UploadPkcs12
    | certificates.RenewCertificate
    | compliance.ReadFact
    | compliance.StartScan
    | compliance.ReadReport
    | software.ReadSoftware
    | software.UploadSoftware
    | software.UpdateSoftware
    | software.RollBackSoftware
    | machine.Power
)
