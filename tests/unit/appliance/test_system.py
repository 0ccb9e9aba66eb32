"""Processes, files and syslog: where the management plane touches the machine."""

import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from appliance import process, system
from appliance.audit import Entry, SyslogAudit
from appliance.features.base import File
from appliance.process import CommandError
from appliance.system import Appliance, Held, MachineError, listening_ports

# --- processes ---------------------------------------------------------------------------------------------------


def test_a_command_gets_its_input_and_gives_its_output() -> None:
    assert process.run(["cat"], stdin="hello") == "hello"
    assert process.run(["cat"]) == ""


def test_a_command_that_fails_says_which_and_why() -> None:
    with pytest.raises(CommandError, match=r"ls -- /no/such/place: exit status 2: .*No such file"):
        process.run(["ls", "--", "/no/such/place"])
    assert process.attempt(["false"]).status == 1


def test_a_command_that_is_not_there_says_so() -> None:
    with pytest.raises(CommandError, match="no-such-program: exit status 127: No such file"):
        process.run(["no-such-program"])


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(CommandError, match=r"not finished after 0\.1 s") as ended:
        process.run(["sleep", "60"], seconds=0.1)
    assert ended.value.status == process.TIMED_OUT


def test_output_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OUTPUT_BYTES", 1_000)
    assert len(process.run(["head", "-c", "500000", "/dev/zero"])) == 1_000


def test_nothing_of_our_environment_reaches_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("SECRET", "x")
    names = {line.partition("=")[0] for line in process.run(["env"]).splitlines()}
    assert names == {"PATH", "LC_ALL", "HOME", "TZ"}


def test_no_shell_reads_the_words() -> None:
    assert process.run(["echo", "$(id)", ";", "`id`"]) == "$(id) ; `id`\n"


# --- files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def box(tmp_path: Path) -> Appliance:
    return Appliance(lambda reference: reference, root=tmp_path, owners=False)


def test_a_file_is_written_whole_with_its_mode(box: Appliance, tmp_path: Path) -> None:
    file = File("text\n", mode=0o640)
    assert not box.matches("/etc/new/file", file)
    box.write("/etc/new/file", file)
    assert box.matches("/etc/new/file", file)
    assert stat.S_IMODE((tmp_path / "etc/new/file").stat().st_mode) == 0o640
    assert not box.matches("/etc/new/file", File("text\n", mode=0o600))
    assert not box.matches("/etc/new/file", File("other\n", mode=0o640))
    assert os.listdir(tmp_path / "etc/new") == ["file"]  # noqa: PTH208 - hidden files count


@pytest.mark.parametrize("content", [b"text", b"\xff\xfe\x00", b""])
def test_what_stood_there_comes_back_byte_for_byte(box: Appliance, tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "file"
    place.write_bytes(content)
    place.chmod(0o604)
    held = msgspec.json.decode(msgspec.json.encode(box.held("/file")), type=Held)  # as the journal keeps it
    box.write("/file", File("new"))
    box.restore("/file", held)
    assert (place.read_bytes(), stat.S_IMODE(place.stat().st_mode)) == (content, 0o604)


def test_nothing_comes_back_as_nothing(box: Appliance, tmp_path: Path) -> None:
    assert box.held("/file") is None
    box.write("/file", File("new"))
    box.restore("/file", None)
    box.restore("/file", None)
    assert not (tmp_path / "file").exists()


def test_a_folder_in_the_way_is_left_alone(box: Appliance, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(MachineError, match="/file: is neither a file nor a symbolic link"):
        box.held("/file")
    with pytest.raises(MachineError, match="/file: cannot be written: Is a directory"):
        box.write("/file", File("new"))
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - no half-written file stays


def test_a_file_for_an_account_that_is_not_there_names_it(tmp_path: Path) -> None:
    owned = Appliance(lambda reference: reference, root=tmp_path)
    with pytest.raises(MachineError, match="/file: should belong to no-such-account:root"):
        owned.write("/file", File("new", owner="no-such-account"))
    assert not (tmp_path / "file").exists()


def test_listening_ports_are_read_from_the_kernel_s_table() -> None:
    rows = ["0: 0100007F:2382 00000000:0000 0A", "1: 00000000:01BB 00000000:0000 01", "2: " + "0" * 32 + ":0016 0:0 0A"]
    assert listening_ports("\n".join(["sl local rem st", *rows, ""])) == [9090, 22]


def test_a_real_listener_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert port in Appliance(str).listening()
        assert Appliance(str).await_ports([port]) == frozenset()


def test_waiting_for_a_port_ends(box: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "PROBE_SECONDS", 0.0)
    assert box.await_ports([443]) == {443}


def test_while_the_machine_boots_nobody_waits_for_a_unit(tmp_path: Path) -> None:
    ran: list[list[str]] = []

    def run(argv: list[str], **_rest: object) -> str:
        ran.append(argv)
        return ""

    box = Appliance(str, root=tmp_path, run=run)
    box.act("a.service", "reload", wait=False)
    box.act("a.service", "restart")
    assert ran == [
        ["systemctl", "--no-block", "reload-or-restart", "--", "a.service"],
        ["systemctl", "restart", "--", "a.service"],
    ]


def test_units_that_are_started_together_have_as_long_as_one_by_one(tmp_path: Path) -> None:
    ran: list[tuple[list[str], float]] = []

    def run(argv: list[str], *, seconds: float) -> str:
        ran.append((argv, seconds))
        return ""

    Appliance(str, root=tmp_path, run=run).start(["a.service", "b.service", "c.service"])
    assert ran == [(["systemctl", "start", "--", "a.service", "b.service", "c.service"], 3 * process.SECONDS)]


# --- audit -------------------------------------------------------------------------------------------------------

ENTRY = Entry(time="2027-01-15T08:00:00Z", event="config.commit", user="alice", path="x" * 1_000)


def test_an_entry_is_one_line_of_json_with_facility_and_tag(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        audit = SyslogAudit(str(tmp_path / "log"))
        audit.write(ENTRY)
        line = log.recv(65_536).decode()
        audit.close()
    head, _, body = line.partition(": ")
    assert head == f"<85>sentry-configd[{os.getpid()}]"
    held = msgspec.json.decode(body, type=Entry)
    assert (held.user, held.result, len(held.path)) == ("alice", "ok", 256)
    assert "\n" not in body


def test_without_syslog_the_entry_goes_to_standard_error_and_a_new_syslog_is_found(tmp_path: Path) -> None:
    said: list[str] = []
    audit = SyslogAudit(str(tmp_path / "log"), fallback=said.append)
    audit.write(ENTRY)
    assert len(said) == 1
    for _restart in range(2):
        (tmp_path / "log").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(str(tmp_path / "log"))
            audit.write(ENTRY)
            assert b"config.commit" in log.recv(65_536)
    audit.close()
    assert len(said) == 1
