"""Certificates as an administrator's session has them: request, upload, commit, rollback; and what the clock does by itself."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.configd import api
from appliance.configd.client import Refused
from appliance.configd.renewal import AGAIN_SECONDS, EVERY_SECONDS, WARN_SECONDS, Renewal
from appliance.configd.sessions import Peer
from appliance.features import FEATURES
from appliance.features.tls import certificate_path, key_path
from appliance.process import CommandError
from tests.site_pki import Signed, answer, authority, packed, server
from tests.unit.appliance.test_pki import Box
from tests.unit.appliance.workbench import Clock, Daemon

ROOT_UID = 0
HOST = "gw1.example.test"
KEY = (Path(__file__).parents[1] / "features" / "material" / "ecdsa.pub").read_text().strip()
SITE: dict[str, Any] = {
    "hostname": HOST,
    "interfaces": {"mgmt0": {"zones": ["management", "device", "backend"], "addresses": ["192.0.2.2/24"]}},
    "ntp": {"servers": ["192.0.2.1", "192.0.2.3"]},
    "firewall": {"management_networks": ["192.0.2.0/24"]},
    "backends": {"servers": {"mail": {"host": "192.0.2.10"}}},
    "users": {"accounts": {"alice": {"role": "administrator", "ssh_keys": [KEY]}}},
    "uem": {"mode": "embedded"},
}
TODAY = datetime.now(UTC).replace(microsecond=0)
ROOT = authority("root", ends=TODAY + timedelta(days=3_000))
MIDDLE = authority("middle", ROOT, ends=TODAY + timedelta(days=3_000))
PORTAL = "sentry-tls-proxy.service"


def fresh(days: float = 90, **more: Any) -> Signed:
    """A server's certificate that holds now."""
    given: dict[str, Any] = {
        "names": (HOST,),
        "starts": TODAY - timedelta(days=1),
        "ends": TODAY + timedelta(days=days),
    }
    return server(MIDDLE, **(given | more))


def text(one: str) -> str:
    return one + MIDDLE.pem + ROOT.pem


class Machine(Box):
    """A machine of one's own whose units all run, unless they are told to fail."""

    failing: str = ""

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        if argv[:2] == ["systemctl", "show"]:
            broken = argv[-1] == self.failing and self.told[-1:] != []
            return f"ActiveState={'failed' if broken else 'active'}\nType=notify\nUnitFileState=enabled\n"
        if argv[0] == "journalctl":
            return "cannot use it\n"
        return super().run(argv, stdin=stdin)


def with_certificates_alone() -> tuple[Any, ...]:
    """The appliance's features, of which only the certificates touch the machine."""
    nothing: dict[str, Any] = {"render": lambda _tree: {}, "flows": lambda _tree: (), "checks": (), "units": ()}
    quiet = nothing | {"reconcile": None, "on_machine": lambda _tree, _system: (), "unsettled": None}
    return tuple(replace(one, **(nothing if one.name == "certificates" else quiet)) for one in FEATURES)


class Stand:
    """configd over the appliance's schema, with an administrator's session and a machine for its certificates."""

    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon(folder, with_certificates_alone())
        self.machine = Machine(self.daemon.root)
        self.daemon.machine._run = self.machine.run
        self.daemon.machine.listening = frozenset  # type: ignore[method-assign]
        self.daemon.commit(SITE)
        self.machine.told.clear()
        self.wall = Clock(TODAY.timestamp())
        self.ticks = Clock(0.0)
        self.renewal = Renewal(
            self.daemon.engine, self.daemon.gate, self.daemon.sessions, clock=self.ticks, wall_clock=self.wall
        )
        self.peer, session = self.daemon.open(ROOT_UID)
        self.handle = session.handle

    def say(self, verb: type[Any], result: Any = api.Text, **fields: Any) -> Any:
        return self.daemon.say(self.peer, verb(session=self.handle, **fields), result)

    def commit(self) -> api.Committed:
        done = self.say(api.Commit, api.Committed)
        assert isinstance(done, api.Committed)
        return done

    def request(self, service: str = "portal") -> str:
        return "\n".join(self.say(api.RequestCertificate, service=service).lines) + "\n"

    def upload(self, one: Signed, **fields: Any) -> api.Text:
        chain = packed(one, (MIDDLE, ROOT), "pass word")
        data = base64.encodebytes(chain).decode()
        done = self.say(api.UploadPkcs12, service="portal", pkcs12=data, password="pass word", **fields)
        assert isinstance(done, api.Text)
        return done

    def shown(self) -> str:
        """The first certificate that the portal shows."""
        return (self.machine.read(certificate_path("portal")) or "").partition("-----END")[0]

    def shows(self, pem: str) -> bool:
        return self.shown() == pem.partition("-----END")[0]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def problems(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        call()
    assert refused.value.refusal.kind == "invalid"
    return str(refused.value)


def test_a_request_is_signed_uploaded_committed_and_rolled_back(stand: Stand) -> None:
    """The portal shows the site's certificate, and after a rollback the one it had."""
    before = stand.shown()
    stand.say(api.SetConfig, type(None), path=("certificates", "servers", "portal", "extra_names"), value=["www.test"])
    request = stand.request()
    signed = answer(request, MIDDLE, starts=TODAY - timedelta(days=1), ends=TODAY + timedelta(days=90))
    said = stand.say(api.UploadCertificate, service="portal", certificate=text(signed))
    assert "names        gw1.example.test, www.test" in said.lines
    assert stand.shown() == before, "nothing is shown before the commit"
    assert stand.commit().changed
    assert stand.shows(signed)
    assert stand.machine.read(certificate_path("portal")) == signed + MIDDLE.pem
    assert stand.machine.owners[key_path("portal")] == "root:sentry-tls-proxy"
    stand.say(api.Rollback, api.Committed, revision=1)
    assert "Appliance CA" in stand.machine.shown("portal", "-issuer")
    stand.say(api.Rollback, api.Committed, revision=2)
    assert stand.shows(signed), "the key that was made here is still here"


def test_no_key_leaves_by_an_answer_the_audit_or_the_configuration(stand: Stand) -> None:
    own = fresh()
    stand.request()
    stand.upload(own)
    stand.commit()
    secret = own.key_pem.splitlines()[1]
    assert own.key_pem == stand.machine.read(key_path("portal"))
    told = msgspec.json.encode(stand.daemon.ledger.entries).decode()
    tree = msgspec.json.encode(stand.say(api.GetConfig, Any, path=("certificates",))).decode()
    argv = " ".join(word for call in stand.machine.calls for word in call)
    assert "certificate.upload_pkcs12" in told
    for place in (told, tree, argv):
        assert "PRIVATE" not in place
        assert secret not in place
    assert re.search(r'"key":"\*+"', tree)


REFUSALS: dict[str, tuple[Callable[[Stand], object], str]] = {
    "a key that was not made here": (
        lambda stand: stand.say(api.UploadCertificate, service="portal", certificate=text(fresh().pem)),
        "a key that was not made on this appliance",
    ),
    "ended": (lambda stand: stand.upload(fresh(-0.5)), "which ended"),
    "for another name": (lambda stand: stand.upload(fresh(names=("a.test",))), f"the alternative name {HOST}"),
    "a wrong password": (
        lambda stand: stand.say(
            api.UploadPkcs12,
            service="portal",
            pkcs12=base64.b64encode(packed(fresh(), (MIDDLE, ROOT), "right")).decode(),
            password="wrong",
        ),
        "a file that this password does not open",
    ),
    "no base64": (
        lambda stand: stand.say(api.UploadPkcs12, service="portal", pkcs12="!", password="x"),
        "no PKCS12 file in base64",
    ),
    "no PKCS12": (
        lambda stand: stand.say(api.UploadPkcs12, service="portal", pkcs12="AAAA", password="x"),
        "a file that this password does not open",
    ),
    "a chain without its root": (
        lambda stand: stand.say(
            api.UploadPkcs12,
            service="portal",
            pkcs12=base64.b64encode(packed(fresh(), (MIDDLE,), "right")).decode(),
            password="right",
        ),
        "whose issuer CN=root,O=Lab is not among them",
    ),
    "an uploaded one cannot be renewed here": (
        lambda stand: (stand.upload(fresh()), stand.commit(), stand.say(api.RenewCertificate, service="portal")),
        "was uploaded; the authority that made it makes the next",
    ),
}


@pytest.mark.parametrize(("act", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_shown_is_refused_with_words(act: Callable[[Stand], object], words: str, stand: Stand) -> None:
    assert words in problems(lambda: act(stand))


def test_a_site_configuration_with_another_certificates_key_is_refused(stand: Stand) -> None:
    """Automation brings both as text; the machine finds out before anything is written."""
    wrong = {"portal": {"certificate": text(fresh().pem), "key": fresh().key_pem}}
    stand.say(api.ReplaceConfig, type(None), tree=SITE | {"certificates": {"servers": wrong}})
    assert "certificates.servers.portal.key: found the key of another certificate" in problems(stand.commit)
    lone = {"portal": {"certificate": text(fresh().pem)}}
    stand.say(api.ReplaceConfig, type(None), tree=SITE | {"certificates": {"servers": lone}})
    assert "was not made on this appliance, and no key" in problems(stand.commit)
    old = fresh(-0.5)
    ended = {"portal": {"certificate": text(old.pem), "key": old.key_pem}}
    stand.say(api.ReplaceConfig, type(None), tree=SITE | {"certificates": {"servers": ended}})
    assert "which ended" in problems(stand.commit)


def test_only_administrators_touch_certificates(stand: Stand) -> None:
    peer = Peer(uid=1099, pid=1, connection=2)
    for verb in (
        api.RequestCertificate(session=stand.handle, service="portal"),
        api.RenewCertificate(session="x", service="client"),
    ):
        with pytest.raises(Refused):
            stand.daemon.say(peer, verb)


def test_an_upload_replaces_the_second_once_that_has_taken_over(stand: Stand) -> None:
    first, second, third = fresh(1), fresh(200), fresh(300)
    stand.upload(first)
    stand.upload(second, second=True, moment=f"{TODAY - timedelta(hours=1):%Y-%m-%dT%H:%MZ}")
    stand.commit()
    assert stand.shows(second.pem)
    stand.upload(third)
    stand.commit()
    assert stand.shows(third.pem)


# --- by itself -------------------------------------------------------------------------------------------------------


def test_the_second_takes_over_by_itself_at_its_moment(stand: Stand) -> None:
    """And everybody who is logged in is told, and the audit trail."""
    first, second = fresh(1), fresh(200)
    stand.upload(first)
    stand.upload(second, second=True)
    stand.commit()
    assert stand.shows(first.pem)
    stand.renewal.tick()
    stand.machine.told.clear()
    stand.wall.now += timedelta(days=1).total_seconds() - 1
    stand.renewal.tick()
    assert (stand.shows(first.pem), stand.machine.told) == (True, [])
    stand.wall.now += 1
    stand.renewal.tick()
    assert (stand.shows(second.pem), stand.machine.told) == (True, [PORTAL])
    assert stand.daemon.ledger.entries[-1].event == "certificate.changed"
    session = stand.say(api.Touch, api.Session)
    assert any("new certificates at" in notice and "portal" in notice for notice in session.notices)
    stand.renewal.tick()
    assert stand.machine.told == [PORTAL]


def test_own_certificates_are_renewed_within_the_hour_without_a_commit(stand: Stand) -> None:
    before = stand.shown()
    stand.renewal.tick()
    assert stand.shown() == before
    stand.wall.now += timedelta(days=380).total_seconds()
    stand.renewal.tick()
    assert stand.shown() == before, "the next look is in an hour"
    stand.ticks.now += EVERY_SECONDS
    stand.renewal.tick()
    assert stand.shown() != before


def test_a_service_that_does_not_take_it_has_the_old_one_back_and_it_is_tried_again(stand: Stand) -> None:
    first, second = fresh(1), fresh(200)
    stand.upload(first)
    stand.upload(second, second=True)
    stand.commit()
    stand.renewal.tick()
    stand.machine.told.clear()
    stand.machine.failing = PORTAL
    stand.wall.now += timedelta(days=1).total_seconds()
    stand.renewal.tick()
    assert stand.shows(first.pem)
    assert stand.machine.read(key_path("portal")) == first.key_pem
    assert (stand.daemon.ledger.entries[-1].result, "cannot use it" in stand.daemon.ledger.entries[-1].detail) == (
        "apply",
        True,
    )
    stand.machine.failing = ""
    stand.renewal.tick()
    assert stand.shows(first.pem), "not at once"
    stand.ticks.now += AGAIN_SECONDS
    stand.renewal.tick()
    assert stand.shows(second.pem)


def test_once_a_day_it_is_said_which_uploaded_certificate_is_about_to_end(stand: Stand) -> None:
    """Of the last one of a service: a second that lasts is an answer."""

    def warnings() -> list[str]:
        return [one.detail for one in stand.daemon.ledger.entries if one.event == "certificate.ending"]

    stand.upload(fresh(40))
    stand.commit()
    stand.renewal.tick()
    assert warnings() == []
    stand.wall.now += timedelta(days=11).total_seconds()
    for seconds in (EVERY_SECONDS, WARN_SECONDS, EVERY_SECONDS):
        stand.ticks.now += seconds
        stand.renewal.tick()
    assert len(warnings()) == 1
    assert warnings()[0].startswith("the certificate of portal ends ")
    stand.upload(fresh(400), second=True)
    stand.commit()
    stand.ticks.now += WARN_SECONDS
    stand.renewal.tick()
    assert len(warnings()) == 1


def test_a_moment_between_two_ticks_is_not_missed(stand: Stand) -> None:
    """Whatever came in between: a commit, or the hourly look."""
    first, second = fresh(1), fresh(200)
    stand.renewal.tick()
    stand.upload(first)
    stand.upload(second, second=True)
    stand.commit()
    stand.wall.now += timedelta(days=1).total_seconds()
    stand.renewal.tick()
    assert stand.shows(second.pem)


def test_while_a_commit_is_applied_nothing_is_renewed(stand: Stand) -> None:
    stand.wall.now += timedelta(days=380).total_seconds()
    before = stand.shown()
    with stand.daemon.engine._alone():
        stand.renewal.tick()
    assert stand.shown() == before
    stand.renewal.tick()
    assert stand.shown() != before


def test_without_a_configuration_there_is_nothing_to_do(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, with_certificates_alone())
    Renewal(daemon.engine, daemon.gate, daemon.sessions).tick()
    assert daemon.ledger.entries == []


def test_a_certificate_of_the_appliances_own_is_made_anew_on_demand(stand: Stand) -> None:
    before = stand.machine.shown("agent", "-serial")
    assert stand.say(api.RenewCertificate, service="client").lines == ("New certificates: agent.",)
    assert stand.machine.shown("agent", "-serial") != before


def test_openssl_that_fails_says_why_and_leaves_no_key_in_the_error(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(argv: list[str], *, stdin: str | None = None) -> str:
        raise CommandError(argv, 1, "-----BEGIN PRIVATE KEY-----")

    monkeypatch.setattr(stand.daemon.machine, "_run", failing)
    assert "PRIVATE" not in problems(lambda: stand.upload(fresh()))
