"""One SSH command (`-c`) and scripts on standard input, against a real configd."""

import json
from typing import Any

import pytest

from appliance.configd import api
from sentry_runtime.control import CancelWipe, ExplainedStep, Explanation, OrderWipe, Registered, ShowRegistered
from sentry_runtime.devices.record import DeviceKey, Wipe, WipeKind, WipeMark
from tests.unit.appliance.cli.desk import SECRET, Configd, Run, Running


def test_a_command_answers_on_standard_output(cli: Run, configd: Configd) -> None:
    done = cli("-c", "show version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "version  yes\n", "")
    assert configd.asked == ["session.open", "state.show", "session.close"]
    assert configd.daemon.ledger.entries[1].source.startswith("198.51.100.7 ")


def test_the_same_as_json(cli: Run) -> None:
    done = cli("-c", "sh ver | json")
    assert json.loads(done.stdout) == {"title": "version", "facts": {"version": "yes"}}


@pytest.mark.parametrize("line", ["show FIPS", "show fips", "SHOW Fips"])
def test_keywords_take_any_case(cli: Run, line: str) -> None:
    assert cli("-c", line).stdout == "fips  self-test\n"


@pytest.mark.parametrize("line", ["show sentry EMM-source-verify", "show sentry emm-ips"])
def test_what_an_assessor_types_is_understood(cli: Run, line: str) -> None:
    assert cli("-c", line).returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        "/usr/lib/openssh/sftp-server",
        "scp -t /tmp",
        "rsync --server",
        "show version; id",
        "show version && id",
        "show version | sh",
        "`id`",
        "$(id)",
        "bash",
        "show version > /tmp/x",
        "git-upload-pack '/x'",
        "show log ../../etc/shadow",
        "\x1b[31mred",
    ],
)
def test_anything_but_a_command_is_refused_and_nothing_is_asked_of_configd(
    cli: Run, configd: Configd, line: str
) -> None:
    done = cli("-c", line)
    assert (done.returncode, done.stdout) == (1, "")
    assert "% " in done.stderr
    assert "\x1b" not in done.stderr
    assert configd.asked == ["session.open", "session.close"]


def test_what_was_not_understood_is_marked_with_what_may_stand_there(cli: Run) -> None:
    assert cli("-c", "show ip rooute").stderr.splitlines() == [
        "show ip rooute",
        "        ^",
        "% Unknown word.",
        "  Allowed here: route, name-server, arp, domain-name",
    ]
    assert "% Ambiguous: portalacl, ports, portal, processes." in cli("-c", "show p").stderr


def test_device_names_cannot_speak_to_the_terminal(cli: Run, configd: Configd) -> None:
    configd.topics["devices"] = api.Table(title="devices", columns=("id",), rows=(("\x1b]0;mine\x07",),))
    assert cli("-c", "show sentry devices").stdout.splitlines()[-1] == "\\x1b]0;mine\\x07"


EXPLAINED = Explanation(
    device_id="PHONE1",
    principal="anna@lab.test",
    action="allow",
    reasons=(),
    softened=("unregistered",),
    decided_by="allowed_by_rule",
    rule="pilot",
    answer="it goes to a backend",
    steps=(
        ExplainedStep(row="unknown", asks="is there no entry?", saw="an entry", applies=False),
        ExplainedStep(
            row="allowed_by_rule", asks="does a rule let it pass?", saw="rule \x1b[1mpilot: allow", applies=True
        ),
    ),
    notes=("no source was given",),
)


def test_why_a_device_gets_through_is_a_table_to_read(
    cli: Run, configd: Configd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict first, then the rows down to the one that decides; names in any form, quoted where they need it."""
    asked: list[Any] = []

    def call(_path: str, request: Any, _kind: Any) -> Explanation:
        asked.append(request)
        return EXPLAINED

    monkeypatch.setattr(configd.daemon.actions, "_call", call)
    done = cli("-c", 'show sentry explain phone1 "LAB\\\\Anna" from 192.0.2.1')
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "device              PHONE1",
        "user                anna@lab.test",
        "verdict             allow",
        "would have blocked  unregistered",
        "decided by          allowed_by_rule",
        "rule                pilot",
        "the device gets     it goes to a backend",
        "note                no source was given",
        "",
        "decides  row              asks                      saw",
        "-------  ---------------  ------------------------  ------------------------",
        "         unknown          is there no entry?        an entry",
        "*        allowed_by_rule  does a rule let it pass?  rule \\x1b[1mpilot: allow",
    ]
    told = json.loads(cli("-c", "show sentry explain phone1 LAB\\anna | json").stdout)
    assert (told["action"], told["softened"], told["steps"][1]["applies"]) == ("allow", ["unregistered"], True)
    assert [(one.device_id, one.principal, one.source) for one in asked] == [
        ("phone1", "LAB\\Anna", "192.0.2.1"),
        ("phone1", "LAB\\anna", ""),
    ]


def test_a_privileged_command_says_what_it_needs(cli: Run) -> None:
    for line in ("show running-config", "reload", "configure terminal"):
        done = cli("-c", line)
        assert (done.returncode, done.stderr) == (1, "% This command needs another mode: give `enable` first.\n")
    assert "`enable` and `configure terminal` first" in cli("-c", "hostname gw2.example.test").stderr
    assert cli("-c", "show log").stderr == "% this needs privilege; give `enable` first\n"


def test_a_question_without_a_terminal_is_refused(cli: Run) -> None:
    assert "there is no terminal" in cli("-c", "enable").stderr


@pytest.mark.parametrize("arguments", [("-x",), ("-c",), ("show", "version"), ("-c", "show version", "more")])
def test_wrong_use_is_refused(cli: Run, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "usage: sentry-cli [-c COMMAND]\n")


def test_several_lines_of_one_command_are_done_in_their_order(cli: Run) -> None:
    assert cli("-c", "show version\nshow clock").stdout == "version  yes\nclock  yes\n"


# --- scripts ---------------------------------------------------------------------------------------------------------


def test_a_script_goes_privileged_changes_and_commits(cli: Run, configd: Configd) -> None:
    script = f"""enable
{SECRET}
! a comment, and an empty line

configure terminal
ntp servers 192.0.2.9
no ntp servers 192.0.2.1
dns search lab.test
interface mgmt0
 ip address 198.51.100.2 255.255.255.0
 description "Managers, 2nd floor"
exit
banner text
Two
lines
.
diff
commit comment from a script
end
show revisions | json
"""
    done = cli(stdin=script)
    assert (done.returncode, done.stderr) == (0, "")
    running = configd.daemon.running()
    assert running["ntp"]["servers"] == ["192.0.2.3", "192.0.2.9"]
    assert running["interfaces"]["mgmt0"]["addresses"] == ["192.0.2.2/24", "198.51.100.2/24"]
    assert running["interfaces"]["mgmt0"]["description"] == "Managers, 2nd floor"
    assert running["banner"]["text"] == "Two\nlines\n"
    assert "- ntp servers 192.0.2.1\n+ ntp servers 192.0.2.9\n" in done.stdout
    assert "Revision 2 is running." in done.stdout
    assert '"comment": "from a script"' in done.stdout


def test_a_script_stops_at_its_first_error_and_says_the_line(cli: Run, configd: Configd) -> None:
    done = cli(stdin=f"enable\n{SECRET}\nconfigure terminal\nhostname bad_name\ncommit\n")
    assert done.returncode == 1
    assert done.stderr.startswith("% Line 4: hostname: found 'bad_name'; allowed: a full DNS name")
    assert "config.commit" not in configd.asked


def test_a_wrong_enable_secret_is_refused(cli: Run) -> None:
    done = cli(stdin="enable\nwrong\nshow running-config\n")
    assert (done.returncode, done.stderr) == (1, "% Line 2: the enable secret is wrong\n")


def test_secrets_are_asked_for_and_never_shown(cli: Run, configd: Configd) -> None:
    script = f"enable\n{SECRET}\nconfigure terminal\n"
    done = cli(
        stdin=script + "username alice password\nNew-Password-12345\nNew-Password-12345\nshow users accounts alice\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "! users accounts alice password_hash ********\n" in done.stdout
    assert "New-Password" not in done.stdout
    different = cli(stdin=script + "enable secret\nNew-Password-12345\nNew-Password-54321\n")
    assert "The two are not the same" in different.stderr


@pytest.mark.parametrize(
    "line", ["username alice password X-1", "enable secret X-1", "users accounts alice password X-1"]
)
def test_a_secret_on_the_line_is_refused_and_not_repeated(cli: Run, line: str) -> None:
    done = cli(stdin=f"enable\n{SECRET}\nconfigure terminal\n{line}\n")
    assert "A secret is never typed on the line" in done.stderr
    assert "X-1" not in done.stdout + done.stderr


def test_wrong_settings_are_listed_when_they_are_committed(cli: Run) -> None:
    done = cli(
        stdin=f"enable\n{SECRET}\nconf t\nusers accounts bob role operator\ntls management minimum 1.3\ncommit\n"
    )
    assert done.stderr.splitlines()[0] == "% Line 6: 2 settings are wrong"
    assert (
        "  users.accounts.bob: found neither password_hash nor ssh_keys; allowed: at least one of the two"
        in done.stderr
    )


def test_check_says_what_a_commit_would_do_and_changes_nothing(cli: Run, configd: Configd) -> None:
    done = cli(stdin=f"enable\n{SECRET}\nconf t\nportal idle_minutes 5\ncheck\n")
    assert done.stdout.endswith("- portal idle_minutes 15\n+ portal idle_minutes 5\nThe candidate can be committed.\n")
    assert configd.daemon.running()["portal"]["idle_minutes"] == 15


def test_commit_confirmed_says_when_it_returns(cli: Run, configd: Configd) -> None:
    start = f"enable\n{SECRET}\nconf t\nportal idle_minutes 5\ncommit confirmed 5\n"
    done = cli(stdin=start)
    assert "It returns to the one before at " in done.stdout
    assert configd.daemon.store.pending() is not None
    told = cli(stdin=f"enable\n{SECRET}\nconf t\nconfirm\n")
    assert told.returncode == 0
    assert "* revision 2 by alice returns to the one before at" in told.stderr
    assert configd.daemon.store.pending() is None


def test_rollback_commits_an_earlier_revision(cli: Run, configd: Configd) -> None:
    cli(stdin=f"enable\n{SECRET}\nconf t\nportal idle_minutes 5\ncommit\n")
    done = cli(stdin=f"enable\n{SECRET}\nconf t\nrollback 1\n")
    assert "Revision 3 is running." in done.stdout
    assert configd.daemon.running()["portal"]["idle_minutes"] == 15


def test_discard_forgets(cli: Run) -> None:
    done = cli(stdin=f"enable\n{SECRET}\nconf t\nportal idle_minutes 5\ndiscard\ndiff\n")
    assert done.stdout.endswith("The candidate changes nothing.\n")


def test_devices_are_acted_on(cli: Run, configd: Configd) -> None:
    done = cli(stdin=f"enable\n{SECRET}\ndevice block APPL1 ada@example.test note lost on a train\n")
    assert (done.returncode, done.stderr) == (0, "")
    (_path, request), *_rest = configd.daemon.asked
    assert (request.device_id, request.principal, request.note) == ("APPL1", "ada@example.test", "lost on a train")


def test_redirections_are_forgotten(cli: Run, configd: Configd) -> None:
    done = cli(stdin=f"enable\n{SECRET}\nclear sentry redirects\ncl sen red PHONE1 ada@example.test\n")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "0 forgotten.\n0 forgotten.\n")
    asked = [(request.device_id, request.principal) for _path, request in configd.daemon.asked]
    assert asked == [("", ""), ("PHONE1", "ada@example.test")]


@pytest.mark.parametrize(
    ("line", "kind", "note"),
    [
        ("device wipe APPL1 ada@example.test", WipeKind.DEVICE, "by alice"),
        ("dev wi APPL1 ada@example.test note left in a taxi", WipeKind.DEVICE, "left in a taxi"),
        ("device wipe APPL1 ada@example.test account-only", WipeKind.ACCOUNT, "by alice"),
        ("device wipe APPL1 ada@example.test account-only note she left", WipeKind.ACCOUNT, "she left"),
    ],
)
def test_a_device_is_wiped_when_the_person_says_yes_in_full(
    cli: Run, configd: Configd, line: str, kind: WipeKind, note: str
) -> None:
    configd.daemon.told[ShowRegistered] = [Registered(key=DeviceKey("APPL1", "ada@example.test"))]
    assert "Not done." in cli(stdin=f"enable\n{SECRET}\n{line}\ny\n").stderr
    assert "has no line left to answer it" in cli(stdin=f"enable\n{SECRET}\n{line}\n").stderr
    assert {type(request) for _path, request in configd.daemon.asked} == {ShowRegistered}
    done = cli(stdin=f"enable\n{SECRET}\n{line}\nyes\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "`show sentry device APPL1` says what comes of it." in done.stdout
    (request,) = [request for _path, request in configd.daemon.asked if not isinstance(request, ShowRegistered)]
    assert request == OrderWipe(device_id="APPL1", principal="ada@example.test", kind=kind, note=note, by="alice")


@pytest.mark.parametrize(
    "line", ["device wipe APPL9 ada@example.test", "device wipe APPL9 ada@example.test account-only"]
)
def test_a_device_that_nobody_knows_is_refused_before_anybody_is_asked(cli: Run, configd: Configd, line: str) -> None:
    configd.daemon.told[ShowRegistered] = []
    done = cli(stdin=f"enable\n{SECRET}\n{line}\n")
    assert done.stderr == "% Line 3: found no device APPL9; allowed: one that the UEM knows\n"


def test_a_verdict_is_explained_for_another_command(
    cli: Run, configd: Configd, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def call(_path: str, request: Any, _kind: Any) -> Explanation:
        asked.append(request)
        return EXPLAINED

    monkeypatch.setattr(configd.daemon.actions, "_call", call)
    for rest in ("", " command FolderSync", " from 192.0.2.1 command Ping"):
        assert cli("-c", f"show sentry explain phone1 anna{rest}").returncode == 0
    assert [(one.command, one.source) for one in asked] == [("Sync", ""), ("FolderSync", ""), ("Ping", "192.0.2.1")]


def test_a_word_for_the_settings_goes_with_the_question(cli: Run) -> None:
    assert cli("-c", "show sentry config-properties gateway").stderr.startswith("% this needs privilege")
    done = cli(stdin=f"enable\n{SECRET}\nshow sentry config-properties gateway\n")
    assert done.stdout == "config-properties  gateway\n"


def test_a_wipe_is_cancelled_without_a_question(cli: Run, configd: Configd) -> None:
    configd.daemon.told[CancelWipe] = Wipe(kind=WipeKind.DEVICE, order=3, marks=(WipeMark.HANDED_OUT,))
    done = cli(stdin=f"enable\n{SECRET}\ndevice cancel-wipe APPL1 ada@example.test note found it | json\n")
    assert "the device may wipe itself all the same" in json.loads(done.stdout)["said"]
    ((_path, request),) = configd.daemon.asked
    assert request == CancelWipe(device_id="APPL1", principal="ada@example.test", note="found it", by="alice")


@pytest.mark.parametrize("verb", ["reload", "poweroff"])
def test_the_power_is_kept_on_unless_the_person_says_yes_in_full(cli: Run, configd: Configd, verb: str) -> None:
    assert "Not done." in cli(stdin=f"enable\n{SECRET}\n{verb}\ny\n").stderr
    assert "system.power" not in configd.asked
    assert cli(stdin=f"enable\n{SECRET}\n{verb}\nyes\n").returncode == 0
    assert configd.asked.count("system.power") == 1


def test_with_an_uncommitted_candidate_a_restart_asks_twice_and_commits_first(cli: Run, configd: Configd) -> None:
    edited = f"enable\n{SECRET}\nconf t\nportal idle_minutes 5\nend\nreload\n"
    assert "Not done." in cli(stdin=f"{edited}no\n").stderr
    assert cli(stdin=f"{edited}yes\nyes\n").returncode == 0
    assert configd.asked[-3:] == ["config.commit", "system.power", "session.close"]
    assert configd.daemon.running()["portal"]["idle_minutes"] == 5


def test_the_idle_time_can_only_be_shortened(cli: Run) -> None:
    assert cli(stdin="timeout 5\nshow timeout\n").stdout.startswith("this session: 5 min\n")
    assert "allowed: 1 to 10" in cli(stdin="timeout 11\n").stderr


# --- configd away ----------------------------------------------------------------------------------------------------


def test_without_configd_the_reason_is_clear(cli: Run, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    done = cli("-c", "show version")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("% The configuration service does not answer; try again in a moment.")
