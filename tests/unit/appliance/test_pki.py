"""The appliance's certificates, made by the real openssl in a folder of the test's own."""

import datetime
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import pki, process
from appliance.features.base import Tree
from appliance.features.tls import AUTHORITY, FOLDER, certificate_path, key_path
from appliance.pki import LEAVES, ensure, names

FILE_OWNERS = ("chown",)  # the services' groups are not on every machine; they are looked at as words
UNITS = ("systemctl",)


class Box:
    """A machine whose certificates lie below `root`; owners and units are written down instead of changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.owners: dict[str, str] = {}
        self.told: list[str] = []
        self.calls: list[list[str]] = []
        self.secrets: dict[str, str] = {}

    def place(self, path: str) -> Path:
        """Where `path` of the appliance lies here."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """The text of a file."""
        place = self.place(path)
        return place.read_text() if place.exists() else None

    def secret(self, reference: str) -> str:
        """Only the key of an uploaded certificate is one."""
        return self.secrets[reference]

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """The real command on this machine's paths."""
        self.calls.append(argv)
        if argv[0] in UNITS:
            self.told.append(argv[-1])
            return ""
        if argv[0] in FILE_OWNERS:
            self.owners[argv[-1].removesuffix(".new")] = argv[1]
            return ""
        if argv[0] == "install":
            self._install(argv, stdin)
            return ""
        if argv[0] == "stat":
            return f"{self.place(argv[-1]).stat().st_mode & 0o777:o} {self.owners[argv[-1]]}\n"
        return process.run([word.replace(FOLDER, str(self.place(FOLDER))) for word in argv], stdin=stdin)

    def _install(self, argv: list[str], stdin: str | None) -> None:
        mode = int(argv[argv.index("-m") + 1], 8)
        if "-d" in argv:
            for path in argv[argv.index("-m") + 2 :]:
                self.place(path).mkdir(parents=True, exist_ok=True, mode=mode)
            return
        place = self.place(argv[-1])
        place.write_text(stdin or "")
        place.chmod(mode)
        self.owners[argv[-1].removesuffix(".new")] = f"{argv[argv.index('-o') + 1]}:{argv[argv.index('-g') + 1]}"

    def shown(self, service: str, *asked: str) -> str:
        """What openssl prints of a service's certificate."""
        argv = ["openssl", "x509", "-noout", "-in", str(self.place(certificate_path(service))), *asked]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def tree(hostname: str = "gateway.lab.test", addresses: tuple[str, ...] = ("10.98.2.2/24",)) -> Tree:
    """As much of a tree as certificates look at."""
    return {
        "hostname": hostname,
        "interfaces": {"mgmt0": {"zones": ["management"], "addresses": list(addresses), "enabled": True}},
        "certificates": {"lifetime_days": 397, "renew_days": 30},
        "uem": {"mode": "embedded"},
    }


def ahead(days: float) -> Callable[[], datetime.datetime]:
    """A clock that is `days` ahead of ours."""
    return lambda: datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A machine without a certificate."""
    return Box(tmp_path)


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A machine that has just been given all its certificates; made once, never changed."""
    box = Box(tmp_path_factory.mktemp("pki"))
    assert ensure(tree(), box)
    return box


@pytest.fixture
def made(first: Box, box: Box) -> Box:
    """A copy of it, with nothing noted since."""
    shutil.copytree(first.root, box.root, dirs_exist_ok=True)
    box.owners.update(first.owners)
    return box


def test_every_service_gets_a_certificate_that_the_authority_signed(made: Box) -> None:
    """`openssl verify` is the judge, with the purpose each certificate is for."""
    for leaf in LEAVES:
        purpose = "sslserver" if leaf.purpose == "serverAuth" else "sslclient"
        paths = [str(made.place(AUTHORITY)), str(made.place(certificate_path(leaf.name)))]
        argv = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", *paths]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{leaf.name}: {done.stderr}"


def test_a_key_that_another_service_could_read_is_made_anew(made: Box) -> None:
    """As that of the portal in the releases in which it ended TLS by itself."""
    before = made.read(key_path("portal"))
    made.owners[key_path("portal")] = "root:sentry-portal"
    assert ensure(tree(), made) == ("portal",)
    assert made.read(key_path("portal")) != before
    assert made.owners[key_path("portal")] == "root:sentry-tls-proxy"


def test_no_two_services_share_a_certificate_or_a_key(made: Box) -> None:
    """Row 136: 443, 8443 and the UEM's ports each have their own."""
    for asked in ("-fingerprint", "-pubkey", "-serial"):
        assert len({made.shown(leaf.name, asked) for leaf in LEAVES}) == len(LEAVES) >= 6


def test_a_client_certificate_is_no_servers(made: Box) -> None:
    """The agent's key cannot be used to play the UEM."""
    paths = [str(made.place(AUTHORITY)), str(made.place(certificate_path("agent")))]
    argv = ["openssl", "verify", "-purpose", "sslserver", "-CAfile", *paths]
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0


def test_keys_are_readable_by_the_service_alone_and_the_authoritys_by_root_alone(made: Box) -> None:
    """Mode and owner of every file under /var/lib/sentry/tls."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in made.place(FOLDER).glob("*.*")}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600}
    for leaf in LEAVES:
        assert made.place(key_path(leaf.name)).stat().st_mode & 0o777 == 0o640
        assert made.place(certificate_path(leaf.name)).stat().st_mode & 0o777 == 0o644
        assert made.owners[key_path(leaf.name)] == f"root:{leaf.group}"
    assert made.owners[f"{FOLDER}/ca.key"] == "root:root"


def test_a_key_is_not_readable_by_others_while_it_is_made(box: Box) -> None:
    """Between openssl's write and the change of owner the key must not be open."""
    seen: list[int] = []
    run = box.run

    def watching(argv: list[str], *, stdin: str | None = None) -> str:
        if argv[0] == "chown":
            seen.append(box.place(argv[-1]).stat().st_mode & 0o777)
        return run(argv, stdin=stdin)

    box.run = watching  # type: ignore[method-assign]
    ensure(tree(), box)
    assert seen == [0o600] * (len(LEAVES) + 1)


def test_the_public_certificates_carry_every_name_and_address(made: Box) -> None:
    """Full name, short name, each interface's address; the internal ones only loopback."""
    two = tree(addresses=("10.98.2.2/24", "2001:db8::5/64"))
    ensure(two, made)
    shown = made.shown("portal", "-ext", "subjectAltName")
    assert "DNS:gateway.lab.test, DNS:gateway, IP Address:10.98.2.2, IP Address:2001:DB8:0:0:0:0:0:5" in shown
    assert "DNS:localhost, IP Address:127.0.0.1" in made.shown("uem", "-ext", "subjectAltName")


def test_algorithms_are_approved_ones(made: Box) -> None:
    """P-256 and SHA-256, which the FIPS provider takes."""
    shown = made.shown("gateway", "-text")
    assert "Signature Algorithm: ecdsa-with-SHA256" in shown
    assert "NIST CURVE: P-256" in shown


def test_the_second_time_nothing_is_made(made: Box) -> None:
    """A commit that changes no name leaves every key as it is and no service is told."""
    before = {path: path.read_bytes() for path in made.place(FOLDER).rglob("*.*")}
    assert len(before) == 2 + 2 * len(LEAVES)
    assert not ensure(tree(), made)
    assert {path: path.read_bytes() for path in made.place(FOLDER).rglob("*.*")} == before
    assert made.told == []


def test_a_new_name_makes_only_the_public_certificates_anew_and_tells_their_services(made: Box) -> None:
    """The UEM's certificates do not carry the name."""
    uem = made.place(certificate_path("uem")).read_bytes()
    assert ensure(tree(hostname="mx.lab.test"), made)
    assert "DNS:mx.lab.test" in made.shown("gateway", "-ext", "subjectAltName")
    assert made.place(certificate_path("uem")).read_bytes() == uem
    assert made.told == ["sentry-gateway.service", "sentry-tls-proxy.service"]


def test_certificates_are_renewed_before_they_end_and_not_earlier(made: Box) -> None:
    """With 397 days and 30 to renew, day 366 is early and day 368 is due."""
    assert not ensure(tree(), made, clock=ahead(366))
    assert ensure(tree(), made, clock=ahead(368))
    assert sorted(set(made.told)) == sorted({leaf.unit for leaf in LEAVES})


def test_an_authority_that_would_end_before_its_certificates_is_replaced_with_all_of_them(made: Box) -> None:
    """A certificate that outlives its issuer would stop working with it."""
    authority = made.place(AUTHORITY).read_bytes()
    assert ensure(tree(), made, clock=ahead(pki.AUTHORITY_DAYS - 396))
    assert made.place(AUTHORITY).read_bytes() != authority
    assert set(made.told) == {leaf.unit for leaf in LEAVES}


BREAKAGES: dict[str, Callable[[Box], Any]] = {
    "a lost key": lambda box: box.place(key_path("agent")).unlink(),
    "a lost certificate": lambda box: box.place(certificate_path("agent")).unlink(),
    "another one's key": lambda box: box.place(key_path("agent")).write_bytes(box.place(key_path("uem")).read_bytes()),
    "half a certificate": lambda box: box.place(certificate_path("agent")).write_text("-----BEGIN CERT"),
    "an empty key": lambda box: box.place(key_path("agent")).write_text(""),
}


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_what_is_broken_heals(breakage: Callable[[Box], Any], made: Box) -> None:
    """Whatever a crash, a disk or a person left behind, the next commit makes that certificate anew, and no other."""
    others = {
        leaf.name: made.place(certificate_path(leaf.name)).read_bytes() for leaf in LEAVES if leaf.name != "agent"
    }
    breakage(made)
    assert ensure(tree(), made)
    assert made.told == ["sentry-agent.service"]
    assert not ensure(tree(), made)
    assert {name: made.place(certificate_path(name)).read_bytes() for name in others} == others


def test_a_lost_authority_makes_everything_anew(made: Box) -> None:
    """Nobody would believe the old certificates any more."""
    made.place(f"{FOLDER}/ca.key").unlink()
    assert ensure(tree(), made)
    assert len(set(made.told)) == len({leaf.unit for leaf in LEAVES})
    assert not ensure(tree(), made)


def test_a_certificate_of_a_clock_that_was_ahead_is_made_anew(made: Box) -> None:
    """A machine that started in 2040 has certificates nobody takes once its clock is right."""
    assert ensure(tree(), made, clock=ahead(-30))


def test_no_key_is_in_an_argument_list(made: Box) -> None:
    """Argument lists name files only."""
    ensure(tree(hostname="other.lab.test"), made)
    assert made.calls
    assert not [
        word for argv in made.calls for word in argv if "PRIVATE" in word or re.search(r"[A-Za-z0-9+/]{40}", word)
    ]


def test_loopback_certificates_name_nothing_else() -> None:
    """`names` is what the certificate and the comparison both go by."""
    by_name = {leaf.name: names(leaf, tree()) for leaf in LEAVES}
    assert by_name["uem-push"] == ("DNS:localhost", "IP:127.0.0.1")
    assert by_name["gateway"] == ("DNS:gateway.lab.test", "DNS:gateway", "IP:10.98.2.2")


def test_a_uem_on_another_machine_finds_the_appliances_own_name_where_it_pushes() -> None:
    """It goes by the name or address that it was given; nothing else is shown to anybody else by that."""
    core = {**tree(), "uem": {"mode": "core"}}
    by_name = {leaf.name: names(leaf, core) for leaf in LEAVES}
    assert by_name["uem-push"] == by_name["gateway"]
    changed = {leaf.name for leaf in LEAVES if names(leaf, core) != names(leaf, tree())}
    assert changed == {"uem-push"}
