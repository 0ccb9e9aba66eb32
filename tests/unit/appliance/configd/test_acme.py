"""Certificates from an ACME server as configd has them: ordered, judged, shown and renewed; and a service that lies."""

import asyncio
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import chains, keyring, obtained
from appliance.acme import api as acme_api
from appliance.acme.keep import Keep
from appliance.acme.service import Service
from appliance.acme.settings import Settings
from appliance.configd import api, roles
from appliance.configd.acme import EVERY_SECONDS, IDLE_SECONDS, TELL_SECONDS, Acme
from appliance.configd.facts import certificates as facts
from appliance.configd.health import _not_obtained
from appliance.features.tls import certificate_path, key_path
from sentry_runtime import control
from tests.acme_server import AcmeServer, serving
from tests.device_pki import DevicePki
from tests.site_pki import Signed, answer, authority, request_for
from tests.unit.appliance.configd.test_certificates import HOST, MIDDLE, PORTAL, ROOT, TODAY, Stand, fresh, problems

STRANGER = authority("stranger", ends=TODAY + timedelta(days=3_000))
DIRECTORY = "https://ca.example.test/acme/directory"
PLACE: tuple[str, ...] = ("certificates", "servers", "portal")
SERVER: tuple[str, ...] = ("certificates", "acme")


def issued(
    request: str, *, days: float = 90, age: float = 0.01, by: Signed = MIDDLE, above: tuple[Signed, ...] = (MIDDLE,)
) -> str:
    """What an authority answers a request with: the certificate, and those between it and the root."""
    starts, ends = TODAY - timedelta(days=age), TODAY + timedelta(days=days)
    return answer(request, by, starts=starts, ends=ends) + "".join(one.pem for one in above)


class Peer:
    """An ACME service that says what the test wants, whatever it is asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.says: Callable[[acme_api.Obtain], acme_api.Standing] = lambda _asked: acme_api.Standing(state="waits")
        self.away = False

    def call(self, path: str, request: Any, kind: Any = Any, **_rest: Any) -> Any:
        """As `sentry_runtime.control.call`: what does not fit its type is no answer."""
        assert path == acme_api.SOCKET
        if self.away:
            raise control.ControlError(f"{path}: Connection refused")
        self.asked.append(request)
        said: Any = self.says(request) if isinstance(request, acme_api.Obtain) else None
        if isinstance(request, acme_api.Status):
            orders = {one.service: self.says(one) for one in self.asked if isinstance(one, acme_api.Obtain)}
            said = acme_api.Report(directory=DIRECTORY, account=f"{DIRECTORY}/7", orders=orders)
        try:
            return msgspec.json.decode(msgspec.json.encode(said), type=kind)
        except msgspec.MsgspecError as error:
            raise control.ControlError(f"{path}: an answer that cannot be read: {error}") from error

    @property
    def requests(self) -> list[str]:
        """The requests that were handed over, each once."""
        return list(dict.fromkeys(one.request for one in self.asked if isinstance(one, acme_api.Obtain)))

    @property
    def judged(self) -> list[str]:
        """What was said of its chains."""
        return [one.problem for one in self.asked if isinstance(one, acme_api.Judge)]


class Ordering(Stand):
    """configd whose portal has its certificate from an ACME server."""

    def __init__(self, folder: Path, call: Callable[..., Any], roots: str = ROOT.pem) -> None:
        super().__init__(folder)
        self.call = call
        self.anew()
        self.own = self.shown()
        self.set(*SERVER, "directory", value=DIRECTORY)
        self.set(*SERVER, "issuer_certificates", value=roots)
        self.set(*PLACE, "issuer", value="acme")
        self.commit()
        self.daemon.ledger.entries.clear()

    def anew(self) -> None:
        """A new configd over the same machine."""
        parts = (self.daemon.engine, self.daemon.gate, self.daemon.sessions)
        self.acme = Acme(*parts, call=self.call, clock=self.ticks, wall_clock=self.wall)

    def set(self, *path: str, value: Any) -> None:
        self.say(api.SetConfig, type(None), path=path, value=value)

    def tick(self, seconds: float = EVERY_SECONDS) -> None:
        """Some time goes by, and configd looks."""
        self.ticks.now += seconds
        self.wall.now += seconds
        self.acme.tick()

    def ordered(self) -> str:
        return keyring.ordered("portal", self.machine)

    def noted(self, event: str) -> list[str]:
        """The details of the audit trail's lines on an event."""
        return [one.detail for one in self.daemon.ledger.entries if one.event == event]

    def context(self) -> Any:
        """What `show` is answered from."""
        context = self.daemon.context()
        return type(context)(
            **{
                name: getattr(context, name)
                for name in context.__dataclass_fields__
                if name not in ("call", "system", "now")
            },
            call=self.call,
            system=self.machine,
            now=self.wall.now,
        )

    def rows(self) -> list[tuple[str, ...]]:
        """The portal's rows of `show certificates`."""
        shown = facts.certificates(self.context(), "")
        assert isinstance(shown, api.Table)
        return [row for row in shown.rows if row[0] == "portal"]

    def about(self) -> dict[str, str]:
        """`show certificates portal`."""
        shown = facts.certificates(self.context(), "portal")
        assert isinstance(shown, api.Facts)
        return dict(shown.facts)


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def stand(tmp_path: Path, peer: Peer) -> Ordering:
    return Ordering(tmp_path, peer.call)


def ready(chain: str) -> Callable[[acme_api.Obtain], acme_api.Standing]:
    return lambda _asked: acme_api.Standing(state="ready", chain=chain)


def answered(**how: Any) -> Callable[[acme_api.Obtain], acme_api.Standing]:
    return lambda asked: acme_api.Standing(state="ready", chain=issued(asked.request, **how))


# --- with a real server --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    made = DevicePki(tmp_path_factory.mktemp("pki"))
    made.authority("company")
    made.issue("acme", by="company", names="IP:127.0.0.1", usage="serverAuth")
    return made


@pytest.fixture(scope="module")
def server(pki: DevicePki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcmeServer]:
    with serving(tmp_path_factory.mktemp("pebble"), pki.pair("acme"), Path(pki.path("company"))) as made:
        yield made


class Whole:
    """The ACME service itself, which has a turn whenever it was asked for a certificate."""

    def __init__(self, folder: Path, server: AcmeServer) -> None:
        folder.mkdir()
        settings = Settings(
            directory=server.directory,
            trust=str(server.trust),
            terms_agreed=True,
            listen=("127.0.0.1",),
            port=server.proof_port,
        )
        self.service = Service(settings, Keep(folder))

    def call(self, _path: str, request: Any, kind: Any = Any, **_rest: Any) -> Any:
        said = asyncio.run(self.service.answer(request))
        if isinstance(request, acme_api.Obtain):
            asyncio.run(self.service.look())
        return msgspec.json.decode(msgspec.json.encode(said), type=kind)


def test_a_real_server_s_certificate_is_shown_and_renewed(tmp_path: Path, server: AcmeServer) -> None:
    """From the commit to the port's file; then the next one when a third of its life is left, with another key."""
    stand = Ordering(tmp_path, Whole(tmp_path / "acme", server).call, roots=server.root())
    stand.wall.now = time.time()
    stand.set(*PLACE, "extra_names", value=["www.example.test"])
    stand.commit()
    own = stand.shown()
    stand.tick()  # ordered, and tried
    assert stand.shown() == own
    stand.tick()
    first = stand.shown()
    assert first != own
    assert stand.machine.told[-1] == PORTAL
    key = stand.machine.read(key_path("portal"))
    shown = stand.about()
    assert (shown["made by"], shown["names"], shown["order"]) == ("ACME", f"{HOST}, www.example.test", "none")
    assert "Pebble Intermediate" in shown["issuer"]
    assert len(stand.machine.place(certificate_path("portal")).read_text().split("BEGIN CERT")) == 3  # without the root
    assert len(stand.noted("certificate.changed")) == 1
    stand.tick(59 * 86_400)
    assert not stand.ordered()
    stand.tick(86_400 * 1.5)
    stand.tick()
    assert stand.shown() not in (first, own)
    assert stand.machine.read(key_path("portal")) != key
    assert not stand.ordered()


# --- what is shown meanwhile ----------------------------------------------------------------------------------------


def test_until_there_is_one_the_appliance_shows_its_own_and_says_so(stand: Ordering, peer: Peer) -> None:
    stand.tick()
    assert stand.shown() == stand.own
    assert [row[1:3] for row in stand.rows()] == [
        ("active", "appliance"),
        ("ordered; tried next within seconds", "ACME"),
    ]
    assert stand.about()["ACME server"] == DIRECTORY
    assert stat.S_IMODE(stand.machine.place(obtained.path("portal")).parent.stat().st_mode) == 0o755
    assert peer.requests == [stand.ordered()]
    subject = stand.machine.run(["openssl", "req", "-noout", "-subject", "-in", keyring.order_path("portal")])
    assert subject.strip() in ("subject=", "subject =")


def test_the_same_request_goes_on_over_restarts_and_other_commits(stand: Ordering, peer: Peer) -> None:
    stand.tick()
    stand.anew()
    stand.set("certificates", "renew_days", value=31)
    stand.commit()
    stand.tick()
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("path", "value"), [((*PLACE, "extra_names"), ["www.test"]), ((*PLACE, "key_type"), "p384")], ids=["names", "key"]
)
def test_other_names_or_another_kind_of_key_are_another_order(
    path: tuple[str, ...], value: Any, stand: Ordering, peer: Peer
) -> None:
    """Before there is a certificate, and after; what is shown stays meanwhile."""
    stand.tick()
    stand.set(*path, value=value)
    stand.commit()
    stand.tick()
    assert len(peer.requests) == 2
    peer.says = answered()
    stand.tick()
    assert peer.judged == [""]
    first = stand.shown()
    peer.says = lambda _asked: acme_api.Standing(state="waits")
    stand.set(*path, value=[*value, "ftp.test"] if isinstance(value, list) else "p256")
    stand.commit()
    stand.tick()
    assert (stand.shown(), len(peer.requests)) == (first, 3)


def test_from_ec_to_rsa_the_appliance_shows_its_own_meanwhile(stand: Ordering, peer: Peer) -> None:
    """The cipher suites may be for RSA alone from that commit on: nobody could connect any more."""
    peer.says = answered()
    stand.tick()
    taken = stand.shown()
    stand.set(*PLACE, "key_type", value="rsa3072")
    stand.commit()
    assert stand.shown() not in (taken, stand.own)
    stand.tick()
    assert len(peer.requests) == 2
    assert stand.about()["made by"] == "ACME"


def test_an_authority_that_dates_its_certificates_back_is_not_asked_again_and_again(
    stand: Ordering, peer: Peer
) -> None:
    """Nine tenths of its lifetime are over when it comes: two thirds of what is left are waited for."""
    peer.says = answered(days=1, age=9)
    for _ in range(3):
        stand.tick(IDLE_SECONDS)
    assert len(peer.requests) == 1
    stand.tick(0.66 * 86_400)
    assert len(peer.requests) == 1
    stand.tick(0.02 * 86_400)
    assert len(peer.requests) == 2


def test_a_failure_is_said_once_for_each_attempt_and_the_certificate_stays(stand: Ordering, peer: Peer) -> None:
    peer.says = answered()
    stand.tick()
    first = stand.shown()
    next_try = TODAY.timestamp() + 70 * 86_400
    peer.says = lambda _asked: acme_api.Standing(
        state="waits", tries=2, problem="the server cannot be reached", next_try=next_try
    )
    stand.tick(65 * 86_400)
    for _ in range(3):
        stand.tick(TELL_SECONDS)
    assert stand.shown() == first
    [said] = stand.noted("certificate.not_obtained")
    assert said == "no certificate for portal from the ACME server: the server cannot be reached; it is tried again"
    moment = datetime.fromtimestamp(next_try, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert stand.rows()[-1][1] == f"ordered; failed: the server cannot be reached; tried next {moment}"
    shown = stand.about()
    assert (shown["problem"], shown["attempts that failed"]) == ("the server cannot be reached", "2")
    assert _not_obtained(stand.context()) == {"portal": "the server cannot be reached"}
    peer.says = lambda _asked: acme_api.Standing(state="waits", tries=3, problem="the server cannot be reached")
    stand.tick(TELL_SECONDS)
    assert len(stand.noted("certificate.not_obtained")) == 2


def test_a_service_that_does_not_answer_changes_nothing(stand: Ordering, peer: Peer) -> None:
    peer.away = True
    stand.tick()
    assert stand.shown() == stand.own
    assert "not known" in stand.rows()[-1][1]
    assert "Connection refused" in stand.about()["order"]
    assert _not_obtained(stand.context()) is None
    peer.away, peer.says = False, answered()
    stand.tick()
    assert stand.shown() != stand.own


# --- a service that lies --------------------------------------------------------------------------------------------

OTHERS = {
    "for another name": lambda _request: issued(request_for("mallory.test")),
    "for another key": lambda _request: issued(request_for(HOST)),
    "of an authority that is not believed": lambda request: issued(request, by=STRANGER, above=(STRANGER,)),
    "that ended": lambda request: issued(request, days=-1, age=3),
    "that is for later": lambda request: issued(request, days=90, age=-30),
    "without what leads to the root": lambda request: issued(request, above=()),
    "that is none": lambda _request: "nonsense",
    "that is empty": lambda _request: "",
    "with a root of its own": lambda request: issued(request, by=STRANGER, above=()) + STRANGER.pem + ROOT.pem,
}


@pytest.mark.parametrize("made", OTHERS.values(), ids=OTHERS)
def test_a_chain_is_refused(made: Callable[[str], str], stand: Ordering, peer: Peer) -> None:
    """What could not be uploaded, or was not asked for, is not shown; and it is judged and told once, however often it comes."""
    peer.says = lambda asked: ready(made(asked.request))(asked)
    stand.tick()
    first = peer.says
    once = first(acme_api.Obtain(service="portal", request=stand.ordered()))
    peer.says = lambda _asked: once
    for _ in range(4):
        stand.tick()
    assert stand.shown() == stand.own
    assert stand.machine.read(obtained.path("portal")) is None
    assert all(peer.judged)
    assert all("allowed:" in one for one in peer.judged)
    assert len(stand.noted("certificate.not_obtained")) <= 2
    assert stand.noted("certificate.changed") == []
    peer.says = answered()
    stand.tick()
    assert stand.shown() != stand.own


def test_a_certificate_of_an_authority_whose_clock_is_ahead_is_waited_for(stand: Ordering, peer: Peer) -> None:
    stand.tick()
    once = answered(age=-60 / 86_400)(acme_api.Obtain(service="portal", request=stand.ordered()))
    peer.says = lambda _asked: once
    stand.tick()
    assert (stand.shown(), peer.judged) == (stand.own, [])
    stand.tick(60)
    assert stand.shown() != stand.own
    assert peer.judged == [""]


def test_a_service_that_changes_its_words_does_not_fill_the_audit_trail(stand: Ordering, peer: Peer) -> None:
    count = iter(range(1_000))
    peer.says = lambda _asked: acme_api.Standing(state="waits", tries=next(count), problem=f"no {next(count)}")
    for _ in range(60):
        stand.tick(EVERY_SECONDS)
    told = stand.noted("certificate.not_obtained")
    assert 1 < len(told) <= 60 * EVERY_SECONDS / TELL_SECONDS + 1


def test_words_for_a_screen_and_answers_of_another_kind(stand: Ordering, peer: Peer) -> None:
    peer.says = lambda _asked: acme_api.Standing(state="waits", tries=1, problem="red \x1b[31m")
    stand.tick()
    assert all(one.isprintable() for one in stand.noted("certificate.not_obtained"))
    assert all(cell.isprintable() for row in stand.rows() for cell in row)
    strange: Any = {"state": "ready", "chain": 7}
    peer.says = lambda _asked: strange
    stand.tick()
    peer.says = lambda _asked: acme_api.Standing(state="ready", chain="x" * 70_000)
    stand.tick()
    assert stand.shown() == stand.own


def test_a_chain_with_which_the_portal_does_not_run_is_taken_back(stand: Ordering, peer: Peer) -> None:
    peer.says = answered()
    stand.machine.failing = PORTAL
    stand.tick()
    assert stand.shown() == stand.own
    assert stand.machine.read(obtained.path("portal")) is None
    assert stand.ordered()
    assert "tls-proxy" in peer.judged[0]
    restarts = stand.machine.told.count(PORTAL)
    once = peer.says(acme_api.Obtain(service="portal", request=stand.ordered()))
    peer.says = lambda _asked: once
    stand.machine.failing = ""
    stand.tick()
    assert stand.shown() != stand.own
    assert stand.machine.told.count(PORTAL) > restarts


# --- what administrators do -----------------------------------------------------------------------------------------


def test_renew_orders_another_one_at_once(stand: Ordering, peer: Peer) -> None:
    peer.says = answered()
    stand.tick()
    first = stand.shown()
    stand.tick()
    assert stand.shown() == first
    said = stand.say(api.RenewCertificate, service="portal")
    assert said.lines == ("A certificate is ordered; `show certificates portal` says what becomes of it.",)
    stand.tick()
    assert stand.shown() != first
    assert len(peer.requests) == 2


def test_renew_is_for_administrators_who_gave_the_enable_secret_a_moment_ago() -> None:
    def said(role: api.Role, seconds: float) -> str:
        standing = roles.Standing(role=role, privileged=True, privileged_seconds=seconds)
        refusal = roles.refusal(api.RenewCertificate, standing)
        return refusal.kind if refusal else ""

    assert said("administrator", roles.FRESH_SECONDS) == ""
    assert said("administrator", roles.FRESH_SECONDS + 1) == "privilege"
    assert said("operator", 0.0) == "permission"


def test_an_upload_goes_before_and_the_own_one_is_had_back(stand: Ordering, peer: Peer) -> None:
    peer.says = answered()
    stand.tick()
    obtained_one = stand.shown()
    uploaded = fresh()
    stand.upload(uploaded)
    stand.commit()
    assert stand.shows(uploaded.pem)
    asked = len(peer.asked)
    stand.tick()
    assert len(peer.asked) == asked
    for name in ("key", "certificate"):
        stand.say(api.DeleteConfig, type(None), path=(*PLACE, name))
    stand.commit()
    assert stand.shown() == obtained_one
    stand.set(*PLACE, "issuer", value="own")
    stand.commit()
    assert stand.shown() not in (obtained_one, "")
    assert "made by" in stand.about()


def test_another_host_name_shows_nobody_s_certificate_but_its_own(stand: Ordering, peer: Peer) -> None:
    peer.says = answered()
    stand.tick()
    taken = stand.shown()
    stand.set("hostname", value="gw2.example.test")
    stand.commit()
    assert stand.shown() not in (taken, stand.own)
    stand.tick()
    assert len(peer.requests) == 2


def test_a_damaged_file_is_as_good_as_missing(stand: Ordering, peer: Peer) -> None:
    peer.says = answered()
    stand.tick()
    stand.machine.place(obtained.path("portal")).write_text("nonsense")
    peer.says = lambda _asked: acme_api.Standing(state="waits")
    stand.tick(IDLE_SECONDS)
    assert len(peer.requests) == 2


def test_when_another_root_is_believed_the_next_is_ordered_and_the_last_stays_meanwhile(
    stand: Ordering, peer: Peer
) -> None:
    peer.says = answered()
    stand.tick()
    first = stand.shown()
    stand.set(*SERVER, "issuer_certificates", value=STRANGER.pem)
    stand.commit()
    stand.tick()
    assert (stand.shown(), len(peer.requests)) == (first, 2)
    assert "leads to a root that is believed" in peer.judged[-1]
    peer.says = answered(by=STRANGER, above=())
    stand.tick()
    assert stand.shown() not in (first, stand.own)


def test_keys_of_short_certificates_do_not_pile_up(stand: Ordering, peer: Peer) -> None:
    """One a day: the oldest go, and those that are shown or asked for stay."""
    peer.says = answered()
    folder = stand.machine.place(keyring.RING)
    stand.tick()
    for _ in range(keyring.KEYS + 3):
        stand.say(api.RenewCertificate, service="portal")
    shown = chains.read(stand.machine.read(obtained.path("portal")) or "")
    assert keyring.key_for(shown, stand.machine)
    assert len(list(folder.glob("*.key"))) <= keyring.KEYS + 2
    assert not list(folder.glob("new*"))


SETTINGS = {
    "no directory": ((*SERVER, "directory"), None, "portal have theirs from there"),
    "a directory without TLS": ((*SERVER, "directory"), "http://ca.test/dir", "https://"),
    "half a binding": ((*SERVER, "binding", "key_id"), "me", "both key_id and key"),
    "a key that is none": ((*SERVER, "binding"), {"key_id": "me", "key": "short"}, "base64url"),
    "a margin that is none": ((*SERVER, "renew_percent"), 100, "80"),
    "another one's port": (("gateway", "port"), 80, "ACME servers look for proofs at 80"),
}


@pytest.mark.parametrize(("path", "value", "said"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_do_not_hold(path: tuple[str, ...], value: Any, said: str, stand: Ordering) -> None:
    def try_it() -> None:
        if value is None:
            stand.say(api.DeleteConfig, type(None), path=path)
        else:
            stand.set(*path, value=value)
        stand.commit()

    assert said in problems(try_it)
