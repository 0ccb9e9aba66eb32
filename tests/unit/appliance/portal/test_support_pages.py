"""Files that are taken away by the portal: made, downloaded once, and captures with the password given again."""

import tarfile
from io import BytesIO

import msgspec
import yarl

from appliance.capture.request import PLACE, RESULT, UNIT, Request
from appliance.support.shelf import PIECE_BYTES
from tests.unit.appliance.portal.stage import Person, Stage, seen
from tests.unit.appliance.workbench import PASSWORDS


async def downloaded(person: Person, name: str) -> tuple[int, dict[str, str], bytes]:
    """The file as a browser gets it."""
    await person.get("/support")
    form = {"name": name, "token": seen(person.page).value("token") or ""}
    async with person.http.post(yarl.URL(f"{person.url}/support/fetch"), data=form, allow_redirects=False) as answer:
        return answer.status, dict(answer.headers), await answer.read()


async def test_a_bundle_is_made_downloaded_and_gone(stage: Stage) -> None:
    alice = await stage.person("alice")
    await alice.send("/support/bundle")
    (laid,) = stage.site.shelf.all()
    assert f"{laid.name} is made" in alice.text
    status, headers, data = await downloaded(alice, laid.name)
    assert (status, headers["Content-Disposition"]) == (200, f'attachment; filename="{laid.name}"')
    assert headers["Content-Type"] == "application/octet-stream"
    assert len(data) == laid.size
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        assert "sentry-support/README.txt" in archive.getnames()
    assert stage.site.shelf.all() == ()
    status, _headers, _data = await downloaded(alice, laid.name)
    assert status == 422


async def test_a_large_file_comes_whole(stage: Stage) -> None:
    data = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"
    name = stage.site.shelf.put("capture", data).name
    alice = await stage.person("alice")
    status, _headers, got = await downloaded(alice, name)
    assert (status, got) == (200, data)
    assert stage.site.shelf.all() == ()


async def test_what_is_not_wanted_is_deleted(stage: Stage) -> None:
    name = stage.site.shelf.put("bundle", b"x").name
    alice = await stage.person("alice")
    await alice.send("/support/drop", {"name": name})
    assert f"{name} is deleted" in alice.text
    assert stage.site.shelf.all() == ()
    await alice.post("/support/drop", {"name": "../config/running.json"})
    assert alice.status == 422


async def test_whole_packets_are_captured_for_who_gives_the_password_again(stage: Stage) -> None:
    """The form's fields survive the question."""
    alice = await stage.person("alice")
    form = {
        "interface": "mgmt0",
        "protocol": "tcp",
        "host": "192.0.2.10",
        "port": "443",
        "seconds": "30",
        "whole": "yes",
    }
    await alice.get("/support")
    await alice.post("/support/capture", form)
    assert alice.status == 403
    kept = {name: seen(alice.page).value(name) for name in form}
    assert kept == form
    await alice.send("/support/capture", {**form, "own_password": PASSWORDS["alice"]})
    assert "Capturing: mgmt0 tcp host 192.0.2.10 port 443 30 s whole packets" in alice.text
    request = msgspec.json.decode(stage.site.text(PLACE) or "", type=Request)
    assert (request.whole, request.user) == (True, "alice")
    place = stage.site.root / RESULT.lstrip("/")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"packets")
    stage.site.commands.units[UNIT] = "inactive"
    await alice.send("/support/capture/stop")
    assert "The capture has ended" in alice.text
    assert [one.kind for one in stage.site.shelf.all()] == ["capture"]


async def test_what_may_not_be_captured_is_said_in_its_place(stage: Stage) -> None:
    alice = await stage.person("alice")
    for form, said in (
        ({"interface": "lo"}, "allowed: mgmt0"),
        ({"interface": "mgmt0", "port": "http"}, "allowed: a whole number"),
        ({"interface": "mgmt0", "host": "mail or port 22"}, "allowed: an IPv4 or IPv6 address"),
        ({"interface": "mgmt0", "seconds": "99999"}, "allowed: 1 to 300"),
    ):
        await alice.get("/support")
        await alice.post("/support/capture", form)
        assert alice.status == 422, form
        assert said in alice.text
    await alice.get("/support")
    await alice.post("/support/capture", {"interface": "mgmt0", "protocol": "tcp or udp"})
    assert alice.status == 400
    assert stage.site.text(PLACE) is None
