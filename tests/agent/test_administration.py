"""The administrators' REST and command line, over certificates and over the Unix socket: who may, and what comes of it."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from sentry_runtime.settings import Administrator, Settings, UemSettings
from sentry_runtime.tls import client_context
from sentry_runtime.uem_server.__main__ import main
from sentry_runtime.uem_server.admin_api import BASE
from tests.agent.conftest import MakeStage
from tests.agent.stage import ME, Stage
from tests.agent.test_start import ends

ANNA = "anna@lab.test"
KINDS = ("users", "labels", "tunnels", "sentrys")
SHEETS = ("users", "labels", "devices")
ROUTES = [
    ("GET", "status"),
    ("GET", "devices"),
    ("POST", "devices/register"),
    *((method, kind) for method in ("GET", "PUT", "DELETE") for kind in KINDS),
    *((method, f"sheets/{kind}") for method in ("GET", "POST") for kind in SHEETS),
]
FOR_SENTRYS = [("GET", "/v1/decisions"), ("GET", "/v1/digests"), ("POST", "/v1/contacts"), ("POST", "/v1/wipes")]


@pytest.fixture
def administered(make_stage: MakeStage) -> Stage:
    """A UEM runs; whoever has the certificate `boss` administers it."""
    made = make_stage()
    uem = made.settings.uem_server
    assert uem is not None
    uem = msgspec.structs.replace(uem, administrators=(Administrator(name="olga", subject="CN=boss"),))
    made.settings = msgspec.structs.replace(made.settings, uem_server=uem)
    made.uem()
    return made


def call(stage: Stage, name: str, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """One request with this certificate; status, and the answer's JSON or text."""
    context = client_context(stage.pki.client(name))
    peer = http.client.HTTPSConnection("127.0.0.1", stage.uem_port, context=context, timeout=20)
    try:
        peer.request(method, path, body=body)
        response = peer.getresponse()
        text = response.read()
        kind = response.headers.get("Content-Type", "")
        return response.status, json.loads(text) if "json" in kind else text.decode()
    finally:
        peer.close()


def admin(stage: Stage, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """The administrator's request."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return call(stage, "boss", method, f"{BASE}/{path}", data)


@pytest.mark.parametrize("name", ["agent", "uem-client", "edge"])
def test_no_other_certificate_of_the_authority_administers(administered: Stage, name: str) -> None:
    """A Sentry's neither. That is audited: once a minute, however often it is tried."""
    with administered.audit() as audit:
        for method, path in ROUTES:
            status, said = call(administered, name, method, f"{BASE}/{path}", b"{}")
            assert (status, said["title"]) == (403, "not for you"), (method, path)
        lines = [line for line in audit.until("uem_caller_refused") if line["event"] == "uem_caller_refused"]
    (line,) = lines
    method, path = ROUTES[0]
    why = f"certificate 'CN={name}' is not that of an administrator of this UEM"
    assert line["detail"] == f"127.0.0.1: {why}, {method} {BASE}/{path}"


@pytest.mark.parametrize("name", ["boss", "uem-client", "edge"])
def test_who_is_no_sentry_asks_nothing_of_what_sentrys_ask(administered: Stage, name: str) -> None:
    """An administrator neither, and nobody learns what paths there are."""
    for method, path in (*FOR_SENTRYS, ("GET", "/nowhere"), ("GET", "/v1/%61dmin"), ("GET", "/v1/../admin/v1/users")):
        assert call(administered, name, method, path, b"{}")[0] == 403, path


def test_an_administrator_in_the_settings_is_served_on_every_route(administered: Stage) -> None:
    """None is left out of the table above."""
    assert {status for status, _ in (admin(administered, method, path, b"{}") for method, path in ROUTES)} <= {
        200,
        400,
        404,
    }
    assert admin(administered, "GET", "nowhere")[0] == 403  # it is nobody's
    assert admin(administered, "POST", "devices/explode", {})[0] == 404
    assert admin(administered, "PATCH", "users", {})[0] in {403, 405}


def test_everything_is_put_listed_and_deleted(administered: Stage) -> None:
    """What is put twice is there once."""
    things: dict[str, tuple[dict[str, Any], str]] = {
        "labels": ({"name": "staff", "description": "All", "rank": 5}, "staff"),
        "users": ({"principal": "LAB.TEST\\Anna", "full_name": "Anna", "labels": ["staff"]}, ANNA),
        "tunnels": ({"name": "wiki", "host": "wiki.lab.test", "port": 443, "labels": ["staff"]}, "wiki"),
        "sentrys": ({"name": "edge", "subject": "CN=edge"}, "edge"),
    }
    for kind, (thing, _) in things.items():
        assert [admin(administered, "PUT", kind, thing) for _ in range(2)] == [(204, "")] * 2
    assert admin(administered, "GET", "users")[1] == [{"principal": ANNA, "full_name": "Anna", "labels": ["staff"]}]
    assert [one["name"] for one in admin(administered, "GET", "sentrys")[1]] == ["box", "edge"]
    assert admin(administered, "GET", "tunnels")[1][0]["labels"] == ["staff"]
    assert call(administered, "edge", "GET", "/v1/decisions")[0] == 200
    for kind, (_, name) in things.items():
        assert admin(administered, "DELETE", f"{kind}?name={name}") == (204, "")
        assert admin(administered, "DELETE", f"{kind}?name={name}")[0] == 404
    assert call(administered, "edge", "GET", "/v1/decisions")[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "why"),
    [
        ("PUT", "users", {"principal": "a", "colour": 1}, 400, "unknown field `colour`"),
        ("PUT", "users", {"principal": "a", "labels": ["a", "b c"]}, 400, "`$.labels[1]`"),
        ("PUT", "users", {"principal": "no name"}, 400, "a principal is"),
        ("PUT", "users", {"principal": "a", "labels": ["none"]}, 400, "there is no label 'none' - at `$.labels`"),
        ("PUT", "labels", {"name": "a", "rank": -1}, 400, "`$.rank`"),
        ("PUT", "labels", {"name": "a", "policy": "none"}, 400, "there is no policy 'none'"),
        ("PUT", "tunnels", {"name": "a", "host": "UPPER", "port": 1}, 400, "`$.host`"),
        ("PUT", "tunnels", {"name": "a", "host": "a", "port": 0}, 400, "`$.port`"),
        ("PUT", "sentrys", {"name": "a", "subject": "CN=agent"}, 400, "that of Sentry box - at `$.subject`"),
        ("PUT", "sentrys", {"name": "a", "subject": "CN=a", "push_url": "http://a"}, 400, "`$.push_url`"),
        ("PUT", "sentrys", {"name": "box", "subject": "CN=a"}, 400, "in the settings"),
        ("POST", "devices/wipe", {"device_id": "C9", "principal": "a"}, 404, "device C9 of a is not known"),
        ("POST", "devices/flag", {"device_id": "C9", "principal": "a"}, 400, "missing required field `cause`"),
        (
            "POST",
            "devices/flag",
            {"device_id": "C9", "principal": "a", "cause": "manual", "holds": True},
            400,
            "`cause` is one of",
        ),
        ("GET", "devices?limit=0", None, 400, "`limit` is 1 to 500, found '0'"),
        ("POST", "sheets/users", b"principal\na,b\n", 400, "line 2: 1 cells are wanted, found 2"),
        ("PUT", "users", b"\xff", 400, ""),
    ],
)
def test_what_is_wrong_is_named(administered: Stage, method: str, path: str, body: Any, status: int, why: str) -> None:
    """By its place, and nothing of it stands."""
    answered, said = admin(administered, method, path, body)
    assert (answered, why in said["detail"]) == (status, True), said
    assert admin(administered, "GET", "users")[1] == []
    assert admin(administered, "GET", "status")[1]["devices"] == 0


def test_a_device_is_told_words_and_after_a_wipe_only_remove(administered: Stage) -> None:
    """Each word is audited under the administrator's name."""
    device = {"device_id": "c1", "principal": ANNA}
    with administered.audit() as audit:
        status, now = admin(
            administered, "POST", "devices/register", {**device, "device_type": "iPhone", "note": "hers"}
        )
        assert (status, now["state"], now["registered"], now["note"]) == (200, "allowed", True, "hers")
        lines = [*audit.until("uem_said")[-1:], *audit.until("uem_changed")]
        assert [(line["event"], line["by"], line["device_id"]) for line in lines] == [
            ("uem_said", "olga", "C1"),
            ("uem_changed", "olga", "C1"),
        ]
    wiped = admin(administered, "POST", "devices/wipe", {**device, "kind": "account", "note": "lost"})[1]
    assert (wiped["state"], wiped["wipe"]["kind"], wiped["wipe"]["by"]) == ("wipe_pending", "account", "olga")
    for verb in ("register", "allow", "block", "remove"):
        assert admin(administered, "POST", f"devices/{verb}", device)[0] == 409
    assert admin(administered, "POST", "devices/cancel-wipe", device)[1]["state"] == "allowed"
    assert admin(administered, "POST", "devices/remove", device) == (204, "")


def test_sheets_go_out_and_in(administered: Stage) -> None:
    """The same again changes nothing; a formula does not leave as one."""
    devices = b"device_id,principal,note\nc1,anna@lab.test,=1+1\nC2,bert,\n"
    assert admin(administered, "POST", "sheets/devices", devices) == (200, {"lines": 2})
    status, text = admin(administered, "GET", "sheets/devices")
    assert (status, text.splitlines()[1]) == (200, "C1,anna@lab.test,,'=1+1,yes,,,,,,0")
    assert admin(administered, "POST", "sheets/devices", text.encode()) == (200, {"lines": 2})
    assert {one.get("note", "") for one in admin(administered, "GET", "devices")[1]["devices"]} == {"=1+1", ""}
    assert admin(administered, "GET", "sheets/users")[1] == "principal,full_name,labels\r\n"


def test_a_sheet_that_is_too_long_is_refused_before_it_is_whole(administered: Stage) -> None:
    """Nobody fills the memory."""
    status, said = admin(administered, "POST", "sheets/users", b"principal\n" + b"a" * (8 * 1_048_576))
    assert (status, said["detail"]) == (400, "a sheet has at most 8388608 bytes; more come in another one")


def test_on_the_uems_own_machine_the_account_decides(make_stage: MakeStage) -> None:
    """The kernel says who calls; certificates play no part there, and Sentrys' paths are not there at all."""
    stage = make_stage()
    stage.start("uem_server", "--admin-user", "nobody")
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(Path(stage.paths.uem_admin).with_name("rest.sock")))
        peer.sendall(b"GET /admin/v1/users HTTP/1.1\r\nHost: uem\r\nConnection: close\r\n\r\n")
        with peer.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 403 Forbidden\r\n"
    assert Path(stage.paths.uem_admin).with_name("rest.sock").stat().st_mode & 0o777 == 0o660


def test_the_command_line_does_it_all(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Over the socket; each thing is a line of JSON."""
    stage.uem()
    path = stage.folder / "users.csv"
    path.write_text("principal,full_name,labels\nbert,Bert,staff\n")

    def run(*words: str) -> list[Any]:
        with pytest.raises(SystemExit) as ended:
            main(["--socket", str(stage.folder / "rest.sock"), *words])
        said = capsys.readouterr()
        assert (ended.value.code, said.err) == (0, "")
        return [json.loads(line) for line in said.out.splitlines()]

    assert run("labels", "put", "staff", "--rank", "3", "--description", "All") == []
    assert run("users", "put", "Anna@Lab.Test", "--full-name", "Anna", "--label", "staff") == []
    assert run("sheets", "import", "users", str(path)) == [{"lines": 1}]
    assert [one["principal"] for one in run("users", "list")] == [ANNA, "bert"]
    assert run("tunnels", "put", "wiki", "wiki.lab.test", "443", "--label", "staff") == []
    assert run("sentrys", "put", "edge", "CN=edge", "--push-url", "https://edge.lab.test:9090") == []
    (phone,) = run("devices", "register", "c1", ANNA, "--type", "iPhone", "--note", "hers")
    assert (phone["labels"], phone["tunnels"][0]["host"]) == (["staff"], "wiki.lab.test")
    (told,) = run("devices", "report", "c1", ANNA, "--platform", "ios", "--os-version", "17.5", "--encrypted", "yes")
    assert told["posture"] == {"platform": "ios", "os_version": "17.5", "encrypted": True}
    assert run("devices", "flag", "c1", ANNA, "compromised")[0]["reasons"] == ["compromised"]
    assert run("devices", "clear", "c1", ANNA, "compromised")[0]["state"] == "allowed"
    run("devices", "register", "s1", ANNA)
    assert run("devices", "block", "c2", ANNA)[0]["state"] == "blocked"
    assert run("devices", "link", "c2", ANNA, "s1", ANNA)[0]["linked_to"] == {"device_id": "S1", "principal": ANNA}
    assert run("devices", "unlink", "c2", ANNA)[0]["reasons"] == ["unregistered"]
    assert run("devices", "label", "c1", ANNA, "--label", "staff")[0]["own_labels"] == ["staff"]
    assert run("devices", "wipe", "c1", ANNA, "--account-only")[0]["state"] == "wipe_pending"
    assert run("devices", "cancel-wipe", "c1", ANNA)[0]["state"] == "allowed"
    assert run("devices", "revert-policy", "c1", ANNA)[0]["state"] == "allowed"
    assert run("devices", "remove", "c2", ANNA) == []
    assert [one["device_id"] for one in run("devices", "list")] != []
    assert run("devices", "list", "c1")[0]["device_id"] == "C1"
    assert run("status") == [
        {"devices": 2, "version": run("status")[0]["version"], "licence": "platinum", "by_state": {"allowed": 2}}
    ]
    for words in (("tunnels", "delete", "wiki"), ("users", "delete", "bert"), ("sentrys", "delete", "edge")):
        assert run(*words) == []


def test_the_command_line_says_what_is_wrong(administered: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with exit code 1; over the port as over the socket."""
    client = administered.pki.client("boss")
    remote = [
        f"--url=https://127.0.0.1:{administered.uem_port}",
        f"--trust={client.trust}",
        f"--certificate={client.certificate}",
        f"--key={client.key}",
    ]
    for words, why in (
        ([*remote, "labels", "put", "a", "--policy", "no"], "not taken: there is no policy 'no'"),
        ([*remote, "users", "delete", "no"], "no such thing: there is none of the users called 'no'"),
        ([remote[0], "status"], "--url goes with --trust, --certificate and --key"),
        (["--url=http://127.0.0.1", *remote[1:], "status"], "--url is https://HOST:PORT, found 'http://127.0.0.1'"),
        ([f"--socket={administered.folder}/none", "status"], f"{administered.folder}/none: No such file or directory"),
        ([*remote, "sheets", "import", "users", "/none.csv"], "[Errno 2] No such file or directory: '/none.csv'"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        assert (ended.value.code, said.err.startswith(f"sentry-uem: {why}")) == (1, True), said.err


def test_settings_that_name_two_the_same_are_refused(stage: Stage) -> None:
    """Nobody is a Sentry and an administrator at once."""
    uem = stage.settings.uem_server
    assert uem is not None
    twice = msgspec.structs.replace(uem, administrators=(Administrator(name="olga", subject="CN=agent"),))
    path = stage.write(msgspec.structs.replace(stage.settings, uem_server=twice))
    code, words = ends("uem_server", path)
    assert (code, words) == (
        78,
        "sentry-uem: uem_server: subject of sentrys and administrators: 'CN=agent' is there twice\n",
    )


def test_a_machine_that_is_nothing_but_a_uem_has_settings_of_its_own(stage: Stage) -> None:
    """With what it needs, and no gateway."""
    assert stage.settings.uem_server is not None
    own = UemSettings(uem_server=stage.settings.uem_server, paths=stage.paths)
    stage.settings = cast("Settings", own)
    stage.start("uem_server", "--alone", "--admin-user", ME)
    assert call(stage, "agent", "GET", "/v1/decisions")[0] == 200
    path = stage.write(stage.settings)
    code, words = ends("uem_server", path)
    assert (code, words) == (78, f"sentry-uem: {path}: Object missing required field `gateway`\n")
