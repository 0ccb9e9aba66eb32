"""Bundles and captures over REST: made, fetched piece by piece, and who may."""

import base64

from tests.unit.appliance.cli.desk import SECRET
from tests.unit.appliance.rest.conftest import Stand

API = "/api/v1"
ENABLE = {"Sentry-Enable-Secret": SECRET}


def test_a_bundle_is_made_and_fetched_and_then_it_is_gone(stand: Stand) -> None:
    token = stand.token(scopes=("read", "configure"))
    made = stand.ask("POST", f"{API}/support/bundle", token, {})
    assert (made.status, made.json["kind"]) == (200, "bundle")
    place, data = f"{API}/downloads/{made.json['name']}/fetch", b""
    while True:
        piece = stand.ask("POST", place, token, {"offset": len(data)})
        assert piece.status == 200
        if not piece.json["content"]:
            break
        data += base64.b64decode(piece.json["content"])
    assert len(data) == made.json["size"]
    gone = stand.ask("POST", place, token, {})
    assert (gone.status, "found no file" in gone.json["detail"]) == (422, True)


def test_one_that_nobody_wants_is_dropped(stand: Stand) -> None:
    token = stand.token(scopes=("read", "configure"))
    name = stand.ask("POST", f"{API}/support/bundle", token, {}).json["name"]
    assert stand.ask("GET", f"{API}/facts/downloads", token).json["rows"][0][0] == name
    assert stand.ask("DELETE", f"{API}/downloads/{name}", token).status == 204
    assert stand.ask("GET", f"{API}/facts/downloads", token).json["rows"] == []


def test_whole_packets_need_the_enable_secret_or_a_token_for_accounts(stand: Stand) -> None:
    token = stand.token(scopes=("read", "configure"))
    asked = {"interface": "mgmt0", "whole": True}
    refused = stand.ask("POST", f"{API}/captures/start", token, asked)
    assert (refused.status, refused.kind) == (403, "privilege")
    assert stand.ask("POST", f"{API}/captures/start", token, asked, headers=ENABLE).status == 200
    assert stand.ask("POST", f"{API}/captures/start", token, {"interface": "mgmt0"}).status == 409


def test_only_an_administrator_s_token_for_it(stand: Stand) -> None:
    reader = stand.token("reader", "auditor")
    operator = stand.token("operator", "operator")
    for token in (reader, operator):
        for path, body in (
            ("/support/bundle", {}),
            ("/captures/start", {"interface": "mgmt0"}),
            ("/captures/stop", {}),
        ):
            assert stand.ask("POST", f"{API}{path}", token, body).status == 403
