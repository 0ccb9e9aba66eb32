"""An update over REST: brought as it is, in one request, and written by an order of its own."""

import pytest

from appliance.configd.software import UNIT
from appliance.rest.requests import PIECE_BYTES
from appliance.software.spool import Order, Slot, Slots
from tests.unit.appliance.cli.desk import SECRET
from tests.unit.appliance.rest.conftest import Answer, Stand

BUNDLE = "/api/v1/software/bundle"
UPDATE = b"raucb" * (PIECE_BYTES // 2)  # two and a half pieces
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def image(stand: Stand) -> Stand:
    """An appliance that is an image."""
    for name, text in (("usr/lib/sentry/image", "1.2.0\n"), ("proc/cmdline", "ro sentry.slot=a\n")):
        place = stand.daemon.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    stand.daemon.software.note(Slots(next="a", a=Slot(version="1.2.0", state="good")))
    return stand


def bring(stand: Stand, token: str, data: bytes = UPDATE, **headers: str) -> Answer:
    return stand.ask("PUT", BUNDLE, token, headers={**BINARY, **headers}, raw=data)


def test_it_is_brought_in_one_request_and_stands_there_as_it_was(image: Stand) -> None:
    token = image.token(scopes=("read", "services"))
    done = bring(image, token)
    assert (done.status, done.json) == (200, len(UPDATE))
    assert image.daemon.software.bundle.read_bytes() == UPDATE
    assert image.ask("GET", "/api/v1/software", token).json["uploaded"] == len(UPDATE)


def test_to_bring_it_is_not_to_write_it(image: Stand) -> None:
    token = image.token(scopes=("read", "services"))
    bring(image, token)
    assert image.ask("POST", "/api/v1/software/update", token).kind == "privilege"
    assert image.daemon.software.order() is None
    begun = image.ask("POST", "/api/v1/software/update", token, {"allow_older": True}, enable=SECRET)
    assert (begun.status, begun.json["order"]["standing"]) == (200, "running")
    assert image.daemon.software.order() == Order(kind="update", by="token:fleet", allow_older=True)
    assert f"--no-block start {UNIT}" in image.daemon.commands.acted()


def test_the_way_back_is_an_order_too(image: Stand) -> None:
    token = image.token(scopes=("services", "power"))
    assert image.ask("POST", "/api/v1/software/rollback", token).status == 200
    assert image.daemon.software.order() == Order(kind="rollback", by="token:fleet")


def test_another_type_and_nothing_are_refused_and_what_was_here_stays(image: Stand) -> None:
    token = image.token(scopes=("services",))
    bring(image, token)
    wrong = image.ask("PUT", BUNDLE, token, headers={"Content-Type": "text/plain"}, raw=b"x")
    assert (wrong.status, wrong.kind) == (415, "media")
    empty = bring(image, token, b"")
    assert (empty.status, empty.kind) == (422, "invalid")
    assert image.daemon.software.bundle.read_bytes() == UPDATE


def test_who_may_not_is_refused(image: Stand) -> None:
    for name, role in (("operator", "operator"), ("auditor", "auditor")):
        token = image.token(name, role, scopes=("read",) if role == "auditor" else ("services",))  # type: ignore[arg-type]
        assert (bring(image, token).status, bring(image, token).kind) == (403, "permission")
    assert not image.daemon.software.uploaded()


def test_a_host_that_is_no_image_says_so(stand: Stand) -> None:
    token = stand.token(scopes=("read", "services"))
    assert stand.ask("GET", "/api/v1/software", token).json["image"] is False
    refused = bring(stand, token)
    assert (refused.status, refused.kind) == (503, "unavailable")
    assert "no image" in refused.json["detail"]
