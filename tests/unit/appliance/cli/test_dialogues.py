"""A person at a terminal: prompts, keys, secrets, idle time, signals."""

import os
import signal
import time
from pathlib import Path

import pytest

from appliance.cli.__main__ import main
from sentry_runtime.control import OrderWipe, Registered, ShowRegistered
from sentry_runtime.devices.record import DeviceKey
from tests.unit.appliance.cli.desk import HOST, SECRET, WAIT_SECONDS, Configd, Dialogue, Running

QUESTION = r"(no\]|secret:|more:|\(Enter goes on, q ends\))\s*$"


def enter(dialogue: Dialogue) -> None:
    """Wait for the first prompt and go privileged."""
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.do("enable", QUESTION)
    dialogue.answer(SECRET)


def test_the_prompt_shows_the_mode(dialogue: Dialogue) -> None:
    enter(dialogue)
    assert dialogue.do("conf t").endswith(f"{HOST}(config)#")
    assert dialogue.do("interface mgmt0").endswith(f"{HOST}(config-if)#")
    assert dialogue.do("end").endswith(f"{HOST}(config)#")
    assert dialogue.do("end").endswith(f"{HOST}#")
    assert dialogue.do("disable").endswith(f"{HOST}>")
    dialogue.send("exit\r")
    assert dialogue.end() == 0


def test_the_enable_secret_is_not_shown_not_even_its_length(dialogue: Dialogue) -> None:
    enter(dialogue)
    assert SECRET not in dialogue.raw
    assert "*" not in dialogue.raw


def test_a_wipe_asks_at_the_terminal_what_it_would_delete(dialogue: Dialogue, configd: Configd) -> None:
    configd.daemon.told[ShowRegistered] = [Registered(key=DeviceKey("APPL1", "ada@example.test"))]
    enter(dialogue)
    asked = dialogue.do("device wipe APPL1 ada@example.test", QUESTION)
    assert "Really delete everything on device APPL1? [yes/no]" in asked
    assert "Not done." in dialogue.answer("y")
    asked = dialogue.do("device wipe APPL1 ada@example.test account-only", QUESTION)
    assert "Really delete this user's account and its data on device APPL1? [yes/no]" in asked
    assert {type(request) for _path, request in configd.daemon.asked} == {ShowRegistered}
    assert "a device that comes with an older version is blocked" in dialogue.answer("yes").replace("\n", " ")
    assert [type(request) for _path, request in configd.daemon.asked].count(OrderWipe) == 1


def test_a_wrong_line_gets_a_caret_and_the_candidates(dialogue: Dialogue) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    assert "      ^\n% Unknown word.\n  Allowed here: route, name-server, arp" in dialogue.do("sh ip nothing").replace(
        "        ", "      "
    )


def test_a_question_mark_helps_at_once_and_leaves_the_line_as_it_is(dialogue: Dialogue) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.send("show ?")
    # The line as typed stands on the screen before the help comes, and again behind it.
    dialogue.expect(rf"(?s)version\s+What runs here.*{HOST}> show\s*$")
    dialogue.send("ve?")
    dialogue.expect(rf"\n\s+version\s+What runs here.*\n{HOST}> show ve\s*$")
    assert "version  yes" in dialogue.do("r")


def test_in_config_mode_help_tells_what_a_setting_may_be(dialogue: Dialogue) -> None:
    enter(dialogue)
    dialogue.do("conf t")
    dialogue.send("portal idle_minutes ?")
    dialogue.expect(r"(?s)a whole number from.*portal idle_minutes\s*$")


def test_tab_completes_words_and_lists_the_ways_on(dialogue: Dialogue) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.send("sho\tver\t\r")
    dialogue.expect(r"version  yes")
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.send("show i\t")
    assert "interfaces" in dialogue.expect(r"ip\b")


def test_tab_completes_names_from_the_candidate(dialogue: Dialogue) -> None:
    enter(dialogue)
    dialogue.do("conf t")
    dialogue.send("no users accounts al\t")
    dialogue.expect(r"accounts alice")


def test_do_looks_from_the_configuration_modes(dialogue: Dialogue) -> None:
    enter(dialogue)
    dialogue.do("conf t")
    assert "version  yes" in dialogue.do("do show version")
    assert "Unknown word" in dialogue.do("do exit")
    assert "% hostname: found 'bad_name'; allowed: a full DNS name" in dialogue.do("hostname bad_name")


def test_the_history_brings_lines_back_but_none_with_a_secret(dialogue: Dialogue) -> None:
    enter(dialogue)
    dialogue.do("show version")
    dialogue.do("enable Hunter-2")
    dialogue.do("username alice password Hunter-2")
    dialogue.send("\x10")
    dialogue.expect("show version")
    shown = dialogue.raw.count("Hunter-2")
    dialogue.send("\x10\x10\x10\x0e\x0e\x0e\x0e\r")
    dialogue.expect(rf"{HOST}#\s*$")
    assert dialogue.raw.count("Hunter-2") == shown


def test_ctrl_c_gives_the_line_up_and_ctrl_d_leaves(dialogue: Dialogue, configd: Configd) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.send("show nonsense\x03")
    dialogue.expect(rf"nonsense[\s\S]*{HOST}>\s*$")
    assert "version  yes" in dialogue.do("show version")
    dialogue.send("\x04")
    assert dialogue.end() == 0
    assert configd.asked[-1] == "session.close"


def test_ctrl_c_does_not_break_a_command_that_configd_is_doing(dialogue: Dialogue, configd: Configd) -> None:
    """Breaking the connection would end the session and lose the candidate, and stop nothing."""
    dialogue.expect(rf"{HOST}>\s*$")
    configd.free.clear()
    dialogue.send("show version\r")
    assert configd.busy.wait(WAIT_SECONDS)
    dialogue.send("\x03")
    dialogue.expect("% This cannot be stopped half-way")
    configd.free.set()
    dialogue.expect(rf"version  yes[\s\S]*{HOST}>\s*$")


def test_who_types_is_not_idle(configd: Configd) -> None:
    """configd, which ends idle sessions too, is told while the line is still being typed."""
    configd.idle_seconds(4)
    dialogue = Dialogue(configd.path)
    dialogue.expect(rf"{HOST}>\s*$")
    began = time.monotonic()
    while time.monotonic() - began < 8:
        dialogue.send("x\x08")
        time.sleep(0.5)
    assert "version  yes" in dialogue.do("show version")
    dialogue.send("exit\r")
    assert dialogue.end() == 0


def test_without_configd_it_waits_and_says_so(configd: Configd, server: Running) -> None:
    server.stop()
    dialogue = Dialogue(configd.path)
    dialogue.expect("Waiting for it; Ctrl-C gives up")
    server.start()
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.send("exit\r")
    assert dialogue.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGQUIT])
def test_it_cannot_be_suspended(dialogue: Dialogue, number: signal.Signals) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    os.kill(dialogue.pid, number)
    dialogue.send("\x1a\x1c")
    assert os.waitpid(dialogue.pid, os.WNOHANG | os.WUNTRACED) == (0, 0)
    dialogue.send("\x15")
    assert "version  yes" in dialogue.do("show version")


def test_a_hang_up_ends_the_session(dialogue: Dialogue, configd: Configd) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    os.kill(dialogue.pid, signal.SIGHUP)
    dialogue.end()
    assert configd.daemon.sessions.all() == ()


@pytest.mark.parametrize("keys", ["\x18\x05", "\x1b!id\r", "\x1b:", "v", "!id\r", "\x18\x18", "|sh\r", "\x1bx"])
def test_no_key_starts_a_program(dialogue: Dialogue, keys: str) -> None:
    """Editor, system prompt, ex mode, shell escapes of pagers: the process has no child, ever."""
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.send(f"{keys}\x03")
    # By what it prints, not by its echo: while the CLI is still busy with those keys the terminal echoes, too.
    dialogue.send("show version\r")
    dialogue.expect(rf"version  yes[\s\S]*{HOST}>\s*$")
    assert Path(f"/proc/{dialogue.pid}/task/{dialogue.pid}/children").read_text() == ""


def test_an_idle_session_ends_and_says_why(server: Running, configd: Configd) -> None:
    configd.idle_seconds(2)
    dialogue = Dialogue(configd.path)
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.expect(r"The session ends: nothing was typed for 0\.0333333 min\.")
    assert dialogue.end() == 0


def test_an_unanswered_question_is_idle_too(configd: Configd) -> None:
    configd.idle_seconds(2)
    dialogue = Dialogue(configd.path)
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.do("enable", QUESTION)
    dialogue.expect("The session ends")
    assert dialogue.end() == 0


def test_a_restart_of_configd_is_said_and_survived(dialogue: Dialogue, server: Running) -> None:
    enter(dialogue)
    dialogue.do("conf t")
    server.stop()
    assert "% The configuration service does not answer" in dialogue.do("portal idle_minutes 5")
    server.daemon.restart()
    server.start()
    assert "configd was restarted" in dialogue.do("portal idle_minutes 5")
    assert "version  yes" in dialogue.do("show version")


def test_a_session_that_configd_ended_is_over(dialogue: Dialogue, configd: Configd) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    for held in configd.daemon.sessions.all():
        configd.daemon.sessions.close(held.handle)
    dialogue.send("show version\r")
    dialogue.expect("The session has ended: it was idle too long, or the account was changed")
    assert dialogue.end() == 0


def test_notices_are_told_before_the_next_prompt(dialogue: Dialogue, configd: Configd) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    configd.daemon.sessions.tell_all("the commit was rolled\x1b[2Jback")
    assert "* the commit was rolled\\x1b[2Jback" in dialogue.do("show version")


def test_long_answers_pause_when_asked_to(dialogue: Dialogue) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.do("terminal length 3")
    first = dialogue.do("help", QUESTION)
    assert first.count("\n") == 3
    dialogue.answer("q", shown=True)


def test_too_many_sessions_are_refused_with_the_reason(configd: Configd, capfd: pytest.CaptureFixture[str]) -> None:
    crowd = []
    for _ in range(5):  # what ssh max_sessions allows by default
        crowd.append(Dialogue(configd.path))
        crowd[-1].expect(rf"{HOST}>\s*$")
    assert main(["-c", "show version"], socket=str(configd.path)) == 1
    assert "the limit of 5 concurrent sessions is reached" in capfd.readouterr().err
    for each in crowd:
        each.send("exit\r")
        assert each.end() == 0
