"""The CLI's reference page, with every command of the table: `python -m appliance.cli.reference > docs/cli.md`."""

import sys
from dataclasses import replace

from appliance.cli.actions import HELP
from appliance.cli.command import Command, Mode
from appliance.cli.ios import NO_COMMANDS
from appliance.cli.table import COMMANDS

HEAD = """\
# Command line

Made by `python -m appliance.cli.reference > docs/cli.md`; do not edit.

The command line is an administrator's log-in shell, over SSH (port 22) and at the console. It is a client of configd and
works while the portal is stopped. There is no way from it to another program: no shell escape, pager, editor or file transfer.

| mode | prompt | entered with | left with |
|---|---|---|---|
| EXEC | `host>` | log-in | `exit`, `logout`, Ctrl-D |
| PRIVILEGED | `host#` | `enable` (asks for the enable secret) | `disable`, `end` |
| CONFIG | `host(config)#` | `configure terminal` | `exit`, `end` |
| INTERFACE | `host(config-if)#` | `interface NAME` | `exit`, `end` |

An idle session ends after `cli idle_minutes`; `timeout` shortens that for one session. Secrets are asked for without echo:
on the line they are refused, and no line with one is kept in the history.

## Scripts

    ssh admin@gateway 'show version'
    ssh admin@gateway 'show sentry devices | json'
    ssh admin@gateway < script

A script holds one command a line; what a command asks for (the enable secret, a yes) is taken from the next line. It stops at
the first line that cannot be done, which is said with its number on standard error. Exit status 0: done, 1: not.

    enable
    the-enable-secret
    configure terminal
    ntp servers 192.0.2.1
    commit comment a second time server

## Changing the configuration

In CONFIG mode every setting of the [configuration reference](configuration.md) is a command: its path and its value,
`portal idle_minutes 10`, `users accounts bob role operator`. For a list the item is added (`ntp servers 192.0.2.1`). `no` brings
a default back, or removes an item or a named instance (`no users accounts bob`). A text of several lines is typed after its
name (`banner text`), up to a line with a single dot. All this changes this session's candidate only: `diff` compares it with
what runs, `check` has every daemon vet it, `commit` makes it real, `discard` forgets it. `commit confirmed 5` returns to the
revision before after 5 minutes unless somebody gives `confirm`. `show running-config` prints lines that make the same
configuration again.

`setup` asks for what an appliance needs, one question after the other, offers what stands now, shows what would change and
commits it; it can be run again at any time. Some settings have a second name, as other routers have it (`ip route`,
`statichost`, `shutdown`); `interface vlan 20` makes the VLAN `vlan20`. What the product that this one stands in for has, and
where it is here, is in [parity.md](parity.md).

## Keys and help
"""
SECTIONS = (
    (Mode.EXEC, "EXEC and PRIVILEGED mode"),
    (Mode.PRIVILEGED, "PRIVILEGED mode only"),
    (Mode.CONFIG, "CONFIG and INTERFACE mode, besides the settings, `no`, `show`, `do` and `interface NAME`"),
    (Mode.INTERFACE, "INTERFACE mode only"),
)


def page() -> str:
    """The whole page as Markdown."""
    keys = "".join(f"    {line}\n" for line in HELP)
    sections = (_section(mode, title) for mode, title in SECTIONS)
    return "\n".join([HEAD, keys, "## Commands", *sections, _taken_back()])


def _taken_back() -> str:
    rows = "".join(_row(replace(each, syntax=f"no {each.syntax}")) for each in NO_COMMANDS)
    return f"\n### Behind `no`, besides the settings\n\n| command | what it does |\n|---|---|\n{rows}"


def _section(mode: Mode, title: str) -> str:
    rows = "".join(_row(each) for each in COMMANDS if _first(each) is mode and "<secret>" not in each.syntax)
    return f"\n### {title}\n\n| command | what it does |\n|---|---|\n{rows}"


def _first(command: Command) -> Mode:
    return next(mode for mode in Mode if mode in command.modes)


def _row(command: Command) -> str:
    syntax = " ".join(_plain(part) for part in command.syntax.split())
    return f"| `{syntax}` | {command.help} |\n"


def _plain(part: str) -> str:
    """`<action:start|stop>` as `start\\|stop`, which a table takes."""
    return part.strip("<>").partition(":")[2].replace("|", "\\|") if ":" in part else part


if __name__ == "__main__":
    sys.stdout.write(page())
