"""What the commands of CONFIG and INTERFACE mode do to the candidate."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from appliance.cli.command import Action, CommandError, Mode
from appliance.cli.config_lines import change_lines, config_lines
from appliance.cli.output import Output
from appliance.cli.shell import Shell, reasons
from appliance.configd import api
from appliance.configd.client import Refused

Values = Mapping[str, str]
Path = tuple[str, ...]

TRIED_MINUTES = 5  # what would cut the session off is tried for so long: time to log in anew and say `confirm`
VALUE = "value"  # the name of the argument that holds a setting's value


def current(shell: Shell, path: Path) -> Any:
    """What the candidate has at `path`; None where it has nothing."""
    try:
        return shell.call(api.GetConfig, Any, view="candidate", path=path)
    except Refused as refused:
        if refused.refusal.kind == "invalid":
            return None
        raise


def put(path: Path) -> Action:
    """The command that sets one value."""

    def action(shell: Shell, values: Values) -> None:
        shell.call(api.SetConfig, type(None), path=path, value=values[VALUE])

    return action


def append(path: Path) -> Action:
    """The command that adds one item to a list; one that is there already stays as it is."""

    def action(shell: Shell, values: Values) -> None:
        add_item(shell, path, values[VALUE])

    return action


def put_value(shell: Shell, path: Path, value: Any) -> None:
    """Set one value of the candidate."""
    shell.call(api.SetConfig, type(None), path=path, value=value)


def remove(shell: Shell, path: Path, item: str | None = None) -> None:
    """Remove one value of the candidate, or one item of a list."""
    shell.call(api.DeleteConfig, type(None), path=path, value=item)


def add_item(shell: Shell, path: Path, item: str) -> None:
    """Add an item to a list; one that is there already stays as it is."""
    items = current(shell, path)
    if not items:
        shell.call(api.SetConfig, type(None), path=path, value=[item])
    elif item not in map(str, items):
        shell.call(api.SetConfig, type(None), path=(*path, str(len(items))), value=item)


def interface_address(shell: Shell, values: Values) -> None:
    """Add an address to the interface; a mask becomes a prefix length."""
    add_item(shell, ("interfaces", shell.interface, "addresses"), address_of(values))


def address_of(values: Values) -> str:
    """The address of a line, with its prefix length."""
    text = f"{values['address']}/{values['mask']}" if "mask" in values else values["address"]
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError as error:
        raise CommandError(
            f"Found {text}; allowed: an address such as 192.0.2.2/24 or 192.0.2.2 255.255.255.0."
        ) from error


def put_text(path: Path) -> Action:
    """The command that sets a text of several lines, which follow up to a line with a single dot."""

    def action(shell: Shell, _values: Values) -> None:
        if shell.terminal.interactive:
            shell.terminal.write(["Enter the text; a line with a single dot ends it."])
        lines: list[str] = []
        while (line := shell.terminal.ask("")) != ".":
            lines.append(line)
        shell.call(api.SetConfig, type(None), path=path, value="".join(f"{line}\n" for line in lines))

    return action


def put_secret(path: Path, label: str) -> Action:
    """The command that asks for a secret value without echo and sets it."""

    def action(shell: Shell, _values: Values) -> None:
        shell.call(api.SetConfig, type(None), path=path, value=shell.terminal.ask_secret(f"{label}: "))

    return action


def delete(path: Path) -> Action:
    """The command that removes a value: back to its default, or gone; of a list, the item named on the line."""

    def action(shell: Shell, values: Values) -> None:
        shell.call(api.DeleteConfig, type(None), path=path, value=values.get(VALUE))

    return action


def show(path: Path) -> Action:
    """The command that shows the candidate below `path`."""

    def action(shell: Shell, _values: Values) -> Output:
        tree = shell.call(api.GetConfig, Any, view="candidate", path=path)
        return Output(tuple(config_lines(tree, path)) or ("Nothing is configured here.",), tree)

    return action


def enter_interface(name: str) -> Action:
    """The command that enters INTERFACE mode."""

    def action(shell: Shell, _values: Values) -> None:
        shell.interface = name
        shell.mode = Mode.INTERFACE

    return action


def account_password(shell: Shell, values: Values) -> None:
    """Ask for an account's new password twice, and set it."""
    password = twice(shell, f"New password of {values['user']}")
    shell.call(api.SetPassword, type(None), user=values["user"], password=password)


def own_password(shell: Shell, _values: Values) -> Output:
    """Ask for one's present password, and twice for the new one, which holds at once."""
    now = shell.terminal.ask_secret("Your present password: ")
    new = twice(shell, "New password")
    done = shell.call(api.SetOwnPassword, api.Committed, password=new, current=now)
    shell.renew(shell.call(api.Touch, api.Session))
    said = "Your password is set, and holds from now on. Your other sessions have ended."
    return Output((said,), {"revision": done.revision})


def enable_secret(shell: Shell, _values: Values) -> None:
    """Ask for the new enable secret twice, and set it."""
    shell.call(api.SetEnableSecret, type(None), secret=twice(shell, "New enable secret"))


def twice(shell: Shell, label: str) -> str:
    """Ask for a secret two times; raises `CommandError` when the answers differ."""
    first = shell.terminal.ask_secret(f"{label}: ")
    if shell.terminal.ask_secret("Once more: ") != first:
        raise CommandError("The two are not the same; nothing was changed.")
    return first


def commit(shell: Shell, values: Values) -> Output:
    """Make the candidate the running configuration, for good or until a deadline."""
    return commit_or_try(shell, values.get("comment", ""), int(values["minutes"]) if "minutes" in values else None)


def commit_or_try(shell: Shell, comment: str, minutes: int | None) -> Output:
    """Commit the candidate. What would cut this very session off is asked about at a terminal, and tried for a while only.

    `minutes`: how long it waits for confirmation; None: for good. Raises `CommandError` where the person does not want to try.
    """
    try:
        return committed(shell.call(api.Commit, api.Committed, comment=comment, confirm_minutes=minutes))
    except Refused as refused:
        if refused.refusal.kind != "lockout" or not shell.terminal.interactive:
            raise
        for line in reasons(refused):
            shell.terminal.error(line)
        if not shell.confirm(f"Try it for {TRIED_MINUTES} minutes, after which it returns unless you give `confirm`?"):
            raise CommandError("Not done.") from refused
    return committed(shell.call(api.Commit, api.Committed, comment=comment, confirm_minutes=TRIED_MINUTES))


def check(shell: Shell, _values: Values) -> Output:
    """Validate, render and vet the candidate; change nothing."""
    done = shell.call(api.Commit, api.Committed, check_only=True)
    lines = (
        *change_lines(done.changes),
        *(f"would write {file}" for file in done.files),
        "The candidate can be committed.",
    )
    return Output(lines, _data(done))


def committed(done: api.Committed) -> Output:
    """What a commit did."""
    if not done.changed:
        return Output((f"Nothing was different; revision {done.revision} stays.",), _data(done))
    lines = [*change_lines(done.changes), f"Revision {done.revision} is running."]
    if done.confirm_by:
        lines.append(f"It returns to the one before at {done.confirm_by} unless you give `confirm`.")
    return Output(tuple(lines), _data(done))


def _data(done: api.Committed) -> dict[str, Any]:
    return {
        "changed": done.changed,
        "revision": done.revision,
        "changes": [{"path": list(each.path), "before": each.before, "after": each.after} for each in done.changes],
        "files": list(done.files),
        "units": list(done.units),
        "confirm_by": done.confirm_by,
    }


def confirm(shell: Shell, _values: Values) -> None:
    """Keep the commit that waits for confirmation."""
    shell.call(api.Confirm, type(None))


def discard(shell: Shell, _values: Values) -> None:
    """Throw the candidate away."""
    shell.call(api.Discard, type(None))


def rollback(shell: Shell, values: Values) -> Output:
    """Commit a kept revision again."""
    return committed(shell.call(api.Rollback, api.Committed, revision=int(values["revision"])))
