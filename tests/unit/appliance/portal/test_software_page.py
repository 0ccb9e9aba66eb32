"""The page about an image's software: a file of any size comes in piece by piece, orders take the person's password."""

import io
import re

import aiohttp
import yarl

from appliance.configd.software import UNIT
from appliance.portal.software_pages import PIECE_BYTES
from appliance.software.spool import Order, Slot, Slots
from tests.unit.appliance.portal.stage import Person, Stage

OWN = {"own_password": "Alice-Secret-12345"}
UPDATE = b"raucb" * (PIECE_BYTES // 4)  # a piece and a quarter


def image(stage: Stage) -> None:
    """The appliance is an image."""
    for name, text in (("usr/lib/sentry/image", "1.2.0\n"), ("proc/cmdline", "ro sentry.slot=a\n")):
        place = stage.site.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    stage.site.software.note(
        Slots(next="a", a=Slot(version="1.2.0", state="good"), b=Slot(version="1.1.0", state="bad", damage="a block"))
    )


async def bring(person: Person, *, token: str | None = None, data: bytes = UPDATE, first: bool = True) -> int:
    """Send the form as a browser does; the status."""
    await person.get("/software")
    held = re.search(r'name="token" value="([^"]+)"', person.page)
    assert held is not None
    form = aiohttp.FormData()
    if first:
        form.add_field("token", held[1] if token is None else token)
    form.add_field("update", io.BytesIO(data), filename="../../x.raucb", content_type="application/octet-stream")
    if not first:
        form.add_field("token", held[1])
    url = yarl.URL(person.url + "/software/upload")
    async with person.http.post(url, data=form, allow_redirects=False) as answer:
        return answer.status


async def test_everybody_sees_what_the_slots_hold(stage: Stage) -> None:
    image(stage)
    for name in ("alice", "olga", "albert"):
        person = await stage.person(name)
        await person.get("/software")
        assert person.status == 200
        assert "Version 1.2.0 runs from slot a" in person.text
        assert "a block" in person.text
        assert ("Upload" in person.text) == (name == "alice")


async def test_a_host_that_is_no_image_says_so(stage: Stage) -> None:
    alice = await stage.person("alice")
    await alice.get("/software")
    assert "is no image" in alice.text
    assert "Upload" not in alice.text


async def test_a_file_larger_than_any_form_is_brought_and_stands_there_as_it_was(stage: Stage) -> None:
    image(stage)
    alice = await stage.person("alice")
    assert await bring(alice) == 303
    assert stage.site.software.bundle.read_bytes() == UPDATE
    await alice.get("/software")
    assert f"An update of {len(UPDATE)} bytes is here." in alice.text


async def test_a_form_that_is_not_ours_brings_nothing(stage: Stage) -> None:
    image(stage)
    alice = await stage.person("alice")
    assert await bring(alice, token="x" * 43) == 403
    assert await bring(alice, first=False) == 403
    url = yarl.URL(alice.url + "/software/upload")
    async with alice.http.post(url, data={"token": "x"}, allow_redirects=False) as answer:
        assert answer.status == 403
    async with alice.http.post(
        url, data=b"", headers={"Origin": "https://evil.example"}, allow_redirects=False
    ) as answer:
        assert answer.status == 403
    cut = b"--x\r\nContent-Disposition: form-data; name=token\r\n\r\nabc"
    for kind, data in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"y"),
        ("multipart/form-data; boundary=x", cut),
    ):
        async with alice.http.post(url, data=data, headers={"Content-Type": kind}, allow_redirects=False) as answer:
            assert answer.status in (400, 403), kind
    assert not stage.site.software.uploaded()


async def test_others_than_administrators_bring_nothing(stage: Stage) -> None:
    image(stage)
    olga = await stage.person("olga")
    assert await bring(olga) == 403
    assert not stage.site.software.uploaded()


async def test_it_is_written_with_the_password_and_the_page_says_that_it_has_begun(stage: Stage) -> None:
    image(stage)
    alice = await stage.person("alice")
    await bring(alice)
    await alice.post("/software/update", {"older": "yes"})
    assert (alice.status, stage.site.software.order()) == (403, None)
    await alice.send("/software/update", {"older": "yes", **OWN})
    assert stage.site.software.order() == Order(kind="update", by="alice", allow_older=True)
    assert f"--no-block start {UNIT}" in stage.site.commands.acted()
    assert "Last order: update by alice, running" in alice.text
    assert "Upload" not in alice.text  # while it is written


async def test_the_way_back_takes_the_password(stage: Stage) -> None:
    image(stage)
    alice = await stage.person("alice")
    await alice.post("/software/rollback")
    assert (alice.status, stage.site.software.order()) == (403, None)
    await alice.send("/software/rollback", OWN)
    assert stage.site.software.order() == Order(kind="rollback", by="alice")


async def test_nothing_is_written_where_nothing_was_brought(stage: Stage) -> None:
    image(stage)
    alice = await stage.person("alice")
    await alice.send("/software/update", OWN)
    assert "found no update here" in alice.text
