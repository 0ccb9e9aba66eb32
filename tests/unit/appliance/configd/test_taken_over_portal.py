"""A portal that somebody has taken over, at configd's real socket: it has the portal's account, its connections and its
sessions' handles, and gets no further than those sessions."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from appliance.configd import api, scopes
from appliance.configd.gate import SESSIONLESS
from appliance.configd.server import Server
from appliance.configd.sessions import Peer
from tests.unit.appliance.configd.people import ENABLE, TREE, privileged
from tests.unit.appliance.workbench import ALICE, PASSWORDS, PORTAL, PROXY, Daemon

REPO = Path(__file__).parents[4]
GROUP = 54_399
INTRUDER = Path(__file__).with_name("intruder_program.py")
LOOKS = {
    "session.touch", "session.close", "config.get", "config.revisions", "config.compare", "state.show", "devices.search",
    "device.explain", "stig.scan", "stig.report", "software.status", "log.follow",
}  # fmt: skip
CLOSED = {
    "session.enable", "session.disable", "session.reauthenticate_certificate", "config.replace", "system.clock", "state.health",
    "config.read", "config.merge", "state.metrics",
    "backup.export", "backup.restore", "stig.fact",
}  # fmt: skip
RISKY = {
    "user.password", "user.own_password", "user.enable_secret", "system.power",
    "certificate.upload", "certificate.upload_pkcs12", "certificate.renew", "uem.enrol", "token.create", "token.revoke",
    "software.update", "software.rollback",
}  # fmt: skip
GUESSED = {"session.reauthenticate"}

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may play another account")

Answers = list[dict[str, Any]]


class Stage:
    """configd at its socket, and programs that run as the portal's account."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "configd.sock"
        self.daemon = Daemon(folder / "box")
        self.daemon.commit(TREE)

    async def intrude(self, lines: list[bytes], *, uid: int = PORTAL, mode: str = "") -> Answers:
        """Send the lines from a process of that account, in the socket's group; what came back, one each."""
        argv = [sys.executable, str(INTRUDER), str(self.socket), str(uid), str(GROUP), *filter(None, [mode])]
        done = await asyncio.to_thread(
            subprocess.run, argv, input=b"".join(line + b"\n" for line in lines), capture_output=True, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    async def say(self, *verbs: Any, uid: int = PORTAL) -> list[str]:
        """As `intrude`, for verbs: `ok` or the refusal's kind."""
        answers = await self.intrude([msgspec.json.encode(verb) for verb in verbs], uid=uid)
        return [answer["refusal"]["kind"] if answer.get("refusal") else "ok" for answer in answers]

    async def with_token(self, token: str, verbs: list[Any]) -> list[str]:
        """As `say`, in one connection after the token; the handle in the verbs is HANDLE."""
        opening = api.LoginToken(token=token, source="192.0.2.7")
        lines = [msgspec.json.encode(verb) for verb in (opening, *verbs)]
        answers = await self.intrude(lines, mode="one")
        return [answer["refusal"]["kind"] if answer.get("refusal") else "ok" for answer in answers]

    def token(self, name: str, *scopes: api.Scope) -> str:
        """One that alice gives out on the command line."""
        peer, handle = privileged(self.daemon, connection=77)
        verb = api.CreateToken(session=handle, name=name, role="administrator", scopes=scopes)
        made = self.daemon.say(peer, verb, api.NewToken)
        self.daemon.say(peer, api.CloseSession(session=handle))
        return str(made.token)

    async def log_in(self, user: str = "alice") -> str:
        """The portal's session of a person who logged in; its handle."""
        login = api.Login(user=user, password=PASSWORDS[user], source="192.0.2.7")
        (answer,) = await self.intrude([msgspec.json.encode(login)])
        return str(answer["result"]["handle"])


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - pytest's own folders are closed to other users
        made = Stage(Path(folder))
        stop, ready = asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(Server(made.daemon.gate, made.daemon.watch, made.socket).serve(stop, ready=ready))
        await ready.wait()
        os.chown(made.socket, 0, GROUP)
        yield made
        stop.set()
        await serving


def every_verb(handle: str) -> list[Any]:
    """One message of each kind, with this session: whatever they ask for, it is well-formed."""
    texts = {"user": "alice", "password": "Another-Secret-12345", "secret": ENABLE, "device_id": "A", "principal": "a"}
    made = []
    for verb in get_args(api.Verb):
        if verb in SESSIONLESS:
            continue
        fields: dict[str, Any] = {"session": handle}
        for field in msgspec.structs.fields(verb):
            if not field.required or field.name == "session":
                continue
            choices = get_args(field.type) if "Literal" in str(field.type) else ()
            fields[field.name] = {
                "path": ("name",), "value": "box", "tree": {}, "topic": "timeout", "revision": 1, "holds": True,
                "policy": None, "before": 1, "after": 1, "patch": {}, "offset": 0, "data": "",
            }.get(field.name, texts.get(field.name, choices[0] if choices else "localhost"))  # fmt: skip
        made.append(verb(**fields))
    return made


async def answered(stage: Stage, handle: str) -> dict[str, str]:
    """What comes of one message of each kind with this session, by the verb's name; the session is closed by it."""
    verbs = [verb for verb in every_verb(handle) if not isinstance(verb, api.CloseSession)]
    assert len(verbs) == len(get_args(api.Verb)) - len(SESSIONLESS) - 1
    answers = await stage.say(*verbs, api.CloseSession(session=handle))
    names = [verb.__struct_config__.tag for verb in verbs] + ["session.close"]
    return dict(zip(names, answers, strict=True))


async def test_with_an_auditor_s_session_in_hand_it_looks(stage: Stage) -> None:
    before = stage.daemon.running(), stage.daemon.files()
    said = await answered(stage, await stage.log_in("albert"))
    served = {name for name, answer in said.items() if answer not in ("permission", "privilege")}
    assert served == LOOKS | GUESSED
    assert said["session.reauthenticate"] == "authentication"
    assert (stage.daemon.running(), stage.daemon.files()) == before


async def test_with_an_administrator_s_session_in_hand_it_still_changes_nothing_about_who_gets_in(stage: Stage) -> None:
    """What it knows is the session, not the password."""
    before = stage.daemon.running()
    said = await answered(stage, await stage.log_in())
    assert {name for name, answer in said.items() if answer == "permission"} == CLOSED
    assert {name for name, answer in said.items() if answer == "privilege"} == RISKY
    assert said["config.set"] == "ok"
    assert stage.daemon.running()["users"] == before["users"]
    assert stage.daemon.running()["cli"] == before["cli"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("users", "accounts", "olga", "role"), "administrator"),
        (("users", "accounts", "mallory"), {"role": "administrator"}),
        (("cli", "enable_secret_hash"), "x"),
    ],
)
async def test_a_commit_about_who_gets_in_waits_for_a_password_that_it_does_not_have(
    stage: Stage, path: api.Path, value: object
) -> None:
    """Nor does a rollback to a revision with other accounts; three guesses at the password are all it has."""
    daemon, handle = stage.daemon, await stage.log_in()
    daemon.commit({**TREE, "users": {"accounts": {**TREE["users"]["accounts"], "eve": {"role": "administrator"}}}})
    daemon.commit(TREE)
    change = api.SetConfig(session=handle, path=path, value=value)
    assert await stage.say(change, api.Commit(session=handle)) == ["ok", "privilege"]
    assert await stage.say(api.Commit(session=handle, confirm_minutes=5)) == ["privilege"]
    assert await stage.say(api.Rollback(session=handle, revision=2)) == ["privilege"]
    guesses = [api.Reauthenticate(session=handle, password=f"guess {number}") for number in range(5)]
    assert await stage.say(*guesses) == ["authentication"] * 3 + ["locked"] * 2
    assert await stage.say(api.Commit(session=handle)) == ["privilege"]
    assert daemon.running()["users"] == TREE["users"]


async def test_it_wipes_no_device_by_itself(stage: Stage) -> None:
    handle = await stage.log_in()
    stage.daemon.ticks.now += 14 * 60
    for action in ("wipe", "wipe-account"):
        verb = api.DeviceAction(session=handle, action=action, device_id="A", principal="a@b")
        assert await stage.say(verb) == ["privilege"]


async def test_the_session_of_a_command_line_is_nothing_to_it(stage: Stage) -> None:
    """Though it had read the handle in somebody's memory, and the session is privileged."""
    alice = Peer(ALICE, 1, 99)
    cli = stage.daemon.say(alice, api.OpenSession(), api.Session)
    stage.daemon.say(alice, api.Enable(session=cli.handle, secret=ENABLE))
    assert set(await stage.say(*every_verb(cli.handle))) == {"session"}
    assert stage.daemon.say(alice, api.GetConfig(session=cli.handle))["name"] == "box"  # and it goes on


async def test_it_opens_no_session_of_its_own_and_none_by_another_name(stage: Stage) -> None:
    wrong = api.Login(user="alice", password="guess", source="192.0.2.7")
    nobody = api.Login(user="root", password="", source="192.0.2.7")
    assert (
        await stage.say(api.OpenSession(), api.OpenSession(source="console", interactive=False)) == ["permission"] * 2
    )
    assert await stage.say(wrong, nobody) == ["authentication"] * 2
    assert stage.daemon.sessions.all() == ()


async def test_after_the_person_has_left_the_handle_is_worth_nothing(stage: Stage) -> None:
    handle = await stage.log_in()
    await stage.say(api.CloseSession(session=handle))
    assert set(await stage.say(*every_verb(handle))) == {"session"}
    handle = await stage.log_in()
    stage.daemon.ticks.now += 15 * 60
    assert set(await stage.say(*every_verb(handle))) == {"session"}


async def test_what_it_asks_by_itself_keeps_no_session_alive(stage: Stage) -> None:
    """But it may claim that somebody is there: keeping the sessions it has is the one thing it is trusted with."""
    handle = await stage.log_in()
    stage.daemon.ticks.now += 14 * 60
    assert await stage.say(api.Show(session=handle, topic="timeout")) == ["ok"]
    stage.daemon.ticks.now += 60
    assert await stage.say(api.Show(session=handle, topic="timeout")) == ["session"]
    handle = await stage.log_in()
    for _ in range(3):
        stage.daemon.ticks.now += 14 * 60
        assert await stage.say(api.Touch(session=handle)) == ["ok"]


async def test_it_guesses_no_password_by_claiming_to_sit_elsewhere(stage: Stage) -> None:
    guesses = [api.Login(user="alice", password="guess", source=f"192.0.2.{number}") for number in range(40)]
    answers = await stage.say(*guesses)
    assert answers == ["authentication"] * 30 + ["locked"] * 10
    right = api.Login(user="alice", password=PASSWORDS["alice"], source="198.51.100.9")
    assert await stage.say(right) == ["locked"]
    alice = Peer(ALICE, 1, 99)  # whom that keeps from the portal, and from nothing else
    assert stage.daemon.say(alice, api.OpenSession(), api.Session).user == "alice"


async def test_three_guesses_from_one_source_lock_that_source_alone(stage: Stage) -> None:
    def login(source: str, password: str) -> api.Login:
        return api.Login(user="alice", password=password, source=source)

    right = PASSWORDS["alice"]
    answers = await stage.say(*[login("192.0.2.7", "guess")] * 3, login("192.0.2.7", right), login("192.0.2.8", right))
    assert answers == ["authentication"] * 3 + ["locked", "ok"]
    locks = [one for one in stage.daemon.ledger.entries if one.event == "login.locked"]
    assert [(one.user, one.source) for one in locks] == [("alice", "192.0.2.7")]


async def test_everything_it_tries_is_in_the_audit_trail_under_the_session_s_name(stage: Stage) -> None:
    handle = await stage.log_in()
    stage.daemon.ledger.entries.clear()
    await stage.say(api.SetPassword(session=handle, user="alice", password="Another-Secret-12345"), api.OpenSession())
    seen = [(one.event, one.user, one.result) for one in stage.daemon.ledger.entries]
    assert seen == [("user.password", "alice", "privilege"), ("session.open", "sentry-portal", "permission")]
    assert not any("Another-Secret" in str(one) for one in stage.daemon.ledger.entries)


async def test_it_says_of_no_certificate_that_it_was_shown_and_makes_up_no_ticket(stage: Stage) -> None:
    """Nor does anybody else: the TLS proxy's word is the TLS proxy's."""
    shown = api.PresentCertificate(certificate="AAAA", source="192.0.2.7")
    made_up = [api.LoginCertificate(ticket=ticket) for ticket in ("", "0" * 64, "alice")]
    assert await stage.say(shown, api.WithdrawCertificate(ticket="0" * 64)) == ["permission"] * 2
    assert await stage.say(shown, uid=ALICE) == ["permission"]
    assert set(await stage.say(*made_up)) <= {"authentication", "permission"}
    assert stage.daemon.sessions.all() == ()


async def test_a_tls_proxy_that_was_taken_over_opens_no_session(stage: Stage) -> None:
    """It has no password's way in, and tickets are for the portal."""
    login = api.Login(user="alice", password=PASSWORDS["alice"], source="192.0.2.7")
    verbs = (api.OpenSession(), login, api.LoginCertificate(ticket="0" * 64))
    assert await stage.say(*verbs, uid=PROXY) == ["permission"] * 3
    assert set(await stage.say(*every_verb(await stage.log_in()), uid=PROXY)) == {"session"}


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_with_a_token_that_passes_by_it_is_that_token_and_nobody_else(stage: Stage) -> None:
    """It may do what the token's scopes say, over that connection; everything else is not permitted."""
    token = stage.token("reader", "read")
    verbs = every_verb("HANDLE")
    before = stage.daemon.running(), stage.daemon.files()
    answers = (await stage.with_token(token, verbs))[1:]
    names = {verb.__struct_config__.tag: answer for verb, answer in zip(verbs, answers, strict=True)}
    mine = {verb.__struct_config__.tag for verb, scope in scopes.SCOPE_OF.items() if scope == "read"}  # type: ignore[attr-defined]
    assert {name for name, answer in names.items() if answer != "permission"} == mine
    assert (stage.daemon.running(), stage.daemon.files()) == before
    assert set(await stage.say(*every_verb("0" * 64))) == {"session"}


async def test_an_administrator_s_token_makes_no_other_and_its_handle_is_nothing_elsewhere(stage: Stage) -> None:
    token = stage.token("fleet")
    more = api.CreateToken(session="HANDLE", name="intruder", role="administrator", enable_secret=ENABLE)
    power = api.Power(session="HANDLE", action="poweroff")
    assert await stage.with_token(token, [more, power]) == ["ok", "permission", "privilege"]
    opening = msgspec.json.encode(api.LoginToken(token=token, source="192.0.2.7"))
    (answer,) = await stage.intrude([opening])
    handle = str(answer["result"]["handle"])
    assert set(await stage.say(*every_verb(handle))) == {"session"}
    assert [one.name for one in stage.daemon.gate._tokens._tokens.all()] == ["fleet"]


async def test_it_is_no_token_that_did_not_pass_by(stage: Stage) -> None:
    """Neither the digest nor the name is worth anything, and the claimed source changes nothing."""
    stage.token("fleet")
    (kept,) = stage.daemon.gate._tokens._tokens.all()
    tried = (kept.digest, kept.name, f"sentry_{kept.digest[:43]}", "sentry_" + "A" * 43)
    guesses = [api.LoginToken(token=text, source=f"192.0.2.{number}") for number, text in enumerate(tried)]
    assert await stage.say(*guesses) == ["authentication"] * len(tried)
    assert await stage.say(api.LoginToken(token="x", source="192.0.2.7"), uid=ALICE) == ["permission"]
    assert stage.daemon.sessions.all() == ()


async def test_a_session_that_looks_gives_out_no_token_without_the_enable_secret_or_the_password(stage: Stage) -> None:
    handle = await stage.log_in()
    token = api.CreateToken(session=handle, name="intruder", role="administrator")
    guess = api.CreateToken(session=handle, name="intruder", role="administrator", enable_secret="guess")
    assert await stage.say(token, guess, guess, guess, guess) == ["privilege"] + ["authentication"] * 3 + ["locked"]
    assert stage.daemon.gate._tokens._tokens.all() == ()


@pytest.mark.parametrize(
    "line",
    [
        b'{"verb":"session.open","user":"root"}',
        b'{"verb":"session.open","role":"administrator"}',
        b'{"verb":"session.login","user":"alice","password":"x","source":"","role":"administrator"}',
        b'{"verb":"system.run","command":"id"}',
        b'{"verb":"state.show","topic":["version"],"session":"x"}',
        b"[]",
        b"\x00" * 64,
    ],
)
async def test_words_that_are_no_verb_are_answered_as_such(stage: Stage, line: bytes) -> None:
    (answer,) = await stage.intrude([line])
    assert answer["refusal"]["kind"] == "invalid"
    assert stage.daemon.sessions.all() == ()


async def test_floods_leave_room_for_the_command_line_and_for_root(stage: Stage) -> None:
    """All connections the portal may have are taken and say nothing."""
    argv = [sys.executable, str(INTRUDER), str(stage.socket), str(PORTAL), str(GROUP), "flood"]
    flood = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert flood.stdout is not None
    assert await flood.stdout.readline() == b"24\n"
    assert await stage.say(api.OpenSession(), uid=ALICE) == ["ok"]
    assert flood.stdin is not None
    flood.stdin.close()
    assert await flood.wait() == 0
