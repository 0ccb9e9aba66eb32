"""The service as configd asks it: servers in their order, bounded in time, and a word on each."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.directory import api
from appliance.directory.names import Names
from appliance.directory.service import (
    AT_ONCE,
    LOOKED_SECONDS,
    PUT_BACK_SECONDS,
    REFUSED_SECONDS,
    SILENT_SECONDS,
    WATCH_SECONDS,
    Service,
)
from appliance.directory.settings import Group, Server, load
from appliance.local_socket import Desk, serving
from appliance.settings_file import SettingsError
from sentry_runtime import control
from tests.device_pki import DevicePki
from tests.directory_server import ACCOUNT_SECRET, ADMINISTRATORS, SECRET, DirectoryServer
from tests.ports import free_port

from . import scripted
from .conftest import no_threads, server_of, settings_of

PATIENCE_SECONDS = 30.0
CALL: Any = control.call  # whose requests are those of the data plane
DORA = api.Prove(user="dora", password=SECRET)


def gone() -> Server:
    """A server that nobody is at."""
    return Server(host="127.0.0.1", port=free_port())


async def proof(service: Service, user: str = "dora", password: str = SECRET) -> api.Proof:
    said = await service.answer(api.Prove(user=user, password=password))
    assert isinstance(said, api.Proof)
    return said


async def report(service: Service) -> api.Report:
    said = await service.answer(api.Look())
    assert isinstance(said, api.Report)
    return said


async def test_the_next_server_is_asked_where_one_is_away(directory: DirectoryServer, secret: str) -> None:
    away = gone()
    settings = settings_of(directory, servers=(away, server_of(directory)), password_path=secret)
    said = await proof(Service(settings))
    assert (said.outcome, said.role, said.server) == ("proved", "administrator", f"127.0.0.1:{directory.ldaps}")


async def test_a_server_that_says_no_has_said_it(directory: DirectoryServer, secret: str) -> None:
    settings = settings_of(directory, servers=(server_of(directory), gone()), password_path=secret)
    said = await proof(Service(settings), password="wrong")
    assert (said.outcome, said.server) == ("refused", f"127.0.0.1:{directory.ldaps}")


async def test_a_no_in_a_word_of_its_own_goes_to_no_other_server(pki: DevicePki, directory: DirectoryServer) -> None:
    """constraintViolation, which 389-DS says of an account that is locked."""
    with (
        scripted.speaking(pki, scripted.says(bind=19)) as (first, _asked),
        scripted.speaking(pki, scripted.says()) as (second, heard),
    ):
        service = Service(settings_of(directory, servers=(first, second), bind="user", account="", password_path=""))
        said = await proof(service, "uma")
        assert (said.outcome, said.server) == ("refused", f"127.0.0.1:{first.port}")
        assert service._order() == [first, second]
    assert not heard


async def test_a_server_that_drips_holds_no_thread_and_closes_no_other(
    pki: DevicePki, directory: DirectoryServer, secret: str
) -> None:
    """Each octet comes in time, the answer never does: the threads end with their talks, and others are asked meanwhile."""
    with scripted.speaking(pki, scripted.drip) as (slow, _heard):
        settings = settings_of(directory, servers=(slow, server_of(directory)), password_path=secret, timeout_seconds=1)
        service = Service(settings, clock=lambda: 1_000.0)
        talks = [asyncio.ensure_future(service._standing(slow)) for _ in range(AT_ONCE)]
        await asyncio.sleep(0)
        assert service._free[slow]._value == 0
        assert (await service._standing(slow)).problem == f"{AT_ONCE} talks are under way already"
        assert (await proof(service)).outcome == "proved"
        began = time.monotonic()
        assert all(
            "longer than it may" in one.problem or "no answer" in one.problem or "timed out" in one.problem
            for one in await asyncio.gather(*talks)
        )
        while service._free[slow]._value < AT_ONCE:
            assert time.monotonic() - began < PATIENCE_SECONDS
            await asyncio.sleep(0.05)


async def test_where_no_thread_can_be_started_that_is_said_and_takes_no_talk_away(
    directory: DirectoryServer, secret: str
) -> None:
    here = server_of(directory)
    service = Service(settings_of(directory, password_path=secret))
    with no_threads():
        said = [await proof(service) for _ in range(AT_ONCE + 1)]
    assert {one.outcome for one in said} == {"silent"}
    assert "cannot be asked now: can't start new thread" in said[-1].problem
    assert service._free[here]._value == AT_ONCE
    assert (await proof(service)).outcome == "proved"


def _nested(peer: Any, _tag: int, number: bytes) -> None:
    """A bindResponse that is deeper than Python recurses."""
    inner = b""
    for _ in range(3_000):
        inner = scripted.element(0x30, inner)
    peer.sendall(scripted.message(number, scripted.BIND_SAID, inner))


def _endless(peer: Any, _tag: int, number: bytes) -> None:
    """Entries without an end."""
    one = scripted.message(number, scripted.ENTRY, scripted.element(4, b"cn=x"), scripted.element(0x30)) * 1_000
    while True:
        peer.sendall(one)


def _huge(peer: Any, _tag: int, _number: bytes) -> None:
    """One message that says to be of 2 GiB."""
    peer.sendall(bytes.fromhex("30847fffffff"))
    while True:
        peer.sendall(bytes(65_536))


@pytest.mark.parametrize("code", [9, 15, 72, 79, 127])
async def test_a_no_that_the_standard_does_not_have_goes_to_no_other_server(
    pki: DevicePki, directory: DirectoryServer, code: int
) -> None:
    """Nobody knows what it says, but not yes; at the next server a wrong password would count once more."""
    with (
        scripted.speaking(pki, scripted.says(bind=code)) as (first, _asked),
        scripted.speaking(pki, scripted.says()) as (second, heard),
    ):
        service = Service(settings_of(directory, servers=(first, second), bind="user", account="", password_path=""))
        said = await proof(service, "uma")
        assert (said.outcome, said.server) == ("refused", f"127.0.0.1:{first.port}")
    assert not heard


async def test_where_no_person_is_spoken_of_the_next_server_is_asked_after_such_a_word(
    pki: DevicePki, directory: DirectoryServer, secret: str
) -> None:
    """Of the appliance's own account and of a search it keeps the server from being asked, and is said."""
    here = server_of(directory)
    for script in (scripted.says(bind=127), scripted.says(search=127)):
        with scripted.speaking(pki, script) as (first, _heard):
            service = Service(settings_of(directory, servers=(first, here), password_path=secret))
            assert (await proof(service)).server == f"127.0.0.1:{directory.ldaps}"
            assert "result 127, which is none of the standard's" in (await report(service)).servers[0].problem


async def test_a_name_that_nobody_answers_for_keeps_nobody_from_the_next_server(
    directory: DirectoryServer, secret: str
) -> None:
    """Its talks end in their time, and all of them together have left one thread."""
    asked: list[str] = []
    answered = threading.Event()

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        answered.wait(PATIENCE_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    lost = Server(host="lost.lab.test", port=636)
    settings = settings_of(directory, servers=(lost, server_of(directory)), password_path=secret, timeout_seconds=1)
    service = Service(settings, Names(look_up), clock=lambda: 1_000.0)
    standings = await asyncio.gather(*(service._standing(lost) for _ in range(AT_ONCE)))
    assert {one.problem for one in standings} == {"no name server gives the address of lost.lab.test in time"}
    assert service._free[lost]._value == AT_ONCE
    assert (await proof(service)).outcome == "proved"
    assert asked == ["lost.lab.test"]
    answered.set()


@pytest.mark.parametrize(
    ("script", "word"),
    [(_nested, "recursion"), (_endless, "more than a talk may have"), (_huge, "more than a talk may have")],
)
async def test_a_hostile_first_server_keeps_nobody_from_the_next(
    pki: DevicePki, directory: DirectoryServer, secret: str, script: scripted.Script, word: str
) -> None:
    with scripted.speaking(pki, script) as (hostile, _heard):
        service = Service(settings_of(directory, servers=(hostile, server_of(directory)), password_path=secret))
        said = await proof(service)
        assert (said.outcome, said.server) == ("proved", f"127.0.0.1:{directory.ldaps}")
        assert service._order() == [server_of(directory), hostile]
        first, second = (await report(service)).servers
    assert word in first.problem
    assert not second.problem


async def test_who_was_away_is_asked_after_the_others_for_a_while(directory: DirectoryServer, secret: str) -> None:
    now = 1_000.0
    away, here = gone(), server_of(directory)
    service = Service(settings_of(directory, servers=(away, here), password_path=secret), clock=lambda: now)
    assert service._order() == [away, here]
    await proof(service)
    assert service._order() == [here, away]
    now += PUT_BACK_SECONDS
    assert service._order() == [away, here]


async def test_nobody_answers_is_neither_yes_nor_no_and_says_of_each_server_why(
    directory: DirectoryServer, secret: str
) -> None:
    servers = (gone(), gone())
    said = await proof(Service(settings_of(directory, servers=servers, password_path=secret)))
    assert (said.outcome, said.role) == ("silent", None)
    assert all(f"127.0.0.1:{one.port}: " in said.problem for one in servers)
    assert "refused" in said.problem


async def test_a_server_that_is_silent_takes_no_longer_than_it_may(directory: DirectoryServer, secret: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = Server(host="127.0.0.1", port=listener.getsockname()[1])
        settings = settings_of(directory, servers=(silent,), password_path=secret, timeout_seconds=1)
        began = time.monotonic()
        said = await proof(Service(settings))
        assert said.outcome == "silent"
        assert time.monotonic() - began < PATIENCE_SECONDS


async def test_a_look_says_how_each_server_is_and_is_kept_for_a_moment(directory: DirectoryServer, secret: str) -> None:
    now = 1_000.0
    away = gone()
    service = Service(
        settings_of(directory, servers=(server_of(directory), away), password_path=secret), clock=lambda: now
    )
    first = await report(service)
    assert [(one.server, bool(one.problem)) for one in first.servers] == [
        (f"127.0.0.1:{directory.ldaps}", False),
        (f"127.0.0.1:{away.port}", True),
    ]
    assert not first.silent
    assert await report(service) is first
    now += LOOKED_SECONDS
    assert await report(service) is not first


async def until(true: Callable[[], bool]) -> None:
    """Until it holds, which other threads see to."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not true():  # noqa: ASYNC110 - no thread sets an event of this loop
            await asyncio.sleep(0.01)


async def status(service: Service) -> api.Report:
    said = await service.answer(api.Status())
    assert isinstance(said, api.Report)
    return said


async def test_it_looks_by_the_clock_and_says_at_once_what_the_last_look_said(
    directory: DirectoryServer, secret: str
) -> None:
    """Nobody is dialled for the answer; before the first look nothing is known, and nobody is said to be away."""
    service = Service(settings_of(directory, servers=(gone(), server_of(directory)), password_path=secret))
    assert (await status(service), (await status(service)).silent) == (api.Report(servers=()), False)
    stop = asyncio.Event()
    running = asyncio.ensure_future(service.run(stop))
    await until(lambda: bool(service._report.servers))
    assert [bool(one.problem) for one in (await status(service)).servers] == [True, False]
    assert await status(service) is await status(service)
    stop.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await running


async def test_it_ends_in_the_middle_of_a_look(directory: DirectoryServer, secret: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = Server(host="127.0.0.1", port=listener.getsockname()[1])
        service = Service(settings_of(directory, servers=(silent,), password_path=secret, timeout_seconds=2))
        stop = asyncio.Event()
        running = asyncio.ensure_future(service.run(stop))
        await until(lambda: service._free[silent]._value < AT_ONCE)
        began = time.monotonic()
        stop.set()
        await running
        assert time.monotonic() - began < 2
        await until(lambda: service._free[silent]._value == AT_ONCE)


async def test_how_soon_it_looks_again(directory: DirectoryServer, secret: str, tmp_path: Path) -> None:
    """Soon while nobody can be asked, for whatever reason."""
    (wrong := tmp_path / "wrong.secret").write_text("Not-The-Secret-1")
    here, away = server_of(directory), gone()
    for servers, password_path, seconds in (
        ((here, away), secret, WATCH_SECONDS),
        ((away,), secret, SILENT_SECONDS),
        ((here, away), str(wrong), SILENT_SECONDS),
        ((here,), str(tmp_path / "none"), SILENT_SECONDS),
    ):
        service = Service(settings_of(directory, servers=servers, password_path=password_path))
        assert service.pause(await report(service)) == seconds


async def test_a_server_that_is_busy_refuses_no_account(
    pki: DevicePki, directory: DirectoryServer, secret: str
) -> None:
    """51 speaks of itself, 49 of the account (RFC 4511 A), which is not shown to it again so soon."""
    for code, times, words in ((51, 2, "busy"), (49, 1, "invalidCredentials")):
        now = 1_000.0
        with scripted.speaking(pki, scripted.says(bind=code)) as (server, heard):
            service = Service(settings_of(directory, servers=(server,), password_path=secret), clock=lambda: now)  # noqa: B023 - it is of this round
            for _ in range(2):
                said = await service.look_by_the_clock()
                assert said.silent
                assert said.servers[0].problem.endswith(f"the appliance's own account: {words}")
                now += SILENT_SECONDS
        assert heard.count(scripted.BIND) == times


async def test_who_refuses_our_account_is_left_out_for_an_hour_and_the_others_are_looked_at(
    pki: DevicePki, directory: DirectoryServer, secret: str
) -> None:
    now = 1_000.0
    with scripted.speaking(pki, scripted.says(bind=49)) as (refusing, heard):
        with scripted.speaking(pki, scripted.says()) as (other, _heard):
            settings = settings_of(directory, servers=(refusing, other), password_path=secret)
            service = Service(settings, clock=lambda: now)
            assert not (await service.look_by_the_clock()).silent
        now += WATCH_SECONDS
        said = await service.look_by_the_clock()
        assert said == await status(service)
        assert said.silent
        assert heard.count(scripted.BIND) == 1
        await report(service)  # somebody asks, and has all looked at
        assert heard.count(scripted.BIND) == 2
        now += REFUSED_SECONDS - 1
        await service.look_by_the_clock()
        assert heard.count(scripted.BIND) == 2
        now += 1
        await service.look_by_the_clock()
        assert heard.count(scripted.BIND) == 3


@pytest.mark.parametrize("password", [SECRET, "wrong"])
async def test_a_log_in_shows_that_our_account_is_taken_again(
    directory: DirectoryServer, tmp_path: Path, password: str
) -> None:
    """At once, and looks by the clock are as ever from then on."""
    now = 1_000.0
    (place := tmp_path / "bind.secret").write_text("Not-The-Secret-1")
    service = Service(settings_of(directory, password_path=str(place)), clock=lambda: now)
    assert (await report(service)).silent
    assert (await proof(service)).outcome == "silent"
    assert (await status(service)).silent
    place.write_text(ACCOUNT_SECRET)
    await proof(service, password=password)
    assert [one.problem for one in (await status(service)).servers] == [""]
    place.unlink()
    now += WATCH_SECONDS
    assert (await service.look_by_the_clock()).silent


async def test_a_log_in_is_no_look_where_another_thing_is_amiss(directory: DirectoryServer, secret: str) -> None:
    """It asks for less than a look does."""
    groups = (
        Group(dn=ADMINISTRATORS, role="administrator"),
        Group(dn="cn=none,dc=lab,dc=test", role="auditor"),
    )
    service = Service(settings_of(directory, groups=groups, password_path=secret))
    problem = (await report(service)).servers[0].problem
    assert problem
    assert (await proof(service)).outcome == "proved"
    assert (await status(service)).servers[0].problem == problem


async def test_a_password_of_ours_that_cannot_be_read_is_said_without_it(directory: DirectoryServer) -> None:
    service = Service(settings_of(directory))
    assert (await report(service)).silent
    assert "own account cannot be read" in (await proof(service)).problem


async def test_configd_asks_over_the_socket_and_nobody_else(
    directory: DirectoryServer, secret: str, tmp_path: Path
) -> None:
    path = tmp_path / "directory.sock"
    service = Service(settings_of(directory, password_path=secret))
    async with serving(path, Desk(api.Ask, service.answer, api.LINE_BYTES, allowed=frozenset({os.getuid()}))):
        said = await asyncio.to_thread(CALL, path, DORA, api.Proof)
        assert (said.outcome, said.role) == ("proved", "administrator")
        longest = api.Prove(user="u" * 64, password="\N{GRINNING FACE}" * 512)
        assert (await asyncio.to_thread(CALL, path, longest, api.Proof)).outcome == "refused"
        for wrong in (
            {"do": "directory.prove", "user": "", "password": "x"},
            {"do": "directory.prove", "user": "x" * 65},
        ):
            with pytest.raises(control.ControlError, match="invalid"):
                await asyncio.to_thread(CALL, path, wrong)
    async with serving(path, Desk(api.Ask, service.answer, api.LINE_BYTES, allowed=frozenset({os.getuid() + 1}))):
        with pytest.raises(control.ControlError, match="only configd may ask"):
            await asyncio.to_thread(CALL, path, DORA, api.Proof)


def test_no_password_is_in_the_words_of_a_request() -> None:
    assert SECRET not in f"{DORA!r} {DORA}"


def test_settings_that_say_too_much_or_too_little_are_refused(directory: DirectoryServer, tmp_path: Path) -> None:
    whole: dict[str, Any] = msgspec.to_builtins(settings_of(directory))
    place = tmp_path / "directory.json"
    for change, words in (
        ({"password_path": ""}, "allowed: an account with a password_path"),
        ({"security": "plain"}, "security"),
        ({"servers": []}, "servers"),
        ({"filter": "(uid=*)"}, "unknown field"),
    ):
        place.write_text(json.dumps({**whole, **change}))
        with pytest.raises(SettingsError, match=words):
            load(place)
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none")


def test_the_program_answers_until_it_is_told_to_end(directory: DirectoryServer, secret: str, tmp_path: Path) -> None:
    settings, path = tmp_path / "directory.json", tmp_path / "directory.sock"
    argv = [sys.executable, "-m", "appliance.directory", "--settings", str(settings), "--socket", str(path)]
    settings.write_text("{}")
    assert subprocess.run(argv, capture_output=True, check=False, timeout=PATIENCE_SECONDS).returncode == 78
    settings.write_bytes(msgspec.json.encode(settings_of(directory, password_path=secret)))
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as program:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not path.exists():
            assert program.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if os.getuid() == 0:
            assert CALL(path, api.Look(), api.Report).servers[0].problem == ""
            assert CALL(path, DORA, api.Proof).role == "administrator"
        else:
            with pytest.raises(control.ControlError, match="only configd may ask"):
                CALL(path, api.Look(), api.Report)
        program.send_signal(signal.SIGTERM)
        _out, errors = program.communicate(timeout=PATIENCE_SECONDS)
    assert program.returncode == 0
    assert SECRET.encode() not in errors
    assert ACCOUNT_SECRET.encode() not in errors
