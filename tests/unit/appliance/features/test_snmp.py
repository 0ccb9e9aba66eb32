"""SNMP: version 3 with authentication and privacy or not at all, for listed managers, and keys that stay where they belong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.config.secrets import Memory
from appliance.features import flows, snmp, snmp_users
from appliance.features.base import Flow, Tree
from appliance.plan import InvalidError

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]

AUTH, PRIVACY = "canary-auth-passphrase-1f", "canary-privacy-passphrase-2e"
USER = {"auth_passphrase": AUTH, "privacy_passphrase": PRIVACY}
ENGINE, INTERNAL = "000102030405060708090a0b0c0d0e0f", "ab" * 32


@dataclass
class Box:
    """A machine that keeps what is installed, and makes random numbers that are known."""

    vault: Memory
    files: dict[str, str] = field(default_factory=dict)
    ran: list[list[str]] = field(default_factory=list)

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        self.ran.append(argv)
        if argv[:2] == ["openssl", "rand"]:
            return (ENGINE if argv[3] == "16" else INTERNAL) + "\n"
        if argv[0] == "stat":
            return "640 root:Debian-snmp\n"
        if argv[0] == "install" and stdin is not None:
            self.files[argv[-1]] = stdin
        if argv[0] == "mv":
            self.files[argv[-1]] = self.files.pop(argv[-2])
        if argv[0] == "rm":
            self.files.pop(argv[-1])
        return ""

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def secret(self, reference: str) -> str:
        return self.vault.reveal(reference)


@pytest.fixture
def box(vault: Memory) -> Box:
    return Box(vault)


@pytest.fixture
def with_snmp(lab_with: LabWith) -> Callable[..., Tree]:
    """The lab with SNMP as the test wants it."""

    def make(**settings: Any) -> Tree:
        whole = {"enabled": True, "managers": ["10.98.2.0/24"], "users": {"monitor": USER}, **settings}
        return lab_with(lambda tree: tree.update(snmp=whole))

    return make


def test_a_passphrase_becomes_the_key_of_rfc_3414() -> None:
    """A.3.2, whose digest nobody may use any more; the way is the same for those of RFC 7860."""
    engine = bytes.fromhex("000000000000000000000002")
    assert snmp_users.localised("maplesyrup", "sha1", engine).hex() == "6695febc9288e36282235fc7151f128497b38f3f"
    assert len(snmp_users.localised("maplesyrup", "sha256", engine)) == 32


def test_off_is_off(lab_with: LabWith, box: Box) -> None:
    """No file, no flow, no key."""
    tree = lab_with(lambda tree: tree.update(snmp={"users": {"monitor": USER}}))
    assert snmp.render(tree) == {}
    assert [flow for flow in flows(tree) if flow.feature == "snmp"] == []
    assert snmp.reconcile(tree, box) is False
    assert box.files == {}


def test_it_listens_in_the_management_zone_for_its_managers(with_snmp: Callable[..., Tree]) -> None:
    """And tells receivers as its own account; both by address."""
    receivers = {"a": {"address": "10.98.2.9", "user": "monitor"}, "b": {"address": "10.98.2.8", "user": "monitor"}}
    tree = with_snmp(traps=receivers)
    assert "agentAddress udp:10.98.2.2:161\n" in snmp.render(tree)[snmp.CONFIGURATION].text
    assert [flow for flow in flows(tree) if flow.feature == "snmp"] == [
        Flow("snmp", "in", "udp", 161, "management", ("10.98.2.0/24",)),
        Flow("snmp", "out", "udp", 162, "management", ("10.98.2.8", "10.98.2.9"), "Debian-snmp"),
    ]


def test_users_read_a_few_standard_mibs_encrypted_and_nobody_writes(with_snmp: Callable[..., Tree]) -> None:
    """No community, no user without privacy, no program's arguments."""
    lines = snmp.render(with_snmp())[snmp.CONFIGURATION].text.splitlines()
    assert [
        line for line in lines if line.startswith(("rouser", "rwuser", "rocommunity", "rwcommunity", "com2sec"))
    ] == ["rouser monitor priv -V sentry"]
    assert "view sentry excluded .1.3.6.1.2.1.25.4.2.1.5" in lines
    assert {"[snmp] disableSNMPv1 yes", "[snmp] disableSNMPv2c yes"} <= set(lines)


def test_keys_go_to_snmpd_and_no_passphrase_goes_anywhere(with_snmp: Callable[..., Tree], box: Box) -> None:
    """Each user's keys are those of this engine; nothing secret is an argument; a second time nothing is done."""
    tree = with_snmp(users={"monitor": {**USER, "auth": "sha-512", "privacy": "aes-128"}})
    assert snmp.reconcile(tree, box) is True
    engine = bytes.fromhex(snmp_users.ENGINE_PREFIX + ENGINE)
    auth = snmp_users.localised(AUTH, "sha512", engine).hex()
    privacy = snmp_users.localised(PRIVACY, "sha512", engine)[:16].hex()
    assert box.files[snmp_users.USERS].splitlines()[1:] == [
        f"exactEngineID 0x{engine.hex()}",
        f"createUser sentry-internal SHA-256 -l 0x{INTERNAL} AES-256 -l 0x{INTERNAL}",
        f"createUser monitor SHA-512 -l 0x{auth} AES -l 0x{privacy}",
    ]
    told = " ".join(word for argv in box.ran for word in argv)
    assert not [secret for secret in (AUTH, PRIVACY, auth, privacy, INTERNAL) if secret in told]
    assert ["systemctl", "try-restart", "--", "snmpd.service"] in box.ran
    owned = [argv for argv in box.ran if argv[-1] == f"{snmp_users.USERS}.new" and argv[0] == "install"]
    assert owned == [
        ["install", "-o", "root", "-g", "Debian-snmp", "-m", "0640", "--", "/dev/stdin", f"{snmp_users.USERS}.new"]
    ]
    box.ran.clear()
    assert snmp.reconcile(tree, box) is False
    assert [argv for argv in box.ran if argv[0] in ("systemctl", "openssl")] == []


def test_a_receiver_is_told_with_the_keys_of_its_user(with_snmp: Callable[..., Tree], box: Box) -> None:
    """Who sends a trap is the engine that vouches for it (RFC 3414 1.5.1), so the key is this engine's too."""
    snmp.reconcile(with_snmp(traps={"noc": {"address": "10.98.2.9", "port": 10_162, "user": "monitor"}}), box)
    engine = snmp_users.ENGINE_PREFIX + ENGINE
    last = box.files[snmp_users.USERS].splitlines()[-1]
    assert last.startswith(f"trapsess -v 3 -e 0x{engine} -u monitor -l authPriv -a SHA-256 -3k 0x")
    assert last.endswith(" udp:10.98.2.9:10162")


def test_the_engine_stays_who_it_is_and_users_go_with_snmp(
    with_snmp: Callable[..., Tree], lab_with: LabWith, box: Box
) -> None:
    """Managers know the machine by it; keys that nobody needs are no longer there."""
    snmp.reconcile(with_snmp(), box)
    kept = box.files[snmp_users.ENGINE]
    assert snmp.reconcile(lab_with(lambda tree: tree.update(snmp={})), box) is True
    assert set(box.files) == {snmp_users.ENGINE}
    snmp.reconcile(with_snmp(), box)
    assert box.files[snmp_users.ENGINE] == kept


@pytest.mark.parametrize(
    ("settings", "path", "found", "allowed"),
    [
        ({"protocol": "v2c"}, "snmp.protocol", "'v2c'", "V-251000"),
        ({"community": "public"}, "snmp.community", "unknown setting", "location"),
        (
            {"users": {"m": {**USER, "security_level": "authNoPriv"}}},
            "snmp.users.m.security_level",
            "authNoPriv",
            "V-251000",
        ),
        ({"users": {"m": {**USER, "auth": "md5"}}}, "snmp.users.m.auth", "'md5'", "sha-256, sha-384, sha-512"),
        ({"users": {"m": {**USER, "privacy": "des"}}}, "snmp.users.m.privacy", "'des'", "aes-128, aes-256"),
        (
            {"users": {"m": {**USER, "auth_passphrase": "short"}}},
            "snmp.users.m.auth_passphrase",
            "a secret",
            "12 to 128",
        ),
        (
            {"users": {"m": {**USER, "privacy_passphrase": AUTH}}},
            "snmp.users.m.privacy_passphrase",
            "the same as auth_passphrase",
            "another",
        ),
        ({"users": {"sentry-x": USER}}, "snmp.users.sentry-x", "the name", "not sentry-"),
        ({"users": {}}, "snmp.users", "none", "at least one"),
        ({"managers": []}, "snmp.managers", "none", "at least one network"),
        ({"managers": ["10.98.2.1"]}, "snmp.managers.0", "'10.98.2.1'", "a network such as"),
        ({"traps": {"a": {"address": "10.98.2.9", "user": "who"}}}, "snmp.traps.a.user", "'who'", "monitor"),
        ({"location": "here\nrwcommunity x"}, "snmp.location", "rwcommunity", "one line"),
        ({"contact": 'a"b'}, "snmp.contact", "b", "without"),
    ],
)
def test_what_would_open_snmp_is_refused(
    settings: dict[str, Any], path: str, found: str, allowed: str, with_snmp: Callable[..., Tree]
) -> None:
    """At the setting, naming the rule where it is one's."""
    with pytest.raises(InvalidError) as refused:
        with_snmp(**settings)
    problem = refused.value.problems[0]
    assert problem.path == path
    assert found in problem.found
    assert allowed in problem.allowed
    assert not [secret for secret in (AUTH, PRIVACY) if secret in str(refused.value)]
