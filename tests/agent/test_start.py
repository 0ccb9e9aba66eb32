"""Start and stop: wrong settings, wrong peers, a second instance, the audit lines, the administrator's command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from sentry_runtime import control
from sentry_runtime.control import ControlError
from sentry_runtime.devices.record import DeviceKey, Record, State, WipeMark
from sentry_runtime.eas.policy import Policy
from sentry_runtime.uem.api import Decision
from sentry_runtime.uem_server import admin
from tests.agent.stage import ME, ROOT, Stage

ANNA = DeviceKey("C1", "anna@lab.test")
NOBODY = "nobody"


def ends(module: str, path: Path) -> tuple[int, str]:
    """Start a process that is to end by itself; its exit code and what it said."""
    users = ["--gateway-user", ME, "--management-user", ME] if module == "agent" else ["--admin-user", ME]
    command = [sys.executable, "-m", f"sentry_runtime.{module}", "--settings", str(path), *users]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, done.stderr


def test_missing_settings_end_the_process_with_78_and_the_path(tmp_path: Path) -> None:
    """systemd does not restart on it: a restart would not help."""
    for module, program in (("agent", "sentry-agent"), ("uem_server", "sentry-uem")):
        missing = tmp_path / "missing.json"
        assert ends(module, missing) == (78, f"{program}: {missing}: cannot be read: No such file or directory\n")


def test_an_unknown_setting_is_named(stage: Stage) -> None:
    """Nothing is silently without effect."""
    path = stage.write(stage.settings)
    tree = json.loads(path.read_text())
    tree["agent"]["fail_mood"] = "allow"
    path.write_text(json.dumps(tree))
    code, words = ends("agent", path)
    assert code == 78
    assert words == f"sentry-agent: {path}: Object contains unknown field `fail_mood` - at `$.agent`\n"


def test_without_an_embedded_uem_in_the_settings_it_does_not_start(stage: Stage) -> None:
    """In core and cloud mode there is none."""
    path = stage.write(msgspec.structs.replace(stage.settings, uem_server=None))
    code, words = ends("uem_server", path)
    assert (code, words) == (78, f"sentry-uem: {path}: `uem_server` is missing: this appliance has no UEM in the box\n")


def test_a_default_policy_that_is_not_there_is_named(stage: Stage) -> None:
    """Rather than that devices silently had no policy."""
    assert stage.settings.uem_server is not None
    uem = msgspec.structs.replace(stage.settings.uem_server, policies={"strict": Policy()}, default_policy="strikt")
    path = stage.write(msgspec.structs.replace(stage.settings, uem_server=uem))
    code, words = ends("uem_server", path)
    assert (code, words) == (78, "sentry-uem: uem_server.default_policy: there is no policy 'strikt'\n")


def test_a_missing_certificate_is_named(stage: Stage) -> None:
    """Both files, because either may be the one."""
    broken = msgspec.structs.replace(stage.settings.agent.uem.tls, certificate="/nowhere.pem")
    link = msgspec.structs.replace(stage.settings.agent.uem, tls=broken)
    agent = msgspec.structs.replace(stage.settings.agent, uem=link)
    code, words = ends("agent", stage.write(msgspec.structs.replace(stage.settings, agent=agent)))
    assert code == 78
    assert words.startswith("sentry-agent: certificate /nowhere.pem with key ")
    assert words.endswith("No such file or directory\n")


def test_a_missing_folder_of_the_device_list_ends_the_agent_with_69(stage: Stage) -> None:
    """Something outside of the settings is not there; systemd tries again."""
    (stage.folder / "devices").rmdir()
    code, words = ends("agent", stage.write(stage.settings))
    assert code == 69
    assert "the device list cannot be opened for writing" in words


def test_a_database_that_cannot_be_opened_ends_the_uem_with_69(stage: Stage) -> None:
    """With the database's own words."""
    assert stage.settings.uem_server is not None
    server = msgspec.structs.replace(stage.settings.uem_server, database="sqlite:////nowhere/uem.sqlite")
    code, words = ends("uem_server", stage.write(msgspec.structs.replace(stage.settings, uem_server=server)))
    assert code == 69
    assert "unable to open database file" in words


def test_a_second_instance_does_not_push_the_first_aside(stage: Stage) -> None:
    """Not the agent, not the UEM; the first ones go on."""
    stage.uem()
    stage.agent()
    path = stage.write(stage.settings)
    assert [ends(module, path)[0] for module in ("agent", "uem_server")] == [69, 69]
    assert stage.ask(ANNA).state is State.BLOCKED


def test_the_sockets_are_for_owner_and_group_only(stage: Stage) -> None:
    """And the database for the owner only."""
    stage.uem()
    stage.agent()
    modes = {name: (stage.folder / name).stat().st_mode & 0o777 for name in ("agent.sock", "admin.sock", "uem.sqlite")}
    assert modes == {"agent.sock": 0o660, "admin.sock": 0o660, "uem.sqlite": 0o600}


@pytest.mark.parametrize(
    ("gateway", "management", "forbidden"),
    [
        (ME, NOBODY, {"ListDevices", "ShowDevice", "Register"}),
        (NOBODY, ME, {"Ask", "Follow", "MarkWipe", "Register"}),
        (NOBODY, NOBODY, {"Ask", "Follow", "MarkWipe", "Status", "ListDevices", "ShowDevice", "Register"}),
    ],
)
@pytest.mark.skipif(ME == NOBODY, reason="the peer must not be the stranger")
def test_the_agent_serves_each_peer_only_its_own_requests(
    stage: Stage, gateway: str, management: str, forbidden: set[str]
) -> None:
    """By the uid that the kernel gives; `Register` is the UEM's and nobody's here."""
    stage.start("agent", "--gateway-user", gateway, "--management-user", management)
    requests: list[control.Request] = [
        control.Ask(key=ANNA, device_type="iPhone"),
        control.Follow(),
        control.MarkWipe(key=ANNA, order=1, mark=WipeMark.VERIFIED),
        control.Status(),
        control.ListDevices(),
        control.ShowDevice(device_id="C1"),
        control.Register(device_id="C1", principal="anna@lab.test"),
    ]
    refused: dict[str, str] = {}
    for request in requests:
        try:
            control.call(stage.paths.agent_socket, request)
        except ControlError as error:
            refused[type(request).__name__] = str(error)
    assert refused == {name: f"forbidden: uid {os.getuid()} may not send {name} here" for name in forbidden}


@pytest.mark.skipif(ME == NOBODY, reason="the peer must not be the stranger")
def test_the_uem_is_administered_by_its_administrator_only(stage: Stage) -> None:
    """Whoever can open the socket but is somebody else is refused."""
    stage.start("uem_server", "--admin-user", NOBODY)
    with pytest.raises(ControlError, match=f"forbidden: uid {os.getuid()} may not send Register here"):
        control.call(stage.paths.uem_admin, control.Register(device_id="C1", principal="anna@lab.test"))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"{}", "invalid"),
        (b"not json", "invalid"),
        (b'{"do": "reboot"}', "invalid"),
        (b'{"do": "ask", "key": {"device_id": "C1", "principal": "x"}, "device_type": "t", "shell": "id"}', "invalid"),
        (b'{"do": "devices.list", "limit": 0}', "invalid"),
        (b'{"do": "devices.list", "after": {"device_id": "", "principal": ""}}', "invalid"),
        (b"x" * 70_000, "invalid"),
    ],
)
def test_nonsense_on_the_socket_is_refused_and_the_agent_goes_on(stage: Stage, line: bytes, kind: str) -> None:
    """With a word for programs and one for people."""
    stage.agent()
    answer = stage.raw(line + b"\n")
    assert msgspec.json.decode(answer, type=control.Answer).error is not None
    assert json.loads(answer)["error"]["kind"] == kind
    assert stage.status()["devices"] == 0


def test_one_connection_carries_one_request_after_the_other(stage: Stage) -> None:
    """A client need not reconnect."""
    stage.agent()
    status = msgspec.json.encode(control.Status()) + b"\n"
    answers = [json.loads(line)["result"]["devices"] for line in stage.raw(status + status, lines=2).splitlines()]
    assert answers == [0, 0]


def test_what_happens_to_a_device_is_in_the_audit_trail(stage: Stage) -> None:
    """Start, link, contact, block, stop: each one line, joined by device and principal, with no surprise in it."""
    with stage.audit() as trail:
        stage.uem()
        trail.until("uem_started")
        agent = stage.agent()
        lines = trail.until("uem_up")
        assert lines[0]["event"] == "agent_started"
        stage.ask(ANNA)
        contact, decided = trail.until("device_decided")
        message = control.SetState(device_id="C1", principal="anna@lab.test", state=State.BLOCKED)
        control.call(stage.paths.uem_admin, message)
        changed = [line for line in trail.until("device_changed") if line["event"] != "uem_changed"]
        agent.terminate()
        trail.until("agent_stopped")
    named = {"device_id": "C1", "principal": "anna@lab.test", "action": "blocked"}
    assert contact.items() >= {**named, "event": "uem_contact", "reasons": ["unregistered"]}.items()
    assert decided.items() >= {**named, "version": contact["version"]}.items()
    assert changed[-1].items() >= {**named, "reasons": ["manual"]}.items()


def test_the_audit_says_which_administrator_made_a_change(stage: Stage) -> None:
    """For every kind of change; a name that would forge a line is refused."""
    device, who = "C1", "CORP\\Anna"
    with stage.audit() as trail:
        stage.uem()
        for message, action in (
            (control.Register(device_id=device, principal=who, by="olga"), "allowed"),
            (control.SetState(device_id=device, principal=who, state=State.BLOCKED, by="olga"), "blocked"),
            (control.Remove(device_id=device, principal=who, by="olga"), "removed"),
        ):
            control.call(stage.paths.uem_admin, message)
            line = trail.until("uem_changed")[-1]
            assert (line["by"], line["principal"], line["action"]) == ("olga", "anna@corp", action)
    with pytest.raises(ControlError, match=r"invalid: a control character is not allowed - at `\$\.by`"):
        control.call(stage.paths.uem_admin, control.Register(device_id="C1", principal="anna", by="a\nb"))


def test_the_administrators_command_registers_blocks_allows_removes_and_lists(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids and principals are taken as people write them."""
    stage.uem()
    socket = ["--socket", stage.paths.uem_admin]
    for arguments, row in (
        (["register", "c1", "Anna@Lab.Test", "--type", "iPhone"], "C1 anna@lab.test allowed registered - iPhone"),
        (["block", "C1", "anna@lab.test", "--note", "lost"], "C1 anna@lab.test blocked registered manual iPhone lost"),
        (["allow", "c2", "CORP\\Bert"], "C2 bert@corp allowed - - -"),
        (["remove", "c2", "bert@corp"], "C2 bert@corp removed - - -"),
        (["list"], "C1 anna@lab.test blocked registered manual iPhone lost"),
        (
            ["wipe", "c1", "anna@lab.test", "--note", "gone"],
            "C1 anna@lab.test wipe_pending registered device iPhone gone",
        ),
        (["cancel-wipe", "c1", "anna@lab.test"], "device"),
        (["wipe", "c1", "anna@lab.test", "--account-only"], "C1 anna@lab.test wipe_pending registered account iPhone"),
        (["cancel-wipe", "c1", "anna@lab.test", "--note", "found"], "account"),
        (["list"], "C1 anna@lab.test blocked registered manual iPhone found"),
    ):
        assert admin.main([*socket, *arguments]) == 0
        assert capsys.readouterr().out == row.replace(" ", "\t") + "\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["remove", "C9", "anna"], "unknown: device C9 of anna is not known"),
        (["wipe", "C9", "anna"], "unknown: device C9 of anna is not known"),
        (["block", "C1", "anna smith"], r"invalid: a principal is `user`, `user@domain` or `DOMAIN\user`"),
        (["block", "C" * 65, "anna"], "invalid: `device_id` of 1 to 64 bytes"),
        (["allow", "C1", "anna", "--note", "x" * 257], "invalid: at most 256 characters are allowed, found 257"),
    ],
)
def test_the_administrators_command_says_what_is_wrong(
    stage: Stage, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """On stderr, with exit code 1."""
    stage.uem()
    assert admin.main(["--socket", stage.paths.uem_admin, *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"sentry-uem-admin: {words}")


def test_the_administrators_command_without_a_uem_names_the_socket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thing to look at."""
    assert admin.main(["--socket", str(tmp_path / "admin.sock"), "list"]) == 1
    assert capsys.readouterr().err == f"sentry-uem-admin: {tmp_path}/admin.sock: No such file or directory\n"


def test_a_list_longer_than_a_line_comes_in_pages(stage: Stage) -> None:
    """A page ends where the line would, and the next goes on behind it."""
    keys = [DeviceKey(f"D{number:04}", "ä" * 150) for number in range(1_200)]
    stage.enrol(keys, note="ä" * 256)
    stage.uem()
    listed: list[Decision] = []
    pages = 0
    while page := control.call(
        stage.paths.uem_admin,
        control.ListRegistered(after=listed[-1].version if listed else 0, limit=9_999),
        list[Decision],
    ):
        listed += page
        pages += 1
    assert [DeviceKey(decision.device_id, decision.principal) for decision in listed] == keys
    assert pages > 1


def test_the_list_of_one_device_is_its_records(stage: Stage) -> None:
    """Under every principal."""
    stage.uem()
    stage.agent()
    records = [stage.ask(DeviceKey("C1", principal)) for principal in ("anna", "bert")]
    stage.ask(DeviceKey("C10", "anna"))
    assert control.call(stage.paths.agent_socket, control.ShowDevice(device_id="C1"), list[Record]) == records
