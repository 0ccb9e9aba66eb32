"""What `show` says, from what the machine says."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.alerts.api import Report
from appliance.configd import facts
from appliance.configd.api import Facts, Shown, Table, Text
from appliance.configd.errors import RefusedError
from appliance.configd.facts import tls
from appliance.configd.facts.certificates import COLUMNS
from appliance.configd.facts.context import LINES, Context
from appliance.features.base import Feature
from appliance.features.tls import AUTHORITY, certificate_path
from appliance.keyring import request_path
from appliance.process import CommandError, Finished
from sentry_runtime.control import (
    ControlError,
    Details,
    ListDevices,
    ListPolicies,
    ListRedirects,
    NamedPolicy,
    Redirected,
    Registered,
    RevocationSource,
    ShowDetails,
    ShowDevice,
    ShowRegistered,
    ShowRevocation,
)
from sentry_runtime.devices.record import DeviceKey, Record, State, Wipe, WipeKind, WipeMark
from sentry_runtime.eas.device_information import DeviceInformation
from sentry_runtime.eas.policy import TEMPORARY, Policy, digest
from tests.site_pki import NOW, authority, named, server
from tests.unit.appliance.workbench import ACCOUNTS, ALICE, FEATURES, Daemon

PROVIDERS = """Providers:
  base
    name: OpenSSL Base Provider
    version: 3.5.7
    status: active
    gettable provider parameters:
      name: pointer to a UTF8 encoded string (arbitrary size)
      status: integer (arbitrary size)
  fips
    name: OpenSSL FIPS Provider
    version: 3.5.7
    status: active
    build info: 3.5.7
    gettable provider parameters:
      name: pointer to a UTF8 encoded string (arbitrary size)
"""
WITHOUT_FIPS = "Providers:\n  default\n    name: OpenSSL Default Provider\n    version: 3.5.7\n    status: active\n"
ADDRESSES = (
    '[{"ifname":"mgmt0","operstate":"UP","address":"02:00:00:00:00:01","mtu":1500,'
    '"addr_info":[{"local":"10.98.2.2","prefixlen":24}]}]'
)


@dataclass
class Box:
    """A machine whose commands print what the test says."""

    prints: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    ran: list[list[str]] = field(default_factory=list)

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        self.ran.append(argv)
        if " ".join(argv) in self.refuses:
            raise CommandError(argv, 1, "refused")
        return self.prints.get(" ".join(argv[:2]), "")

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def secret(self, reference: str) -> str:
        raise AssertionError("no topic may ask for a secret")

    def attempt(self, argv: list[str]) -> Finished:
        try:
            return Finished(0, self.run(argv), "")
        except CommandError as error:
            return Finished(error.status, "", error.output)


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def context(box: Box, tmp_path: Path) -> Context:
    daemon = Daemon(tmp_path)
    daemon.commit({"name": "box", "users": {"accounts": ACCOUNTS}, "web": {"token": "hunter22"}})
    daemon.open(ALICE)
    return replace(daemon.context(), system=box, attempt=box.attempt)


def pairs(shown: Shown) -> dict[str, str]:
    assert isinstance(shown, Facts)
    return dict(shown.facts)


def rows(shown: Shown) -> tuple[tuple[str, ...], ...]:
    assert isinstance(shown, Table)
    assert all(len(row) == len(shown.columns) for row in shown.rows)
    return shown.rows


def lines(shown: Shown) -> tuple[str, ...]:
    assert isinstance(shown, Text)
    return shown.lines


# --- FIPS --------------------------------------------------------------------------------------------------------


def fips(context: Context) -> tuple[str, ...]:
    return lines(facts.show("fips", "", context))


def test_fips_is_enabled_when_the_provider_is_active_and_md5_is_refused(box: Box, context: Context) -> None:
    box.prints["openssl list"] = PROVIDERS
    box.refuses = {"openssl dgst -md5 /dev/null"}
    box.files["/proc/sys/crypto/fips_enabled"] = "1\n"
    assert fips(context) == (
        "FIPS 140 mode is enabled",
        "module: OpenSSL FIPS Provider, version 3.5.7, status active",
        "validation: module not validated (Debian builds OpenSSL's FIPS provider itself; that build is on no list of the CMVP, "
        "whatever certificates OpenSSL's own builds have)",
        "default properties: MD5 is refused, SHA-256 works",
        "other active providers: base",
        "kernel flag (crypto.fips_enabled): 1",
    )


@pytest.mark.parametrize(
    ("listing", "refuses"),
    [
        (PROVIDERS, set[str]()),
        (WITHOUT_FIPS, {"openssl dgst -md5 /dev/null"}),
        (PROVIDERS, {"openssl dgst -md5 /dev/null", "openssl dgst -sha256 /dev/null"}),
        (PROVIDERS.replace("active", "inactive"), {"openssl dgst -md5 /dev/null"}),
        ("", {"openssl dgst -md5 /dev/null"}),
    ],
)
def test_fips_is_disabled_when_anything_of_it_is_missing(
    box: Box, context: Context, listing: str, refuses: set[str]
) -> None:
    box.prints["openssl list"] = listing
    box.refuses = refuses
    assert fips(context)[0] == "FIPS 140 mode is disabled"


def test_a_kernel_flag_alone_is_not_fips(box: Box, context: Context) -> None:
    box.files["/proc/sys/crypto/fips_enabled"] = "1\n"
    assert fips(context)[0] == "FIPS 140 mode is disabled"


SELF_TEST = """\
HMAC : (Module_Integrity) : Pass
SHA2 : (KAT_Digest) : Pass
AES_GCM : (KAT_Cipher) : Pass
"""
STATUS = """\
Id=sentry-gateway.service
MainPID=41
StatusText=FIPS 140 mode is enabled; settings 0123456789ab in force

Id=sentry-portal.service
MainPID=42
StatusText=FIPS 140 mode is disabled (MD5 works)

Id=sentry-uem.service
MainPID=0
StatusText=

Id=ssh.service
MainPID=43
StatusText=
"""
MAPS = "7f00-7f01 r-xp 00000000 fe:01 1 /usr/lib/x86_64-linux-gnu/ossl-modules/fips.so\n"


def test_fips_tests_the_module_and_asks_every_running_service(box: Box, context: Context) -> None:
    box.prints |= {
        "openssl list": PROVIDERS,
        "/usr/lib/sentry/bin/sentry-fips self-test": SELF_TEST,
        "systemctl show": STATUS,
    }
    box.files |= {"/proc/41/maps": MAPS, "/proc/43/maps": ""}
    told = lines(facts.show("fips", "self-test", context))
    assert "self-test: passed, 3 tests with that of its integrity, run just now" in told
    assert told[-3:] == (
        "sentry-gateway: FIPS 140 mode is enabled; process 41 has loaded the module",
        "sentry-portal: FIPS 140 mode is disabled (MD5 works); process 42 has NOT loaded the module",
        "ssh: process 43 has NOT loaded the module",
    )


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        (SELF_TEST.replace("(KAT_Digest) : Pass", "(KAT_Digest) : Fail"), "FAILED: SHA2 (KAT_Digest)"),
        ("", "FAILED: it said nothing"),
    ],
)
def test_a_self_test_that_fails_or_says_nothing_is_a_failure(
    box: Box, context: Context, printed: str, says: str
) -> None:
    box.prints |= {"openssl list": PROVIDERS, "/usr/lib/sentry/bin/sentry-fips self-test": printed}
    assert f"self-test: {says}" in lines(facts.show("fips", "self-test", context))
    box.refuses.add("/usr/lib/sentry/bin/sentry-fips self-test")
    assert "self-test: FAILED: refused" in lines(facts.show("fips", "self-test", context))


# --- certificates ------------------------------------------------------------------------------------------------

ROOT = authority("root")
FIRST = server(ROOT, ends=NOW + timedelta(days=10))
SECOND = server(ROOT, ends=NOW + timedelta(days=90))


def test_all_certificates_are_shown_with_what_is_ready_beside_them(box: Box, context: Context) -> None:
    context = replace(context, now=NOW.timestamp())
    box.files |= {AUTHORITY: ROOT.pem, certificate_path("portal"): FIRST.pem, certificate_path("agent"): "half"}
    servers = {
        "portal": {
            "certificate": FIRST.pem + ROOT.pem,
            "second": {"certificate": SECOND.pem + ROOT.pem, "from": "2026-06-02T00:00Z"},
        }
    }
    assert context.running is not None
    kept = msgspec.structs.replace(context.running, tree={"certificates": {"servers": servers}})
    context = replace(context, running=kept)
    told = [dict(zip(COLUMNS, row, strict=True)) for row in rows(facts.show("certificates", "", context))]
    assert [(one["certificate"], one["use"], one["made by"]) for one in told] == [
        ("ca", "own authority", "appliance"),
        ("portal", "active (first)", "uploaded"),
        ("portal", "second, takes over 2026-06-02 00:00 UTC", "uploaded"),
    ]
    assert (told[1]["days left"], told[1]["ends"], told[1]["names"]) == ("10", "2026-06-11 12:00", "gateway.lab.test")
    assert told[1]["SHA-256"] == FIRST.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    late = replace(context, now=(NOW + timedelta(days=20)).timestamp())
    assert rows(facts.show("certificates", "", late))[1][COLUMNS.index("days left")] == "ended"


def test_one_services_certificate_is_shown_with_its_request(box: Box, context: Context) -> None:
    box.files |= {certificate_path("portal"): FIRST.pem, request_path("portal"): REQUEST}
    told = pairs(facts.show("certificates", "portal", context))
    assert told["request (PKCS #10)"].startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert [row[1] for row in rows(facts.show("certificates", "", context))] == ["active", "requested"]
    with pytest.raises(RefusedError, match="allowed: client, uem"):
        facts.show("certificates", "/etc/shadow", context)


def _request() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(named("gateway.lab.test"))
    return builder.sign(FIRST.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


REQUEST = _request()


# --- TLS ---------------------------------------------------------------------------------------------------------


@contextmanager
def served(folder: Path, low: ssl.TLSVersion, high: ssl.TLSVersion, *, client: bool = False) -> Iterator[int]:
    """A real TLS server on loopback; with `client` it wants a certificate of whoever connects."""
    (folder / "both.pem").write_text(FIRST.pem + FIRST.key_pem)
    (folder / "root.pem").write_text(ROOT.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = low, high
    context.load_cert_chain(folder / "both.pem")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "root.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _peer = listener.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("client", [False, True], ids=["anybody", "with a certificate"])
@pytest.mark.parametrize(
    ("low", "high", "taken"), [("1.2", "1.2", ["1.2"]), ("1.3", "1.3", ["1.3"]), ("1.2", "1.3", ["1.2", "1.3"])]
)
def test_the_versions_a_port_takes_are_seen_in_its_answer(
    tmp_path: Path,
    low: str,
    high: str,
    taken: list[str],
    client: bool,  # noqa: FBT001 - a table
) -> None:
    """Also where the handshake cannot succeed, for want of the UEM's certificate."""
    versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    with served(tmp_path, versions[low], versions[high], client=client) as port:
        assert [version for version in versions if tls.takes("127.0.0.1", port, version)] == taken


def test_a_port_nobody_listens_on_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    assert tls.takes("127.0.0.1", port, "1.2") is None


# --- all topics --------------------------------------------------------------------------------------------------


def test_an_unknown_topic_names_the_known_ones(context: Context) -> None:
    with pytest.raises(RefusedError, match="found the topic 'passwords'; allowed: acl, agent, alerts, alerts-delivery"):
        facts.show("passwords", "", context)


@pytest.mark.parametrize("topic", sorted(name for name, one in facts.TOPICS.items() if not one.argument))
def test_a_topic_without_argument_takes_none(context: Context, topic: str) -> None:
    with pytest.raises(RefusedError, match=f"after {topic}; allowed: nothing"):
        facts.show(topic, "; reboot", context)


@pytest.mark.parametrize("topic", sorted(facts.TOPICS))
def test_every_topic_answers_before_the_first_commit_or_says_what_does_not(
    box: Box, tmp_path: Path, topic: str
) -> None:
    box.files["/proc/uptime"] = "10.0 20.0\n"
    context = replace(Daemon(tmp_path).context(), system=box, attempt=box.attempt, call=_nobody)
    argument = "ABC" if topic == "device" else ""
    of_devices = ("device", "device-states", "devices", "policies", "redirects", "revocation")
    if topic in (*of_devices, "alerts", "alerts-delivery", "alerts-ids", "facts"):
        with pytest.raises(ControlError, match="nobody is there"):
            facts.show(topic, argument, context)
        return
    shown = facts.show(topic, argument, context)
    assert msgspec.json.decode(msgspec.json.encode(shown), type=Shown) == shown


REPORT = Report(
    server="",
    sender="",
    recipients=(),
    per_hour=10,
    batch_minutes=5,
    actions={},
    sent_last_hour=0,
    rows=(),
    lost=0,
    answer="",
    problem="",
)


def _nobody(_path: str, _request: Any, _type: Any = Any) -> Any:
    raise ControlError("nobody is there")


def test_no_topic_shows_a_secret(box: Box, context: Context) -> None:
    box.files["/proc/uptime"] = "10.0 20.0\n"
    answers: dict[Any, Any] = {list[Record]: [], list[NamedPolicy]: [], list[Redirected]: [], Report: REPORT}
    context = replace(context, call=lambda _path, _request, kind=Any: answers.get(kind, {}))
    for topic in facts.TOPICS:
        shown = str(facts.show(topic, "ABC" if topic == "device" else "", context))
        assert "secret:" not in shown, topic
        assert "hunter22" not in shown, topic


def test_every_topic_has_a_line_of_help() -> None:
    assert len(facts.TOPICS) >= 30
    assert all(topic.help for topic in facts.TOPICS.values())


# --- one by one --------------------------------------------------------------------------------------------------


def test_interfaces(box: Box, context: Context) -> None:
    box.prints["ip -json"] = ADDRESSES
    assert rows(facts.show("interfaces", "", context)) == (
        ("mgmt0", "", "up", "10.98.2.2/24", "02:00:00:00:00:01", "1500"),
    )


def test_ports_tell_who_listens(box: Box, context: Context) -> None:
    row = "0: 00000000:20FB 00000000:0000 0A 0"
    box.files["/proc/net/tcp"] = f"head\n {row}\n"
    assert rows(facts.show("ports", "", context)) == (("8443/tcp", "portal", "every", "yes"),)
    box.files["/proc/net/tcp"] = f"head\n {row.replace('0A', '01')}\n"
    assert rows(facts.show("ports", "", context))[0][-1] == "no"


def test_the_firewall_is_the_flows_or_the_counters(box: Box, context: Context) -> None:
    assert rows(facts.show("firewall", "", context)) == (("portal", "in", "tcp", "8443", "every", "anybody", ""),)
    box.prints["nft list"] = "table inet x {\n chain in {\n  counter packets 3 bytes 9 drop\n  accept\n }\n}\n"
    assert lines(facts.show("firewall", "counters", context)) == ("chain in {", "counter packets 3 bytes 9 drop")
    with pytest.raises(RefusedError, match="allowed: counters"):
        facts.show("firewall", "all", context)


def test_sessions_and_users(context: Context) -> None:
    assert rows(facts.show("sessions", "", context)) == (
        ("alice", "administrator", "no", "cli", "192.0.2.7", "0", "0"),
    )
    assert [row[:2] for row in rows(facts.show("users", "", context))] == [
        ("albert", "auditor"),
        ("alice", "administrator"),
        ("olga", "operator"),
    ]


def test_the_clock_is_synchronised_only_with_a_source(box: Box, context: Context) -> None:
    box.prints["chronyc -c"] = "0A620201,10.98.2.1,3,1800000000.1\n"
    assert pairs(facts.show("clock", "", context)) == {
        "time": "2027-01-15T08:00:00Z",
        "synchronised": "yes, 10.98.2.1 (stratum 3)",
    }
    box.prints["chronyc -c"] = "00000000,,0,0.0\n"
    assert pairs(facts.show("clock", "", context))["synchronised"] == "no"


def test_time_servers(box: Box, context: Context) -> None:
    box.prints["chronyc -n"] = "^,*,10.98.2.1,2,6,377,21,0.1,0.1,0.1\n^,?,10.98.3.1,0,6,0,4294967295,0,0,0\n"
    assert rows(facts.show("ntp", "", context)) == (
        ("10.98.2.1", "in use", "2", "21"),
        ("10.98.3.1", "unreachable", "0", "4294967295"),
    )


def test_the_device_list_comes_in_pages(context: Context) -> None:
    listed = [
        Record(key=DeviceKey(f"D{number:04}", "bob@lab.test"), state=State.ALLOWED, version=1, updated=1_800_000_000)
        for number in range(700)
    ]
    asked = []

    def call(path: str, request: Any, _type: Any) -> list[Record]:
        assert path == "/run/sentry-agent/agent.sock"
        asked.append(request)
        after = [record for record in listed if request.after is None or record.key > request.after]
        return after[: min(300, request.limit)]  # a page may be shorter than asked for: a line's size bounds it, too

    shown = rows(facts.show("devices", "", replace(context, call=call)))
    assert len(shown) == 700
    assert shown[0] == ("D0000", "bob@lab.test", "allowed", "", "", "no", "2027-01-15T08:00:00Z")
    after = [request.after.device_id if request.after else "" for request in asked]
    assert after == ["", "D0299", "D0599", "D0699"]
    assert asked[1] == ListDevices(after=DeviceKey("D0299", "bob@lab.test"), limit=500)


SERVERS = {
    "a": {"host": "192.0.2.1", "port": 443, "server_name": "a.test", "tls": True, "verify": "strict", "priority": 10},
    "b": {"host": "192.0.2.2", "port": 443, "tls": True, "verify": "log", "priority": 1},
    "c": {"host": "192.0.2.3", "port": 80, "tls": False, "verify": "strict", "priority": 10},
}
# what the gateway says of "a" | what is shown
STATES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"up": 2, "down": 0, "reason": ""}, "up"),
    ({"up": 0, "down": 2, "reason": "backend_refused"}, "down (backend_refused)"),
    ({"up": 1, "down": 1, "reason": "backend_timeout"}, "down for 1 of 2 workers (backend_timeout)"),
    ({"up": 0, "down": 0, "reason": ""}, "unknown"),
    ({}, "unknown"),
)


def with_backends(context: Context, **more: Any) -> Context:
    """A configuration with these backends."""
    assert context.running is not None
    tree = {**context.running.tree, "backends": {"servers": SERVERS, **more}}
    return replace(context, running=msgspec.structs.replace(context.running, tree=tree))


@pytest.mark.parametrize(("said", "shown"), STATES)
def test_backends_are_shown_with_their_state_over_all_workers(
    context: Context, said: dict[str, Any], shown: str
) -> None:
    status = {f"backend.a.{name}": value for name, value in said.items()}
    context = replace(with_backends(context), call=lambda _path, _request, _type: status)
    found = {row[0]: row[-1] for row in rows(facts.show("backends", "", context))}
    assert found == {"a": shown, "b": "unknown", "c": "unknown"}


def test_backends_are_shown_with_their_domains_and_whether_certificates_count(context: Context) -> None:
    context = replace(with_backends(context, domains={"x.test": ["a", "b"], "y.test": ["b"]}), call=_nobody)
    assert rows(facts.show("backends", "", context)) == (
        ("a", "192.0.2.1", "443", "a.test", "strict", "10", "x.test", "unknown"),
        ("b", "192.0.2.2", "443", "", "any, logged", "1", "x.test, y.test", "unknown"),
        ("c", "192.0.2.3", "80", "", "no TLS", "10", "", "unknown"),
    )


def test_redirects_are_shown_page_by_page(context: Context) -> None:
    known = [
        Redirected(key=DeviceKey(f"D{number:03}", "anna@lab.test"), backend="a", host="b.test", port=443, seconds=60)
        for number in range(5)
    ]
    asked: list[Any] = []

    def call(path: str, request: ListRedirects, _type: Any) -> list[Redirected]:
        assert path == "/run/sentry-gateway/control.sock"
        asked.append(request.after)
        return [one for one in known if request.after is None or one.key > request.after][:3]

    shown = rows(facts.show("redirects", "", replace(context, call=call)))
    assert [row[0] for row in shown] == ["D000", "D001", "D002", "D003", "D004"]
    assert shown[0][1:] == ("anna@lab.test", "b.test:443", "a", "60")
    assert asked == [None, known[2].key, known[4].key]


def test_rules_stand_in_their_order_with_those_that_have_expired(context: Context) -> None:
    """By the appliance's clock, on the minute; the title says until when the gateway only observes."""
    rules = {
        "old": {"order": 5, "action": "allow", "user": "anna", "expires": "2026-01-02T12:00Z"},
        "zeta": {"order": 1, "action": "deny", "device": "A*", "note": "lost"},
        "soon": {"order": 9, "action": "deny", "network": "192.0.2.0/24", "expires": "2026-01-02T12:01Z"},
    }
    noon = 1_767_355_200.0
    assert context.running is not None
    tree = {"gateway": {"rules": rules, "observe": {"until": "2026-01-02T12:01Z"}}}
    context = replace(context, running=msgspec.structs.replace(context.running, tree=tree), now=noon)
    shown = facts.show("rules", "", context)
    assert rows(shown) == (
        ("1", "zeta", "deny", "in force", "", "A*", "", "", "", "lost"),
        ("5", "old", "allow", "expired", "anna", "", "", "", "2026-01-02T12:00Z", ""),
        ("9", "soon", "deny", "in force", "", "", "", "192.0.2.0/24", "2026-01-02T12:01Z", ""),
    )
    assert shown.title == "rules (observing until 2026-01-02T12:01Z)"
    assert facts.show("rules", "", replace(context, now=noon + 60)).title == "rules"


def test_a_device_wants_its_id(context: Context) -> None:
    asked: list[Any] = []

    def call(_path: str, request: Any, _type: Any) -> list[Record]:
        asked.append(request)
        return []

    context = replace(context, call=call)
    assert rows(facts.show("device", "ABC", context)) == ()
    assert asked == [ShowDevice(device_id="ABC")]
    with pytest.raises(RefusedError, match="found no device id"):
        facts.show("device", "", context)


STRICT = Policy(device_password_enabled=True, min_device_password_length=8)
ANNA, BERT = DeviceKey("ABC", "anna"), DeviceKey("ABC", "bert")


def sheets(context: Context, answers: dict[Any, Any]) -> dict[str, tuple[str, ...]]:
    """What `show device ABC` says where the data plane answers so; each fact with a value for each user."""

    def call(path: str, request: Any, _type: Any) -> Any:
        assert (
            path == f"/run/{'sentry-uem/admin' if isinstance(request, ShowRegistered) else 'sentry-agent/agent'}.sock"
        )
        assert request.device_id == "ABC"
        if type(request) not in answers:
            raise ControlError("nobody is there")
        return answers[type(request)]

    return {row[0]: row[1:] for row in rows(facts.show("device", "ABC", replace(context, call=call)))}


def test_a_device_has_a_column_for_each_of_its_users(context: Context) -> None:
    known = [
        Record(key=ANNA, state=State.ALLOWED, version=1, policy=digest(STRICT), registered=True),
        Record(key=BERT, state=State.ALLOWED, version=1),
    ]
    says = DeviceInformation(model="iPhone10C1", imei="490154203237518", os="iOS 17.0")
    shown = sheets(
        context,
        {
            ShowDevice: known,
            ShowDetails: [Details(key=ANNA, policy=STRICT, information=says), Details(key=BERT)],
            ShowRegistered: [Registered(key=ANNA, policy="strict"), Registered(key=BERT, information=says)],
        },
    )
    assert (shown["user"], shown["registered"]) == (("anna", "bert"), ("yes", "no"))
    assert shown["policy"] == (f"strict, assigned ({digest(STRICT).hex()[:12]})", "the gateway's own")
    assert shown["model"] == ("iPhone10C1", "iPhone10C1")  # of bert's the UEM alone has heard
    assert (shown["imei"], shown["os"]) == (("490154203237518",) * 2, ("iOS 17.0",) * 2)
    assert (shown["policy.min_device_password_length"], "phone number" in shown) == (("8", ""), False)


@pytest.mark.parametrize(
    ("record", "named", "words"),
    [
        (Record(key=ANNA, state=State.ALLOWED, version=1), "", "the gateway's own"),
        (Record(key=ANNA, state=State.ALLOWED, version=1), "gone", "gone, assigned, which is not in the settings"),
        (Record(key=ANNA, state=State.ALLOWED, version=1, policy=digest(STRICT)), "", "the default one of the UEM"),
        (
            Record(key=ANNA, state=State.ALLOWED, version=0, provisional=True, policy=digest(TEMPORARY)),
            None,
            "temporary: a simple passcode",
        ),
    ],
)
def test_where_a_policy_comes_from(context: Context, record: Record, named: str | None, words: str) -> None:
    answers: dict[Any, Any] = {ShowDevice: [record], ShowDetails: []}
    if named is not None:  # else the UEM does not answer
        answers[ShowRegistered] = [Registered(key=ANNA, policy=named)]
    (policy,) = sheets(context, answers)["policy"]
    assert policy.startswith(words)


def test_the_policies_of_the_uem(context: Context) -> None:
    listed = [
        NamedPolicy(name="strict", policy=STRICT, default=True, assigned=3),
        NamedPolicy(name="lax", policy=Policy()),
    ]

    def call(path: str, request: Any, _type: Any) -> list[NamedPolicy]:
        assert (path, request) == ("/run/sentry-uem/admin.sock", ListPolicies())
        return listed

    assert rows(facts.show("policies", "", replace(context, call=call))) == (
        ("strict", "yes", "3", "device_password_enabled yes, min_device_password_length 8"),
        ("lax", "no", "0", "restricts nothing"),
    )


@pytest.mark.parametrize(
    ("kind", "marks", "state", "told"),
    [
        (WipeKind.DEVICE, (), "wipe_pending", "the whole device, by olga: waits for the device"),
        (WipeKind.DEVICE, (WipeMark.HANDED_OUT,), "wipe_pending", "the whole device, by olga: handed out"),
        (
            WipeKind.DEVICE,
            (WipeMark.FAILED, WipeMark.HANDED_OUT),
            "wipe_pending",
            "the whole device, by olga: handed out; failed, asked again",
        ),
        (
            WipeKind.ACCOUNT,
            (WipeMark.TOO_OLD,),
            "wipe_pending",
            "the account only, by olga: came with a version below 16.1, which has no wipe of an account: blocked",
        ),
        (
            WipeKind.DEVICE,
            (WipeMark.HANDED_OUT, WipeMark.UNVERIFIED),
            "wiped, unverified",
            "the whole device, by olga: handed out; acknowledged, unverified",
        ),
        (
            WipeKind.ACCOUNT,
            (WipeMark.UNVERIFIED, WipeMark.VERIFIED),
            "wiped",
            "the account only, by olga: acknowledged, verified",
        ),
    ],
)
def test_a_device_shows_what_has_come_of_its_wipe_and_no_more(
    context: Context, kind: WipeKind, marks: tuple[WipeMark, ...], state: str, told: str
) -> None:
    wipe = Wipe(kind=kind, order=3, marks=marks, by="olga")
    record = Record(key=ANNA, state=wipe.state, version=3, wipe=wipe, note="lost")
    shown = sheets(context, {ShowDevice: [record], ShowDetails: []})
    assert (shown["state"], shown["wipe"], shown["note"]) == ((state,), (told,), ("lost",))
    listed = replace(context, call=lambda _path, request, _type: [] if request.after else [record])
    assert rows(facts.show("devices", "", listed))[0][2] == state


def test_a_device_that_nobody_has_wiped_or_said_anything_of_shows_neither(context: Context) -> None:
    shown = sheets(context, {ShowDevice: [Record(key=ANNA, state=State.ALLOWED, version=1)], ShowDetails: []})
    assert shown.keys().isdisjoint({"wipe", "note"})


def test_that_the_data_plane_does_not_answer_is_a_fact(context: Context) -> None:
    shown = pairs(facts.show("gateway", "", replace(context, call=_nobody)))
    assert shown == {"status": "does not answer: nobody is there"}


def test_what_certificates_are_judged_by_is_a_table(context: Context) -> None:
    found = [
        RevocationSource(
            kind="crl url",
            place="http://crl.lab.test/a.crl",
            issuer="CN=Devices",
            state="in force",
            made=1_800_000_000.0,
            ends=1_800_086_400.0,
            entries=7,
        ),
        RevocationSource(kind="ocsp", place="http://ocsp.lab.test/", state="does not answer", problem="silence"),
    ]

    def call(path: str, request: Any, _type: Any) -> list[RevocationSource]:
        assert (path, request) == ("/run/sentry-agent/agent.sock", ShowRevocation())
        return found

    made, ends = "2027-01-15T08:00:00Z", "2027-01-16T08:00:00Z"
    assert rows(facts.show("revocation", "", replace(context, call=call))) == (
        ("crl url", "http://crl.lab.test/a.crl", "CN=Devices", "in force", made, ends, "7", ""),
        ("ocsp", "http://ocsp.lab.test/", "", "does not answer", "", "", "0", "silence"),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "required"),
        ({"require_client_tls": False}, "NOT required: plain HTTP on port 80 from 10.0.0.0/24"),
        (
            {
                "require_client_tls": False,
                "listeners": {"a": {"port": 8080, "tls": False}, "b": {"port": 8443, "tls": True}},
            },
            "NOT required: plain HTTP on port 80, 8080 from 10.0.0.0/24",
        ),
    ],
)
def test_whether_client_tls_is_required_is_said_first(context: Context, changes: dict[str, Any], said: str) -> None:
    settings = {
        "require_client_tls": True,
        "plain_port": 80,
        "listeners": {},
        "balancers": {"networks": ["10.0.0.0/24"], "proxy_protocol": "refused"},
        "device_authentication": {"mode": "pass_through", "front_ends": []},
    }
    assert context.running is not None
    tree = {**context.running.tree, "gateway": {**settings, **changes}}
    with_gateway = replace(context, running=msgspec.structs.replace(context.running, tree=tree), call=_nobody)
    shown = facts.show("gateway", "", with_gateway)
    assert isinstance(shown, Facts)
    assert shown.facts[0] == ("client TLS", said)
    assert dict(shown.facts)["device authentication"] == "pass_through"


def test_the_audit_trail_is_bounded(box: Box, context: Context) -> None:
    box.prints["journalctl --no-pager"] = "\n".join(str(number) for number in range(500))
    shown = lines(facts.show("log", "", context))
    assert (len(shown), shown[-1]) == (LINES, "499")
    assert "_SYSTEMD_UNIT=sentry-configd.service" in box.ran[-1]  # anybody may claim a tag, nobody another unit
    assert box.ran[-1][-2:] == ["SYSLOG_IDENTIFIER=sentry-tally", "_UID=0"]  # and nobody to be root
    facts.show("log", "gateway", context)
    assert box.ran[-1] == ["tail", "-n", "200", "--", "/var/log/sentry/audit.log"]


def test_a_vendors_uem_is_shown_without_its_secret(context: Context) -> None:
    assert context.running is not None
    held = {"mode": "epmm", "epmm": {"account": "sentry-api", "password": f"secret:{'0' * 64}"}, "policies": {}}
    running = msgspec.structs.replace(context.running, tree={**context.running.tree, "uem": held})

    def say(*_: object) -> dict[str, object]:
        return {"link": "up", "uem": "Ivanti EPMM", "followers": 2, "uem_devices": 7, "uem_left_out": "1 with no user"}

    shown = pairs(facts.show("uem", "", replace(context, running=running, call=say)))
    assert shown["uem"] == "Ivanti EPMM"
    assert "followers" not in shown  # that is `show agent`'s
    assert (shown["uem_devices"], shown["uem_left_out"], shown["epmm.account"]) == ("7", "1 with no user", "sentry-api")
    assert shown["epmm.password"] == "********"


def test_what_the_stig_asks_of_the_uem(context: Context) -> None:
    uem = Feature(name="uem", label="U", schema={"type": "dict"}, default={"mode": "embedded"})
    assert context.running is not None
    running = msgspec.structs.replace(context.running, tree={**context.running.tree, "uem": {"mode": "embedded"}})
    assert uem not in FEATURES
    with_uem = replace(context, running=running)
    assert pairs(facts.show("emm-source-verify", "", with_uem)) == {"EMM-source-verify": "true"}
    assert pairs(facts.show("emm-ips", "", with_uem)) == {"emm-ips": "127.0.0.1"}
    assert pairs(facts.show("emm-ips", "", context)) == {"emm-ips": "not configured"}
