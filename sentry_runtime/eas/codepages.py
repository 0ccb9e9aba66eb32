"""Tokens of the WBXML code pages a gatekeeper looks into, as tables (MS-ASWBXML 2.1.2.1).

Named are the pages whose commands the gateway reads or answers; the tokens of the others (mail, contacts, calendar ...)
pass through the codec as numbers.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """One code page: its number, its name and its tokens by name."""

    number: int
    name: str
    tokens: dict[str, int]


def _row(first: int, names: str) -> dict[str, int]:
    """Consecutive tokens from `first` on; "-" leaves a number out."""
    return {name: token for token, name in enumerate(names.split(), first) if name != "-"}


AIRSYNC = Page(
    0,
    "AirSync",
    _row(0x05, "Sync Responses Add Change Delete Fetch SyncKey ClientId ServerId Status Collection Class")
    | _row(0x12, "CollectionId GetChanges MoreAvailable WindowSize Commands Options FilterType Truncation - Conflict")
    | _row(0x1C, "Collections ApplicationData DeletesAsMoves - Supported SoftDelete MIMESupport MIMETruncation Wait")
    | _row(0x25, "Limit Partial ConversationMode MaxItems HeartbeatInterval"),
)
MOVE = Page(5, "Move", _row(0x05, "MoveItems Move SrcMsgId SrcFldId DstFldId Response Status DstMsgId"))
ESTIMATE = Page(
    6,
    "GetItemEstimate",
    _row(0x05, "GetItemEstimate - Collections Collection Class CollectionId - Estimate Response Status"),
)
FOLDERS = Page(
    7,
    "FolderHierarchy",
    _row(0x07, "DisplayName ServerId ParentId Type - Status - Changes Add Delete Update SyncKey")
    | _row(0x13, "FolderCreate FolderDelete FolderUpdate FolderSync Count"),
)
MEETING = Page(
    8,
    "MeetingResponse",
    _row(0x05, "CalendarId CollectionId MeetingResponse RequestId Request Result Status UserResponse"),
)
RESOLVE = Page(
    10,
    "ResolveRecipients",
    _row(0x05, "ResolveRecipients Response Status Type Recipient DisplayName EmailAddress Certificates Certificate")
    | _row(0x0E, "MiniCertificate Options To CertificateRetrieval RecipientCount MaxCertificates")
    | _row(0x14, "MaxAmbiguousRecipients CertificateCount"),
)
VALIDATE = Page(
    11, "ValidateCert", _row(0x05, "ValidateCert Certificates Certificate CertificateChain CheckCRL Status")
)
PING = Page(13, "Ping", _row(0x05, "Ping AutdState Status HeartbeatInterval Folders Folder Id Class MaxFolders"))
PROVISION = Page(
    14,
    "Provision",
    _row(0x05, "Provision Policies Policy PolicyType PolicyKey Data Status RemoteWipe EASProvisionDoc")
    | _row(0x0E, "DevicePasswordEnabled AlphanumericDevicePasswordRequired RequireStorageCardEncryption")
    | _row(0x11, "PasswordRecoveryEnabled - AttachmentsEnabled MinDevicePasswordLength MaxInactivityTimeDeviceLock")
    | _row(0x16, "MaxDevicePasswordFailedAttempts MaxAttachmentSize AllowSimpleDevicePassword DevicePasswordExpiration")
    | _row(0x1A, "DevicePasswordHistory AllowStorageCard AllowCamera RequireDeviceEncryption AllowUnsignedApplications")
    | _row(0x1F, "AllowUnsignedInstallationPackages MinDevicePasswordComplexCharacters AllowWiFi AllowTextMessaging")
    | _row(0x23, "AllowPOPIMAPEmail AllowBluetooth AllowIrDA RequireManualSyncWhenRoaming AllowDesktopSync")
    | _row(0x28, "MaxCalendarAgeFilter AllowHTMLEmail MaxEmailAgeFilter MaxEmailBodyTruncationSize")
    | _row(0x2C, "MaxEmailHTMLBodyTruncationSize RequireSignedSMIMEMessages RequireEncryptedSMIMEMessages")
    | _row(0x2F, "RequireSignedSMIMEAlgorithm RequireEncryptionSMIMEAlgorithm")
    | _row(0x31, "AllowSMIMEEncryptionAlgorithmNegotiation AllowSMIMESoftCerts AllowBrowser AllowConsumerEmail")
    | _row(0x35, "AllowRemoteDesktop AllowInternetSharing UnapprovedInROMApplicationList ApplicationName")
    | _row(0x39, "ApprovedApplicationList Hash AccountOnlyRemoteWipe"),
)
SEARCH = Page(
    15,
    "Search",
    _row(0x05, "Search - Store Name Query Options Range Status Response Result Properties Total"),
)
SETTINGS = Page(
    18,
    "Settings",
    _row(0x05, "Settings Status Get Set Oof OofState StartTime EndTime OofMessage AppliesToInternal")
    | _row(
        0x0F, "AppliesToExternalKnown AppliesToExternalUnknown Enabled ReplyMessage BodyType DevicePassword Password"
    )
    | _row(0x16, "DeviceInformation Model IMEI FriendlyName OS OSLanguage PhoneNumber UserInformation EmailAddresses")
    | _row(0x1F, "SMTPAddress UserAgent EnableOutboundSMS MobileOperator"),
)
ITEMS = Page(
    20,
    "ItemOperations",
    _row(0x05, "ItemOperations Fetch Store Options Range Total Properties Data Status Response"),
)
COMPOSE = Page(
    21,
    "ComposeMail",
    _row(
        0x05, "SendMail SmartForward SmartReply SaveInSentItems ReplaceMime - Source FolderId ItemId LongId InstanceId"
    )
    | _row(0x10, "MIME ClientId Status AccountId"),
)
FIND = Page(25, "Find", _row(0x05, "Find") | _row(0x0A, "Status"))

_NAMED = (AIRSYNC, MOVE, ESTIMATE, FOLDERS, MEETING, RESOLVE, VALIDATE, PING, PROVISION, SEARCH, SETTINGS, ITEMS)
PAGES: dict[int, Page] = {page.number: page for page in (*_NAMED, COMPOSE, FIND)}
