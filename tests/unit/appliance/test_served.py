"""Which certificate is shown when: by the clock alone, and put in place by the real openssl and install's words."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import chains, keyring, pki, served
from appliance.features.base import Tree
from appliance.features.tls import certificate_path, key_path
from tests.site_pki import HOST, Signed, answer, authority, server
from tests.unit.appliance.test_pki import Box, tree

# openssl dates what it makes by the real clock, so these days are counted from it.
NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = authority("root")
MIDDLE = authority("middle", ROOT)
FIRST = server(MIDDLE, starts=NOW - timedelta(days=2), ends=NOW + timedelta(days=10))
SECOND = server(MIDDLE, starts=NOW - timedelta(days=2), ends=NOW + timedelta(days=100))
LATER = server(MIDDLE, starts=NOW + timedelta(days=12), ends=NOW + timedelta(days=100))
EARLIER = NOW.replace(second=0) + timedelta(days=4)
FROM, FAR = (f"{when:%Y-%m-%dT%H:%MZ}" for when in (EARLIER, EARLIER + timedelta(days=50)))


def text(one: Signed) -> str:
    return one.pem + MIDDLE.pem + ROOT.pem


def portal_with(**settings: Any) -> dict[str, Any]:
    """A tree whose portal's certificate has these settings."""
    made: dict[str, Any] = {**tree(hostname=HOST)}
    plain = {"issuer": "own", "key_type": "p256", "extra_names": []}
    servers = {name: dict(plain) for name in served.SERVICES.values()}
    servers["portal"] |= settings
    return made | {"certificates": {**made["certificates"], "servers": servers}, "uem": {"mode": "embedded"}}


def two(second: Signed = SECOND, moment: str = "") -> dict[str, Any]:
    made = {"certificate": text(second), "key": "secret:2", **({"from": moment} if moment else {})}
    return portal_with(certificate=text(FIRST), key="secret:1", second=made)


def which(tree: Tree, now: datetime) -> str:
    found = served.choice(tree, "portal", now)
    return found.which if found else "own"


def test_without_an_upload_it_is_the_appliances_own() -> None:
    assert which(portal_with(), NOW) == "own"
    assert served.next_change(portal_with(), NOW) is None
    assert which(portal_with(certificate=text(FIRST)), NOW + timedelta(days=999)) == "first"


@pytest.mark.parametrize(
    ("tree", "takeover"),
    [
        (two(), NOW + timedelta(days=10)),
        (two(moment=FROM), EARLIER),
        (two(moment=FAR), NOW + timedelta(days=10)),
        (two(LATER), NOW + timedelta(days=12)),
        (two(LATER, FROM), NOW + timedelta(days=12)),
    ],
    ids=["when the first ends", "at its minute", "not later than the first", "not before it holds", "nor then"],
)
def test_the_second_takes_over_at_its_moment(tree: Tree, takeover: datetime) -> None:
    """Not a second earlier, and it stays."""
    second = timedelta(seconds=1)
    assert served.next_change(tree, NOW) == takeover
    assert which(tree, takeover - second) == "first"
    assert [which(tree, takeover + step) for step in (0 * second, second, timedelta(days=500))] == ["second"] * 3
    assert served.next_change(tree, takeover) is None


@given(st.timedeltas(timedelta(days=-200), timedelta(days=400)), st.booleans())
def test_there_is_one_change_and_it_is_foretold(since: timedelta, stated: bool) -> None:  # noqa: FBT001 - drawn
    """Whoever looks at the foretold moment and no earlier misses nothing."""
    held, now = two(moment=FROM if stated else ""), NOW + since
    coming = served.next_change(held, now)
    assert (coming is None) == (which(held, now) == "second")
    assert coming is None or (which(held, coming - timedelta(seconds=1)), which(held, coming)) == ("first", "second")


# --- put in place ----------------------------------------------------------------------------------------------------


@pytest.fixture
def box(tmp_path: Path) -> Box:
    held = Box(tmp_path)
    held.secrets = {"secret:1": FIRST.key_pem, "secret:2": SECOND.key_pem}
    pki.ensure(portal_with(), held, clock=lambda: NOW)
    held.told.clear()
    return held


def test_an_uploaded_certificate_and_its_key_lie_in_their_places_and_the_service_is_told(box: Box) -> None:
    assert pki.ensure(two(), box, clock=lambda: NOW) == ("portal",)
    assert box.read(certificate_path("portal")) == FIRST.pem + MIDDLE.pem
    assert box.read(key_path("portal")) == FIRST.key_pem
    assert (box.owners[key_path("portal")], box.place(key_path("portal")).stat().st_mode & 0o777) == (
        "root:sentry-tls-proxy",
        0o640,
    )
    assert box.told == ["sentry-tls-proxy.service"]
    assert pki.ensure(two(), box, clock=lambda: NOW) == ()


def test_the_second_takes_over_and_after_a_way_back_the_own_one_is_shown_again(box: Box) -> None:
    assert pki.ensure(two(), box, clock=lambda: NOW) == ("portal",)
    assert pki.ensure(two(), box, clock=lambda: NOW + timedelta(days=9)) == ()
    assert pki.ensure(two(), box, clock=lambda: NOW + timedelta(days=10)) == ("portal",)
    assert box.read(certificate_path("portal")) == SECOND.pem + MIDDLE.pem
    assert box.read(key_path("portal")) == SECOND.key_pem
    assert pki.ensure(portal_with(), box, clock=lambda: NOW) == ("portal",)
    assert "Appliance CA" in box.shown("portal", "-issuer")


def test_a_lost_or_foreign_key_of_an_uploaded_certificate_heals(box: Box) -> None:
    pki.ensure(two(), box, clock=lambda: NOW)
    box.place(key_path("portal")).write_text(SECOND.key_pem)
    assert pki.ensure(two(), box, clock=lambda: NOW) == ("portal",)
    assert box.read(key_path("portal")) == FIRST.key_pem


def test_a_request_is_answered_by_a_certificate_without_a_key(box: Box) -> None:
    """The key is made here, is root's alone until its certificate is shown, and is in no argument list."""
    names = ("DNS:gateway.lab.test", "DNS:mail.lab.test", "IP:192.0.2.7")
    request = keyring.make_request("portal", "p384", {"country": "DE", "organization": "Lab GmbH"}, names, box)
    assert keyring.pending("portal", box) == request
    (key,) = box.place(keyring.RING).glob("*.key")
    assert (key.stat().st_mode & 0o777, box.place(keyring.RING).stat().st_mode & 0o777) == (0o600, 0o700)
    assert key.stem == chains.name_of_request(request) == chains.name_of_private(key.read_text())
    held = portal_with(certificate=answer(request, MIDDLE, ends=NOW + timedelta(days=9)) + MIDDLE.pem + ROOT.pem)
    chain = chains.read(held["certificates"]["servers"]["portal"]["certificate"])
    assert chains.names_of(chain[0]) == ("gateway.lab.test", "mail.lab.test", "192.0.2.7")
    assert chains.key_kind(chain[0].public_key()) == "p384"
    assert keyring.key_for(chain, box) == key.read_text()
    assert pki.ensure(held, box, clock=lambda: NOW) == ("portal",)
    assert box.read(key_path("portal")) == key.read_text()
    assert keyring.pending("portal", box) == ""
    words = [word for argv in box.calls for word in argv]
    assert not [word for word in words if "PRIVATE" in word]


@pytest.mark.parametrize("kind", keyring.KINDS)
def test_keys_of_every_type_are_made(kind: str, box: Box) -> None:
    request = keyring.make_request("gateway", kind, {}, ("DNS:gateway.lab.test",), box)
    found = keyring.key_for(chains.read(answer(request, ROOT) + ROOT.pem), box)
    assert found is not None
    assert pki.ensure(portal_with(key_type=kind), box, clock=lambda: NOW) == (("portal",) if kind != "p256" else ())
    shown = box.shown("portal", "-text")
    assert {"p256": "P-256", "p384": "P-384", "rsa3072": "(3072 bit)", "rsa4096": "(4096 bit)"}[kind] in shown
    assert pki.ensure(portal_with(key_type=kind), box, clock=lambda: NOW) == ()


def test_the_oldest_keys_are_forgotten_but_none_that_is_needed(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "KEYS", 2)
    requests = [keyring.make_request("portal", "p256", {}, ("DNS:a.test",), box) for _ in range(5)]
    names = [chains.name_of_request(request) for request in requests]
    tree = portal_with(certificate=answer(requests[0], ROOT) + ROOT.pem)
    keep = keyring.needed([tree], ("portal", "gateway"), box)
    assert keep >= {names[0], names[4]}
    keyring.forget(keep, box)
    left = {place.stem for place in box.place(keyring.RING).glob("*.key")}
    assert {names[0], names[4]} <= left
    assert len(left) == 3


def test_a_certificate_that_signs_itself_is_made_once_and_gives_way_to_the_authoritys(box: Box) -> None:
    alone = portal_with(issuer="self_signed", extra_names=["www.lab.test", "192.0.2.9"])
    assert pki.ensure(alone, box, clock=lambda: NOW) == ("portal",)
    assert pki.ensure(alone, box, clock=lambda: NOW) == ()
    subject, issuer = (box.shown("portal", asked).partition("=")[2] for asked in ("-subject", "-issuer"))
    assert subject == issuer
    assert "DNS:www.lab.test, IP Address:192.0.2.9" in box.shown("portal", "-ext", "subjectAltName")
    assert pki.ensure(portal_with(), box, clock=lambda: NOW) == ("portal",)


def test_what_is_wanted_anew_is_made_anew_and_nothing_else(box: Box) -> None:
    before = box.shown("agent", "-serial")
    assert pki.ensure(portal_with(), box, clock=lambda: NOW, anew=("agent",)) == ("agent",)
    assert box.shown("agent", "-serial") != before


def test_the_port_for_a_uem_on_another_machine_has_the_appliances_names() -> None:
    (leaf,) = [one for one in pki.LEAVES if one.name == "uem-push"]
    core = portal_with() | {"uem": {"mode": "core"}}
    assert pki.names(leaf, core)[:2] == ("DNS:gateway.lab.test", "DNS:gateway")
    assert pki.names(leaf, portal_with()) == ("DNS:localhost", "IP:127.0.0.1")
