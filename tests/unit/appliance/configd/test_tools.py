"""Ping, look-up, the way to a host, the neighbours and the clock: fixed commands, bounded, read as they print."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from appliance.configd import clock, tools
from appliance.configd.errors import RefusedError
from appliance.process import CommandError, Finished

HEAD = "PING 192.0.2.9 (192.0.2.9) 56(84) bytes of data.\n"
STRANGE = ("-f", "a b", "x;id", "$(id)", "`id`", "../x", "a\nb", "", "-", "ü.example", "x" * 254, "host|sh", "a/b")


@dataclass
class Shell:
    """Answers each command by the first that fits; keeps what was run."""

    answers: list[tuple[str, Finished]] = field(default_factory=list)
    ran: list[list[str]] = field(default_factory=list)

    def __call__(self, argv: list[str]) -> Finished:
        self.ran.append(argv)
        line = " ".join(argv)
        return next((answer for part, answer in self.answers if part in line), Finished(0, "", ""))

    def says(self, part: str, output: str, status: int = 0, errors: str = "") -> None:
        """What a command with `part` in it answers."""
        self.answers.append((part, Finished(status, output, errors)))


@pytest.fixture
def shell() -> Shell:
    made = Shell()
    made.says("getent", "192.0.2.9 STREAM far.example\n192.0.2.9 DGRAM\n")
    return made


@pytest.mark.parametrize("act", [tools.ping, tools.lookup, tools.trace])
@pytest.mark.parametrize("name", STRANGE)
def test_what_is_neither_a_name_nor_an_address_starts_nothing(
    act: Callable[[str, Shell], object], name: str, shell: Shell
) -> None:
    with pytest.raises(RefusedError, match="allowed: a host name"):
        act(name, shell)
    assert shell.ran == []


def test_a_name_stands_behind_the_options_and_cannot_be_one(shell: Shell) -> None:
    tools.ping("far.example", shell)
    tools.lookup("far.example", shell)
    tools.trace("far.example", shell)
    assert all(argv[argv.index("--") :][-1] in ("far.example", "192.0.2.9") for argv in shell.ran if argv[0] == "ping")
    assert ["getent", "--", "ahosts", "far.example"] in shell.ran


def test_a_look_up_tells_each_address_once(shell: Shell) -> None:
    assert tools.lookup("far.example", shell).lines == ("192.0.2.9",)


def test_the_way_is_told_hop_by_hop_up_to_the_host(shell: Shell) -> None:
    shell.says("-t 1 ", f"{HEAD}From 192.0.2.1 icmp_seq=1 Time to live exceeded\n\n--- statistics ---\n", 1)
    shell.says("-t 2 ", f"{HEAD}\n--- 192.0.2.9 ping statistics ---\n1 packets transmitted, 0 received\n", 1)
    shell.says("-t 3 ", f"{HEAD}64 bytes from 192.0.2.9: icmp_seq=1 ttl=62 time=1.20 ms\n")
    assert tools.trace("far.example", shell).rows == (
        ("1", "192.0.2.1", "on the way"),
        ("2", "", "no answer"),
        ("3", "192.0.2.9", "1.20 ms"),
    )


def test_ipv6_routers_answer_in_other_words(shell: Shell) -> None:
    shell.says("-t 1 ", "PING x\nFrom fe80::1%mgmt0 icmp_seq=1 Time exceeded: Hop limit\n", 1)
    shell.says("-t 2 ", "PING x\n64 bytes from 2001:db8::9: icmp_seq=1 ttl=63 time=0.5 ms\n")
    assert [row[1] for row in tools.trace("far.example", shell).rows] == ["fe80::1", "2001:db8::9"]


@pytest.mark.parametrize(
    ("said", "errors", "row"),
    [
        (
            f"{HEAD}From 192.0.2.2 icmp_seq=1 Destination Host Unreachable\n",
            "",
            ("192.0.2.2", "destination host unreachable"),
        ),
        (f"{HEAD}From 192.0.2.7 icmp_seq=1 Packet filtered\n", "", ("192.0.2.7", "packet filtered")),
        ("", "ping: connect: Network is unreachable\n", ("", "ping: connect: Network is unreachable")),
    ],
)
def test_a_refusal_ends_the_way(shell: Shell, said: str, errors: str, row: tuple[str, str]) -> None:
    shell.says("ping", said, 1, errors)
    assert tools.trace("far.example", shell).rows == (("1", *row),)


def test_a_way_that_is_silent_is_given_up(shell: Shell) -> None:
    shell.says("ping", HEAD, 1)
    assert len(tools.trace("far.example", shell).rows) == tools.SILENT


def test_no_way_is_longer_than_the_bound(shell: Shell) -> None:
    shell.says("ping", f"{HEAD}From 192.0.2.1 icmp_seq=1 Time to live exceeded\n", 1)
    assert len(tools.trace("far.example", shell).rows) == tools.HOPS


def test_a_name_without_an_address_is_said(shell: Shell) -> None:
    shell.answers = [("getent", Finished(2, "", ""))]
    with pytest.raises(RefusedError, match=r"found no address of far\.example"):
        tools.trace("far.example", shell)


def test_neighbours_that_were_learnt_are_forgotten_and_listed() -> None:
    held = [
        {"dst": "10.98.2.1", "dev": "mgmt0", "lladdr": "02:00:00:00:00:01", "state": ["REACHABLE"]},
        {"dst": "10.98.2.9", "dev": "mgmt0", "lladdr": "02:00:00:00:00:09", "state": ["PERMANENT"]},
    ]
    ran: list[str] = []

    def run(argv: list[str]) -> str:
        ran.append(" ".join(argv))
        return json.dumps(held) if "-json" in argv else ""

    assert tools.clear_neighbours(run).rows == (("10.98.2.1", "02:00:00:00:00:01", "mgmt0"),)
    assert ran == ["ip -json neighbor show", "ip neighbor flush all"]


# --- the clock -------------------------------------------------------------------------------------------------------

UNSYNCHRONISED = "00000000,,0,0.0,0,0\n"


def test_the_clock_is_set_where_nobody_keeps_it(shell: Shell) -> None:
    shell.says("chronyc", UNSYNCHRONISED)
    ran: list[list[str]] = []

    def run(argv: list[str]) -> str:
        ran.append(argv)
        return ""

    clock.set_clock("2026-01-31T18:00:00Z", shell, run)
    assert ran[0][0] == "systemd-run"
    assert ran[0][ran[0].index("--") :] == ["--", "date", "--utc", "--set=@1769882400"]


def test_a_clock_that_a_time_server_keeps_is_not_set(shell: Shell) -> None:
    shell.says("chronyc", "0A620201,10.98.2.1,3,1800000000.1\n")
    with pytest.raises(RefusedError, match=r"follows the time server 10\.98\.2\.1"):
        clock.set_clock("2026-01-31T18:00:00Z", shell, lambda _argv: pytest.fail("the clock was set"))


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-02-30T00:00:00Z", "2026-01-31 18:00", "1999-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "@0"],
)
def test_a_time_that_is_none_is_refused(shell: Shell, text: str) -> None:
    shell.says("chronyc", UNSYNCHRONISED)
    with pytest.raises(RefusedError, match="allowed: a time in UTC such as"):
        clock.set_clock(text, shell, lambda _argv: pytest.fail("the clock was set"))


def test_a_machine_that_may_not_set_its_clock_says_so(shell: Shell) -> None:
    shell.says("chronyc", "", 1, "506 Cannot talk to daemon")

    def run(argv: list[str]) -> str:
        raise CommandError(argv, 1, "date: cannot set date: Operation not permitted")

    with pytest.raises(CommandError, match="Operation not permitted"):
        clock.set_clock("2026-01-31T18:00:00Z", shell, run)
