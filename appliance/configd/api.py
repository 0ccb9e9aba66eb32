"""The verbs of configd: one message type each, its result type beside it. One message is one line of JSON.

A peer opens a session first; every other verb but the TLS proxy's two names the session's handle. What a session may do
follows from its role and, in the CLI, from whether `enable` was given. There is no verb that takes a command or a path of
the file system.
"""

from typing import Annotated, Any, Literal

import msgspec

SOCKET = "/run/sentry-configd/configd.sock"
LINE_BYTES = 4_194_304  # a site configuration with certificates is under 1 MiB; the rest is head-room

Role = Literal["administrator", "operator", "auditor"]
View = Literal["running", "candidate", "startup"]
Handle = Annotated[str, msgspec.Meta(max_length=64)]  # 256 bits in hexadecimal
Word = Annotated[str, msgspec.Meta(max_length=512)]  # the longest name we know, user@domain, has 320 characters
Line = Annotated[str, msgspec.Meta(max_length=1_024)]  # a comment, a note; what is too long for its use is told there
Secret = Annotated[str, msgspec.Meta(max_length=1_024)]  # libxcrypt takes 511 bytes
Certificates = Annotated[str, msgspec.Meta(max_length=131_072)]
"""PEM, or PKCS12 in base64: twice what is taken, so that what is a little too long is told so by who takes it."""
BackupText = Annotated[
    str, msgspec.Meta(max_length=1_500_000)
]  # 1 MiB in base64 with line ends: `appliance.backup.sealing`
ClientCertificate = Annotated[str, msgspec.Meta(max_length=16_384)]  # base64; those of cards are below 3,000 bytes
SoftwarePiece = Annotated[str, msgspec.Meta(max_length=1_400_000)]  # 1 MiB in base64
Networks = Annotated[tuple[Word, ...], msgspec.Meta(max_length=64)]
Scope = Literal["read", "metrics", "diagnose", "devices", "services", "configure", "accounts", "power"]
"""What a token may be used for (`appliance.configd.scopes`)."""
Path = Annotated[
    tuple[Word, ...], msgspec.Meta(max_length=64)
]  # of the configuration; five words lead to the deepest setting


class _Verb(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="verb"):
    """Every verb carries its name in `verb`."""


class _SessionVerb(_Verb, frozen=True, kw_only=True):
    """Every verb but those that open a session, and those of the TLS proxy, names one."""

    session: Handle


# --- sessions ----------------------------------------------------------------------------------------------------


class OpenSession(_Verb, frozen=True, kw_only=True, tag="session.open"):
    """A session for the peer's own Unix account (CLI, automation). Result: `Session`."""

    source: Word = ""
    interactive: bool = True


class Login(_Verb, frozen=True, kw_only=True, tag="session.login"):
    """A session by password; only the portal may ask. Result: `Session`. PAM decides on accounts of this appliance, the site's
    directory on other names. Three failures from one source lock the account for that source (`sentry-tally`)."""

    user: Word
    password: Secret
    source: Word


class PresentCertificate(_Verb, frozen=True, kw_only=True, tag="certificate.present"):
    """Somebody has proved in a handshake on 8443 to hold the key of this certificate (DER, in base64); only the TLS proxy may
    say so. Result: a ticket (str) for `LoginCertificate`, which is good once and for a short time."""

    certificate: ClientCertificate
    source: Word


class WithdrawCertificate(_Verb, frozen=True, kw_only=True, tag="certificate.withdraw"):
    """The connection is over over which the certificate of this ticket was shown; only the TLS proxy may say so. Result: None."""

    ticket: Handle


class LoginCertificate(_Verb, frozen=True, kw_only=True, tag="session.login_certificate"):
    """A session by the client certificate that `ticket` stands for; only the portal may ask. Result: `Session`. Where the person
    sits is what the TLS proxy has said."""

    ticket: Handle


class LoginToken(_Verb, frozen=True, kw_only=True, tag="session.token"):
    """A session by an API token, which ends with the connection; only the portal may ask, for one request. With the enable
    secret it may do in it what needs that. `candidate`: go on with what this token was editing. Result: `Session`. Three
    tokens that are none lock their source."""

    token: Secret
    source: Word
    enable_secret: Secret = ""
    candidate: bool = False


class Enable(_SessionVerb, frozen=True, kw_only=True, tag="session.enable"):
    """Go privileged with the enable secret. Result: `Session`."""

    secret: Secret


class Disable(_SessionVerb, frozen=True, kw_only=True, tag="session.disable"):
    """Give up privilege. Result: `Session`."""


class Reauthenticate(_SessionVerb, frozen=True, kw_only=True, tag="session.reauthenticate"):
    """The person at the portal gives their password again, which what is risky asks for. Result: `Session`. PAM decides, and
    failures count as those of log-ins do."""

    password: Secret


class ReauthenticateCertificate(_SessionVerb, frozen=True, kw_only=True, tag="session.reauthenticate_certificate"):
    """The same for a person who has no password: they show their certificate again, in a handshake of its own, for which `ticket`
    stands. Result: `Session`."""

    ticket: Handle


class Touch(_SessionVerb, frozen=True, kw_only=True, tag="session.touch"):
    """The person behind the session did something: idle time starts again. Result: `Session`."""


class CloseSession(_SessionVerb, frozen=True, kw_only=True, tag="session.close"):
    """End the session. Result: None."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A log-in. `handle` is unguessable (256 bits) and is the only thing a later verb needs."""

    handle: str
    user: str
    role: Role
    privileged: bool
    idle_seconds: int
    last_login: str = ""
    fresh_seconds: int = 0
    """At the portal: for how long what is risky still goes by the password that was given again."""
    by_certificate: bool = False
    """At the portal: what is risky goes by the certificate that is shown again, because there is no password."""
    by_directory: bool = False
    """Whether the person is one of the site's directory, and has no account here."""
    notices: tuple[str, ...] = ()
    """What every session should be told, e.g. that an unconfirmed commit was rolled back."""
    scopes: tuple[Scope, ...] = ()
    """Of a token."""


# --- configuration ------------------------------------------------------------------------------------------------


class GetConfig(_SessionVerb, frozen=True, kw_only=True, tag="config.get"):
    """The configuration below `path`, secrets masked as `********`. Result: the tree (Any)."""

    view: View = "running"
    path: Path = ()


class ReadConfig(_SessionVerb, frozen=True, kw_only=True, tag="config.read"):
    """The running configuration with its revision and digest. Result: `Configuration`."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What runs, secrets masked. `digest` changes with each setting, with secrets too."""

    revision: int
    digest: str
    tree: dict[str, Any]


class SetConfig(_SessionVerb, frozen=True, kw_only=True, tag="config.set"):
    """Set one value in this session's candidate; refused with a `Problem` when the schema says no. Result: None."""

    path: Path
    value: Any


class DeleteConfig(_SessionVerb, frozen=True, kw_only=True, tag="config.delete"):
    """Remove a value from the candidate: back to its default, or the list item or named instance is gone. Result: None."""

    path: Path
    value: Any = None
    """For a list: the item to remove; None removes the whole value."""


class ReplaceConfig(_SessionVerb, frozen=True, kw_only=True, tag="config.replace"):
    """Replace the candidate by `tree` (a site configuration). Result: None."""

    tree: dict[str, Any]


class MergeConfig(_SessionVerb, frozen=True, kw_only=True, tag="config.merge"):
    """Lay `patch` over the candidate: groups are merged, anything else is replaced, null takes a setting back (RFC 7396).
    Result: None."""

    patch: dict[str, Any]


class DiffConfig(_SessionVerb, frozen=True, kw_only=True, tag="config.diff"):
    """What the candidate would change. Result: tuple[Change, ...]."""


class Commit(_SessionVerb, frozen=True, kw_only=True, tag="config.commit"):
    """Make the candidate the running configuration. Result: `Committed`.

    `confirm_minutes`: roll back by itself unless confirmed in time. `check_only`: validate, render and vet, apply nothing.
    `digest`: a conflict, unless this is the digest of the configuration that the candidate was made from.
    """

    comment: Line = ""
    confirm_minutes: int | None = None
    check_only: bool = False
    digest: Word = ""


class Confirm(_SessionVerb, frozen=True, kw_only=True, tag="config.confirm"):
    """Keep a commit that waits for confirmation. Result: None."""


class Discard(_SessionVerb, frozen=True, kw_only=True, tag="config.discard"):
    """Throw the candidate away. Result: None."""


class Rollback(_SessionVerb, frozen=True, kw_only=True, tag="config.rollback"):
    """Load revision `revision` into the candidate and commit it. Result: `Committed`."""

    revision: int


class CompareRevisions(_SessionVerb, frozen=True, kw_only=True, tag="config.compare"):
    """What differs between two kept revisions, from `before` to `after`. Result: tuple[Change, ...]."""

    before: int
    after: int


class ListRevisions(_SessionVerb, frozen=True, kw_only=True, tag="config.revisions"):
    """The kept revisions, newest first. Result: tuple[Revision, ...]."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference; a secret's value is masked. `before`/`after` None: was not / will not be there."""

    path: Path
    before: Any = None
    after: Any = None


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit did. `changed` False: nothing was different, no revision was made."""

    changed: bool
    revision: int
    changes: tuple[Change, ...] = ()
    files: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    confirm_by: str = ""
    digest: str = ""
    """Of what runs then."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One kept configuration."""

    number: int
    when: str
    user: str
    comment: str
    current: bool


class ExportBackup(_SessionVerb, frozen=True, kw_only=True, tag="backup.export"):
    """Seal what runs, its secrets and the appliance's keys and certificates with a passphrase; or, with a `name`, give out one
    that lies here, sealed as it is. Result: `Backup`."""

    passphrase: Secret = ""
    name: Word = ""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """The file (base64), of which appliance and of when (ISO 8601) it is, and the version of the product that made it."""

    host: str
    when: str
    product: str
    backup: str


class RestoreBackup(_SessionVerb, frozen=True, kw_only=True, tag="backup.restore"):
    """Make what a backup (base64, with or without its two lines) holds the running configuration. Result: `Committed`.

    `confirm_minutes`, `check_only` and `digest` are as for `Commit`; the digest is that of what runs. Files that the backup
    brings return with a commit that nobody confirms, and with no later rollback.
    """

    backup: BackupText
    passphrase: Secret
    check_only: bool = False
    confirm_minutes: int | None = None
    digest: Word = ""


class MakeBundle(_SessionVerb, frozen=True, kw_only=True, tag="support.bundle"):
    """Put together what support needs, without a secret, as a file that waits to be fetched. Result: `Download`."""


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A file that waits to be fetched: when it was made, until when it stays (ISO 8601), its bytes."""

    name: str
    kind: Literal["bundle", "capture"]
    when: str
    until: str
    size: int


class FetchDownload(_SessionVerb, frozen=True, kw_only=True, tag="download.fetch"):
    """The piece of a file from `offset` on. Result: `Piece`. Whoever asks at the end of it has it all, gets an empty piece, and
    the file is deleted."""

    name: Word
    offset: int = 0


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """`content` in base64, of a file of `size` bytes. `last`: it goes to the end of the file."""

    name: str
    size: int
    offset: int
    content: str
    last: bool


class DropDownload(_SessionVerb, frozen=True, kw_only=True, tag="download.drop"):
    """Delete a file that waits to be fetched. Result: None."""

    name: Word


class StartCapture(_SessionVerb, frozen=True, kw_only=True, tag="capture.start"):
    """Capture packets on an interface of the configuration, those of a protocol, an address and a port where they are given, for
    so many seconds: headers, or with `whole` the packets themselves. Result: Facts."""

    interface: Word
    protocol: Literal["any", "tcp", "udp", "icmp", "arp"] = "any"
    host: Word = ""
    port: int | None = None
    seconds: int = 60
    whole: bool = False


class StopCapture(_SessionVerb, frozen=True, kw_only=True, tag="capture.stop"):
    """End the capture that runs; its file waits to be fetched. Result: `Download`."""


class SendBackup(_SessionVerb, frozen=True, kw_only=True, tag="backup.send"):
    """Have a backup that lies here (without a `name`: the newest) sent to every destination of the configuration, now. Result:
    Facts, with what came of each."""

    name: Word = ""


# --- state and actions --------------------------------------------------------------------------------------------


class Show(_SessionVerb, frozen=True, kw_only=True, tag="state.show"):
    """Facts of the running system. Result: `Table` or `Facts` as JSON (see `appliance.configd.facts`). `argument` is a
    device id, a unit's short name or a number, as the topic wants; never a command or a path."""

    topic: Word
    argument: Word = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="facts"):
    """Named facts in the order they read best."""

    title: str
    facts: tuple[tuple[str, str], ...]


class Table(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="table"):
    """Rows under headings."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Text(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="text"):
    """Lines as they are (log lines, a rendered configuration)."""

    title: str
    lines: tuple[str, ...]


Shown = Facts | Table | Text


class FollowLog(_SessionVerb, frozen=True, kw_only=True, tag="log.follow"):
    """The last lines of a log, or those since the look that `after` names. Result: `Followed`."""

    which: Literal["", "gateway"] = ""
    after: Handle = ""


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """Lines, oldest first; `after` is for the next look. `skipped`: more had come than is told at once."""

    after: str
    lines: tuple[str, ...]
    skipped: bool = False


class ControlService(_SessionVerb, frozen=True, kw_only=True, tag="service.control"):
    """Start, stop or restart one of our services. Result: Facts."""

    service: Literal["gateway", "agent", "uem", "portal", "tls-proxy", "alerts", "acme", "offsite", "directory"]
    action: Literal["start", "stop", "restart", "status"]


class Maintain(_SessionVerb, frozen=True, kw_only=True, tag="gateway.maintain"):
    """`quiesce`: tell balancers to send nobody here, and serve everybody. `drain`: take nobody new and let the rest finish.
    `resume`: end both. Kept over a commit, not over a restart. Result: Facts."""

    action: Literal["quiesce", "drain", "resume"]


class PurgeRevocation(_SessionVerb, frozen=True, kw_only=True, tag="revocation.purge"):
    """Forget the revocation lists and responders' answers, and fetch and ask anew. Result: None."""


class PersistDevices(_SessionVerb, frozen=True, kw_only=True, tag="devices.persist"):
    """Have the disk confirm the device list, which each change has had it do already. Result: Facts."""


class CheckIn(_SessionVerb, frozen=True, kw_only=True, tag="uem.check_in"):
    """Check in with the Cloud now, whatever the schedules say. Result: Facts."""


class EnrolSentry(_SessionVerb, frozen=True, kw_only=True, tag="uem.enrol"):
    """Have the agent get its certificate from the UEM: with the token that an administrator of the UEM has given out, or,
    without one, the next certificate now. Result: Facts."""

    token: Secret = ""


class DeviceAction(_SessionVerb, frozen=True, kw_only=True, tag="device.action"):
    """Register, allow, block, wipe or remove one (device, principal) in the embedded UEM. Result: a str that the
    administrator should read, or None."""

    action: Literal["register", "allow", "block", "remove", "wipe", "wipe-account", "cancel-wipe"]
    device_id: Word
    principal: Word
    note: Line = ""


class ClearRedirects(_SessionVerb, frozen=True, kw_only=True, tag="redirects.clear"):
    """Forget where a backend has sent one (device, principal), or all of them. Result: how many were known (int)."""

    device_id: Word = ""
    principal: Word = ""


class FlagDevice(_SessionVerb, frozen=True, kw_only=True, tag="device.flag"):
    """Tell the embedded UEM that something is wrong with a device (`holds`), or no longer. Result: None."""

    cause: Literal["compromised", "os_version", "not_encrypted", "out_of_contact", "policy"]
    holds: bool
    device_id: Word
    principal: Word


class Explain(_SessionVerb, frozen=True, kw_only=True, tag="device.explain"):
    """What would become of a request of this device and user now, and why. Result: `sentry_runtime.control.Explanation`."""

    device_id: Word
    principal: Word
    command: Word = "Sync"
    protocol: Word = "14.1"
    device_type: Word = ""
    source: Word = ""
    policy_key: int | None = None


class DevicePolicy(_SessionVerb, frozen=True, kw_only=True, tag="device.policy"):
    """Have one (device, principal) apply a policy of the embedded UEM's; `policy` None: the default one. Result: None."""

    device_id: Word
    principal: Word
    policy: Word | None


class LookAtHealth(_SessionVerb, frozen=True, kw_only=True, tag="state.health"):
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
    being sent there; `sessions` is how many administrators are logged in."""

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
    sessions: int | None = None


class ReadMetrics(_SessionVerb, frozen=True, kw_only=True, tag="state.metrics"):
    """Numbers for a monitoring system. Result: `Metrics`."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """`health` as alerts have it, its certificates and FIPS mode up to ten minutes old; the running revision (0: none yet),
    and whether a commit waits for confirmation."""

    health: Health
    revision: int
    waiting: bool


class SendTestAlert(_SessionVerb, frozen=True, kw_only=True, tag="alerts.test"):
    """Have a test mail sent to all who get alerts. Result: Facts, with what the mail server answered."""


class Ping(_SessionVerb, frozen=True, kw_only=True, tag="net.ping"):
    """ICMP echo to a host name or address, a fixed number of times. Result: Text."""

    host: Word


class Lookup(_SessionVerb, frozen=True, kw_only=True, tag="net.lookup"):
    """DNS look-up of a name or address. Result: Text."""

    host: Word


class Trace(_SessionVerb, frozen=True, kw_only=True, tag="net.trace"):
    """The routers on the way to a host name or address. Result: Table."""

    host: Word


class ClearNeighbours(_SessionVerb, frozen=True, kw_only=True, tag="net.clear_neighbours"):
    """Forget the neighbours that were learnt (ARP, ND). Result: Table of those."""


class SetClock(_SessionVerb, frozen=True, kw_only=True, tag="system.clock"):
    """Set the clock, which no time server keeps now, to a time in UTC (`2026-01-31T18:00:00Z`). Result: None."""

    time: Word


class SearchDevices(_SessionVerb, frozen=True, kw_only=True, tag="devices.search"):
    """A page of the device list in key order, from behind the entry of `after_device` and `after_user` on: entries whose device
    id, user or type holds `text` (in any case) and whose state is `state`; each may be empty. Result: `DevicePage`."""

    text: Word = ""
    state: Literal["", "allowed", "blocked", "wipe_pending", "wiped"] = ""
    after_device: Word = ""
    after_user: Word = ""


class DevicePage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `more`: there is another page, which goes on behind the last row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: bool = False


class FindDevice(_SessionVerb, frozen=True, kw_only=True, tag="device.find"):
    """The users for whom the embedded UEM knows a device id; refused as `invalid` where it knows it for nobody.
    Result: tuple[str, ...]."""

    device_id: Word


class SetPassword(_SessionVerb, frozen=True, kw_only=True, tag="user.password"):
    """Set an account's password (checked against the password policy) in the candidate. Result: None."""

    user: Word
    password: Secret


class SetOwnPassword(_SessionVerb, frozen=True, kw_only=True, tag="user.own_password"):
    """Set the password of the session's own account (checked against the password policy), whatever its role, and commit that.
    Refused while the session has other changes. Result: `Committed`."""

    password: Secret


class SetEnableSecret(_SessionVerb, frozen=True, kw_only=True, tag="user.enable_secret"):
    """Set the enable secret (checked against the password policy) in the candidate. Result: None."""

    secret: Secret


class CreateToken(_SessionVerb, frozen=True, kw_only=True, tag="token.create"):
    """Give out a token for the REST API, good for so many days. No scopes: those usual for the role. The portal's
    sessions have no privilege of their own: they send the `enable_secret`, or have just given the password again.
    Result: `NewToken`."""

    name: Word
    role: Role
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(max_length=16)] = ()
    days: int | None = None
    networks: Networks = ()
    enable_secret: Secret = ""


class ListTokens(_SessionVerb, frozen=True, kw_only=True, tag="token.list"):
    """The tokens there are. Result: tuple[TokenFacts, ...]."""


class RevokeToken(_SessionVerb, frozen=True, kw_only=True, tag="token.revoke"):
    """A token is good for nothing from now on, and what it has open ends. Result: None."""

    name: Word


class TokenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without what proves it. Times are ISO 8601; `networks` empty: from everywhere; `last_use` empty: never."""

    name: str
    role: Role
    scopes: tuple[Scope, ...]
    networks: tuple[str, ...]
    made_by: str
    made: str
    expires: str
    last_use: str
    last_source: str


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown once: the token itself."""

    token: str
    facts: TokenFacts


Served = Literal["gateway", "portal", "uem-push"]
"""The services whose certificate may be the site's: 443, 8443, and 9090 for a UEM on another machine."""


class RequestCertificate(_SessionVerb, frozen=True, kw_only=True, tag="certificate.request"):
    """Make a key, which stays here, and a request (PKCS #10) to have it certified, with the candidate's names. Result: Text."""

    service: Served


class UploadCertificate(_SessionVerb, frozen=True, kw_only=True, tag="certificate.upload"):
    """Put a certificate with the authorities above it (PEM), whose key was made here, into the candidate: as the first one, or
    as the second, which takes over when the first ends or at `moment` (2026-01-31T18:00Z). Result: Text."""

    service: Served
    certificate: Certificates
    second: bool = False
    moment: Word = ""


class UploadPkcs12(_SessionVerb, frozen=True, kw_only=True, tag="certificate.upload_pkcs12"):
    """The same for a PKCS12 file (base64), which holds the key too. Result: Text."""

    service: Served
    pkcs12: Certificates
    password: Secret
    second: bool = False
    moment: Word = ""


class RenewCertificate(_SessionVerb, frozen=True, kw_only=True, tag="certificate.renew"):
    """Make a certificate of the appliance's own anew now, or order one from the ACME server where it comes from there; `client`
    is the one shown to the UEM. Result: Text."""

    service: Literal["gateway", "portal", "uem-push", "client"]


class ReadFact(_SessionVerb, frozen=True, kw_only=True, tag="stig.fact"):
    """What a fact of the closed list is, which a STIG scan judges by (`show facts` has the list). Result: `Fact`."""

    name: Word


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """`command` is what root has run for it, `listed` the same as the list has it, before account and addresses were filled in;
    `status` its exit status, `output` and `errors` what it printed."""

    fact: str
    listed: tuple[str, ...]
    command: str
    status: int
    output: str
    errors: str


class StartScan(_SessionVerb, frozen=True, kw_only=True, tag="stig.scan"):
    """Have the appliance scan itself by the STIGs' rules now; a scan that runs already is the one. Result: None."""


ReportForm = Literal["ckl", "cklb", "html", "json"]


class ReadReport(_SessionVerb, frozen=True, kw_only=True, tag="stig.report"):
    """A report of the appliance's last scan of itself: a checklist, the page for people, or the results. Result: `Report`."""

    form: ReportForm


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A file: what it is called, what it is (a media type), and its text."""

    name: str
    media_type: str
    text: str


class ReadSoftware(_SessionVerb, frozen=True, kw_only=True, tag="software.status"):
    """What of an image runs, what its slots hold, and how the last order went. Result: `Software`."""


class UploadSoftware(_SessionVerb, frozen=True, kw_only=True, tag="software.upload"):
    """The next piece of an update (base64), which begins at byte `offset`; at 0 an upload begins anew. `last`: it is
    whole, and takes the place of one that lay here. Result: how many bytes are here (int)."""

    offset: Annotated[int, msgspec.Meta(ge=0)]
    data: SoftwarePiece
    last: bool = False


class UpdateSoftware(_SessionVerb, frozen=True, kw_only=True, tag="software.update"):
    """Have the update that was uploaded written into the slot that does not run, if its signature and version allow it; the next
    restart takes it. `allow_older`: it need not be newer than what runs. Result: `Software`, in which it has begun."""

    allow_older: bool = False


class RollBackSoftware(_SessionVerb, frozen=True, kw_only=True, tag="software.rollback"):
    """Have the next restart take the other slot, which must have run well. Result: `Software`, in which it has begun."""


class SoftwareSlot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot. `state`: `trial` has not yet been seen to run well, `bad` did not, or is damaged; `verified` is when it was last
    read whole (ISO 8601), `damage` what was found then."""

    name: Literal["a", "b"]
    version: str
    state: Literal["empty", "trial", "good", "bad"]
    verified: str = ""
    damage: str = ""


class SoftwareOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The last order: by whom, since and until when (ISO 8601), and what kept it from being done."""

    kind: Literal["update", "rollback"]
    by: str
    standing: Literal["running", "done", "failed"]
    began: str
    ended: str = ""
    problem: str = ""


class Software(msgspec.Struct, frozen=True, kw_only=True):
    """`image` False: the machine was provisioned, and there is nothing else to say. The slot that runs and the one of the next
    restart; the bytes of an update that lies here whole (0: none)."""

    image: bool
    version: str = ""
    running: str = ""
    next: str = ""
    slots: tuple[SoftwareSlot, ...] = ()
    uploaded: int = 0
    order: SoftwareOrder | None = None


class Power(_SessionVerb, frozen=True, kw_only=True, tag="system.power"):
    """Restart or turn off the machine. Result: None."""

    action: Literal["reload", "poweroff"]


Verb = (
    OpenSession
    | Login
    | PresentCertificate
    | WithdrawCertificate
    | LoginCertificate
    | LoginToken
    | Enable
    | Disable
    | Reauthenticate
    | ReauthenticateCertificate
    | Touch
    | CloseSession
    | GetConfig
    | ReadConfig
    | SetConfig
    | DeleteConfig
    | ReplaceConfig
    | MergeConfig
    | DiffConfig
    | Commit
    | Confirm
    | Discard
    | Rollback
    | CompareRevisions
    | ListRevisions
    | ExportBackup
    | RestoreBackup
    | MakeBundle
    | FetchDownload
    | DropDownload
    | StartCapture
    | StopCapture
    | SendBackup
    | Show
    | FollowLog
    | ControlService
    | Maintain
    | PurgeRevocation
    | PersistDevices
    | CheckIn
    | EnrolSentry
    | DeviceAction
    | ClearRedirects
    | FlagDevice
    | Explain
    | DevicePolicy
    | LookAtHealth
    | ReadMetrics
    | SendTestAlert
    | Ping
    | Lookup
    | Trace
    | ClearNeighbours
    | SetClock
    | SearchDevices
    | FindDevice
    | SetPassword
    | SetOwnPassword
    | SetEnableSecret
    | CreateToken
    | ListTokens
    | RevokeToken
    | RequestCertificate
    | UploadCertificate
    | UploadPkcs12
    | RenewCertificate
    | ReadFact
    | StartScan
    | ReadReport
    | ReadSoftware
    | UploadSoftware
    | UpdateSoftware
    | RollBackSoftware
    | Power
)


RefusalKind = Literal[
    "authentication",
    "locked",
    "permission",
    "privilege",
    "session",
    "invalid",
    "lockout",
    "conflict",
    "apply",
    "unavailable",
]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a verb was not served.

    `kind`: `authentication`, `locked`, `permission`, `privilege` (give `enable`; at the portal: the
    password again), `session` (unknown or expired), `invalid`
    (bad value; `problems` says where), `lockout` (the author could not come back; a commit with a time limit may), `conflict`
    (changed meanwhile), `apply` (the old revision stands again), `unavailable`.
    """

    kind: RefusalKind
    message: str
    problems: tuple[str, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one verb."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    refusal: Refusal | None = None
