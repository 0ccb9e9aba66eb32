"""`setup`: asks for what an appliance needs, one question after the other, and commits it once it was looked at.

What is configured already is offered as the answer, so that it can be run again. Every answer goes into the session's
candidate at once, through the same verb as a typed setting: what is wrong is said there and then, with what is allowed. Who
gives up leaves everything as it was.
"""

import contextlib
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.cli.command import CommandError
from appliance.cli.config_lines import change_lines
from appliance.cli.configure import Path, commit_or_try, current, put_value, remove, twice
from appliance.cli.output import Output, safe
from appliance.cli.shell import Leave, Shell, reasons
from appliance.configd import api
from appliance.configd.client import Refused, Unreachable

NONE = "none"  # takes a setting back that may be absent
DHCP = "dhcp"
MODES = ("embedded", "core", "cloud")
ZONES = ("device", "management", "backend")
TEXT_END = "."
MINUTE_DIGITS = 4  # how many are allowed is for the commit to say

Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """One setting: where it stands, what is asked, and whether it may be `none`. `lines`: the answer has several lines."""

    path: Path
    asks: str
    optional: bool = False
    lines: bool = False


def setup(shell: Shell, _values: Values) -> Output:
    """Ask, show what would change, and commit it. Raises `CommandError` where the person does not want to."""
    if shell.call(api.DiffConfig, tuple[api.Change, ...]):
        raise CommandError("The candidate has changes; `commit` or `discard` them first.")
    shell.terminal.write(
        [
            "Each question shows in brackets what stands now; Enter keeps it. Ctrl-C gives up and changes nothing.",
            f"`{NONE}` takes back what may be absent.",
        ]
    )
    try:
        _ask_all(shell)
        if not _reviewed(shell):
            _forget(shell)
            return Output(("Nothing is different from what runs.",), {"changed": False})
    except BaseException:  # Ctrl-C and a hang-up, too: nothing half-asked may stay to be committed later
        _forget(shell)
        raise
    return _commit(shell)


def _forget(shell: Shell) -> None:
    """A configd that does not answer has forgotten by itself, and what went wrong before is what is to be said."""
    with contextlib.suppress(Refused, Unreachable, CommandError, Leave):
        shell.call(api.Discard, type(None))


def _ask_all(shell: Shell) -> None:
    _administrator(shell)
    _enable_secret(shell)
    _ask(shell, Question(("hostname",), "Full name of this appliance"))
    _network(shell)
    _ask(shell, Question(("dns", "servers"), "DNS servers", optional=True))
    _ask(shell, Question(("dns", "search"), "Domains tried behind short names", optional=True))
    _ask(shell, Question(("ntp", "servers"), "Time servers (two or more)"))
    _uem(shell)
    _backend(shell)


# --- one question ----------------------------------------------------------------------------------------------------


def _until_taken(shell: Shell, attempt: Callable[[], None]) -> None:
    """Ask again until the answer is taken. A script has no second answer: there the refusal ends it."""
    while True:
        try:
            attempt()
        except (Refused, CommandError) as error:
            if not shell.terminal.interactive:
                raise
            shell.terminal.write(reasons(error))
        else:
            return


def _ask(shell: Shell, question: Question) -> None:
    def attempt() -> None:
        held = current(shell, question.path)
        answer = _answer(shell, question.asks, _shown(held), lines=question.lines)
        if answer == NONE and question.optional:
            if held:
                remove(shell, question.path)
        elif answer:
            put_value(shell, question.path, answer)
        elif not held and not question.optional:
            raise CommandError(f"Found nothing; {question.asks} is needed.")

    _until_taken(shell, attempt)


def _answer(shell: Shell, asks: str, held: str, *, lines: bool = False) -> str:
    """What the person says; "" keeps what stands now."""
    if not lines:
        return shell.terminal.ask(f"{asks} [{safe(held)}]: ").strip()
    first = shell.terminal.ask(f"{asks} [{'set' if held else ''}]; a line with a single dot ends it: ")
    if first.strip() in ("", NONE, TEXT_END):
        return "" if first.strip() == TEXT_END else first.strip()
    taken = [first]
    while (line := shell.terminal.ask("")) != TEXT_END:
        taken.append(line)
    return "".join(f"{line}\n" for line in taken)


def _shown(held: Any) -> str:
    if isinstance(held, list):
        return ",".join(map(str, held))
    return "" if held is None else str(held)


def _choose(shell: Shell, asks: str, held: str, allowed: Iterable[str]) -> str:
    words = tuple(allowed)
    answer = _answer(shell, f"{asks} ({', '.join(words)})", held) or held
    if answer not in words:
        raise CommandError(f"Found {answer or 'nothing'}; allowed: {', '.join(words)}.")
    return answer


# --- network ---------------------------------------------------------------------------------------------------------


def _network(shell: Shell) -> None:
    """The interface to manage from: name, zones, address, gateway, and who may manage."""
    name: list[str] = []
    _until_taken(shell, lambda: name.append(_interface(shell)))
    path = ("interfaces", name[-1])
    _until_taken(shell, lambda: _zones(shell, path))
    _until_taken(shell, lambda: _address(shell, path))
    _ask(shell, Question((*path, "gateway"), "Default router", optional=True))
    networks: Path = ("firewall", "management_networks")
    own = _own_networks(shell, path)
    if own and not current(shell, networks):
        put_value(shell, networks, own)
    _ask(shell, Question(networks, "Networks of administrators"))


def _interface(shell: Shell) -> str:
    shown = shell.call(api.Show, api.Shown, topic="interfaces")
    there = [row[0] for row in shown.rows if row[0] != "lo"] if isinstance(shown, api.Table) else []
    held = current(shell, ("interfaces",)) or {}
    managing = [name for name, one in held.items() if "management" in (one.get("zones") or ())]
    first = (*managing, *held, *there, "")[0]
    known = tuple(dict.fromkeys((*there, *held)))
    return _choose(shell, "Interface to manage from", first, known) if known else _answer(shell, "Interface", first)


def _zones(shell: Shell, path: Path) -> None:
    held = _shown(current(shell, (*path, "zones")))
    answer = _answer(shell, f"What it is for ({', '.join(ZONES)})", held or ",".join(ZONES))
    if answer or not held:
        put_value(shell, (*path, "zones"), answer or list(ZONES))


def _address(shell: Shell, path: Path) -> None:
    dhcp = current(shell, (*path, "dhcp")) not in (None, NONE)
    held = DHCP if dhcp else _shown(current(shell, (*path, "addresses")))
    answer = _answer(shell, f"Addresses with prefix length, or {DHCP}", held)
    if answer == DHCP:
        put_value(shell, (*path, "dhcp"), "ipv4")
        put_value(shell, (*path, "addresses"), [])
    elif answer:
        put_value(shell, (*path, "addresses"), answer)
        put_value(shell, (*path, "dhcp"), NONE)
    elif not held:
        raise CommandError(f"Found nothing; allowed: an address such as 192.0.2.2/24, or {DHCP}.")


def _own_networks(shell: Shell, path: Path) -> list[str]:
    """To begin with, those who are on the same network."""
    addresses = current(shell, (*path, "addresses")) or []
    return [str(ipaddress.ip_interface(address).network) for address in addresses]


# --- people ----------------------------------------------------------------------------------------------------------


def _administrator(shell: Shell) -> None:
    accounts = current(shell, ("users", "accounts")) or {}
    held = next((name for name, one in accounts.items() if one.get("role") == "administrator"), "admin")
    name: list[str] = []

    def attempt() -> None:
        name.append(_answer(shell, "Administrator's account", held) or held)
        put_value(shell, ("users", "accounts", name[-1], "role"), "administrator")

    _until_taken(shell, attempt)
    account = current(shell, ("users", "accounts", name[-1])) or {}
    if _wanted(shell, "password", there=bool(account.get("password_hash"))):
        _until_taken(shell, lambda: _password(shell, name[-1]))


def _password(shell: Shell, name: str) -> None:
    password = twice(shell, f"New password of {safe(name)}")
    _freshly(shell, lambda: shell.call(api.SetPassword, type(None), user=name, password=password))


def _freshly(shell: Shell, act: Callable[[], None]) -> None:
    """Whoever took long over the questions gives the enable secret again."""
    try:
        act()
    except Refused as refused:
        if refused.refusal.kind != "privilege":
            raise
        secret = shell.terminal.ask_secret("Enable secret: ")
        shell.renew(shell.call(api.Enable, api.Session, secret=secret))
        act()


def _enable_secret(shell: Shell) -> None:
    held = current(shell, ("cli", "enable_secret_hash"))
    if _wanted(shell, "enable secret", there=bool(held)):
        _until_taken(shell, lambda: _secret(shell))


def _secret(shell: Shell) -> None:
    secret = twice(shell, "New enable secret")
    _freshly(shell, lambda: shell.call(api.SetEnableSecret, type(None), secret=secret))


def _wanted(shell: Shell, what: str, *, there: bool) -> bool:
    return not there or shell.confirm(f"Set another {what}?")


# --- what it works with ----------------------------------------------------------------------------------------------

UEM_QUESTIONS = (
    (Question(("uem", "url"), "Where the UEM answers (https://...)"), ("core", "cloud")),
    (Question(("uem", "authorities"), "PEM of those who issue the UEM's certificates", lines=True), ("core", "cloud")),
    (Question(("uem", "addresses"), "Networks from which the UEM pushes"), ("core",)),
    (Question(("uem", "push_subject"), "Subject of the certificate with which it pushes"), ("core",)),
)
"""What a mode of the UEM needs, and what has to go with another mode."""


def _uem(shell: Shell) -> None:
    """Where the devices are known. The UEMs of other vendors have settings of their own (docs/uem-adapters.md)."""
    held = str(current(shell, ("uem", "mode")) or MODES[0])
    allowed = MODES if held in MODES else (*MODES, held)
    mode: list[str] = []
    _until_taken(shell, lambda: mode.append(_choose(shell, "UEM", held, allowed)))
    put_value(shell, ("uem", "mode"), mode[-1])
    if mode[-1] not in MODES:
        return
    for question, modes in UEM_QUESTIONS:
        if mode[-1] in modes:
            _ask(shell, question)
        elif current(shell, question.path):
            remove(shell, question.path)


def _backend(shell: Shell) -> None:
    """A mail server, where there is none yet; more of it is told in configuration mode."""
    if not current(shell, ("backends", "servers")):
        _ask(shell, Question(("backends", "servers", "mail", "host"), "Mail server (name or address)"))


# --- the end ---------------------------------------------------------------------------------------------------------


def _reviewed(shell: Shell) -> bool:
    """Whether anything would change, which the person has looked at and wants."""
    changes = shell.call(api.DiffConfig, tuple[api.Change, ...])
    if not changes:
        return False
    shell.terminal.write(["", "This would change:", *map(safe, change_lines(changes)), ""])
    if not shell.confirm("Commit it?"):
        raise CommandError("Not done; everything is as it was.")
    return True


def _commit(shell: Shell) -> Output:
    """With a time limit whoever cuts their own connection off finds the appliance as it was."""
    minutes: list[int] = []
    _until_taken(shell, lambda: minutes.append(_minutes(shell)))
    limit = minutes[-1] or None
    try:
        return commit_or_try(shell, "setup", limit)
    except (Refused, CommandError):
        shell.terminal.write(["The answers are kept: mend them in configuration mode and `commit`, or `discard` them."])
        raise


def _minutes(shell: Shell) -> int:
    answer = _answer(shell, "Return by itself unless confirmed within so many minutes (0: keep it)", "0") or "0"
    if not (answer.isascii() and answer.isdigit() and len(answer) <= MINUTE_DIGITS):
        raise CommandError(f"Found {answer}; allowed: minutes, or 0.")
    return int(answer)
