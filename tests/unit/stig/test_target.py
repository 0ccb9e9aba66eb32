"""What the scanner is told of a machine, and how it gets to the command line there."""

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from stig.__main__ import main
from stig.conversation import Conversation, EndedError
from stig.door import ADMIN, COLLECTOR, SshDoor, ssh_config
from stig.errors import FactError, InputError
from stig.run import run
from stig.target import Login, SnmpUser, Target, by_command_line, snmp_user

NONE: dict[str, Any] = {"key": None, "known_hosts": None, "ca_file": None}


def test_an_address_with_an_account_is_a_target_of_the_command_line_alone() -> None:
    """Its host keys are the person's own."""
    target = by_command_line("ssh://auditor@127.0.0.1", **NONE)
    assert (target.collector, target.admin, target.looks_as) == (None, Login("auditor"), "auditor")
    assert (target.address, target.ssh_port, target.key_alias) == ("127.0.0.1", 22, "")
    assert target.known_hosts == Path.home() / ".ssh" / "known_hosts"
    assert target.zones == {"management": "127.0.0.1"}
    assert target.gateway == "127.0.0.1"


def test_a_name_is_resolved_once_and_its_host_key_looked_up_by_the_name() -> None:
    """As ssh(1) writes it into known_hosts."""
    target = by_command_line("ssh://auditor@localhost:2222", **NONE)
    assert target.address in ("127.0.0.1", "::1")
    assert (target.name, target.key_alias) == ("localhost", "[localhost]:2222")
    assert by_command_line("ssh://auditor@localhost", **NONE).key_alias == "localhost"


@pytest.mark.parametrize(
    "url",
    [
        "gw1",
        "auditor@gw1",
        "ssh://gw1",
        "ssh://auditor:secret@gw1",
        "ssh://auditor@gw1/etc",
        "https://auditor@gw1",
        "ssh://a@b:x",
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(InputError, match=r"allowed: ssh://user@host"):
        by_command_line(url, **NONE)


ASKER = "user: monitor\nauth: SHA-256\nauth_file: auth\nprivacy: AES-256\nprivacy_file: /etc/privacy\n"


def test_who_asks_by_snmp_stands_in_a_file_beside_its_passphrases(tmp_path: Path) -> None:
    (tmp_path / "snmp.yml").write_text(ASKER)
    asker = snmp_user(tmp_path / "snmp.yml")
    assert asker == SnmpUser("monitor", "SHA-256", tmp_path / "auth", "AES-256", Path("/etc/privacy"))
    assert by_command_line("ssh://auditor@127.0.0.1", **NONE, snmp=asker).snmp == asker


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ASKER.replace("auth_file", "auth_path"), "auth_path"),
        ("user: monitor\n", "missing required field `auth`"),
        ("- x\n", "Expected `object`"),
    ],
)
def test_a_file_that_does_not_say_so_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "snmp.yml").write_text(text)
    with pytest.raises(InputError, match=said):
        snmp_user(tmp_path / "snmp.yml")
    with pytest.raises(InputError, match="cannot be read"):
        snmp_user(tmp_path / "nothing.yml")


def test_a_name_without_an_address_is_told() -> None:
    with pytest.raises(InputError, match="has no address here"):
        by_command_line("ssh://auditor@nobody.invalid", **NONE)


def test_what_the_address_says_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", "ssh://auditor@127.0.0.1", "--user", "somebody"]) == 2
    assert "found --user beside ssh://auditor@127.0.0.1" in capsys.readouterr().err


def read(config: Path, name: str) -> dict[str, str]:
    """What ssh itself makes of the configuration."""
    done = run(["ssh", "-G", "-F", str(config), name])
    assert done.status == 0, done.errors
    return dict(line.split(" ", 1) for line in done.output.splitlines() if " " in line)


def test_ssh_reads_from_the_configuration_what_is_meant(tmp_path: Path) -> None:
    """By ssh's own reading: with a key that and no other, without one the person's own; the host's key always checked."""
    known = tmp_path / "known"
    with_key = Target("gw", "192.0.2.1", Login("root-like", tmp_path / "k1"), Login("admin", tmp_path / "k2"), known)
    found = read(ssh_config(with_key, tmp_path), ADMIN)
    assert (found["hostname"], found["user"], found["identityfile"]) == ("192.0.2.1", "admin", str(tmp_path / "k2"))
    assert (found["identitiesonly"], found["stricthostkeychecking"]) == ("yes", "true")
    assert read(tmp_path / "ssh_config", COLLECTOR)["user"] == "root-like"
    without = Target("gw", "192.0.2.1", None, Login("auditor"), known, ssh_port=2222, key_alias="[gw.example]:2222")
    found = read(ssh_config(without, tmp_path), ADMIN)
    assert (found["user"], found["port"], found["identitiesonly"]) == ("auditor", "2222", "no")
    assert (found["hostkeyalias"], found["userknownhostsfile"]) == ("[gw.example]:2222", str(known))


def test_an_ssh_that_cannot_connect_ends_the_conversation_with_its_words(tmp_path: Path) -> None:
    """Exit status 255 is ssh's own, by which the scanner knows not to try again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        (tmp_path / "known").write_text("")
        target = Target("gw", "127.0.0.1", None, Login("auditor"), tmp_path / "known", ssh_port=port)
        talk = Conversation(SshDoor(ssh_config(target, tmp_path), "auditor").argv())
        with pytest.raises(EndedError) as caught:
            talk.ask("facts zone", seconds=20)
        talk.close()
        thread.join(timeout=60)  # a machine with much else to do lets it come late
    assert caught.value.status == 255
    assert str(caught.value)


def program(body: str) -> list[str]:
    return [sys.executable, "-c", f"import sys, time\n{body}"]


def test_answers_are_told_apart_and_words_beside_them_are_no_part_of_them() -> None:
    """Two questions to one process, which also says something on its standard error."""
    body = """
for line in sys.stdin:
    print('{\\n  "a": "' + line.strip() + '"\\n}', flush=True)
    print("* told", file=sys.stderr)
"""
    talk = Conversation(program(body))
    assert talk.ask("one", seconds=20) == b'{\n  "a": "one | json"\n}\n'
    assert talk.ask("two", seconds=20) == b'{\n  "a": "two | json"\n}\n'
    talk.close()


def test_a_refusal_ends_with_its_reason_and_a_silence_with_the_time_it_took() -> None:
    talk = Conversation(program('sys.stdin.readline(); sys.stderr.write("* old news\\n% not allowed\\n"); sys.exit(1)'))
    with pytest.raises(EndedError, match=r"^% not allowed$"):
        talk.ask("facts zone", seconds=20)
    talk.close()
    silent = Conversation(program("sys.stdin.readline(); time.sleep(60)"))
    with pytest.raises(FactError, match=r"no answer within 0\.2 s"):
        silent.ask("facts zone", seconds=0.2)
    silent.close()
