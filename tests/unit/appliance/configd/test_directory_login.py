"""Log-in of people of the directory: whom it is asked about, what its word counts for, and how long a session of it stands."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.config.schema import Schema
from appliance.configd import accounts, api, lockout
from appliance.configd.client import Refused
from appliance.configd.directory_login import AT_ONCE, DECOY, SILENT, PasswordLogIn, is_elsewhere
from appliance.configd.sessions import Peer
from appliance.directory import api as directory_api
from appliance.directory.settings import Group, Server, Settings
from appliance.features import directory
from sentry_runtime import control
from tests import directory_server
from tests.device_pki import DevicePki
from tests.directory_server import ADMINISTRATORS, OPERATORS, PEOPLE, SECRET
from tests.unit.appliance.configd.people import ENABLE, TREE, privileged
from tests.unit.appliance.workbench import ACCOUNTS, ALICE, FEATURES, PASSWORDS, PORTAL, Daemon

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the service answers root alone")

PATIENCE_SECONDS = 30.0
HERE = "192.0.2.9"
HELD: dict[str, Any] = {
    "servers": {"one": {"host": "127.0.0.1"}},
    "networks": ["127.0.0.0/8"],
    "base_dn": PEOPLE,
    "bind": "user",
    "groups": {
        "admins": {"dn": ADMINISTRATORS, "role": "administrator"},
        "ops": {"dn": OPERATORS, "role": "operator"},
    },
    "session_hours": 2,
}
WITH: dict[str, Any] = {**TREE, "directory": HELD}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real service with a real directory behind it; the path of its socket."""
    pki = DevicePki(tmp_path_factory.mktemp("pki"))
    pki.authority("company")
    pki.issue("directory", by="company", names="IP:127.0.0.1", usage="serverAuth")
    place = tmp_path_factory.mktemp("service")
    (secret := place / "bind.secret").write_text(directory_server.ACCOUNT_SECRET)
    with (
        directory_server.folder() as folder,
        directory_server.serving(folder, pki.pair("directory"), pki.path("company")) as server,
    ):
        settings = Settings(
            servers=(Server(host=server.host, port=server.ldaps),),
            security="ldaps",
            trust=server.trust,
            base=PEOPLE,
            bind="account",
            account=directory_server.ACCOUNT,
            password_path=str(secret),
            user_attribute="uid",
            membership="member",
            groups=(Group(dn=ADMINISTRATORS, role="administrator"), Group(dn=OPERATORS, role="operator")),
            timeout_seconds=5,
        )
        (file := place / "directory.json").write_bytes(msgspec.json.encode(settings))
        socket = place / "directory.sock"
        argv = [sys.executable, "-m", "appliance.directory", "--settings", str(file), "--socket", str(socket)]
        with subprocess.Popen(argv) as program:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not socket.exists():
                assert program.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield socket
            program.terminate()


class Stand:
    """configd with a directory, and people at the portal."""

    def __init__(self, folder: Path, socket: Path | None) -> None:
        self.daemon = Daemon(folder, (*FEATURES, directory.FEATURE))
        if socket is not None:
            self.daemon.directory_socket.symlink_to(socket)
        self.daemon.reached.add(str(self.daemon.directory_socket))
        self.daemon.commit(WITH)
        self.portal = Peer(PORTAL, 1, 1)

    def login(self, user: str, password: str = SECRET, source: str = HERE) -> api.Session:
        session: api.Session = self.daemon.say(
            self.portal, api.Login(user=user, password=password, source=source), api.Session
        )
        return session

    def refused(self, user: str, password: str = SECRET) -> tuple[str, str]:
        with pytest.raises(Refused) as refused:
            self.login(user, password)
        return refused.value.refusal.kind, refused.value.refusal.message

    def alive(self, session: api.Session) -> bool:
        try:
            self.daemon.say(self.portal, api.Touch(session=session.handle))
        except Refused:
            return False
        return True

    def asked(self) -> list[Any]:
        """What the service was asked."""
        return [request for path, request in self.daemon.asked if path == str(self.daemon.directory_socket)]

    def log_ins(self) -> list[tuple[str, str, str, str]]:
        """What the audit trail says of log-ins."""
        entries = self.daemon.ledger.entries
        return [(one.user, one.role, one.result, one.path) for one in entries if one.event == "session.login"]


@pytest.fixture
def stand(service: Path, tmp_path: Path) -> Stand:
    return Stand(tmp_path, service)


@pytest.fixture
def alone(tmp_path: Path) -> Stand:
    """One whose directory nobody can ask."""
    return Stand(tmp_path, None)


def test_people_of_the_directory_log_in_with_the_role_of_their_group(stand: Stand) -> None:
    dora, oscar = stand.login("dora"), stand.login("Oscar")
    assert [(one.user, one.role, one.by_directory) for one in (dora, oscar)] == [
        ("dora", "administrator", True),
        ("oscar", "operator", True),
    ]
    (_, _, _, said), _ = stand.log_ins()
    assert said.startswith("directory 127.0.0.1:")
    assert [row[:3] for row in stand.log_ins()] == [("dora", "administrator", "ok"), ("oscar", "operator", "ok")]
    stand.daemon.say(stand.portal, api.SetConfig(session=dora.handle, path=("web", "port"), value=9443))
    assert stand.daemon.say(stand.portal, api.Commit(session=dora.handle), api.Committed).changed
    with pytest.raises(Refused, match="role operator may not"):
        stand.daemon.say(stand.portal, api.SetConfig(session=oscar.handle, path=("web", "port"), value=9444))


def test_who_is_wrong_unknown_in_no_group_or_locked_gets_the_same_answer(stand: Stand) -> None:
    answers = {
        stand.refused(*one) for one in (("dora", "wrong"), ("norbert",), ("vera",), ("lola",), ("twin",), ("*",))
    }
    assert answers == {("authentication", "user name or password is wrong")}
    said = [path.partition(": ")[2] for _user, _role, _result, path in stand.log_ins()[:3]]
    assert said == [
        "the directory refuses the password",
        "the directory has no such person",
        "in none of the groups that have a role here",
    ]


def test_three_wrong_passwords_lock_a_person_of_the_directory_in_either_case(stand: Stand) -> None:
    assert [stand.refused(name, "wrong")[0] for name in ("dora", "DORA", "Dora", "dora")] == ["authentication"] * 3 + [
        "locked"
    ]
    assert stand.refused("dora")[0] == "locked"
    locks = [(one.user, one.source) for one in stand.daemon.ledger.entries if one.event == "login.locked"]
    assert locks == [("dora", HERE)]
    assert stand.login("oscar").user == "oscar"
    stand.daemon.ticks.now += 901
    assert stand.login("dora").user == "dora"


def test_the_directory_is_never_asked_about_a_name_that_is_an_accounts_here(stand: Stand) -> None:
    """There is an alice in the directory, too, who administers."""
    assert stand.refused("alice") == ("authentication", "user name or password is wrong")
    assert stand.refused("ALICE")[0] == "authentication"
    session = stand.login("alice", PASSWORDS["alice"], "192.0.2.10")
    assert (session.by_directory, session.role) == (False, "administrator")
    assert {(one.user, one.password) for one in stand.asked()} == {(DECOY, DECOY)}
    assert [path for *_rest, path in stand.log_ins()] == [
        "account of this appliance",
        "no name that the directory is asked about",
        "account of this appliance",
    ]


def test_log_ins_at_one_time_are_each_told_with_their_own_proof(stand: Stand) -> None:
    """What one of them has come by is no other's, whichever ends first."""
    tries = [("dora", SECRET), ("alice", PASSWORDS["alice"]), ("oscar", "wrong"), ("zoe", SECRET)] * 2
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for user, password in tries:
            pool.submit(stand.login, user, password, f"192.0.2.{user}")
    told = {(user, result, path.partition(":")[0]) for user, _role, result, path in stand.log_ins()}
    assert told == {
        ("dora", "ok", "directory 127.0.0.1"),
        ("alice", "ok", "account of this appliance"),
        ("oscar", "authentication", "directory 127.0.0.1"),
        ("zoe", "authentication", "directory 127.0.0.1"),
    }


@pytest.mark.parametrize(
    ("user", "elsewhere"),
    [
        ("dora", True),
        ("Jane.Doe", True),
        ("1234567890@mil", True),
        ("alice", False),
        ("Alice", False),
        ("root", False),
        ("Root", False),
        ("sentry-portal", False),
        (DECOY, False),
        ("token:backup", False),
        ("dora ", False),
        ("", False),
        ("*", False),
        ("dora)(uid=*", False),
        ("d\u00f6ra", False),
        ("x" * 65, False),
    ],
)
def test_a_name_of_the_directory_has_its_form_and_is_nobodys_here(user: str, elsewhere: bool) -> None:  # noqa: FBT001 - a table
    assert is_elsewhere({"users": {"accounts": ACCOUNTS}}, user) == elsewhere


# --- when it is away ---------------------------------------------------------------------------------------------


def test_where_it_is_away_accounts_here_log_in_and_others_hear_of_it(alone: Stand) -> None:
    assert alone.login("alice", PASSWORDS["alice"]).user == "alice"
    kind, message = alone.refused("dora")
    assert (kind, SILENT in message) == ("unavailable", True)
    assert alone.log_ins()[-1][2:] == ("unavailable", "directory: its service does not answer")


def test_where_it_is_away_the_answer_tells_nobody_which_names_are_accounts(alone: Stand) -> None:
    answers = {alone.refused(name, "wrong") for name in ("alice", "dora", "nobody", "root")}
    assert len(answers) == 1
    kinds = [[alone.refused(name, "wrong")[0] for _ in range(3)] for name in ("alice", "dora")]
    assert kinds[0] == kinds[1] == ["unavailable", "unavailable", "locked"]


def test_log_ins_that_wait_for_it_leave_room_for_others() -> None:
    """The one too many is told at once that nobody answers, and that is no failure of theirs."""
    depth: list[int] = []
    busy: list[bool] = []
    tree = {"users": {"accounts": ACCOUNTS}, "directory": {**HELD, "timeout_seconds": 5}}

    def ask(_asked: Any, _seconds: float) -> Any:
        """While this one waits, another comes."""
        depth.append(len(depth) + 1)
        found = log_in.prove(tree, "dora", HERE, "x")
        assert found.silent == found.busy
        busy.append(found.busy)
        return directory_api.Proof(outcome="refused", server="one")

    log_in = PasswordLogIn(lambda *_said: False, ask)
    assert log_in.prove(tree, "dora", HERE, "x").role is None
    assert len(depth) == AT_ONCE
    assert busy == [True, *[False] * (AT_ONCE - 1)]


def test_names_that_it_is_not_asked_about_take_no_room_of_those_it_is() -> None:
    tree = {"users": {"accounts": ACCOUNTS}, "directory": {**HELD, "timeout_seconds": 5}}
    waiting, entered = threading.Event(), threading.Semaphore(0)

    def ask(asked: Any, _seconds: float) -> Any:
        if asked.user == DECOY:
            entered.release()
            waiting.wait(PATIENCE_SECONDS)
        return directory_api.Proof(outcome="refused", server="one")

    log_in = PasswordLogIn(lambda *_said: False, ask)
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(log_in.prove, tree, "alice", HERE, "x") for _ in range(AT_ONCE)]
        assert all(entered.acquire(timeout=PATIENCE_SECONDS) for _ in range(AT_ONCE))
        more = log_in.prove(tree, "root", HERE, "x")
        assert (more.silent, more.busy) == (True, False)  # a guess all the same
        assert not log_in.prove(tree, "dora", HERE, "x").silent
        waiting.set()
        assert [one.result().silent for one in held] == [False] * AT_ONCE


def test_a_role_that_the_configuration_gives_to_no_group_is_none() -> None:
    """As a service would say that somebody has taken over."""
    tree = {
        "users": {"accounts": ACCOUNTS},
        "directory": {**HELD, "timeout_seconds": 5, "groups": {"ops": HELD["groups"]["ops"]}},
    }
    said = directory_api.Proof(outcome="proved", role="administrator", server="one")
    found = PasswordLogIn(lambda *_said: False, lambda *_asked: said).prove(tree, "dora", HERE, "x")
    assert (found.role, found.words) == (None, "directory one: a role that no group has")


def test_a_proof_that_names_no_server_is_none() -> None:
    """Its session would be taken for that of an account here."""
    tree = {"users": {"accounts": ACCOUNTS}, "directory": {**HELD, "timeout_seconds": 5}}
    said = directory_api.Proof(outcome="proved", role="administrator")
    found = PasswordLogIn(lambda *_said: False, lambda *_asked: said).prove(tree, "dora", HERE, "x")
    assert (found.role, found.silent) == (None, True)


def test_without_a_directory_nobody_is_asked(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.commit(TREE)
    with pytest.raises(Refused, match="user name or password is wrong"):
        daemon.say(Peer(PORTAL, 1, 1), api.Login(user="dora", password=SECRET, source=HERE))
    assert daemon.asked == []


# --- sessions ----------------------------------------------------------------------------------------------------


def test_a_session_of_the_directory_ends_after_its_hours_however_busy(stand: Stand) -> None:
    dora, alice = stand.login("dora"), stand.login("alice", PASSWORDS["alice"])
    for _ in range(11):
        stand.daemon.ticks.now += 600
        assert stand.alive(dora)
        assert stand.alive(alice)
    stand.daemon.ticks.now += 600
    assert (stand.alive(dora), stand.alive(alice)) == (False, True)


def test_a_session_ends_with_the_settings_it_came_by_and_where_an_account_takes_its_name(stand: Stand) -> None:
    dora, oscar = stand.login("dora"), stand.login("oscar")
    peer, handle = privileged(stand.daemon)
    stand.daemon.say(peer, api.SetConfig(session=handle, path=("web", "port"), value=9443))
    stand.daemon.say(peer, api.Commit(session=handle))
    assert stand.alive(dora)
    stand.daemon.say(peer, api.SetConfig(session=handle, path=("users", "accounts", "dora", "role"), value="auditor"))
    stand.daemon.say(peer, api.Commit(session=handle))
    assert (stand.alive(dora), stand.alive(oscar)) == (False, True)
    stand.daemon.say(peer, api.SetConfig(session=handle, path=("directory", "session_hours"), value=3))
    stand.daemon.say(peer, api.Commit(session=handle))
    assert not stand.alive(oscar)
    assert stand.alive(stand.login("oscar"))


def test_what_is_risky_asks_the_directory_again(stand: Stand) -> None:
    dora = stand.login("dora")
    change = api.SetConfig(session=dora.handle, path=("users", "accounts", "olga", "role"), value="auditor")
    stand.daemon.say(stand.portal, change)
    commit = api.Commit(session=dora.handle)
    with pytest.raises(Refused, match="password"):
        stand.daemon.say(stand.portal, commit)
    with pytest.raises(Refused, match="wrong"):
        stand.daemon.say(stand.portal, api.Reauthenticate(session=dora.handle, password="wrong"))
    again = stand.daemon.say(stand.portal, api.Reauthenticate(session=dora.handle, password=SECRET), api.Session)
    assert again.fresh_seconds == 300
    assert stand.daemon.say(stand.portal, commit, api.Committed).changed


def test_a_role_that_has_changed_meanwhile_ends_the_session(stand: Stand) -> None:
    oscar = stand.login("oscar")
    held = stand.daemon.sessions.find(oscar.handle, stand.portal, stand.daemon.gate.bounds())
    held.role = "administrator"  # as if the directory had said so at the log-in
    with pytest.raises(Refused, match="role is another one by now"):
        stand.daemon.say(stand.portal, api.Reauthenticate(session=oscar.handle, password=SECRET))
    assert not stand.alive(oscar)


def test_who_has_no_account_here_has_no_password_and_no_tokens_here(stand: Stand) -> None:
    dora = stand.login("dora")
    stand.daemon.say(stand.portal, api.Reauthenticate(session=dora.handle, password=SECRET))
    with pytest.raises(Refused, match="the directory's; change it there"):
        stand.daemon.say(stand.portal, api.SetOwnPassword(session=dora.handle, password="Another-Secret-12345"))
    token = api.CreateToken(session=dora.handle, name="one", role="auditor", enable_secret=ENABLE)
    with pytest.raises(Refused, match="you have none here"):
        stand.daemon.say(stand.portal, token)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"directory": {**HELD, "session_hours": 3}}, ["directory"]),
        ({"directory": {}}, ["directory"]),
        ({"portal": {"certificate_login": {"mode": "required"}}}, ["portal.certificate_login.mode"]),
        ({"users": {"accounts": {**ACCOUNTS, "dora": {"role": "administrator"}}}}, ["users.accounts.dora"]),
        ({"web": {"port": 9443}}, []),
    ],
)
def test_whether_other_settings_find_somebody_is_known_by_a_time_limit_only(
    stand: Stand, change: dict[str, Any], path: list[str]
) -> None:
    dora = stand.login("dora")
    held = stand.daemon.sessions.find(dora.handle, stand.portal, stand.daemon.gate.bounds())
    before = dict(stand.daemon.running())
    found = list(lockout.guard(held)(Schema(()), before, {**before, **change}))
    assert [problem.path for problem in found] == path


def test_changing_who_gets_in_is_as_risky_as_a_password(stand: Stand) -> None:
    alice = stand.login("alice", PASSWORDS["alice"])
    stand.daemon.say(stand.portal, api.SetConfig(session=alice.handle, path=("directory", "session_hours"), value=3))
    with pytest.raises(Refused, match="password"):
        stand.daemon.say(stand.portal, api.Commit(session=alice.handle))


# --- the topic ---------------------------------------------------------------------------------------------------


def test_the_topic_says_of_each_server_whether_it_can_be_asked(stand: Stand, service: Path) -> None:
    peer, session = stand.daemon.open(ALICE)
    stand.daemon.told[directory_api.Look] = control.call(service, directory_api.Look(), directory_api.Report)  # type: ignore[arg-type]
    shown = stand.daemon.say(peer, api.Show(session=session.handle, topic="directory"), api.Table)
    ((server, state, _seconds),) = shown.rows
    assert (server.partition(":")[0], state) == ("127.0.0.1", "answers")


def test_a_session_leans_on_the_settings_as_they_are() -> None:
    tree = {"directory": {**HELD, "timeout_seconds": 5}}
    one, other = (
        accounts.directory(tree),
        accounts.directory({"directory": {**tree["directory"], "security": "starttls"}}),
    )
    assert one.credentials != other.credentials
    assert (one.seconds, one.roles) == (20.0, frozenset({"administrator", "operator"}))
    assert not accounts.directory({"directory": {"servers": {}}}).asked


def test_a_log_in_by_settings_that_are_others_meanwhile_opens_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory takes its time, and somebody commits."""
    held = stand.daemon.gate._passwords
    real = held._ask

    def slow(asked: Any, seconds: float) -> Any:
        stand.daemon.commit({**WITH, "directory": {**HELD, "session_hours": 3}})
        return real(asked, seconds)

    monkeypatch.setattr(held, "_ask", slow)
    assert stand.refused("dora")[0] == "session"
    assert stand.daemon.sessions.all() == ()
