"""The facts service at its real socket: it runs the list's commands for who may ask, and nothing else for anybody."""

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from stig import service
from stig.commands import COMMANDS, INPUT, LACKING, Standpoint, argv, depends
from stig.errors import FactError

ME = frozenset({os.getuid()})
HERE = {"user": "alice", "client": "127.0.0.1"}


def asked(
    folder: Path, *lines: bytes, allowed: frozenset[int] = ME, idle_seconds: float = 0.2
) -> list[dict[str, Any] | None]:
    """What the service answers to each line, each over a connection of its own; None: it hung up. It has ended by itself."""

    async def talk() -> list[dict[str, Any] | None]:
        place = folder / "facts.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(place))
            listener.listen()
            serving = asyncio.create_task(service.Service(allowed).serve(listener, idle_seconds=idle_seconds))
            answers = [await one(place, line) for line in lines]
            await asyncio.wait_for(serving, 20)
        return answers

    return asyncio.run(talk())


async def one(place: Path, line: bytes) -> dict[str, Any] | None:
    reader, writer = await asyncio.open_unix_connection(str(place))
    writer.write(line)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return json.loads(answer) if answer else None


def read(**fields: str) -> bytes:
    return json.dumps({"do": "facts.read", **HERE, **fields}).encode() + b"\n"


def test_a_fact_is_what_its_command_printed_with_the_command_beside_it(tmp_path: Path) -> None:
    """As it was run, and as the list has it."""
    (answer,) = asked(tmp_path, read(name="release"))
    assert answer is not None
    fact = answer["result"]
    assert (fact["fact"], fact["listed"], fact["command"]) == (
        "release",
        ["cat", "/etc/os-release"],
        "cat /etc/os-release",
    )
    assert (fact["status"], fact["output"], fact["errors"]) == (0, Path("/etc/os-release").read_text(), "")


def test_a_command_that_fails_or_is_not_there_is_an_answer_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "release", ("cat", "/no/such/file"))
    monkeypatch.setitem(COMMANDS, "zone", ("no-such-program",))
    failed, missing = asked(tmp_path, read(name="release"), read(name="zone"))
    assert failed is not None and missing is not None  # noqa: PT018 - both have an answer
    assert failed["result"]["status"] == 1
    assert "/no/such/file" in failed["result"]["errors"]
    assert missing["result"]["status"] == 127


def test_what_a_command_is_given_comes_from_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate for a password; every other command gets nothing."""
    monkeypatch.setitem(COMMANDS, "pwscore_upper", ("cat",))
    monkeypatch.setitem(COMMANDS, "zone", ("cat",))
    given, nothing = asked(tmp_path, read(name="pwscore_upper"), read(name="zone"))
    assert given is not None and nothing is not None  # noqa: PT018 - as above
    assert (given["result"]["output"], nothing["result"]["output"]) == (f"{LACKING['upper']}\n", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (read(name="reboot"), "found the fact 'reboot'; allowed: sshd, nft"),
        (read(name="cat /etc/shadow"), "found the fact 'cat /etc/shadow'"),
        (read(name="sshd", user="root,lport=1"), "found the account 'root,lport=1'"),
        (
            read(name="sshd", client="10.0.0.1,user=root"),
            "found '10.0.0.1,user=root'; allowed: an IPv4 or IPv6 address",
        ),
        (read(name="x" * 65), "length <= 64"),
        (read(name="zone", command="id"), "unknown field `command`"),
        (b'{"do": "facts.run"}\n', "facts.run"),
        (b"nonsense\n", "malformed"),
        (b"\xff\xfe\n", "malformed"),
    ],
)
def test_nothing_but_a_name_of_the_list_can_be_said(tmp_path: Path, line: bytes, said: str) -> None:
    """No command, no path, no argument; and what goes into a command is an account and an address."""
    (answer,) = asked(tmp_path, line)
    assert answer is not None
    assert answer["error"]["kind"] == "invalid"
    assert said in answer["error"]["message"]


def test_whom_it_does_not_know_gets_nothing(tmp_path: Path) -> None:
    (answer,) = asked(tmp_path, read(name="release"), allowed=frozenset({os.getuid() + 1}))
    assert answer == {"error": {"kind": "forbidden", "message": "only configd may ask"}}


def test_who_talks_without_end_or_says_half_a_line_is_hung_up_on(tmp_path: Path) -> None:
    """And the next one is served."""
    long, half, good = asked(tmp_path, b"x" * 100_000 + b"\n", b'{"do":', read(name="release"))
    assert (long, half) == (None, None)
    assert good is not None


def test_the_list_can_be_had_with_every_command(tmp_path: Path) -> None:
    (answer,) = asked(tmp_path, b'{"do": "facts.list"}\n')
    assert answer is not None
    assert dict(answer["result"])["nft"] == "nft -j list ruleset"
    assert [name for name, _command in answer["result"]] == list(COMMANDS)


def test_the_list_has_no_shell_and_only_its_three_places_to_fill_in() -> None:
    """Whatever is filled in, a command keeps its number of words."""
    seen_from = Standpoint(admin="alice", client="192.0.2.7", address="2001:db8::1")
    for name, words in COMMANDS.items():
        assert words[0] not in ("sh", "bash", "dash", "env", "sudo", "ssh-keygen", "python3"), name
        filled = argv(name, seen_from)
        assert len(filled) == len(words)
        assert (filled != words) == depends(name)
    assert [name for name in COMMANDS if depends(name)] == ["sshd"]
    assert set(INPUT) == {name for name, words in COMMANDS.items() if words == ("pwscore",)}


@pytest.mark.parametrize("client", ["", "gw1", "10.0.0.1/8", "10.0.0.1 "])
def test_what_is_no_address_is_no_standpoint(client: str) -> None:
    with pytest.raises(FactError, match="allowed: an IPv4 or IPv6 address"):
        Standpoint(admin="alice", client=client, address="127.0.0.1")


def test_an_answer_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to do instead; a part of a fact would be judged as the whole."""
    monkeypatch.setattr(service, "OUTPUT_CHARACTERS", 10)
    with pytest.raises(FactError, match="release: more than 10 characters"):
        service.read(service.ReadFact(name="release", **HERE))
