"""The settings file of the data plane as one frozen, typed tree.

The management plane renders it (`/etc/sentry/runtime.json`), the data plane's processes read it. It holds no secret:
keys are named by path. An unknown key is an error, so that a setting can never be silently without effect.
"""

import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from sentry_runtime.eas.policy import Policy
from sentry_runtime.eas.principal import Names
from sentry_runtime.uem.security import SecurityPolicy

SETTINGS_PATH = Path("/etc/sentry/runtime.json")

TlsVersion = Literal["1.2", "1.3"]
Suite = Literal[
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
]
"""The cipher suites of TLS 1.2: those of SP 800-52 that have forward secrecy and AEAD, all of the FIPS provider. Those of
TLS 1.3 are AES-GCM by the machine's openssl.cnf, and Python has no way to choose among them."""
Suites = Annotated[tuple[Suite, ...], msgspec.Meta(min_length=1)]
SUITES: tuple[Suite, ...] = get_args(Suite)
"""All of them, the strongest first."""
FailMode = Literal["allow", "block"]
Verify = Literal["strict", "log"]
Scheduling = Literal["round_robin", "priority"]
Scheme = Literal["basic", "ntlm", "negotiate", "bearer"]
Protocol = Literal["2.5", "12.0", "12.1", "14.0", "14.1", "16.0", "16.1"]
Authority = Annotated[
    str, msgspec.Meta(pattern=r"^([A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?(:[0-9]{1,5})?)?\Z", max_length=261)
]
"""A DNS name with a port where that is not the usual one, or nothing."""
Minute = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z\Z")]
"""A minute in UTC, such as `2026-01-31T18:00Z`; from that minute on something is over."""
OptionalMinute = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z)?\Z")]
"""A minute in UTC, or nothing: never."""
Notice = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z", max_length=400)]
"""One line of plain text."""
Network = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?\Z")]
"""An address or a network as `ipaddress.ip_network` reads it; read there again, where it is used."""
PeerName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}\Z")]
"""How a Sentry or an administrator of the UEM is called."""
PushUrl = Annotated[str, msgspec.Meta(pattern=r"^(https://[A-Za-z0-9.:\-\[\]]{1,255}/?)?\Z")]
Licence = Literal["gold", "platinum"]
"""What the UEM's licence covers; `platinum` is everything that `gold` is and tunnels."""
CertificateField = Literal["upn", "email", "common_name", "table"]
"""Where a certificate's user is found: SAN user principal name, SAN e-mail, subject CN, or the site's own table."""


class SettingsError(ValueError):
    """The settings file is missing, malformed or says something that is not allowed."""


class _Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all settings have in common: frozen, named fields only, nothing unknown."""


class ServerTls(_Tree, frozen=True, kw_only=True):
    """How a listener speaks TLS. Paths are absolute; `client_ca` asks for client certificates signed by it."""

    certificate: str
    key: str
    minimum: TlsVersion = "1.2"
    maximum: TlsVersion = "1.2"
    suites: Suites = SUITES
    client_ca: str | None = None


class ClientTls(_Tree, frozen=True, kw_only=True):
    """How we dial: the trust anchors (PEM bundle), the versions, and our own certificate where the peer wants one."""

    trust: str
    minimum: TlsVersion = "1.2"
    maximum: TlsVersion = "1.2"
    suites: Suites = SUITES
    certificate: str | None = None
    key: str | None = None


class Listener(_Tree, frozen=True, kw_only=True):
    """One bound address of the gateway.

    A plain one (`tls` false) and one that requires the PROXY protocol are for balancers: nobody else is let in. What a
    balancer says of where a connection or a request comes from is believed of the networks in `balancers` alone, what a front
    end says of a device's certificate of those in `front_ends` alone: two kinds of trust, two lists.
    """

    address: str
    port: int = 443
    tls: bool = True
    proxy: Literal["refused", "required"] = "refused"
    """The PROXY protocol, version 2, before the first byte of TLS or HTTP. It is never guessed whether it is there."""
    forwarded_for: bool = False
    """Whether the last X-Forwarded-For of a balancer's request says where that came from."""
    balancers: tuple[Network, ...] = ()
    front_ends: tuple[Network, ...] = ()


class MappedCertificate(_Tree, frozen=True, kw_only=True):
    """Whose one certificate is: known by its issuer's name (RFC 4514) and its serial number in hex."""

    issuer: str
    serial: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]+(:[0-9A-Fa-f]+)*\Z", max_length=60)]
    user: str


class CertificateHeader(_Tree, frozen=True, kw_only=True):
    """The header in which a front end tells of the certificate it has checked; the forms are those of `certificates.header`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")]
    form: Literal["certificate", "subject", "xfcc"] = "certificate"


class Revocation(_Tree, frozen=True, kw_only=True):
    """How it is known which certificates have been revoked. The agent fetches and asks; the URLs are the site's, never the
    certificate's. Without proof a certificate is refused, or (`lenient`) passes for a bounded time and is written down."""

    policy: Literal["strict", "lenient"] = "strict"
    crl_files: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    ocsp_url: str | None = None
    refresh_seconds: float = 3_600.0  # how long a revocation may go unnoticed; authorities publish daily or more often
    lenient_seconds: float = 86_400.0  # an authority that is away for longer is not going to be back by itself


class DeviceAuthentication(_Tree, frozen=True, kw_only=True):
    """How a device proves what it is, beside its user's credentials.

    `group_certificate`: with any certificate of the `authorities`. `identity_certificate`: with one that names its user, who must
    be the one who authenticates. `trusted_front_end`: the same, checked upstream and told in a header.
    """

    mode: Literal["pass_through", "group_certificate", "identity_certificate", "trusted_front_end"] = "pass_through"
    authorities: str | None = None
    """A PEM bundle: the roots, and the authorities below them that issue devices' certificates."""
    issuers: str | None = None
    """A PEM bundle of those that may have issued a device's certificate; None: any of the `authorities`."""
    mapping: tuple[CertificateField, ...] = ("upn", "email")
    """The first of these that a certificate has names its user."""
    table: tuple[MappedCertificate, ...] = ()
    header: CertificateHeader | None = None
    revocation: Revocation | None = None


class Backend(_Tree, frozen=True, kw_only=True):
    """One ActiveSync server behind the gateway. `tls` None means plain HTTP; `server_name` is what its certificate says.

    `verify`: `strict` dials nobody whose certificate does not hold; `log` does, and each such connection has an audit line.
    `priority`: the lowest number is used first, where `Routing.scheduling` says so.
    """

    name: str
    host: str
    port: int = 443
    server_name: str | None = None
    tls: ClientTls | None = None
    verify: Verify = "strict"
    priority: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class PassiveHealth(_Tree, frozen=True, kw_only=True):
    """How many failures of dials and requests, within which time, take a backend out of use, and for how long at least."""

    failures: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3  # one or two may be connections that crossed a restart
    window_seconds: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 30.0  # older failures say nothing of now
    dead_seconds: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 30.0  # what a mail server takes to restart


class ActiveHealth(_Tree, frozen=True, kw_only=True):
    """The gateway's own checks: an OPTIONS without credentials on a connection of its own, by each worker."""

    interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 10.0  # found down within half a minute
    timeout_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 5.0  # of all of a check; the answer is a few bytes
    rise: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2  # good checks in a row: a server that starts may stumble once
    fall: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3  # bad ones in a row: one lost packet takes nobody's server away


class Redirects(_Tree, frozen=True, kw_only=True):
    """Where a backend may send a device with 451; with nothing in both lists nowhere.

    `hosts` are lower-case names and, with a dot in front, all names below one. The address found for a name must lie in one of
    the `networks`; the machine's own address, loopback, link-local and the like only where a network says just that.
    """

    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class Routing(_Tree, frozen=True, kw_only=True):
    """Which backend serves whom.

    `domains`: mail domain to the names of its backends. `default` are those of everybody else; without it, those that no
    domain names. `active` None: no checks, and a backend that failed is looked at again when its dead time is over.
    """

    scheduling: Scheduling = "round_robin"
    default: tuple[str, ...] = ()
    domains: dict[str, tuple[str, ...]] = {}
    passive: PassiveHealth = PassiveHealth()
    active: ActiveHealth | None = ActiveHealth()
    redirects: Redirects = Redirects()


def default_servers(
    default: Iterable[str], domains: Mapping[str, Iterable[str]], backends: Iterable[str]
) -> tuple[str, ...]:
    """The names of the backends for those whom no domain serves: the stated ones, or those that no domain names.

    Not simply all: the password of a stranger to a domain is no business of that domain's server.
    """
    taken = {name for names in domains.values() for name in names}
    return tuple(default) or tuple(name for name in backends if name not in taken)


class Limits(_Tree, frozen=True, kw_only=True):
    """Bounds of one request and one connection; each default says why it is that number."""

    head_bytes: int = (
        16_384  # a base64 query, Authorization (Kerberos tickets reach 12 KiB) and cookies fit; nginx allows 32 KiB
    )
    head_seconds: float = 20.0  # a phone on a poor link sends a head in a second or two
    idle_seconds: float = (
        3_700.0  # longer than the longest heartbeat a client may ask for (3,540 s, MS-ASCMD HeartbeatInterval)
    )
    backend_connect_seconds: float = 10.0
    backend_answer_seconds: float = 3_700.0  # a held Ping answers only when its heartbeat ends
    decision_seconds: float = 8.0  # a device waits no longer than this for the UEM on first contact
    proxy_seconds: float = 5.0  # a balancer's PROXY header is its first packet, sent the moment it connects
    drain_seconds: float = 20.0  # how long SIGTERM lets running exchanges finish
    # Log-ons that a backend refuses, of one address or one name and worker, before it rests; 0 does not count them.
    logons_refused_per_source: int = 60  # a carrier's NAT always has some phones with an old password
    logons_refused_per_principal: int = 8  # directories lock an account after ten, as a rule
    logon_rest_seconds: float = 30.0  # the first time, then twice as long each time ...
    logon_rest_seconds_max: float = 300.0  # ... up to what somebody waits who has at last typed a new password
    connections_per_worker: int = 8_000
    connections_per_source: int = 2_000  # of one address and worker: a carrier's NAT puts thousands of phones on one


class Rule(_Tree, frozen=True, kw_only=True):
    """One of the site's own rules on devices: whom it means (all that is given must match), and until when it holds.

    `device` and `device_type` may end in `*`: whatever begins so. See `sentry_runtime.gateway.site`.
    """

    name: str
    action: Literal["allow", "deny"]
    user: str = ""
    device: str = ""
    device_type: str = ""
    network: str = ""
    expires: OptionalMinute = ""
    note: str = ""


class Observe(_Tree, frozen=True, kw_only=True):
    """Blocks for posture and registration are written down and not enforced, until this minute."""

    until: Minute


class Throttle(_Tree, frozen=True, kw_only=True):
    """How much one device and principal may ask of one worker. Only what a backend has served counts."""

    requests_per_second: Annotated[float, msgspec.Meta(gt=0)] = (
        5.0  # in the long run; Google's ActiveSync service took 900 in five minutes
    )
    burst: Annotated[int, msgspec.Meta(ge=1)] = 300  # a phone that is set up anew asks so much in its first minute
    repeats: Annotated[int, msgspec.Meta(ge=2)] = (
        60  # who pulls to refresh makes three equal requests each time, and does not do so twenty times in a row
    )
    pause_seconds: Annotated[float, msgspec.Meta(gt=0)] = (
        60.0  # long enough to calm a loop, short enough that nobody calls the help desk
    )


class Gateway(_Tree, frozen=True, kw_only=True):
    """The listeners on 443 and what stands behind them."""

    listeners: tuple[Listener, ...]
    tls: ServerTls
    backends: tuple[Backend, ...]
    workers: int = 1
    """0: one for each core we may run on; `worker_count` is the number."""
    external_host: Authority = ""
    """By which name devices reach us: Autodiscover sends them there. Without it Autodiscover is not served."""
    authentication: Annotated[tuple[Scheme, ...], msgspec.Meta(min_length=1, max_length=4)] = ("basic",)
    """How devices may authenticate, in the order in which a challenge offers it; what is not listed is refused."""
    pooled_connections: bool = False
    """Whether a balancer puts requests of several devices on one connection: no request then relies on an earlier log-on.

    Where a listener is told that it has such a balancer (plain HTTP, `forwarded_for`, `front_ends`) that is so without this.
    """
    newest_protocol: Protocol = "16.1"
    """The newest protocol version that devices are offered."""
    limits: Limits = Limits()
    device_authentication: DeviceAuthentication = DeviceAuthentication()
    policy: Policy | None = None
    """What a device must apply that the UEM wants no policy on; None: provisioning it is the backend's business."""
    fleet_secret: str | None = None
    """The file with the secret that policy keys are made with, the same on every gateway of a fleet. `policy` needs it, and
    without it no device passes that the UEM wants a policy on."""
    non_provisionable: FailMode = "block"
    """What becomes of a device that cannot apply all of its policy, or sends no policy key at all."""
    rules: tuple[Rule, ...] = ()
    """The site's own rules on devices, in their order: the first that matches and has not expired decides."""
    observe: Observe | None = None
    throttle: Throttle | None = Throttle()
    """None: a device may ask as much as it likes."""
    block_notice: Notice = ""
    """What a device that is refused is told, with the reasons for it; without it, it is told neither."""
    routing: Routing = Routing()

    @property
    def worker_count(self) -> int:
        """How many workers there are on this machine."""
        return self.workers or len(os.sched_getaffinity(0))


class _Adapter(_Tree, frozen=True, kw_only=True, tag_field="vendor"):
    """What all UEMs have in common that are asked by their own API (`sentry_runtime.uem.adapters`)."""

    block_unregistered: bool = True
    """Whether a device that the UEM does not know is blocked."""
    contact_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 0
    """A device that the UEM has not heard of for longer is blocked; 0: it may be any time."""


class Epmm(_Adapter, frozen=True, kw_only=True, tag="epmm"):
    """Ivanti EPMM (MobileIron Core), asked with Basic authentication; the password lies in a file."""

    account: str
    password: str
    device_space: Annotated[int, msgspec.Meta(ge=0)] = 1
    principal: Literal["user_name", "domain_user", "mailbox"] = "user_name"
    """Which of its fields is how a device's user logs on to the mail server."""


class Intune(_Adapter, frozen=True, kw_only=True, tag="intune"):
    """Microsoft Intune by Microsoft Graph, with a token of the tenant (OAuth 2.0 client credentials); the client's secret lies
    in a file."""

    login_url: str
    tenant: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}\Z")]
    client: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")]
    secret: str
    principal: Literal["user_principal_name", "email_address"] = "user_principal_name"
    block_unencrypted: bool = False
    """Whether a device is blocked that says it is not encrypted, though Intune calls it compliant."""


class CheckIns(_Tree, frozen=True, kw_only=True):
    """How often a Cloud is checked in with: for the devices' compliance, for what administrators did, with the inventory."""

    compliance_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    actions_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    inventory_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 900.0


class EnrolmentLink(_Tree, frozen=True, kw_only=True):
    """Where the agent gets its certificate, and under which name the UEM knows this Sentry. Key and certificate lie in
    `Paths.enrolment`."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https://")]
    sentry: PeerName


class UemLink(_Tree, frozen=True, kw_only=True):
    """Where the UEM answers (`url`) and the port on which it may push to us; without `push_tls`, and in mode `cloud`, none.

    `push_networks`: from where it may push; in mode `core` there must be some, in mode `embedded` it is on loopback.
    `push_subject` (RFC 4514): that of the certificate with which it pushes. Its authorities issue others' certificates, too.
    A UEM that does not speak our protocol has an `adapter`, and the mode of its name; it pushes nothing.
    """

    mode: Literal["embedded", "core", "cloud", "epmm", "intune"]
    url: str
    tls: ClientTls
    adapter: Epmm | Intune | None = None
    push_addresses: tuple[str, ...] = ("127.0.0.1",)
    push_port: int = 9090
    push_tls: ServerTls | None = None
    push_networks: tuple[Network, ...] = ()
    push_subject: Annotated[str, msgspec.Meta(max_length=400)] = ""
    timeout_seconds: float = 5.0
    resync_seconds: float = 60.0
    check_ins: CheckIns = CheckIns()
    """In mode `cloud`, where there is no resync."""
    enrolment: EnrolmentLink | None = None
    """None: the certificate is that of `tls`."""

    def __post_init__(self) -> None:
        if self.enrolment is not None and (self.tls.certificate is not None or self.adapter is not None):
            raise ValueError("`enrolment` with a certificate in `tls`, or with an `adapter`: there is one way to call")
        named = None if self.adapter is None else self.adapter.__struct_config__.tag
        if named != (self.mode if self.mode in ("epmm", "intune") else None):
            raise ValueError(
                f"mode {self.mode} with the adapter {named}: modes epmm and intune have that of their name"
            )
        if self.mode in ("cloud", "epmm", "intune") and self.push_tls is not None:
            raise ValueError(f"`push_tls` in mode {self.mode}: nobody pushes there, and the port stays closed")
        if self.mode == "core" and self.push_tls is not None and not self.push_networks:
            raise ValueError("`push_networks` is empty: in mode core the addresses of the UEM are named")
        if self.push_tls is not None and not self.push_subject:
            raise ValueError("`push_tls` without `push_subject`: who pushes is named")
        for network in self.push_networks:
            ipaddress.ip_network(network)


class AdministratorCertificates(_Tree, frozen=True, kw_only=True):
    """Whose certificates administrators log in with, of which the management plane asks whether they have been revoked.
    `authorities` is a PEM bundle of the roots and of those below them."""

    authorities: str
    revocation: Revocation


class Agent(_Tree, frozen=True, kw_only=True):
    """The one writer of the device list."""

    uem: UemLink
    fail_mode: FailMode = "block"
    device_cache_size: Annotated[int, msgspec.Meta(ge=1_000, le=300_000)] = 300_000
    """Up to so many entries unknown devices are taken into the list, and so many devices' app tunnels are kept; what the UEM
    says of further devices is written all the same."""
    persist_seconds: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 300.0
    """How often the disk is made to confirm the list. Each change is on it before it is answered; this finds a disk that lies."""
    administrators: AdministratorCertificates | None = None
    """Where the agent fetches lists or asks a responder for these; None: nobody asks it."""


class SentryPeer(_Tree, frozen=True, kw_only=True):
    """A Sentry that the UEM serves: `subject` (RFC 4514) is its client certificate's, `push_url` where it takes pushes, ""
    where it takes none."""

    name: PeerName
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
    push_url: PushUrl = ""


class Administrator(_Tree, frozen=True, kw_only=True):
    """Who may administer the UEM over its port: `subject` (RFC 4514) is the client certificate's, `name` for audit lines."""

    name: PeerName
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=400)]


class EnrolmentServer(_Tree, frozen=True, kw_only=True):
    """How Sentrys get their certificates from the UEM, on a port of its own: there the caller has none yet.

    `authority` is a PEM file with the key and the certificate that sign them; it is made where there is none.
    """

    port: int = 9444
    authority: str = "/var/lib/sentry/uem/enrolment.pem"
    lifetime_days: Annotated[int, msgspec.Meta(ge=1, le=398)] = 90  # renewed after 60: a month for who finds it failing
    token_hours: Annotated[int, msgspec.Meta(ge=1, le=168)] = 24  # from one working day to the next


class UemServer(_Tree, frozen=True, kw_only=True):
    """The small UEM: in the box (embedded mode), or on a machine of its own for several Sentrys.

    Whose certificate is good and who is among neither `sentrys` (here or added by an administrator) nor `administrators` is
    refused.
    """

    address: str = "127.0.0.1"
    port: int = 9443
    tls: ServerTls
    database: str = "sqlite:////var/lib/sentry/uem/uem.sqlite"
    auto_block_unregistered: bool = True
    devices_per_mailbox: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    """How many devices of one mailbox may pass; 0: any number."""
    policies: dict[str, Policy] = {}
    """ActiveSync policies by name, for an administrator to assign to devices."""
    default_policy: str | None = None
    """The name of the one that all other devices have; None: they have the Sentry's own."""
    security_policies: dict[str, SecurityPolicy] = {}
    """What registered devices must be like, by name, for labels to name."""
    default_security_policy: str | None = None
    """The name of the one for devices whose labels name none; None: nothing is asked of them."""
    unregistered_grace_seconds: Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)] = 0
    """How long a device that nobody registered passes from its first contact on, where such devices are blocked."""
    licence: Licence = "platinum"
    fail_mode: FailMode = "block"
    """What Sentrys that only call us (the Cloud manner) are told to do with a new device while they cannot reach us."""
    sentrys: tuple[SentryPeer, ...] = ()
    administrators: tuple[Administrator, ...] = ()
    enrolment: EnrolmentServer | None = None
    """None: nobody enrols; Sentrys have their certificates from elsewhere."""
    push_tls: ClientTls


class Principals(_Tree, frozen=True, kw_only=True):
    """How users' names are read: `domains` from NetBIOS to DNS domain, and the domain of names without one; in lower case."""

    domains: dict[str, str] = {}
    default_domain: str = ""

    def __post_init__(self) -> None:
        self.names()

    def names(self) -> Names:
        """What the data plane reads names by. Raises `ValueError`."""
        return Names(self.domains, self.default_domain)


class Paths(_Tree, frozen=True, kw_only=True):
    """Where the processes of the data plane meet. Each default is the appliance's; tests name their own."""

    devices: str = "/var/lib/sentry/devices"  # the LMDB environment (a folder)
    agent_socket: str = "/run/sentry-agent/agent.sock"
    gateway_control: str = "/run/sentry-gateway/control.sock"
    uem_admin: str = "/run/sentry-uem/admin.sock"
    audit_socket: str = "/run/sentry-audit/audit.sock"  # where rsyslog takes the streams of audit lines
    revocation: str = "/var/lib/sentry/revocation"  # where the agent keeps the revocation lists it has fetched
    enrolment: str = "/var/lib/sentry/enrolment"  # where the agent keeps its enrolled key and certificate (a folder)


class Settings(_Tree, frozen=True, kw_only=True):
    """The whole file."""

    format: Literal[1] = 1
    gateway: Gateway
    agent: Agent
    uem_server: UemServer | None = None
    principals: Principals = Principals()
    paths: Paths = Paths()


class UemSettings(_Tree, frozen=True, kw_only=True):
    """The whole file of a machine that is a UEM and nothing else."""

    format: Literal[1] = 1
    uem_server: UemServer
    principals: Principals = Principals()
    paths: Paths = Paths()


def load_uem(path: Path) -> UemSettings:
    """Read the settings file of a machine that is a UEM and nothing else. Raises `SettingsError`."""
    try:
        return msgspec.json.decode(read(path), type=UemSettings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error


def load(path: Path = SETTINGS_PATH) -> Settings:
    """Read the settings file; a `SettingsError` names the file, the place in it and what was expected there."""
    return parse(read(path), path)


def read(path: Path) -> bytes:
    """The text of the settings file. Raises `SettingsError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error


def parse(text: bytes, path: Path) -> Settings:
    """The settings in the `text` of the file at `path`. Raises `SettingsError`."""
    try:
        return msgspec.json.decode(text, type=Settings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
