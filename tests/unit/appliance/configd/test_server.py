"""configd over real Unix sockets: clients, limits, stopping, and being killed in the middle of a commit."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from appliance.configd import __main__ as program
from appliance.configd import api, ctl, gate
from appliance.configd import server as servers
from appliance.configd.build import Parts
from appliance.configd.client import AsyncClient, Client, Refused, Unreachable
from appliance.configd.server import Server
from appliance.features.base import Tree
from tests.unit.appliance import workbench
from tests.unit.appliance.workbench import Daemon

PROGRAM = Path(__file__).with_name("daemon_program.py")
REPO = Path(__file__).parents[4]
ME = os.getuid()
TREE: dict[str, Any] = {"name": "box", "users": {"accounts": {"alice": {"role": "administrator"}}}}


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests is automation."""
    monkeypatch.setattr("appliance.configd.gate.ROOT", ME)


@pytest.fixture
async def daemon(tmp_path: Path, as_root: None) -> AsyncIterator[Daemon]:
    made = Daemon(tmp_path / "box")
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(Server(made.gate, made.watch, tmp_path / "socket").serve(stop, ready=ready))
    await ready.wait()
    yield made
    stop.set()
    await serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


async def test_the_socket_is_for_owner_and_group(daemon: Daemon, path: Path) -> None:
    mode = os.stat(path).st_mode  # noqa: PTH116 - a test may wait for its own disk
    assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o660)


async def test_the_peer_is_who_the_kernel_says(daemon: Daemon, path: Path) -> None:
    session = await AsyncClient(path).call(api.OpenSession(), api.Session)
    assert session.user == "root"
    assert daemon.ledger.entries[0].source == f"pid {os.getpid()}"


async def test_both_clients_speak_to_it(daemon: Daemon, path: Path) -> None:
    def blocking() -> api.Committed:
        with Client(path) as client:
            handle = client.call(api.OpenSession(), api.Session).handle
            client.call(api.ReplaceConfig(session=handle, tree=TREE))
            return client.call(api.Commit(session=handle), api.Committed)

    assert (await asyncio.to_thread(blocking)).revision == 1
    with pytest.raises(Refused) as refused:
        await AsyncClient(path).call(api.Touch(session="0" * 64))
    assert refused.value.refusal.kind == "session"


async def test_a_cli_session_ends_with_its_connection(
    daemon: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, disconnected = asyncio.Event(), daemon.gate.disconnected

    def note(connection: int) -> None:
        disconnected(connection)
        gone.set()

    monkeypatch.setattr(daemon.gate, "disconnected", note)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(msgspec.json.encode(api.OpenSession()) + b"\n")
    await reader.readline()
    assert len(daemon.sessions.all()) == 1
    writer.close()
    await writer.wait_closed()
    await gone.wait()
    assert daemon.sessions.all() == ()


async def test_one_connection_serves_many_messages_one_after_the_other(daemon: Daemon, path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write((msgspec.json.encode(api.OpenSession()) + b"\n") * 3)
    answers = [json.loads(await reader.readline()) for _ in range(3)]
    assert [answer["result"]["user"] for answer in answers] == ["root"] * 3
    writer.close()


async def test_who_speaks_another_language_is_answered_once_and_cut(daemon: Daemon, path: Path) -> None:
    """Each line of the audit trail costs a connection: nobody floods it."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"nonsense\n" * 3)
    with contextlib.suppress(ConnectionResetError):  # what was not read any more makes the kernel say so
        (answer,) = (await reader.read()).splitlines()
        assert json.loads(answer)["refusal"]["kind"] == "invalid"
    assert [entry.event for entry in daemon.ledger.entries] == ["malformed"]
    writer.close()


async def test_a_connection_without_a_session_is_cut_after_a_while(
    daemon: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "SILENT_SECONDS", 0.05)
    served, keeper = await asyncio.open_unix_connection(path)
    keeper.write(msgspec.json.encode(api.OpenSession()) + b"\n")
    await served.readline()
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    keeper.write(msgspec.json.encode(api.OpenSession()) + b"\n")
    assert (await served.readline()).endswith(b"\n")
    for opened in (keeper, writer):
        opened.close()


def test_one_account_does_not_take_all_connections_and_root_always_gets_one(daemon_alone: Daemon, path: Path) -> None:
    server = Server(daemon_alone.gate, daemon_alone.watch, path)
    portal, alice, olga, root = 900, 1_001, 1_002, gate.ROOT

    def fill(uid: int) -> int:
        count = 0
        while not server._full(uid):
            server._open[cast("asyncio.Task[None]", object())] = uid
            count += 1
        return count

    assert (fill(portal), fill(alice)) == (servers.OF_ONE_ACCOUNT, servers.OF_ONE_ACCOUNT)
    assert fill(olga) == servers.CONNECTIONS - servers.KEPT_FOR_ROOT - 2 * servers.OF_ONE_ACCOUNT
    assert fill(root) == servers.KEPT_FOR_ROOT


async def test_drift_at_the_start_is_told_to_everybody_and_audited(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.commit({**TREE, "cli": {}})
    parts = Parts(daemon.engine, daemon.sessions, daemon.gate, daemon.watch)
    program._look_for_drift(parts)
    assert daemon.ledger.entries == []
    (daemon.root / "etc/name").write_text("spoilt")
    daemon.commands.units["web.service"] = "failed"
    program._look_for_drift(parts)
    entries = [(entry.event, entry.detail) for entry in daemon.ledger.entries]
    assert entries == [("config.drift", "/etc/name was changed"), ("config.drift", "web.service failed")]
    _peer, session = daemon.open(workbench.ALICE)
    assert session.notices == (
        "the machine is not as the configuration says: /etc/name was changed, web.service failed; a commit mends it",
    )


async def test_a_line_without_end_closes_the_connection(
    daemon: Daemon, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * (2 * api.LINE_BYTES + 1_000_000))
    with contextlib.suppress(ConnectionResetError):  # what was not read any more makes the kernel say so
        assert await reader.read() == b""
    assert "a line of more than" in caplog.text
    writer.close()
    assert (await AsyncClient(path).call(api.OpenSession(), api.Session)).user == "root"


@pytest.fixture
def daemon_alone(tmp_path: Path) -> Daemon:
    """A daemon nobody serves."""
    return Daemon(tmp_path / "alone")


async def test_connections_are_bounded(daemon: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "CONNECTIONS", 2)
    first = [await asyncio.open_unix_connection(path) for _ in range(2)]
    for reader, writer in first:
        writer.write(msgspec.json.encode(api.OpenSession()) + b"\n")
        await reader.readline()
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.read() == b""
    for _reader, opened in (*first, (reader, writer)):
        opened.close()


async def test_a_commit_in_progress_is_finished_when_configd_is_told_to_stop(tmp_path: Path, as_root: None) -> None:
    entered, go_on = threading.Event(), threading.Event()
    daemon = Daemon(tmp_path / "box")

    def wait(step: str) -> None:
        if step == "reconciled":
            entered.set()
            go_on.wait(10)

    daemon.engine._checkpoint = wait
    stop, ready = asyncio.Event(), asyncio.Event()
    path = tmp_path / "socket"
    serving = asyncio.create_task(Server(daemon.gate, daemon.watch, path).serve(stop, ready=ready))
    await ready.wait()

    def commit() -> api.Committed:
        with Client(path) as client:
            handle = client.call(api.OpenSession(), api.Session).handle
            client.call(api.ReplaceConfig(session=handle, tree=TREE))
            return client.call(api.Commit(session=handle), api.Committed)

    committing = asyncio.create_task(asyncio.to_thread(commit))
    await asyncio.to_thread(entered.wait, 10)
    stop.set()
    await asyncio.sleep(0)
    go_on.set()
    await serving
    assert (await committing).revision == 1
    assert daemon.store.journal() is None
    assert not path.exists()


def test_nobody_there_is_told_by_both_clients(path: Path) -> None:
    with pytest.raises(Unreachable, match=r"configd does not answer on .*socket: No such file"):
        Client(path).call(api.OpenSession())
    with pytest.raises(Unreachable, match=r"configd does not answer on .*socket"):
        asyncio.run(AsyncClient(path).call(api.OpenSession()))


@pytest.mark.parametrize("answer", [b"", b"{", b"[]\n", b'{"result":5}\n'])
def test_an_answer_that_is_none_is_told(path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connected, _ = listener.accept()
            with connected:
                connected.recv(65_536)
                connected.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with Client(path) as client, pytest.raises(Unreachable):
            client.call(api.OpenSession(), api.Session)
        thread.join()


# --- the program -------------------------------------------------------------------------------------------------


def start(folder: Path, path: Path, crash_at: str = "") -> "subprocess.Popen[str]":
    argv = [sys.executable, str(PROGRAM), str(folder), str(path), *([crash_at] if crash_at else [])]
    made = subprocess.Popen(argv, cwd=REPO, env={"PYTHONPATH": str(REPO)}, stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    return made


@pytest.fixture
def committed(tmp_path: Path) -> Daemon:
    daemon = Daemon(tmp_path / "box")
    name = "tester"
    daemon.commit({**TREE, "users": {"accounts": {name: {"role": "administrator"}}}})
    return daemon


@pytest.mark.skipif(ME != 0, reason="only root is automation; the in-process tests cover everybody else")
@pytest.mark.parametrize("step", ["journal", "wrote /etc/name", "reconciled", "kept", "running", "journal gone"])
def test_killed_in_the_middle_of_a_commit_it_comes_back_with_the_old_or_the_new_revision(
    committed: Daemon, tmp_path: Path, path: Path, step: str
) -> None:
    old = committed.files()
    victim = start(tmp_path / "box", path, step)
    with Client(path) as client:
        handle = client.call(api.OpenSession(), api.Session).handle
        client.call(api.ReplaceConfig(session=handle, tree={**TREE, "name": "other"}))
        with pytest.raises(Unreachable):
            client.call(api.Commit(session=handle), api.Committed)
    assert victim.wait(10) == -9
    again = start(tmp_path / "box", path)
    with Client(path) as client:
        handle = client.call(api.OpenSession(), api.Session).handle
        tree: Tree = client.call(api.GetConfig(session=handle))
    again.terminate()
    assert again.wait(10) == 0
    assert again.stdout is not None
    again.stdout.close()
    assert victim.stdout is not None
    victim.stdout.close()
    if step in ("running", "journal gone"):
        assert tree["name"] == "other"
        assert committed.text("/etc/name") == "other\n"
    else:
        assert (tree["name"], committed.files()) == ("box", old)
    assert committed.commands.kernel_name == tree["name"]
    assert committed.store.journal() is None


def test_a_second_configd_on_the_same_state_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["configd", "--state", str(tmp_path), "--socket", str(tmp_path / "s")])
    with program._alone(tmp_path):
        assert program.main() == 1
    assert not (tmp_path / "config").exists()


def test_a_group_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    argv = ["configd", "--state", str(tmp_path), "--socket", str(tmp_path / "s"), "--group", "no-such-group"]
    monkeypatch.setattr(sys, "argv", argv)
    before = os.umask(0o022)
    try:
        assert program.main() == 1
    finally:
        os.umask(before)
    assert "there is no group no-such-group on this machine" in caplog.text


# --- sentry-configctl --------------------------------------------------------------------------------------------


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    opened: list[Any] = []

    def give(text: str) -> None:
        place = tmp_path / "stdin.json"
        place.write_text(text)
        opened.append(place.open())
        monkeypatch.setattr(sys, "stdin", opened[-1])

    yield give
    for one in opened:
        one.close()


async def run(path: Path, *words: str) -> int:
    return await asyncio.to_thread(ctl.main, ["--socket", str(path), *words])


async def test_configctl_applies_a_tree_and_says_what_it_did(
    daemon: Daemon, path: Path, stdin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin(json.dumps({**TREE, "web": {"token": "hunter22"}}))
    assert await run(path, "apply", "--check") == 0
    assert json.loads(capsys.readouterr().out)["revision"] == 0
    stdin(json.dumps({**TREE, "web": {"token": "hunter22"}}))
    assert await run(path, "apply", "--comment", "first") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["changed"], done["revision"], done["files"], done["units"]) == (
        True,
        1,
        ["/etc/name", workbench.WEB],
        ["web.service"],
    )
    assert {"path": ["web", "token"], "before": None, "after": "********"} in done["changes"]
    stdin(json.dumps({**TREE, "web": {"token": "hunter22"}}))
    assert await run(path, "apply") == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": 5}', "name: found 5; allowed: 1 to 8 lower-case letters"),
        ("[]", "standard input is not a tree in JSON"),
        ("", "standard input is not a tree in JSON"),
    ],
)
async def test_configctl_tells_problems_on_standard_error(
    daemon: Daemon, path: Path, stdin: Any, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    stdin(text)
    assert await run(path, "apply") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


async def test_configctl_s_other_words(
    daemon: Daemon, path: Path, stdin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("box", "other"):
        stdin(json.dumps({**TREE, "name": name}))
        assert await run(path, "apply", *(["--confirm", "5"] if name == "other" else [])) == 0
    capsys.readouterr()
    assert await run(path, "confirm") == 0
    assert await run(path, "confirm") == 1
    assert "no commit waits for confirmation" in capsys.readouterr().err
    assert await run(path, "revisions") == 0
    assert [one["number"] for one in json.loads(capsys.readouterr().out)] == [2, 1]
    assert await run(path, "rollback", "1") == 0
    capsys.readouterr()
    assert await run(path, "get", "--view", "startup") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "box"
    assert await run(path, "show", "timeout") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "facts"
    assert await run(path, "show", "nothing") == 1
    assert "found the topic 'nothing'; allowed: " in capsys.readouterr().err


def test_configctl_without_configd_says_so(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["--socket", str(path), "revisions"]) == 1
    assert "configd does not answer" in capsys.readouterr().err


@pytest.mark.skipif(ME != 0, reason="only root may be somebody else")
@pytest.mark.parametrize(
    ("groups", "answer"), [((54_321,), "PermissionError"), ((54_321, 54_399), "permission: only administrators")]
)
async def test_the_agents_account_gets_nowhere(as_root: None, groups: tuple[int, ...], answer: str) -> None:
    """With the agent's groups it cannot even connect; were it in the socket's group, it would be refused by its account. Whatever
    a UEM makes the agent do, it changes nothing of the management plane."""
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from appliance.configd import api\n"
        "from appliance.configd.client import Client, Refused\n"
        "os.setgroups([int(one) for one in sys.argv[2:]]); os.setgid(54322); os.setuid(54322)\n"
        "try:\n"
        "    with Client(Path(sys.argv[1])) as client:\n"
        "        client.call(api.OpenSession(), api.Session)\n"
        "    print('a session')\n"
        "except Refused as refused:\n"
        "    print(f'{refused.refusal.kind}: {refused.refusal.message}')\n"
        "except Exception as error:\n"
        "    print(type(error.__cause__ or error).__name__)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - pytest's own folders are closed to other users
        path = Path(folder) / "configd.sock"
        box = Daemon(Path(folder) / "box")
        stop, ready = asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(Server(box.gate, box.watch, path).serve(stop, ready=ready))
        await ready.wait()
        os.chown(path, 0, 54_399)
        command = [sys.executable, "-c", script, str(path), *map(str, groups)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, cwd=REPO)
        stop.set()
        await serving
    assert done.stdout.strip().startswith(answer), done


class _Slow:
    """What configd does by itself, on a machine that is slow or as if it hung: it takes as long as it is let."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), 0

    def tick(self) -> None:
        self.begun += 1
        self.go.wait()


async def test_slow_work_of_its_own_is_no_hang_and_work_that_never_ends_is(
    daemon_alone: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog hears of it while the work goes on, one at a time; no longer than the work may take."""
    monkeypatch.setattr(servers, "TICK_SECONDS", 0.01)
    work, heard = _Slow(), asyncio.Event()
    server = Server(daemon_alone.gate, cast(Any, work), path, alive=heard.set)
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(server.serve(stop, ready=ready))
    await ready.wait()
    for _ in range(3):
        heard.clear()
        await asyncio.wait_for(heard.wait(), 10)
    assert work.begun == 1
    work.go.set()
    stop.set()
    await serving

    stuck = _Slow()
    told: list[float] = []
    loop = asyncio.get_running_loop()
    server = Server(daemon_alone.gate, cast(Any, stuck), path, alive=lambda: told.append(loop.time()), work_seconds=0.2)
    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(server.serve(stop, ready=ready))
    await ready.wait()
    began = loop.time()
    while loop.time() - max((began, *told)) < 1:  # a hundred looks
        assert loop.time() - began < 10, "it still says that it is well"
        await asyncio.sleep(0.05)
    stuck.go.set()
    stop.set()
    await serving
