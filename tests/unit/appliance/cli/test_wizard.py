"""`setup`: what is asked, what it makes of the answers, and that giving up changes nothing."""

from typing import Any

import pytest

from appliance.configd import api
from tests.unit.appliance.cli.desk import HOST, SECRET, Configd, Dialogue, Run

NEW = "New-Password-12345"
# One answer for each question, in their order; "" keeps what stands.
KEEP = {
    "account": "",
    "password": f"{NEW}\n{NEW}",  # alice has none yet
    "another enable secret": "no",
    "name": "",
    "interface": "",
    "zones": "",
    "addresses": "",
    "router": "",
    "networks": "",
    "dns": "",
    "search": "",
    "ntp": "",
    "uem": "",
}
LATER = {**KEEP, "password": "no"}  # whether to set another


def answers(questions: dict[str, str], **changed: str) -> str:
    """A script's answers."""
    assert changed.keys() <= questions.keys()
    return "".join(f"{answer}\n" for answer in {**questions, **changed}.values())


def script(*parts: str) -> str:
    """A privileged script."""
    return f"enable\n{SECRET}\n" + "".join(parts)


def leaves(cli: Run, configd: Configd) -> dict[str, Any]:
    """Set up once with a password, so that the questions are those of every later time."""
    done = cli(stdin=script("setup\n", answers(KEEP), "yes\n0\n"))
    assert (done.returncode, done.stderr) == (0, "")
    return configd.daemon.running()


def test_what_is_answered_is_shown_and_committed(cli: Run, configd: Configd) -> None:
    given = answers(
        KEEP,
        name="gw9.example.test",
        addresses="192.0.2.9/24, 198.51.100.9/24",
        router="192.0.2.1",
        dns="192.0.2.53",
        search="lab.test",
        ntp="192.0.2.1,192.0.2.4",
    )
    done = cli(stdin=script("setup\n", given, "yes\n5\nconfigure terminal\nconfirm\n"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "+ hostname gw9.example.test" in done.stdout
    assert "Revision 2 is running." in done.stdout
    assert configd.daemon.store.pending() is None
    running = configd.daemon.running()
    assert running["interfaces"]["mgmt0"]["addresses"] == ["192.0.2.9/24", "198.51.100.9/24"]
    assert running["interfaces"]["mgmt0"]["gateway"] == "192.0.2.1"
    assert (running["dns"]["servers"], running["dns"]["search"]) == (["192.0.2.53"], ["lab.test"])
    assert running["ntp"]["servers"] == ["192.0.2.1", "192.0.2.4"]
    assert running["users"]["accounts"]["alice"]["password_hash"].startswith("secret:")
    assert NEW not in done.stdout + done.stderr
    assert configd.daemon.store.revisions()[0].comment == "setup"


def test_run_again_with_nothing_but_enter_it_changes_nothing(cli: Run, configd: Configd) -> None:
    before = leaves(cli, configd)
    done = cli(stdin=script("setup\n", answers(LATER)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Nothing is different from what runs.\n")
    assert configd.daemon.running() == before


def test_what_may_be_absent_is_taken_back_by_its_word(cli: Run, configd: Configd) -> None:
    leaves(cli, configd)
    confirmed = "yes\n5\nconfigure terminal\nconfirm\n"
    cli(stdin=script("setup\n", answers(LATER, dns="192.0.2.53", router="192.0.2.1"), confirmed))
    assert configd.daemon.running()["dns"]["servers"] == ["192.0.2.53"]
    cli(stdin=script("setup\n", answers(LATER, dns="none", router="none"), confirmed))
    assert configd.daemon.running()["dns"]["servers"] == []
    assert "gateway" not in configd.daemon.running()["interfaces"]["mgmt0"]


# which question | its answer | what it is refused with
REFUSED = (
    ("name", "bad_name", "allowed: a full DNS name"),
    ("interface", "eth9", "allowed: mgmt0"),
    ("zones", "dmz", "device, management, backend"),
    ("addresses", "192.0.2.9", "allowed: an address with its prefix length"),
    ("router", "nowhere", "allowed: an IPv4 or IPv6 address"),
    ("networks", "everybody", "a network such as"),
    ("ntp", "not a server", "allowed: an IPv4 or IPv6 address of one host"),
    ("uem", "another", "allowed: embedded, core, cloud"),
    ("account", "root", "allowed: a lower-case letter"),
    ("password", f"{NEW}\nanother", "The two are not the same"),
)


@pytest.mark.parametrize(("question", "answer", "allowed"), REFUSED)
def test_a_wrong_answer_ends_a_script_and_leaves_no_candidate(
    question: str, answer: str, allowed: str, cli: Run, configd: Configd
) -> None:
    before = configd.daemon.running()
    done = cli(stdin=script("setup\n", answers(KEEP, **{question: answer}), "yes\n0\n"))
    assert done.returncode == 1
    assert allowed in done.stderr
    assert configd.daemon.running() == before
    assert configd.asked[-2:] == ["config.discard", "session.close"]


def test_a_no_at_the_end_leaves_everything_as_it_was(cli: Run, configd: Configd) -> None:
    before = configd.daemon.running()
    done = cli(stdin=script("setup\n", answers(KEEP, name="gw9.example.test"), "no\n"))
    assert "Not done; everything is as it was." in done.stderr
    assert configd.daemon.running() == before
    assert "config.discard" in configd.asked


def test_it_does_not_mix_with_a_candidate_that_is_being_edited(cli: Run) -> None:
    done = cli(stdin=script("configure terminal\nportal idle_minutes 5\nend\nsetup\n"))
    assert "The candidate has changes; `commit` or `discard` them first." in done.stderr


def test_a_commit_with_a_time_limit_waits_for_confirmation(cli: Run, configd: Configd) -> None:
    done = cli(stdin=script("setup\n", answers(KEEP, name="gw9.example.test"), "yes\n5\n"))
    assert "It returns to the one before at " in done.stdout
    assert configd.daemon.store.pending() is not None


def test_what_would_cut_the_very_session_off_is_not_committed_for_good(cli: Run, configd: Configd) -> None:
    before = configd.daemon.running()
    done = cli(stdin=script("setup\n", answers(KEEP, addresses="192.0.2.9/24"), "yes\n0\n"))
    assert "interfaces.mgmt0: found no longer 192.0.2.2/24, by which you may be connected" in done.stderr
    assert "The answers are kept" in done.stdout
    assert configd.daemon.running() == before


def test_what_a_commit_refuses_is_kept_to_be_mended(cli: Run, configd: Configd) -> None:
    """The router lies on no network of the interface, which only the whole tree shows."""
    given = answers(KEEP, router="203.0.113.1")
    done = cli(stdin=script("setup\n", given, "yes\n0\nconfigure terminal\ndiff\n"))
    assert "interfaces.mgmt0.gateway: found 203.0.113.1" in done.stderr
    assert "The answers are kept" in done.stdout
    assert "config.discard" not in configd.asked


def test_another_mode_of_the_uem_is_asked_for_what_it_needs(cli: Run, configd: Configd) -> None:
    given = answers(KEEP, uem="cloud\nhttps://uem.example.test:9443\n-----BEGIN\n.\n")
    done = cli(stdin=script("setup\n", given, "yes\n0\n"))
    assert "uem.authorities: found '-----BEGIN" in done.stderr
    asked = [entry.path for entry in configd.daemon.ledger.entries if entry.event == "config.set"]
    assert asked[-3:] == ["uem.mode", "uem.url", "uem.authorities"]


def test_at_a_terminal_a_wrong_answer_is_asked_for_again(dialogue: Dialogue, configd: Configd) -> None:
    dialogue.expect(rf"{HOST}>\s*$")
    dialogue.do("enable", r"secret:\s*$")
    dialogue.answer(SECRET)
    dialogue.do("setup", r"account \[alice\]:\s*$")
    dialogue.send("\r")
    for _time in range(2):
        dialogue.expect(r"(password of alice|Once more):\s*$")
        dialogue.send(f"{NEW}\r")
    dialogue.expect(r"another enable secret[?] \[yes/no\]\s*$")
    dialogue.send("no\r")
    dialogue.expect(r"Full name of this appliance \[gw1\.example\.test\]:\s*$")
    dialogue.send("bad_name\r")
    dialogue.expect(
        r"(?s)hostname: found 'bad_name'; allowed: a full DNS name.*Full name of this appliance \[.*\]:\s*$"
    )
    dialogue.send("\x03")
    dialogue.expect(rf"(?s)Given up.*{HOST}#\s*$")
    assert "config.discard" in configd.asked
    assert configd.daemon.running()["hostname"] == "gw1.example.test"


def test_the_kernel_s_interfaces_are_offered(cli: Run, configd: Configd) -> None:
    columns = ("interface", "zone", "state", "addresses", "hardware", "MTU")
    links = tuple((name, "", "up", "", "", "1500") for name in ("lo", "eth7", "mgmt0"))
    configd.topics["interfaces"] = api.Table(title="interfaces", columns=columns, rows=links)
    done = cli(stdin=script("setup\n", answers(KEEP, interface="lo")))
    assert "allowed: eth7, mgmt0" in done.stderr
